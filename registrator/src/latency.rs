//! [pure] How long registrations take: a histogram with fixed buckets from the engine's start event
//! to the store's acknowledgement, cheap enough to keep for ever and exact enough for p50 and p99.

use serde::Serialize;

/// Upper bounds in milliseconds. Dense around the promises (20 ms and 100 ms), coarse beyond.
pub const BOUNDS_MS: [f64; 22] = [
    1.0, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 75.0, 100.0, 150.0,
    250.0, 500.0, 1_000.0, 2_500.0, 10_000.0, 60_000.0,
];

/// Counts per bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// One count per bound, and one for what is slower than all.
    counts: [u64; BOUNDS_MS.len() + 1],
    sum_ms: f64,
    max_ms: f64,
    last_ms: Option<f64>,
}

/// What people want to know of it. Milliseconds; percentiles are upper bounds of their bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LatencySummary {
    /// How many were measured.
    pub count: u64,
    /// The latest.
    pub last_ms: Option<f64>,
    /// Half were at most this slow.
    pub p50_ms: f64,
    /// 99 of 100 were at most this slow.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Latency {
    /// Adds one measurement.
    pub fn record(&mut self, nanos: i64) {
        // Engine and agent may disagree about the time by a little: never below zero.
        #[expect(clippy::cast_precision_loss, reason = "microseconds are exact enough")]
        let ms = nanos.max(0) as f64 / 1e6;
        let bucket = BOUNDS_MS
            .iter()
            .position(|bound| ms <= *bound)
            .unwrap_or(BOUNDS_MS.len());
        self.counts[bucket] += 1;
        self.sum_ms += ms;
        self.max_ms = self.max_ms.max(ms);
        self.last_ms = Some(ms);
    }

    /// Adds what somebody else measured.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_ms += other.sum_ms;
        self.max_ms = self.max_ms.max(other.max_ms);
        self.last_ms = other.last_ms.or(self.last_ms);
    }

    /// Counts per bucket in the order of [`BOUNDS_MS`]; the last is for what is slower than all.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Sum of all measurements in milliseconds.
    #[must_use]
    pub fn sum_ms(&self) -> f64 {
        self.sum_ms
    }

    /// The summary.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        let count: u64 = self.counts.iter().sum();
        LatencySummary {
            count,
            last_ms: self.last_ms,
            p50_ms: self.at_rank(count.div_ceil(2)),
            p99_ms: self.at_rank((count * 99).div_ceil(100)),
            max_ms: self.max_ms,
        }
    }

    fn at_rank(&self, rank: u64) -> f64 {
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && rank > 0 {
                return BOUNDS_MS
                    .get(bucket)
                    .copied()
                    .unwrap_or(f64::INFINITY)
                    .min(self.max_ms);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_bounds_of_their_bucket() {
        let mut latency = Latency::default();
        assert_eq!(latency.summary(), LatencySummary::default());
        for ms in 1..=100 {
            latency.record(ms * 1_000_000);
        }
        let summary = latency.summary();
        assert_eq!(
            (summary.count, summary.p50_ms, summary.p99_ms),
            (100, 50.0, 100.0)
        );
        assert_eq!((summary.max_ms, summary.last_ms), (100.0, Some(100.0)));
        latency.record(-5);
        latency.record(i64::MAX);
        assert_eq!(latency.summary().count, 102);
        assert!(latency.summary().max_ms > 1e6);
    }
}
