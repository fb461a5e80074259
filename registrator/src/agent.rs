//! [pure] The agent: brings the registry to what runs. Level-triggered: an event only says which
//! container to look at again, an inspection says what is true, and the difference to what the store
//! holds is written, one transaction per container, for as long as it takes.
//!
//! A paused container counts as not running: nobody is sent to a frozen process, and it is back with
//! the first look after it is thawed. A crash loop is followed for a few rounds and then held back
//! until it stays (`agent/damping.rs`).
//!
//! `step` takes a fact and appends orders; it never waits, reads no clock and fails never. This file
//! owns the engine's side (what happened, what a container should have), `agent/inspection.rs` the
//! looking, `agent/registry.rs` the store's side (claims, transactions, the lease), and
//! `agent/report.rs` the picture for people.

mod damping;
mod decided;
mod decision;
mod effect;
mod input;
mod inspection;
mod monitoring;
mod registry;
mod report;
mod seen;
mod stored;
mod timers;
mod told;
mod tracked;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use store_client::backoff::Backoff;

pub use effect::{Effect, Level, Note};
pub use input::{Action, Event, Input, Inspected, Now, Summary, Token};

use crate::container::Health;
use crate::desired::Rules;
use crate::latency::Latency;
use crate::status::Counts;
use inspection::Change;
use monitoring::Monitor;
use registry::Flight;
use stored::Stored;
use timers::{Timer, Timers};
use told::note;
use tracked::{Look, ToldToStop, Tracked};

/// 64: enough to fill the store's group commit, few enough not to trip its admission limit.
pub const COMMITS_MAX: usize = 64;
/// What a person set for the agent, beside the [`Rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Milliseconds between two lists of all containers, a belt against events the engine lost.
    pub resync_ms: u64,
    /// Seeds the jitter of retries.
    pub seed: u64,
}

/// The agent's whole state.
#[derive(Debug)]
pub struct Agent {
    rules: Rules,
    settings: Settings,
    containers: BTreeMap<Arc<str>, Box<Tracked>>,
    /// Why there is no event stream; `None` while there is one.
    engine_down: Option<String>,
    /// When the last stream ended, on the clock for waiting; `None` while there is one, and before the first.
    gap_since_ms: Option<u64>,
    /// The engine's time of the latest event so far; 0 before the first.
    last_event_nanos: i64,
    /// A stream was opened again and has not shown that its replay reaches back to that event.
    replay_due: bool,
    /// Wall time at which the event stream was opened: older events are replays.
    stream_nanos: i64,
    /// The list that was asked for, and whether every container on it is to be looked at.
    listing: Option<(Token, bool)>,
    list_backoff: Backoff,
    /// Containers of the first list that nobody has looked at yet; `None` before that list.
    unseen: Option<BTreeSet<String>>,
    /// Whether all of them were. From then on keys that nobody claims are left over.
    synced: bool,
    to_inspect: VecDeque<Arc<str>>,
    /// Inspections under way. Invariant: the number of containers with [`Look::Asked`].
    asked: usize,
    /// The lease, while it is held.
    lease: Option<i64>,
    /// Why the store is away; meaningful while `lease` is `None`.
    store_down: String,
    /// Everything on the lease, as last known.
    held: BTreeMap<Arc<str>, Stored>,
    /// Containers on another one's network, with what they call that one.
    followers: BTreeMap<String, String>,
    /// Which container answers for a key.
    owners: BTreeMap<Arc<str>, Arc<str>>,
    /// Containers that wait for a key which another one answers for, by key. Invariant: those whose
    /// `contested` has the key; no entry is empty.
    contenders: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// How often a container tried to take its keys.
    #[cfg(test)]
    claims_tried: usize,
    to_write: VecDeque<Arc<str>>,
    flights: BTreeMap<Token, Flight>,
    /// The lease's keys should be read again as soon as no transaction is under way.
    reload_due: bool,
    /// They are being read: no transaction starts.
    reloading: bool,
    /// Transactions ordered so far when the lease's keys were asked for; `None` when nobody asked.
    checking: Option<u64>,
    /// Transactions ordered so far.
    ordered: u64,
    /// A transaction ended without an outcome in this session or the last.
    unsure: bool,
    /// Checks under way, by instance.
    monitors: BTreeMap<String, Monitor>,
    timers: Timers,
    last_token: Token,
    latency: Latency,
    counts: Counts,
    /// Events by what happened.
    actions: BTreeMap<&'static str, u64>,
}

impl Agent {
    /// An agent that knows nothing yet.
    #[must_use]
    pub fn new(rules: Rules, settings: Settings) -> Self {
        Self {
            rules,
            settings,
            containers: BTreeMap::new(),
            engine_down: Some("not connected yet".to_owned()),
            gap_since_ms: None,
            last_event_nanos: 0,
            replay_due: false,
            stream_nanos: i64::MAX,
            listing: None,
            list_backoff: Backoff::new(LIST_RETRY_FLOOR, LIST_RETRY_CEILING, settings.seed),
            unseen: None,
            synced: false,
            to_inspect: VecDeque::new(),
            asked: 0,
            lease: None,
            store_down: "not connected yet".to_owned(),
            held: BTreeMap::new(),
            followers: BTreeMap::new(),
            owners: BTreeMap::new(),
            contenders: BTreeMap::new(),
            #[cfg(test)]
            claims_tried: 0,
            to_write: VecDeque::new(),
            flights: BTreeMap::new(),
            reload_due: false,
            reloading: false,
            checking: None,
            ordered: 0,
            unsure: false,
            monitors: BTreeMap::new(),
            timers: Timers::default(),
            last_token: 0,
            latency: Latency::default(),
            counts: Counts::default(),
            actions: BTreeMap::new(),
        }
    }

    /// When [`Input::Tick`] is due, on the clock of [`Now::mono_ms`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    /// Takes one fact and appends what is to be done about it.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::EngineUp => self.engine_up(now, effects),
            Input::EngineDown { why } => self.engine_is_down(now, why, effects),
            Input::Listed { token, containers } => self.listed(now, token, containers),
            Input::ListFailed { token, why } => self.list_failed(now, token, &why, effects),
            Input::Inspected { token, id, answer } => {
                self.inspected(now, token, &id, answer, effects);
            }
            Input::Happened(event) => self.happened(now, &event, effects),
            Input::HostAddresses(found) => {
                if self.rules.host.detected != found {
                    self.rules.host.detected = found;
                    self.evaluate_all(now, effects);
                }
            }
            Input::Overrides(found) => {
                if self.rules.overrides != found {
                    self.rules.overrides = found;
                    self.evaluate_all(now, effects);
                }
            }
            Input::Leased {
                lease,
                adopted,
                held,
            } => self.leased(now, lease, adopted, held, effects),
            Input::OnLease(keys) => self.on_lease(&keys),
            Input::StoreAway { why } => self.store_away(why, effects),
            Input::Committed { token, revision } => self.committed(now, token, revision, effects),
            Input::Conflicted { token, actual } => self.conflicted(token, actual, effects),
            Input::CommitFailed { token, why } => self.commit_failed(now, token, why, effects),
            Input::Probed {
                token,
                instance,
                answer,
            } => self.probed(now, token, &instance, answer, effects),
            Input::Tick => self.tick(now, effects),
        }
        self.order_inspections(now, effects);
        self.order_transactions(now, effects);
    }

    // ---- the engine's side ------------------------------------------------------------------

    fn engine_up(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.engine_down.take().is_some() {
            note(
                effects,
                Level::Info,
                "engine",
                "event stream is open".to_owned(),
            );
        }
        if let Some(since_ms) = self.gap_since_ms.take() {
            self.counts.gaps += 1;
            self.counts.gap_ms += now.mono_ms.saturating_sub(since_ms);
        }
        self.replay_due = self.last_event_nanos > 0;
        self.stream_nanos = now.wall_nanos;
        self.counts.streams += 1;
        // Events may have been lost while there was no stream: look at everything once.
        self.list(true, effects);
    }

    fn engine_is_down(&mut self, now: Now, why: String, effects: &mut Vec<Effect>) {
        self.listing = None;
        self.timers.clear(&Timer::List);
        if self.engine_down.as_ref() != Some(&why) {
            note(
                effects,
                Level::Warn,
                "engine",
                format!("not reachable, trying again: {why}"),
            );
        }
        if self.engine_down.is_none() {
            self.gap_since_ms = Some(now.mono_ms);
        }
        self.engine_down = Some(why);
    }

    fn list(&mut self, full: bool, effects: &mut Vec<Effect>) {
        self.timers.clear(&Timer::List);
        let token = self.token();
        self.listing = Some((token, full));
        self.counts.lists += 1;
        effects.push(Effect::List { token });
    }

    fn listed(&mut self, now: Now, token: Token, containers: Vec<Summary>) {
        let Some((_, full)) = self.listing.take_if(|(asked, _)| *asked == token) else {
            return;
        };
        self.list_backoff.reset();
        self.timers.set(
            Timer::List,
            now.mono_ms.saturating_add(self.settings.resync_ms),
        );
        let listed: BTreeSet<String> = containers.iter().map(|c| c.id.clone()).collect();
        if self.unseen.is_none() {
            self.unseen = Some(listed.clone());
        }
        for summary in containers {
            let shape = shape_of(&summary);
            let tracked = self.track(&summary.id);
            let changed = tracked.runs() != summary.running
                || tracked.shape != shape
                || tracked.name != summary.name;
            tracked.name = summary.name;
            tracked.shape = shape;
            if full || changed {
                self.look_again(&summary.id, Change::Content);
            }
        }
        // The list may be older than an event that came meanwhile, so absence only means "look".
        let absent: Vec<Arc<str>> = self
            .containers
            .keys()
            .filter(|id| !id.is_empty() && !listed.contains(&***id))
            .cloned()
            .collect();
        for id in absent {
            self.look_again(&id, Change::Content);
        }
        self.looked_at("");
    }

    fn list_failed(&mut self, now: Now, token: Token, why: &str, effects: &mut Vec<Effect>) {
        if self.listing.is_some_and(|(asked, _)| asked == token) {
            note(
                effects,
                Level::Warn,
                "engine",
                format!("list containers: {why}"),
            );
            let wait = millis(self.list_backoff.delay());
            self.timers
                .set(Timer::List, now.mono_ms.saturating_add(wait));
        }
    }

    fn happened(&mut self, now: Now, event: &Event, effects: &mut Vec<Effect>) {
        self.counts.events += 1;
        *self.actions.entry(event.action.name()).or_default() += 1;
        // The replay begins before the latest event, which is therefore in it, unless the engine has forgotten it.
        if std::mem::take(&mut self.replay_due) && event.time_nanos > self.last_event_nanos {
            self.counts.overflows += 1;
        }
        self.last_event_nanos = self.last_event_nanos.max(event.time_nanos);
        let id = event.id.as_str();
        let known = self.containers.contains_key(id);
        if !known && !matches!(event.action, Action::Start | Action::Unpause) {
            return; // Nothing of it is registered, and nothing of it starts to run.
        }
        let live = event.time_nanos >= self.stream_nanos;
        let keep_ms = self.rules.keep_failed_ms;
        let tracked = self.track(id);
        // Events of one container are ordered among themselves; one that is not newer is a replay
        // after a reconnect. It says "look again" like any other, but no more.
        let replay = event.time_nanos <= tracked.mark_nanos;
        let content = matches!(
            event.action,
            Action::Stop | Action::Rename | Action::Update | Action::Health
        );
        if replay || content {
            if tracked.look != Look::Rested || tracked.runs() {
                self.look_again(id, Change::Content);
            }
            return;
        }
        tracked.mark_nanos = event.time_nanos;
        match event.action {
            Action::Start => {
                tracked.kept_until_ms = None;
                // The engine tells of no return to "starting"; what was seen since the start has it already.
                let unseen = live && !tracked.seen_after(event.time_nanos);
                let checked = tracked.seen.as_mut().and_then(|seen| seen.health.as_mut());
                let reset = checked
                    .filter(|_| unseen)
                    .map(|health| *health = Health::Starting);
                tracked.started_nanos = live.then_some(event.time_nanos);
                if reset.is_some() {
                    self.evaluate(now, id, effects);
                }
                self.look_again(id, Change::Process);
            }
            Action::Unpause => self.look_again(id, Change::Process),
            // Nothing tells a frozen run from a thawed one, as the start of a run tells it from an earlier one.
            Action::Pause if tracked.seen_after(event.time_nanos) => {
                self.look_again(id, Change::Process);
            }
            Action::Fail if keep_ms.is_some() => {
                tracked.died_nanos = Some(event.time_nanos);
                tracked.kept_until_ms = keep_ms.map(|keep_ms| now.mono_ms.saturating_add(keep_ms));
                self.evaluate(now, id, effects);
            }
            Action::Die | Action::Fail => {
                tracked.died_nanos = Some(event.time_nanos);
                if tracked.leaves_by_ms().is_none() {
                    tracked.damping.died(event.time_nanos);
                }
                self.halt(now, id, event.time_nanos, "it ended", effects);
            }
            Action::Destroy => {
                // Ids are never used again, so there is nothing left to look at.
                tracked.halted = Some("it was removed");
                tracked.kept_until_ms = None;
                tracked.seen = None;
                let asked = matches!(tracked.look, Look::Asked { .. });
                self.evaluate(now, id, effects);
                self.looked_at(id);
                if asked {
                    self.look_again(id, Change::Process);
                }
            }
            Action::Pause => self.halt(now, id, event.time_nanos, "it is paused", effects),
            Action::Kill { signal } => {
                tracked.hear(ToldToStop {
                    time_nanos: event.time_nanos,
                    signal,
                    heard_ms: now.mono_ms,
                });
                self.drain(now, id, effects);
            }
            Action::Stop | Action::Rename | Action::Update | Action::Health => {}
        }
    }

    /// The process ended or froze: its keys go at once, and a look follows.
    fn halt(
        &mut self,
        now: Now,
        id: &str,
        time_nanos: i64,
        why: &'static str,
        effects: &mut Vec<Effect>,
    ) {
        let tracked = self.track(id);
        let of_an_earlier_run = tracked
            .seen
            .as_ref()
            .and_then(|seen| seen.started_nanos)
            .is_some_and(|started| time_nanos < started);
        if !of_an_earlier_run {
            tracked.halted = Some(why);
            self.evaluate(now, id, effects);
        }
        self.look_again(id, Change::Process);
    }

    /// A signal was sent: if it is the one that ends the container, its keys go at once, long before
    /// the process does, so that nobody is sent there any more.
    fn drain(&mut self, now: Now, id: &str, effects: &mut Vec<Effect>) {
        if let Some(by_ms) = self.track(id).leaves_by_ms() {
            self.timers.set(Timer::Drained(id.to_owned()), by_ms);
            self.evaluate(now, id, effects);
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(timer) = self.timers.pop_due(now.mono_ms) {
            match timer {
                Timer::List if self.engine_down.is_none() => {
                    let full = self.listing.is_some_and(|(_, full)| full);
                    self.list(full, effects);
                    self.check_lease(effects);
                }
                Timer::List => {}
                Timer::Recheck => self.reload_due = true,
                Timer::Retry(id) => {
                    if let Some(tracked) = self.containers.get_mut(id.as_str()) {
                        if tracked.look == Look::Waiting {
                            tracked.look = Look::Rested;
                            self.look_again(&id, Change::Content);
                        }
                        self.queue_write(&id);
                    }
                }
                Timer::Reconsider(id) => {
                    self.evaluate(now, &id, effects);
                    if self
                        .containers
                        .get(id.as_str())
                        .is_some_and(|t| t.kept_until_ms.is_none() && !t.runs())
                    {
                        self.look_again(&id, Change::Content);
                    }
                }
                Timer::Probe(instance) => self.probe(now, &instance, effects),
                Timer::Relook(id) => self.look_again(&id, Change::Content),
                Timer::Drained(id) => {
                    if let Some(tracked) = self.containers.get_mut(id.as_str()) {
                        // It was told to stop and did not: look, and if it runs it is back.
                        tracked.told = None;
                        self.look_again(&id, Change::Content);
                    }
                }
            }
        }
    }

    fn retry_in(&mut self, now: Now, id: &str, wait_ms: u64) {
        let at_ms = now.mono_ms.saturating_add(wait_ms);
        self.timers.set(Timer::Retry(id.to_owned()), at_ms);
    }

    fn token(&mut self) -> Token {
        self.last_token += 1;
        self.last_token
    }
}

/// 200 ms, 10 s: a list is one cheap call, and readiness hangs on it.
const LIST_RETRY_FLOOR: std::time::Duration = std::time::Duration::from_millis(200);
const LIST_RETRY_CEILING: std::time::Duration = std::time::Duration::from_secs(10);

/// What the list says about a container's ports, addresses and health, short enough to be kept. That two of 2^64 look the
/// same is as good as never, and an event tells of most changes before.
fn shape_of(summary: &Summary) -> u64 {
    let mut hasher = DefaultHasher::new();
    summary.shape.hash(&mut hasher);
    hasher.finish()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "agent_tests.rs"]
pub(crate) mod tests;
