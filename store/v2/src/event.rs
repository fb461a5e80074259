//! What watchers are told. A write of version 2 is one event, whatever it took: directories made on the way, or gone
//! with the one that was deleted, are not told of. A transaction of version 3 is as many events as keys, of one index.
//!
//! What a write was called when it was made is not kept: whatever puts is `set`, or `create` for what came into being
//! under a name made by POST; what goes is `expire` when its time was over, else `delete`.

use bytes::Bytes;
use store_machine::reply::{Event, EventKind, KeyValue};
use store_machine::request::{KeyRange, RangeEnd};

use crate::node::{Answer, Clock, Lives, Node};
use crate::path::Path;
use crate::term::Term;

/// Digits of a name made by POST.
const ORDERED_DIGITS: usize = 20;

/// What is watched.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Which node.
    pub path: Path,
    /// And all below.
    pub recursive: bool,
}

impl Scope {
    /// The keys to watch: all that matter, and perhaps a few more.
    #[must_use]
    pub fn keys(&self) -> KeyRange {
        let marker = self.path.marker();
        KeyRange {
            start: self.path.key(),
            end: if self.recursive {
                self.path.below().end
            } else {
                RangeEnd::Before([&marker[..], b"\0"].concat().into())
            },
        }
    }

    fn holds(&self, path: &Path) -> bool {
        *path == self.path
            || self.recursive
                && path.key().starts_with(&self.path.marker())
                && !path.is_hidden_below(&self.path)
    }
}

/// The events that a batch of whole revisions is to a watcher, in order.
#[must_use]
pub fn told(scope: &Scope, events: &[&Event], now_ms: i64) -> Vec<Answer> {
    let lives = Lives::new();
    let clock = Clock {
        now_ms,
        lives: &lives,
    };
    let revisions = events.chunk_by(|one, next| one.kv.mod_revision == next.kv.mod_revision);
    revisions
        .flat_map(|events| of_revision(scope, events, &clock))
        .collect()
}

fn of_revision(scope: &Scope, events: &[&Event], clock: &Clock<'_>) -> Vec<Answer> {
    let put = |event: &Event| event.kind == EventKind::Put;
    let keys = |kind: EventKind| {
        let events = events.iter().filter(move |event| event.kind == kind);
        events.map(|event| &event.kv.key)
    };
    let mut answers = Vec::new();
    for event in events {
        let Some((path, marker)) = Path::of_key(&event.kv.key) else {
            continue;
        };
        let (key, refreshed) = (&event.kv.key, Term::of_lease(event.kv.lease));
        let within = |dir: &Bytes| dir.ends_with(b"/") && key != dir && key.starts_with(dir);
        let part = if put(event) {
            // A directory on the way to something, or kept when something below it went.
            let leads = |other: &Bytes| other != key && other.starts_with(key);
            let on_the_way = keys(EventKind::Put).any(leads) || keys(EventKind::Delete).any(leads);
            marker && on_the_way || refreshed.is_some_and(|term| term.refresh)
        } else {
            let remade = keys(EventKind::Put).any(|put| put.strip_suffix(b"/") == Some(&key[..]));
            remade || keys(EventKind::Delete).any(within)
        };
        if part || !scope.holds(&path) {
            continue;
        }
        answers.push(answer(event, &path, marker, clock));
    }
    answers
}

fn answer(event: &Event, path: &Path, dir: bool, clock: &Clock<'_>) -> Answer {
    let kv = &event.kv;
    let prev = event.prev.as_ref();
    let mut node = Node::of(path, kv, dir, clock, &[]);
    let action = if event.kind == EventKind::Put {
        let name = path.as_str().rsplit('/').next().unwrap_or_default();
        let ordered =
            name.len() == ORDERED_DIGITS && name.bytes().all(|digit| digit.is_ascii_digit());
        if ordered && prev.is_none() {
            "create"
        } else {
            "set"
        }
    } else {
        node.value = None;
        node.created = prev.map_or(0, |prev| prev.create_revision.0);
        let over = |pair: &KeyValue| {
            let term = Term::of_lease(pair.lease);
            term.is_some_and(|term| term.ends_ms <= clock.now_ms)
        };
        if prev.is_some_and(over) {
            "expire"
        } else {
            "delete"
        }
    };
    Answer {
        action,
        node: Some(node),
        prev: prev.map(|pair| Node::of(path, pair, dir, clock, &[])),
        created: false,
        index: kv.mod_revision.0,
    }
}
