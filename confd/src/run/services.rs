//! What a pass has to do with the service behind a file: check the staged file, tell it of the new one, see that it took it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::Fault;
use crate::command::{self, CommandError};
use crate::drivers;
use crate::resource::Resource;

/// What a step came to, and what a failed command said.
pub(crate) type Outcome = (Result<(), Fault>, String);

async fn run(what: &'static str, command: &str, limit: Duration) -> Outcome {
    let result = command::run(what, command, limit).await;
    let said = result.as_ref().err().map(CommandError::output);
    let output = said.unwrap_or_default().to_owned();
    (result.map_err(Fault::from), output)
}

const DONE: Outcome = (Ok(()), String::new());

/// Runs `check_cmd` on the staged file.
pub(crate) async fn check(resource: &Resource, staged: &Path) -> Outcome {
    let Some(command) = &resource.check_cmd else {
        return DONE;
    };
    let command = command::expand(command, staged, &resource.dest);
    run("check_cmd", &command, resource.check_cmd_timeout).await
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

/// Sees that the service runs on what is in place.
pub(crate) async fn verify(resource: &Resource) -> Outcome {
    if let Some(command) = &resource.verify_cmd {
        let command = command::expand(command, &resource.dest, &resource.dest);
        let outcome = run("verify_cmd", &command, resource.reload_cmd_timeout).await;
        if outcome.0.is_err() {
            return outcome;
        }
    }
    match &resource.verify_url {
        Some(url) => (drivers::verify(resource, url).await, String::new()),
        None => DONE,
    }
}
