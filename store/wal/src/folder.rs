//! The data folder: its lock, its identity file, the names of its files, its first creation.

use std::io;
use std::path::{Path, PathBuf};

use crate::checksum;
use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::format::{read_u32, read_u64};
use crate::wal::Identity;

/// Version of everything in the folder. 1: the first.
pub(crate) const VERSION: u32 = 1;

const MAGIC: [u8; 12] = *b"muster store";
/// Magic, version, cluster, member, CRC32C of those.
const IDENTITY_BYTES: usize = 12 + 4 + 8 + 8 + 4;
const IDENTITY: &str = "identity";
/// Stands from the first step of making a folder to the last: a folder with this and without
/// `identity` never held anything.
const IDENTITY_NEW: &str = "identity.new";
/// Stands in its place while a snapshot is restored: no store starts on a folder with this.
const IDENTITY_RESTORING: &str = "identity.restoring";
const LOCK: &str = "lock";
const SNAPSHOTS: &str = "snap";
/// The folder that checks of ext file systems put at their root, which may be our folder.
const FOUND_BY_CHECKS: &str = "lost+found";

/// Where things are in the folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    /// Where the segments are; the same one unless somebody gave them a disk of their own.
    log: PathBuf,
}

impl Folder {
    pub(crate) fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            log: dir.clone(),
            dir,
        }
    }
    /// With the log in a folder of its own, if there is one.
    pub(crate) fn of(dir: PathBuf, log: Option<PathBuf>) -> Self {
        Self {
            log: log.unwrap_or_else(|| dir.clone()),
            dir,
        }
    }
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
    /// The folder of the segments.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }
    /// The folders that hold files of ours, each once.
    pub(crate) fn all(&self) -> Vec<PathBuf> {
        let mut all = vec![self.dir.clone()];
        if self.log != self.dir {
            all.push(self.log.clone());
        }
        all
    }
    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.log.join(format!("{number:016x}.wal"))
    }
    /// A spare segment, ready.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.log.join("reserve.wal")
    }
    /// A spare segment in the making.
    pub(crate) fn reserve_new(&self) -> PathBuf {
        self.log.join("reserve.new")
    }

    /// Makes the folders and takes the lock of each, so that no two stores write into one of them.
    pub(crate) fn occupy<D: Disk>(&self, disk: &D) -> Result<Vec<D::Lock>, OpenError> {
        self.all()
            .into_iter()
            .map(|dir| {
                disk.create_dir(&dir)
                    .map_err(|e| OpenError::io("create", &dir, e))?;
                let lock = dir.join(LOCK);
                disk.lock(&lock)
                    .map_err(|e| OpenError::io("lock", &lock, e))?
                    .ok_or(OpenError::Locked { dir })
            })
            .collect()
    }
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.dir.join(SNAPSHOTS)
    }
    pub(crate) fn snapshot(&self, term: u64, index: u64) -> PathBuf {
        self.snapshots()
            .join(format!("{term:016x}-{index:016x}.snap"))
    }
    pub(crate) fn snapshot_new(&self, term: u64, index: u64) -> PathBuf {
        self.snapshots()
            .join(format!("{term:016x}-{index:016x}.new"))
    }

    /// Numbers of the segments among these names, ascending.
    pub(crate) fn segment_numbers(names: &[String]) -> Vec<u64> {
        let mut numbers: Vec<_> = names
            .iter()
            .filter_map(|n| hex(n.strip_suffix(".wal")?))
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// `(index, term)` of the snapshots among these names, ascending.
    pub(crate) fn snapshot_names(names: &[String]) -> Vec<(u64, u64)> {
        let parse = |name: &String| {
            let (term, index) = name.strip_suffix(".snap")?.split_once('-')?;
            Some((hex(index)?, hex(term)?))
        };
        let mut found: Vec<_> = names.iter().filter_map(parse).collect();
        found.sort_unstable();
        found
    }

    /// Reads the identity file; `None` when there is none.
    pub(crate) fn identity<D: Disk>(&self, disk: &D) -> Result<Option<Identity>, OpenError> {
        let path = self.dir.join(IDENTITY);
        let file = match disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::io("open", &path, source)),
        };
        let damaged = |reason| OpenError::Damaged {
            file: path.clone(),
            record: 0,
            offset: 0,
            reason,
        };
        let mut bytes = [0; IDENTITY_BYTES];
        match file.read_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged("the file is too short"));
            }
            Err(source) => return Err(OpenError::io("read", &path, source)),
        }
        if bytes[..12] != MAGIC {
            return Err(damaged("it is not the identity file of a store"));
        }
        // Before the checksum: another version may lay the rest out differently.
        let found = read_u32(&bytes, 12);
        if found != VERSION {
            return Err(OpenError::Version {
                dir: self.dir.clone(),
                found,
                supported: VERSION,
            });
        }
        if !checksum::holds(read_u32(&bytes, 32), crc32c::crc32c(&bytes[..32])) {
            return Err(damaged("its checksum does not hold"));
        }
        Ok(Some(Identity {
            cluster: read_u64(&bytes, 16),
            member: read_u64(&bytes, 24),
        }))
    }

    /// First step of making a folder. Refuses one that holds a log but no identity.
    pub(crate) fn begin<D: Disk>(&self, disk: &D, identity: Identity) -> Result<(), OpenError> {
        let names = disk
            .list(&self.dir)
            .map_err(|e| OpenError::io("list", &self.dir, e))?;
        if names.iter().any(|name| name == IDENTITY_RESTORING) {
            let dir = self.dir.clone();
            return Err(OpenError::HalfRestored { dir });
        }
        let interrupted = names.iter().any(|name| name == IDENTITY_NEW);
        for dir in self.all() {
            let names = disk
                .list(&dir)
                .map_err(|e| OpenError::io("list", &dir, e))?;
            // An interrupted making leaves the first one at most; more are somebody else's.
            let segments = Self::segment_numbers(&names);
            if !segments.is_empty() && (!interrupted || segments != [1]) {
                return Err(OpenError::Missing {
                    dir: self.dir.clone(),
                    what: format!("the file {IDENTITY}"),
                });
            }
        }
        self.write_identity(disk, IDENTITY_NEW, identity)
    }

    /// What stands in the way of a restore: anything but what an interrupted one has left. A folder that does not exist
    /// is empty.
    pub(crate) fn occupant<D: Disk>(&self, disk: &D) -> Result<Option<String>, OpenError> {
        let list = |dir: &Path| match disk.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(|e| OpenError::io("list", dir, e)),
        };
        let names = list(&self.dir)?;
        if names.iter().any(|name| name == IDENTITY_RESTORING) {
            return Ok(None);
        }
        let harmless = [LOCK, FOUND_BY_CHECKS];
        let found = names.into_iter().find(|name| !harmless.contains(&&**name));
        if found.is_some() {
            return Ok(found);
        }
        // Others may keep their files beside the log.
        let log = list(&self.log)?;
        Ok(log.into_iter().find(|name| name.ends_with(".wal")))
    }

    /// First step of a restore. Clears away what an interrupted one has left.
    pub(crate) fn begin_restore<D: Disk>(
        &self,
        disk: &D,
        identity: Identity,
    ) -> Result<(), OpenError> {
        // First of all, so that no store starts on what comes or on what is left.
        self.write_identity(disk, IDENTITY_RESTORING, identity)?;
        let list = |dir: &Path| disk.list(dir).map_err(|e| OpenError::io("list", dir, e));
        let names = list(&self.log)?;
        let snapshots = self.snapshots();
        let left = list(&snapshots)?
            .into_iter()
            .map(|name| snapshots.join(name));
        let segments = Self::segment_numbers(&names);
        let segments = segments.into_iter().map(|number| self.segment(number));
        for path in left.chain(segments) {
            disk.remove(&path)
                .map_err(|e| OpenError::io("remove", &path, e))?;
        }
        Ok(())
    }

    /// Last step of a restore: from here on the folder counts.
    pub(crate) fn commit_restore<D: Disk>(&self, disk: &D) -> Result<(), OpenError> {
        self.rename_identity(disk, IDENTITY_RESTORING)
    }

    fn write_identity<D: Disk>(
        &self,
        disk: &D,
        name: &str,
        identity: Identity,
    ) -> Result<(), OpenError> {
        let mut bytes = Vec::with_capacity(IDENTITY_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&identity.cluster.to_le_bytes());
        bytes.extend_from_slice(&identity.member.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let path = self.dir.join(name);
        let write = || {
            let file = disk.create(&path)?;
            file.write_at(&bytes, 0)?;
            file.sync_data()?;
            disk.sync_dir(&self.dir)
        };
        write().map_err(|e| OpenError::io("write", &path, e))?;
        let snapshots = self.snapshots();
        disk.create_dir(&snapshots)
            .map_err(|e| OpenError::io("create", &snapshots, e))
    }

    /// Last step: from here on the folder counts.
    pub(crate) fn commit<D: Disk>(&self, disk: &D) -> Result<(), OpenError> {
        self.rename_identity(disk, IDENTITY_NEW)
    }

    fn rename_identity<D: Disk>(&self, disk: &D, from: &str) -> Result<(), OpenError> {
        let path = self.dir.join(IDENTITY);
        disk.rename(&self.dir.join(from), &path)
            .and_then(|()| disk.sync_dir(&self.dir))
            .map_err(|e| OpenError::io("rename", &path, e))
    }
}

fn hex(text: &str) -> Option<u64> {
    (text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}
