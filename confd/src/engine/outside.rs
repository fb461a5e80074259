//! Pure: What templates may ask of the machine they are rendered on. Asked through a trait, so that engines stay pure;
//! `confd::outside` answers for a real machine.

use std::net::IpAddr;

/// Facts about the machine. They may differ from render to render and are not recorded as reads.
pub trait Outside: Send + Sync + std::fmt::Debug {
    /// True unless it is certain that nothing stands at the path.
    fn file_exists(&self, path: &str) -> bool;

    /// Addresses of a host by name; none if it cannot be looked up.
    fn addresses(&self, host: &str) -> Vec<IpAddr>;

    /// SRV records of a name (RFC 2782); none if they cannot be looked up.
    fn services(&self, _record: &str) -> Vec<Service> {
        Vec::new()
    }

    /// Addresses of an interface of this machine, in its order.
    fn interface(&self, _name: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The host, with a dot at its end.
    pub target: String,
    /// The port.
    pub port: u16,
    /// Lower ones first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
}

/// The name of a record, as Go's `net.LookupSRV` makes it: that alone if neither service nor protocol is given.
pub(super) fn srv_name(service: &str, proto: &str, name: &str) -> String {
    match (service, proto) {
        ("", "") => name.to_owned(),
        (service, proto) => format!("_{service}._{proto}.{name}"),
    }
}

/// In the order of target, port, priority and weight as one text, as confd sorts them.
pub(super) fn sorted_services(mut services: Vec<Service>) -> Vec<Service> {
    services.sort_by_cached_key(|one| {
        let Service {
            target,
            port,
            priority,
            weight,
        } = one;
        format!("{target}{port}{priority}{weight}")
    });
    services
}

/// A machine without files and names.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl Outside for Nowhere {
    fn file_exists(&self, _: &str) -> bool {
        false
    }

    fn addresses(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}
