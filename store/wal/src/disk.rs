//! The few things the log asks of a disk, so that tests and the simulator can be one.

use std::io;
use std::path::Path;

/// A place for files. Cheap to clone; clones are the same place.
///
/// Durability: bytes are durable after [`DiskFile::sync_data`], names after [`Disk::sync_dir`];
/// until then a power cut may keep, lose or tear each write, and keep or lose each name.
pub trait Disk: Clone + Send + 'static {
    /// An open file.
    type File: DiskFile;
    /// Held as long as the folder is ours.
    type Lock: Send + 'static;

    /// Makes the folder and its parents, durably; one that exists is fine.
    ///
    /// # Errors
    /// As the operating system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Names (not paths) in the folder, sorted.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes an empty file, or empties the one that is there.
    ///
    /// # Errors
    /// As the operating system says.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// As the operating system says.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Gives the file another name, in one step, over whatever had that name.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the folder's names durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the folder for this process until the value is dropped; `None` when another has it.
    ///
    /// # Errors
    /// As the operating system says.
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>>;
}

/// An open file.
pub trait DiskFile: Send + 'static {
    /// Its length.
    ///
    /// # Errors
    /// As the operating system says.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `buffer`, in one call where the system allows it.
    ///
    /// # Errors
    /// As the operating system says; some of it may then have been written.
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()>;
    /// Extends the file to `bytes`, its blocks allocated, so that writes below that never meet a full
    /// disk (true where blocks are overwritten in place: ext4, xfs; not on copy-on-write systems).
    ///
    /// # Errors
    /// `StorageFull` when there is no room; the file may then have grown in part.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;
    /// Makes everything written, and the length, durable.
    ///
    /// # Errors
    /// After one, nothing is known about what was written since the last success.
    fn sync_data(&self) -> io::Result<()>;
}

mod real;
pub use real::{RealDisk, RealFile, RealLock};
