//! Times to live. A key with one has a lease, and the lease's id says when it ends, so that every answer shows the same
//! moment without asking whoever keeps the deadlines.

use store_machine::revision::LeaseId;

/// The highest sixteen bits of such an id, below a sign that is never set. Other clients take ids by chance or from a
/// clock: one in 32,768 looks alike, and then shows a wrong time to live, nothing worse.
const MARK: u64 = 0x7632;
/// Tenths of a second since 2020 have this many bits: until 2047.
const TENTHS_BITS: u32 = 33;
/// And this many tell ids apart that end in the same tenth.
const SALT_BITS: u32 = 14;
/// 2020-01-01 in milliseconds since 1970.
const BEGIN_MS: i64 = 1_577_836_800_000;

/// When something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Milliseconds since 1970, whole tenths of a second.
    pub ends_ms: i64,
    /// Only the time was changed, which watchers are not told.
    pub refresh: bool,
}

impl Term {
    /// So many seconds from now on.
    #[must_use]
    pub fn after(now_ms: i64, seconds: u64, refresh: bool) -> Self {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX / 2_000);
        let ends_ms = now_ms.saturating_add(seconds.saturating_mul(1000)) / 100 * 100;
        // Beyond what an id holds there is no end that anybody would see.
        let last = BEGIN_MS + ((1 << TENTHS_BITS) - 1) * 100;
        Self {
            ends_ms: ends_ms.clamp(BEGIN_MS, last),
            refresh,
        }
    }

    /// The id of a lease that ends then; `salt` is any number.
    #[must_use]
    pub const fn lease(self, salt: u64) -> LeaseId {
        let tenths = ((self.ends_ms - BEGIN_MS) / 100).cast_unsigned();
        let low = tenths << SALT_BITS | salt & ((1 << SALT_BITS) - 1);
        let id = MARK << 48 | (self.refresh as u64) << 47 | low;
        LeaseId(id.cast_signed())
    }

    /// What the id of a lease says, if it says anything.
    #[must_use]
    pub const fn of_lease(lease: LeaseId) -> Option<Self> {
        let id = lease.0.cast_unsigned();
        if id >> 48 != MARK {
            return None;
        }
        let tenths = id >> SALT_BITS & ((1 << TENTHS_BITS) - 1);
        Some(Self {
            ends_ms: BEGIN_MS + tenths.cast_signed() * 100,
            refresh: id >> 47 & 1 == 1,
        })
    }

    /// Whole seconds left, rounded up.
    #[must_use]
    pub const fn seconds_left(self, now_ms: i64) -> i64 {
        let left = self.ends_ms - now_ms;
        if left <= 0 { 0 } else { (left + 999) / 1000 }
    }

    /// The moment as Go writes it: `2026-11-20T11:28:16.1Z`.
    #[must_use]
    pub fn moment(self) -> String {
        let (days, millis) = (
            self.ends_ms.div_euclid(86_400_000),
            self.ends_ms.rem_euclid(86_400_000),
        );
        let (year, month, day) = date(days);
        let (seconds, tenth) = (millis / 1000, millis % 1000 / 100);
        let fraction = if tenth == 0 {
            String::new()
        } else {
            format!(".{tenth}")
        };
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }
}

/// Year, month and day of a day since 1970, in the Gregorian calendar of which 400 years have 146,097 days.
const fn date(days: i64) -> (i64, i64, i64) {
    // Counted from 1 March of the year 0, so that a leap day is the last of its year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 153 days in five.
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_says_when_it_ends() {
        let now = 1_795_174_096_085;
        for (seconds, refresh) in [(0, false), (1, true), (100, false), (86_400 * 365, true)] {
            let term = Term::after(now, seconds, refresh);
            assert_eq!(Term::of_lease(term.lease(u64::MAX)), Some(term));
            assert_eq!(Term::of_lease(term.lease(0)), Some(term));
            assert_ne!(term.lease(0), term.lease(1));
            assert_eq!(term.seconds_left(now), seconds.cast_signed());
        }
        assert_eq!(Term::of_lease(LeaseId(0x688d_a1f8_957f_f9c1)), None);
        assert_eq!(Term::of_lease(LeaseId(-1)), None);
    }

    #[test]
    fn moments_are_written_as_go_writes_them() {
        for (ends_ms, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696_100, "2000-02-29T12:34:56.1Z"),
            (1_709_251_199_900, "2024-02-29T23:59:59.9Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00Z"),
        ] {
            let term = Term {
                ends_ms,
                refresh: false,
            };
            assert_eq!(term.moment(), wanted);
        }
    }
}
