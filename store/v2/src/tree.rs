//! Listing a directory: pages of keys in order become a tree. Without `recursive` what lies below a directory in it is
//! passed over, however much it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use store_machine::reply::{KeyValue, RangeReply};
use store_machine::request::{KeyRange, RangeRequest};
use store_machine::revision::{LeaseId, Revision};

use crate::look::Look;
use crate::node::{Answer, Clock, Lives, Node};
use crate::path::Path;

/// Keys asked for at once: some hundred kilobytes of what is usual.
const PAGE_KEYS: u64 = 1000;

/// What is known at one name.
#[derive(Debug, Default)]
struct Entry {
    file: Option<KeyValue>,
    /// The first pair at or below the marker.
    first: Option<KeyValue>,
    below: BTreeMap<String, Self>,
}

/// A directory, or a file, on its way into an answer.
#[derive(Debug)]
pub struct Listing {
    look: Look,
    recursive: bool,
    /// Where the next page begins; `None` = there is none.
    next: Option<Bytes>,
    root: Entry,
}

impl Listing {
    /// Begins with a look at the path, where something must be.
    #[must_use]
    pub fn new(look: Look, recursive: bool) -> Self {
        let next = look.is_dir().then(|| look.path.marker());
        Self {
            look,
            recursive,
            next,
            root: Entry::default(),
        }
    }

    /// The next page, at the revision of the look.
    #[must_use]
    pub fn request(&self) -> Option<RangeRequest> {
        let start = self.next.clone()?;
        let end = self.look.path.below().end;
        Some(RangeRequest {
            limit: PAGE_KEYS,
            revision: Revision(self.look.revision),
            ..RangeRequest::latest(KeyRange { start, end })
        })
    }

    /// Takes a page.
    pub fn take(&mut self, page: RangeReply) {
        self.next = None;
        let base = self.look.path.marker();
        let last = page.kvs.last().map(|pair| pair.key.clone());
        for pair in page.kvs {
            self.insert(&pair);
        }
        if let Some(last) = last.filter(|_| page.more) {
            let rest = &last[base.len()..];
            let slash = rest.iter().position(|byte| *byte == b'/');
            self.next = Some(match slash {
                // All else below that name begins with the same, and a slash.
                Some(at) if !self.recursive && at > 0 => {
                    let mut next = last[..=base.len() + at].to_vec();
                    if let Some(last) = next.last_mut() {
                        *last = b'/' + 1;
                    }
                    next.into()
                }
                _ => [&last[..], b"\0"].concat().into(),
            });
        }
    }

    fn insert(&mut self, pair: &KeyValue) {
        let Some((path, marker)) = Path::of_key(&pair.key) else {
            return;
        };
        let base = self.look.path.marker().len();
        let Some(rest) = path.as_str().get(base..) else {
            // Its own marker.
            return;
        };
        let mut entry = &mut self.root;
        let mut names = rest.split('/').peekable();
        while let Some(name) = names.next() {
            entry = entry.below.entry(name.to_owned()).or_default();
            if names.peek().is_some() || marker {
                entry.first.get_or_insert_with(|| pair.clone());
            } else {
                entry.file = Some(pair.clone());
            }
            if !self.recursive {
                return;
            }
        }
    }

    /// Leases of others whose time to live is to be shown.
    #[must_use]
    pub fn foreign_leases(&self) -> Vec<LeaseId> {
        let mut leases = self.look.foreign_leases();
        self.root.leases(&mut leases);
        leases.sort_unstable();
        leases.dedup();
        leases
    }

    /// The answer.
    #[must_use]
    pub fn done(self, lives: &Lives, now_ms: i64) -> Answer {
        let clock = Clock { now_ms, lives };
        let mut inherited = self.look.inherited();
        let (path, seat) = (&self.look.path, &self.look.seat);
        let mut node = match (&seat.first, &seat.file) {
            _ if path.is_root() => Node::root(),
            (Some(first), file) => {
                let mut node = Node::of(path, first, true, &clock, &inherited);
                inherited.extend(seat.marker().map(|marker| marker.lease));
                node.value = file.as_ref().map(|file| file.value.clone());
                node
            }
            (None, Some(file)) => Node::of(path, file, false, &clock, &inherited),
            (None, None) => Node::root(),
        };
        node.nodes = self.root.nodes(path, &clock, &inherited);
        Answer {
            action: "get",
            node: Some(node),
            prev: None,
            created: false,
            index: self.look.revision,
        }
    }
}

impl Entry {
    fn leases(&self, leases: &mut Vec<LeaseId>) {
        leases.extend(crate::look::foreign_leases(
            self.file.iter().chain(&self.first),
        ));
        self.below.values().for_each(|entry| entry.leases(leases));
    }

    /// What it holds, without what is hidden.
    fn nodes(&self, path: &Path, clock: &Clock<'_>, inherited: &[LeaseId]) -> Vec<Node> {
        let shown = self.below.iter().filter(|(name, _)| !name.starts_with('_'));
        shown
            .filter_map(|(name, entry)| entry.node(&path.child(name), clock, inherited))
            .collect()
    }

    fn node(&self, path: &Path, clock: &Clock<'_>, inherited: &[LeaseId]) -> Option<Node> {
        let Some(first) = &self.first else {
            let file = self.file.as_ref()?;
            return Some(Node::of(path, file, false, clock, inherited));
        };
        let mut node = Node::of(path, first, true, clock, inherited);
        node.value = self.file.as_ref().map(|file| file.value.clone());
        let mut inherited = inherited.to_vec();
        inherited.push(first.lease);
        node.nodes = self.nodes(path, clock, &inherited);
        Some(node)
    }
}
