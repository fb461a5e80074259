//! Instants as text: RFC 3339 in UTC, written with milliseconds at a fixed width so that values of
//! one record have one length, read with up to nanoseconds because that is what Docker writes.
//! Never reads a clock.

/// Width of what [`format_millis`] writes for the years 0 to 9999.
pub const WIDTH: usize = "2026-11-20T04:48:44.123Z".len();

const MILLIS_PER_DAY: u64 = 86_400_000;
/// Last millisecond of the year 9999: later instants would need a fifth digit.
const MILLIS_MAX: u64 = 253_402_300_799_999;

/// Writes milliseconds since 1970 as `YYYY-MM-DDTHH:MM:SS.mmmZ`. Later instants than the year 9999
/// are written as its last millisecond.
#[must_use]
pub fn format_millis(millis: u64) -> String {
    let millis = millis.min(MILLIS_MAX);
    let (year, month, day) = civil_from_days(millis / MILLIS_PER_DAY);
    let of_day = millis % MILLIS_PER_DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1_000 % 60,
        of_day % 1_000
    )
}

/// Reads an RFC 3339 instant as nanoseconds since 1970. `None` when the text is none, lies before
/// 1970 (Docker writes the year 1 for "never") or after the year 2262 (the end of 64 bits).
#[must_use]
pub fn parse_nanos(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u64> {
        let part = bytes.get(from..to)?;
        part.iter().try_fold(0_u64, |value, digit| {
            digit
                .is_ascii_digit()
                .then(|| value * 10 + u64::from(digit - b'0'))
        })
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators
        .iter()
        .any(|&(at, want)| bytes.get(at) != Some(&want))
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1970..=2262).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let mut rest = &bytes[19..];
    let mut nanos: u64 = 0;
    if rest.first() == Some(&b'.') {
        let digits = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
        for place in 0..9 {
            let digit = if place < digits {
                rest[1 + place] - b'0'
            } else {
                0
            };
            nanos = nanos * 10 + u64::from(digit);
        }
        rest = &rest[1 + digits..];
    }
    let offset_seconds: i64 = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let two = |a: &u8, b: &u8| {
                (a.is_ascii_digit() && b.is_ascii_digit())
                    .then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
            };
            let seconds = two(h1, h2)? * 3_600 + two(m1, m2)? * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let days = days_from_civil(year, month, day);
    let seconds = i64::try_from(days * 86_400 + hour * 3_600 + minute * 60 + second).ok()?;
    (seconds - offset_seconds)
        .checked_mul(1_000_000_000)?
        .checked_add(i64::try_from(nanos).ok()?)
        .filter(|nanos| *nanos >= 0)
}

/// Year, month, day of a day count since 1970 (Hinnant, "chrono-compatible low-level date
/// algorithms": years begin in March so that the leap day comes last).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`civil_from_days`], for years from 1970.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_instants() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_150_124_123, "2026-11-20T04:48:44.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(format_millis(millis), text);
            assert_eq!(
                parse_nanos(text),
                Some(i64::try_from(millis).unwrap() * 1_000_000)
            );
        }
        assert_eq!(format_millis(u64::MAX).len(), WIDTH);
    }

    #[test]
    fn what_docker_writes() {
        for (text, nanos) in [
            (
                "2026-11-20T04:48:44.123456789Z",
                Some(1_795_150_124_123_456_789),
            ),
            ("2026-11-20T04:48:44Z", Some(1_795_150_124_000_000_000)),
            ("2026-11-20T04:48:44.5Z", Some(1_795_150_124_500_000_000)),
            (
                "2026-11-20T05:48:44.5+01:00",
                Some(1_795_150_124_500_000_000),
            ),
            ("0001-01-01T00:00:00Z", None),
            ("", None),
            ("2026-11-20", None),
            ("2026-13-20T04:48:44Z", None),
            ("2026-11-20T04:48:44", None),
            (
                "2026-11-20T04:48:44.123456789123Z",
                Some(1_795_150_124_123_456_789),
            ),
            ("zz26-11-20T04:48:44Z", None),
        ] {
            assert_eq!(parse_nanos(text), nanos, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again(millis in 0_u64..9_000_000_000_000) {
            let text = format_millis(millis);
            prop_assert_eq!(text.len(), WIDTH);
            prop_assert_eq!(parse_nanos(&text), Some(i64::try_from(millis).unwrap() * 1_000_000));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = parse_nanos(&text);
        }
    }
}
