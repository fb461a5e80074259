//! Pure: The functions that confd's fork has beside the original's: defaults, JSON, text, regular expressions, maps.

use std::net::IpAddr;

use gotmpl::Value;
use regex::Regex;
use sha2::{Digest, Sha256};

use super::super::frame::with_frame;
use super::arguments::{Arguments, Fault, Function, function};
use super::functions::{map, string, texts};
use super::{display, json};

type Result<T = Value> = std::result::Result<T, Fault>;

/// Largest text `repeat` and `indent` make, in bytes. 16 MiB, as the largest template.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// All of them but `include`, which is the engine's own.
pub(super) const FUNCTIONS: &[Function] = &[
    function("hostname", 0, 0, |_| {
        with_frame(|frame| string(frame.globals.hostname.as_str())).ok_or_else(Fault::outside)
    }),
    function("configHash", 0, 0, |_| {
        Ok(string(crate::render::HASH_PLACE))
    }),
    function("lookupIfaceIPV4", 1, 1, |args| {
        interface(args, IpAddr::is_ipv4)
    }),
    function("lookupIfaceIPV6", 1, 1, |args| {
        interface(args, IpAddr::is_ipv6)
    }),
    function("default", 2, 2, |args| {
        let chosen = if args.value(1).is_truthy() { 1 } else { 0 };
        Ok(args.value(chosen).clone())
    }),
    function("ternary", 3, 3, |args| {
        let chosen = if args.bool(2)? { 0 } else { 1 };
        Ok(args.value(chosen).clone())
    }),
    function("coalesce", 0, usize::MAX, |args| {
        let found = args.all().iter().find(|value| value.is_truthy());
        Ok(found.cloned().unwrap_or(Value::Nil))
    }),
    function("empty", 1, 1, |args| {
        Ok(Value::Bool(!args.value(0).is_truthy()))
    }),
    function("toJson", 1, 1, |args| {
        json::written(args.value(0), false).map(string)
    }),
    function("toPrettyJson", 1, 1, |args| {
        json::written(args.value(0), true).map(string)
    }),
    function("fromJson", 1, 1, |args| json::parsed(args.text(0)?)),
    function("indent", 2, 2, |args| {
        indented(args.int(0)?, args.text(1)?).map(string)
    }),
    function("nindent", 2, 2, |args| {
        let text = indented(args.int(0)?, args.text(1)?)?;
        Ok(string(format!("\n{text}")))
    }),
    function("quote", 1, 1, |args| {
        Ok(string(go_quoted(&display::inner(args.value(0)))))
    }),
    function("squote", 1, 1, |args| {
        Ok(string(format!("'{}'", display::inner(args.value(0)))))
    }),
    function("regexMatch", 2, 2, |args| {
        Ok(Value::Bool(regex(args.text(0)?)?.is_match(args.text(1)?)))
    }),
    function("regexFind", 2, 2, |args| {
        let found = regex(args.text(0)?)?;
        let found = found.find(args.text(1)?);
        Ok(string(found.map_or("", |found| found.as_str())))
    }),
    function("regexReplaceAll", 3, 3, |args| {
        let regex = regex(args.text(0)?)?;
        Ok(string(
            regex.replace_all(args.text(1)?, args.text(2)?).as_ref(),
        ))
    }),
    function("trimPrefix", 2, 2, |args| {
        let text = args.text(0)?;
        Ok(string(text.strip_prefix(args.text(1)?).unwrap_or(text)))
    }),
    function("repeat", 2, 2, repeat),
    function("nospace", 1, 1, |args| {
        let kept = args.text(0)?.chars().filter(|char| !char.is_whitespace());
        Ok(string(kept.collect::<String>()))
    }),
    function("snakecase", 1, 1, |args| {
        Ok(string(words(args.text(0)?).join("_")))
    }),
    function("kebabcase", 1, 1, |args| {
        Ok(string(words(args.text(0)?).join("-")))
    }),
    function("camelcase", 1, 1, |args| {
        let words = words(args.text(0)?);
        let mut words = words.iter();
        let first = words.next().cloned().unwrap_or_default();
        Ok(string(
            words.fold(first, |name, word| name + &capital(word)),
        ))
    }),
    function("dict", 0, usize::MAX, map),
    function("list", 0, usize::MAX, |args| {
        Ok(Value::List(args.all().iter().cloned().collect()))
    }),
    function("hasKey", 2, 2, |args| {
        let key = args.text(1)?;
        let map = args.map(0)?;
        Ok(Value::Bool(
            map.iter().any(|(name, _)| name.as_ref() == key),
        ))
    }),
    function("keys", 1, 1, |args| {
        Ok(texts(
            args.map(0)?
                .into_iter()
                .map(|(key, _)| key.clone())
                .collect(),
        ))
    }),
    function("values", 1, 1, |args| {
        Ok(Value::List(
            args.map(0)?
                .into_iter()
                .map(|(_, value)| value.clone())
                .collect(),
        ))
    }),
    function("append", 2, 2, |args| {
        let mut list = args.list(0)?.to_vec();
        list.push(args.value(1).clone());
        Ok(Value::List(list.into()))
    }),
    function("pluck", 1, usize::MAX, |args| {
        let key = args.text(0)?;
        let maps = args.all().iter().skip(1);
        Ok(Value::List(
            maps.filter_map(|map| map.field(key).cloned()).collect(),
        ))
    }),
    function("sha256sum", 1, 1, |args| {
        let digest = Sha256::digest(args.text(0)?);
        Ok(string(
            digest
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        ))
    }),
];

/// The first address of an interface of one of the two versions.
fn interface(args: &Arguments<'_>, wanted: fn(&IpAddr) -> bool) -> Result {
    let name = args.text(0)?;
    let found =
        with_frame(|frame| frame.globals.outside.interface(name)).ok_or_else(Fault::outside)?;
    match found.iter().find(|ip| wanted(ip)) {
        Some(ip) => Ok(string(ip.to_string())),
        None => Err(
            Fault::new(format!("interface {name:?} has no such address"))
                .hinted("hand the address over in the environment and read it with getenv"),
        ),
    }
}

fn regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default();
        Fault::new(format!("error parsing regexp {pattern:?}: {reason}"))
    })
}

fn repeat(args: &Arguments<'_>) -> Result {
    let text = args.text(1)?;
    let count = usize::try_from(args.int(0)?).map_err(|_| Fault::new("negative repeat count"))?;
    if text.len().saturating_mul(count) > TEXT_BYTES_MAX {
        return Err(Fault::new(format!(
            "the text would be longer than {TEXT_BYTES_MAX} bytes"
        )));
    }
    Ok(string(text.repeat(count)))
}

/// Spaces in front of every line.
fn indented(spaces: i64, text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let spaces = usize::try_from(spaces).map_err(|_| Fault::new("negative repeat count"))?;
    let lines = text.matches('\n').count() + 1;
    if lines.saturating_mul(spaces) > TEXT_BYTES_MAX {
        return Err(Fault::new(format!(
            "the text would be longer than {TEXT_BYTES_MAX} bytes"
        )));
    }
    let spaces = " ".repeat(spaces);
    Ok(format!(
        "{spaces}{}",
        text.replace('\n', &format!("\n{spaces}"))
    ))
}

/// Go's `%q`.
fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(char))),
            char if char.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

/// The words of a name in small letters: split at `_`, `-` and blanks, before a capital that follows none, and before
/// the last capital of a row that goes on in small letters (`HTTPServer` is `http` and `server`).
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let goes_on = chars.peek().is_some_and(|next| next.is_lowercase());
        let begins = char.is_uppercase() && (goes_on || !before.is_some_and(char::is_uppercase));
        let separates = matches!(char, '_' | '-' | ' ');
        if begins || separates {
            words.push(String::new());
        }
        if let (false, Some(word)) = (separates, words.last_mut()) {
            word.extend(char.to_lowercase());
        }
        before = Some(char);
    }
    words.retain(|word| !word.is_empty());
    words
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}
