//! The running agent: one task that owns the machine and performs its effects, and the handle to it.
//!
//! Files and commands run beside the task, each pass holding the version of the resource it began with; the task itself
//! never waits for any of them. Task, connection and status server share one thread of their own: a change goes through
//! three tasks, and waking another thread for each costs more than all their work.

pub(crate) mod copies;
pub(crate) mod instances;
mod jobs;
mod notice;
pub(crate) mod preview;
pub(crate) mod requests;
pub(crate) mod services;
pub(crate) mod staging;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use std::net::TcpListener;
use store_client::mirror::{Event, FeedStatus, KeyRange};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::instances::Instances;
use self::jobs::{Answer, Jobs};
use self::notice::Notice;
use self::requests::{GoBack, Requests};
use crate::agent::{Effect, Fault, Input, Machine, Options, Report};
use crate::announce::Announcement;
use crate::backends::{self, Backend, Source};
use crate::confdir::{self, Units};
use crate::config::Config;
use crate::engine::Globals;
use crate::faults::chain;
use crate::generations::Generations;
use crate::state::StateFile;
use crate::status::{self, Status};
use crate::{api, disk, outside};

/// Time that steps under way have to end when the agent stops; what runs longer is killed and done again by the next life.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the agent cannot start. Everything else is waited for.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The status address cannot be used.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The agent's thread cannot be started.
    #[error("start the agent's thread")]
    Thread {
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The configuration directory cannot be read.
    #[error(transparent)]
    Confdir(#[from] confdir::ConfdirError),
}

impl StartError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                Some("another program has the port; choose one with --listen".to_owned())
            }
            Self::Listen { .. } => Some("the address must be one of this machine".to_owned()),
            Self::Thread { .. } => Some("raise the limit on threads and open files".to_owned()),
            Self::Confdir(error) => error.hint(),
        }
    }
}

/// A running agent. [`Agent::stop`] waits for its end; dropping it ends it too, in the background.
#[derive(Debug)]
pub struct Agent {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
    address: Option<SocketAddr>,
    ended: oneshot::Receiver<()>,
}

/// What the handle asks of the task.
#[derive(Debug)]
enum Order {
    Reload,
    Stop,
    /// Answer: a sign that the task lives.
    Answer(oneshot::Sender<()>),
}

impl Agent {
    /// Starts the agent. Returns as soon as its directory was read and its port is open; the store need not be there.
    ///
    /// # Errors
    /// See [`StartError`]. Faulty resources are no error: they are in the status, the others run.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let backend = backend(&config);
        Self::start_with(config, backend).await
    }

    /// As [`Agent::start`], with keys from any backend.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_with(config: Config, backend: Box<dyn Backend>) -> Result<Self, StartError> {
        let listener = config
            .listen
            .map(|address| {
                api::bind(address).map_err(|source| StartError::Listen { address, source })
            })
            .transpose()?;
        let address = listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        let units = load(&config)?;
        let (tell, status) = watch::channel(Status::default());
        // Orders are rare; two fit so that a stop never waits behind a reload.
        let (orders, receive) = mpsc::channel(2);
        let (tell_end, ended) = oneshot::channel();
        let (tell_begun, begun) = oneshot::channel();
        let live = move |runtime: Runtime| {
            runtime.block_on(async {
                let status = tell.subscribe();
                let started = unix_time();
                let said = Announcement::start(&config, hostname(), started, status, seed(started));
                let mut runner = Runner::new(config, backend, tell);
                let mut effects = Vec::new();
                runner.loaded(units, &mut effects);
                runner.publish();
                // Fails only if nobody waits for it.
                let _ = tell_begun.send(());
                runner.run(effects, listener, receive).await;
                if let Some(said) = said {
                    said.stop().await;
                }
            });
            // A file operation that hangs must not hold up the end.
            runtime.shutdown_timeout(Duration::from_secs(1));
            let _ = tell_end.send(());
        };
        let thread = |source| StartError::Thread { source };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(thread)?;
        std::thread::Builder::new()
            .name("confd".to_owned())
            .spawn(move || live(runtime))
            .map_err(thread)?;
        // Fails only if the thread has died, which the status then tells by its silence.
        let _ = begun.await;
        Ok(Self {
            orders,
            status,
            address,
            ended,
        })
    }

    /// How the agent is doing, updated as it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// The address of the status server, if there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Reads the configuration directory again, as it does by itself when files change.
    pub async fn reload(&self) {
        // Fails only if the task has ended.
        let _ = self.orders.send(Order::Reload).await;
    }

    /// Whether its task still takes orders; does not return while that hangs.
    pub(crate) async fn answers(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Answer(answer)).await.is_ok() && answered.await.is_ok()
    }

    /// Lets steps under way end, for a few seconds at most, and stops.
    pub async fn stop(self) {
        // Both fail only if it has ended already.
        let _ = self.orders.send(Order::Stop).await;
        let _ = self.ended.await;
    }
}

/// The resources that the configuration asks for.
pub(crate) fn load(config: &Config) -> Result<Units, confdir::ConfdirError> {
    let mut units = confdir::load(&config.confdir, &config.defaults)?;
    if let Some(only) = &config.only {
        units.retain(|name, _| name == only);
    }
    backends::refuse(config, &mut units);
    Ok(units)
}

/// The backend that the configuration asks for.
pub(crate) fn backend(config: &Config) -> Box<dyn Backend> {
    backends::of(&config.backend, seed(unix_time()))
}

/// What templates can see of this machine.
pub(crate) fn globals() -> Globals {
    Globals {
        env: Arc::new(environment().collect()),
        hostname: hostname(),
        outside: Arc::new(outside::Machine),
        ..Globals::default()
    }
}

struct Runner {
    config: Config,
    machine: Machine,
    backend: Arc<dyn Backend>,
    jobs: Jobs,
    instances: Instances,
    tell: watch::Sender<Status>,
    started: Instant,
    started_unix: Duration,
    /// Ranges of the source that is open.
    ranges: Vec<KeyRange>,
    source: Option<Box<dyn Source>>,
    source_status: watch::Receiver<FeedStatus>,
    problems: Vec<String>,
}

impl Runner {
    fn new(config: Config, backend: Box<dyn Backend>, tell: watch::Sender<Status>) -> Self {
        let mut problems = Vec::new();
        let (state, book) = StateFile::open(config.state_dir.clone()).unwrap_or_else(|error| {
            let directory = config.state_dir.clone().unwrap_or_default();
            let problem = format!(
                "state directory {} cannot be used: {error}; after a crash a reload may be missed",
                directory.display()
            );
            tracing::warn!("{problem}");
            problems.push(problem);
            StateFile::open(None).unwrap_or_else(|_| unreachable!("opening nothing cannot fail"))
        });
        let generations = Generations::open(config.state_dir.clone()).unwrap_or_else(|_| {
            // Told of above: it is the same directory.
            Generations::open(None).unwrap_or_else(|_| unreachable!("memory cannot fail"))
        });
        let started_unix = unix_time();
        let options = Options {
            once: config.onetime,
            fail_fast: config.fail_fast,
            noop: config.noop,
            sync_only: config.sync_only,
            resync: config.interval,
            seed: seed(started_unix),
        };
        Self {
            machine: Machine::new(options, book),
            jobs: Jobs::new(
                Arc::new(disk::OsDisk),
                Arc::new(state),
                generations,
                globals(),
                config.keep_stage_file,
                config.accept_loss,
                config.noop,
            ),
            backend: Arc::from(backend),
            instances: Instances::default(),
            config,
            tell,
            started: Instant::now(),
            started_unix,
            ranges: Vec::new(),
            source: None,
            source_status: watch::channel(FeedStatus::default()).1,
            problems,
        }
    }

    async fn run(
        mut self,
        mut effects: Vec<Effect>,
        listener: Option<TcpListener>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        let server =
            listener.map(|listener| tokio::spawn(api::serve(listener, self.tell.subscribe())));
        let mut notice = if self.config.onetime {
            Notice::none()
        } else {
            Notice::watch(&self.config.confdir)
        };
        self.problems.extend(notice.problem());
        let mut requests = match &self.config.state_dir {
            Some(state) if !self.config.onetime && !self.config.noop => {
                Requests::listen(state).await
            }
            _ => Requests::none(),
        };
        loop {
            for effect in effects.drain(..) {
                self.jobs.perform(effect);
            }
            self.publish();
            let deadline = self
                .machine
                .next_deadline()
                .map(|deadline| self.started + deadline);
            tokio::select! {
                // The source keeps an event until it is polled.
                event = next_event(&mut self.source) => self.event(event, &mut effects),
                // An answer stays in the channel until received.
                Some(answer) = self.jobs.answered() => self.answered(answer, &mut effects),
                // Holds no state.
                () = sleep_until(deadline) => self.step(Input::Tick, &mut effects),
                // A notice stays pending until taken.
                () = notice.changed() => {
                    notice.refresh();
                    self.reload(&mut effects).await;
                }
                // A request stays in the channel until received.
                asked = requests.next() => {
                    // Fails only if nobody waits any more.
                    let _ = asked.answer.send(self.go_back(&asked.request, &mut effects));
                }
                // The newest value is read by `publish`.
                Ok(()) = self.source_status.changed() => {}
                // An order stays in the channel until received; `None` means that the handle is gone.
                order = orders.recv() => match order {
                    Some(Order::Reload) => self.reload(&mut effects).await,
                    // Fails only if nobody waits any more.
                    Some(Order::Answer(answer)) => _ = answer.send(()),
                    Some(Order::Stop) | None => break,
                },
            }
        }
        self.drain().await;
        if let Some(server) = server {
            server.abort();
        }
    }

    /// Lets steps under way end and does what must follow them at once: nothing is begun.
    async fn drain(&mut self) {
        let end = Instant::now() + DRAIN;
        while self.jobs.busy() > 0 {
            match tokio::time::timeout_at(end, self.jobs.answered()).await {
                Ok(Some(answer)) => {
                    let mut effects = Vec::new();
                    self.answered(answer, &mut effects);
                    effects.retain(|effect| {
                        matches!(
                            effect,
                            Effect::Save { .. } | Effect::Keep { .. } | Effect::Discard { .. }
                        )
                    });
                    effects
                        .into_iter()
                        .for_each(|effect| self.jobs.perform(effect));
                }
                _ => break,
            }
        }
        let book = Arc::new(self.machine.book().clone());
        self.jobs.perform(Effect::Save { book });
        self.publish();
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        self.machine.step(self.now(), input, effects);
    }

    fn event(&mut self, event: Option<Event>, effects: &mut Vec<Effect>) {
        match event {
            Some(event) => {
                self.step(Input::Store(event), effects);
                self.follow_names(effects);
            }
            // Nothing will change again; asking on would spin.
            None => self.source = None,
        }
    }

    fn answered(&mut self, answer: Answer, effects: &mut Vec<Effect>) {
        self.jobs.log(&answer);
        self.step(
            Input::Done {
                name: answer.name,
                pass: answer.pass,
                done: answer.done,
            },
            effects,
        );
        // What was left over may be gone.
        self.follow_names(effects);
    }

    fn go_back(&mut self, request: &GoBack, effects: &mut Vec<Effect>) -> Result<String, String> {
        let good = self.machine.go_back(&request.name, request.to, effects)?;
        tracing::info!(
            resource = request.name,
            generation = good.number,
            "going back, as asked"
        );
        Ok(format!("going back to generation {}", good.number))
    }

    async fn reload(&mut self, effects: &mut Vec<Effect>) {
        let config = self.config.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&config)).await;
        match loaded {
            Ok(Ok(units)) => self.loaded(units, effects),
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "configuration not reloaded");
            }
            Err(error) => tracing::error!(%error, "configuration not reloaded"),
        }
    }

    fn loaded(&mut self, units: Units, effects: &mut Vec<Effect>) {
        for (name, unit) in &units {
            if let Err(fault) = unit {
                tracing::error!(
                    resource = name,
                    hint = fault.hint.as_deref(),
                    "{}",
                    fault.message
                );
            }
        }
        self.instances.load(units);
        self.expand(effects);
    }

    /// Makes the files' resources anew if there are other names than before.
    fn follow_names(&mut self, effects: &mut Vec<Effect>) {
        let (snapshot, book) = (self.machine.snapshot(), self.machine.book());
        if self.instances.moved(snapshot, book) {
            self.expand(effects);
        }
    }

    fn expand(&mut self, effects: &mut Vec<Effect>) {
        let (snapshot, book) = (self.machine.snapshot(), self.machine.book());
        let units = self.instances.make(snapshot, book);
        self.jobs.load(&units);
        let ranges = self
            .jobs
            .units()
            .flat_map(|unit| unit.resource.scope().ranges());
        let ranges = KeyRange::normalise(ranges.chain(self.instances.ranges()).collect());
        let inputs: BTreeMap<_, _> = units
            .into_iter()
            .map(|(name, unit)| (name, unit.map(|unit| (&unit).into())))
            .collect();
        if self.source.is_none() || ranges != self.ranges {
            tracing::info!(
                resources = inputs.len(),
                ranges = ranges.len(),
                "configuration loaded"
            );
            // The new source lists from the start; what is already known is compared away.
            let resources = self.instances.resources();
            let source = backends::open(&self.backend, &self.config, resources, ranges.clone());
            self.source_status = source.status();
            self.source = Some(source);
            self.ranges = ranges;
        }
        self.step(Input::Resources(inputs), effects);
    }

    fn publish(&mut self) {
        let feed = self.source_status.borrow_and_update().clone();
        let resources: Vec<_> = self
            .machine
            .reports()
            .into_iter()
            .map(|(name, report)| self.resource(name, report))
            .collect();
        let status = Status {
            ready: self.machine.revision().is_some()
                && resources
                    .iter()
                    .all(|resource| resource.succeeded_unix_ms.is_some()),
            source: status::Source {
                endpoint: feed.endpoint,
                revision: self.machine.revision().unwrap_or_default(),
                error: feed.error,
                hint: feed.hint,
                listings: feed.stats.listings.values().sum(),
                resumes: feed.stats.resumes,
            },
            resources,
            problems: self
                .problems
                .iter()
                .cloned()
                .chain(self.jobs.problem())
                .collect(),
            finished: self.machine.finished(),
        };
        self.tell.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }

    fn resource(&self, name: String, report: Report) -> status::Resource {
        let unix_ms =
            |at: Duration| u64::try_from((self.started_unix + at).as_millis()).unwrap_or(u64::MAX);
        let problem = |fault: Fault| status::Problem {
            message: fault.message,
            hint: fault.hint,
        };
        let told = self.jobs.is_told(&name);
        status::Resource {
            told,
            name,
            state: report.phase.word(),
            dest: report.dest.unwrap_or_default().display().to_string(),
            revision: report.revision,
            succeeded_unix_ms: report.succeeded.map(unix_ms),
            stale: report.stale.map(|(step, fault, since)| status::Stale {
                step: step.word(),
                problem: problem(fault),
                since_unix_ms: unix_ms(since),
            }),
            load_fault: report.load_fault.map(problem),
            because: report.because,
            attempts: report.attempts,
            applied: report.applied,
            reloaded: report.reloaded,
            generation: report.generation,
            passes: report.counts.passes,
            replaced: report.counts.replaced,
            reloads: report.counts.reloaded,
            failed: report.counts.failed,
            rolled_back: report.counts.rolled_back,
            notes: report.notes,
            would_change: report.would_change,
        }
    }
}

async fn next_event(source: &mut Option<Box<dyn Source>>) -> Option<Event> {
    match source {
        Some(source) => std::future::poll_fn(|context| source.poll_next(context)).await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    // Variables that are not text cannot be shown by a template.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Differs between processes on one host and between hosts; nothing depends on its quality.
fn seed(started: Duration) -> u64 {
    let nanos = u64::try_from(started.as_nanos()).unwrap_or(started.as_secs());
    nanos ^ (u64::from(std::process::id()) << 32)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
