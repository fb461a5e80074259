//! What a mirror orders its shell to do, and what its consumer sees.

use bytes::Bytes;

use super::ranges::KeyRange;
use super::snapshot::{Entry, Snapshot};

/// What the shell must do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Read a page of a range.
    Read {
        /// What to read.
        range: KeyRange,
        /// At which revision; `None` means the newest, linearizable.
        at: Option<i64>,
        /// Keys to return at most.
        limit: i64,
    },
    /// Open a watch on the one stream (opening the stream first if there is none), with fragments and progress notices.
    Watch {
        /// Its index, to be returned with everything it says.
        watch: usize,
        /// What to watch.
        range: KeyRange,
        /// First revision to be sent.
        from: i64,
    },
    /// Send a progress request on the stream.
    AskProgress,
    /// Drop the stream with all its watches; nothing it says later may reach the machine.
    CloseStream,
    /// Tell the consumer.
    Tell(Event),
}

/// Why everything was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Nothing was known yet.
    First,
    /// The history needed to resume was compacted.
    Compacted,
    /// The answer came from another cluster.
    OtherCluster,
    /// The store is behind what was already seen (restored from a backup, or a member that lags).
    StoreBehind,
}

/// What the consumer sees.
#[derive(Debug, Clone)]
pub enum Event {
    /// All ranges were read at one revision. `changes` is the difference to the last snapshot, so that a consumer needs
    /// no case of its own: what vanished meanwhile is a delete.
    Listed {
        /// Everything, at one revision.
        snapshot: Snapshot,
        /// Differences to what was shown before, in key order.
        changes: Vec<Change>,
        /// Why.
        cause: Cause,
    },
    /// One or more whole revisions were applied, or the store said that nothing changed up to a later revision
    /// (`changes` is empty then).
    Advanced {
        /// Everything, at one revision.
        snapshot: Snapshot,
        /// Net differences to what was shown before, in key order.
        changes: Vec<Change>,
    },
}

/// The net difference of one key between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// Before, `None` if the key did not exist.
    pub before: Option<Entry>,
    /// After, `None` if the key no longer exists. Invariant: not both are `None`.
    pub after: Option<Entry>,
}

/// What a change means to a reader of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The key appeared.
    Created,
    /// Another value.
    Modified,
    /// The same value was written again (a refresh): nobody needs to wake up.
    Rewritten,
    /// The key is gone.
    Deleted,
}

impl Change {
    /// Classifies the change by existence and value.
    pub fn kind(&self) -> ChangeKind {
        match (&self.before, &self.after) {
            (None, _) => ChangeKind::Created,
            (_, None) => ChangeKind::Deleted,
            (Some(before), Some(after)) if before.value == after.value => ChangeKind::Rewritten,
            _ => ChangeKind::Modified,
        }
    }
}
