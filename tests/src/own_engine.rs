//! A Docker engine of the test's own, which can be stopped and killed without disturbing the machine's: own data, own
//! containerd, own socket, and a network namespace of its own, because every engine wants a bridge called `docker0`.
//! Its containers cannot be reached from outside; who needs traffic uses the machine's engine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::docker::Engine;
use crate::process::{Process, Signal};
use crate::{programs, wait};

/// The network namespace's file in the engine's folder.
const NAMESPACE: &str = "net";

/// The engine. Needs root, as every engine does.
pub struct OwnEngine {
    process: Option<Process>,
    options: Vec<String>,
    /// Beside the daemon and not below it, as service managers run it: it outlives a daemon that is killed.
    containerd: Process,
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
        make_namespace(&folder.path().join(NAMESPACE));
        let containerd = start_containerd(folder.path());
        let mut engine = Self {
            process: None,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            containerd,
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
        let mut command = in_namespace(folder, "dockerd");
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
        while quietly(
            "umount",
            &[
                "--lazy".as_ref(),
                self.folder.path().join("data").as_os_str(),
            ],
        ) {}
        quietly(
            "umount",
            &[
                "--lazy".as_ref(),
                self.folder.path().join(NAMESPACE).as_os_str(),
            ],
        );
        // What root has made, only root can remove.
        for made in ["data", "exec", "containerd", "containerd-state"] {
            let made = self.folder.path().join(made);
            quietly(
                "rm",
                &["--recursive".as_ref(), "--force".as_ref(), made.as_os_str()],
            );
        }
    }
}

/// Runs a command as root for tidying up: whether it worked.
fn quietly(program: &str, arguments: &[&OsStr]) -> bool {
    let mut command = programs::as_root(program);
    command.args(arguments).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn start_containerd(folder: &Path) -> Process {
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
    let mut command = in_namespace(folder, "containerd");
    command.arg("--config").arg(config);
    let mut process = Process::spawn("the test's own containerd", &mut command);
    process.wait_line("containerd successfully booted", wait::LONG);
    process
}

/// Makes a network namespace that lasts until `file` is unmounted.
fn make_namespace(file: &Path) {
    std::fs::write(file, "").unwrap_or_else(|cause| panic!("write {}: {cause}", file.display()));
    let mut command = programs::as_root("unshare");
    command.arg(format!("--net={}", file.display())).arg("true");
    let output = command
        .output()
        .unwrap_or_else(|cause| panic!("run unshare: {cause}"));
    assert!(
        output.status.success(),
        "make a network namespace: {}\nhint: an engine of its own needs root, or sudo without a password",
        String::from_utf8_lossy(&output.stderr)
    );
    // What is in it reaches itself over the loopback interface, which a new one has switched off.
    let mut command = programs::as_root("nsenter");
    command.arg(format!("--net={}", file.display()));
    command
        .arg(programs::system("ip"))
        .args(["link", "set", "lo", "up"]);
    let up = command.status().is_ok_and(|status| status.success());
    assert!(
        up,
        "switch on the loopback interface of a network namespace"
    );
}

/// A command that runs in the namespace made in `folder`.
fn in_namespace(folder: &Path, program: &str) -> Command {
    let mut command = programs::as_root("nsenter");
    command
        .arg(format!("--net={}", folder.join(NAMESPACE).display()))
        .arg(programs::system(program));
    command
}
