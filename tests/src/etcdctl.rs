//! An official etcd client, run as a person would: one process per command.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::process::Process;
use crate::programs;

/// Which `etcdctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The distribution's package: 3.4 in Debian 12.
    Distribution,
    /// The 3.5 binary.
    V3_5,
}

/// Both.
pub const RELEASES: [Release; 2] = [Release::Distribution, Release::V3_5];

/// A client for one endpoint.
#[derive(Clone, Debug)]
pub struct Etcdctl {
    program: PathBuf,
    endpoint: String,
}

impl Etcdctl {
    /// A client of that release for `endpoint` (`http://host:port`).
    #[must_use]
    pub fn new(release: Release, endpoint: &str) -> Self {
        let program = match release {
            Release::Distribution => programs::etcdctl_of_distribution(),
            Release::V3_5 => programs::etcd_3_5("etcdctl"),
        };
        Self {
            program,
            endpoint: endpoint.to_owned(),
        }
    }

    /// The command, ready to be run or given more.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // Nothing of the caller's own etcdctl settings may leak in.
        command
            .env_clear()
            .env("ETCDCTL_API", "3")
            .arg("--endpoints")
            .arg(&self.endpoint)
            .args(arguments);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be run.
    #[track_caller]
    #[must_use]
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .output()
            .unwrap_or_else(|cause| panic!("run {} {arguments:?}: {cause}", self.program.display()))
    }

    /// What a command prints.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.output(arguments);
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!(
                "etcdctl {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ))
        }
    }

    /// What a command prints.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments)
            .unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Runs a command fed with `input` (`txn` reads its lines there): exit status, stdout, stderr.
    ///
    /// # Panics
    /// When it cannot be run.
    #[track_caller]
    #[must_use]
    pub fn output_with_input(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|cause| panic!("run etcdctl {arguments:?}: {cause}"));
        // A client that fails early does not read all of it, which is no failure of ours.
        let _ = child
            .stdin
            .take()
            .map(|mut stdin| stdin.write_all(input.as_bytes()));
        let output = child
            .wait_with_output()
            .unwrap_or_else(|cause| panic!("wait for etcdctl: {cause}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    /// Leaves a command running, for `watch` and `lease keep-alive`.
    #[must_use]
    pub fn spawn(&self, arguments: &[&str]) -> Process {
        Process::spawn(
            format!("etcdctl {}", arguments.join(" ")),
            &mut self.command(arguments),
        )
    }

    /// The keys under a prefix, in order.
    ///
    /// # Errors
    /// What the client says when it fails.
    pub fn keys(&self, prefix: &str) -> Result<Vec<String>, String> {
        let text = self.try_run(&["get", "--prefix", "--keys-only", prefix])?;
        Ok(text
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// The value of one key, `None` if there is none.
    ///
    /// # Errors
    /// What the client says when it fails.
    pub fn value(&self, key: &str) -> Result<Option<String>, String> {
        let text = self.try_run(&["get", "--print-value-only", key])?;
        // It prints a line end after the value, and nothing at all without one.
        Ok(text.strip_suffix('\n').map(str::to_owned))
    }
}
