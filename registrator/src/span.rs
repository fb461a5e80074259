//! [pure] Spans of time as people write them in flags, files and labels: `90`, `90s`, `1500ms`, `2m`,
//! `1h`. A number alone is seconds.

use std::time::Duration;

/// Reads a span; `None` when the text is none, or longer than can be counted.
#[must_use]
pub(crate) fn parse(text: &str) -> Option<Duration> {
    parse_ms(text).map(Duration::from_millis)
}

/// The same in milliseconds.
#[must_use]
pub(crate) fn parse_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (text, millis) in [
            ("90", Some(90_000)),
            ("90s", Some(90_000)),
            ("1500ms", Some(1_500)),
            (" 2m ", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("99999999999999999999", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(parse_ms(text), millis, "{text:?}");
        }
    }
}
