//! Tells systemd how the store is doing (`Type=notify`, `WatchdogSec=`): the protocol of sd_notify(3),
//! which is a line of text to a socket.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::handle::Handle;

/// Where to tell; nowhere without systemd.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// It wants a sign of life within this time.
    patience: Option<Duration>,
}

impl Supervisor {
    /// As the variables say that systemd sets.
    pub(crate) fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let Some(path) = variable("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&path),
        };
        let socket = address.and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        let socket = socket
            .inspect_err(|error| tracing::warn!(%error, path, "systemd cannot be told anything"))
            .ok();
        let of_us =
            variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let patience = variable("WATCHDOG_USEC")
            .filter(|_| of_us)
            .and_then(|us| us.parse().ok())
            .map(Duration::from_micros);
        Self { socket, patience }
    }

    fn tell(&self, line: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(line.as_bytes(), address)
        {
            tracing::debug!(%error, line, "systemd was not told");
        }
    }

    /// Clients are served.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// The end has begun.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Gives signs of life for as long as it is polled and the store answers.
    pub(crate) async fn watch(&self, handle: Handle) {
        let Some(patience) = self.patience.filter(|_| self.socket.is_some()) else {
            return std::future::pending().await;
        };
        loop {
            // Twice within the time it waits, as its documentation asks for.
            tokio::time::sleep(patience / 2).await;
            // Asks the driver: a store that hangs does not answer.
            if handle.status().await.is_ok() {
                self.tell("WATCHDOG=1");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_where_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let variable = |name: &str| match name {
            "NOTIFY_SOCKET" => Some(path.to_str().unwrap().to_owned()),
            "WATCHDOG_USEC" => Some("2000000".to_owned()),
            _ => None,
        };
        let supervisor = Supervisor::of_environment(variable);
        assert_eq!(supervisor.patience, Some(Duration::from_secs(2)));
        supervisor.ready();
        supervisor.stopping();
        let mut said = [0; 64];
        let bytes = systemd.recv(&mut said).unwrap();
        assert!(said[..bytes].starts_with(b"READY=1\n"));
        let bytes = systemd.recv(&mut said).unwrap();
        assert!(said[..bytes].starts_with(b"STOPPING=1\n"));
        // Nobody to tell.
        Supervisor::of_environment(|_| None).ready();
    }
}
