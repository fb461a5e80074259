//! What a client asked to be shown, and how far it has been.

use store_machine::reply::{Event, EventKind};
use store_machine::request::KeyRange;
use store_machine::revision::Revision;

use crate::batch::WatchId;
use crate::index::Spot;

/// A request to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    /// Which keys; the empty start key has already become one zero byte.
    pub keys: KeyRange,
    /// First revision to show; 0 = from the next one on. Negative is refused.
    pub start: Revision,
    /// Wanted id; 0 = the hub picks the next free one, from 0.
    pub id: WatchId,
    /// Drop puts.
    pub no_put: bool,
    /// Drop deletes.
    pub no_delete: bool,
    /// Show the previous pair.
    pub prev_kv: bool,
    /// Wants periodic progress.
    pub progress_notify: bool,
    /// A revision may be split over several responses.
    pub fragment: bool,
}

/// How far a watcher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// It has been handed all there is.
    Synced,
    /// It has been handed everything below `next`, and the rest will come from history.
    Lagging { next: Revision },
}

/// A watcher, 150 bytes besides its keys.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) id: WatchId,
    /// Place of its stream in the hub.
    pub(crate) stream: u32,
    pub(crate) spot: Spot,
    pub(crate) keys: KeyRange,
    /// First revision it asked for; 0 = it did not say. While this is above the current one, the watcher is silent.
    pub(crate) start: Revision,
    pub(crate) position: Position,
    pub(crate) no_put: bool,
    pub(crate) no_delete: bool,
    pub(crate) prev_kv: bool,
    pub(crate) fragment: bool,
    pub(crate) progress_notify: bool,
    /// No events since the last progress period (or since it was created).
    pub(crate) quiet: bool,
    /// Its place in the list of batches of the revision being published.
    pub(crate) building: Option<u32>,
}

impl Watcher {
    /// The filters let the event through.
    pub(crate) const fn wants(&self, event: &Event) -> bool {
        match event.kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }
}
