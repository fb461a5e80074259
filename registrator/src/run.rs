//! Ties the parts together: facts from engine, store and clock go through one queue into the agent,
//! its orders go out, its picture is published. Nothing here decides, and nothing in the loop waits
//! for I/O.

use std::process::ExitCode;
use std::time::Duration;

use registrator_catalog::layout::{Kind, Layout};
use store_client::connect::Connector;
use store_client::lease::lease_id;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent as Machine, Effect, Input, Level, Now, Settings};
use crate::api::{self, Ask};
use crate::config::{self, Args, Config, StopPolicy};
use crate::desired::{HostAddresses, Preference, Rules};
use crate::docker::{Engine, rand_seed, wall_nanos};
use crate::file_sd;
use crate::host;
use crate::journal::Journal;
use crate::probe;
use crate::registry::consul::{ConsulKv, ConsulServices};
use crate::registry::zookeeper::ZooKeeper;
use crate::registry::{Announce, Backend, Beats, Etcd, Order, Presence, Registry, Task, Upstreams};
use crate::status::{Fault, Status};
use crate::systemd;
use crate::verb;
use crate::work::Work;

/// 20 ms between two pictures: people and tests see a change at once, and a thousand changes in a
/// burst do not cost a thousand pictures.
const PICTURE_PERIOD: Duration = Duration::from_millis(20);
/// 256 facts per turn: bounds the time between two looks at the clock.
const FACTS_PER_TURN: usize = 256;
/// 5 s: a farewell to a store that does not answer must not hold up a shutdown.
const FAREWELL: Duration = Duration::from_secs(5);

/// 16 questions wait for the loop; more wait in their connections.
const ASKS_MAX: usize = 16;

/// What the loop shares with those who look from outside.
struct Outside {
    journal: Journal,
    beats: Beats,
    asked: mpsc::Receiver<Ask>,
}

/// A running registrator.
#[derive(Debug)]
pub struct Agent {
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    policy: watch::Sender<StopPolicy>,
    main: JoinHandle<()>,
    api: Option<JoinHandle<()>>,
    listening: Option<std::net::SocketAddr>,
    /// Questions to the loop of each engine.
    asks: Vec<mpsc::Sender<Ask>>,
}

impl Agent {
    /// Starts it on the current tokio runtime and returns at once; engine and store are tried for
    /// ever in the background.
    ///
    /// # Errors
    /// When the HTTP API's address cannot be listened on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let (publish, status) = watch::channel(Status::default());
        let stop = CancellationToken::new();
        let (policy, wish) = watch::channel(config.on_stop);
        let listener = config.listen.map(|address| {
            let listener = listen(address).map_err(|source| StartError { address, source })?;
            let at = listener.local_addr().ok();
            Ok((listener, at))
        });
        let listener = listener.transpose()?;
        let mut sources = api::Sources {
            status: status.clone(),
            journal: Journal::default(),
            beats: Vec::new(),
            asks: Vec::new(),
        };
        let mut parts = JoinSet::new();
        let mut pictures = Vec::new();
        let engines = config.per_engine();
        let alone = engines.len() == 1;
        for part in engines {
            let (asks, asked) = mpsc::channel(ASKS_MAX);
            let part_publish = if alone {
                publish.clone()
            } else {
                let (part_publish, picture) = watch::channel(Status::default());
                pictures.push(picture);
                part_publish
            };
            let outside = Outside {
                journal: sources.journal.clone(),
                beats: Beats::default(),
                asked,
            };
            sources.beats.push(outside.beats.clone());
            sources.asks.push(asks);
            parts.spawn(run(part, part_publish, stop.clone(), wish.clone(), outside));
        }
        let watched = publish.subscribe();
        let main = tokio::spawn(async move {
            tokio::select! {
                // Both are safe to cancel: they only show what the parts have published.
                () = one_picture(pictures, publish) => {}
                () = file_sd::keep(config.file_sd.as_deref(), watched) => {}
                // Safe to cancel: it hands out the end of a part or nothing. All have ended when it is over.
                () = async { while parts.join_next().await.is_some() {} } => {}
            }
        });
        let listening = listener.as_ref().and_then(|(_, at)| *at);
        let asks = sources.asks.clone();
        let api = listener.map(|(listener, _)| tokio::spawn(api::serve(listener, sources)));
        Ok(Self {
            status,
            stop,
            policy,
            main,
            api,
            listening,
            asks,
        })
    }

    /// The latest picture, and every later one.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Where the HTTP API listens, if it does.
    #[must_use]
    pub fn listening(&self) -> Option<std::net::SocketAddr> {
        self.listening
    }

    /// Whether the loop of each engine still takes questions; does not return while one hangs.
    pub(crate) async fn answers(&self) -> bool {
        for asks in &self.asks {
            let (answer, answered) = oneshot::channel();
            // No container has this name.
            if asks.send((String::new(), answer)).await.is_err() || answered.await.is_err() {
                return false;
            }
        }
        true
    }

    /// Stops it; returns when nothing of it runs any more, within about 5 s.
    pub async fn stop(self, policy: StopPolicy) {
        // The receiver lives in the main task; when that is gone there is nothing left to tell.
        let _ = self.policy.send(policy);
        self.stop.cancel();
        if let Some(api) = self.api {
            api.abort();
        }
        let _ = self.main.await;
    }
}

/// Shows the pictures of several parts as one, for ever.
async fn one_picture(mut parts: Vec<watch::Receiver<Status>>, publish: watch::Sender<Status>) {
    if parts.is_empty() {
        return std::future::pending().await;
    }
    loop {
        let all: Vec<Status> = parts
            .iter_mut()
            .map(|part| part.borrow_and_update().clone())
            .collect();
        publish.send_replace(Status::of_all(all));
        let changes = parts.iter_mut().map(|part| Box::pin(part.changed()));
        let (change, ..) = futures::future::select_all(changes).await;
        if change.is_err() {
            // A part has ended, which they do together.
            return std::future::pending().await;
        }
    }
}

fn listen(address: std::net::SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Why the registrator did not start.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address} for the registrator's HTTP API: {source}")]
pub struct StartError {
    address: std::net::SocketAddr,
    #[source]
    source: std::io::Error,
}

impl StartError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some("choose another address with --listen".to_owned())
    }
}

async fn run(
    config: Config,
    publish: watch::Sender<Status>,
    stop: CancellationToken,
    policy: watch::Receiver<StopPolicy>,
    outside: Outside,
) {
    let (facts, inbox) = mpsc::unbounded_channel();
    let (orders, todo) = mpsc::unbounded_channel();
    let engine = Engine::new(&config, facts.clone());
    let node = match &config.node {
        Some(node) => node.clone(),
        None => {
            tokio::select! {
                // Safe to cancel: it only asks.
                name = engine.host_name(|why| tell_nameless(&publish, why)) => name,
                () = stop.cancelled() => return,
            }
        }
    };
    let id = config.node_id.as_deref().unwrap_or(&node);
    let backend = backend(&config, id, &node);
    let announce = Announce::new(publish.subscribe(), config.publish_status);
    let mut registry = Registry::new(backend, announce, outside.beats, facts.clone(), todo);
    let rules = rules(&config, &node);
    let settings = Settings {
        resync_ms: u64::try_from(config.resync.as_millis()).unwrap_or(u64::MAX),
        seed: rand_seed(),
    };
    let machine = Machine::new(rules, settings);
    let mut agent_loop = Loop {
        machine,
        engine: engine.clone(),
        orders,
        seen: 0,
        began: Instant::now(),
        facts: facts.clone(),
        journal: outside.journal,
        asked: outside.asked,
        work: Work::default(),
        interface: config.interface.clone(),
        preference: config.preference.clone(),
    };
    tokio::select! {
        // All are safe to cancel: what they had under way, a later session finds out.
        () = agent_loop.run(inbox, &publish) => {}
        () = engine.follow() => {}
        () = registry.run() => {}
        () = stop.cancelled() => {}
    }
    let revoke = *policy.borrow() == StopPolicy::Revoke;
    match tokio::time::timeout(FAREWELL, registry.leave(revoke)).await {
        Ok(Ok(())) if revoke => tracing::info!("revoked the lease: all keys are gone"),
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("{error}: keys go when their time is over"),
        Err(_) => {
            tracing::warn!("farewell to the store: no answer; keys go when their time is over");
        }
    }
}

/// The registry that the settings name, for the node with this id and name.
pub(crate) fn backend(config: &Config, id: &str, node: &str) -> Box<dyn Backend> {
    let upstreams = config.cleanup.then(|| Upstreams::of(node));
    let ttl = Duration::from_secs(u64::try_from(config.ttl_seconds).unwrap_or(0));
    match &config.registry {
        config::Registry::Etcd => {
            let lease = lease_id(&format!("registrator/{id}"), config.ttl_seconds);
            let connector = Connector::new(config.store.clone());
            let presence = Presence::new(id, rand_seed(), config.takeover);
            let etcd = Etcd::new(connector, (lease, config.ttl_seconds), presence);
            let upstreams_kind = |layout: &&Layout| layout.kind() == Kind::Registrator;
            let roots = config.layouts.iter().filter(upstreams_kind);
            Box::new(etcd.with_upstreams(upstreams, roots.map(Layout::root).collect()))
        }
        config::Registry::Consul(options) => {
            let services = ConsulServices::new(options.clone(), id, ttl);
            Box::new(services.with_upstreams(upstreams))
        }
        config::Registry::ConsulKv(options) => {
            let layouts = config.layouts.iter().map(Layout::root);
            let own = config.own_layouts.iter().map(|own| own.root().to_owned());
            let node = (id, rand_seed(), config.takeover);
            let keys = ConsulKv::new(options.clone(), node, ttl, layouts.chain(own).collect());
            Box::new(keys.with_upstreams(upstreams))
        }
        config::Registry::ZooKeeper(options) => {
            let node = (id, rand_seed(), config.takeover);
            Box::new(ZooKeeper::new(options.clone(), node, ttl))
        }
    }
}

/// The rules that follow from the settings, for a host called `node`.
pub(crate) fn rules(config: &Config, node: &str) -> Rules {
    let mut rules = Rules::new(node, config.layouts.clone());
    rules.internal = config.internal;
    rules.host = HostAddresses {
        told: config.ips.clone(),
        detected: host::addresses(config.interface.as_deref(), &config.preference),
    };
    rules.preference = config.preference.clone();
    rules.own_layouts.clone_from(&config.own_layouts);
    rules.gate = config.gate;
    rules.admission = config.admission.clone();
    rules.tags.clone_from(&config.tags);
    rules.upstream_names = config.upstream_names;
    rules.scripts = config.allow_scripts;
    let ttl_ms = u64::try_from(config.ttl_seconds)
        .unwrap_or(0)
        .saturating_mul(1_000);
    rules.keep_failed_ms = config.keep_failed.then_some(ttl_ms);
    rules
}

/// Without the engine there is no name for this node, and without a name no lease.
fn tell_nameless(publish: &watch::Sender<Status>, why: String) {
    publish.send_if_modified(|status| {
        let new = status.engine.detail != why;
        if new {
            tracing::warn!("engine: not reachable, trying again: {why}");
            status.engine.detail.clone_from(&why);
            "waits for the engine, which knows this node's name"
                .clone_into(&mut status.store.detail);
            status.faults = vec![Fault {
                subject: "engine".to_owned(),
                text: why,
                hint: Some("check that Docker runs and --docker-host, or set --node".to_owned()),
            }];
        }
        new
    });
}

/// The loop around the machine.
struct Loop {
    machine: Machine,
    engine: Engine,
    orders: mpsc::UnboundedSender<Order>,
    /// How many [`Input::Leased`] went in.
    seen: u64,
    /// Zero of the machine's clock.
    began: Instant,
    /// Where answers of checks go.
    facts: mpsc::UnboundedSender<Input>,
    journal: Journal,
    /// Questions about single containers.
    asked: mpsc::Receiver<Ask>,
    work: Work,
    /// Where the host's addresses are looked for.
    interface: Option<String>,
    preference: Preference,
}

impl Loop {
    async fn run(
        &mut self,
        mut inbox: mpsc::UnboundedReceiver<Input>,
        publish: &watch::Sender<Status>,
    ) {
        let mut effects = Vec::new();
        let mut next_picture: Option<Instant> = Some(Instant::now());
        let mut last_picture = Instant::now();
        loop {
            let deadline = self
                .machine
                .next_deadline()
                .map(|ms| self.began + Duration::from_millis(ms));
            tokio::select! {
                // Safe to cancel: it hands out a fact or nothing.
                fact = inbox.recv() => {
                    let Some(fact) = fact else { return };
                    self.take(fact, &mut effects);
                    for _ in 1..FACTS_PER_TURN {
                        let Ok(fact) = inbox.try_recv() else { break };
                        self.take(fact, &mut effects);
                    }
                    next_picture.get_or_insert(last_picture + PICTURE_PERIOD);
                }
                // Safe to cancel: they only wait.
                () = until(deadline) => {
                    self.take(Input::Tick, &mut effects);
                    next_picture.get_or_insert(last_picture + PICTURE_PERIOD);
                }
                // Safe to cancel: it hands out a question or nothing. Without an API nobody asks.
                Some((name, answer)) = self.asked.recv() => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.machine.explain(&name));
                }
                () = until(next_picture) => {
                    let mut status = self.machine.status();
                    status.work = self.work;
                    publish.send_replace(status);
                    last_picture = Instant::now();
                    next_picture = None;
                }
            }
        }
    }

    fn take(&mut self, fact: Input, effects: &mut Vec<Effect>) {
        self.seen += u64::from(matches!(fact, Input::Leased { .. }));
        if matches!(fact, Input::EngineUp | Input::Listed { .. }) {
            // Routes change rarely, and looking costs microseconds.
            let addresses = host::addresses(self.interface.as_deref(), &self.preference);
            self.step(Input::HostAddresses(addresses), effects);
        }
        self.step(fact, effects);
        for effect in effects.drain(..) {
            self.perform(effect);
        }
    }

    fn step(&mut self, fact: Input, effects: &mut Vec<Effect>) {
        let now = Now {
            mono_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_nanos: wall_nanos(),
        };
        let begun = std::time::Instant::now();
        self.machine.step(now, fact, effects);
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.work.record(took);
    }

    fn perform(&self, effect: Effect) {
        match effect {
            Effect::List { token } => self.engine.list(token),
            Effect::Inspect { token, id } => self.engine.inspect(token, id),
            Effect::Commit { token, txn } => self.order(Task::Commit(token, txn)),
            Effect::Check => self.order(Task::Check),
            Effect::Reload => self.order(Task::Reload),
            Effect::Probe { token, check } => {
                let (engine, facts) = (self.engine.clone(), self.facts.clone());
                tokio::spawn(async move {
                    let answer = probe::ask(&engine, &check).await;
                    // Nobody listens any more only when the agent stops.
                    let _ = facts.send(Input::Probed {
                        token,
                        instance: check.instance,
                        answer,
                    });
                });
            }
            Effect::Note(note) => {
                self.journal.add(wall_nanos(), &note);
                match note.level {
                    Level::Info => tracing::info!("{}: {}", note.subject, note.text),
                    Level::Warn => tracing::warn!("{}: {}", note.subject, note.text),
                }
            }
        }
    }

    fn order(&self, task: Task) {
        // The registry is gone only when everything stops.
        let _ = self.orders.send(Order {
            seen: self.seen,
            task,
        });
    }
}

/// Waits until then, or for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// The program: runs until SIGTERM or Ctrl-C, then stops by its policy; a second one ends it at once.
/// Exit codes: 0 stopped as asked, 1 could not start, 2 wrong configuration, 130 forced by a second signal.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    if let Some(status) = verb::run(args) {
        return status;
    }
    let config = match Config::resolve(args) {
        Ok(config) => config,
        Err(error) => return fail(2, &error, error.hint()),
    };
    // One thread: what is to be done in a second takes milliseconds, and memory that one thread gave back is there for the
    // next use, which that of several threads is not.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error, None),
    };
    runtime.block_on(async {
        let policy = config.on_stop;
        let agent = match Agent::start(config) {
            Ok(agent) => agent,
            Err(error) => return fail(1, &error, error.hint()),
        };
        tokio::select! {
            // Ends the waiting, whatever else is under way.
            asked = asked_to_stop() => if let Err(error) = asked {
                return fail(1, &error, None);
            },
            // Only tells what it sees.
            () = systemd::keep(&agent) => {}
        }
        tracing::info!("stopping");
        tokio::select! {
            // Safe to cancel: the process ends right after.
            () = agent.stop(policy) => ExitCode::SUCCESS,
            _ = asked_to_stop() => ExitCode::from(130),
        }
    })
}

async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        // Safe to cancel: a signal that comes meanwhile is kept for the next listener or ends us.
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "the one line a person needs when nothing runs yet"
)]
fn fail(code: u8, error: &dyn std::error::Error, hint: Option<String>) -> ExitCode {
    eprintln!("error: {error}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(code)
}
