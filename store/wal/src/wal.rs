//! The log: one writer, a row of segments, a spare one, snapshots.
//!
//! Owns what happens in which order on disk. The byte format is in `format.rs`, reading it back in `recovery.rs`, the
//! making of a spare segment in `reserve.rs`.
//!
//! Measured with `examples/wal_costs.rs` on a two-core virtual machine, median: append and sync of 1, 10, 100 entries of 280
//! bytes take 78, 87, 88 µs, of which the append takes 3, 3, 6; opening a log of 222,000 entries takes 0.14 s.
//!
//! # Room
//! An append never allocates as long as its caller keeps this rule: *while [`Wal::has_reserve`] was last seen
//! true, the bytes admitted since then and not yet appended are at most [`Wal::reserve_bytes`]* (an
//! entry counts its body and [`ENTRY_BYTES_MAX`]). All of them fit into the spare segment, whatever is left
//! of the active one. When the spare is used up, admission closes until [`Wal::prepare_reserve`] has made
//! another; what was admitted before still fits. The caller should keep to half of it: votes and
//! snapshot marks take room, too.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, WalError};
use crate::folder::Folder;
use crate::format::{
    ALIGN, CARRY_BYTES, ENTRY_BYTES, HEAD_BYTES, Item, Mark, MarkKind, Place, Seed, Start,
    encode_frame, frame_bytes,
};
use crate::record::{Entry, Record, Vote};
use crate::recovery::Sealed;
use crate::reserve::Reserve;
use crate::snapshot::RecoveredSnapshot;
use crate::terms::Terms;

mod open;
mod restore;
mod snapshots;

pub use restore::RestoreError;

/// What an entry takes besides its body, at most: its record, and a frame if it is appended alone.
pub const ENTRY_BYTES_MAX: u64 = (ENTRY_BYTES + HEAD_BYTES + ALIGN) as u64;

/// Smallest segment: room for the first frame and something useful.
const SEGMENT_BYTES_MIN: u64 = 4096;
/// Largest segment: recovery reads one whole, and lengths are 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Kept of the encoding buffer after a larger append.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// Where and how large.
#[derive(Clone, Debug)]
pub struct WalConfig {
    /// The data folder.
    pub dir: PathBuf,
    /// A folder for the log's segments alone, on a disk of their own perhaps; `None`: in the data folder.
    pub log_dir: Option<PathBuf>,
    /// Size of a segment file, a multiple of 8 between 4 KiB and 1 GiB (rounded and clamped). One append
    /// must fit into one segment.
    pub segment_bytes: u64,
    /// Snapshot files kept; at least 1.
    pub snapshots_max: usize,
}

impl WalConfig {
    /// The defaults, in this folder.
    ///
    /// 64 MiB: at 20 MB/s of log a segment lasts three seconds, so rotation (about a millisecond) does not
    /// show, and a small store takes 128 MiB with its spare. 2 snapshots: one to start from and one to
    /// fall back on; each is as large as the whole state.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            log_dir: None,
            segment_bytes: 64 << 20,
            snapshots_max: 2,
        }
    }

    /// The same with the log in a folder of its own, if there is one.
    #[must_use]
    pub fn with_log(self, log_dir: Option<&Path>) -> Self {
        Self {
            log_dir: log_dir.map(Path::to_owned),
            ..self
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

/// What the folder held. All of it is durable.
pub struct Recovered<D: Disk> {
    /// The folder was new.
    pub fresh: bool,
    /// The newest snapshot that is whole and that the log continues.
    pub snapshot: Option<RecoveredSnapshot<D>>,
    /// Why newer snapshots were passed over.
    pub snapshots_refused: Vec<OpenError>,
    /// The last vote.
    pub vote: Option<Vote>,
    /// Entries above the snapshot, without a gap.
    pub entries: Vec<Entry>,
    /// The torn tail that was removed.
    pub cut: Option<Cut>,
}

/// What [`Wal::look`] saw.
pub struct Seen<D: Disk> {
    /// Whose the folder is.
    pub identity: Identity,
    /// What it holds.
    pub recovered: Recovered<D>,
    /// Held, it keeps stores from starting on the folder.
    pub locks: Vec<D::Lock>,
}

/// A torn tail that was removed: writes that were under way, never acknowledged, at a crash.
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
    disk: D,
    folder: Folder,
    identity: Identity,
    segment_bytes: u64,
    snapshots_max: usize,
    active: Active<D::File>,
    /// Older segments, ascending.
    sealed: VecDeque<Sealed>,
    reserve: Reserve<D::File>,
    /// Sequence of the next frame.
    sequence_next: u64,
    /// Sequence of the last frame known durable; below `sequence_next`.
    durable: u64,
    /// Terms of the entries above the newest snapshot.
    terms: Terms,
    vote: Option<Vote>,
    mark: Option<Mark>,
    /// A write or sync failed: what is on disk is unknown.
    poisoned: bool,
    /// The frame being built; kept for its memory.
    buffer: Vec<u8>,
    _locks: Vec<D::Lock>,
}

/// The segment being written.
struct Active<F> {
    number: u64,
    path: PathBuf,
    file: F,
    seed: Seed,
    /// Where the next frame goes.
    end: u64,
    /// Its size.
    bytes: u64,
    /// As in [`Sealed`].
    last_index: u64,
}

impl<D: Disk> Wal<D> {
    /// Whose the folder is; `None` when it is new. Needs no lock and changes nothing.
    ///
    /// # Errors
    /// When the identity file is damaged, of another version, or cannot be read.
    pub fn identity(disk: &D, dir: &Path) -> Result<Option<Identity>, OpenError> {
        Folder::new(dir).identity(disk)
    }

    /// Writes an empty frame and syncs: what is before it can from now on be told from a torn tail.
    fn mark_end(&mut self) -> Result<(), WalError> {
        if self.active.end + HEAD_BYTES as u64 <= self.active.bytes {
            self.write_frame(std::iter::empty())?;
            self.sync()?;
        }
        Ok(())
    }

    /// Writes the records as one frame: after a crash, all of them are there or none, once everything appended
    /// before is there. Durable only after [`Wal::sync`].
    ///
    /// # Errors
    /// `NoSpace` and `TooLarge`: nothing was written. Others are fatal.
    ///
    /// # Panics
    /// When an entry leaves a gap after the one before it: such a log could not be opened again.
    pub fn append(&mut self, records: &[Record]) -> Result<(), WalError> {
        self.check()?;
        let mut next = self.terms.next_index();
        let mut bytes = 0;
        for record in records {
            bytes += Item::from(record).bytes();
            if let Record::Entry(entry) = record {
                assert!(
                    next.is_none_or(|next| entry.index <= next),
                    "entry {} appended to a log that goes on with {next:?}",
                    entry.index
                );
                next = Some(entry.index + 1);
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        self.make_room(bytes)?;
        self.write_frame(records.iter().map(Item::from))?;
        for record in records {
            match record {
                Record::Entry(entry) => {
                    self.terms.push(entry.index, entry.term);
                    self.active.last_index = self.active.last_index.max(entry.index);
                }
                Record::Vote(vote) => self.vote = Some(*vote),
            }
        }
        Ok(())
    }

    /// Makes everything appended durable. Does nothing when it is already.
    ///
    /// # Errors
    /// Fatal: after one, nothing is known about what was appended since the last success, and a second
    /// attempt may report success for bytes the system has dropped.
    pub fn sync(&mut self) -> Result<(), WalError> {
        self.check()?;
        if self.durable + 1 == self.sequence_next {
            return Ok(());
        }
        let synced = self.active.file.sync_data();
        self.poison(synced, "sync")?;
        self.durable = self.sequence_next - 1;
        Ok(())
    }

    /// Bytes of records that always fit while there is a spare segment; also the largest append. See
    /// the part on room above.
    #[must_use]
    pub const fn reserve_bytes(&self) -> u64 {
        self.segment_bytes - CARRY_BYTES as u64
    }

    /// The spare segment stands ready.
    #[must_use]
    pub const fn has_reserve(&self) -> bool {
        self.reserve.is_ready()
    }

    /// Does a slice of the work of making the spare segment, about a millisecond; true when it is ready. To be
    /// called again and again, between appends, while [`Wal::has_reserve`] is false.
    ///
    /// # Errors
    /// `NoSpace`: close admission and try again later. Others are fatal.
    pub fn prepare_reserve(&mut self) -> Result<bool, WalError> {
        self.check()?;
        let prepared = self
            .reserve
            .prepare(&self.disk, &self.folder, self.segment_bytes);
        self.poisoned |= prepared.as_ref().is_err_and(WalError::is_fatal);
        prepared
    }

    /// Entries up to and including `index` are no longer needed: removes the segments that hold nothing
    /// else (the first of them becomes the spare, if there is none). Never goes beyond the newest snapshot.
    /// Returns how many were removed.
    ///
    /// An older snapshot can only be fallen back on while the entries above it are there.
    ///
    /// # Errors
    /// Fatal.
    pub fn purge(&mut self, index: u64) -> Result<usize, WalError> {
        self.check()?;
        let index = index.min(self.mark.map_or(0, |mark| mark.index));
        let mut removed = 0;
        while let Some(oldest) = self.sealed.front().filter(|s| s.last_index <= index) {
            let path = self.folder.segment(oldest.number);
            let recycle = matches!(self.reserve, Reserve::None) && self.is_whole(&path);
            let gone = if recycle {
                self.disk.rename(&path, &self.folder.reserve())
            } else {
                self.disk.remove(&path)
            };
            // One by one, oldest first: a power cut must not leave a hole.
            let gone = gone.and_then(|()| self.disk.sync_dir(self.folder.log()));
            self.poisoned |= gone.is_err();
            gone.map_err(|source| WalError::Io {
                operation: "remove",
                file: path,
                source,
            })?;
            if recycle {
                self.reserve = Reserve::Ready { recycled: true };
            }
            self.sealed.pop_front();
            removed += 1;
        }
        Ok(removed)
    }

    /// The file is of the size segments have now.
    fn is_whole(&self, path: &Path) -> bool {
        self.disk
            .open(path)
            .and_then(|file| file.bytes())
            .is_ok_and(|bytes| bytes == self.segment_bytes)
    }

    /// Number of segment files in use, the spare not counted. Grows with what lies above the purged index:
    /// when it passes the bound (`max-wals`), it is time for a snapshot.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.sealed.len() + 1
    }

    /// Syncs, marks the end, so that everything before it can be told from a torn tail, and lets go of the
    /// folder.
    ///
    /// # Errors
    /// As [`Wal::sync`].
    pub fn close(mut self) -> Result<(), WalError> {
        self.sync()?;
        self.mark_end()
    }

    fn check(&self) -> Result<(), WalError> {
        if self.poisoned {
            Err(WalError::Poisoned)
        } else {
            Ok(())
        }
    }

    /// From here on, a failure leaves the disk in an unknown state. A full disk is no exception: where
    /// blocks are allocated ahead it cannot be, and elsewhere part of the frame may have been written.
    fn poison(
        &mut self,
        result: std::io::Result<()>,
        operation: &'static str,
    ) -> Result<(), WalError> {
        result.map_err(|source| {
            self.poisoned = true;
            WalError::Io {
                operation,
                file: self.active.path.clone(),
                source,
            }
        })
    }

    /// Goes over to the next segment unless a frame with so many bytes of records fits.
    fn make_room(&mut self, records_bytes: usize) -> Result<(), WalError> {
        let bytes = frame_bytes(records_bytes) as u64;
        if bytes > self.reserve_bytes() {
            return Err(WalError::TooLarge {
                bytes,
                bytes_max: self.reserve_bytes(),
            });
        }
        if self.active.end + bytes > self.active.bytes {
            self.rotate()
        } else {
            Ok(())
        }
    }

    /// Writes one frame at the end of the active segment, where there is room for it.
    fn write_frame<'a>(&mut self, items: impl Iterator<Item = Item<'a>>) -> Result<(), WalError> {
        let place = Place {
            sequence: self.sequence_next,
            durable: self.durable,
        };
        encode_frame(
            &mut self.buffer,
            self.active.seed,
            self.active.end,
            place,
            items,
        );
        let written = self.active.file.write_at(&self.buffer, self.active.end);
        self.poison(written, "write")?;
        self.active.end += self.buffer.len() as u64;
        self.sequence_next += 1;
        self.buffer.shrink_to(BUFFER_BYTES_MAX);
        Ok(())
    }

    /// Begins the next segment. It gets its name when everything before it, and its own first frame, are
    /// durable.
    fn rotate(&mut self) -> Result<(), WalError> {
        // Only where the caller did not keep to the rule on room.
        while !self.prepare_reserve()? {}
        self.sync()?;
        let number = self.active.number + 1;
        let recycled = matches!(self.reserve, Reserve::Ready { recycled: true });
        let seed = Seed::new(self.identity, number);
        let place = Place {
            sequence: self.sequence_next,
            durable: self.durable,
        };
        let start = Start {
            number,
            previous_end: self.active.end,
            recycled,
        };
        let (spare, path) = (self.folder.reserve(), self.folder.segment(number));
        encode_frame(
            &mut self.buffer,
            seed,
            0,
            place,
            carry(start, self.mark, self.vote),
        );
        let begun = self.disk.open(&spare).and_then(|file| {
            file.write_at(&self.buffer, 0)?;
            file.sync_data()?;
            self.disk.rename(&spare, &path)?;
            self.disk.sync_dir(self.folder.log())?;
            Ok(file)
        });
        self.poisoned |= begun.is_err();
        let file = begun.map_err(|source| WalError::Io {
            operation: "begin",
            file: path.clone(),
            source,
        })?;
        self.sealed.push_back(Sealed {
            number: self.active.number,
            last_index: self.active.last_index,
        });
        let end = self.buffer.len() as u64;
        self.active = Active {
            number,
            path,
            file,
            seed,
            end,
            bytes: self.segment_bytes,
            last_index: 0,
        };
        self.reserve = Reserve::None;
        self.durable = self.sequence_next;
        self.sequence_next += 1;
        Ok(())
    }
}

/// The records of a first frame.
fn carry(
    start: Start,
    mark: Option<Mark>,
    vote: Option<Vote>,
) -> impl Iterator<Item = Item<'static>> {
    std::iter::once(Item::Start(start))
        .chain(mark.map(|mark| Item::Mark(mark, MarkKind::Continues)))
        .chain(vote.map(Item::Vote))
}
