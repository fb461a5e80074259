//! A Docker engine and containers on it, through the `docker` command as people use it. Everything started carries a
//! label with the pid of who started it: a container goes by its id when its value is dropped, and what an aborted run
//! left behind goes when the next one begins.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::programs;

/// On everything that is started here; the value is the pid of the owner.
pub const OWNER_LABEL: &str = "test.muster.owner";

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

    /// The engine at an address, whether it answers or not.
    #[must_use]
    pub fn at(host: String) -> Self {
        Self { host }
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
