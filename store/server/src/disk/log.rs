//! The log as driver and disk thread share it: appends become records, records become durable.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Instant;

use store_member::effects::{Append, Envelope};
use store_member::record::EntryKind;
use store_wal::{Disk, ENTRY_BYTES_MAX, Entry, Record, Vote, Wal, WalError};

use crate::counters::Counters;
use crate::delays::Cause;
use crate::fatal::Exit;

/// Bytes of entries, with what the log adds to each, written with one call: it needs memory of its own until it is written.
const WRITE_BYTES_MAX: u64 = 8 << 20;

/// The log and what is being written to it.
pub(crate) struct Log<D: Disk> {
    /// Taken out when it is closed.
    wal: Option<Wal<D>>,
    counters: Arc<Counters>,
    /// Kept for its memory; empty between appends.
    records: Vec<Record>,
    /// [`WRITE_BYTES_MAX`], or half of a segment where that is less: one write must fit into one.
    write_bytes_max: u64,
}

/// Appends made durable.
pub(crate) struct Durable {
    /// Number of the last one.
    pub(crate) number: u64,
    /// What waited for them.
    pub(crate) released: Vec<Envelope>,
    /// Bytes of their entries.
    pub(crate) bytes: usize,
}

impl<D: Disk> Log<D> {
    pub(crate) fn new(wal: Wal<D>, counters: Arc<Counters>) -> Self {
        Self {
            write_bytes_max: WRITE_BYTES_MAX.min(wal.reserve_bytes() / 2),
            wal: Some(wal),
            counters,
            records: Vec::new(),
        }
    }

    /// The log itself. A use after its end is a broken invariant: appends are ordered before `Stop`.
    pub(crate) fn wal(&mut self) -> &mut Wal<D> {
        self.wal
            .as_mut()
            .expect("the log is used after it was closed")
    }

    /// Lets go of the folder.
    pub(crate) fn close(&mut self) -> Result<(), WalError> {
        self.wal.take().map_or(Ok(()), Wal::close)
    }

    /// Writes the appends and makes ONE sync. `wait` is called when the disk is full; when it
    /// returns false, the rest is given up and there is no result. Any other error ends the process.
    pub(crate) fn append(
        &mut self,
        appends: Vec<Append>,
        mut wait: impl FnMut(&mut Self) -> bool,
    ) -> Option<Durable> {
        let began = Instant::now();
        let mut durable = Durable {
            number: 0,
            released: Vec::new(),
            bytes: 0,
        };
        let (mut entries, mut unwritten) = (0, 0);
        for append in appends {
            durable.number = append.number;
            durable.released.extend(append.then);
            entries += append.entries.len();
            for entry in append.entries {
                durable.bytes += entry.body.len();
                unwritten += entry.body.len() as u64 + ENTRY_BYTES_MAX;
                self.records.push(Record::Entry(Entry {
                    index: entry.index,
                    term: entry.term,
                    kind: kind(entry.kind),
                    body: entry.body,
                }));
                if unwritten >= self.write_bytes_max {
                    self.write(&mut wait)?;
                    unwritten = 0;
                }
            }
            if let Some(vote) = append.vote {
                self.records.push(Record::Vote(Vote {
                    term: vote.term,
                    vote: vote.voted_for,
                    commit: vote.commit,
                }));
            }
        }
        self.write(&mut wait)?;
        let written = Instant::now();
        if let Err(error) = self.wal().sync() {
            Exit::DiskFailed.end(&error, error.hint().as_deref());
        }
        let counters = &self.counters;
        counters.wal_write.observe(written - began);
        counters.wal_sync.observe(written.elapsed());
        counters.delays.note(Cause::Disk, began, began.elapsed());
        counters.wal_bytes.add(durable.bytes as u64);
        counters.wal_entries.add(entries as u64);
        Some(durable)
    }

    /// Writes the collected records.
    fn write(&mut self, wait: &mut impl FnMut(&mut Self) -> bool) -> Option<()> {
        loop {
            let records = std::mem::take(&mut self.records);
            let written = self.wal().append(&records);
            self.records = records;
            match written {
                Ok(()) => break,
                // Nothing of it was written.
                Err(WalError::NoSpace { .. }) => {
                    if !wait(self) {
                        self.records.clear();
                        return None;
                    }
                }
                Err(error) => Exit::DiskFailed.end(&error, error.hint().as_deref()),
            }
        }
        self.records.clear();
        Some(())
    }
}

/// The log, for a driver that writes by itself when that saves two thread switches.
pub(crate) trait DirectLog: Send + Sync {
    /// Writes and syncs one append, unless the log is busy or short of room: then the append comes
    /// back, for the disk thread.
    fn append_now(&self, append: Append) -> Result<Durable, Append>;
}

impl<D: Disk> DirectLog for Mutex<Log<D>>
where
    Log<D>: Send,
{
    fn append_now(&self, append: Append) -> Result<Durable, Append> {
        let mut log = match self.try_lock() {
            Ok(log) => log,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return Err(append),
        };
        if !log.wal().has_reserve() {
            return Err(append);
        }
        // Bodies are shared; only the list is copied.
        log.append(vec![append.clone()], |_| false).ok_or(append)
    }
}

/// How the log numbers what a body means. Written to disk: never renumber.
pub(crate) const fn kind(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Normal => 0,
        EntryKind::Members => 1,
        EntryKind::MembersJoint => 2,
        EntryKind::Bootstrap => 3,
    }
}
