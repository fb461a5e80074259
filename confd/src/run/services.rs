//! What a pass has to do with the service behind a file: check the staged file, tell it of the new one, see that it took it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::Fault;
use crate::command::{self, CommandError};
use crate::drivers;
use crate::files::Staged;
use crate::render::is_hash;
use crate::resource::Resource;
use crate::switch;

/// What a step came to, and what a failed command said.
pub(crate) type Outcome = (Result<(), Fault>, String);

async fn run(what: &'static str, command: &str, limit: Duration) -> Outcome {
    let result = command::run(what, command, limit).await;
    let said = result.as_ref().err().map(CommandError::output);
    let output = said.unwrap_or_default().to_owned();
    (result.map_err(Fault::from), output)
}

const DONE: Outcome = (Ok(()), String::new());

/// Runs `check_cmd` on what is staged: that of each file, and that of the set.
pub(crate) async fn check(resource: &Resource, staged: &[Staged]) -> Outcome {
    if !resource.is_set() {
        let staged = staged.first().map(|one| one.path.as_path());
        return check_one(resource, staged.unwrap_or(&resource.dest), None).await;
    }
    let folder = switch::folder(resource);
    let outcome = match lay_out(resource, staged, &folder) {
        Ok(()) => check_set(resource, staged, &folder).await,
        Err(error) => {
            let fault = Fault {
                message: format!("lay out the set in {}: {error}", folder.display()),
                hint: None,
            };
            (Err(fault), String::new())
        }
    };
    // What stays is taken away before the next check.
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

async fn check_one(resource: &Resource, staged: &Path, set: Option<&Path>) -> Outcome {
    let Some(command) = &resource.check_cmd else {
        return DONE;
    };
    let command = command::expand_for_set(command, staged, &resource.dest, set);
    run("check_cmd", &command, resource.check_cmd_timeout).await
}

async fn check_set(resource: &Resource, staged: &[Staged], folder: &Path) -> Outcome {
    for part in resource.files.iter().chain([resource]) {
        let outcome = check_one(part, wanted(part, staged), Some(folder)).await;
        if outcome.0.is_err() {
            return outcome;
        }
    }
    DONE
}

/// The staged file, or the one in place if that is as it shall be.
fn wanted<'a>(part: &'a Resource, staged: &'a [Staged]) -> &'a Path {
    let found = staged.iter().find(|one| one.dest == part.dest);
    found.map_or(&part.dest, |one| &one.path)
}

/// Makes a folder in which each file of a set stands where it will stand below the root, as a link to what it will be.
fn lay_out(resource: &Resource, staged: &[Staged], folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for part in &resource.files {
        let place = folder.join(part.dest.strip_prefix("/").unwrap_or(&part.dest));
        std::fs::create_dir_all(place.parent().unwrap_or(folder))?;
        std::os::unix::fs::symlink(wanted(part, staged), place)?;
    }
    Ok(())
}

/// Tells the service; `running` is the content it is proven to run on.
pub(crate) async fn reload(resource: &Resource, running: Option<Arc<[u8]>>) -> Outcome {
    match (&resource.reload, &resource.reload_cmd) {
        (Some(driver), _) => {
            let result = drivers::reload(resource, driver, running).await;
            (result, String::new())
        }
        (None, Some(command)) => {
            // The staged file is in place by now, so both names mean the destination.
            let command = command::expand(command, &resource.dest, &resource.dest);
            run("reload_cmd", &command, resource.reload_cmd_timeout).await
        }
        (None, None) => DONE,
    }
}

/// Whether what a service says of its configuration stands in a file of the resource.
fn stands_there(resource: &Resource, answer: &str) -> bool {
    let hash = answer.trim();
    is_hash(hash)
        && resource.parts().iter().any(|part| {
            let text = std::fs::read_to_string(&part.dest);
            text.is_ok_and(|text| text.contains(hash))
        })
}

/// Sees that the service runs on what is in place.
pub(crate) async fn verify(resource: &Resource) -> Outcome {
    if let Some(command) = &resource.verify_cmd {
        let command = command::expand(command, &resource.dest, &resource.dest);
        let outcome = run("verify_cmd", &command, resource.reload_cmd_timeout).await;
        if outcome.0.is_err() {
            return outcome;
        }
    }
    let asked = async {
        if let Some(url) = &resource.verify_url {
            drivers::verify(resource, url, |_| true).await?;
        }
        if let Some(url) = &resource.verify_hash {
            drivers::verify(resource, url, |answer| stands_there(resource, answer)).await?;
        }
        Ok::<(), Fault>(())
    };
    (asked.await, String::new())
}
