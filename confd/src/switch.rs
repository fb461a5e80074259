//! Puts several staged files in place together: all of them or none, whatever fails, and whenever the process ends.
//!
//! Files cannot be replaced at one instant. So before the first is, a journal stands beside the first destination that says
//! where each new file is staged and where a copy of the old one is. Whoever finds it goes on with the new files if all of
//! them are still there, and else back to the old ones. Without a journal nothing is half done.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{Attributes, Disk, Stat};
use crate::files::{self, FileError, Staged};
use crate::plan::ContentHash;
use crate::resource::Resource;

/// One file on its way.
#[derive(Debug, Serialize, Deserialize)]
struct Step {
    staged: PathBuf,
    target: PathBuf,
    /// Copy of what stood there; `None` if nothing did.
    before: Option<PathBuf>,
    /// What is to stand there.
    hash: ContentHash,
}

/// What was found of an earlier life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing was half done.
    Nothing,
    /// The new files are all in place now.
    New,
    /// The old files are all in place again.
    Old,
}

/// The journal of a set stands beside its first file.
fn journal(resource: &Resource) -> PathBuf {
    beside(&resource.dest, "switch")
}

/// Where the set is put together to be checked, see [`crate::files`] for why the name begins with a dot.
pub fn folder(resource: &Resource) -> PathBuf {
    beside(&resource.dest, "set")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

fn failed<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    files::io_error(verb, path)
}

fn holds(disk: &dyn Disk, path: &Path, hash: ContentHash) -> bool {
    disk.read(path)
        .is_ok_and(|content| ContentHash::of(&content) == hash)
}

fn sync_folder(disk: &dyn Disk, path: &Path) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    disk.sync_dir(folder)
        .map_err(failed("sync directory", folder))
}

/// Writes a file anew, durable; one of that name was left behind.
fn write(
    disk: &dyn Disk,
    path: &Path,
    content: &[u8],
    attributes: Attributes,
) -> Result<(), FileError> {
    disk.remove(path).map_err(failed("remove", path))?;
    disk.write_new(path, content, attributes)
        .map(drop)
        .map_err(failed("write", path))
}

/// Puts all staged files in place. Returns notes on what was not done as wished. Before they were staged, [`heal`] has seen
/// to what an earlier life left: it takes staged files away.
///
/// # Errors
/// A file operation failed; all destinations are as they were, unless going back failed too: then it is made up for by
/// [`heal`].
pub fn all(
    disk: &dyn Disk,
    resource: &Resource,
    staged: &[Staged],
) -> Result<Vec<String>, FileError> {
    let journal = journal(resource);
    let mut steps = Vec::new();
    for one in staged {
        let read = |path: &Path| disk.read(path).map_err(failed("read", path));
        let stat = disk
            .stat(&one.target)
            .map_err(failed("look at", &one.target))?;
        let before = match stat {
            Some(stat) => {
                let copy = beside(&one.target, "before");
                write(disk, &copy, &read(&one.target)?, of(stat))?;
                // Without them it is still the old content; that is what counts on the way back.
                let _ = disk.copy_extended(&one.target, &copy, true);
                Some(copy)
            }
            None => None,
        };
        steps.push(Step {
            staged: one.path.clone(),
            target: one.target.clone(),
            before,
            hash: ContentHash::of(&read(&one.path)?),
        });
    }
    let text = serde_json::to_string(&steps).unwrap_or_default();
    let private = Attributes {
        mode: 0o600,
        uid: None,
        gid: None,
        owner_required: false,
    };
    write(disk, &journal, text.as_bytes(), private)?;
    sync_folder(disk, &journal)?;
    let mut notes = Vec::new();
    for (place, one) in staged.iter().enumerate() {
        match files::replace(disk, one) {
            Ok(more) => notes.extend(more),
            Err(error) => {
                let back = steps[..=place]
                    .iter()
                    .try_for_each(|step| put_back(disk, step));
                if back.and_then(|()| forget(disk, &journal, &steps)).is_err() {
                    tracing::error!(
                        resource = resource.name,
                        "part of the files are new, and the old ones could not be put back"
                    );
                }
                return Err(error);
            }
        }
    }
    if let Err(error) = forget(disk, &journal, &steps) {
        notes.push(format!("what helped to switch was left behind: {error}"));
    }
    Ok(notes)
}

/// Moves a file over another, with what it has for attributes.
fn move_over(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), FileError> {
    // What is not there was moved already.
    match disk.stat(from).map_err(failed("look at", from))? {
        Some(stat) => files::move_over(disk, from, to, of(stat)).map(drop),
        None => Ok(()),
    }
}

/// The attributes that something has.
fn of(stat: Stat) -> Attributes {
    Attributes {
        mode: stat.mode,
        uid: Some(stat.uid),
        gid: Some(stat.gid),
        owner_required: false,
    }
}

/// The old file, if the new one stands there.
fn put_back(disk: &dyn Disk, step: &Step) -> Result<(), FileError> {
    match &step.before {
        Some(before) => move_over(disk, before, &step.target),
        None if holds(disk, &step.target, step.hash) => {
            disk.remove(&step.target)
                .map_err(failed("remove", &step.target))?;
            sync_folder(disk, &step.target)
        }
        None => Ok(()),
    }
}

/// It is over: the journal goes, then what it speaks of.
fn forget(disk: &dyn Disk, journal: &Path, steps: &[Step]) -> Result<(), FileError> {
    disk.remove(journal).map_err(failed("remove", journal))?;
    sync_folder(disk, journal)?;
    for before in steps.iter().filter_map(|step| step.before.as_ref()) {
        disk.remove(before).map_err(failed("remove", before))?;
    }
    Ok(())
}

/// Makes up for a life that ended while it put files in place.
///
/// # Errors
/// A file operation failed; the journal stays, to be looked at again.
pub fn heal(disk: &dyn Disk, resource: &Resource) -> Result<Found, FileError> {
    let journal = journal(resource);
    let text = match disk.read(&journal) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(failed("read", &journal)(error)),
    };
    // Written in part: nothing was replaced yet.
    let Ok(steps) = serde_json::from_slice::<Vec<Step>>(&text) else {
        disk.remove(&journal).map_err(failed("remove", &journal))?;
        return Ok(Found::Nothing);
    };
    let done = |step: &Step| holds(disk, &step.target, step.hash);
    let on = steps
        .iter()
        .all(|step| done(step) || holds(disk, &step.staged, step.hash));
    for step in &steps {
        if !on {
            put_back(disk, step)?;
        } else if !done(step) {
            move_over(disk, &step.staged, &step.target)?;
        }
    }
    for step in &steps {
        disk.remove(&step.staged)
            .map_err(failed("remove", &step.staged))?;
    }
    forget(disk, &journal, &steps)?;
    Ok(if on { Found::New } else { Found::Old })
}

#[cfg(test)]
#[path = "switch_tests.rs"]
mod tests;
