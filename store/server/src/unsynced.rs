//! A disk that does not wait for the device (`--unsafe-no-fsync`): for tests and throw-away stores.

use std::io;
use std::path::Path;

use store_wal::{Disk, DiskFile};

/// Another disk or file without its syncs.
#[derive(Clone, Debug)]
pub(crate) struct Unsynced<T>(pub(crate) T);

impl<D: Disk> Disk for Unsynced<D> {
    type File = Unsynced<D::File>;
    type Lock = D::Lock;

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn create(&self, path: &Path) -> io::Result<Self::File> {
        self.0.create(path).map(Unsynced)
    }
    fn open(&self, path: &Path) -> io::Result<Self::File> {
        self.0.open(path).map(Unsynced)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>> {
        self.0.lock(path)
    }
}

impl<F: DiskFile> DiskFile for Unsynced<F> {
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
        self.0.preallocate(bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
