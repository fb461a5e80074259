//! The shell around the container engine: one event stream that is always being read, answers to
//! lists and inspections, and reconnection for ever. Decides nothing; every fact goes to the agent.
//!
//! Gapless by construction: a stream is opened with `since` a little before the last event seen,
//! its events are queued from the first, and only then is everything listed. What the engine's ring
//! of 256 events lost, the list shows.

mod inspect;
mod refusal;
mod transport;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::exec::StartExecResults;
use bollard::models::{EventMessage, ExecConfig};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures::StreamExt;
use store_client::backoff::Backoff;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{sleep, timeout};

use crate::agent::{Input, Inspected, Summary, Token};
use crate::config::{Config, EngineTls};
use crate::container::{Container, NetworkMode};
use crate::{listening, services};

/// 5 s of events are replayed on every reconnect: more than publishing can lag behind the clock.
const OVERLAP_NANOS: i64 = 5_000_000_000;
/// 60 s before our own start: a container that was told to stop then may still be draining.
const LOOK_BACK_NANOS: i64 = 60_000_000_000;
/// 10 s without an event: socket proxies cut quiet streams without telling, a ping finds out.
const IDLE: Duration = Duration::from_secs(10);
/// 5 s: an engine that does not answer a ping by then is stuck.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// 20 ms: an engine that refuses the stream does so at once; one that does not says nothing.
const SETTLED: Duration = Duration::from_millis(20);
/// 30 s: an inspection waits for the container's lock, which a slow start holds.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// 100 ms, 2 s: an engine that restarts is back within seconds, and a try costs it nothing.
const RETRY_FLOOR: Duration = Duration::from_millis(100);
const RETRY_CEILING: Duration = Duration::from_secs(2);

/// What the engine's messages are asked for. Naming more costs room in its queue of 1024 per
/// listener (exec events of health probes would fill it). `health_status` switches the whole filter to
/// matching prefixes, of which none is one of another event.
const EVENTS: [&str; 12] = [
    "start",
    "die",
    "kill",
    "stop",
    "pause",
    "unpause",
    "rename",
    "update",
    "destroy",
    "connect",
    "disconnect",
    "health_status",
];

/// The way to one engine.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    host: Arc<str>,
    tls: Option<Arc<EngineTls>>,
    /// Settings of ssh(1), for `ssh://`.
    ssh_config: Option<Arc<Path>>,
    /// The client, while there is one. Locked only to copy it.
    client: Arc<Mutex<Option<Docker>>>,
    /// Services that no container offers, from this file.
    services: Option<Arc<Path>>,
    /// As they were when the file could be read last. Locked only to copy or replace them.
    known: Arc<Mutex<Known>>,
    facts: UnboundedSender<Input>,
}

/// Services that no container offers.
#[derive(Debug, Default)]
struct Known {
    services: Vec<Container>,
    /// What was wrong with the file, told once.
    faults: Vec<String>,
}

/// Said in place of an engine's address where there is none, only services from a file.
const NO_ENGINE: &str = "none";

impl Engine {
    /// The (first) engine that the settings name, whose facts go to `facts`.
    #[must_use]
    pub(crate) fn new(config: &Config, facts: UnboundedSender<Input>) -> Self {
        Self {
            host: config.docker_host.as_str().into(),
            tls: config.docker_tls.clone().map(Arc::new),
            ssh_config: config.docker_ssh_config.as_deref().map(Into::into),
            client: Arc::new(Mutex::new(None)),
            services: config.services.as_deref().map(Into::into),
            known: Arc::default(),
            facts,
        }
    }

    /// Reads the services again; a file that cannot be read leaves them as they were.
    fn read_services(&self) -> Vec<Container> {
        let Some(path) = &self.services else {
            return Vec::new();
        };
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        let read = text.and_then(|text| services::read(&text));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = match read {
            Ok((found, faults)) => {
                known.services = found;
                faults
            }
            Err(why) => vec![why],
        };
        for fault in faults.iter().filter(|fault| !known.faults.contains(fault)) {
            tracing::warn!("{}: {fault}", path.display());
        }
        known.faults = faults;
        known.services.clone()
    }

    /// The service from the file with this id or name.
    fn service(&self, name: &str) -> Option<Container> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = known.services.iter();
        all.find(|service| service.id == name || service.name == name)
            .cloned()
    }

    /// Follows the event stream for ever. Safe to cancel at any time.
    pub(crate) async fn follow(&self) {
        if &*self.host == NO_ENGINE {
            self.tell(Input::EngineUp);
            return std::future::pending().await;
        }
        let mut backoff = Backoff::new(RETRY_FLOOR, RETRY_CEILING, rand_seed());
        let mut last_nanos = wall_nanos() - LOOK_BACK_NANOS + OVERLAP_NANOS;
        loop {
            let why = match self.connect().await {
                Ok(client) => {
                    let opened = tokio::time::Instant::now();
                    let why = self.read_events(&client, &mut last_nanos).await;
                    if opened.elapsed() > RETRY_CEILING {
                        backoff.reset();
                    }
                    why
                }
                Err(why) => why,
            };
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.tell(Input::EngineDown { why });
            sleep(backoff.delay()).await;
        }
    }

    /// The engine's own name for its host, as soon as it answers; `missing` is told why not yet.
    pub(crate) async fn host_name(&self, mut missing: impl FnMut(String)) -> String {
        if &*self.host == NO_ENGINE
            && let Some(name) = kernel_name()
        {
            return name;
        }
        let mut backoff = Backoff::new(RETRY_FLOOR, RETRY_CEILING, rand_seed());
        loop {
            let why = match self.connect().await {
                Ok(client) => match timeout(PING_TIMEOUT, client.info()).await {
                    Ok(Ok(info)) => match info.name.filter(|name| !name.is_empty()) {
                        Some(name) => return name,
                        None => "the engine does not know the name of its host".to_owned(),
                    },
                    Ok(Err(error)) => one_line(&error),
                    Err(_) => format!("no answer within {PING_TIMEOUT:?}"),
                },
                Err(why) => why,
            };
            missing(why);
            sleep(backoff.delay()).await;
        }
    }

    /// Connects for calls without an event stream; returns the engine's name for its host.
    pub(crate) async fn once(&self) -> Result<Option<String>, String> {
        self.read_services();
        if &*self.host == NO_ENGINE {
            return Ok(kernel_name());
        }
        let client = self.connect().await?;
        let info = timeout(PING_TIMEOUT, client.info()).await;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
        match info {
            Ok(Ok(info)) => Ok(info.name.filter(|name| !name.is_empty())),
            // A socket proxy may forbid it; the name can be set by hand.
            Ok(Err(_)) => Ok(None),
            Err(_) => Err(format!("no answer within {PING_TIMEOUT:?}")),
        }
    }

    /// What the engine says about itself.
    pub(crate) async fn version(&self) -> Result<String, String> {
        let client = self.connect().await?;
        let found = client.version().await.map_err(|error| one_line(&error))?;
        let api = found.api_version.unwrap_or_default();
        Ok(format!(
            "version {}, API {api}{}",
            found.version.unwrap_or_default(),
            refusal::of_age(&api)
        ))
    }

    /// Stops a container the way its settings say.
    pub(crate) async fn stop_now(&self, name: &str) -> Result<(), String> {
        // The engine waits for the container's own stop timeout, which may be long.
        let client = self.connect().await?;
        let stopped = client.stop_container(name, None).await;
        stopped.map_err(|error| format!("stop {name}: {}", one_line(&error)))
    }

    /// Runs a command in a container by its shell; an error unless it ends with 0.
    pub(crate) async fn exec(&self, id: &str, command: &str) -> Result<(), String> {
        let answer = self.ask(async |client| {
            let wish = ExecConfig {
                cmd: Some(["/bin/sh", "-c", command].map(str::to_owned).into()),
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                ..ExecConfig::default()
            };
            let made = client.create_exec(id, wish).await?;
            // Its end is the end of its output, of which nothing is kept.
            if let StartExecResults::Attached { mut output, .. } =
                client.start_exec(&made.id, None).await?
            {
                while output.next().await.transpose()?.is_some() {}
            }
            client.inspect_exec(&made.id).await
        });
        match answer.await.map(|found| found.exit_code) {
            Ok(Some(0)) => Ok(()),
            Ok(Some(status)) => Err(format!("the command ended with {status}")),
            Ok(None) => Err("the command has not ended".to_owned()),
            Err(failure) => Err(failure.why),
        }
    }

    /// Lists the containers.
    pub(crate) async fn list_now(&self) -> Result<Vec<Summary>, String> {
        let services = self.read_services().into_iter().map(|service| Summary {
            shape: format!("{:?}", service.labels),
            id: service.id,
            name: service.name,
            running: true,
        });
        if &*self.host == NO_ENGINE {
            return Ok(services.collect());
        }
        let answer = self.ask(async |client| {
            let options = ListContainersOptionsBuilder::new().all(false).build();
            client.list_containers(Some(options)).await
        });
        match answer.await {
            Ok(entries) => {
                let entries = entries.into_iter().filter_map(inspect::summary);
                Ok(entries.chain(services).collect())
            }
            Err(failure) => Err(failure.why),
        }
    }

    /// Inspects one container; `None` when there is none.
    pub(crate) async fn inspect_now(&self, name: &str) -> Result<Option<Container>, String> {
        if let Some(service) = self.service(name) {
            return Ok(Some(service));
        }
        if &*self.host == NO_ENGINE {
            return Ok(None);
        }
        let answer = self.ask(async |client| client.inspect_container(name, None).await);
        let found = match answer.await {
            Ok(found) => found,
            Err(failure) if failure.not_found => return Ok(None),
            Err(failure) => return Err(failure.why),
        };
        let pid = found.state.as_ref().and_then(|state| state.pid);
        let container = inspect::container(found);
        let mut container = container.ok_or("the engine's answer has no id")?;
        if container.network_mode == NetworkMode::Host {
            container.listening = listening::ports(pid.unwrap_or(0), &container.id);
        }
        Ok(Some(container))
    }

    /// Lists the containers; the answer is sent as a fact.
    pub(crate) fn list(&self, token: Token) {
        let engine = self.clone();
        tokio::spawn(async move {
            engine.tell(match engine.list_now().await {
                Ok(containers) => Input::Listed { token, containers },
                Err(why) => Input::ListFailed { token, why },
            });
        });
    }

    /// Inspects one container; the answer is sent as a fact.
    pub(crate) fn inspect(&self, token: Token, id: String) {
        let engine = self.clone();
        tokio::spawn(async move {
            let answer = match engine.inspect_now(&id).await {
                Ok(Some(container)) => Inspected::Found(Box::new(container)),
                Ok(None) => Inspected::Gone,
                Err(why) => Inspected::Failed(why),
            };
            engine.tell(Input::Inspected { token, id, answer });
        });
    }

    async fn ask<T>(
        &self,
        call: impl AsyncFnOnce(&Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, Failure> {
        let client = self
            .client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(client) = client else {
            return Err(Failure::new("not connected".to_owned()));
        };
        match timeout(CALL_TIMEOUT, call(&client)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure {
                not_found: matches!(
                    error,
                    bollard::errors::Error::DockerResponseServerError {
                        status_code: 404,
                        ..
                    }
                ),
                why: one_line(&error),
            }),
            Err(_) => Err(Failure::new(format!("no answer within {CALL_TIMEOUT:?}"))),
        }
    }

    async fn connect(&self) -> Result<Docker, String> {
        let client = transport::client(&self.host, self.tls.as_deref(), self.ssh_config.as_deref())
            .map_err(|why| refusal::explained(&self.host, why))?;
        ping(&client)
            .await
            .map_err(|why| refusal::explained(&self.host, why))?;
        Ok(client)
    }

    /// Reads until the stream ends; returns why. `last_nanos` follows the newest event.
    async fn read_events(&self, client: &Docker, last_nanos: &mut i64) -> String {
        let since = last_nanos.saturating_sub(OVERLAP_NANOS);
        let options = EventsOptionsBuilder::new()
            .since(&format!(
                "{}.{:09}",
                since / 1_000_000_000,
                since % 1_000_000_000
            ))
            .filters(&std::collections::HashMap::from([
                ("type", vec!["container", "network"]),
                ("event", EVENTS.to_vec()),
            ]))
            .build();
        let mut stream = std::pin::pin!(client.events(Some(options)));
        // The request goes out with the first poll, and a refusal comes back at once.
        let first = match timeout(SETTLED, stream.next()).await {
            Ok(Some(Ok(message))) => Some(message),
            Ok(Some(Err(error))) => return format!("event stream: {}", one_line(&error)),
            Ok(None) => return "event stream: the engine closed it".to_owned(),
            Err(_) => None,
        };
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        self.tell(Input::EngineUp);
        if let Some(message) = first {
            self.tell_event(message, last_nanos);
        }
        let mut pong = std::pin::pin!(None);
        loop {
            tokio::select! {
                biased;
                // Safe to cancel: a stream hands out an item or stays as it is.
                message = stream.next() => match message {
                    Some(Ok(message)) => self.tell_event(message, last_nanos),
                    Some(Err(error)) => return format!("event stream: {}", one_line(&error)),
                    None => return "event stream: the engine closed it".to_owned(),
                },
                // Safe to cancel: a lost pong is asked for again after the next silence.
                answer = poll_some(pong.as_mut()) => {
                    pong.set(None);
                    if let Err(why) = answer {
                        return why;
                    }
                }
                // Safe to cancel: it only waits.
                () = sleep(IDLE), if pong.is_none() => pong.set(Some(ping(client))),
            }
        }
    }

    fn tell_event(&self, message: EventMessage, last_nanos: &mut i64) {
        if let Some(event) = inspect::event(message) {
            *last_nanos = (*last_nanos).max(event.time_nanos);
            self.tell(Input::Happened(event));
        }
    }

    fn tell(&self, fact: Input) {
        // Nobody listens any more only when the agent stops.
        let _ = self.facts.send(fact);
    }
}

/// The kernel's name for this host, where no engine knows one.
fn kernel_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Why the engine did not answer.
struct Failure {
    not_found: bool,
    why: String,
}

impl Failure {
    fn new(why: String) -> Self {
        Self {
            not_found: false,
            why,
        }
    }
}

async fn ping(client: &Docker) -> Result<(), String> {
    match timeout(PING_TIMEOUT, client.ping()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(one_line(&error)),
        Err(_) => Err(format!("no answer to a ping within {PING_TIMEOUT:?}")),
    }
}

/// Waits for the future inside, or for ever.
async fn poll_some<F: Future>(future: std::pin::Pin<&mut Option<F>>) -> F::Output {
    match future.as_pin_mut() {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// The error with its causes, each said once.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        source = cause.source();
    }
    line.replace('\n', " ")
}

/// Nanoseconds since 1970.
pub(crate) fn wall_nanos() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A seed that differs between agents started at the same time.
pub(crate) fn rand_seed() -> u64 {
    let pid = u64::from(std::process::id());
    u64::try_from(wall_nanos()).unwrap_or(0) ^ (pid << 40)
}
