//! Deadlines by name: set, cleared and taken in order of time. A name has at most one deadline.

use std::collections::{BTreeMap, BTreeSet};

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// List all containers again.
    List,
    /// Read the lease's keys again.
    Recheck,
    /// Try again what failed for this container.
    Retry(String),
    /// Time alone may change what this container should have.
    Reconsider(String),
    /// Ask an instance how it is.
    Probe(String),
    /// Something may listen by now.
    Relook(String),
    /// The container was told to stop and should be gone by now.
    Drained(String),
}

/// All deadlines.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    by_name: BTreeMap<Timer, u64>,
    /// The same, by time. Invariant: holds exactly the pairs of `by_name`.
    by_time: BTreeSet<(u64, Timer)>,
}

impl Timers {
    /// Sets or moves the deadline of `timer` to `at_ms`.
    pub(super) fn set(&mut self, timer: Timer, at_ms: u64) {
        self.clear(&timer);
        self.by_time.insert((at_ms, timer.clone()));
        self.by_name.insert(timer, at_ms);
    }

    pub(super) fn clear(&mut self, timer: &Timer) {
        if let Some(at_ms) = self.by_name.remove(timer) {
            self.by_time.remove(&(at_ms, timer.clone()));
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<u64> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }

    /// Removes and returns one timer that is due.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<Timer> {
        let (at_ms, _) = self.by_time.first()?;
        if *at_ms > now_ms {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.by_name.remove(&timer);
        Some(timer)
    }
}
