//! A Consul agent of the test's own, a server and its only client in one, which forgets everything when it ends.

use std::net::SocketAddr;
use std::process::Command;

use crate::process::Process;
use crate::{http, port, programs, wait};

/// The agent.
pub struct Consul {
    http: u16,
    serf: u16,
    server: u16,
    process: Option<Process>,
}

impl Consul {
    /// A started agent that has a leader.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        let mut consul = Self {
            http: port::free(),
            serf: port::free(),
            server: port::free(),
            process: None,
        };
        consul.restart();
        consul
    }

    /// Where its HTTP API is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.http).into()
    }

    /// The body of a page of its API; empty where there is none.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        match http::get(self.address(), path) {
            Ok(answer) if answer.status == 404 => String::new(),
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{path}: {}", answer.body);
                answer.body
            }
            Err(why) => panic!("{path}: {why}"),
        }
    }

    /// Writes to its API.
    ///
    /// # Panics
    /// When it refuses.
    #[track_caller]
    pub fn put(&self, path: &str, body: &str) {
        let address = self.address();
        let length = body.len();
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answer = http::request(address, &request).unwrap_or_else(|why| panic!("{path}: {why}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }

    /// Ends it, and everything it knew.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it, with nothing.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = None;
        let mut command = Command::new(programs::consul());
        command
            .args(["agent", "-dev", "-node", "test", "-bind", "127.0.0.1"])
            .args(["-dns-port=-1", "-grpc-port=-1", "-serf-wan-port=-1"])
            .arg(format!("-http-port={}", self.http))
            .arg(format!("-serf-lan-port={}", self.serf))
            .arg(format!("-server-port={}", self.server));
        let address = self.address();
        let process = self.process.insert(Process::spawn("consul", &mut command));
        wait::until("Consul to have a leader", wait::LONG * 3, || {
            if let Some(status) = process.exited() {
                return Ok(Err(format!("consul ended: {status}\n{}", process.tail())));
            }
            // Without the node itself in the catalog no session can be had.
            match http::get(address, "/v1/catalog/nodes") {
                Ok(answer) if answer.body.contains("\"test\"") => Ok(Ok(())),
                other => Err(format!("{other:?}")),
            }
        })
        .unwrap_or_else(|why| panic!("{why}"));
    }
}
