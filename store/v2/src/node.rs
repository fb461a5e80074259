//! Nodes and answers as etcd 2's JSON has them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
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

    fn write(&self, out: &mut String) {
        let mut fields = Fields::begin(out);
        if !self.key.is_empty() {
            fields.put("key", &self.key.as_str().into());
        }
        if let Some(value) = &self.value {
            fields.put("value", &String::from_utf8_lossy(value).into());
            // JSON has no bytes: what is shown above is not all then.
            if std::str::from_utf8(value).is_err() {
                fields.put("valueBase64", &STANDARD.encode(value).into());
            }
        }
        if self.dir {
            fields.put("dir", &true.into());
        }
        if let Some((moment, seconds)) = &self.end {
            fields.put("expiration", &moment.as_str().into());
            if *seconds != 0 {
                fields.put("ttl", &(*seconds).into());
            }
        }
        if !self.nodes.is_empty() {
            fields.name("nodes");
            for (at, node) in self.nodes.iter().enumerate() {
                fields.out.push(if at == 0 { '[' } else { ',' });
                node.write(fields.out);
            }
            fields.out.push(']');
        }
        for (name, index) in [
            ("modifiedIndex", self.modified),
            ("createdIndex", self.created),
        ] {
            if index != 0 {
                fields.put(name, &index.into());
            }
        }
        fields.end();
    }

    /// About how long its text is.
    fn bytes(&self) -> usize {
        let value = self.value.as_ref().map_or(0, Bytes::len);
        let nodes: usize = self.nodes.iter().map(Self::bytes).sum();
        self.key.len() + value + nodes + FIELDS_BYTES
    }
}

/// What the text of a node takes beside key and value: names, quotes, two revisions, a moment.
const FIELDS_BYTES: usize = 192;

/// An object that is written field by field: a listing is not in memory once more as a tree of JSON.
struct Fields<'o> {
    out: &'o mut String,
    begun: bool,
}

impl<'o> Fields<'o> {
    fn begin(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, begun: false }
    }

    fn name(&mut self, name: &str) {
        if std::mem::replace(&mut self.begun, true) {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    fn put(&mut self, name: &str, value: &Value) {
        self.name(name);
        escape(&value.to_string(), self.out);
    }

    fn node(&mut self, name: &str, node: Option<&Node>) {
        if let Some(node) = node {
            self.name(name);
            node.write(self.out);
        }
    }

    fn end(self) {
        self.out.push('}');
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
        let nodes = [&self.node, &self.prev].into_iter().flatten();
        let bytes: usize = nodes.map(Node::bytes).sum();
        let mut out = String::with_capacity(bytes + FIELDS_BYTES);
        let mut fields = Fields::begin(&mut out);
        fields.put("action", &self.action.into());
        fields.node("node", self.node.as_ref());
        fields.node("prevNode", self.prev.as_ref());
        fields.end();
        out.push('\n');
        out
    }
}

/// JSON as Go writes it, with a newline.
pub(crate) fn line(value: &Value) -> String {
    let mut out = String::new();
    escape(&value.to_string(), &mut out);
    out.push('\n');
    out
}

/// Adds JSON as Go writes it: what HTML gives a meaning is escaped.
fn escape(json: &str, out: &mut String) {
    for run in json.split_inclusive(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        let mut rest = run.chars();
        let escaped = match rest.next_back() {
            Some('<') => "\\u003c",
            Some('>') => "\\u003e",
            Some('&') => "\\u0026",
            Some('\u{2028}') => "\\u2028",
            Some('\u{2029}') => "\\u2029",
            _ => {
                out.push_str(run);
                continue;
            }
        };
        out.push_str(rest.as_str());
        out.push_str(escaped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_written_as_etcd_2_writes_it() {
        let file = |key: &str, value: &'static [u8]| Node {
            key: key.to_owned(),
            value: Some(Bytes::from_static(value)),
            dir: false,
            modified: 7,
            created: 5,
            ..Node::root()
        };
        let node = Node {
            key: "/d".to_owned(),
            end: Some(("2026-01-01T00:00:00Z".to_owned(), 9)),
            nodes: vec![
                file("/d/a", b"<b> & \"c\"\n"),
                file("/d/b", "x\u{2028}y\u{2029}>".as_bytes()),
                file("/d/c", b"\xff1"),
                Node {
                    key: "/d/e".to_owned(),
                    ..Node::root()
                },
            ],
            created: 3,
            ..Node::root()
        };
        let answer = Answer {
            action: "get",
            node: Some(node),
            prev: Some(file("/p", b"")),
            created: false,
            index: 7,
        };
        let wanted = [
            r#"{"action":"get","node":{"key":"/d","dir":true,"expiration":"2026-01-01T00:00:00Z","ttl":9,"nodes":["#,
            r#"{"key":"/d/a","value":"\u003cb\u003e \u0026 \"c\"\n","modifiedIndex":7,"createdIndex":5},"#,
            r#"{"key":"/d/b","value":"x\u2028y\u2029\u003e","modifiedIndex":7,"createdIndex":5},"#,
            "{\"key\":\"/d/c\",\"value\":\"\u{fffd}1\",\"valueBase64\":\"/zE=\",\"modifiedIndex\":7,\"createdIndex\":5},",
            r#"{"key":"/d/e","dir":true}],"createdIndex":3},"#,
            r#""prevNode":{"key":"/p","value":"","modifiedIndex":7,"createdIndex":5}}"#,
            "\n",
        ];
        assert_eq!(answer.json(), wanted.concat());
    }
}
