//! What can happen to a mirror: facts from the connection, none of them an order.

use bytes::Bytes;

use super::snapshot::Entry;

/// Whose state and which revision an answer speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Cluster identity; two clusters number their revisions independently.
    pub cluster: u64,
    /// Revision of the store when it answered.
    pub revision: i64,
}

/// One put or delete as the store reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    /// The key.
    pub key: Bytes,
    /// Revision of the write.
    pub revision: i64,
    /// The new state; `None` for a delete.
    pub entry: Option<Entry>,
}

/// What happened on the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Requests can be sent now. Also after [`Effect::CloseStream`](super::Effect::CloseStream) nothing else is needed to go on.
    Connected,
    /// The connection or the stream is gone; whatever was under way is void.
    Lost,
    /// Answer to [`Effect::Read`](super::Effect::Read).
    Page {
        /// Header of the answer.
        header: Header,
        /// Keys in order.
        entries: Vec<(Bytes, Entry)>,
        /// True if the range holds more keys behind these.
        more: bool,
    },
    /// The pinned revision of [`Effect::Read`](super::Effect::Read) was compacted between two pages.
    PageCompacted,
    /// A watch was accepted.
    Created {
        /// Index given in [`Effect::Watch`](super::Effect::Watch).
        watch: usize,
        /// Header of the answer.
        header: Header,
    },
    /// Events of one watch, in revision order.
    Events {
        /// Index given in [`Effect::Watch`](super::Effect::Watch).
        watch: usize,
        /// True if the last revision may continue in the next message; it is then complete when a later one arrives,
        /// or a progress notice covers it.
        may_continue: bool,
        /// The events.
        events: Vec<KeyEvent>,
    },
    /// A message without events: everything up to `revision` has been sent.
    Progress {
        /// The watch it speaks of; `None` for all watches of the stream.
        watch: Option<usize>,
        /// Complete up to here.
        revision: i64,
    },
    /// The store dropped a watch because its start was compacted.
    WatchCompacted,
    /// The deadline asked for by [`Mirror::next_deadline`](super::Mirror::next_deadline) has come.
    Tick,
}
