//! Everything the agent knows and wants about one container.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use litemap::LiteMap;
use store_client::backoff::Backoff;

use super::damping::Damping;
use super::decided::Decided;
use super::input::Token;
use super::seen::Seen;
use crate::container::{self, Run};
use crate::signal;

/// 200 ms, 30 s: what fails once mostly works at once; what fails for long is looked at twice a
/// minute.
const RETRY_FLOOR: Duration = Duration::from_millis(200);
const RETRY_CEILING: Duration = Duration::from_secs(30);

/// One container.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    /// Full id, shared with all who name it.
    pub(super) id: Arc<str>,
    /// Last known name; the short id until one is known.
    pub(super) name: String,
    /// Where its inspection stands.
    pub(super) look: Look,
    /// The last answer that was believed.
    pub(super) seen: Option<Seen>,
    /// When it was asked for, on the wall.
    pub(super) seen_nanos: i64,
    /// Shape of its last list entry.
    pub(super) shape: u64,
    /// Time of the latest event that changed its process; older ones are replays.
    pub(super) mark_nanos: i64,
    /// Its latest deaths, and whether they hold it back.
    pub(super) damping: Damping,
    /// Time of its last death by an event.
    pub(super) died_nanos: Option<i64>,
    /// Set by an event that ended or froze it, until an inspection says otherwise.
    pub(super) halted: Option<&'static str>,
    /// Set by a signal that will end it, until it has or its time is over.
    pub(super) told: Option<ToldToStop>,
    /// Until when it stays registered although it failed, on the agent's clock.
    pub(super) kept_until_ms: Option<u64>,
    /// Answers in a row that contradicted an event.
    pub(super) doubts: u8,
    /// What it should have in the store, and why.
    pub(super) decided: Decided,
    /// Keys whose content this container answers for. Invariant: `Agent::owners` says the same.
    pub(super) claims: LiteMap<Arc<str>, ()>,
    /// Wanted keys that another container answers for.
    pub(super) contested: BTreeSet<Arc<str>>,
    /// The transaction under way.
    pub(super) commit: Option<Token>,
    /// Whether it stands in the queue for writing.
    pub(super) queued: bool,
    /// The start event whose registration is not yet acknowledged.
    pub(super) started_nanos: Option<i64>,
    /// What failed last, until it succeeds.
    pub(super) fault: Option<String>,
    /// Delays between tries.
    pub(super) backoff: Backoff,
}

/// Where an inspection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing to find out.
    Rested,
    /// In the queue.
    Queued,
    /// Asked.
    Asked {
        /// Which question.
        token: Token,
        /// When, on the wall.
        nanos: i64,
        /// Its process changed since: the answer may be from before and is thrown away.
        stale: bool,
        /// Something else changed since: the answer counts, and another look follows.
        again: bool,
    },
    /// Failed; a timer will queue it again.
    Waiting,
}

/// A signal that was sent to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ToldToStop {
    /// When, by the engine's clock.
    pub(super) time_nanos: i64,
    /// Which.
    pub(super) signal: i32,
    /// When the agent heard of it, on its own clock.
    pub(super) heard_ms: u64,
}

impl Tracked {
    pub(super) fn new(id: &Arc<str>, seed: u64) -> Self {
        Self {
            id: Arc::clone(id),
            name: id.get(..12).unwrap_or(id).to_owned(),
            look: Look::Rested,
            seen: None,
            seen_nanos: i64::MIN,
            shape: 0,
            mark_nanos: i64::MIN,
            damping: Damping::default(),
            died_nanos: None,
            halted: None,
            told: None,
            kept_until_ms: None,
            doubts: 0,
            decided: Decided::default(),
            claims: LiteMap::new(),
            contested: BTreeSet::new(),
            commit: None,
            queued: false,
            started_nanos: None,
            fault: None,
            backoff: Backoff::new(RETRY_FLOOR, RETRY_CEILING, seed),
        }
    }

    /// Keys and values it should have, without those another container answers for.
    pub(super) fn wanted(&self) -> BTreeMap<String, String> {
        self.decided.texts(|key| !self.contested.contains(key))
    }

    /// Whether the engine or a person calls it that, as far as it was seen.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.seen.is_some() && container::is_called((&self.id, &self.name), name)
    }

    /// Whether, as far as is known, its process runs.
    pub(super) fn runs(&self) -> bool {
        self.halted.is_none()
            && self
                .seen
                .as_ref()
                .is_some_and(|seen| seen.run == Run::Running)
    }

    /// Whether what was last seen of it was asked for after that moment of the engine's clock, so that it tells what
    /// has become of whatever happened then. An engine whose clock is behind ours is misunderstood for as long as a
    /// look takes, since every event asks for one.
    pub(super) fn seen_after(&self, time_nanos: i64) -> bool {
        self.seen.is_some() && time_nanos < self.seen_nanos
    }

    /// Remembers a signal, unless an earlier one already ends this run and this one does not.
    pub(super) fn hear(&mut self, told: ToldToStop) {
        let before = self.told.replace(told);
        let stop_signal = self
            .seen
            .as_ref()
            .map_or(signal::TERM, |seen| seen.stop_signal);
        if told.signal != signal::KILL && told.signal != stop_signal && before.is_some() {
            self.told = before;
        }
    }

    /// When a container that was told to stop must be gone, on the agent's clock; `None` when it was
    /// not told, or only got a signal that means something else to it.
    pub(super) fn leaves_by_ms(&self) -> Option<u64> {
        let told = self.told?;
        let seen = self.seen.as_ref()?;
        let of_this_run = seen
            .started_nanos
            .is_none_or(|started| told.time_nanos > started);
        let ends_it = told.signal == signal::KILL || told.signal == seen.stop_signal;
        let grace_ms = seen
            .stop_timeout_seconds
            .saturating_mul(1_000)
            .saturating_add(MARGIN_MS);
        (of_this_run && ends_it).then(|| told.heard_ms.saturating_add(grace_ms))
    }
}

/// 3 s on top of the stop timeout: the engine's SIGKILL and its exit handling take up to 2 s.
const MARGIN_MS: u64 = 3_000;
