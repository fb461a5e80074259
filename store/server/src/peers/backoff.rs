//! How long to wait before dialling again.

use std::time::Duration;

/// After the first failure: a member that is being restarted is back within some of these.
const FIRST: Duration = Duration::from_millis(20);

/// At most: half of etcd's default election timeout, so that a member that comes back is heard in
/// the election that follows.
const LONGEST: Duration = Duration::from_millis(500);

/// After a refusal: a person has to act, and reads both logs.
const REFUSED: Duration = Duration::from_secs(5);

/// Doubles from [`FIRST`] to [`LONGEST`].
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) const fn new() -> Self {
        Self(FIRST)
    }

    /// The next pause; `refused` when dialling again will most likely give the same answer. `chance`
    /// is below 1 and takes away up to half, so that members do not dial in step.
    pub(super) fn next(&mut self, refused: bool, chance: f64) -> Duration {
        let pause = if refused { REFUSED } else { self.0 };
        self.0 = (self.0 * 2).min(LONGEST);
        pause.mul_f64(1.0 - chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u128> = (0..7)
            .map(|_| backoff.next(false, 0.0).as_millis())
            .collect();
        assert_eq!(pauses, [20, 40, 80, 160, 320, 500, 500]);
        assert_eq!(backoff.next(true, 0.0), REFUSED);
        assert_eq!(backoff.next(false, 1.0).as_millis(), 250);
    }
}
