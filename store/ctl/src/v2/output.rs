//! How answers about keys are printed: values for people and pipes, all there is, or JSON as Go's client has it.

use serde_json::{Map, Value, json};

use super::client::Told;
use crate::failure::Failure;

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Simple,
    Extended,
    Json,
}

impl Output {
    /// # Errors
    /// There is no such form.
    pub(super) fn of(name: &str) -> Result<Self, Failure> {
        match name {
            "simple" => Ok(Self::Simple),
            "extended" => Ok(Self::Extended),
            "json" => Ok(Self::Json),
            _ => Err(Failure::error(format!("Unsupported output format: {name}"))),
        }
    }

    /// Prints a key.
    pub(super) fn key(self, told: &Told) {
        println!("{}", self.text(told));
    }

    fn text(self, told: &Told) -> String {
        let (action, node, prev) = (
            &told.value["action"],
            &told.value["node"],
            &told.value["prevNode"],
        );
        let deleted = action == "delete";
        let value = |node: &Value| node["value"].as_str().unwrap_or_default().to_owned();
        match self {
            Self::Simple if deleted => format!("PrevNode.Value: {}", value(prev)),
            Self::Simple => value(node),
            Self::Extended => {
                let number = |name: &str| node[name].as_i64().unwrap_or_default();
                let mut lines = vec![
                    format!("Key: {}", node["key"].as_str().unwrap_or_default()),
                    format!("Created-Index: {}", number("createdIndex")),
                    format!("Modified-Index: {}", number("modifiedIndex")),
                ];
                if !prev.is_null() {
                    lines.push(format!("PrevNode.Value: {}", value(prev)));
                }
                lines.push(format!("TTL: {}", number("ttl")));
                lines.push(format!("Index: {}", told.index));
                if !deleted {
                    lines.extend([String::new(), value(node)]);
                }
                lines.join("\n")
            }
            Self::Json => {
                let prev = if prev.is_null() {
                    Value::Null
                } else {
                    of_go(prev)
                };
                let answer = json!({ "action": action, "node": of_go(node), "prevNode": prev });
                answer
                    .to_string()
                    .replace('<', "\\u003c")
                    .replace('>', "\\u003e")
                    .replace('&', "\\u0026")
            }
        }
    }
}

/// A node as Go's client writes it: what is empty is there, but for flags and times.
fn of_go(node: &Value) -> Value {
    let mut map = Map::new();
    map.insert(
        "key".into(),
        node["key"].as_str().unwrap_or_default().into(),
    );
    if node["dir"] == true {
        map.insert("dir".into(), true.into());
    }
    map.insert(
        "value".into(),
        node["value"].as_str().unwrap_or_default().into(),
    );
    let nodes = node["nodes"].as_array();
    let nodes = nodes.map(|nodes| nodes.iter().map(of_go).collect::<Value>());
    map.insert("nodes".into(), nodes.unwrap_or_default());
    for name in ["createdIndex", "modifiedIndex"] {
        map.insert(name.into(), node[name].as_i64().unwrap_or_default().into());
    }
    for name in ["expiration", "ttl"] {
        if let Some(value) = node.get(name) {
            map.insert(name.into(), value.clone());
        }
    }
    Value::Object(map)
}
