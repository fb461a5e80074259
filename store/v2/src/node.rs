//! Nodes and answers as etcd 2's JSON has them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};
use store_machine::reply::KeyValue;
use store_machine::revision::LeaseId;

use crate::path::Path;
use crate::term::Term;

/// Seconds left of leases that others made, as far as somebody asked.
pub type Lives = BTreeMap<LeaseId, i64>;

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it is; empty for `/`, as etcd has it.
    pub key: String,
    /// Of a file; of a directory only when version 3 has a value at the same key.
    pub value: Option<Bytes>,
    /// It is a directory.
    pub dir: bool,
    /// When it ends, and the seconds until then.
    pub end: Option<(String, i64)>,
    /// What it holds, if that was asked for and is anything.
    pub nodes: Vec<Self>,
    /// Revision of the last change; 0 for `/`.
    pub modified: i64,
    /// Revision of its coming into being.
    pub created: i64,
}

impl Node {
    /// A node made of the pair that says when it came and when it changed. `inherited`: leases of directories above,
    /// which say nothing of this node's own time.
    pub(crate) fn of(
        path: &Path,
        pair: &KeyValue,
        dir: bool,
        clock: &Clock<'_>,
        inherited: &[LeaseId],
    ) -> Self {
        let own = pair.lease != LeaseId::NONE && !inherited.contains(&pair.lease);
        Self {
            key: if path.is_root() {
                String::new()
            } else {
                path.as_str().to_owned()
            },
            value: (!dir).then(|| pair.value.clone()),
            dir,
            end: own.then(|| clock.end(pair.lease)).flatten(),
            nodes: Vec::new(),
            modified: pair.mod_revision.0,
            created: pair.create_revision.0,
        }
    }

    /// `/` itself.
    pub(crate) const fn root() -> Self {
        Self {
            key: String::new(),
            value: None,
            dir: true,
            end: None,
            nodes: Vec::new(),
            modified: 0,
            created: 0,
        }
    }

    fn json(&self) -> Value {
        let mut map = Map::new();
        if !self.key.is_empty() {
            map.insert("key".into(), self.key.clone().into());
        }
        if let Some(value) = &self.value {
            map.insert("value".into(), String::from_utf8_lossy(value).into());
            // JSON has no bytes: what is shown above is not all then.
            if std::str::from_utf8(value).is_err() {
                map.insert("valueBase64".into(), STANDARD.encode(value).into());
            }
        }
        if self.dir {
            map.insert("dir".into(), true.into());
        }
        if let Some((moment, seconds)) = &self.end {
            map.insert("expiration".into(), moment.clone().into());
            if *seconds != 0 {
                map.insert("ttl".into(), (*seconds).into());
            }
        }
        if !self.nodes.is_empty() {
            let nodes = self.nodes.iter().map(Self::json).collect();
            map.insert("nodes".into(), Value::Array(nodes));
        }
        for (name, index) in [
            ("modifiedIndex", self.modified),
            ("createdIndex", self.created),
        ] {
            if index != 0 {
                map.insert(name.into(), index.into());
            }
        }
        Value::Object(map)
    }
}

/// The moment of an answer, and what is known of others' leases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock<'a> {
    /// Milliseconds since 1970.
    pub(crate) now_ms: i64,
    pub(crate) lives: &'a Lives,
}

impl Clock<'_> {
    fn end(&self, lease: LeaseId) -> Option<(String, i64)> {
        let term = match Term::of_lease(lease) {
            Some(term) => term,
            None => {
                let left = u64::try_from(*self.lives.get(&lease)?).unwrap_or(0);
                Term::after(self.now_ms, left, false)
            }
        };
        Some((term.moment(), term.seconds_left(self.now_ms)))
    }
}

/// What a request that went well answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was done.
    pub action: &'static str,
    /// The node as it is now.
    pub node: Option<Node>,
    /// As it was before.
    pub prev: Option<Node>,
    /// Something came into being that was not there.
    pub created: bool,
    /// The store's index.
    pub index: i64,
}

impl Answer {
    /// The body, one line.
    #[must_use]
    pub fn json(&self) -> String {
        let mut map = Map::new();
        map.insert("action".into(), self.action.into());
        if let Some(node) = &self.node {
            map.insert("node".into(), node.json());
        }
        if let Some(prev) = &self.prev {
            map.insert("prevNode".into(), prev.json());
        }
        line(&Value::Object(map))
    }
}

/// JSON as Go writes it, with a newline: what HTML gives a meaning is escaped.
pub(crate) fn line(value: &Value) -> String {
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
        + "\n"
}
