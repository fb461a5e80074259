//! Pure: JSON as Go's `encoding/json` reads and writes it for templates: every number is a float, keys are sorted,
//! `<`, `>` and `&` are escaped.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use super::arguments::Fault;

/// Floats of whole value below this have an exact integer of 64 bits, written without a point. 2^53.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Text as a value.
pub(super) fn parsed(text: &str) -> Result<Value, Fault> {
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| Fault::new(format!("the value is not JSON: {error}")))?;
    Ok(value_of(value))
}

/// A value of JSON, as templates see it.
pub(super) fn value_of(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(flag) => Value::Bool(flag),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::String(text.into()),
        serde_json::Value::Array(list) => Value::List(list.into_iter().map(value_of).collect()),
        serde_json::Value::Object(map) => {
            let map: BTreeMap<Arc<str>, Value> = map
                .into_iter()
                .map(|(key, value)| (key.into(), value_of(value)))
                .collect();
            Value::Map(Arc::new(map))
        }
    }
}

/// What kind of JSON a value is, in Go's words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
        Value::List(_) => "array",
        Value::Map(_) => "object",
        _ => "string",
    }
}

/// A value as text, on one line or indented by two spaces.
pub(super) fn written(value: &Value, pretty: bool) -> Result<String, Fault> {
    let value = json_of(value)?;
    let text = if pretty {
        serde_json::to_string_pretty(&value)
    } else {
        serde_json::to_string(&value)
    };
    let text = text.map_err(|error| Fault::new(format!("the value has no JSON form: {error}")))?;
    // These stand in strings only.
    Ok(text
        .chars()
        .fold(String::with_capacity(text.len()), |mut out, char| {
            match char {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.push_str(&format!("\\u{:04x}", u32::from(char)));
                }
                char => out.push(char),
            }
            out
        }))
}

fn json_of(value: &Value) -> Result<serde_json::Value, Fault> {
    Ok(match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole numbers of this size are exact"
        )]
        Value::Float(number) if number.fract() == 0.0 && number.abs() < WHOLE_MAX => {
            (*number as i64).into()
        }
        Value::Float(number) if !number.is_finite() => {
            return Err(Fault::new("json: unsupported value: a number without end"));
        }
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.as_ref().into(),
        Value::List(list) => {
            serde_json::Value::Array(list.iter().map(json_of).collect::<Result<_, _>>()?)
        }
        Value::Map(map) => serde_json::Value::Object(
            map.iter()
                .map(|(key, value)| Ok((key.to_string(), json_of(value)?)))
                .collect::<Result<_, _>>()?,
        ),
        Value::Function(_) => return Err(Fault::new("json: unsupported type: func")),
    })
}
