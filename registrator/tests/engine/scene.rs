//! One store of its own, the machine's engine, and a service nobody else uses. The agent runs inside
//! the test process on a runtime of its own; killing that runtime leaves it no time for a farewell,
//! like `kill -9`.
#![allow(clippy::unwrap_used, reason = "a test's own harness")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use end_to_end::docker::{Engine, OWNER_LABEL};
use end_to_end::store::{Maker, Store};
use end_to_end::{programs, wait};
use etcd_client::{Client, GetOptions, WatchOptions};
use registrator::status::Fault;
use registrator::{Agent, Args, Config, Status, StopPolicy};
use store_client::endpoint::Endpoint;
use tokio::runtime::Runtime;

pub(crate) const IMAGE: &str = "muster-registrator-test";

/// Lives until somebody ends it, gently or not.
pub(crate) const GENTLE: &str = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";
/// Does not care for SIGTERM.
pub(crate) const DEAF: &str = "trap '' TERM; while :; do sleep 1 & wait $!; done";

pub(crate) struct Scene {
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    pub(crate) service: String,
    runtime: Runtime,
    client: Client,
}

impl Scene {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let store = Store::start(Maker::Etcd);
        let engine = Engine::of_machine();
        build_image(&engine);
        let runtime = Runtime::new().unwrap();
        let client = runtime
            .block_on(Client::connect([store.endpoint()], None))
            .unwrap();
        Self {
            store,
            engine,
            service: format!("t{}-{number}", std::process::id()),
            runtime,
            client,
        }
    }

    /// Settings of the agent: container addresses, a short lease.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(Endpoint::parse_list(&self.store.endpoint()).unwrap());
        config.docker_host = self.engine.address();
        config.node = Some(self.service.clone());
        config.ttl_seconds = 3;
        config.internal = true;
        config
    }

    /// Settings of an agent that writes to another registry, as upstream names it.
    pub(crate) fn config_for(&self, registry: &str) -> Config {
        let resolved = Config::resolve(&self.args_for(registry));
        resolved.unwrap_or_else(|error| panic!("{registry}: {error}"))
    }

    /// Flags of such an agent.
    pub(crate) fn args_for(&self, registry: &str) -> Args {
        Args {
            registry: Some(registry.to_owned()),
            docker_host: Some(self.engine.address()),
            node: Some(self.service.clone()),
            ttl: Some("10s".to_owned()),
            internal: true,
            ..Args::default()
        }
    }

    pub(crate) fn agent(&self) -> Running {
        Running::start(self.config())
    }

    /// A container of this scene's service that exposes port 80 and runs `script`.
    pub(crate) fn container(&self, options: &[&str], script: &str) -> Container {
        let owner = format!("{OWNER_LABEL}={}", std::process::id());
        let name = format!("SERVICE_NAME={}", self.service);
        let mut arguments = vec!["run", "--detach", "--label", &owner, "--label", &name];
        arguments.extend_from_slice(options);
        arguments.extend_from_slice(&[IMAGE, "sh", "-c", script]);
        let id = self
            .engine
            .run(&arguments)
            .unwrap_or_else(|reason| panic!("{reason}"));
        self.adopt(id)
    }

    /// A container that was started in another way.
    pub(crate) fn adopt(&self, id: String) -> Container {
        Container {
            engine: self.engine.clone(),
            id,
        }
    }

    /// Keys and values of this scene's service.
    pub(crate) fn keys(&self) -> Vec<(String, String)> {
        self.keys_below(&format!("/services/{}/", self.service))
    }

    pub(crate) fn keys_below(&self, prefix: &str) -> Vec<(String, String)> {
        let mut client = self.client.clone();
        let options = GetOptions::new().with_prefix();
        let answer = self
            .runtime
            .block_on(client.get(prefix, Some(options)))
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        answer
            .kvs()
            .iter()
            .map(|kv| (text(kv.key()), text(kv.value())))
            .collect()
    }

    /// The leases in the store.
    pub(crate) fn leases(&self) -> Vec<i64> {
        let mut client = self.client.clone();
        let answer = self.runtime.block_on(client.leases()).unwrap();
        answer
            .leases()
            .iter()
            .map(etcd_client::LeaseStatus::id)
            .collect()
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        let mut client = self.client.clone();
        self.runtime.block_on(client.put(key, value, None)).unwrap();
    }

    pub(crate) fn delete(&self, key: &str) {
        let mut client = self.client.clone();
        self.runtime.block_on(client.delete(key, None)).unwrap();
    }

    /// Waits until exactly these containers are registered.
    #[track_caller]
    pub(crate) fn becomes(&self, containers: &[&Container]) {
        let mut want: Vec<&str> = containers
            .iter()
            .map(|container| &container.id[..12])
            .collect();
        want.sort_unstable();
        wait::until("the right keys", wait::LONG, || {
            let keys = self.keys();
            let right = keys.len() == want.len()
                && want
                    .iter()
                    .all(|id| keys.iter().any(|(key, _)| key.contains(id)));
            if right {
                Ok(())
            } else {
                Err(format!("{keys:?}, want {want:?}"))
            }
        });
    }

    /// The store's revision, which moves with every write of anybody.
    pub(crate) fn revision(&self) -> i64 {
        let mut client = self.client.clone();
        let answer = self.runtime.block_on(client.get("any", None)).unwrap();
        answer.header().unwrap().revision()
    }

    /// Events under this scene's service since `revision`, oldest first: true for a put.
    pub(crate) fn events_since(&self, revision: i64) -> Vec<(bool, String)> {
        let mut client = self.client.clone();
        // Beside the service's keys, within the watched prefix: everything before it has been seen
        // once it is.
        let prefix = format!("/services/{}", self.service);
        let marker = format!("{prefix}~marker");
        self.runtime.block_on(async move {
            client.put(marker.as_str(), "", None).await.unwrap();
            let options = WatchOptions::new()
                .with_prefix()
                .with_start_revision(revision + 1);
            let mut stream = client.watch(prefix, Some(options)).await.unwrap();
            let mut seen: Vec<(bool, String)> = Vec::new();
            while seen.last().is_none_or(|(_, key)| *key != marker) {
                let batch = stream.message().await.unwrap().unwrap();
                for event in batch.events() {
                    let put = event.event_type() == etcd_client::EventType::Put;
                    seen.push((put, event.kv().unwrap().key_str().unwrap().to_owned()));
                }
            }
            seen.retain(|(_, key)| *key != marker);
            seen
        })
    }
}

/// Faults of the agent itself and about these containers. It sees those of all other tests on the same engine too, some of
/// which are faulty on purpose.
pub(crate) fn faults_of(status: &Status, containers: &[&Container]) -> Vec<Fault> {
    let names: Vec<String> = containers
        .iter()
        .map(|container| {
            container
                .inspect("{{.Name}}")
                .replace('/', "")
                .trim()
                .to_owned()
        })
        .collect();
    let mut faults = status.faults.clone();
    faults.retain(|fault| {
        matches!(&*fault.subject, "engine" | "store") || names.contains(&fault.subject)
    });
    faults
}

/// A container, removed when dropped.
pub(crate) struct Container {
    engine: Engine,
    pub(crate) id: String,
}

impl Container {
    #[track_caller]
    pub(crate) fn does(&self, verb: &[&str]) {
        let mut arguments = verb.to_vec();
        arguments.push(&self.id);
        if let Err(reason) = self.engine.run(&arguments) {
            panic!("{reason}");
        }
    }

    pub(crate) fn inspect(&self, format: &str) -> String {
        let answer = self.engine.run(&["inspect", "--format", format, &self.id]);
        answer.unwrap_or_else(|reason| panic!("{reason}"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.engine.run(&["rm", "--force", &self.id]);
    }
}

/// An agent on a runtime of its own.
pub(crate) struct Running {
    runtime: Runtime,
    agent: Option<Agent>,
}

impl Running {
    pub(crate) fn start(config: Config) -> Self {
        let runtime = Runtime::new().unwrap();
        let guard = runtime.enter();
        let agent = Agent::start(config).unwrap();
        drop(guard);
        Self {
            runtime,
            agent: Some(agent),
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.agent.as_ref().unwrap().status().borrow().clone()
    }

    pub(crate) fn listening(&self) -> std::net::SocketAddr {
        self.agent.as_ref().unwrap().listening().unwrap()
    }

    #[track_caller]
    pub(crate) fn ready(self) -> Self {
        wait::until("the agent to be ready", wait::LONG, || {
            let status = self.status();
            if status.is_ready() {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        });
        self
    }

    /// Ends it as `kill -9` would: nothing of it runs any more, nobody was told.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_millis(1));
    }

    pub(crate) fn stop(mut self, policy: StopPolicy) {
        let agent = self.agent.take().unwrap();
        self.runtime.block_on(agent.stop(policy));
    }
}

/// Builds the image on the machine's engine, once.
fn build_image(engine: &Engine) {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| build_image_on(engine));
}

pub(crate) fn build_image_on(engine: &Engine) {
    let context = tempfile::tempdir().unwrap();
    std::fs::copy(programs::busybox(), context.path().join("busybox")).unwrap();
    // Health checks from the command line are for the shell.
    let recipe = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nEXPOSE 80\nENV PATH=/bin\n\
                  ENTRYPOINT [\"/bin/busybox\"]\n";
    std::fs::write(context.path().join("Dockerfile"), recipe).unwrap();
    let folder = context.path().display().to_string();
    engine
        .run(&["build", "--quiet", "--tag", IMAGE, &folder])
        .unwrap_or_else(|reason| panic!("{reason}"));
}
