//! What a pass does with the text of a resource until its files are in place: of a single file, or of a set, whose files
//! are rendered, staged and put in place together.

use std::sync::Arc;

use store_client::mirror::Snapshot;

use super::copies::guarded;
use crate::agent::{Fault, Output};
use crate::bundle;
use crate::confdir::Unit;
use crate::disk::Disk;
use crate::engine::Globals;
use crate::files::{self, FileError, Staged, Staging};
use crate::render::render;
use crate::resource::Resource;
use crate::switch;

/// Renders all files from one snapshot. There is no text unless there is one of each.
pub(crate) fn render_all(unit: &Unit, snapshot: &Snapshot, globals: &Globals) -> Output {
    if unit.files.is_empty() {
        return render(&unit.resource, &*unit.template, snapshot.clone(), globals);
    }
    let mut whole = Output {
        result: Ok("".into()),
        reads: Default::default(),
        notes: Vec::new(),
        waits_for: None,
    };
    let mut texts: Vec<Arc<str>> = Vec::new();
    for part in &unit.files {
        let output = render(&part.resource, &*part.template, snapshot.clone(), globals);
        // All of it, whether or not there is a text: what one file has read wakes the set.
        whole.reads.join(output.reads);
        whole.notes.extend(output.notes);
        whole.waits_for = whole.waits_for.or(output.waits_for);
        match output.result {
            Ok(text) => texts.push(text),
            Err(fault) if whole.result.is_ok() => whole.result = Err(fault),
            Err(_) => {}
        }
    }
    if whole.result.is_ok() {
        let dests = unit.files.iter().map(|part| part.resource.dest.as_path());
        let texts = texts.iter().map(|text| Some(&**text));
        whole.result = Ok(bundle::bundle(dests.zip(texts)).into());
    }
    whole
}

fn no_content() -> Fault {
    Fault {
        message: "this is the content of other files".to_owned(),
        hint: None,
    }
}

/// Stages the files that are not as they shall be; none of them if one cannot be. A guard is asked first, unless what is
/// lost was accepted.
pub(crate) fn stage(
    disk: &dyn Disk,
    resource: &Resource,
    text: &str,
    is_guarded: bool,
) -> Result<Vec<Staged>, Fault> {
    let parts = bundle::split(resource, text).ok_or_else(no_content)?;
    if resource.is_set() {
        switch::heal(disk, resource)?;
    }
    let mut staged = Vec::new();
    for (part, text) in parts {
        // What is not to stand there is only ever gone back to, see `restore`.
        let text = text.unwrap_or_default();
        let one = match is_guarded {
            true => guarded(disk, part, &text),
            false => Ok(()),
        };
        let one = one.and_then(|()| Ok(files::stage(disk, part, text.as_bytes())?));
        match one {
            Ok(Staging::Same) => {}
            Ok(Staging::Staged(one)) => staged.push(one),
            Err(fault) => {
                staged.iter().for_each(|one| files::discard(disk, one));
                return Err(fault);
            }
        }
    }
    Ok(staged)
}

/// Puts what was staged in place: all of it, or nothing.
///
/// # Errors
/// As [`files::replace`] and [`switch::all`].
pub(crate) fn replace(
    disk: &dyn Disk,
    resource: &Resource,
    staged: &[Staged],
) -> Result<Vec<String>, FileError> {
    match staged {
        _ if resource.is_set() => switch::all(disk, resource, staged),
        [one] => files::replace(disk, one),
        _ => Ok(Vec::new()),
    }
}

/// Puts older content in place, of a text of the whole; true if all of it stood there already.
pub(crate) fn restore(
    disk: &dyn Disk,
    resource: &Resource,
    content: &[u8],
    before: impl FnOnce(),
) -> Result<bool, Fault> {
    if !resource.is_set() {
        return match files::stage(disk, resource, content)? {
            Staging::Same => Ok(true),
            Staging::Staged(staged) => {
                before();
                Ok(files::replace(disk, &staged).map(|_| false)?)
            }
        };
    }
    let text = std::str::from_utf8(content).map_err(|_| no_content())?;
    switch::heal(disk, resource)?;
    let (mut staged, mut unwanted) = (Vec::new(), Vec::new());
    for (part, text) in bundle::split(resource, text).ok_or_else(no_content)? {
        match text {
            Some(text) => match files::stage(disk, part, text.as_bytes())? {
                Staging::Same => {}
                Staging::Staged(one) => staged.push(one),
            },
            None if files::is_gone(disk, &part.dest)? => {}
            None => unwanted.push(&part.dest),
        }
    }
    if staged.is_empty() && unwanted.is_empty() {
        return Ok(true);
    }
    before();
    switch::all(disk, resource, &staged)?;
    for dest in unwanted {
        files::remove(disk, dest)?;
    }
    Ok(false)
}
