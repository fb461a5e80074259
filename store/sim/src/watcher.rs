//! A client that watches: it resumes wherever it was, at any member, and now and then lets its stream
//! starve.

use bytes::Bytes;
use store_machine::request::{KeyRange, RangeEnd};
use store_machine::revision::Revision;
use store_watch::batch::{StreamId, WatchId};
use store_watch::watcher::WatchSpec;

use crate::chance::Chance;
use crate::clock::Time;
use crate::promises::watch::Shown;

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) host: usize,
    pub(crate) life: u64,
    pub(crate) stream: StreamId,
    /// Responses the client has taken and not yet asked to be replaced.
    pub(crate) owed: usize,
    /// When the last message arrives, up and down: a stream keeps its order.
    pub(crate) up: Time,
    pub(crate) down: Time,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) shown: Shown,
    pub(crate) connection: Option<Connection>,
}

impl Watcher {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let keys = match chance.below(3) {
            0 => KeyRange::single(Bytes::from_static(b"k0")),
            1 => KeyRange {
                start: Bytes::from_static(b"k"),
                end: RangeEnd::Before(Bytes::from_static(b"l")),
            },
            _ => KeyRange {
                start: Bytes::from_static(b"k1"),
                end: RangeEnd::Before(Bytes::from_static(b"k5")),
            },
        };
        Self {
            shown: Shown::new(WatchSpec {
                keys,
                start: Revision(0),
                id: WatchId(0),
                no_put: chance.once_in(8),
                no_delete: chance.once_in(8),
                prev_kv: chance.once_in(2),
                progress_notify: chance.once_in(2),
                fragment: false,
            }),
            connection: None,
        }
    }

    /// What to ask for at the next connection.
    pub(crate) fn spec(&self) -> WatchSpec {
        let mut spec = self.shown.spec.clone();
        spec.start = Revision(self.shown.next.unwrap_or(0));
        spec
    }
}
