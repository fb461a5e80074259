//! A complete, continuously updated copy of some key ranges of the store.
//!
//! Owns the recovery story of a watcher: read once at one pinned revision, watch from the next one, resume without a
//! gap after any disconnect, read again and report the differences when history was compacted. [`Mirror`] is the
//! machine (no sockets, no clock); [`Feed`] is the task that drives it over a connection. What a consumer sees is a
//! sequence of [`Event`]s, each with an immutable [`Snapshot`] at one revision: a transaction is seen whole or not yet.
//!
//! The idea of an explicit state per recovery stage comes from kube-runtime's `watcher.rs`; its `Init`/`InitDone` pair
//! is here one event, [`Event::Listed`], because the machine itself buffers until the listing is whole.

mod effect;
mod feed;
mod input;
mod machine;
mod ranges;
mod snapshot;

pub use effect::{Cause, Change, ChangeKind, Effect, Event};
pub use feed::{Feed, FeedOptions, FeedStatus, Update};
pub use input::{Header, Input, KeyEvent};
pub use machine::{Mirror, Stats};
pub use ranges::KeyRange;
pub use snapshot::{Entry, Snapshot};
