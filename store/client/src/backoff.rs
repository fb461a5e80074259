//! [pure] How long to wait before the next try: doubling up to a ceiling, with jitter, for ever.
//! Knows no clock and no ambient randomness: the owner gives a seed and does the waiting.

use std::time::Duration;

/// Doubling delays with jitter. It never gives up: agents retry for as long as they live, and the
/// jitter keeps a thousand of them from coming back in the same millisecond.
///
/// The n-th delay after a [`Backoff::reset`] lies in `[step / 2, step]` with
/// `step = min(ceiling, floor * 2^n)`: half of it is certain, so a retry is never immediate, and
/// half is spread, so retries of many agents do not align.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// First step. Never zero.
    floor: Duration,
    /// Largest step. Invariant: `>= floor`.
    ceiling: Duration,
    /// Tries since the last success; saturates.
    failures: u32,
    /// State of the jitter generator (splitmix64). Moves with every delay.
    state: u64,
}

impl Backoff {
    /// Delays between half of `floor` and `ceiling`; the same `seed` gives the same delays.
    /// A `floor` of zero becomes one millisecond, a `ceiling` below `floor` becomes `floor`.
    #[must_use]
    pub fn new(floor: Duration, ceiling: Duration, seed: u64) -> Self {
        let floor = floor.max(Duration::from_millis(1));
        Self {
            floor,
            ceiling: ceiling.max(floor),
            failures: 0,
            state: seed,
        }
    }

    /// The delay to wait before the next try.
    pub fn delay(&mut self) -> Duration {
        let step = self.step();
        self.failures = self.failures.saturating_add(1);
        let half = step / 2;
        let spread = u64::try_from((step - half).as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(below(self.random(), spread.saturating_add(1)))
    }

    /// The last try succeeded: start again from the floor.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Tries that failed since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn step(&self) -> Duration {
        // 2^31 times a millisecond is 24 days: any further doubling is above every ceiling.
        let factor = 1_u32 << self.failures.min(31);
        self.floor.saturating_mul(factor).min(self.ceiling)
    }

    /// splitmix64 (Steele, Lea, Flood 2014): one multiply-xor chain, good enough to spread retries.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// `random` scaled to `[0, bound)`.
fn below(random: u64, bound: u64) -> u64 {
    u64::try_from((u128::from(random) * u128::from(bound)) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Duration = Duration::from_millis(100);
    const CEILING: Duration = Duration::from_secs(5);

    #[test]
    fn each_delay_lies_in_the_upper_half_of_its_step() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(FLOOR, CEILING, seed);
            for failures in 0..40 {
                let step = (FLOOR * 2_u32.pow(failures.min(10))).min(CEILING);
                let delay = backoff.delay();
                assert!(
                    delay >= step / 2 && delay <= step,
                    "{failures}: {delay:?} of {step:?}"
                );
            }
        }
    }

    #[test]
    fn a_success_starts_again_from_the_floor() {
        let mut backoff = Backoff::new(FLOOR, CEILING, 7);
        for _ in 0..10 {
            backoff.delay();
        }
        assert_eq!(backoff.failures(), 10);
        backoff.reset();
        assert!(backoff.delay() <= FLOOR);
    }

    #[test]
    fn seeds_spread_the_first_delay() {
        let delays: std::collections::BTreeSet<_> = (0..100)
            .map(|seed| Backoff::new(FLOOR, CEILING, seed).delay())
            .collect();
        assert!(delays.len() > 90, "{} distinct", delays.len());
    }

    #[test]
    fn nonsense_bounds_are_repaired() {
        let mut backoff = Backoff::new(Duration::ZERO, Duration::ZERO, 1);
        for _ in 0..100 {
            let delay = backoff.delay();
            assert!(delay > Duration::ZERO && delay <= Duration::from_millis(1));
        }
    }
}
