//! A real disk that can be told to fail.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use store_wal::{Disk, DiskFile, RealDisk};

/// What fails now.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) sync: Arc<AtomicBool>,
    pub(super) full: Arc<AtomicBool>,
}

#[derive(Clone)]
pub(super) struct Faulty<T>(pub(super) T, pub(super) Faults);

impl Disk for Faulty<RealDisk> {
    type File = Faulty<<RealDisk as Disk>::File>;
    type Lock = <RealDisk as Disk>::Lock;

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn create(&self, path: &Path) -> io::Result<Self::File> {
        self.0.create(path).map(|file| Faulty(file, self.1.clone()))
    }
    fn open(&self, path: &Path) -> io::Result<Self::File> {
        self.0.open(path).map(|file| Faulty(file, self.1.clone()))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>> {
        self.0.lock(path)
    }
}

impl<F: DiskFile> DiskFile for Faulty<F> {
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(buffer, offset)
    }
    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        if self.1.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.preallocate(bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.1.sync.load(Ordering::Relaxed) {
            return Err(io::Error::other("the device is gone"));
        }
        self.0.sync_data()
    }
}
