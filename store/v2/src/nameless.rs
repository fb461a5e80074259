//! Keys that no path names (without a slash at the beginning, with empty names, `.` or `..`, not UTF-8) can be read below
//! `/_v3`, under names in which every byte but letters, digits, `-`, `.` and `_` is `=` and two hex digits.

use std::fmt::Write as _;

use bytes::Bytes;
use store_machine::reply::{KeyValue, RangeReply};
use store_machine::request::{KeyRange, RangeEnd, RangeRequest};
use store_machine::revision::Revision;

use crate::error::{Code, Error};
use crate::node::{Answer, Clock, Lives, Node};
use crate::path::Path;

/// Where they are shown.
const PLACE: &str = "/_v3";

/// Keys asked for at once.
const PAGE_KEYS: u64 = 1000;

/// A read of them, page by page.
#[derive(Debug)]
pub struct Nameless {
    /// One that was asked for by name.
    wanted: Option<Bytes>,
    path: Path,
    next: Option<Bytes>,
    revision: i64,
    found: Vec<KeyValue>,
}

impl Nameless {
    /// The read that a path stands for, if it is one of these.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let rest = path.as_str().strip_prefix(PLACE)?;
        let wanted = match rest {
            "" => None,
            rest => Some(decoded(rest.strip_prefix('/')?).unwrap_or_default()),
        };
        Some(Self {
            next: Some(wanted.clone().unwrap_or_else(|| Bytes::from_static(b"\0"))),
            wanted,
            path: path.clone(),
            revision: 0,
            found: Vec::new(),
        })
    }

    /// Whether nothing may be written at that path.
    #[must_use]
    pub fn holds(path: &Path) -> bool {
        Self::of(path).is_some()
    }

    /// The next page.
    #[must_use]
    pub fn request(&self) -> Option<RangeRequest> {
        let start = self.next.clone().filter(|start| !start.is_empty())?;
        let end = match self.wanted {
            Some(_) => RangeEnd::Single,
            None => RangeEnd::Open,
        };
        Some(RangeRequest {
            limit: PAGE_KEYS,
            revision: Revision(self.revision),
            ..RangeRequest::latest(KeyRange { start, end })
        })
    }

    /// Takes a page that was read at that revision.
    pub fn take(&mut self, page: RangeReply, revision: i64) {
        if self.revision == 0 {
            self.revision = revision;
        }
        let last = page.kvs.last().map(|pair| pair.key.clone());
        let last = last.filter(|_| page.more);
        self.next = last.map(|last| [&last[..], b"\0"].concat().into());
        let nameless = page
            .kvs
            .into_iter()
            .filter(|pair| Path::of_key(&pair.key).is_none());
        self.found.extend(nameless);
    }

    /// The answer.
    ///
    /// # Errors
    /// There is no such key.
    pub fn done(self, lives: &Lives, now_ms: i64) -> Result<Answer, Error> {
        let clock = Clock { now_ms, lives };
        let place = Path::parse(PLACE);
        let nodes = self.found.iter().map(|pair| {
            let path = place.child(&encoded(&pair.key));
            Node::of(&path, pair, false, &clock, &[])
        });
        let mut nodes: Vec<_> = nodes.collect();
        let node = if self.wanted.is_none() {
            Node {
                key: PLACE.to_owned(),
                nodes,
                ..Node::root()
            }
        } else {
            nodes.pop().ok_or_else(|| Error {
                code: Code::KeyNotFound,
                cause: self.path.as_str().to_owned(),
                index: self.revision,
            })?
        };
        Ok(Answer {
            action: "get",
            node: Some(node),
            prev: None,
            created: false,
            index: self.revision,
        })
    }
}

fn encoded(key: &[u8]) -> String {
    let mut name = String::with_capacity(key.len());
    for byte in key {
        if byte.is_ascii_alphanumeric() || b"-._".contains(byte) {
            name.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(name, "={byte:02X}");
        }
    }
    name
}

fn decoded(name: &str) -> Option<Bytes> {
    let mut key = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'=' {
            key.push(*byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        key.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    Some(key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_name_of_its_own() {
        for (key, name) in [
            (&b"plain"[..], "plain"),
            (b"a/b", "a=2Fb"),
            (b"//x=\xff", "=2F=2Fx=3D=FF"),
        ] {
            assert_eq!(encoded(key), name);
            assert_eq!(decoded(name).as_deref(), Some(key));
        }
        assert_eq!(decoded("a=2"), None);
    }
}
