//! The few file operations that `files.rs` is built from, behind a trait so that tests can fail any of them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};
use rustix::io::Errno;

/// Most that the names of a file's extended attributes, or the value of one of them, take: the kernel's own bounds (xattr(7)).
const EXTENDED_BYTES_MAX: usize = 64 << 10;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub len: u64,
}

/// Kinds of files, as far as they matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, itself.
    Link,
    /// A device, socket or pipe.
    Special,
}

/// Mode and owner a file shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner to set; `None` leaves that of the process.
    pub uid: Option<u32>,
    /// Group to set.
    pub gid: Option<u32>,
    /// True if a refused change of owner is a fault, not a note: it was configured, not just preserved.
    pub owner_required: bool,
}

/// Operations on files.
pub trait Disk: Send + Sync {
    /// What stands at the path itself (links are not followed); `None` for nothing.
    ///
    /// # Errors
    /// As the system says.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>>;
    /// The path behind all links.
    ///
    /// # Errors
    /// As the system says; a link to nothing is `NotFound`.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;
    /// The content of a file.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Creates directories, with 0755.
    ///
    /// # Errors
    /// As the system says.
    fn make_dirs(&self, path: &Path) -> io::Result<()>;
    /// Writes a file that must not exist yet, with these attributes, and makes it durable. Returns false if a change of
    /// owner that is not required was refused.
    ///
    /// # Errors
    /// As the system says; the file may exist then.
    fn write_new(&self, path: &Path, content: &[u8], attributes: Attributes) -> io::Result<bool>;
    /// Writes into an existing file, not atomically, and makes it durable.
    ///
    /// # Errors
    /// As the system says; the file may hold anything then.
    fn overwrite(&self, path: &Path, content: &[u8], attributes: Attributes) -> io::Result<bool>;
    /// Gives a file the extended attributes of another, and makes that durable. Lists of access (`system.posix_acl_…`),
    /// which hold permission bits too, only if those are to stay as well.
    ///
    /// # Errors
    /// As the system says; some may be set then.
    fn copy_extended(&self, _from: &Path, _to: &Path, _with_access: bool) -> io::Result<()> {
        Ok(())
    }
    /// Moves a file over another, atomically.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a file; one that does not exist is fine.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The real one.
#[derive(Debug, Clone, Copy)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let kind = match meta.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Special,
        };
        Ok(Some(Stat {
            kind,
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            len: meta.len(),
        }))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn make_dirs(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn write_new(&self, path: &Path, content: &[u8], attributes: Attributes) -> io::Result<bool> {
        // Nobody else may read it before its owner is set.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        fill(&mut file, content, attributes)
    }

    fn overwrite(&self, path: &Path, content: &[u8], attributes: Attributes) -> io::Result<bool> {
        let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
        fill(&mut file, content, attributes)
    }

    fn copy_extended(&self, from: &Path, to: &Path, with_access: bool) -> io::Result<()> {
        let names = extended(from)?;
        if names.is_empty() {
            return Ok(());
        }
        let mut value = vec![0; EXTENDED_BYTES_MAX];
        for name in names {
            if !with_access && name.starts_with(b"system.posix_acl_") {
                continue;
            }
            let len = getxattr(from, &*name, &mut value[..])?;
            setxattr(to, &*name, &value[..len], XattrFlags::empty())?;
        }
        File::open(to)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Names of a file's extended attributes; none where the file system knows of none.
fn extended(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut names = vec![0; EXTENDED_BYTES_MAX];
    let len = match listxattr(path, &mut names[..]) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        len => len?,
    };
    let names = names[..len].split(|byte| *byte == 0);
    Ok(names
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

fn fill(file: &mut File, content: &[u8], attributes: Attributes) -> io::Result<bool> {
    file.write_all(content)?;
    let meta = file.metadata()?;
    let uid = attributes.uid.filter(|uid| *uid != meta.uid());
    let gid = attributes.gid.filter(|gid| *gid != meta.gid());
    let mut owned = true;
    if uid.is_some() || gid.is_some() {
        match fchown(&*file, uid, gid) {
            Err(error)
                if error.kind() == ErrorKind::PermissionDenied && !attributes.owner_required =>
            {
                owned = false;
            }
            result => result?,
        }
    }
    // Behind the owner: changing that clears the set-id bits.
    file.set_permissions(Permissions::from_mode(attributes.mode))?;
    file.sync_all()?;
    Ok(owned)
}
