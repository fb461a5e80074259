//! Copies of good content, taken before it goes and put back when it is wanted again.

use std::path::Path;

use crate::agent::Fault;
use crate::disk::Disk;
use crate::files::{self, Staging};
use crate::generations::Generations;
use crate::plan::ContentHash;
use crate::reload::Driver;
use crate::resource::Resource;

/// Whether older content may be put back for it, or is needed to tell what is new.
pub(super) fn goes_back(resource: &Resource) -> bool {
    let compares = resource.reload.as_ref().is_some_and(Driver::compares);
    compares || resource.rollback && resource.is_served()
}

/// Whether a guard lets the text take the place of what stands there.
pub(super) fn guarded(disk: &dyn Disk, resource: &Resource, text: &str) -> Result<(), Fault> {
    // Where nothing stands, or something that is no text, nothing is lost.
    let old = resource.guard.and_then(|_| disk.read(&resource.dest).ok());
    let old = old.and_then(|bytes| String::from_utf8(bytes).ok());
    let objection = resource.guard.zip(old);
    match objection.and_then(|(guard, old)| guard.objection(&old, text)) {
        None => Ok(()),
        Some(objection) => Err(Fault {
            message: format!("guard: {objection}; the old file stays in force"),
            hint: Some(format!(
                "if that is meant: confd --onetime --accept-loss --resource {}",
                resource.name
            )),
        }),
    }
}

/// Keeps what stands there. Without a copy there is nothing to go back to, which is no reason to stop.
pub(super) fn keep(disk: &dyn Disk, generations: &Generations, path: &Path) -> Option<ContentHash> {
    let content = disk.read(path).ok()?;
    let hash = ContentHash::of(&content);
    match generations.keep(hash, &content) {
        Ok(()) => Some(hash),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no copy kept to go back to");
            None
        }
    }
}

/// Puts a copy in place; true if it stood there already.
pub(crate) fn restore(
    disk: &dyn Disk,
    generations: &Generations,
    resource: &Resource,
    content: ContentHash,
    before: impl FnOnce(),
) -> Result<bool, Fault> {
    let content = generations.content(content).map_err(|error| Fault {
        message: format!("the copy of the last good content cannot be read: {error}"),
        hint: None,
    })?;
    match files::stage(disk, resource, &content)? {
        Staging::Same => Ok(true),
        Staging::Staged(staged) => {
            before();
            Ok(files::replace(disk, &staged).map(|_| false)?)
        }
    }
}
