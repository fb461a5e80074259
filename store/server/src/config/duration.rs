//! Durations in flags and files, as Go writes them: `10m`, `1h30m`, `100ms`, `1.5s`; with what to say about others.

use std::time::Duration;

/// Not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write for example 300ms, 5s or 1h30m")]
pub struct NotADuration;

/// Reads a duration. A bare `0` is one; other numbers need a unit. Negative ones are refused.
///
/// # Errors
/// [`NotADuration`].
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    store_duration::parse(text).map_err(|_| NotADuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, wanted) in [
            ("0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("300ms", Some(Duration::from_millis(300))),
            ("5s", Some(Duration::from_secs(5))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("10m", Some(Duration::from_secs(600))),
            ("1h30m", Some(Duration::from_secs(5400))),
            ("2h0m0s", Some(Duration::from_secs(7200))),
            ("7us", Some(Duration::from_micros(7))),
            ("7µs", Some(Duration::from_micros(7))),
            ("9ns", Some(Duration::from_nanos(9))),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5 s", None),
            ("5d", None),
            ("1..5s", None),
            ("999999999999999999999h", None),
        ] {
            assert_eq!(parse(text).ok(), wanted, "{text:?}");
        }
    }
}
