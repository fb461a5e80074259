//! Performs what `reload.rs` describes: tells the service, and comes back only when it has taken its file or when it is
//! known that it has not.

mod haproxy;
mod http;
mod process;

use std::sync::Arc;

pub(crate) use self::process::signal_number;
use crate::agent::Fault;
use crate::command;
use crate::reload::Driver;
use crate::resource::Resource;

/// Makes the service read its file. `running` is the content it is known to run on.
///
/// # Errors
/// It has not taken it, or it is not known that it has.
pub(crate) async fn reload(
    resource: &Resource,
    driver: &Driver,
    running: Option<Arc<[u8]>>,
) -> Result<(), Fault> {
    let limit = resource.reload_cmd_timeout;
    match tokio::time::timeout(limit, perform(resource, driver, running)).await {
        Ok(result) => result,
        Err(_) => Err(Fault {
            message: format!("the reload did not end within {limit:?}"),
            hint: Some("the service hangs, or needs a larger reload_cmd_timeout".to_owned()),
        }),
    }
}

async fn perform(
    resource: &Resource,
    driver: &Driver,
    running: Option<Arc<[u8]>>,
) -> Result<(), Fault> {
    match driver {
        Driver::Signal {
            pid_file,
            may_be_absent: true,
            ..
        } if process::is_blank(pid_file) => Ok(()),
        Driver::Signal {
            pid_file, signal, ..
        } => process::signal(pid_file, signal).map(drop),
        Driver::Systemd { unit, action } => process::systemd(unit, action, resource).await,
        Driver::Docker {
            label,
            action,
            socket,
        } => http::docker(label, action, socket).await,
        Driver::Http { url, method } => http::ask(method, url).await.map(drop),
        Driver::Nginx(settings) => process::nginx(settings, resource).await,
        Driver::HaproxyMaster { socket } => haproxy::master(socket).await,
        Driver::HaproxyRuntime { socket, master } => {
            let Err(reason) = haproxy::runtime(resource, socket, running.as_deref()).await else {
                return Ok(());
            };
            tracing::info!(resource = resource.name, "reload needed: {reason}");
            match (master, &resource.reload_cmd) {
                (Some(master), _) => haproxy::master(master).await,
                (None, Some(command)) => {
                    let command = command::expand(command, &resource.dest, &resource.dest);
                    let limit = resource.reload_cmd_timeout;
                    Ok(command::run("reload_cmd", &command, limit).await?)
                }
                // Refused where the resource is read.
                (None, None) => Err(fault("there is no way to reload haproxy")),
            }
        }
    }
}

/// Asks an address until it answers with a status of 200 to 299 and what is wanted, or the time limit of the resource is
/// over.
///
/// # Errors
/// What it said last.
pub(crate) async fn verify(
    resource: &Resource,
    url: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<(), Fault> {
    let mut last = fault("it was not asked");
    let asking = async {
        loop {
            match http::ask("GET", url).await {
                Ok(answer) if is_wanted(&answer) => return,
                Ok(answer) => {
                    let said: String = answer.trim().chars().take(SHOWN_CHARS_MAX).collect();
                    last = hinted(
                        format!("{url}: {said:?} does not stand in the file"),
                        "the service runs on an older one, or does not answer with config_hash()",
                    );
                }
                Err(fault) => last = fault,
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    match tokio::time::timeout(resource.reload_cmd_timeout, asking).await {
        Ok(()) => Ok(()),
        Err(_) => Err(last),
    }
}

/// What an address answers.
///
/// # Errors
/// It does not, or not with a status of 200 to 299.
pub(crate) async fn fetch(url: &str) -> Result<String, Fault> {
    http::ask("GET", url).await
}

/// Longest piece of an answer that is shown: a hash, and what is longer is none.
const SHOWN_CHARS_MAX: usize = 80;

/// Between two looks at a service that is on its way. 20 ms: a new generation of workers needs about that.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(20);

fn fault(message: impl Into<String>) -> Fault {
    Fault {
        message: message.into(),
        hint: None,
    }
}

fn hinted(message: impl Into<String>, hint: &str) -> Fault {
    Fault {
        message: message.into(),
        hint: Some(hint.to_owned()),
    }
}
