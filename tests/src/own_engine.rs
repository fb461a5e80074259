//! A Docker engine of the test's own, which can be stopped and killed without disturbing the machine's: own data, own
//! containerd, own socket, and a network namespace of its own, because every engine wants a bridge called `docker0`.
//! Its containers cannot be reached from outside; who needs traffic uses the machine's engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::docker::Engine;
use crate::process::{Process, Signal};
use crate::{programs, wait};

/// The engine. Needs root, as every engine does.
pub struct OwnEngine {
    process: Option<Process>,
    options: Vec<String>,
    /// Holds the network namespace while the daemon is down.
    namespace: Process,
    folder: tempfile::TempDir,
}

impl OwnEngine {
    /// Starts one, with further options for `dockerd`.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("engine")
            .tempdir()
            .expect("temporary folder");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut engine = Self {
            process: None,
            options,
            namespace: hold_namespace(),
            folder,
        };
        engine.restart();
        engine
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// The engine to run commands on.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine::at(format!("unix://{}", self.socket().display()))
    }

    /// Starts it on the data it had and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn restart(&mut self) {
        let folder = self.folder.path();
        let mut command = privileged("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.namespace.pid()))
            .arg(programs::system("dockerd"))
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .args(["--iptables=false", "--ip6tables=false"])
            .args(&self.options);
        // The daemon would read the machine's settings, which may contradict the flags.
        command
            .arg("--config-file")
            .arg(folder.join("no-daemon.json"));
        let _ = std::fs::write(folder.join("no-daemon.json"), "{}");
        let process = self
            .process
            .insert(Process::spawn("the test's own dockerd", &mut command));
        let engine = Engine::at(format!("unix://{}", folder.join("docker.sock").display()));
        wait::until(
            "the test's own Docker engine to answer",
            wait::LONG * 3,
            || match process.exited() {
                Some(status) => Ok(Err(format!("dockerd ended: {status}\n{}", process.tail()))),
                None => engine
                    .run(&["version", "--format", "{{.Server.Version}}"])
                    .map(|_| Ok(())),
            },
        )
        .unwrap_or_else(|reason: String| panic!("{reason}"));
    }

    /// Ends it as a service manager does; containers go with it unless `--live-restore` was given.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM);
            process.wait_exit(wait::LONG * 3);
        }
    }

    /// Kills the daemon alone; its containerd and the containers live on.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM);
            // Its containerd goes with it; a daemon that does not end is killed when `process` is dropped.
            let _ = wait::try_until("dockerd to end", wait::LONG, || {
                process.exited().ok_or_else(String::new)
            });
        }
    }
}

/// A process that does nothing but live in a network namespace of its own.
fn hold_namespace() -> Process {
    let mut command = privileged("unshare");
    // A day: longer than any test, so that it ends by being killed, and by itself should the test be.
    command.args(["--net", "sleep", "86400"]);
    let mut process = Process::spawn("the holder of a network namespace", &mut command);
    let ours = std::fs::read_link("/proc/self/ns/net").ok();
    let its = Path::new("/proc")
        .join(process.pid().to_string())
        .join("ns/net");
    wait::until("a network namespace", wait::LONG, || {
        match (process.exited(), std::fs::read_link(&its)) {
            (Some(status), _) => Ok(Err(format!(
                "unshare --net ended: {status}\n{}\nhint: run as root",
                process.tail()
            ))),
            (None, Ok(link)) if Some(&link) != ours.as_ref() => Ok(Ok(())),
            (None, seen) => Err(format!("{seen:?}")),
        }
    })
    .unwrap_or_else(|reason: String| panic!("{reason}"));
    process
}

/// A command that needs root.
fn privileged(program: &str) -> Command {
    Command::new(programs::system(program))
}
