//! A new folder that begins with a snapshot, made so that it counts whole or not at all.

use std::path::PathBuf;

use bytes::Bytes;

use super::open::{make, segment_bytes};
use super::{Wal, WalConfig};
use crate::disk::Disk;
use crate::error::{OpenError, WalError};
use crate::folder::Folder;
use crate::record::{Record, Vote};
use crate::wal::Identity;

/// Why a snapshot was not restored. Unless the folder was taken already, it holds at most an interrupted restore,
/// on which no store starts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The folder is not empty.
    #[error("folder {} is not empty: it holds {found:?}", .dir.display())]
    Occupied {
        /// The folder.
        dir: PathBuf,
        /// One of the names in it.
        found: String,
    },
    /// It cannot be made.
    #[error("make the data folder")]
    Folder(#[from] OpenError),
    /// It cannot be filled.
    #[error("write the snapshot")]
    Write(#[from] WalError),
}

impl RestoreError {
    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Occupied { .. } => {
                Some("name a folder that is empty or does not exist yet".to_owned())
            }
            Self::Folder(error) => error.hint(),
            Self::Write(error) => error.hint(),
        }
    }
}

impl<D: Disk> Wal<D> {
    /// What stands in the way of a restore into the folder; nothing does in one that does not exist, is empty, or
    /// holds a restore that was interrupted.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn occupant(disk: &D, config: &WalConfig) -> Result<Option<String>, OpenError> {
        Folder::of(config.dir.clone(), config.log_dir.clone()).occupant(disk)
    }

    /// Makes a folder whose log begins with a snapshot of everything up to entry `index` of `term`, and with
    /// that vote. `chunks` gives its content bit by bit.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn restore(
        disk: &D,
        config: WalConfig,
        identity: Identity,
        (index, term): (u64, u64),
        meta: &[u8],
        vote: Vote,
        chunks: &mut dyn FnMut() -> Option<Bytes>,
    ) -> Result<(), RestoreError> {
        let segment_bytes = segment_bytes(&config);
        if let Some(found) = Self::occupant(disk, &config)? {
            let dir = config.dir;
            return Err(RestoreError::Occupied { dir, found });
        }
        let folder = Folder::of(config.dir, config.log_dir);
        let locks = folder.occupy(disk)?;
        folder.begin_restore(disk, identity)?;
        make(disk, &folder, identity, segment_bytes)?;
        let settings = (identity, segment_bytes, config.snapshots_max);
        let (mut wal, _) = Self::read(disk.clone(), folder.clone(), locks, settings)?;
        let mut writer = wal.snapshot_begin(index, term, meta)?;
        while let Some(chunk) = chunks() {
            writer.write(&chunk)?;
        }
        wal.snapshot_finish(writer)?;
        wal.append(&[Record::Vote(vote)])?;
        wal.sync()?;
        folder.commit_restore(disk)?;
        Ok(())
    }
}
