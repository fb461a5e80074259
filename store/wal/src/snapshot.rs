//! Snapshot files: written chunk by chunk beside the log, read back in the same chunks.
//!
//! ```text
//! head     0  magic "muster snap", zero   12  version   16  cluster   24  member
//!         32  index   40  term   48  length of meta, meta   CRC32C of all that
//! chunk    length (not 0), CRC32C continued from the one before, content
//! trailer  length 0, CRC32C continued, number of chunks, bytes of all chunks, CRC32C continued
//! ```
//! The checksums form one chain, so a chunk that is missing, doubled or moved is found. A file without
//! its trailer was never finished; it has another name until it is, and counts only once the log has
//! a mark for it.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::checksum;
use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, WalError};
use crate::folder::{Folder, VERSION};
use crate::format::{read_u32, read_u64};
use crate::wal::Identity;

const MAGIC: [u8; 12] = *b"muster snap\0";
const HEAD_BYTES: usize = 52;
const CHUNK_HEAD_BYTES: usize = 8;
/// Chunks and bytes, and the checksum after them.
const TRAILER_BYTES: usize = CHUNK_HEAD_BYTES + 8 + 8 + 4;
/// Largest chunk; what a reader is ready to allocate.
pub const CHUNK_BYTES_MAX: usize = 64 << 20;
/// Written between two syncs. 4 MiB: a few milliseconds each, so that the end of a large snapshot does
/// not keep the appends behind it waiting for seconds.
const SYNC_BYTES: u64 = 4 << 20;

/// A snapshot being written. Independent of the log, so that its chunks interleave with appends.
/// Dropped without [`crate::Wal::snapshot_finish`], it is given up and its file removed.
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    path: PathBuf,
    file: D::File,
    pub(crate) index: u64,
    pub(crate) term: u64,
    offset: u64,
    synced: u64,
    crc: u32,
    chunks: u64,
    bytes: u64,
    buffer: Vec<u8>,
    finished: bool,
}

impl<D: Disk> SnapshotWriter<D> {
    pub(crate) fn create(
        disk: &D,
        folder: &Folder,
        identity: Identity,
        (index, term): (u64, u64),
        meta: &[u8],
    ) -> Result<Self, WalError> {
        let path = folder.snapshot_new(term, index);
        let file = disk
            .create(&path)
            .map_err(|e| WalError::io("create", &path, e))?;
        let mut buffer = Vec::with_capacity(HEAD_BYTES + meta.len() + 4);
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&VERSION.to_le_bytes());
        for field in [identity.cluster, identity.member, index, term] {
            buffer.extend_from_slice(&field.to_le_bytes());
        }
        let too_large = WalError::TooLarge {
            bytes: meta.len() as u64,
            bytes_max: CHUNK_BYTES_MAX as u64,
        };
        let length = u32::try_from(meta.len())
            .ok()
            .filter(|n| *n as usize <= CHUNK_BYTES_MAX);
        buffer.extend_from_slice(&length.ok_or(too_large)?.to_le_bytes());
        buffer.extend_from_slice(meta);
        let crc = crc32c::crc32c(&buffer);
        buffer.extend_from_slice(&crc.to_le_bytes());
        let disk = disk.clone();
        let mut writer = Self {
            disk,
            path,
            file,
            index,
            term,
            offset: 0,
            synced: 0,
            crc,
            chunks: 0,
            bytes: 0,
            buffer,
            finished: false,
        };
        writer.flush()?;
        Ok(writer)
    }

    /// Adds a chunk; an empty one is nothing.
    ///
    /// # Errors
    /// `NoSpace` and `TooLarge` (above [`CHUNK_BYTES_MAX`]): the snapshot cannot be finished any more, drop it; the log is not
    /// harmed. Others are fatal.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), WalError> {
        if chunk.is_empty() {
            return Ok(());
        }
        let too_large = WalError::TooLarge {
            bytes: chunk.len() as u64,
            bytes_max: CHUNK_BYTES_MAX as u64,
        };
        let length = u32::try_from(chunk.len())
            .ok()
            .filter(|n| *n as usize <= CHUNK_BYTES_MAX);
        let length = length.ok_or(too_large)?;
        self.crc = crc32c::crc32c_append(self.crc, chunk);
        self.buffer.clear();
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(&self.crc.to_le_bytes());
        self.buffer.extend_from_slice(chunk);
        self.chunks += 1;
        self.bytes += chunk.len() as u64;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), WalError> {
        self.file
            .write_at(&self.buffer, self.offset)
            .map_err(|e| WalError::io("write", &self.path, e))?;
        self.offset += self.buffer.len() as u64;
        if self.offset - self.synced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WalError> {
        self.synced = self.offset;
        self.file
            .sync_data()
            .map_err(|e| WalError::io("sync", &self.path, e))
    }

    /// Makes the file durable under its final name.
    pub(crate) fn finish(mut self, folder: &Folder) -> Result<(), WalError> {
        self.buffer.clear();
        self.buffer.extend_from_slice(&0_u32.to_le_bytes());
        self.buffer.extend_from_slice(&self.crc.to_le_bytes());
        self.buffer.extend_from_slice(&self.chunks.to_le_bytes());
        self.buffer.extend_from_slice(&self.bytes.to_le_bytes());
        let crc = crc32c::crc32c_append(self.crc, &self.buffer);
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        let path = folder.snapshot(self.term, self.index);
        let done = self.flush().and_then(|()| self.sync()).and_then(|()| {
            self.disk
                .rename(&self.path, &path)
                .and_then(|()| self.disk.sync_dir(&folder.snapshots()))
                .map_err(|e| WalError::io("rename", &path, e))
        });
        self.finished = done.is_ok();
        done
    }
}

impl<D: Disk> Drop for SnapshotWriter<D> {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed when the folder is opened next.
            let _ = self.disk.remove(&self.path);
        }
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

impl<D: Disk> RecoveredSnapshot<D> {
    pub(crate) fn open(
        disk: &D,
        folder: &Folder,
        identity: Identity,
        (index, term): (u64, u64),
    ) -> Result<Self, OpenError> {
        let path = folder.snapshot(term, index);
        let file = disk
            .open(&path)
            .map_err(|e| OpenError::io("open", &path, e))?;
        let length = file.bytes().map_err(|e| OpenError::io("read", &path, e))?;
        let mut chunks = SnapshotReader {
            file,
            path,
            length,
            offset: 0,
            crc: 0,
            chunks: 0,
            bytes: 0,
            done: false,
        };
        let mut head = chunks.take(HEAD_BYTES)?;
        if head[..12] != MAGIC {
            return Err(chunks.damaged("it is not a snapshot"));
        }
        let found = read_u32(&head, 12);
        if found != VERSION {
            return Err(OpenError::Version {
                dir: chunks.path,
                found,
                supported: VERSION,
            });
        }
        let meta_bytes = read_u32(&head, 48) as usize;
        if meta_bytes > CHUNK_BYTES_MAX {
            return Err(chunks.damaged("its head does not hold"));
        }
        head.extend_from_slice(&chunks.take(meta_bytes)?);
        chunks.crc = crc32c::crc32c(&head);
        let stored = chunks.take(4)?;
        let names = [identity.cluster, identity.member, index, term];
        if !checksum::holds(read_u32(&stored, 0), chunks.crc)
            || (0..4)
                .zip(names)
                .any(|(field, name)| read_u64(&head, 16 + 8 * field) != name)
        {
            return Err(chunks.damaged("its head does not hold"));
        }
        Ok(Self {
            index,
            term,
            meta: Bytes::from(head).slice(HEAD_BYTES..),
            chunks,
        })
    }

    /// Opens it after reading it once to the end.
    pub(crate) fn open_checked(
        disk: &D,
        folder: &Folder,
        identity: Identity,
        name: (u64, u64),
    ) -> Result<Self, OpenError> {
        let mut first = Self::open(disk, folder, identity, name)?;
        while first.chunks.next_chunk()?.is_some() {}
        Self::open(disk, folder, identity, name)
    }
}

/// Reads the chunks of a snapshot, each checked.
pub struct SnapshotReader<D: Disk> {
    file: D::File,
    path: PathBuf,
    length: u64,
    offset: u64,
    crc: u32,
    chunks: u64,
    bytes: u64,
    done: bool,
}

impl<D: Disk> SnapshotReader<D> {
    /// The next chunk as it was written; `None` after the last.
    ///
    /// # Errors
    /// When the file cannot be read or is not what was written.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, OpenError> {
        if self.done {
            return Ok(None);
        }
        let mut head = self.take(CHUNK_HEAD_BYTES)?;
        let length = read_u32(&head, 0) as usize;
        if length == 0 {
            head.extend_from_slice(&self.take(TRAILER_BYTES - CHUNK_HEAD_BYTES)?);
            let crc = crc32c::crc32c_append(self.crc, &head[..24]);
            let whole = checksum::holds(read_u32(&head, 4), self.crc)
                && checksum::holds(read_u32(&head, 24), crc)
                && (read_u64(&head, 8), read_u64(&head, 16)) == (self.chunks, self.bytes)
                && self.offset == self.length;
            if !whole {
                return Err(self.damaged("its trailer does not hold"));
            }
            self.done = true;
            return Ok(None);
        }
        if length > CHUNK_BYTES_MAX {
            return Err(self.damaged("the length of a chunk does not hold"));
        }
        let chunk = self.take(length)?;
        self.crc = crc32c::crc32c_append(self.crc, &chunk);
        if !checksum::holds(read_u32(&head, 4), self.crc) {
            return Err(self.damaged("the checksum of a chunk does not hold"));
        }
        self.chunks += 1;
        self.bytes += length as u64;
        Ok(Some(Bytes::from(chunk)))
    }

    fn take(&mut self, bytes: usize) -> Result<Vec<u8>, OpenError> {
        if self.length - self.offset < bytes as u64 {
            return Err(self.damaged("the file is too short"));
        }
        let mut buffer = vec![0; bytes];
        self.file
            .read_at(&mut buffer, self.offset)
            .map_err(|e| OpenError::io("read", &self.path, e))?;
        self.offset += bytes as u64;
        Ok(buffer)
    }

    fn damaged(&self, reason: &'static str) -> OpenError {
        OpenError::Damaged {
            file: self.path.clone(),
            record: self.chunks,
            offset: self.offset,
            reason,
        }
    }

    /// Where it is read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
