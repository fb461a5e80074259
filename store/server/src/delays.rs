//! What was slow lately, so that a slow request can say what it waited for.
//!
//! Only what takes [`NOTEWORTHY`] or longer is noted: while all is fast, nothing is paid for it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shorter waits do not make a request slow: etcd's own threshold for one is 300 ms.
pub(crate) const NOTEWORTHY: Duration = Duration::from_millis(5);

/// Delays that are kept: at the threshold, more than a second of nothing else, the longest a request normally lives.
const KEPT: usize = 256;

/// What keeps requests waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The driver was busy: with applying, reading, or a write of its own.
    Driver,
    /// The log was written and synced.
    Disk,
    /// There was no leader.
    Leaderless,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their ends.
    past: VecDeque<(Cause, Instant, Instant)>,
    /// Since when there is no leader, once there has been one.
    leaderless: Option<Instant>,
}

/// The delays of a store; noted by driver and disk, read by whoever was slow.
#[derive(Debug, Default)]
pub(crate) struct Delays(Mutex<State>);

/// How much of a request's time went where. They may overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) driver: Duration,
    pub(crate) disk: Duration,
    pub(crate) leaderless: Duration,
}

impl Delays {
    /// Notes what began then and ends now, if that took long.
    pub(crate) fn note(&self, cause: Cause, began: Instant, took: Duration) {
        if took >= NOTEWORTHY {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.keep(cause, began, began + took);
        }
    }

    /// There is a leader from now on, or there is none.
    pub(crate) fn note_leader(&self, led: bool, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !led {
            state.leaderless.get_or_insert(now);
        } else if let Some(since) = state.leaderless.take() {
            state.keep(Cause::Leaderless, since, now);
        }
    }

    /// What happened between two moments.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> Spent {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spent = Spent::default();
        let still = state.leaderless.map(|since| (Cause::Leaderless, since, to));
        for (cause, began, ended) in state.past.iter().copied().chain(still) {
            let common = ended.min(to).saturating_duration_since(began.max(from));
            *match cause {
                Cause::Driver => &mut spent.driver,
                Cause::Disk => &mut spent.disk,
                Cause::Leaderless => &mut spent.leaderless,
            } += common;
        }
        spent
    }
}

impl State {
    fn keep(&mut self, cause: Cause, began: Instant, ended: Instant) {
        if self.past.len() == KEPT {
            self.past.pop_front();
        }
        self.past.push_back((cause, began, ended));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_what_fell_into_its_time() {
        let zero = Instant::now();
        let ms = Duration::from_millis;
        let at = |moment| zero + ms(moment);
        let delays = Delays::default();
        delays.note(Cause::Disk, at(0), ms(100));
        delays.note(Cause::Disk, at(100), ms(4));
        delays.note(Cause::Driver, at(150), ms(100));
        delays.note_leader(true, at(0));
        delays.note_leader(false, at(300));
        for (from, to, disk, driver, leaderless) in [
            (0, 50, 50, 0, 0),
            (90, 200, 10, 50, 0),
            (100, 120, 0, 0, 0),
            (0, 350, 100, 100, 50),
        ] {
            let wanted = Spent {
                disk: ms(disk),
                driver: ms(driver),
                leaderless: ms(leaderless),
            };
            assert_eq!(delays.between(at(from), at(to)), wanted, "{from} to {to}");
        }
        delays.note_leader(false, at(310));
        delays.note_leader(true, at(400));
        assert_eq!(delays.between(at(0), at(900)).leaderless, ms(100));
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let delays = Delays::default();
        for _ in 0..2 * KEPT {
            delays.note(Cause::Disk, Instant::now(), NOTEWORTHY);
        }
        assert_eq!(delays.0.lock().unwrap().past.len(), KEPT);
    }
}
