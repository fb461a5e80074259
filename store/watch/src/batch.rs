//! What a stream is handed.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use store_machine::reply::Event;
use store_machine::revision::Revision;

/// An event on its way to any number of watchers. The shell that encodes it leaves the bytes here,
/// so that the work is done once however many watchers there are; this crate never looks at them.
#[derive(Debug)]
pub struct SharedEvent {
    /// The event.
    pub event: Event,
    /// Wire form without the previous pair.
    pub encoded: OnceLock<Bytes>,
    /// Wire form with the previous pair.
    pub encoded_with_prev: OnceLock<Bytes>,
}

impl SharedEvent {
    /// An event that is not encoded yet.
    #[must_use]
    pub const fn new(event: Event) -> Self {
        Self {
            event,
            encoded: OnceLock::new(),
            encoded_with_prev: OnceLock::new(),
        }
    }

    /// Bytes of keys and values it refers to: what a batch is bounded by.
    pub(crate) fn bytes(&self) -> usize {
        let prev = self
            .event
            .prev
            .as_ref()
            .map_or(0, |kv| kv.key.len() + kv.value.len());
        self.event.kv.key.len() + self.event.kv.value.len() + prev
    }
}

/// Number of a stream, unique while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Number of a watcher, unique on its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub i64);

impl WatchId {
    /// On refused creations and on progress of a whole stream.
    pub const NONE: Self = Self(-1);
}

/// Why a watcher was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateRefusal {
    /// The end does not lie above the start.
    EmptyRange,
    /// A negative start revision.
    Compacted,
    /// The id is in use on this stream, or is [`WatchId::NONE`].
    DuplicateId,
}

/// One response of a stream, in the order it must be sent.
#[derive(Clone, Debug)]
pub enum Batch {
    /// The watcher exists; everything above `revision` (or from its start revision on) will come.
    Created {
        /// Its id.
        id: WatchId,
        /// Current store revision.
        revision: Revision,
    },
    /// It does not exist.
    Refused {
        /// Why.
        reason: CreateRefusal,
        /// Current store revision.
        revision: Revision,
    },
    /// The watcher is gone because the client said so.
    Canceled {
        /// Whose.
        id: WatchId,
        /// Current store revision.
        revision: Revision,
    },
    /// The watcher is gone because what it needed is compacted.
    Compacted {
        /// Whose.
        id: WatchId,
        /// The last compaction.
        compacted: Revision,
    },
    /// All events of one or more whole revisions, ascending, after filters; never empty.
    Events {
        /// Whose.
        id: WatchId,
        /// For the header: the current store revision.
        revision: Revision,
        /// The events.
        events: Vec<Arc<SharedEvent>>,
        /// Show the previous pair.
        prev_kv: bool,
        /// The client allows a revision to be split over several responses.
        fragment: bool,
    },
    /// Everything up to `revision` has been handed to this watcher, or, with [`WatchId::NONE`], to
    /// all watchers of the stream.
    Progress {
        /// Whose.
        id: WatchId,
        /// Up to where.
        revision: Revision,
    },
}
