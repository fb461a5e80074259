//! A disk in memory that forgets as a real one may: what was not synced survives a power cut in any part.
//!
//! For crash tests and the simulator. Bytes are durable after `sync_data` of their file, names after
//! `sync_dir` of their folder, nothing else ever is. Deterministic: a seed decides what survives.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile};

/// Unit in which a real disk writes; unsynced writes are torn at its multiples.
const SECTOR_BYTES: usize = 512;

/// What may remain of an unsynced write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Nothing that was not synced survives.
    Lose,
    /// Everything survives: a killed process rather than a power cut.
    Keep,
    /// Each sector survives or not.
    Sectors,
    /// Each stretch between random bytes survives or not.
    Bytes,
}

/// Kinds of operation that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// `write_at`. A failed one leaves the first half of its bytes.
    Write,
    /// `sync_data`. After a failed one, what it was to make durable never is, even if a later one succeeds
    /// (as Linux behaves: the pages are marked clean).
    Sync,
    /// `preallocate`.
    Preallocate,
    /// `sync_dir`.
    SyncDir,
    /// `rename`.
    Rename,
    /// `create`.
    Create,
    /// `remove`.
    Remove,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<World>>);

#[derive(Debug, Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    names_durable: BTreeMap<PathBuf, usize>,
    /// Changes of names not yet durable, oldest first.
    names_pending: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    /// Changing operations done so far.
    operations: u64,
    /// From this many on, every call fails.
    power_cut_at: Option<u64>,
    /// Fail the n-th next operation of this kind with this error.
    faults: BTreeMap<Operation, (u64, io::ErrorKind)>,
    /// Bytes files may still grow by.
    free_bytes: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Unsynced, oldest first.
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// Takes effect, and survives, as a whole.
#[derive(Clone, Debug)]
struct NameChange {
    dir: PathBuf,
    changes: Vec<(PathBuf, Option<usize>)>,
}

/// A file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: usize,
}

/// A lock on a [`SimDisk`].
#[derive(Debug)]
pub struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.world().locks.remove(&self.path);
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A panic in a test that held it does not make the bytes worse.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk as found after a power cut now: a new one; this one stays as it is.
    #[must_use]
    pub fn after_power_cut(&self, tear: Tear, seed: u64) -> Self {
        let world = self.world();
        let mut chance = Chance(seed);
        let mut names = world.names_durable.clone();
        for change in &world.names_pending {
            let survives = match tear {
                Tear::Lose => false,
                Tear::Keep => true,
                Tear::Sectors | Tear::Bytes => chance.flip(),
            };
            if survives {
                apply(&mut names, change);
            }
        }
        let inodes = world
            .inodes
            .iter()
            .map(|inode| {
                let bytes = inode.survivor(tear, &mut chance);
                Inode {
                    live: bytes.clone(),
                    durable: bytes,
                    pending: Vec::new(),
                }
            })
            .collect();
        let after = World {
            inodes,
            names_durable: names.clone(),
            names,
            dirs: world.dirs.clone(),
            ..World::default()
        };
        Self(Arc::new(Mutex::new(after)))
    }

    /// After `operations` more changing operations, every call fails: the power is gone.
    pub fn cut_power_after(&self, operations: u64) {
        let mut world = self.world();
        world.power_cut_at = Some(world.operations + operations);
    }

    /// Changing operations done so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Makes the `nth` next operation of a kind (from 1) fail.
    pub fn fail(&self, operation: Operation, nth: u64, kind: io::ErrorKind) {
        self.world().faults.insert(operation, (nth, kind));
    }

    /// Bytes by which files may still grow; `None` = without end.
    pub fn set_free_bytes(&self, bytes: Option<u64>) {
        self.world().free_bytes = bytes;
    }

    /// Content of a file as a program sees it; `None` when there is none of that name.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.world();
        world
            .names
            .get(path)
            .map(|inode| world.inodes[*inode].live.clone())
    }

    /// Changes a file behind the program's back, durably: bit rot.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        if let Some(inode) = world.names.get(path).copied() {
            let inode = &mut world.inodes[inode];
            change(&mut inode.live);
            inode.durable = inode.live.clone();
            inode.pending.clear();
        }
    }

    /// Names of all files.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.world().names.keys().cloned().collect()
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &NameChange) {
    for (path, inode) in &change.changes {
        match inode {
            Some(inode) => names.insert(path.clone(), *inode),
            None => names.remove(path),
        };
    }
}

impl World {
    fn alive(&self) -> io::Result<()> {
        match self.power_cut_at {
            Some(at) if self.operations >= at => Err(io::Error::other("the power is cut")),
            _ => Ok(()),
        }
    }

    /// Counts a changing operation; fails if it is to fail.
    fn begin(&mut self, operation: Operation) -> io::Result<()> {
        self.alive()?;
        self.operations += 1;
        if let Some((left, kind)) = self.faults.get_mut(&operation) {
            *left -= 1;
            if *left == 0 {
                let kind = *kind;
                self.faults.remove(&operation);
                return Err(kind.into());
            }
        }
        Ok(())
    }

    fn grow(&mut self, inode: usize, length: usize) -> io::Result<()> {
        let more = length.saturating_sub(self.inodes[inode].live.len());
        if more == 0 {
            return Ok(());
        }
        if let Some(free) = &mut self.free_bytes {
            *free = free
                .checked_sub(more as u64)
                .ok_or(io::ErrorKind::StorageFull)?;
        }
        self.inodes[inode].live.resize(length, 0);
        self.inodes[inode].pending.push(Pending::Length(length));
        Ok(())
    }

    fn write(&mut self, inode: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.grow(inode, offset + bytes.len())?;
        let inode = &mut self.inodes[inode];
        inode.live[offset..offset + bytes.len()].copy_from_slice(bytes);
        inode.pending.push(Pending::Write {
            offset,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    fn change_names(&mut self, dir: &Path, changes: Vec<(PathBuf, Option<usize>)>) {
        let change = NameChange {
            dir: dir.to_owned(),
            changes,
        };
        apply(&mut self.names, &change);
        self.names_pending.push(change);
    }

    fn named(&self, path: &Path) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Inode {
    /// What is pending becomes durable; what an earlier failed sync dropped does not.
    fn settle(&mut self) {
        for pending in &self.pending {
            match pending {
                Pending::Length(length) => self.durable.resize(*length, 0),
                Pending::Write { offset, bytes } => {
                    let end = offset + bytes.len();
                    if self.durable.len() < end {
                        self.durable.resize(end, 0);
                    }
                    self.durable[*offset..end].copy_from_slice(bytes);
                }
            }
        }
    }

    /// What is there after a power cut.
    fn survivor(&self, tear: Tear, chance: &mut Chance) -> Vec<u8> {
        match tear {
            Tear::Lose => return self.durable.clone(),
            Tear::Keep => return self.live.clone(),
            Tear::Sectors | Tear::Bytes => {}
        }
        let mut after = self.durable.clone();
        for pending in &self.pending {
            match pending {
                Pending::Length(length) => {
                    if chance.flip() {
                        after.resize(after.len().max(*length), 0);
                    }
                }
                Pending::Write { offset, bytes } => {
                    // Some writes arrive whole and some not at all, more often than chance by piece.
                    let odds = chance.below(4);
                    let mut at = 0;
                    while at < bytes.len() {
                        let piece = match tear {
                            Tear::Sectors => SECTOR_BYTES - (offset + at) % SECTOR_BYTES,
                            _ => 1 + chance.below(64) as usize,
                        };
                        let end = (at + piece).min(bytes.len());
                        if odds == 0 || (odds != 1 && chance.flip()) {
                            if after.len() < offset + end {
                                after.resize(offset + end, 0);
                            }
                            after[offset + at..offset + end].copy_from_slice(&bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        after
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.alive()?;
        world.dirs.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        world.alive()?;
        if !world.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let names = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        let mut world = self.world();
        world.begin(Operation::Create)?;
        let dir = path.parent().unwrap_or(Path::new("")).to_owned();
        if !world.dirs.contains(&dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        // A new inode under an old name: emptying a file in place could not be undone by a power cut, so
        // nobody may rely on either.
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        world.change_names(&dir, vec![(path.to_owned(), Some(inode))]);
        Ok(SimFile {
            disk: self.clone(),
            inode,
        })
    }

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let world = self.world();
        world.alive()?;
        let inode = world.named(path)?;
        Ok(SimFile {
            disk: self.clone(),
            inode,
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.begin(Operation::Rename)?;
        let inode = world.named(from)?;
        let dir = from.parent().unwrap_or(Path::new("")).to_owned();
        world.change_names(
            &dir,
            vec![(from.to_owned(), None), (to.to_owned(), Some(inode))],
        );
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.begin(Operation::Remove)?;
        let inode = world.named(path)?;
        let bytes = world.inodes[inode].live.len() as u64;
        if let Some(free) = &mut world.free_bytes {
            *free += bytes;
        }
        let dir = path.parent().unwrap_or(Path::new("")).to_owned();
        world.change_names(&dir, vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.begin(Operation::SyncDir)?;
        let pending = std::mem::take(&mut world.names_pending);
        for change in pending {
            if change.dir == dir {
                apply(&mut world.names_durable, &change);
            } else {
                world.names_pending.push(change);
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<SimLock>> {
        let mut world = self.world();
        world.alive()?;
        let ours = world.locks.insert(path.to_owned());
        drop(world);
        Ok(ours.then(|| SimLock {
            disk: self.clone(),
            path: path.to_owned(),
        }))
    }
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        let world = self.disk.world();
        world.alive()?;
        Ok(world.inodes[self.inode].live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let world = self.disk.world();
        world.alive()?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let live = &world.inodes[self.inode].live;
        let bytes = offset
            .checked_add(buffer.len())
            .and_then(|end| live.get(offset..end));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        match world.begin(Operation::Write) {
            Ok(()) => world.write(self.inode, offset, buffer),
            Err(error) => {
                if world.alive().is_ok() {
                    world.write(self.inode, offset, &buffer[..buffer.len() / 2])?;
                }
                Err(error)
            }
        }
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.begin(Operation::Preallocate)?;
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        world.grow(self.inode, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        let begun = world.begin(Operation::Sync);
        let alive = world.alive().is_ok() || begun.is_ok();
        let inode = &mut world.inodes[self.inode];
        if begun.is_ok() {
            inode.settle();
        }
        if alive {
            inode.pending.clear();
        }
        begun
    }
}

/// A generator small enough to own (splitmix64), so that a seed means the same survivors for ever.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn flip(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
