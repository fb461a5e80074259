//! Opening a folder: making a new one, or reading, checking and repairing what is there.

use super::{Active, Recovered, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Seen, Wal, WalConfig, carry};
use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, WalError};
use crate::folder::Folder;
use crate::format::{ALIGN, Mark, Place, Seed, Start, encode_frame};
use crate::recovery::{self, Found};
use crate::replay::Replay;
use crate::reserve::{Reserve, fill};
use crate::snapshot::RecoveredSnapshot;
use crate::terms::Terms;
use crate::wal::Identity;

/// Copied at once when the end of the log is written again; mostly it is one batch.
const REWRITE_BYTES: u64 = 1 << 20;

impl<D: Disk> Wal<D> {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// See [`OpenError`]; a log that was refused is as it was.
    pub fn open(
        disk: D,
        config: WalConfig,
        identity: Identity,
    ) -> Result<(Self, Recovered<D>), OpenError> {
        let segment_bytes = segment_bytes(&config);
        let folder = Folder::of(config.dir, config.log_dir);
        let dir = folder.dir().to_owned();
        let locks = folder.occupy(&disk)?;
        let found = folder.identity(&disk)?;
        match found {
            Some(found) if found != identity => {
                return Err(OpenError::OtherIdentity {
                    dir,
                    found,
                    expected: identity,
                });
            }
            Some(_) => {}
            None => {
                folder.begin(&disk, identity)?;
                make(&disk, &folder, identity, segment_bytes)?;
                folder.commit(&disk)?;
            }
        }
        let (wal, mut recovered) = Self::read(
            disk,
            folder,
            locks,
            (identity, segment_bytes, config.snapshots_max),
        )?;
        recovered.fresh = found.is_none();
        Ok((wal, recovered))
    }

    /// Reads a folder that no store runs on, and changes nothing in it: a torn tail stays where it is. `None` when it is no
    /// folder of a member.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn look(disk: &D, config: &WalConfig) -> Result<Option<Seen<D>>, OpenError> {
        let folder = Folder::of(config.dir.clone(), config.log_dir.clone());
        let Some(identity) = folder.identity(disk)? else {
            return Ok(None);
        };
        let locks = folder.occupy(disk)?;
        let Found { replay, cut, .. } = recovery::read(disk, &folder, identity)?;
        let (snapshot, snapshots_refused) = choose(disk, &folder, identity, &replay)?;
        let above = snapshot.as_ref().map_or(0, |s| s.index);
        let entries = replay.entries.into_iter();
        let recovered = Recovered {
            fresh: false,
            snapshot,
            snapshots_refused,
            vote: replay.vote,
            entries: entries.skip_while(|e| e.index <= above).collect(),
            cut,
        };
        Ok(Some(Seen {
            identity,
            recovered,
            locks,
        }))
    }

    /// Reads a folder that is ours and was made.
    pub(super) fn read(
        disk: D,
        folder: Folder,
        locks: Vec<D::Lock>,
        (identity, segment_bytes, snapshots_max): (Identity, u64, usize),
    ) -> Result<(Self, Recovered<D>), OpenError> {
        let Found {
            replay,
            sealed,
            active,
            unsure,
            end,
            active_bytes,
            sequence_next,
            cut,
        } = recovery::read(&disk, &folder, identity)?;
        let (snapshot, snapshots_refused) = choose(&disk, &folder, identity, &replay)?;
        let path = folder.segment(active.number);
        let file = disk
            .open(&path)
            .map_err(|e| OpenError::io("open", &path, e))?;
        let active = Active {
            number: active.number,
            seed: Seed::new(identity, active.number),
            path,
            file,
            end,
            bytes: active_bytes,
            last_index: active.last_index,
        };
        let Replay {
            entries,
            vote,
            mark,
        } = replay;
        let mut terms = Terms::default();
        if let Some(mark) = mark {
            terms.restart(mark.index + 1);
        }
        for entry in &entries {
            terms.push(entry.index, entry.term);
        }
        let mut wal = Self {
            reserve: Reserve::found(&disk, &folder, segment_bytes),
            disk,
            folder,
            identity,
            segment_bytes,
            snapshots_max: snapshots_max.max(1),
            active,
            sealed: sealed.into(),
            sequence_next,
            durable: sequence_next - 1,
            terms,
            vote,
            mark,
            poisoned: false,
            buffer: Vec::new(),
            _locks: locks,
        };
        wal.settle(unsure, cut.is_some())?;
        let above = snapshot.as_ref().map_or(0, |s| s.index);
        let entries = entries
            .into_iter()
            .skip_while(|e| e.index <= above)
            .collect();
        Ok((
            wal,
            Recovered {
                fresh: false,
                snapshot,
                snapshots_refused,
                vote,
                entries,
                cut,
            },
        ))
    }

    /// Makes what was read durable (a killed process leaves its last writes in memory only), removes a
    /// torn tail and what was never finished.
    ///
    /// From `unsure` on, what was read is written again before the sync: after a failed one the system
    /// shows the bytes and believes them to be on disk, so that a sync alone would report success for
    /// what the next power cut takes away (Rebello et al., "Can applications recover from fsync failures?",
    /// USENIX ATC 2020).
    fn settle(&mut self, unsure: u64, torn: bool) -> Result<(), OpenError> {
        let Active {
            path,
            file,
            end,
            bytes,
            ..
        } = &self.active;
        let synced = rewrite(file, unsure, *end).and_then(|()| {
            if torn {
                fill(file, *end, bytes - end)
            } else {
                file.sync_data()
            }
        });
        synced.map_err(|e| OpenError::io("sync", path, e))?;
        let mut folders = self.folder.all();
        folders.push(self.folder.snapshots());
        for dir in &folders {
            self.disk
                .sync_dir(dir)
                .map_err(|e| OpenError::io("sync", dir, e))?;
            for name in self
                .disk
                .list(dir)
                .map_err(|e| OpenError::io("list", dir, e))?
            {
                if name.ends_with(".new") {
                    let path = dir.join(name);
                    self.disk
                        .remove(&path)
                        .map_err(|e| OpenError::io("remove", &path, e))?;
                }
            }
        }
        self.mark_end().map_err(|error| match error {
            WalError::Io {
                operation,
                file,
                source,
            } => OpenError::Io {
                operation,
                file,
                source,
            },
            other => OpenError::io("write", &self.active.path, std::io::Error::other(other)),
        })
    }
}

/// Writes what stands between two offsets once more.
fn rewrite<F: DiskFile>(file: &F, mut from: u64, to: u64) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    while from < to {
        let length = (to - from).min(REWRITE_BYTES);
        bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        file.read_at(&mut bytes, from)?;
        file.write_at(&bytes, from)?;
        from += length;
    }
    Ok(())
}

/// The size of a segment, in bounds.
pub(super) fn segment_bytes(config: &WalConfig) -> u64 {
    let bytes = config
        .segment_bytes
        .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    bytes / ALIGN as u64 * ALIGN as u64
}

/// Makes an empty first segment in a folder that is begun.
pub(super) fn make<D: Disk>(
    disk: &D,
    folder: &Folder,
    identity: Identity,
    segment_bytes: u64,
) -> Result<(), OpenError> {
    let path = folder.segment(1);
    let start = Start {
        number: 1,
        previous_end: 0,
        recycled: false,
    };
    let mut frame = Vec::new();
    let place = Place {
        sequence: 1,
        durable: 0,
    };
    encode_frame(
        &mut frame,
        Seed::new(identity, 1),
        0,
        place,
        carry(start, None, None),
    );
    let write = || {
        let file = disk.create(&path)?;
        file.preallocate(segment_bytes)?;
        fill(&file, 0, segment_bytes)?;
        file.write_at(&frame, 0)?;
        file.sync_data()?;
        disk.sync_dir(folder.log())
    };
    write().map_err(|e| OpenError::io("write", &path, e))
}

/// The newest snapshot that is whole and that the log continues, and why newer ones are not.
#[allow(clippy::type_complexity)]
fn choose<D: Disk>(
    disk: &D,
    folder: &Folder,
    identity: Identity,
    replay: &Replay,
) -> Result<(Option<RecoveredSnapshot<D>>, Vec<OpenError>), OpenError> {
    let mut refused = Vec::new();
    let Some(mark) = replay.mark else {
        return if replay.continues(0) {
            Ok((None, refused))
        } else {
            Err(missing(folder, None))
        };
    };
    let dir = folder.snapshots();
    let names = disk
        .list(&dir)
        .map_err(|e| OpenError::io("list", &dir, e))?;
    let found = Folder::snapshot_names(&names);
    if !found.contains(&(mark.index, mark.term)) {
        refused.push(missing(folder, Some(mark)));
    }
    // One above the mark was never finished: the log goes on as if it were not there.
    for name in found
        .into_iter()
        .rev()
        .filter(|(index, _)| *index <= mark.index)
    {
        if !replay.continues(name.0) {
            break;
        }
        match RecoveredSnapshot::open_checked(disk, folder, identity, name) {
            Ok(snapshot) => return Ok((Some(snapshot), refused)),
            Err(error) => refused.push(error),
        }
    }
    if replay.continues(0) {
        return Ok((None, refused));
    }
    Err(if refused.is_empty() {
        missing(folder, Some(mark))
    } else {
        refused.swap_remove(0)
    })
}

fn missing(folder: &Folder, mark: Option<Mark>) -> OpenError {
    let what = match mark {
        Some(mark) => {
            let path = folder.snapshot(mark.term, mark.index);
            format!("the snapshot {}", path.display())
        }
        None => "the beginning of the log".to_owned(),
    };
    OpenError::Missing {
        dir: folder.dir().to_owned(),
        what,
    }
}
