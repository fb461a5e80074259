//! When a snapshot is due, and how far the one under way is. Its content comes from the machine,
//! one chunk per turn; the log is cut only when the shell has reported the whole durable.

use crate::effects::{Effects, SnapshotOrder};
use crate::limits::LOG_BYTES_BEFORE_SNAPSHOT;
use crate::member::Member;
use crate::record::Mark;

/// Where the one under way stands.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// Chunks are being ordered.
    Writing(Mark),
    /// All is ordered; the shell has not reported it durable yet.
    Syncing(Mark),
}

/// Snapshots of one member.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// Index of the newest durable one.
    last: u64,
    /// Index and term of the last entry applied.
    applied: (u64, u64),
    stage: Stage,
}

impl Snapshots {
    pub(crate) fn new(last: u64) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// Entries up to this one are applied.
    pub(crate) const fn note_applied(&mut self, index: u64, term: u64) {
        self.applied = (index, term);
    }

    /// The one under way came to nothing.
    pub(crate) fn abandon(&mut self) {
        self.stage = Stage::Idle;
    }
}

impl Member {
    /// Orders a slice of the snapshot under way, or begins one that is due; true when there is
    /// more to order.
    pub(crate) fn write_snapshot(&mut self, out: &mut Effects) -> bool {
        let _ = out;
        let _ = LOG_BYTES_BEFORE_SNAPSHOT;
        false
    }

    /// The snapshot is durable: entries behind it, but for the catch-up tail, can go.
    pub(crate) fn snapshot_synced(&mut self, out: &mut Effects) {
        let Stage::Syncing(mark) = std::mem::take(&mut self.snapshots.stage) else {
            return;
        };
        self.snapshots.last = mark.index;
        let cut = mark.index.saturating_sub(self.config.catch_up_entries);
        self.node.mut_store().compact(cut);
        out.purge = Some(cut);
    }
}

#[allow(dead_code)]
const _: Option<SnapshotOrder> = None;
