//! [pure] What deciding costs the agent: a histogram of the time one fact takes, from a few microseconds for an event to
//! a second for a thousand containers at once.

use serde::Serialize;

/// Upper bounds in microseconds.
pub const BOUNDS_US: [u64; 14] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000,
];

/// What deciding cost since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Facts taken.
    pub facts: u64,
    /// Nanoseconds spent on them.
    pub nanos: u64,
    /// Facts per bound, and one for what took longer than all.
    #[serde(skip)]
    counts: [u64; BOUNDS_US.len() + 1],
}

impl Work {
    /// One more fact, which took this long.
    pub fn record(&mut self, nanos: u64) {
        let bound = BOUNDS_US.iter().position(|bound| nanos <= bound * 1_000);
        self.counts[bound.unwrap_or(BOUNDS_US.len())] += 1;
        self.facts += 1;
        self.nanos += nanos;
    }

    /// Adds what somebody else did.
    pub fn add(&mut self, other: &Self) {
        self.facts += other.facts;
        self.nanos += other.nanos;
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// Facts per bound in the order of [`BOUNDS_US`]; the last is for what took longer than all.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_is_in_one_bucket() {
        let mut work = Work::default();
        for nanos in [0, 5_000, 5_001, 1_000_000_000, 1_000_000_001] {
            work.record(nanos);
        }
        let mut both = work;
        both.add(&work);
        assert_eq!((both.facts, both.nanos), (10, 2 * work.nanos));
        let filled: Vec<_> = (0..)
            .zip(both.counts())
            .filter(|(_, count)| **count > 0)
            .collect();
        assert_eq!(filled, [(0, &4), (1, &2), (13, &2), (14, &2)]);
    }
}
