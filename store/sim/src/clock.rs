//! A member's clock: monotonic, as the shell's is, but neither as fast as the world's nor from the
//! same beginning.

use store_member::Moment;

/// Microseconds of the world since a run began. Members never see it.
pub(crate) type Time = u64;

/// Parts per million in one.
const MILLION: u64 = 1_000_000;

/// Converts between the world's time and one life's [`Moment`]s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// World time of the life's moment 0.
    epoch: Time,
    /// Speed in parts per million of the world's.
    rate_ppm: u64,
}

impl Clock {
    pub(crate) const fn new(epoch: Time, rate_ppm: u64) -> Self {
        Self { epoch, rate_ppm }
    }

    /// What the member's clock shows.
    pub(crate) const fn moment(&self, now: Time) -> Moment {
        Moment(now.saturating_sub(self.epoch) * self.rate_ppm / MILLION / 1_000)
    }

    /// The world's time while it goes on by so many milliseconds.
    pub(crate) const fn length(&self, ms: u64) -> Option<Time> {
        match ms.checked_mul(1_000 * MILLION) {
            Some(scaled) => Some(scaled.div_ceil(self.rate_ppm)),
            None => None,
        }
    }

    /// When the member's clock will show `moment`; `None` = never.
    pub(crate) fn time(&self, moment: Moment) -> Option<Time> {
        if moment == Moment::NEVER {
            return None;
        }
        let micros = moment.0.checked_mul(1_000)?.checked_mul(MILLION)?;
        Some(self.epoch + micros.div_ceil(self.rate_ppm))
    }
}
