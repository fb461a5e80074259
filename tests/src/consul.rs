//! A Consul agent of the test's own, a server and its only client in one, which forgets everything when it ends.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::authority::Pair;
use crate::process::Process;
use crate::{http, port, programs, wait};

/// The agent.
pub struct Consul {
    http: u16,
    serf: u16,
    server: u16,
    /// Settings beside the flags, and what its access control lets in.
    guard: Option<Guard>,
    process: Option<Process>,
}

/// What keeps strangers out.
struct Guard {
    settings: PathBuf,
    https: u16,
    token: String,
}

impl Consul {
    /// A started agent that has a leader.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        let mut consul = Self::prepare();
        consul.restart();
        consul
    }

    fn prepare() -> Self {
        Self {
            http: port::free(),
            serf: port::free(),
            server: port::free(),
            guard: None,
            process: None,
        }
    }

    /// A started agent that lets nobody change anything without `token`, and has a port besides that speaks TLS with
    /// whoever shows a certificate of the authority.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn guarded(folder: &Path, authority: &Path, own: &Pair, token: &str) -> Self {
        let https = port::free();
        let (certificate, key) = (own.certificate.display(), own.key.display());
        let settings = format!(
            r#"{{"ports":{{"https":{https}}},"cert_file":"{certificate}","key_file":"{key}","ca_file":"{}",
            "verify_incoming_https":true,"acl":{{"enabled":true,"default_policy":"deny",
            "tokens":{{"master":"{token}","agent":"{token}"}}}}}}"#,
            authority.display()
        );
        let path = folder.join("consul.json");
        std::fs::write(&path, settings).expect("write its settings");
        let mut consul = Self::prepare();
        consul.guard = Some(Guard {
            settings: path,
            https,
            token: token.to_owned(),
        });
        consul.restart();
        consul
    }

    /// Where it speaks TLS.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn secure_address(&self) -> SocketAddr {
        let guard = self.guard.as_ref().expect("a guarded one");
        ([127, 0, 0, 1], guard.https).into()
    }

    /// The path with the token it takes to see everything.
    fn allowed(&self, path: &str) -> String {
        match &self.guard {
            Some(guard) if path.contains('?') => format!("{path}&token={}", guard.token),
            Some(guard) => format!("{path}?token={}", guard.token),
            None => path.to_owned(),
        }
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
        match http::get(self.address(), &self.allowed(path)) {
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
        if let Some(guard) = &self.guard {
            command.arg("-config-file").arg(&guard.settings);
        }
        let address = self.address();
        let nodes = self.allowed("/v1/catalog/nodes");
        let process = self.process.insert(Process::spawn("consul", &mut command));
        wait::until("Consul to have a leader", wait::LONG * 3, || {
            if let Some(status) = process.exited() {
                return Ok(Err(format!("consul ended: {status}\n{}", process.tail())));
            }
            // Without the node itself in the catalog no session can be had.
            match http::get(address, &nodes) {
                Ok(answer) if answer.body.contains("\"test\"") => Ok(Ok(())),
                other => Err(format!("{other:?}")),
            }
        })
        .unwrap_or_else(|why| panic!("{why}"));
    }
}
