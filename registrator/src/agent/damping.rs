//! A container that dies over and over is held back until it has shown that it stays: each of its
//! short lives would be an address that fails, and two writes for every reader to follow.

use std::collections::VecDeque;

use crate::container::Container;

/// 5: a container that waits for its database by dying mostly finds it within a few starts; the
/// engine's own restarts take 3 s for so many.
const DEATHS: usize = 5;
/// 60 s: the longest the engine waits between two restarts.
const WINDOW_NANOS: i64 = 60_000_000_000;
/// 15 s, the window shared among the lives between its deaths: whoever dies often enough to be held
/// back does not live long enough to be let go, so that a steady loop does not flap at a slower pace.
const STABLE_NANOS: i64 = WINDOW_NANOS / (DEATHS as i64 - 1);

/// The latest deaths of one container, by the engine's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Damping {
    /// At most [`DEATHS`], oldest first.
    deaths: VecDeque<i64>,
    held: bool,
}

/// How a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is against it.
    Free,
    /// It just ran long enough to be let go.
    Freed,
    /// It has to run for so many milliseconds more.
    Held(u64),
}

impl Damping {
    /// It ended without having been told to.
    pub(super) fn died(&mut self, at_nanos: i64) {
        if self.deaths.len() == DEATHS {
            self.deaths.pop_front();
        }
        self.deaths.push_back(at_nanos);
        let first = self.deaths.front().copied().unwrap_or(at_nanos);
        self.held |= self.deaths.len() == DEATHS && at_nanos.saturating_sub(first) <= WINDOW_NANOS;
    }

    /// Whether the container, which runs, is still held back.
    pub(super) fn standing(&mut self, container: &Container, now_nanos: i64) -> Standing {
        if !self.held {
            return Standing::Free;
        }
        let ran = now_nanos.saturating_sub(container.started_nanos.unwrap_or(now_nanos));
        // An engine whose clock is ahead of ours must not prolong the wait.
        let left_nanos = STABLE_NANOS.saturating_sub(ran.max(0));
        if left_nanos > 0 {
            let left = u64::try_from(left_nanos).unwrap_or(0);
            return Standing::Held(left.div_ceil(1_000_000));
        }
        *self = Self::default();
        Standing::Freed
    }

    /// Whether it is held back, as far as was asked; also while it waits for its next life.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Why it is held back.
    pub(super) fn reason() -> String {
        format!(
            "it died {DEATHS} times within {} s; held back until it has run for {} s",
            WINDOW_NANOS / 1_000_000_000,
            STABLE_NANOS / 1_000_000_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::web;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn held_after_many_deaths_and_freed_after_a_long_life() {
        for (deaths, started, now, want) in [
            (&[1, 2, 3, 4][..], 4, 5, Standing::Free),
            (&[1, 2, 3, 4, 5], 5, 6, Standing::Held(14_000)),
            (&[1, 2, 3, 4, 5], 5, 20, Standing::Freed),
            (&[1, 2, 3, 4, 62], 62, 63, Standing::Free),
            (&[1, 2, 3, 4, 61], 61, 62, Standing::Held(14_000)),
            (&[1, 2, 3, 4, 61, 62], 62, 62, Standing::Held(15_000)),
            // Once held, only a long life helps.
            (&[1, 2, 3, 4, 5, 900], 900, 901, Standing::Held(14_000)),
            (&[1, 2, 3, 4, 5], 99, 6, Standing::Held(15_000)),
        ] {
            let mut damping = Damping::default();
            for death in deaths {
                damping.died(death * SECOND);
            }
            let container = web("a", started * 1_000);
            let got = damping.standing(&container, now * SECOND);
            assert_eq!(got, want, "{deaths:?}");
            if want == Standing::Freed {
                let after = damping.standing(&container, now * SECOND);
                assert_eq!(after, Standing::Free);
            }
        }
    }

    #[test]
    fn a_steady_loop_is_either_free_or_never_let_go() {
        for life in 1..60 {
            let mut damping = Damping::default();
            let mut held = false;
            for round in 1..40 {
                let (start, end) = ((round - 1) * life, round * life);
                let container = web("a", start * 1_000);
                held |= matches!(
                    damping.standing(&container, start * SECOND),
                    Standing::Held(_)
                );
                let at_the_end = damping.standing(&container, end * SECOND - 1);
                assert_eq!(
                    matches!(at_the_end, Standing::Held(_)),
                    held,
                    "life {life}, round {round}"
                );
                damping.died(end * SECOND);
            }
            assert_eq!(held, life <= 15, "life {life}");
        }
    }
}
