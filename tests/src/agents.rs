//! Our agents as processes: a registrator for one engine and one store, a confd for one folder of resources. The one
//! place that knows their flags. Can be killed and started again with the same settings.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::docker::Engine;
use crate::process::{Process, Signal};
use crate::wait;

/// 5 s: what the tests wait for when an agent stays away; the shortest TTL that does not depend on the machine's mood.
pub const TTL_SECONDS: u32 = 5;

/// How an agent is started, and the process when it runs.
pub struct Agent {
    name: &'static str,
    binary: PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Agent {
    /// A registrator that tells the store at `endpoint` what runs on `engine`; not started yet.
    #[must_use]
    pub fn registrator(binary: &str, engine: &Engine, endpoint: &str) -> Self {
        let agent = Self::new("registrator", binary);
        agent
            .with(&[
                "--endpoints",
                endpoint,
                "--docker-host",
                &engine.address(),
                "--internal",
            ])
            .with(&["--ttl", &TTL_SECONDS.to_string(), "--node", "here"])
    }

    /// A confd that renders what `confdir` asks for from the store at `endpoint`; not started yet.
    #[must_use]
    pub fn confd(binary: &str, confdir: &Path, endpoint: &str) -> Self {
        Self::confd_flags(binary, confdir, endpoint, &["--watch"])
    }

    /// A confd run in another way than watching.
    #[must_use]
    pub fn confd_flags(binary: &str, confdir: &Path, endpoint: &str, flags: &[&str]) -> Self {
        let folder = confdir.display().to_string();
        let state = confdir.join("state").display().to_string();
        Self::new("confd", binary)
            .with(&["--endpoints", endpoint, "--confdir", &folder])
            .with(&["--state-dir", &state])
            .with(flags)
    }

    fn new(name: &'static str, binary: &str) -> Self {
        Self {
            name,
            binary: PathBuf::from(binary),
            arguments: vec![name.to_owned()],
            process: None,
        }
    }

    /// With further flags.
    #[must_use]
    pub fn with(mut self, flags: &[&str]) -> Self {
        self.arguments
            .extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// The command it is started with.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(&self.arguments);
        command
    }

    /// Starts it (again).
    pub fn start(&mut self) -> &mut Process {
        let mut command = self.command();
        self.process.insert(Process::spawn(
            format!("muster {}", self.name),
            &mut command,
        ))
    }

    /// [`Agent::start`] for a chain of calls.
    #[must_use]
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// Ends it as a service manager does.
    ///
    /// # Panics
    /// When it does not end with status 0.
    #[track_caller]
    pub fn stop(&mut self) {
        let process = self.process();
        process.signal(Signal::TERM);
        let status = process.wait_exit(wait::LONG);
        assert!(status.success(), "{status}: {}", process.tail());
    }

    /// The process.
    ///
    /// # Panics
    /// Before the first start.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the agent was started")
    }
}
