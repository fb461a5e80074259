//! The shell around a registrator's machine: what `registrator/src/docker.rs` and `run.rs` do, over a
//! simulated engine, and in `registrar/session.rs` what `registry.rs` does, over the members.

mod session;

use std::time::Duration;

use registrator::agent::{Agent, Effect, Input, Now, Settings};
use registrator::desired::Rules;
use registrator_catalog::layout::{Kind, Layout};
use store_client::backoff::Backoff;
use store_client::lease::lease_id;
use store_member::Moment;
use store_member::answer::{Body, Failure};

use super::Happening;
use super::desk::Desk;
use super::engine::{Engine, engine_delay, wall_nanos};
use super::plan::Plan;
use crate::bugs::Bug;
use crate::clock::{Clock, Time};
use crate::promises::{Check, registered};
use crate::world::World;
use session::Session;

/// Where records stand.
pub(crate) const SERVICES: &str = "/services";

/// Time between two lists of all containers: longer in real life, shorter here than the patience of peace.
const RESYNC_MS: u64 = 15_000;
/// Waits between two tries to reach an engine, as the shell has them.
const FOLLOW_FLOOR: Duration = Duration::from_millis(100);
const FOLLOW_CEILING: Duration = Duration::from_secs(2);
/// Events that are replayed on every reconnect, and what is looked back to at a start.
const OVERLAP_NANOS: i64 = 5_000_000_000;
const LOOK_BACK_NANOS: i64 = 60_000_000_000;

/// What is asked of an engine.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    List(u64),
    Inspect(u64, String),
}

/// What happens to the process of a registrator.
#[derive(Debug)]
pub(crate) enum Fact {
    /// It tries to follow its engine.
    Follow,
    /// Something arrives on a stream of events.
    Streamed { stream: u64, input: Input },
    /// A question arrives at the engine.
    AtEngine { asked: Time, question: Question },
    /// The engine's answer arrives, to a question of that moment.
    EngineSaid { asked: Time, input: Input },
    /// It tries to begin a session with the store.
    Connect,
    /// It has waited long enough for an answer.
    Patience { ask: usize },
    /// The lease is to be kept alive.
    Beat { session: u64 },
    /// A member answers.
    Answered {
        ask: usize,
        revision: i64,
        outcome: Result<Body, Failure>,
    },
    /// The machine wants to be asked again.
    Wake,
}

/// A process.
struct Life {
    agent: Agent,
    clock: Clock,
    wake_at: Time,
    /// The open stream of events.
    stream: Option<u64>,
    follow_wait: Backoff,
    since_nanos: i64,
    session: Session,
}

/// See the module.
pub(crate) struct Registrar {
    pub(crate) site: usize,
    pub(crate) rules: Rules,
    pub(crate) lease: i64,
    ttl_seconds: i64,
    /// The key that says who speaks for the node.
    presence: String,
    pub(crate) paused: Time,
    life: u64,
    up: Option<Life>,
    bug: Option<Bug>,
}

impl Registrar {
    pub(crate) fn new(site: usize, plan: &Plan, bug: Option<Bug>) -> Self {
        let node = format!("node{site}");
        let layouts = vec![
            Layout::new(Kind::Native, SERVICES),
            Layout::new(Kind::Registrator, "/plain"),
        ];
        let rules = Rules {
            internal: true,
            ..Rules::new(&node, layouts)
        };
        let ttl_seconds = plan.ttl_seconds;
        Self {
            site,
            rules,
            lease: lease_id(&format!("registrator/{node}"), ttl_seconds),
            ttl_seconds,
            presence: format!("/muster/agents/{node}"),
            paused: 0,
            life: 0,
            up: None,
            bug,
        }
    }

    pub(crate) const fn is_down(&self) -> bool {
        self.up.is_none()
    }

    /// A process starts, unless one runs.
    pub(crate) fn start(&mut self, desk: &mut Desk<'_>) {
        if self.up.is_some() {
            return;
        }
        self.life += 1;
        let settings = Settings {
            resync_ms: RESYNC_MS,
            seed: desk.chance.next(),
        };
        let skew = desk.plan.skew * 1_000;
        let rate = desk.chance.between(1_000_000 - skew, 1_000_000 + skew);
        self.up = Some(Life {
            agent: Agent::new(self.rules.clone(), settings),
            clock: Clock::new(desk.now, rate),
            wake_at: Time::MAX,
            stream: None,
            follow_wait: Backoff::new(FOLLOW_FLOOR, FOLLOW_CEILING, desk.chance.next()),
            since_nanos: wall_nanos(desk.now) - LOOK_BACK_NANOS,
            session: Session::new(desk.chance.next()),
        });
        desk.world
            .say(|| format!("registrator {} starts", self.site));
        self.later(desk, 1_000, Fact::Follow);
        self.later(desk, 1_000, Fact::Connect);
    }

    /// The process is gone.
    pub(crate) fn crash(&mut self) {
        self.up = None;
        self.paused = 0;
    }

    fn later(&self, desk: &mut Desk<'_>, delay: Time, fact: Fact) {
        let (site, life) = (self.site, self.life);
        desk.after(delay, Happening::Registrar { site, life, fact });
    }

    /// Something happens to the process of that life.
    pub(crate) fn tell(
        &mut self,
        desk: &mut Desk<'_>,
        engine: &mut Engine,
        number: u64,
        fact: Fact,
    ) {
        if number != self.life {
            return;
        }
        let Some(life) = &mut self.up else { return };
        match fact {
            Fact::Follow => {
                let since = life.since_nanos;
                life.since_nanos = wall_nanos(desk.now) - OVERLAP_NANOS;
                match engine.follow(desk, number, since) {
                    Some(stream) => life.stream = Some(stream),
                    None => {
                        let why = "cannot be reached".to_owned();
                        self.follow_again(desk);
                        self.step(desk, Input::EngineDown { why });
                    }
                }
            }
            Fact::Streamed { stream, input } if life.stream == Some(stream) => {
                if matches!(input, Input::EngineDown { .. }) {
                    life.stream = None;
                    self.follow_again(desk);
                } else if let Input::Happened(event) = &input {
                    life.since_nanos = event.time_nanos - OVERLAP_NANOS;
                    life.follow_wait.reset();
                }
                self.step(desk, input);
            }
            Fact::Streamed { .. } => {}
            Fact::AtEngine { asked, question } => {
                let input = engine.answer(desk, question);
                let delay = engine_delay(desk);
                self.later(desk, delay, Fact::EngineSaid { asked, input });
            }
            Fact::EngineSaid { asked, input } => {
                if let Input::Inspected { id, .. } = &input {
                    desk.kept.looked(desk.now, id, asked);
                }
                self.step(desk, input);
            }
            Fact::Connect => self.connect(desk),
            Fact::Patience { ask } => self.impatient(desk, ask),
            Fact::Beat { session } => self.beat(desk, session),
            Fact::Answered {
                ask,
                revision,
                outcome,
            } => self.answered(desk, ask, revision, outcome),
            Fact::Wake => self.wake(desk),
        }
    }

    fn follow_again(&mut self, desk: &mut Desk<'_>) {
        if let Some(life) = &mut self.up {
            let delay = micros(life.follow_wait.delay());
            self.later(desk, delay, Fact::Follow);
        }
    }

    /// Tells the machine a fact and performs what it orders.
    fn step(&mut self, desk: &mut Desk<'_>, input: Input) {
        let Some(life) = &mut self.up else { return };
        let now = Now {
            mono_ms: life.clock.moment(desk.now).0,
            wall_nanos: wall_nanos(desk.now),
        };
        let mut effects = Vec::new();
        desk.world
            .say(|| format!("registrator {} hears {input:?}", self.site));
        life.agent.step(now, input, &mut effects);
        for effect in effects {
            desk.world
                .say(|| format!("registrator {} orders {effect}", self.site));
            self.perform(desk, effect);
        }
        self.plan_wake(desk);
    }

    fn perform(&mut self, desk: &mut Desk<'_>, effect: Effect) {
        match effect {
            Effect::List { token } => self.ask_engine(desk, Question::List(token)),
            Effect::Inspect { token, id } => self.ask_engine(desk, Question::Inspect(token, id)),
            Effect::Commit { token, txn } => self.commit(desk, token, &txn),
            Effect::Check => self.check_lease(desk),
            Effect::Reload => self.reload(desk),
            Effect::Note(note) => {
                desk.world
                    .say(|| format!("registrator {}: {}: {}", self.site, note.subject, note.text));
            }
            // No container here asks for checks.
            Effect::Probe { .. } => {}
        }
    }

    fn ask_engine(&self, desk: &mut Desk<'_>, question: Question) {
        let delay = engine_delay(desk);
        let asked = desk.now;
        self.later(desk, delay, Fact::AtEngine { asked, question });
    }

    fn plan_wake(&mut self, desk: &mut Desk<'_>) {
        let Some(life) = &mut self.up else { return };
        let Some(deadline) = life.agent.next_deadline() else {
            return;
        };
        let Some(at) = life.clock.time(Moment(deadline)) else {
            return;
        };
        let at = at.max(desk.now + 1);
        if at < life.wake_at {
            life.wake_at = at;
            self.later(desk, at - desk.now, Fact::Wake);
        }
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        let Some(life) = &mut self.up else { return };
        if life.wake_at > desk.now {
            return;
        }
        life.wake_at = Time::MAX;
        let due = life.agent.next_deadline();
        if due.is_some_and(|due| due <= life.clock.moment(desk.now).0) {
            self.step(desk, Input::Tick);
        } else {
            self.plan_wake(desk);
        }
    }

    /// Whether the store says what runs, and nothing else, and will for as long as it runs.
    pub(crate) fn unsettled(&self, world: &World, engine: &Engine) -> Check {
        let kept = self.up.as_ref().is_some_and(|life| life.session.kept);
        registered::kept_alive(self.site, kept)?;
        let model = &world.canon.model;
        let pairs = model.everything(model.revision());
        let ours = pairs
            .iter()
            .filter(|pair| pair.lease.0 == self.lease && pair.key != self.presence);
        let ours = ours.map(|pair| (&pair.key[..], &pair.value[..]));
        registered::converged(self.site, ours, &engine.demanded(&self.rules))
    }
}

/// Microseconds of a wait.
pub(crate) fn micros(wait: Duration) -> Time {
    u64::try_from(wait.as_micros()).unwrap_or(Time::MAX)
}
