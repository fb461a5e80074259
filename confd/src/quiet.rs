//! Pure: Joins bursts of changes: waits until nothing has come for a while, but never longer than a maximum.
//!
//! ```text
//!   changes   x xx x                 x x x x x x x x x x x x x x x x
//!   fire             ^ (min)                         ^ (max)         ^ (min)
//! ```
//! The minimum doubles up to the maximum while changes keep coming soon after a firing, and falls back once it has been
//! quiet for the maximum: the first change after a calm is fast, churn costs few reloads. (consul-template's quiescence
//! has both bounds; a trailing delay alone can put off a busy file for ever.)

use std::time::Duration;

/// A window of changes that become one pass.
#[derive(Debug, Clone)]
pub(crate) struct Quiet {
    min: Duration,
    max: Duration,
    /// The wait in force. Invariant: between `min` and `max`.
    current: Duration,
    /// First and last change of the open window.
    open: Option<(Duration, Duration)>,
    fired: Option<Duration>,
}

impl Quiet {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max: max.max(min),
            current: min,
            open: None,
            fired: None,
        }
    }

    /// A change came.
    pub(crate) fn note(&mut self, now: Duration) {
        match &mut self.open {
            Some((_, last)) => *last = now,
            None => {
                let churn = self
                    .fired
                    .is_some_and(|fired| now.saturating_sub(fired) < self.max);
                self.current = if churn {
                    (self.current * 2).clamp(self.min, self.max)
                } else {
                    self.min
                };
                self.open = Some((now, now));
            }
        }
    }

    /// When the window closes, if one is open.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.open
            .map(|(first, last)| (last + self.current).min(first + self.max))
    }

    /// The pass begins: the window is closed.
    pub(crate) fn fire(&mut self, now: Duration) {
        if self.open.take().is_some() {
            self.fired = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Firing times for changes at the given times.
    fn firings(min: u64, max: u64, changes: &[u64]) -> Vec<u64> {
        let mut quiet = Quiet::new(ms(min), ms(max));
        let mut fired = Vec::new();
        let mut fire_until = |quiet: &mut Quiet, until: Option<u64>| {
            while let Some(due) = quiet
                .due()
                .filter(|due| until.is_none_or(|until| *due <= ms(until)))
            {
                quiet.fire(due);
                fired.push(u64::try_from(due.as_millis()).unwrap());
            }
        };
        for change in changes {
            fire_until(&mut quiet, Some(*change));
            quiet.note(ms(*change));
        }
        fire_until(&mut quiet, None);
        fired
    }

    #[test]
    fn one_change_waits_for_the_minimum() {
        assert_eq!(firings(50, 1000, &[100]), [150]);
    }

    #[test]
    fn zero_fires_at_once_and_stays_at_zero() {
        assert_eq!(firings(0, 1000, &[1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn a_burst_is_joined_but_not_for_ever() {
        let burst: Vec<u64> = (0..300).map(|n| n * 2000 / 300).collect();
        assert!(
            firings(50, 1000, &burst).len() <= 3,
            "{:?}",
            firings(50, 1000, &burst)
        );
    }

    #[test]
    fn churn_slows_down_and_calm_speeds_up() {
        // One change per 60 ms is never joined by 50 ms; the wait doubles until they are.
        let churn: Vec<u64> = (0..100).map(|n| n * 60).collect();
        assert!(
            firings(50, 1000, &churn).len() <= 9,
            "{:?}",
            firings(50, 1000, &churn)
        );
        assert_eq!(firings(50, 1000, &[0, 60, 5000]), [50, 160, 5050]);
    }

    proptest! {
        #[test]
        fn no_change_waits_longer_than_the_maximum(mut changes in proptest::collection::vec(0u64..5000, 1..100)) {
            changes.sort_unstable();
            let fired = firings(50, 400, &changes);
            for change in &changes {
                prop_assert!(fired.iter().any(|fire| fire > change && *fire <= change + 400));
            }
            prop_assert!(fired.len() <= changes.len());
        }
    }
}
