//! Time that may be spent to get figures from a machine that others use as well: waiting until it is
//! quiet, and repeating runs that were disturbed.

use std::time::{Duration, Instant};

use crate::process::{ProcessError, machine_busy};
use crate::sample::{OTHERS_CORES_MAX, Sample};

/// How long the machine must be quiet before a run begins: as long as a compiler between two crates.
const QUIET: Duration = Duration::from_millis(500);

/// What is left of the time.
#[derive(Debug)]
pub(crate) struct Patience {
    left: Duration,
}

impl Patience {
    /// With so much time for the whole report; none = take the machine as it is.
    pub(crate) fn new(time: Duration) -> Patience {
        Patience { left: time }
    }

    /// Waits until the machine is quiet or the time is up.
    pub(crate) fn wait(&mut self) -> Result<(), ProcessError> {
        while !self.left.is_zero() {
            let (start, busy) = (Instant::now(), machine_busy()?);
            std::thread::sleep(QUIET);
            let (took, used) = (start.elapsed(), machine_busy()?.saturating_sub(busy));
            if used.as_secs_f64() <= took.as_secs_f64() * OTHERS_CORES_MAX {
                break;
            }
            self.left = self.left.saturating_sub(took);
        }
        Ok(())
    }

    /// Whether a run that `took` so long should be forgotten and done again.
    pub(crate) fn again(&mut self, sample: &Sample, took: Duration) -> bool {
        let again = sample.others_cores() > OTHERS_CORES_MAX && self.left >= took;
        if again {
            self.left -= took;
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Meter;

    #[test]
    fn patience_runs_out() {
        let mut disturbed = Meter::idle().finish().unwrap();
        disturbed.elapsed = Duration::from_secs(1);
        disturbed.others = Duration::from_secs(1);
        let took = Duration::from_secs(4);
        let mut patience = Patience::new(Duration::from_secs(9));
        let tries: Vec<bool> = (0..4).map(|_| patience.again(&disturbed, took)).collect();
        assert_eq!(tries, [true, true, false, false]);
        disturbed.others = Duration::ZERO;
        assert!(!Patience::new(Duration::from_secs(9)).again(&disturbed, took));
    }

    #[test]
    fn no_patience_waits_for_nothing() {
        let start = Instant::now();
        Patience::new(Duration::ZERO).wait().unwrap();
        assert!(start.elapsed() < QUIET);
    }
}
