//! Answers what templates ask of the machine: its files, and names of hosts through the system's resolver, which may
//! take seconds. Renders run beside the agent's task and may wait.

use std::io::ErrorKind;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;

use crate::engine::{Outside, Service};

/// How long a name server may take. A system's own default of 5 s holds up the files for too long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Tries beside the first: a lost datagram is no reason to give up.
const ATTEMPTS: usize = 1;

/// The machine this runs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine;

impl Outside for Machine {
    fn file_exists(&self, path: &str) -> bool {
        // As confd: what cannot be looked at exists.
        !matches!(std::fs::metadata(Path::new(path)), Err(error) if error.kind() == ErrorKind::NotFound)
    }

    fn addresses(&self, host: &str) -> Vec<IpAddr> {
        // The port is only there because the resolver wants one.
        match (host, 0).to_socket_addrs() {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn services(&self, record: &str) -> Vec<Service> {
        let record = record.to_owned();
        // A render may be on the agent's own task, which must not wait for another of its runtime.
        let asking = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.map_or_else(|_| Vec::new(), |runtime| runtime.block_on(look_up(&record)))
        });
        asking.join().unwrap_or_default()
    }

    fn interface(&self, name: &str) -> Vec<IpAddr> {
        let all = if_addrs::get_if_addrs().unwrap_or_default();
        let named = all.iter().filter(|interface| interface.name == name);
        named.map(if_addrs::Interface::ip).collect()
    }
}

/// SRV records by the system's name servers.
async fn look_up(record: &str) -> Vec<Service> {
    let resolver = TokioResolver::builder_tokio().and_then(|mut builder| {
        builder.options_mut().timeout = ANSWER_TIMEOUT;
        builder.options_mut().attempts = ATTEMPTS;
        builder.build()
    });
    let Ok(resolver) = resolver else {
        return Vec::new();
    };
    let Ok(answer) = resolver.srv_lookup(record).await else {
        return Vec::new();
    };
    let services = answer
        .answers()
        .iter()
        .filter_map(|found| match &found.data {
            RData::SRV(srv) => Some(Service {
                target: srv.target.to_string(),
                port: srv.port,
                priority: srv.priority,
                weight: srv.weight,
            }),
            _ => None,
        });
    services.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_names_of_this_machine() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().display().to_string();
        assert!(Machine.file_exists(&path));
        assert!(!Machine.file_exists(&format!("{path}/no")));
        assert_eq!(
            Machine.addresses("127.0.0.1"),
            [IpAddr::from([127, 0, 0, 1])]
        );
        assert!(Machine.addresses("no.such.host.invalid").is_empty());
        assert_eq!(
            Machine.interface("lo").first(),
            Some(&IpAddr::from([127, 0, 0, 1]))
        );
        assert!(Machine.interface("no such interface").is_empty());
        assert!(Machine.services("_x._tcp.no.such.host.invalid.").is_empty());
    }
}
