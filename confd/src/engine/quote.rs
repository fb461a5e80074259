//! Pure: Values as one word of the language that the file is written in, and values that must be what they claim. Keys
//! come from the store, where anybody who may write a key writes a piece of the configuration; what is quoted here stays
//! one argument or is refused, and never begins a new directive. Both engines offer these.

use std::net::IpAddr;

use regex::Regex;

/// Why a value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

type Result<T = String> = std::result::Result<T, Refusal>;

/// A way to quote or to judge a text.
pub(super) type Quote = fn(&str) -> Result;

/// All of one argument, by their names as filters.
pub(super) const QUOTES: &[(&str, Quote)] = &[
    ("nginx_quote", nginx),
    ("haproxy_arg", haproxy),
    ("shell_quote", shell),
    ("yaml_quote", double),
    ("json_quote", double),
    ("toml_quote", double),
    ("must_port", must_port),
    ("must_ip", must_ip),
    ("must_host", must_host),
    ("must_hostport", must_hostport),
    ("must_word", must_word),
];

fn refused<T>(message: String) -> Result<T> {
    Err(Refusal {
        message,
        hint: None,
    })
}

fn control<T>(text: &str, what: &str) -> Result<T> {
    refused(format!(
        "{text:?} cannot be {what}: it holds a control character"
    ))
}

/// True for text that no configuration language here reads as anything but one word.
fn is_plain(text: &str, extra: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|char| {
            char.is_ascii_alphanumeric() || "-_./:@%+".contains(char) || extra.contains(char)
        })
}

/// One nginx parameter: bare if plain, else in double quotes. nginx cannot escape `$`, so a value with one is refused
/// where it would become a variable.
pub(super) fn nginx(text: &str) -> Result {
    if is_plain(text, "=,~^*") {
        return Ok(text.to_owned());
    }
    if text.contains('$') {
        return Err(Refusal {
            message: format!("{text:?} cannot be an nginx parameter: it holds $"),
            hint: Some("nginx would read a variable there and has no way to escape it"),
        });
    }
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_control() => return control(text, "an nginx parameter"),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

/// One haproxy argument: bare if plain, else in single quotes, where haproxy expands nothing. Its lines cannot hold a
/// line break in any form.
pub(super) fn haproxy(text: &str) -> Result {
    if text.chars().any(char::is_control) {
        return control(text, "a haproxy argument");
    }
    Ok(if is_plain(text, "=,*()") {
        text.to_owned()
    } else {
        single_quoted(text)
    })
}

pub(super) fn shell(text: &str) -> Result {
    match shell_quote(text) {
        Some(quoted) => Ok(quoted),
        None => control(text, "a shell word"),
    }
}

/// One word for a POSIX shell; `None` for a NUL, which no argument can hold.
pub(crate) fn shell_quote(text: &str) -> Option<String> {
    if text.contains('\0') {
        return None;
    }
    Some(if is_plain(text, "=,") {
        text.to_owned()
    } else {
        single_quoted(text)
    })
}

fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A string that JSON, YAML and TOML all read as the same text.
#[expect(clippy::unnecessary_wraps, reason = "one of a table, others refuse")]
pub(super) fn double(text: &str) -> Result {
    let quoted = serde_json::Value::from(text).to_string();
    let mut out = String::with_capacity(quoted.len());
    for char in quoted.chars() {
        match char {
            // JSON allows these bare, TOML and YAML do not.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            char => out.push(char),
        }
    }
    Ok(out)
}

/// A whole number within bounds.
pub(super) fn must_int(text: &str, min: Option<i64>, max: Option<i64>) -> Result<i64> {
    let Ok(number) = text.trim().parse::<i64>() else {
        return refused(format!("{text:?} is not a whole number"));
    };
    match (min, max) {
        (Some(min), _) if number < min => refused(format!("{number} is less than {min}")),
        (_, Some(max)) if number > max => refused(format!("{number} is more than {max}")),
        _ => Ok(number),
    }
}

/// A text that a pattern describes whole.
pub(super) fn must_match(text: &str, pattern: &str) -> Result {
    let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| Refusal {
        message: format!("{pattern:?} is no pattern: {error}"),
        hint: None,
    })?;
    match regex.is_match(text) {
        true => Ok(text.to_owned()),
        false => refused(format!("{text:?} does not match {pattern:?}")),
    }
}

pub(super) fn must_port(text: &str) -> Result {
    match text.parse::<u16>() {
        Ok(1..) => Ok(text.to_owned()),
        _ => refused(format!("{text:?} is no port, 1 to 65535")),
    }
}

pub(super) fn must_ip(text: &str) -> Result {
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => refused(format!("{text:?} is no IP address")),
    }
}

/// An IP address, or a host name by RFC 1123: labels of letters, digits and hyphens. Underscores are let through, for
/// container names have them.
pub(super) fn must_host(text: &str) -> Result {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || char == '-' || char == '_')
    };
    let name = text.len() <= 253 && text.split('.').all(label);
    match name || text.parse::<IpAddr>().is_ok() {
        true => Ok(text.to_owned()),
        false => refused(format!("{text:?} is no host")),
    }
}

/// A host and a port; an IPv6 address stands in brackets.
pub(super) fn must_hostport(text: &str) -> Result {
    let parts = text.rsplit_once(':');
    let good = parts.is_some_and(|(host, port)| {
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.contains(':') && must_host(host).is_ok(),
        };
        host && must_port(port).is_ok()
    });
    match good {
        true => Ok(text.to_owned()),
        false => refused(format!("{text:?} is no host:port")),
    }
}

/// A text that needs no quotes anywhere.
pub(super) fn must_word(text: &str) -> Result {
    match is_plain(text, "") {
        true => Ok(text.to_owned()),
        false => refused(format!("{text:?} is not one plain word")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_is_let_through_as_it_is_or_refused() {
        for (judge, good, bad) in [
            (
                must_port as Quote,
                &["1", "80", "65535"][..],
                &["0", "65536", "x", "", "80 "][..],
            ),
            (must_ip, &["10.0.0.1", "::1"], &["10.0.0", "a", "10.0.0.1;"]),
            (
                must_host,
                &["a", "web-1.internal", "my_app", "10.0.0.1", "::1"],
                &["", "-a", "a-", "a..b", "a b", "a;b", "a/b"],
            ),
            (
                must_hostport,
                &["a:80", "10.0.0.1:1", "[::1]:80"],
                &[
                    "a", "a:", ":80", "::1:80", "a:0", "[a]:80", "a:80;", "[::1:80",
                ],
            ),
            (
                must_word,
                &["a", "a-b_c.d/e:f@g"],
                &["", "a b", "a;b", "a\n", "$a", "a'"],
            ),
        ] {
            for text in good {
                assert_eq!(judge(text).as_deref(), Ok(*text));
            }
            for text in bad {
                assert!(judge(text).is_err(), "{text:?}");
            }
        }
        assert_eq!(must_match("v1.2", "v[0-9.]+").as_deref(), Ok("v1.2"));
        assert!(must_match("v1.2;", "v[0-9.]+").is_err(), "the whole of it");
        assert!(must_match("x", "(").is_err());
        assert_eq!(must_int("7", Some(1), Some(9)), Ok(7));
        assert!(must_int("0", Some(1), None).is_err());
    }
}
