//! Lines of log that whoever is outside can cause: one a second, so that nobody fills a disk by asking.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines: often enough to follow what goes on, some megabytes a day at most.
const SAID_AGAIN: Duration = Duration::from_secs(1);

/// The pace of one kind of line.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When a line was logged last, and how many were not since.
    said: Mutex<Option<(Instant, u64)>>,
}

impl Pace {
    /// Whether a line may be logged now, and how many were not since the last.
    pub(crate) fn speak(&self) -> Option<u64> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *said {
            Some((when, quiet)) if when.elapsed() < SAID_AGAIN => {
                *quiet += 1;
                None
            }
            before => {
                let quiet = before.map_or(0, |(_, quiet)| quiet);
                *before = Some((Instant::now(), 0));
                Some(quiet)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_and_the_rest_counted() {
        let pace = Pace::default();
        assert_eq!(pace.speak(), Some(0));
        // Only a machine that stands still for a second lets another through here.
        *pace.said.lock().unwrap() = Some((Instant::now() + SAID_AGAIN, 0));
        assert_eq!((pace.speak(), pace.speak()), (None, None));
        let before = Instant::now().checked_sub(SAID_AGAIN).unwrap();
        let quiet = pace.said.lock().unwrap().unwrap().1;
        *pace.said.lock().unwrap() = Some((before, quiet));
        assert_eq!(pace.speak(), Some(2));
    }
}
