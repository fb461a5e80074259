//! The log: one writer, segments, a spare, snapshots.

use std::path::PathBuf;

use bytes::Bytes;

use crate::disk::Disk;
use crate::error::{OpenError, WalError};
use crate::record::{Entry, Record, Vote};
use crate::snapshot::{RecoveredSnapshot, SnapshotWriter};

/// Where and how large.
#[derive(Clone, Debug)]
pub struct WalConfig {
    /// The data folder.
    pub dir: PathBuf,
    /// Size of a segment file.
    pub segment_bytes: u64,
    /// Snapshot files kept, at least 1.
    pub snapshots_max: usize,
}

impl WalConfig {
    /// The defaults in this folder.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            snapshots_max: 2,
        }
    }
}

/// Whose log it is. Written into a new folder, checked in an existing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: u64,
    /// The member.
    pub member: u64,
}

/// What the folder held.
pub struct Recovered<D: Disk> {
    /// The folder was new.
    pub fresh: bool,
    /// Newest snapshot.
    pub snapshot: Option<RecoveredSnapshot<D>>,
    /// Last vote.
    pub vote: Option<Vote>,
    /// Entries above the snapshot, without a gap.
    pub entries: Vec<Entry>,
    /// The torn tail that was removed.
    pub cut: Option<Cut>,
}

/// A torn tail that was removed: writes that were under way, never acknowledged, at the crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// In which file.
    pub file: PathBuf,
    /// From where.
    pub offset: u64,
    /// How much.
    pub bytes: u64,
}

/// An open log.
pub struct Wal<D: Disk> {
    _disk: D,
}

impl<D: Disk> Wal<D> {
    /// Who the folder belongs to; `None` when it is new. Needs no lock and changes nothing.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn identity(_disk: &D, _dir: &std::path::Path) -> Result<Option<Identity>, OpenError> {
        todo!()
    }
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        _disk: D,
        _config: WalConfig,
        _identity: Identity,
    ) -> Result<(Self, Recovered<D>), OpenError> {
        todo!()
    }
    /// Writes the records; durable only after [`Wal::sync`].
    ///
    /// # Errors
    /// See [`WalError`]; with `NoSpace` and `TooLarge` nothing was written.
    pub fn append(&mut self, _records: &[Record]) -> Result<(), WalError> {
        todo!()
    }
    /// Makes everything appended durable.
    ///
    /// # Errors
    /// Fatal.
    pub fn sync(&mut self) -> Result<(), WalError> {
        todo!()
    }
    /// Bytes of records that can be admitted while [`Wal::has_reserve`] and always fit.
    pub fn reserve_bytes(&self) -> u64 {
        todo!()
    }
    /// The spare segment stands ready.
    pub fn has_reserve(&self) -> bool {
        todo!()
    }
    /// Does a slice (a few milliseconds) of the work of making the spare segment; true when ready.
    /// To be called when idle, while [`Wal::has_reserve`] is false.
    ///
    /// # Errors
    /// `NoSpace`: close admission, call again later. Others are fatal.
    pub fn prepare_reserve(&mut self) -> Result<bool, WalError> {
        todo!()
    }
    /// Begins a snapshot of everything up to entry `index`, of `term`.
    ///
    /// # Errors
    /// `NoSpace` and `Io`; the log is not harmed.
    pub fn snapshot_begin(
        &mut self,
        _index: u64,
        _term: u64,
        _meta: Bytes,
    ) -> Result<SnapshotWriter<D>, WalError> {
        todo!()
    }
    /// Makes the snapshot durable and the one to start from; syncs the log too.
    ///
    /// # Errors
    /// See [`WalError`].
    pub fn snapshot_finish(&mut self, _writer: SnapshotWriter<D>) -> Result<(), WalError> {
        todo!()
    }
    /// Opens the newest snapshot, to send it to another member.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn snapshot(&self) -> Result<Option<RecoveredSnapshot<D>>, OpenError> {
        todo!()
    }
    /// Entries up to and including `index` are no longer needed: removes segments that hold nothing
    /// else. Never goes beyond the newest snapshot. Returns how many were removed.
    ///
    /// # Errors
    /// See [`WalError`].
    pub fn purge(&mut self, _index: u64) -> Result<usize, WalError> {
        todo!()
    }
    /// Number of segment files in use. Grows with what lies above the purged index; take a snapshot
    /// when it passes the bound (`max-wals`).
    pub fn segments(&self) -> usize {
        todo!()
    }
    /// Syncs, marks the end, and lets go of the folder.
    ///
    /// # Errors
    /// As [`Wal::sync`].
    pub fn close(self) -> Result<(), WalError> {
        todo!()
    }
}
