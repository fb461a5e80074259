//! Pure: The functions of the original confd, edge cases included. Keys are read through the render's window, which
//! records them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gotmpl::Value;

use super::super::frame::with_frame;
use super::super::outside::{Service, sorted_services, srv_name};
use super::super::text;
use super::arguments::{Arguments, Fault, Function, function};
use super::{display, json};
use crate::tree::{Pair, ReadError, Reader};

type Result<T = Value> = std::result::Result<T, Fault>;

/// Longest list `seq` makes. A million: more is a mistake, and would fill the memory.
const SEQUENCE_MAX: i64 = 1_000_000;

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
    function("exists", 1, 1, |args| {
        let key = args.text(0)?;
        read(|reader| Ok(Value::Bool(reader.exists(key))))
    }),
    function("get", 1, 1, |args| {
        let key = args.text(0)?;
        read(|reader| reader.get(key).map(pair_value))
    }),
    function("getv", 1, usize::MAX, getv),
    function("gets", 1, 1, |args| {
        let pattern = args.text(0)?;
        let pairs = read(|reader| reader.gets(pattern))?;
        Ok(Value::List(pairs.into_iter().map(pair_value).collect()))
    }),
    function("getvs", 1, 1, |args| {
        let pattern = args.text(0)?;
        read(|reader| reader.getvs(pattern)).map(texts)
    }),
    function("ls", 1, 1, |args| {
        let path = args.text(0)?;
        read(|reader| Ok(reader.ls(path))).map(texts)
    }),
    function("lsdir", 1, 1, |args| {
        let path = args.text(0)?;
        read(|reader| Ok(reader.lsdir(path))).map(texts)
    }),
    function("cget", 1, 1, encrypted),
    function("cgets", 1, 1, encrypted),
    function("cgetv", 1, 2, encrypted),
    function("cgetvs", 1, 1, encrypted),
    function("base", 1, 1, |args| Ok(string(text::base(args.text(0)?)))),
    function("dir", 1, 1, |args| Ok(string(text::dir(args.text(0)?)))),
    function("split", 2, 2, |args| {
        Ok(texts(text::split(args.text(0)?, args.text(1)?)))
    }),
    function("join", 2, 2, |args| {
        let list: Vec<String> = args.list(0)?.iter().map(display::inner).collect();
        Ok(string(list.join(args.text(1)?)))
    }),
    function("toUpper", 1, 1, |args| {
        Ok(string(mapped(args.text(0)?, |char| {
            single(char, char.to_uppercase())
        })))
    }),
    function("toLower", 1, 1, |args| {
        Ok(string(mapped(args.text(0)?, |char| {
            single(char, char.to_lowercase())
        })))
    }),
    function("contains", 2, 2, |args| {
        Ok(Value::Bool(args.text(0)?.contains(args.text(1)?)))
    }),
    function("replace", 4, 4, replace),
    function("trimSuffix", 2, 2, |args| {
        let text = args.text(0)?;
        Ok(string(text.strip_suffix(args.text(1)?).unwrap_or(text)))
    }),
    function("json", 1, 1, |args| {
        parsed(
            args.text(0)?,
            Value::Map(Arc::default()),
            "map[string]interface {}",
        )
    }),
    function("jsonArray", 1, 1, |args| {
        parsed(args.text(0)?, Value::List(Arc::new([])), "[]interface {}")
    }),
    function("map", 0, usize::MAX, map),
    function("getenv", 1, usize::MAX, getenv),
    function("datetime", 0, 0, |_| {
        Err(Fault::new("the time is not known to templates")
            .hinted("the output would differ in every pass; write the time with reload_cmd"))
    }),
    function("parseBool", 1, 1, |args| {
        let text = args.text(0)?;
        text::parse_bool(text).map(Value::Bool).ok_or_else(|| {
            Fault::new(format!(
                "strconv.ParseBool: parsing {text:?}: invalid syntax"
            ))
        })
    }),
    function("base64Encode", 1, 1, |args| {
        Ok(string(BASE64.encode(args.text(0)?)))
    }),
    function("base64Decode", 1, 1, base64_decode),
    function("fileExists", 1, 1, |args| {
        let path = args.text(0)?;
        with_frame(|frame| Value::Bool(frame.globals.outside.file_exists(path)))
            .ok_or_else(Fault::outside)
    }),
    function("lookupIP", 1, 1, |args| lookup(args, |_| true)),
    function("lookupIPV4", 1, 1, |args| {
        lookup(args, |ip| ip.contains('.'))
    }),
    function("lookupIPV6", 1, 1, |args| {
        lookup(args, |ip| ip.contains(':'))
    }),
    function("lookupSRV", 3, 3, services),
    function("reverse", 1, 1, |args| {
        Ok(match args.value(0) {
            Value::List(list) => Value::List(list.iter().rev().cloned().collect()),
            other => other.clone(),
        })
    }),
    function("sortByLength", 1, 1, |args| {
        sorted_by_length(args, |value| value.as_str())
    }),
    function("sortKVByLength", 1, 1, |args| {
        sorted_by_length(args, |value| value.field("Key").and_then(Value::as_str))
    }),
    function("add", 2, 2, |args| {
        Ok(Value::Int(args.int(0)?.wrapping_add(args.int(1)?)))
    }),
    function("sub", 2, 2, |args| {
        Ok(Value::Int(args.int(0)?.wrapping_sub(args.int(1)?)))
    }),
    function("mul", 2, 2, |args| {
        Ok(Value::Int(args.int(0)?.wrapping_mul(args.int(1)?)))
    }),
    function("div", 2, 2, |args| divided(args, i64::wrapping_div)),
    function("mod", 2, 2, |args| divided(args, i64::wrapping_rem)),
    function("seq", 2, 2, seq),
    function("atoi", 1, 1, |args| {
        let text = args.text(0)?;
        text.parse()
            .map(Value::Int)
            .map_err(|_| Fault::new(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))
    }),
];

/// A text as a value.
pub(super) fn string(text: impl Into<Arc<str>>) -> Value {
    Value::String(text.into())
}

/// Texts as a list.
pub(super) fn texts<T: Into<Arc<str>>>(texts: Vec<T>) -> Value {
    Value::List(texts.into_iter().map(string).collect())
}

/// Each character by itself, as Go maps them: none becomes two.
fn mapped(text: &str, map: impl Fn(char) -> char) -> String {
    text.chars().map(map).collect()
}

fn single(char: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => char,
    }
}

fn read<T>(call: impl FnOnce(&mut Reader) -> std::result::Result<T, ReadError>) -> Result<T> {
    with_frame(|frame| call(&mut frame.reader))
        .ok_or_else(Fault::outside)?
        .map_err(|error| unread(&error))
}

/// In the original's words, which people have looked up before.
fn unread(error: &ReadError) -> Fault {
    match error {
        ReadError::Absent { key } => Fault::new(format!("key does not exist: {key}"))
            .hinted("getv \"/key\" \"default\" gives a value for an absent key"),
        ReadError::Binary { .. } => {
            Fault::new(error.to_string()).hinted("templates can only show text")
        }
        ReadError::Pattern(_) => Fault::new(format!("syntax error in pattern: {error}"))
            .hinted("patterns know * ? [a-z] [^a-z] and \\ before any of them"),
    }
}

fn pair_value(pair: Pair) -> Value {
    Value::Map(Arc::new(BTreeMap::from([
        (Arc::from("Key"), string(pair.key)),
        (Arc::from("Value"), string(pair.value)),
    ])))
}

fn getv(args: &Arguments<'_>) -> Result {
    let (key, default) = (args.text(0)?, args.text_or_none(1)?);
    read(|reader| match default {
        None => reader.get(key).map(|pair| string(pair.value)),
        Some(default) => {
            let found = reader.find(key)?;
            Ok(found.map_or_else(|| string(default), |pair| string(pair.value)))
        }
    })
}

fn encrypted(_: &Arguments<'_>) -> Result {
    Err(Fault::new("encrypted values are not read by this version")
        .hinted("keep secrets in files that only the service can read"))
}

fn replace(args: &Arguments<'_>) -> Result {
    let (text, old, new, count) = (args.text(0)?, args.text(1)?, args.text(2)?, args.int(3)?);
    Ok(string(match usize::try_from(count) {
        Ok(count) => text.replacen(old, new, count),
        Err(_) => text.replace(old, new),
    }))
}

/// JSON of one kind; null is an empty one, as Go's typed nil.
fn parsed(text: &str, empty: Value, go_type: &str) -> Result {
    let value = json::parsed(text)?;
    let kind = json::kind(&value);
    match (&value, &empty) {
        (Value::Nil, _) => Ok(empty),
        (Value::Map(_), Value::Map(_)) | (Value::List(_), Value::List(_)) => Ok(value),
        _ => Err(Fault::new(format!(
            "json: cannot unmarshal {kind} into Go value of type {go_type}"
        ))),
    }
}

pub(super) fn map(args: &Arguments<'_>) -> Result {
    if !args.all().len().is_multiple_of(2) {
        return Err(Fault::new("invalid map call").hinted("each key needs a value"));
    }
    let mut map = BTreeMap::new();
    for pair in args.all().chunks_exact(2) {
        let Value::String(key) = &pair[0] else {
            return Err(Fault::new("map keys must be strings"));
        };
        map.insert(key.clone(), pair[1].clone());
    }
    Ok(Value::Map(Arc::new(map)))
}

fn getenv(args: &Arguments<'_>) -> Result {
    let (name, default) = (args.text(0)?, args.text_or_none(1)?.unwrap_or(""));
    with_frame(|frame| {
        let value = frame.globals.env.get(name).map(String::as_str);
        // As confd: set to nothing is not set.
        string(value.filter(|value| !value.is_empty()).unwrap_or(default))
    })
    .ok_or_else(Fault::outside)
}

fn base64_decode(args: &Arguments<'_>) -> Result {
    // Go skips line breaks, which files of keys are full of.
    let text = args.text(0)?.replace(['\r', '\n'], "");
    let bytes = BASE64
        .decode(text)
        .map_err(|error| Fault::new(format!("illegal base64 data: {error}")))?;
    String::from_utf8(bytes)
        .map(string)
        .map_err(|_| Fault::new("the decoded value is not UTF-8 text"))
}

/// Sorted texts; none where nothing was found.
/// Records as Go's `net.SRV`.
fn services(args: &Arguments<'_>) -> Result {
    let record = srv_name(args.text(0)?, args.text(1)?, args.text(2)?);
    let found = with_frame(|frame| sorted_services(frame.globals.outside.services(&record)))
        .ok_or_else(Fault::outside)?;
    let value = |one: Service| {
        let fields = [
            ("Target", string(one.target)),
            ("Port", Value::Int(one.port.into())),
            ("Priority", Value::Int(one.priority.into())),
            ("Weight", Value::Int(one.weight.into())),
        ];
        let fields = fields.map(|(name, value)| (name.into(), value));
        Value::Map(Arc::new(fields.into_iter().collect()))
    };
    Ok(Value::List(found.into_iter().map(value).collect()))
}

fn lookup(args: &Arguments<'_>, keep: fn(&String) -> bool) -> Result {
    let host = args.text(0)?;
    let found =
        with_frame(|frame| frame.globals.outside.addresses(host)).ok_or_else(Fault::outside)?;
    let mut found: Vec<String> = found.iter().map(ToString::to_string).filter(keep).collect();
    found.sort();
    found.dedup();
    Ok(texts(found))
}

fn sorted_by_length(args: &Arguments<'_>, text: fn(&Value) -> Option<&str>) -> Result {
    let mut list = args.list(0)?.to_vec();
    list.sort_by(|a, b| match (text(a), text(b)) {
        (Some(a), Some(b)) => a.len().cmp(&b.len()),
        _ => Ordering::Equal,
    });
    Ok(Value::List(list.into()))
}

fn divided(args: &Arguments<'_>, divide: fn(i64, i64) -> i64) -> Result {
    match args.int(1)? {
        0 => Err(Fault::new("division by zero")),
        by => Ok(Value::Int(divide(args.int(0)?, by))),
    }
}

fn seq(args: &Arguments<'_>) -> Result {
    let (first, last) = (args.int(0)?, args.int(1)?);
    if last.saturating_sub(first) >= SEQUENCE_MAX {
        return Err(Fault::new(format!(
            "seq makes at most {SEQUENCE_MAX} numbers"
        )));
    }
    Ok(Value::List((first..=last).map(Value::Int).collect()))
}
