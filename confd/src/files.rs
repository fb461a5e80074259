//! Durable, atomic replacement of one file: staged beside the target, compared, checked by others, then moved in place.
//!
//! Mode and owner of the existing file are kept unless the resource sets them. A link as destination is followed, so
//! that the link stays a link; it must lead somewhere, and not into a directory that everybody may write to. A target
//! that is itself a mount point cannot be replaced by a move; it is then written in place, and a note says so.

use std::io;
use std::path::{Path, PathBuf};

use crate::accounts::{self, AccountError};
use crate::disk::{Attributes, Disk, Kind, Stat};
use crate::resource::Resource;

/// Permissions of a new file unless the resource says otherwise.
const MODE_DEFAULT: u32 = 0o644;

/// What staging found.
#[derive(Debug)]
pub enum Staging {
    /// The file is as it shall be; nothing was written.
    Same,
    /// The new content is durable beside the target.
    Staged(Staged),
}

/// A staged file.
#[derive(Debug, Clone)]
pub struct Staged {
    /// The destination it was staged for.
    pub dest: PathBuf,
    /// The staged file.
    pub path: PathBuf,
    /// The file it will replace: the destination behind its links.
    pub target: PathBuf,
    attributes: Attributes,
    notes: Vec<String>,
}

/// Why a file was not staged or replaced.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file operation failed.
    #[error("{verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The destination is no place for a file.
    #[error("dest {} {problem}", path.display())]
    Unfit {
        /// The destination.
        path: PathBuf,
        /// Why.
        problem: &'static str,
    },
    /// The owner or group does not exist.
    #[error("set owner")]
    Account(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl FileError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Some(
                    "confd needs to write to the directory of the file, or run as another user"
                        .to_owned(),
                ),
                io::ErrorKind::StorageFull => {
                    Some("the disk is full; the old file stays in force".to_owned())
                }
                io::ErrorKind::ReadOnlyFilesystem => Some(
                    "mount the folder for writing, or write into one that is (a volume)".to_owned(),
                ),
                _ => None,
            },
            Self::Unfit { .. } => Some("name the path of a regular file as dest".to_owned()),
            Self::Account(_) => Some("create it, or write its number as uid or gid".to_owned()),
        }
    }
}

pub(crate) fn io_error<'a>(
    verb: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::Io {
        verb,
        path: path.to_owned(),
        source,
    }
}

impl From<AccountError> for FileError {
    fn from(error: AccountError) -> Self {
        Self::Account(Box::new(error))
    }
}

/// The destination behind its links and what stands there.
struct Target {
    path: PathBuf,
    stat: Option<Stat>,
}

fn target(disk: &dyn Disk, dest: &Path) -> Result<Target, FileError> {
    let unfit = |problem| {
        Err(FileError::Unfit {
            path: dest.to_owned(),
            problem,
        })
    };
    let mut path = dest.to_owned();
    let mut stat = disk.stat(&path).map_err(io_error("look at", dest))?;
    if stat.is_some_and(|stat| stat.kind == Kind::Link) {
        path = match disk.resolve(dest) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return unfit("is a link that leads nowhere");
            }
            Err(error) => return Err(io_error("follow", dest)(error)),
        };
        let parent = path.parent().unwrap_or(Path::new("/"));
        let parent_stat = disk.stat(parent).map_err(io_error("look at", parent))?;
        if parent_stat.is_some_and(|stat| stat.mode & 0o002 != 0) {
            return unfit("is a link into a directory that everybody may write to");
        }
        stat = disk.stat(&path).map_err(io_error("look at", &path))?;
    }
    match stat.map(|stat| stat.kind) {
        Some(Kind::Directory) => unfit("is a directory"),
        Some(Kind::Special | Kind::Link) => unfit("is not a regular file"),
        Some(Kind::File) | None => Ok(Target { path, stat }),
    }
}

/// Whether nothing stands at a destination.
///
/// # Errors
/// It cannot be looked at.
pub fn is_gone(disk: &dyn Disk, dest: &Path) -> Result<bool, FileError> {
    let stat = disk.stat(dest).map_err(io_error("look at", dest))?;
    Ok(stat.is_none())
}

/// Removes a file for good: what it was stays away also when the machine fails. Of a link only the link goes.
///
/// # Errors
/// It cannot be removed, or is no file.
pub fn remove(disk: &dyn Disk, dest: &Path) -> Result<(), FileError> {
    let stat = disk.stat(dest).map_err(io_error("look at", dest))?;
    if stat.is_some_and(|stat| matches!(stat.kind, Kind::Directory | Kind::Special)) {
        return Err(FileError::Unfit {
            path: dest.to_owned(),
            problem: "is not a regular file",
        });
    }
    disk.remove(dest).map_err(io_error("remove", dest))?;
    let folder = dest.parent().unwrap_or(Path::new("/"));
    disk.sync_dir(folder).map_err(io_error("sync", folder))
}

/// Mode and owner the file shall have.
fn attributes(resource: &Resource, stat: Option<Stat>) -> Result<Attributes, FileError> {
    let uid = resource.owner.as_ref().map(accounts::user).transpose()?;
    let gid = resource.group.as_ref().map(accounts::group).transpose()?;
    Ok(Attributes {
        mode: resource
            .mode
            .or(stat.map(|stat| stat.mode))
            .unwrap_or(MODE_DEFAULT),
        uid: uid.or(stat.map(|stat| stat.uid)),
        gid: gid.or(stat.map(|stat| stat.gid)),
        owner_required: uid.is_some() || gid.is_some(),
    })
}

fn is_same(
    disk: &dyn Disk,
    target: &Target,
    content: &[u8],
    wanted: Attributes,
) -> Result<bool, FileError> {
    let Some(stat) = target.stat else {
        return Ok(false);
    };
    // A preserved owner is the existing one, so this compares what was configured.
    let attributes_same = stat.mode == wanted.mode
        && wanted.uid.is_none_or(|uid| uid == stat.uid)
        && wanted.gid.is_none_or(|gid| gid == stat.gid);
    Ok(attributes_same
        && stat.len == content.len() as u64
        && disk
            .read(&target.path)
            .map_err(io_error("read", &target.path))?
            == content)
}

/// Compares the content with the destination, and unless they are the same puts it durable beside it.
///
/// # Errors
/// A file operation failed, or the destination is unfit; nothing was changed but perhaps a staged file written.
pub fn stage(disk: &dyn Disk, resource: &Resource, content: &[u8]) -> Result<Staging, FileError> {
    let target = target(disk, &resource.dest)?;
    let attributes = attributes(resource, target.stat)?;
    if is_same(disk, &target, content, attributes)? {
        return Ok(Staging::Same);
    }
    let directory = target.path.parent().unwrap_or(Path::new("/"));
    let mut notes = Vec::new();
    if disk
        .stat(directory)
        .map_err(io_error("look at", directory))?
        .is_none()
    {
        disk.make_dirs(directory)
            .map_err(io_error("create directory", directory))?;
        notes.push(format!("directory {} was created", directory.display()));
    }
    let path = staged_path(&target.path);
    let written = match disk.write_new(&path, content, attributes) {
        // Left behind by a life that ended here.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(&path).map_err(io_error("remove", &path))?;
            disk.write_new(&path, content, attributes)
        }
        written => written,
    };
    if written.is_ok() && target.stat.is_some() {
        let copied = disk.copy_extended(&target.path, &path, resource.mode.is_none());
        if let Err(error) = copied {
            notes.push(format!(
                "extended attributes of the old file could not be kept: {error}"
            ));
        }
    }
    match written {
        Ok(true) => {}
        Ok(false) => notes.push("the owner of the old file could not be kept".to_owned()),
        Err(error) => {
            // Best effort: the next pass removes it too.
            let _ = disk.remove(&path);
            return Err(io_error("write", &path)(error));
        }
    }
    Ok(Staging::Staged(Staged {
        dest: resource.dest.clone(),
        path,
        target: target.path,
        attributes,
        notes,
    }))
}

/// One fixed name per target, so that leftovers are found. It begins with a dot: programs that read whole directories
/// leave such names out.
fn staged_path(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".staged");
    target.with_file_name(name)
}

/// Puts a staged file in place, durable. Returns notes on what was not done as wished.
///
/// # Errors
/// A file operation failed. The destination is then the old file or, if making it durable failed, the new one; written
/// in place it may be anything.
pub fn replace(disk: &dyn Disk, staged: &Staged) -> Result<Vec<String>, FileError> {
    let mut notes = staged.notes.clone();
    if !move_over(disk, &staged.path, &staged.target, staged.attributes)? {
        notes.push(format!(
            "{} is a mount point: written in place, a reader may see it half written; mount its directory instead",
            staged.target.display()
        ));
    }
    Ok(notes)
}

/// Moves a file over another, durable; false if it had to be written in place instead, with these attributes.
///
/// # Errors
/// As [`replace`].
pub(crate) fn move_over(
    disk: &dyn Disk,
    from: &Path,
    to: &Path,
    attributes: Attributes,
) -> Result<bool, FileError> {
    let moved = match disk.rename(from, to) {
        Ok(()) => true,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices
            ) =>
        {
            let content = disk.read(from).map_err(io_error("read", from))?;
            disk.overwrite(to, &content, attributes)
                .map_err(io_error("write", to))?;
            disk.remove(from).map_err(io_error("remove", from))?;
            false
        }
        Err(error) => return Err(io_error("replace", to)(error)),
    };
    let directory = to.parent().unwrap_or(Path::new("/"));
    disk.sync_dir(directory)
        .map_err(io_error("sync directory", directory))?;
    Ok(moved)
}

/// Removes a staged file that will not be used.
pub fn discard(disk: &dyn Disk, staged: &Staged) {
    if let Err(error) = disk.remove(&staged.path) {
        tracing::warn!(path = %staged.path.display(), %error, "staged file could not be removed");
    }
}

/// The difference to what stands at the destination as unified diff; `None` if there is none.
///
/// # Errors
/// The destination is unfit or cannot be read.
pub fn difference(
    disk: &dyn Disk,
    resource: &Resource,
    content: &str,
) -> Result<Option<String>, FileError> {
    let target = target(disk, &resource.dest)?;
    let attributes = attributes(resource, target.stat)?;
    if is_same(disk, &target, content.as_bytes(), attributes)? {
        return Ok(None);
    }
    let old = match target.stat {
        Some(_) => disk
            .read(&target.path)
            .map_err(io_error("read", &target.path))?,
        None => Vec::new(),
    };
    let old = String::from_utf8_lossy(&old);
    let dest = resource.dest.display().to_string();
    let mut text = similar::TextDiff::from_lines(old.as_ref(), content)
        .unified_diff()
        .context_radius(3)
        .header(&dest, &format!("{dest} (rendered)"))
        .to_string();
    if let Some(stat) = target.stat.filter(|stat| stat.mode != attributes.mode) {
        text.push_str(&format!(
            "mode {:04o} -> {:04o}\n",
            stat.mode, attributes.mode
        ));
    }
    Ok(Some(text))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
