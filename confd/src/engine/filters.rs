//! Filters of templates: small text helpers, and those of `quote.rs` under their names for Tera.

#![expect(
    clippy::needless_pass_by_value,
    reason = "Tera hands its arguments over by value"
)]

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tera::{Error, Kwargs, Map, State, Tera, TeraResult, Value};

use super::functions::{check, hinted, parsed};
use super::quote::{self, QUOTES, Refusal};
use super::text;

/// Names of all filters, ours and the usual ones of Tera, to guess what a misspelt one means.
pub(super) const NAMES: &[&str] = &[
    "base",
    "dir",
    "split",
    "join",
    "parse_json",
    "parse_bool",
    "json_encode",
    "b64_encode",
    "b64_decode",
    "sort_by_length",
    "must_int",
    "nginx_quote",
    "haproxy_arg",
    "shell_quote",
    "yaml_quote",
    "toml_quote",
    "json_quote",
    "must_port",
    "must_ip",
    "must_host",
    "must_hostport",
    "must_word",
    "must_match",
    "default",
    "upper",
    "lower",
    "trim",
    "trim_start",
    "trim_end",
    "replace",
    "capitalize",
    "title",
    "truncate",
    "indent",
    "str",
    "int",
    "float",
    "length",
    "reverse",
    "abs",
    "round",
    "first",
    "last",
    "nth",
    "sort",
    "unique",
    "get",
    "values",
    "keys",
    "pairs",
    "group_by",
];

/// Adds all filters to an engine.
pub(super) fn register(tera: &mut Tera) {
    tera.register_filter("base", base);
    tera.register_filter("dir", dir);
    tera.register_filter("split", split);
    tera.register_filter("join", join);
    tera.register_filter("parse_json", parse_json);
    tera.register_filter("parse_bool", parse_bool);
    tera.register_filter("json_encode", json_encode);
    tera.register_filter("b64_encode", b64_encode);
    tera.register_filter("b64_decode", b64_decode);
    tera.register_filter("sort_by_length", sort_by_length);
    tera.register_filter("unique", unique);
    tera.register_filter("group_by", group_by);
    tera.register_filter("must_int", must_int);
    tera.register_filter("must_match", must_match);
    for (name, quote) in QUOTES {
        tera.register_filter(*name, move |value: Value, kwargs: Kwargs, _: &State| {
            check(name, &kwargs, &[])?;
            quote(&value.to_string()).map_err(refused)
        });
        // `{% if s.name is host %}` asks what `{{ s.name | must_host }}` demands, so that one bad record can be left out.
        if let Some(noun) = name.strip_prefix("must_") {
            tera.register_test(noun, move |value: &Value, _: Kwargs, _: &State| {
                quote(&value.to_string()).is_ok()
            });
        }
    }
}

fn base(path: &str, kwargs: Kwargs, _: &State) -> TeraResult<String> {
    check("base", &kwargs, &[])?;
    Ok(text::base(path).to_owned())
}

fn dir(path: &str, kwargs: Kwargs, _: &State) -> TeraResult<String> {
    check("dir", &kwargs, &[])?;
    Ok(text::dir(path))
}

fn split(text: &str, kwargs: Kwargs, _: &State) -> TeraResult<Vec<String>> {
    check("split", &kwargs, &["pat"])?;
    let pat: &str = kwargs.must_get("pat")?;
    Ok(text::split(text, pat)
        .into_iter()
        .map(str::to_owned)
        .collect())
}

fn join(list: &[Value], kwargs: Kwargs, _: &State) -> TeraResult<String> {
    check("join", &kwargs, &["sep"])?;
    let sep: &str = kwargs.get("sep")?.unwrap_or("");
    Ok(list
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(sep))
}

fn parse_json(text: &str, kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("parse_json", &kwargs, &[])?;
    parsed("the value", text)
}

fn parse_bool(text: &str, kwargs: Kwargs, _: &State) -> TeraResult<bool> {
    check("parse_bool", &kwargs, &[])?;
    text::parse_bool(text).ok_or_else(|| {
        hinted(
            format!("{text:?} is neither true nor false"),
            "write true, false, 1 or 0",
        )
    })
}

fn json_encode(value: &Value, kwargs: Kwargs, _: &State) -> TeraResult<String> {
    check("json_encode", &kwargs, &["pretty"])?;
    let pretty = kwargs.get::<bool>("pretty")?.unwrap_or(false);
    let text = if pretty {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    text.map_err(|error| Error::message(format!("the value has no JSON form: {error}")))
}

fn b64_encode(text: &str, kwargs: Kwargs, _: &State) -> TeraResult<String> {
    check("b64_encode", &kwargs, &[])?;
    Ok(BASE64.encode(text))
}

fn b64_decode(text: &str, kwargs: Kwargs, _: &State) -> TeraResult<String> {
    check("b64_decode", &kwargs, &[])?;
    let bytes = BASE64
        .decode(text.trim())
        .map_err(|error| Error::message(format!("not base64: {error}")))?;
    String::from_utf8(bytes).map_err(|_| Error::message("the decoded value is not UTF-8 text"))
}

fn sort_by_length(list: &[Value], kwargs: Kwargs, _: &State) -> TeraResult<Vec<Value>> {
    check("sort_by_length", &kwargs, &[])?;
    let mut sorted = list.to_vec();
    sorted.sort_by_key(|value| value.to_string().len());
    Ok(sorted)
}

/// As Tera's own, which takes no `attribute` (and would ignore one): values, or an attribute of them, appear once.
fn unique(list: &[Value], kwargs: Kwargs, _: &State) -> TeraResult<Vec<Value>> {
    check("unique", &kwargs, &["attribute"])?;
    let attribute: Option<&str> = kwargs.get("attribute")?;
    let mut seen = BTreeSet::new();
    let mut kept = Vec::with_capacity(list.len());
    for value in list {
        let key = match attribute {
            None => value.clone(),
            Some(path) => value
                .get_from_path(path)
                .cloned()
                .ok_or_else(|| Error::message(format!("a value has no attribute {path:?}")))?,
        };
        if seen.insert(key) {
            kept.push(value.clone());
        }
    }
    Ok(kept)
}

/// As Tera's own, but in the order in which groups first appear: Tera's differs from render to render.
fn group_by(list: &[Value], kwargs: Kwargs, _: &State) -> TeraResult<Value> {
    check("group_by", &kwargs, &["attribute"])?;
    let attribute: &str = kwargs.must_get("attribute")?;
    let mut groups: Vec<(String, Vec<Value>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for value in list {
        let Some(group) = value.get_from_path(attribute) else {
            return Err(Error::message(format!(
                "a value has no attribute {attribute:?}"
            )));
        };
        // As Tera does it: null belongs to no group.
        if group.is_none() {
            continue;
        }
        let group = group.to_string();
        let place = *places.entry(group.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((group, Vec::new()));
        }
        groups[place].1.push(value.clone());
    }
    let mut map = Map::new();
    for (group, values) in groups {
        map.insert(group.into(), Value::from(values));
    }
    Ok(Value::from(map))
}

fn must_int(value: &Value, kwargs: Kwargs, _: &State) -> TeraResult<i64> {
    check("must_int", &kwargs, &["min", "max"])?;
    let (min, max) = (kwargs.get::<i64>("min")?, kwargs.get::<i64>("max")?);
    quote::must_int(&value.to_string(), min, max).map_err(refused)
}

fn must_match(value: &Value, kwargs: Kwargs, _: &State) -> TeraResult<String> {
    check("must_match", &kwargs, &["pat"])?;
    let pattern: &str = kwargs.must_get("pat")?;
    quote::must_match(&value.to_string(), pattern).map_err(refused)
}

fn refused(refusal: Refusal) -> Error {
    match refusal.hint {
        Some(hint) => hinted(refusal.message, hint),
        None => Error::message(refusal.message),
    }
}
