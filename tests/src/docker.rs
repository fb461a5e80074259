//! A Docker engine and containers on it, through the `docker` command as people use it. Everything started carries a
//! label with the pid of who started it: a container goes by its id when its value is dropped, and what an aborted run
//! left behind goes when the next one begins.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::process::{Process, Signal};
use crate::{programs, wait};

/// On everything that is started here; the value is the pid of the owner.
pub const OWNER_LABEL: &str = "muster.test.owner";

/// An engine that answers.
#[derive(Clone, Debug)]
pub struct Engine {
    /// `unix://…`; empty for the machine's own.
    host: String,
}

impl Engine {
    /// The machine's own engine.
    ///
    /// # Panics
    /// When none answers.
    #[track_caller]
    #[must_use]
    pub fn of_machine() -> Self {
        let engine = Self {
            host: String::new(),
        };
        static SWEPT: OnceLock<()> = OnceLock::new();
        SWEPT.get_or_init(|| {
            if let Err(reason) = engine.run(&["version", "--format", "{{.Server.Version}}"]) {
                panic!(
                    "no Docker engine answers: {reason}\nhint: `make deps` installs and starts one"
                );
            }
            engine.sweep();
        });
        engine
    }

    /// Where agents reach it: `unix:///path`.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.is_empty() {
            std::env::var("DOCKER_HOST")
                .unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
        } else {
            self.host.clone()
        }
    }

    /// What a `docker` command prints, trimmed.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(programs::system("docker"));
        if !self.host.is_empty() {
            command.arg("--host").arg(&self.host);
        }
        let output = command
            .args(arguments)
            .output()
            .map_err(|cause| format!("run docker: {cause}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(format!("docker {}: {said}", arguments.join(" ")))
        }
    }

    /// Takes away what earlier runs left whose owner no longer lives.
    fn sweep(&self) {
        let format = format!("{{{{.ID}}}} {{{{.Label \"{OWNER_LABEL}\"}}}}");
        let filter = format!("label={OWNER_LABEL}");
        let listed = self.run(&[
            "ps",
            "--all",
            "--no-trunc",
            "--filter",
            &filter,
            "--format",
            &format,
        ]);
        for line in listed.unwrap_or_default().lines() {
            if let Some((id, owner)) = line.split_once(' ')
                && !Path::new("/proc").join(owner).exists()
            {
                let _ = self.run(&["rm", "--force", id]);
            }
        }
    }

    /// Builds the demo's image from scratch, without any network, and gives its id.
    ///
    /// # Errors
    /// What the builder says when it fails.
    pub fn build_web_image(&self) -> Result<String, String> {
        let context =
            tempfile::tempdir().map_err(|cause| format!("make a build folder: {cause}"))?;
        let place = |from: &Path, name: &str| {
            std::fs::copy(from, context.path().join(name))
                .map_err(|cause| format!("copy {}: {cause}", from.display()))
        };
        place(&programs::demo_web(), "demo-web")?;
        place(
            &programs::source().join("deploy/demo/Dockerfile"),
            "Dockerfile",
        )?;
        let folder = context.path().display().to_string();
        self.run(&["build", "--quiet", "--tag", WEB_IMAGE, &folder])
    }

    /// Starts a container with what is set in `spec`.
    ///
    /// # Errors
    /// What `docker run` says when it fails.
    pub fn try_start(&self, spec: &Spec) -> Result<Container, String> {
        let owner = format!("{OWNER_LABEL}={}", std::process::id());
        let mut arguments = vec!["run", "--detach", "--label", &owner];
        arguments.extend(spec.options.iter().map(String::as_str));
        arguments.push(&spec.image);
        arguments.extend(spec.command.iter().map(String::as_str));
        let id = self.run(&arguments)?;
        Ok(Container {
            engine: self.clone(),
            id,
        })
    }

    /// [`Engine::try_start`] for tests.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn start(&self, spec: &Spec) -> Container {
        self.try_start(spec)
            .unwrap_or_else(|reason| panic!("{reason}"))
    }
}

/// The image of the demo's web server.
pub const WEB_IMAGE: &str = "muster-demo-web";

/// What to start: an image and the options of `docker run`.
#[derive(Clone, Debug)]
pub struct Spec {
    image: String,
    options: Vec<String>,
    command: Vec<String>,
}

impl Spec {
    /// The demo's web server under a service name.
    #[must_use]
    pub fn web(service: &str) -> Self {
        let spec = Self {
            image: WEB_IMAGE.to_owned(),
            options: Vec::new(),
            command: Vec::new(),
        };
        spec.label("SERVICE_NAME", service)
    }

    /// `--label`.
    #[must_use]
    pub fn label(self, name: &str, value: &str) -> Self {
        self.option("--label").option(&format!("{name}={value}"))
    }

    /// `--env`.
    #[must_use]
    pub fn env(self, name: &str, value: &str) -> Self {
        self.option("--env").option(&format!("{name}={value}"))
    }

    /// Any option of `docker run`, one word.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }
}

/// A container of ours; removed by force when dropped.
pub struct Container {
    engine: Engine,
    id: String,
}

impl Container {
    /// Its full id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The first twelve digits, which are also its host name.
    #[must_use]
    pub fn short_id(&self) -> &str {
        &self.id[..self.id.len().min(12)]
    }

    /// `docker <verb> <id>`: `kill`, `stop`, `restart`, `pause`, …
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn try_does(&self, verb: &[&str]) -> Result<(), String> {
        let mut arguments = verb.to_vec();
        arguments.push(&self.id);
        self.engine.run(&arguments).map(drop)
    }

    /// [`Container::try_does`] for tests.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn does(&self, verb: &[&str]) {
        if let Err(reason) = self.try_does(verb) {
            panic!("{reason}");
        }
    }

    /// What `docker inspect --format` prints.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn inspect(&self, format: &str) -> Result<String, String> {
        self.engine.run(&["inspect", "--format", format, &self.id])
    }

    /// Its address on the first network it is on.
    ///
    /// # Panics
    /// When it has none.
    #[track_caller]
    #[must_use]
    pub fn address(&self) -> String {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let text = self
            .inspect(format)
            .unwrap_or_else(|reason| panic!("{reason}"));
        let first = text.split(' ').find(|address| !address.is_empty());
        first
            .unwrap_or_else(|| panic!("container {} has no address", self.short_id()))
            .to_owned()
    }

    /// What it has written to stdout and stderr.
    #[must_use]
    pub fn logs(&self) -> String {
        self.engine
            .run(&["logs", &self.id])
            .unwrap_or_else(|reason| reason)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.engine.run(&["rm", "--force", "--volumes", &self.id]);
    }
}

/// An engine of the test's own, so that the machine's is not disturbed when it is stopped or killed. Needs root, as
/// every engine does.
pub struct OwnEngine {
    folder: tempfile::TempDir,
    process: Option<Process>,
    options: Vec<String>,
}

impl OwnEngine {
    /// Starts one: own data, own containerd, own socket, no default bridge and no packet filter rules.
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
            folder,
            process: None,
            options,
        };
        engine.restart();
        engine
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// The engine to run commands on.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine {
            host: format!("unix://{}", self.socket().display()),
        }
    }

    /// Starts it on the data it had and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn restart(&mut self) {
        let folder = self.folder.path();
        let mut command = Command::new(programs::system("dockerd"));
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip-forward=false",
                "--ip-masq=false",
            ])
            .args(&self.options);
        self.process = Some(Process::spawn("the test's own dockerd", &mut command));
        let engine = self.engine();
        wait::until(
            "the test's own Docker engine to answer",
            wait::LONG * 3,
            || {
                if let Some(process) = &mut self.process
                    && let Some(status) = process.exited()
                {
                    return Ok(Err(format!("dockerd ended: {status}\n{}", process.tail())));
                }
                engine
                    .run(&["version", "--format", "{{.Server.Version}}"])
                    .map(|_| Ok(()))
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

    /// Kills the daemon alone; containerd and containers live on.
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
