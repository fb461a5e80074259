//! What a server said, in a form in which two servers can be compared: JSON with what is each one's own (ids, times,
//! sizes, addresses) replaced, bytes readable.

use std::fmt;

use end_to_end::http::Response;
use serde::Serialize;
use serde_json::Value;
use tonic::{Code, Status};

/// Differences of a second or two in what is left of a lease come from when it was asked.
const SECONDS_ASIDE: i64 = 30;

/// What each server counts in its own way (a size, a checksum, a version), and what only later versions say.
const NOT_COMPARED: [&str; 7] = [
    "dbSize",
    "dbSizeInUse",
    "dbSizeQuota",
    "downgradeInfo",
    "hash",
    "hash_revision",
    "storageVersion",
];

/// What stands in the place of a value that is a server's own.
const OWN: &str = "own";

/// An answer, or a refusal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Said(Value),
    /// `http` is the status of a refusal over the JSON gateway.
    Refused {
        code: Code,
        text: String,
        http: Option<u16>,
    },
}

impl Answer {
    /// From what a call gave.
    pub(crate) fn of<T: Serialize>(result: Result<T, Status>) -> Self {
        match result {
            Ok(response) => Self::Said(normal(&response)),
            Err(status) => Self::Refused {
                code: status.code(),
                text: status.message().to_owned(),
                http: None,
            },
        }
    }

    /// From what the JSON gateway gave.
    pub(crate) fn of_json(response: &Response) -> Self {
        let mut body = serde_json::from_str(&response.body).unwrap_or(Value::Null);
        if response.status == 200 {
            tidy(&mut body);
            return Self::Said(body);
        }
        // Under `message` and `error`, of which the latter is all there was in old times.
        let text = body["error"].as_str().unwrap_or(&response.body).to_owned();
        let code = body["code"].as_i64().and_then(|code| code.try_into().ok());
        Self::Refused {
            code: Code::from_i32(code.unwrap_or(-1)),
            text,
            http: Some(response.status),
        }
    }

    /// The revision of the key of whoever has won a campaign.
    pub(crate) fn elected(&self) -> Option<i64> {
        match self {
            Self::Said(value) => value["leader"]["rev"].as_str()?.parse().ok(),
            Self::Refused { .. } => None,
        }
    }

    /// The revision in its header.
    pub(crate) fn revision(&self) -> Option<i64> {
        match self {
            Self::Said(value) => revision(value),
            Self::Refused { .. } => None,
        }
    }

    /// Was it granted?
    pub(crate) fn granted(&self) -> bool {
        matches!(self, Self::Said(_))
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Said(_) => None,
            Self::Refused { code, .. } => Some(*code),
        }
    }

    /// The text of a refusal; empty for an answer.
    pub(crate) fn refusal(&self) -> &str {
        match self {
            Self::Said(_) => "",
            Self::Refused { text, .. } => text,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(value) => write!(out, "{value}"),
            Self::Refused {
                code,
                text,
                http: None,
            } => write!(out, "{code:?}: {text}"),
            Self::Refused {
                code,
                text,
                http: Some(status),
            } => write!(out, "{code:?} ({status}): {text}"),
        }
    }
}

/// The header's revision in a message of JSON.
pub(crate) fn revision(value: &Value) -> Option<i64> {
    value.get("header")?.get("revision")?.as_str()?.parse().ok()
}

/// A message in comparable form.
pub(crate) fn normal<T: Serialize>(message: &T) -> Value {
    let mut value = serde_json::to_value(message).unwrap_or_else(|cause| panic!("{cause}"));
    tidy(&mut value);
    value
}

fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in NOT_COMPARED {
                fields.remove(name);
            }
            lease_time(fields);
            for (name, field) in fields.iter_mut() {
                match name.as_str() {
                    // Of a header, of an alarm, of a status.
                    "cluster_id" | "member_id" | "raft_term" | "memberID" | "token"
                    | "raftTerm" | "raftIndex" | "raftAppliedIndex" => {
                        *field = OWN.into();
                    }
                    // An id in a status, somebody's proof in an election.
                    "leader" if !field.is_object() => *field = OWN.into(),
                    // Of a server, not of a key.
                    "version" if field.as_str().is_some_and(|text| text.contains('.')) => {
                        *field = OWN.into();
                    }
                    "member" | "members" => members(field),
                    // As a server's own tables have them.
                    "leases" | "alarms" => {
                        tidy(field);
                        sort(field);
                    }
                    "keys" => {
                        readable(field);
                        sort(field);
                    }
                    "key" | "value" | "range_end" => readable(field),
                    _ => tidy(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// The time left is the time granted, unless it is far from it.
fn lease_time(fields: &mut serde_json::Map<String, Value>) {
    let number = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_str)?
            .parse::<i64>()
            .ok()
    };
    if let (Some(left), Some(granted)) = (number("TTL"), number("grantedTTL"))
        && left > 0
        && granted - left <= SECONDS_ASIDE
    {
        fields.insert("TTL".to_owned(), granted.to_string().into());
    }
}

/// Members have ids, names and addresses of their own; that they are there, and learners, is common.
fn members(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(members),
        Value::Object(member) => {
            for name in ["ID", "name", "peerURLs", "clientURLs"] {
                if let Some(field) = member.get_mut(name) {
                    *field = OWN.into();
                }
            }
        }
        _ => {}
    }
}

fn sort(value: &mut Value) {
    if let Value::Array(items) = value {
        items.sort_by_key(Value::to_string);
    }
}

/// Base64 as the bytes it stands for.
fn readable(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(readable),
        Value::String(text) => {
            if let Ok(bytes) = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, &*text) {
                let shown = bytes.escape_ascii().to_string();
                // A long value is told from another by its length and a checksum.
                *text = if shown.len() > 80 {
                    format!(
                        "{}… ({} bytes, {:08x})",
                        &shown[..16],
                        bytes.len(),
                        crc32c::crc32c(&bytes)
                    )
                } else {
                    shown
                };
            }
        }
        _ => {}
    }
}
