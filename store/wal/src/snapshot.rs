//! Snapshot files: written chunk by chunk beside the log, read back in the same chunks.

use bytes::Bytes;

use crate::disk::Disk;
use crate::error::{OpenError, WalError};

/// A snapshot being written. Independent of the log, so that its chunks interleave with appends.
/// Dropped without [`crate::Wal::snapshot_finish`], it counts for nothing.
pub struct SnapshotWriter<D: Disk> {
    pub(crate) _disk: D,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Adds a chunk.
    ///
    /// # Errors
    /// `NoSpace` and `Io`; the snapshot is then given up, the log is not harmed.
    pub fn write(&mut self, _chunk: &[u8]) -> Result<(), WalError> {
        todo!()
    }
    /// Gives the snapshot up and removes what was written.
    pub fn abort(self) {
        todo!()
    }
}

/// The snapshot to start from.
pub struct RecoveredSnapshot<D: Disk> {
    /// Last entry it covers.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// As given to [`crate::Wal::snapshot_begin`].
    pub meta: Bytes,
    /// The content.
    pub chunks: SnapshotReader<D>,
}

/// Reads the chunks of a snapshot, each checked.
pub struct SnapshotReader<D: Disk> {
    pub(crate) _disk: D,
}

impl<D: Disk> SnapshotReader<D> {
    /// The next chunk as it was written; `None` after the last.
    ///
    /// # Errors
    /// When the file cannot be read or is not what was written.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, OpenError> {
        todo!()
    }
}
