//! How a record becomes keys and values in the store: one pure function per layout, and the way
//! back for readers. A layout validates before it writes, because consumers often reject a whole
//! prefix for one bad entry.

mod consul;
mod grpc;
mod skydns;
mod traefik;
mod zookeeper;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::instance::{LABEL_BYTES_MAX, label};
use crate::record::{Proto, Record, State};

/// Where and in which form records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    kind: Kind,
    /// Does not end with a slash; may be empty for the root. Begins with a slash where consumers
    /// expect one.
    prefix: String,
}

/// The known forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/<prefix>/<service>/<instance>` with the JSON record; keeps every state.
    Native,
    /// `/<prefix>/<service>/<host>:<container>:<port>[:udp]` with `ip:port`, as gliderlabs
    /// registrator writes it for etcd; holds only what is up.
    Registrator,
    /// `/skydns/<reversed domain>/<service>/<instance>` with host and port, for CoreDNS.
    SkyDns,
    /// `<prefix>/<service>/<instance>` with an endpoint, for the resolver of etcd's Go client.
    Grpc,
    /// `<prefix>/http/services/<service>/...`, for Traefik's etcd provider.
    Traefik,
    /// `<id>` with what Consul's agent takes as a service; for that registry alone, has no prefix.
    Consul,
    /// `/<prefix>/<service>/<ip:port>` with a JSON value, as gliderlabs registrator writes it for ZooKeeper.
    ZooKeeper,
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Longest name of a service: long enough for every DNS name, short enough for a log line.
pub const NAME_BYTES_MAX: usize = 253;

impl Layout {
    /// A layout below `prefix`; slashes at its ends do not matter. For SkyDNS the prefix already
    /// holds the reversed domain, see [`Layout::parse`].
    #[must_use]
    pub fn new(kind: Kind, prefix: &str) -> Self {
        let inner = prefix.trim_matches('/');
        let slash = match kind {
            Kind::Native | Kind::Registrator | Kind::SkyDns | Kind::ZooKeeper
                if !inner.is_empty() =>
            {
                "/"
            }
            _ => "",
        };
        Self {
            kind,
            prefix: format!("{slash}{inner}"),
        }
    }

    /// Reads what a person writes: `native`, `registrator`, `grpc` or `traefik`, with `=<prefix>`
    /// behind it or none, or `skydns=<domain>`. `prefix` is for native and registrator without
    /// one of their own.
    ///
    /// # Errors
    /// When there is no such layout, or what stands behind the equals sign does not fit it.
    pub fn parse(text: &str, prefix: &str) -> Result<Self, LayoutError> {
        let unfit = |why| LayoutError::Segment {
            what: "layout",
            text: text.chars().take(80).collect(),
            why,
        };
        let (name, given) = match text.split_once('=') {
            Some((name, given)) => (name, Some(given)),
            None => (text, None),
        };
        let below = |kind, default: &str| {
            let prefix = given.unwrap_or(default);
            let named = !prefix.trim_matches('/').is_empty();
            // A root of its own keeps the consumer's reads off everybody else's keys.
            if named || matches!(kind, Kind::Native | Kind::Registrator) {
                Ok(Self::new(kind, prefix))
            } else {
                Err(unfit("needs a prefix behind the equals sign"))
            }
        };
        match name.trim() {
            "native" => below(Kind::Native, prefix),
            "registrator" => below(Kind::Registrator, prefix),
            "grpc" => below(Kind::Grpc, grpc::PREFIX_DEFAULT),
            "traefik" => below(Kind::Traefik, traefik::PREFIX_DEFAULT),
            "skydns" => skydns::layout(given.unwrap_or_default()),
            _ => Err(unfit(
                "is none of native, registrator, skydns=<domain>, grpc and traefik",
            )),
        }
    }

    /// Whether readers of one of the two would find keys of the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.root(), other.root());
        a.starts_with(&b) || b.starts_with(&a)
    }

    /// Its form.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The word a person writes for its form.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Native => "native",
            Kind::Registrator => "registrator",
            Kind::SkyDns => "skydns",
            Kind::Grpc => "grpc",
            Kind::Traefik => "traefik",
            Kind::Consul => "consul",
            Kind::ZooKeeper => "zookeeper",
        }
    }

    /// What every key begins with, ending in a slash; empty where keys are plain names.
    #[must_use]
    pub fn root(&self) -> String {
        if self.kind == Kind::Consul {
            return String::new();
        }
        format!("{}/", self.prefix)
    }

    /// The entries of `record`; none when its state has no place in this layout.
    ///
    /// # Errors
    /// When the record cannot be written so that every reader understands it.
    pub fn entries(&self, record: &Record) -> Result<Vec<Entry>, LayoutError> {
        check_segment("service name", &record.name, self.kind == Kind::Registrator)?;
        // What consumers without states read holds only what takes traffic.
        if self.kind != Kind::Native && record.state != State::Up {
            return Ok(Vec::new());
        }
        let entry = match self.kind {
            Kind::SkyDns => return skydns::entries(&self.prefix, record),
            Kind::Grpc => return grpc::entries(&self.prefix, record),
            Kind::Traefik => return traefik::entries(&self.prefix, record),
            Kind::Consul => return consul::entries(record),
            Kind::ZooKeeper => return zookeeper::entries(&self.prefix, record),
            Kind::Native => {
                check_segment("instance", &record.instance, false)?;
                Entry {
                    key: format!("{}/{}/{}", self.prefix, record.name, record.instance),
                    value: record.to_json(),
                }
            }
            Kind::Registrator => {
                check_segment("id", &record.id, false)?;
                Entry {
                    key: format!("{}/{}/{}", self.prefix, record.name, record.id),
                    value: SocketAddr::new(record.address, record.port).to_string(),
                }
            }
        };
        Ok(vec![entry])
    }

    /// What of the record has no place in its entries, in words for people; nothing for most layouts.
    #[must_use]
    pub fn left_out(&self, record: &Record) -> Vec<String> {
        match self.kind {
            Kind::Consul => consul::left_out(record),
            _ => Vec::new(),
        }
    }

    /// Reads one entry of this layout back. Layouts with names of their own making give those:
    /// SkyDNS and gRPC the instance as id, Traefik the number of the server.
    ///
    /// # Errors
    /// When key or value do not belong to this layout.
    pub fn read(&self, key: &str, value: &[u8]) -> Result<Found, LayoutError> {
        let foreign = |what| LayoutError::Foreign {
            key: key.to_owned(),
            what,
        };
        if self.kind == Kind::Consul {
            return consul::read(key, value).ok_or_else(|| foreign("it is no service of Consul's"));
        }
        let path = key
            .strip_prefix(self.prefix.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| foreign("the key lies outside the prefix"))?;
        let of_consumer = match self.kind {
            Kind::Native | Kind::Registrator | Kind::Consul => None,
            Kind::SkyDns => Some(skydns::read(path, value)),
            Kind::Grpc => Some(grpc::read(path, value)),
            Kind::Traefik => Some(traefik::read(path, value)),
            Kind::ZooKeeper => Some(zookeeper::read(path, value)),
        };
        if let Some(found) = of_consumer {
            return found.ok_or_else(|| foreign("it is nothing this layout writes"));
        }
        let (name, id) = path
            .rsplit_once('/')
            .filter(|(name, id)| !name.is_empty() && !id.is_empty())
            .ok_or_else(|| foreign("the key does not end in <service>/<instance>"))?;
        match self.kind {
            Kind::Native => {
                let record = Record::from_json(value)
                    .map_err(|_| foreign("the value is no registration record"))?;
                if record.name != name || record.instance != id {
                    return Err(foreign("the record names another service or instance"));
                }
                Ok(Found {
                    name: record.name.clone(),
                    id: record.id.clone(),
                    address: record.address,
                    port: record.port,
                    record: Some(Box::new(record)),
                })
            }
            _ => {
                let address: SocketAddr = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| foreign("the value is no ip:port"))?;
                Ok(Found {
                    name: name.to_owned(),
                    id: id.to_owned(),
                    address: address.ip(),
                    port: address.port(),
                    record: None,
                })
            }
        }
    }
}

/// A service's name where only DNS labels are safe: lower case, with dashes for everything else.
/// Never cut: two services that differ further on would become one.
fn service_label(record: &Record) -> Result<String, LayoutError> {
    let unfit = |why| LayoutError::Segment {
        what: "service name",
        text: record.name.chars().take(80).collect(),
        why,
    };
    if record.name.len() > LABEL_BYTES_MAX {
        return Err(unfit("is longer than 63 bytes, a DNS label"));
    }
    match label(&record.name, LABEL_BYTES_MAX) {
        name if name.is_empty() => Err(unfit("has no letter or digit")),
        name => Ok(name),
    }
}

/// An address that leads somewhere.
fn check_address(address: IpAddr) -> Result<(), LayoutError> {
    if address.is_unspecified() || address.is_multicast() {
        return Err(LayoutError::Segment {
            what: "address",
            text: address.to_string(),
            why: "is not one a client can connect to",
        });
    }
    Ok(())
}

/// What a reader learns from one entry, whatever the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Name of the service.
    pub name: String,
    /// `SERVICE_ID` or `<host>:<container>:<port>[:udp]`.
    pub id: String,
    /// Where to reach it.
    pub address: IpAddr,
    /// At which port.
    pub port: u16,
    /// The whole record, where the layout carries it.
    pub record: Option<Box<Record>>,
}

/// The id gliderlabs registrator gives: `<host>:<container>:<port>`, with `:udp` for UDP.
#[must_use]
pub fn registrator_id(host: &str, container: &str, port: u16, proto: Proto) -> String {
    match proto {
        Proto::Tcp => format!("{host}:{container}:{port}"),
        other => format!("{host}:{container}:{port}:{other}"),
    }
}

fn check_segment(what: &'static str, text: &str, slashes: bool) -> Result<(), LayoutError> {
    let why = if text.is_empty() {
        "is empty"
    } else if text.len() > NAME_BYTES_MAX {
        "is longer than 253 bytes"
    } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "contains blanks or control characters"
    } else if text.contains('/')
        && (!slashes || text.starts_with('/') || text.ends_with('/') || text.contains("//"))
    {
        "contains a slash"
    } else {
        return Ok(());
    };
    Err(LayoutError::Segment {
        what,
        text: text.chars().take(80).collect(),
        why,
    })
}

/// A record that cannot be written, or an entry that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// A part of the key would not survive being one.
    Segment {
        /// Which part.
        what: &'static str,
        /// Its text, cut to 80 characters.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The entry does not belong to this layout.
    Foreign {
        /// Its key.
        key: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { what, text, why } => write!(f, "{what} {text:?} {why}"),
            Self::Foreign { key, what } => write!(f, "read entry {key:?}: {what}"),
        }
    }
}

impl std::error::Error for LayoutError {}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
