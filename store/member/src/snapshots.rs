//! When a snapshot is due, and what becomes of the log after it. Its content is a value the shell
//! takes away and writes at its own pace; the log is cut only when the whole is durable.

use raft::Storage;

use crate::effects::{Effects, Snapshot};
use crate::limits::{CATCH_UP_BYTES_MAX, LOG_BYTES_BEFORE_SNAPSHOT};
use crate::member::Member;
use crate::record::Mark;

/// Snapshots of one member.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// Index of the newest one, durable or not: the next is counted from here.
    last: u64,
    /// The one being written.
    writing: Option<u64>,
}

impl Snapshots {
    pub(crate) const fn new(last: u64) -> Self {
        Self {
            last,
            writing: None,
        }
    }

    /// The one under way came to nothing; the next comes when it is due again.
    pub(crate) const fn abandon(&mut self) {
        self.writing = None;
    }
}

impl Member {
    /// Orders a snapshot if one is due and none is being written.
    pub(crate) fn begin_snapshot(&mut self, out: &mut Effects) {
        let applied = self.machine.applied().0;
        if self.snapshots.writing.is_some()
            || applied == self.snapshots.last
            || self.space.disk_full
        {
            return;
        }
        let entries = applied - self.snapshots.last;
        let bytes_max = LOG_BYTES_BEFORE_SNAPSHOT.max(self.machine.size_bytes());
        if entries < self.config.snapshot_count && self.node.store().bytes() < bytes_max {
            return;
        }
        let Ok(term) = self.node.store().term(applied) else {
            return;
        };
        self.snapshots.last = applied;
        self.snapshots.writing = Some(applied);
        out.snapshot = Some(Snapshot {
            mark: Mark {
                index: applied,
                term,
                voters: self.voters.clone(),
            },
            content: self.machine.snapshot_begin(),
        });
    }

    /// The snapshot is durable: entries behind it, but for the catch-up tail, can go.
    pub(crate) fn snapshot_synced(&mut self, out: &mut Effects) {
        let Some(index) = self.snapshots.writing.take() else {
            return;
        };
        let log = self.node.mut_store();
        log.compact(index, self.config.catch_up_entries, CATCH_UP_BYTES_MAX);
        out.purge = Some(log.start());
    }
}
