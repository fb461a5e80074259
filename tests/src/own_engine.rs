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
    /// Beside the daemon and not below it, as service managers run it: it outlives a daemon that is killed.
    containerd: Process,
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
        // The daemon would read the machine's settings, which may contradict the flags.
        std::fs::write(folder.path().join("daemon.json"), "{}").expect("write its settings");
        let namespace = hold_namespace();
        let containerd = start_containerd(folder.path(), &namespace);
        let mut engine = Self {
            process: None,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            containerd,
            namespace,
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
        let engine = self.engine();
        let mut command = self.command();
        let process = self
            .process
            .insert(Process::spawn("the test's own dockerd", &mut command));
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

    fn command(&self) -> Command {
        let folder = self.folder.path();
        let mut command = in_namespace(&self.namespace, "dockerd");
        for (flag, place) in [
            ("--config-file", "daemon.json"),
            ("--containerd", "containerd.sock"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            command.arg(flag).arg(folder.join(place));
        }
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(["--iptables=false", "--ip6tables=false"])
            .args(&self.options);
        command
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

    /// Kills the daemon alone; containerd and the containers live on.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        for process in self.process.iter_mut().chain([&mut self.containerd]) {
            process.signal(Signal::TERM);
            // One that does not end is killed when it is dropped.
            let _ = wait::try_until("it to end", wait::LONG, || {
                process.exited().ok_or_else(String::new)
            });
        }
        // Each daemon binds its data folder over itself, and one that was killed leaves that behind.
        let data = self.folder.path().join("data");
        let unmount = || {
            let mut command = Command::new(programs::system("umount"));
            command
                .arg("--lazy")
                .arg(&data)
                .stderr(std::process::Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        while unmount() {}
    }
}

fn start_containerd(folder: &Path, namespace: &Process) -> Process {
    let config = folder.join("containerd.toml");
    let place = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let text = format!(
        "version = 2\nroot = {}\nstate = {}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = {}\n",
        place("containerd"),
        place("containerd-state"),
        place("containerd.sock"),
    );
    std::fs::write(&config, text)
        .unwrap_or_else(|cause| panic!("write {}: {cause}", config.display()));
    let mut command = in_namespace(namespace, "containerd");
    command.arg("--config").arg(config);
    let mut process = Process::spawn("the test's own containerd", &mut command);
    process.wait_line("containerd successfully booted", wait::LONG);
    process
}

/// A process that does nothing but live in a network namespace of its own.
fn hold_namespace() -> Process {
    let mut command = Command::new(programs::system("unshare"));
    // A day: longer than any test, so that it ends by being killed, and by itself should the test be.
    command.args(["--net", "sleep", "86400"]);
    let mut process = Process::spawn("the holder of a network namespace", &mut command);
    let ours = std::fs::read_link("/proc/self/ns/net").ok();
    let its = format!("/proc/{}/ns/net", process.pid());
    wait::until("a network namespace", wait::LONG, || {
        match (process.exited(), std::fs::read_link(&its)) {
            (Some(status), _) => Ok(Err(format!(
                "unshare --net ended: {status}\n{}\nhint: an engine of its own needs root",
                process.tail()
            ))),
            (None, Ok(link)) if Some(&link) != ours.as_ref() => Ok(Ok(())),
            (None, seen) => Err(format!("{seen:?}")),
        }
    })
    .unwrap_or_else(|reason: String| panic!("{reason}"));
    process
}

/// A command that runs in the namespace `holder` lives in.
fn in_namespace(holder: &Process, program: &str) -> Command {
    let mut command = Command::new(programs::system("nsenter"));
    command
        .arg(format!("--net=/proc/{}/ns/net", holder.pid()))
        .arg(programs::system(program));
    command
}
