//! A Compose project: what `docker-compose` starts from files of `deploy/compose`. Its containers, networks and volumes
//! carry its name and go when it is dropped; what an aborted run left goes when the next one begins.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use end_to_end::docker::Engine;
use end_to_end::{programs, wait};

use crate::images::Images;
use crate::shipped;

/// Enough for a dozen containers on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// What names begin with; the pid of the test and a number come after.
const PREFIX: &str = "mustertest";

/// Compose's own label.
const LABEL: &str = "com.docker.compose.project";

/// A project that may be running.
pub(crate) struct Project {
    pub(crate) engine: Engine,
    name: String,
    files: Vec<&'static str>,
    environment: Vec<(String, String)>,
    _images: Arc<Images>,
}

impl Project {
    /// Nothing runs yet. The group of the engine's socket is found out as a user is told to.
    pub(crate) fn new(files: &[&'static str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let engine = Engine::of_machine();
        if NEXT.load(Ordering::Relaxed) == 0 {
            sweep(&engine);
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let images = Images::made();
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let socket = engine.address().replace("unix://", "");
        use std::os::unix::fs::MetadataExt as _;
        let group = std::fs::metadata(&socket).unwrap().gid();
        let project = Self {
            engine,
            name: name.clone(),
            files: files.to_vec(),
            environment: Vec::new(),
            _images: Arc::clone(&images),
        };
        project
            .with("COMPOSE_PROJECT_NAME", &name)
            // Other tests' containers run on the same engine.
            .with("FILTER", &format!("compose.project == \"{name}\""))
            .with("DOCKER_GID", &group.to_string())
            .with("DOCKER_SOCKET", &socket)
            .with("MUSTER_IMAGE", &images.muster)
            .with("NGINX_IMAGE", &images.nginx)
            .with("HAPROXY_IMAGE", &images.haproxy)
            .with("WEB_IMAGE", &images.web)
    }

    /// With a variable that its files take, or with another value of it.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn use_files(&mut self, files: &[&'static str]) {
        self.files = files.to_vec();
    }

    /// What a command of `docker-compose` prints.
    pub(crate) fn try_compose(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(programs::system("docker-compose"));
        command.current_dir(shipped("compose"));
        for file in &self.files {
            command.args(["-f", file]);
        }
        let variables = self.environment.iter();
        command.envs(variables.map(|(name, value)| (name.as_str(), value.as_str())));
        let output = command.args(words).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(told),
            false => Err(format!(
                "docker-compose {words:?}: {told}{}\n{}",
                String::from_utf8_lossy(&output.stderr),
                self.said()
            )),
        }
    }

    #[track_caller]
    pub(crate) fn compose(&self, words: &[&str]) -> String {
        let told = self.try_compose(words);
        told.unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Ids of the containers of a service.
    pub(crate) fn containers(&self, service: &str) -> Vec<String> {
        let project = format!("label={LABEL}={}", self.name);
        let service = format!("label=com.docker.compose.service={service}");
        let filters = ["--filter", &project, "--filter", &service];
        let listed = self
            .engine
            .run(&[&["ps", "--quiet", "--no-trunc"], &filters[..]].concat());
        listed.unwrap().lines().map(str::to_owned).collect()
    }

    /// Waits until the image's own check says that the service is well.
    #[track_caller]
    pub(crate) fn is_healthy(&self, service: &str) {
        wait::until(&format!("{service} is healthy"), PATIENCE, || {
            let containers = self.containers(service);
            let id = containers.first().ok_or_else(|| self.said())?;
            let state = self
                .engine
                .run(&["inspect", "--format", "{{json .State.Health}}", id])?;
            match state.contains("\"Status\":\"healthy\"") {
                true => Ok(()),
                false => Err(format!("{state}\n{}", self.said())),
            }
        });
    }

    /// The last words of all containers.
    pub(crate) fn said(&self) -> String {
        let label = format!("label={LABEL}={}", self.name);
        let format = "{{.ID}} {{.Names}} {{.Status}}";
        let listed = self
            .engine
            .run(&["ps", "--all", "--filter", &label, "--format", format]);
        let mut said = String::new();
        for line in listed.unwrap_or_default().lines() {
            let id = line.split(' ').next().unwrap_or_default();
            let logs = Command::new(programs::system("docker"))
                .args(["logs", "--tail", "8", id])
                .output();
            said.push_str(&format!("--- {line}\n"));
            if let Ok(logs) = logs {
                said.push_str(&String::from_utf8_lossy(&logs.stdout));
                said.push_str(&String::from_utf8_lossy(&logs.stderr));
            }
        }
        said
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        remove(&self.engine, &self.name);
    }
}

fn remove(engine: &Engine, project: &str) {
    let label = format!("label={LABEL}={project}");
    for (list, remove) in [
        (
            &["ps", "--all", "--quiet"][..],
            &["rm", "--force", "--volumes"][..],
        ),
        (&["network", "ls", "--quiet"], &["network", "rm"]),
        (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
    ] {
        let listed = engine.run(&[list, &["--filter", &label]].concat());
        let listed = listed.unwrap_or_default();
        let ids: Vec<&str> = listed.lines().collect();
        if !ids.is_empty() {
            let _ = engine.run(&[remove, &ids].concat());
        }
    }
}

/// Takes away the projects of runs whose process no longer lives.
fn sweep(engine: &Engine) {
    let format = format!("{{{{.Label \"{LABEL}\"}}}}");
    let mut left = std::collections::BTreeSet::new();
    for list in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
        let filter = format!("label={LABEL}");
        let listed = engine.run(&[list, &["--filter", &filter, "--format", &format]].concat());
        left.extend(listed.unwrap_or_default().lines().map(str::to_owned));
    }
    for project in left {
        let rest = project.strip_prefix(PREFIX);
        let pid = rest.and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(engine, &project);
        }
    }
}
