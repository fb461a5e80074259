//! Copies of good content, taken before it goes and put back when it is wanted again.

use std::io;

use super::staging;
use crate::agent::Fault;
use crate::bundle::bundle;
use crate::disk::Disk;
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
pub(super) fn keep(
    disk: &dyn Disk,
    generations: &Generations,
    resource: &Resource,
) -> Option<ContentHash> {
    let content = in_place(disk, resource)?;
    let hash = ContentHash::of(&content);
    match generations.keep(hash, &content) {
        Ok(()) => Some(hash),
        Err(error) => {
            let path = resource.dest.display();
            tracing::warn!(%path, %error, "no copy kept to go back to");
            None
        }
    }
}

/// What stands there, of a set as one text; `None` where nothing does, or something that cannot be kept.
fn in_place(disk: &dyn Disk, resource: &Resource) -> Option<Vec<u8>> {
    if !resource.is_set() {
        return disk.read(&resource.dest).ok();
    }
    let mut texts = Vec::new();
    for part in &resource.files {
        texts.push(match disk.read(&part.dest) {
            Ok(content) => Some(String::from_utf8(content).ok()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => return None,
        });
    }
    if texts.iter().all(Option::is_none) {
        return None;
    }
    let dests = resource.files.iter().map(|part| part.dest.as_path());
    let texts = texts.iter().map(Option::as_deref);
    Some(bundle(dests.zip(texts)).into_bytes())
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
    staging::restore(disk, resource, &content, before)
}
