//! Lengths of time as Go reads and writes them (`time.ParseDuration`, `time.Duration.String`): etcd's flags, files and
//! answers are in this form. The one place that knows it, for server, proxies and command line.
//! Never knows a clock.

use std::time::Duration;

/// What Go's type holds: 64 bits of nanoseconds with a sign, 292 years.
const NANOS_MAX: u128 = i64::MAX as u128;

/// Nanoseconds per unit. Both letters that look like mu are taken: U+00B5 and U+03BC.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Not a length of time; the texts are Go's, which clients of etcd print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADuration {
    /// Not numbers with units, or longer than Go can count.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without a unit, other than 0.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that there is not.
    #[error("time: unknown unit {0:?} in duration {1:?}")]
    UnknownUnit(String, String),
    /// Below zero, which nothing here can wait for.
    #[error("time: negative duration {0:?}")]
    Negative(String),
}

/// Reads `300ms`, `1.5h`, `1h30m`, `+5s`, or `0`.
///
/// # Errors
/// [`NotADuration`].
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let invalid = || NotADuration::Invalid(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, tail) = digits(rest);
        let (fraction, tail) = match tail.strip_prefix('.') {
            Some(tail) => digits(tail),
            None => ("", tail),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = tail.find(|char: char| char == '.' || char.is_ascii_digit());
        let (unit, tail) = tail.split_at(end.unwrap_or(tail.len()));
        if unit.is_empty() {
            return Err(NotADuration::MissingUnit(text.to_owned()));
        }
        let scale = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, scale) =
            scale.ok_or_else(|| NotADuration::UnknownUnit(unit.to_owned(), text.to_owned()))?;
        let part = whole_nanos(whole, *scale)
            .and_then(|whole| whole.checked_add(fraction_nanos(fraction, *scale)));
        nanos = part
            .and_then(|part| nanos.checked_add(part))
            .filter(|nanos| *nanos <= NANOS_MAX)
            .ok_or_else(invalid)?;
        rest = tail;
    }
    if negative && nanos > 0 {
        return Err(NotADuration::Negative(text.to_owned()));
    }
    let nanos = u64::try_from(nanos).map_err(|_| invalid())?;
    Ok(Duration::from_nanos(nanos))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|char: char| !char.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

fn whole_nanos(digits: &str, scale: u128) -> Option<u128> {
    if digits.is_empty() {
        return Some(0);
    }
    digits.parse::<u128>().ok()?.checked_mul(scale)
}

/// What is smaller than a nanosecond falls away, as in Go.
fn fraction_nanos(digits: &str, scale: u128) -> u128 {
    // 18 digits of an hour are far below a nanosecond, and their product fits.
    let digits = &digits[..digits.len().min(18)];
    let places = u32::try_from(digits.len()).unwrap_or(0);
    digits.parse().unwrap_or(0) * scale / 10_u128.pow(places)
}

/// Writes a length of time as Go does: `1h30m0s`, `1.5s`, `20ms`, `0s`.
#[must_use]
pub fn written(time: Duration) -> String {
    let nanos = time.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, scale) = match nanos {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return decimal(nanos, scale) + unit;
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match minutes {
        0 => format!("{seconds}s"),
        1..60 => format!("{minutes}m{seconds}s"),
        _ => format!("{}h{}m{seconds}s", minutes / 60, minutes % 60),
    }
}

/// `nanos / scale` without zeros at its end.
fn decimal(nanos: u128, scale: u128) -> String {
    let places = scale.ilog10() as usize;
    let fraction = format!("{:0places$}", nanos % scale);
    match fraction.trim_end_matches('0') {
        "" => (nanos / scale).to_string(),
        fraction => format!("{}.{fraction}", nanos / scale),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("-0s", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("5.0s", 5_000_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m0s", 60_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("1m1ms1us1ns", 60_001_001_001),
            ("12µs", 12_000),
            ("12μs", 12_000),
            ("0.000000001s", 1),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9007199254.740993ms", 9_007_199_254_740_993),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ] {
            let read = parse(text).map(|time| time.as_nanos());
            assert_eq!(read, Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_in_its_words() {
        for (text, said) in [
            ("", r#"time: invalid duration """#),
            ("-", r#"time: invalid duration "-""#),
            ("s", r#"time: invalid duration "s""#),
            (".", r#"time: invalid duration ".""#),
            (".s", r#"time: invalid duration ".s""#),
            ("3", r#"time: missing unit in duration "3""#),
            ("1h5", r#"time: missing unit in duration "1h5""#),
            ("3x", r#"time: unknown unit "x" in duration "3x""#),
            ("1 s", r#"time: unknown unit " s" in duration "1 s""#),
            ("-1s", r#"time: negative duration "-1s""#),
            (
                "9223372036854775808ns",
                r#"time: invalid duration "9223372036854775808ns""#,
            ),
            ("3000000h", r#"time: invalid duration "3000000h""#),
        ] {
            let refused = parse(text).map_err(|why| why.to_string());
            assert_eq!(refused, Err(said.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_go_writes() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (2_000, "2µs"),
            (1_500_000, "1.5ms"),
            (1_000_712_378, "1.000712378s"),
            (60_000_000_000, "1m0s"),
            (5_400_500_000_000, "1h30m0.5s"),
        ] {
            assert_eq!(written(Duration::from_nanos(nanos)), text);
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again(nanos in 0..i64::MAX as u64) {
            let time = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&written(time)), Ok(time));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = parse(&text);
        }
    }
}
