//! When a snapshot is due, and what becomes of the log after it. Its content is a value the shell
//! takes away and writes at its own pace; the log is cut only when the whole is durable.

use raft::Storage;

use crate::effects::{Effects, Snapshot};
use crate::election::leads_alone;
use crate::limits::{
    CATCH_UP_BYTES_MAX, LOG_BYTES_BEFORE_SNAPSHOT, RESCUE_SNAPSHOT_MS, TRIM_ENTRIES,
};
use crate::member::Member;
use crate::moment::Moment;
use crate::record::Mark;

/// Snapshots of one member.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// Index of the newest one, durable or not: the next is counted from here.
    last: u64,
    /// Bytes of log since then.
    log_bytes: u64,
    /// Size of that one; 0 when not known.
    last_bytes: u64,
    /// The one being written.
    writing: Option<u64>,
    /// While the disk is full: when one may be tried again.
    rescue_at: Moment,
}

impl Snapshots {
    pub(crate) const fn new(last: u64) -> Self {
        Self {
            last,
            log_bytes: 0,
            last_bytes: 0,
            writing: None,
            rescue_at: Moment(0),
        }
    }

    /// The log has grown.
    pub(crate) const fn note_logged(&mut self, bytes: u64) {
        self.log_bytes += bytes;
    }

    /// A snapshot writes the whole state, so it waits until the log has grown by as much as the last
    /// one took: at worst everything is written three times. It is due after `count` entries, or
    /// before that when they are large.
    const fn due(&self, applied: u64, count: u64) -> bool {
        self.log_bytes >= self.last_bytes
            && (applied - self.last >= count || self.log_bytes >= LOG_BYTES_BEFORE_SNAPSHOT)
    }

    /// Whether one is being written.
    pub(crate) const fn busy(&self) -> bool {
        self.writing.is_some()
    }

    /// One that was received is being written.
    pub(crate) const fn begin_received(&mut self, index: u64) {
        self.writing = Some(index);
    }

    /// The state is now that of a snapshot of this size.
    pub(crate) const fn received(&mut self, index: u64, bytes: u64) {
        self.last = index;
        self.log_bytes = 0;
        self.last_bytes = bytes;
    }

    /// The one under way came to nothing; the next comes when it is due again.
    pub(crate) const fn abandon(&mut self) {
        self.writing = None;
    }
}

impl Member {
    /// Orders a snapshot if one is due and none is being written.
    pub(crate) fn begin_snapshot(&mut self, now: Moment, out: &mut Effects) {
        let applied = self.machine.applied().0;
        if self.snapshots.busy() || self.transfers.replacing() || applied == self.snapshots.last {
            return;
        }
        if self.space.disk_full() {
            // Nothing else gives room back to the disk. It may fit by now, or not yet.
            if now < self.snapshots.rescue_at {
                return;
            }
            self.snapshots.rescue_at = now.plus_ms(RESCUE_SNAPSHOT_MS);
        } else if !self.snapshots.due(applied, self.config.snapshot_count) {
            return;
        }
        let Ok(term) = self.node.store().term(applied) else {
            return;
        };
        let content = self.machine.snapshot_begin();
        self.snapshots.last = applied;
        self.snapshots.log_bytes = 0;
        self.snapshots.last_bytes = content.bytes_left();
        self.snapshots.writing = Some(applied);
        out.snapshot = Some(Snapshot {
            mark: Mark {
                index: applied,
                term,
                voters: self.voters.clone(),
            },
            content,
        });
    }

    /// The snapshot is durable: the log behind it can go, but for what a member that lags may need.
    pub(crate) fn snapshot_synced(&mut self, out: &mut Effects) {
        if let Some(index) = self.snapshots.writing.take() {
            self.transfers.written(index);
            out.purge = Some(index.saturating_sub(self.config.catch_up_entries));
        }
    }

    /// Forgets applied entries that no other member is likely to ask for. Memory, not disk: a member
    /// that lags further behind is sent a snapshot.
    pub(crate) fn trim_log(&mut self) {
        let keep = if leads_alone(&self.node) {
            0
        } else {
            self.config.catch_up_entries
        };
        let applied = self.machine.applied().0;
        let needless = self
            .transfers
            .oldest()
            .map_or(applied, |oldest| oldest.min(applied));
        let log = self.node.mut_store();
        // Only now and then, so that a turn does not touch the far end of the log each time.
        if needless.saturating_sub(log.start()) > keep + TRIM_ENTRIES
            || log.bytes() > CATCH_UP_BYTES_MAX
        {
            log.compact(needless, keep, CATCH_UP_BYTES_MAX);
        }
    }
}
