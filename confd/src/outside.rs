//! Answers what templates ask of the machine: its files, and names of hosts through the system's resolver, which may
//! take seconds. Renders run beside the agent's task and may wait.

use std::io::ErrorKind;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use crate::engine::Outside;

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
    }
}
