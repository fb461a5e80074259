//! Log segments and snapshots on disk, behind [`disk::Disk`].
//!
//! Blocking, one writer, no async. Knows records (numbered entries, votes, snapshot marks), never what
//! they mean: no raft types, no commands, no keys. The format and the rule that tells a torn tail
//! from a damaged log are in `format.rs`; start reading at [`wal::Wal`].

mod checksum;
pub mod disk;
pub mod error;
mod folder;
mod format;
pub mod record;
mod recovery;
mod replay;
mod reserve;
pub mod sim;
pub mod snapshot;
mod terms;
pub mod wal;

pub use crate::disk::{Disk, DiskFile, RealDisk};
pub use crate::error::{OpenError, WalError};
pub use crate::record::{Entry, Record, Vote};
pub use crate::snapshot::{RecoveredSnapshot, SnapshotReader, SnapshotWriter};
pub use crate::wal::{
    Cut, ENTRY_BYTES_MAX, Identity, Recovered, RestoreError, Seen, Wal, WalConfig,
};
