//! Everything the demo puts on this machine: a work folder, `muster up`, nginx, the containers, the observers and the
//! client. Fields go away in order: first who asks, then who answers.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use end_to_end::docker::{Container, Engine, Spec};
use end_to_end::nginx::Nginx;
use end_to_end::process::{Process, Signal};
use end_to_end::{port, programs, wait, web};

use crate::client::Client;
use crate::journal::{Journal, serves};
use crate::observers::Observers;

/// Where the proxy listens; people type it into a browser, so it is a fixed one.
pub(crate) const PROXY_PORT: u16 = 8080;
/// The service's name in the registry.
const SERVICE: &str = "web";
/// 30 s: a hundred times what any step takes on a small machine.
const SETTLE: Duration = Duration::from_secs(30);

/// The parts on stage.
pub(crate) struct Stage {
    client: Option<Client>,
    observers: Option<Observers>,
    containers: Vec<Container>,
    nginx: Nginx,
    muster: Process,
    engine: Engine,
    journal: Journal,
    endpoint: String,
    work: tempfile::TempDir,
}

impl Stage {
    /// Builds the image, starts nginx, muster and the observers; no container and no client yet.
    ///
    /// # Errors
    /// What could not be had, in a line, with a hint where there is one.
    pub(crate) fn set(muster: &Path) -> Result<Self, String> {
        if let Err(cause) = TcpListener::bind(("127.0.0.1", PROXY_PORT)) {
            return Err(format!(
                "listen on 127.0.0.1:{PROXY_PORT}: {cause}\nhint: something else serves there; `ss -ltnp` says what"
            ));
        }
        let engine = Engine::of_machine();
        engine.build_web_image()?;
        let work = tempfile::Builder::new()
            .prefix("muster-demo-")
            .tempdir()
            .map_err(|cause| format!("make a work folder: {cause}"))?;
        let nginx_prefix = work.path().join("nginx");
        let nginx = start_nginx(&nginx_prefix)?;
        place_confd(&work.path().join("confd"), &nginx_prefix)?;
        let endpoint = format!("http://127.0.0.1:{}", port::free());
        let muster = start_muster(muster, work.path(), &endpoint)?;
        let journal = Journal::default();
        let observers = Observers::start(&journal, &endpoint, nginx_prefix.join("nginx.conf"))?;
        Ok(Self {
            client: None,
            observers: Some(observers),
            containers: Vec::new(),
            nginx,
            muster,
            engine,
            journal,
            endpoint,
            work,
        })
    }

    /// What has been seen so far.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The store's address.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The folder with the data, the templates and what is rendered.
    pub(crate) fn work(&self) -> &Path {
        self.work.path()
    }

    /// The proxy's address.
    pub(crate) fn proxy(&self) -> SocketAddr {
        self.nginx.address()
    }

    /// The client, once started.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Lets the client send from now on.
    pub(crate) fn start_client(&mut self) {
        self.client = Some(Client::start(self.nginx.address(), &self.journal));
    }

    /// Starts containers until there are `count`.
    ///
    /// # Errors
    /// What `docker run` says.
    pub(crate) fn scale_to(&mut self, count: usize) -> Result<(), String> {
        while self.containers.len() < count {
            self.containers
                .push(self.engine.try_start(&Spec::web(SERVICE))?);
        }
        Ok(())
    }

    /// Takes the oldest container off the list of those expected, to be killed or stopped.
    pub(crate) fn take_container(&mut self) -> Option<Container> {
        (!self.containers.is_empty()).then(|| self.containers.remove(0))
    }

    /// Short ids of the containers that should serve.
    pub(crate) fn expected(&self) -> BTreeSet<String> {
        self.containers
            .iter()
            .map(|container| container.short_id().to_owned())
            .collect()
    }

    /// Waits until the registry, the file and nginx all say: exactly the expected ones.
    ///
    /// # Errors
    /// Who still says otherwise when the time is over.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let expected = self.expected();
        let (journal, proxy, muster) = (self.journal.clone(), self.proxy(), &mut self.muster);
        wait::try_until("registry, file and nginx to agree", SETTLE, || {
            if let Some(status) = muster.exited() {
                return Ok(Err(format!("muster up ended: {status}\n{}", muster.tail())));
            }
            let registry = journal.registry();
            let keys: BTreeSet<_> = registry.keys().cloned().collect();
            let known = |id: &String| keys.iter().any(|key| key.contains(id));
            if keys.len() != expected.len() || !expected.iter().all(known) {
                return Err(format!("the store has {keys:?}, expected {expected:?}"));
            }
            let file = journal.file();
            let lines = crate::journal::server_lines(&file).count();
            if lines != expected.len() || !expected.iter().all(|id| serves(&file, id)) {
                return Err(format!(
                    "the file has {lines} servers, expected {expected:?}\n{file}"
                ));
            }
            // Each of nginx's workers keeps its own turn, so that all instances are seen only after a few rounds.
            let answering = web::instances_behind(proxy, 4 * expected.len())?;
            if answering != expected {
                return Err(format!(
                    "nginx passes on answers of {answering:?}, expected {expected:?}"
                ));
            }
            Ok(Ok(()))
        })?
    }

    /// Ends `muster up` as a service manager does.
    ///
    /// # Errors
    /// When it does not drain and exit with 0.
    pub(crate) fn stop_muster(&mut self) -> Result<(), String> {
        self.muster.signal(Signal::TERM);
        let ended = wait::try_until("muster up to end after SIGTERM", SETTLE, || {
            self.muster
                .exited()
                .ok_or_else(|| "still running".to_owned())
        })?;
        if ended.success() {
            Ok(())
        } else {
            Err(format!("muster up ended: {ended}\n{}", self.muster.tail()))
        }
    }

    /// What muster has said last.
    pub(crate) fn muster_tail(&self) -> String {
        self.muster.tail()
    }

    /// Ends the client and the observers, so that nobody asks while the parts go.
    pub(crate) fn end_asking(&mut self) {
        self.client = None;
        self.observers = None;
    }
}

/// nginx on its own prefix; until muster has rendered its configuration it answers 503.
fn start_nginx(prefix: &Path) -> Result<Nginx, String> {
    std::fs::create_dir_all(prefix)
        .map_err(|cause| format!("make {}: {cause}", prefix.display()))?;
    let initial = read(&programs::source().join("deploy/demo/nginx-initial.conf"))?;
    // A process group of its own: Ctrl-C is for the demo, which first ends the client and then what it asks.
    Ok(Nginx::start_with(prefix, &initial, PROXY_PORT, |command| {
        command.process_group(0)
    }))
}

/// Copies the resource and the template, with the folder's path put in.
fn place_confd(folder: &Path, nginx_prefix: &Path) -> Result<(), String> {
    let source = programs::source().join("deploy/demo/confd");
    for name in ["conf.d/nginx.yaml", "templates/nginx.conf.tera"] {
        let text = read(&source.join(name))?
            .replace("@PREFIX@", &nginx_prefix.display().to_string())
            .replace("@NGINX@", &programs::system("nginx").display().to_string())
            .replace("@PORT@", &PROXY_PORT.to_string());
        let to = folder.join(name);
        let write = || {
            std::fs::create_dir_all(to.parent().unwrap_or(folder))?;
            std::fs::write(&to, text)
        };
        write().map_err(|cause| format!("write {}: {cause}", to.display()))?;
    }
    Ok(())
}

fn read(path: &PathBuf) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|cause| format!("read {}: {cause}", path.display()))
}

/// `muster up`, as a person would start it, with its folders in the work folder; returns when it says it is ready.
fn start_muster(binary: &Path, work: &Path, endpoint: &str) -> Result<Process, String> {
    let mut command = Command::new(binary);
    command
        .arg("up")
        .arg("--data-dir")
        .arg(work.join("data"))
        .args(["--listen-client-urls", endpoint])
        // Containers at their own addresses: no published port stands between nginx and them.
        .arg("--internal")
        .arg("--confdir")
        .arg(work.join("confd"));
    // As nginx, see there.
    let mut process = Process::spawn("muster up", command.process_group(0));
    wait::try_until("muster up to be ready", SETTLE, || {
        if let Some(status) = process.exited() {
            return Ok(Err(format!(
                "muster up ended: {status}\n{}",
                process.tail()
            )));
        }
        let ready = process
            .lines()
            .iter()
            .any(|line| line.starts_with("muster is up"));
        if ready {
            Ok(Ok(()))
        } else {
            Err(process.tail())
        }
    })??;
    Ok(process)
}
