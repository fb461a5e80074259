//! Pure: Durations as people write them.

use std::time::Duration;

/// Reads durations as Go writes them: `1h`, `1m30s`, `1.5s`, `50ms`, `200us`.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|char: char| !char.is_ascii_digit() && char != '.')
            .filter(|at| *at > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|char: char| char.is_ascii_digit() || char == '.')
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..letters] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    (!text.is_empty())
        .then(|| Duration::try_from_secs_f64(seconds).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("50ms", 50.0),
            ("2s", 2000.0),
            ("1m30s", 90_000.0),
            ("1.5s", 1500.0),
            ("0", 0.0),
            ("200us", 0.2),
        ] {
            let wanted = Duration::from_secs_f64(millis / 1000.0);
            assert_eq!(parse(text), Some(wanted), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-1s", "1x", "1s5", "..s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
