//! A command that runs only while something holds. When that is lost, or this program is asked to end, it is told to end
//! too, and waited for.

use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Waits until somebody wants this program to end (SIGINT, SIGTERM). Safe to cancel.
pub(crate) async fn interrupted() {
    let of = |kind| signal(kind).ok();
    let (Some(mut int), Some(mut term)) =
        (of(SignalKind::interrupt()), of(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    // Both are safe to cancel: they only wait.
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}

/// Runs `words` with further variables until it ends, or `end` comes first: then it is told to end as well.
///
/// # Errors
/// It cannot be started, or ends badly; the exit status is its own then.
pub(crate) async fn run(
    words: &[String],
    variables: &[(&str, String)],
    end: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let [program, arguments @ ..] = words else {
        return Ok(());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::inherit())
        .spawn()
        .map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => Failure::error(format!(
                "exec: {program:?}: executable file not found in $PATH"
            )),
            _ => Failure::error(format!("exec: {program:?}: {cause}")),
        })?;
    // Safe to cancel: waiting for a child again continues.
    let status = tokio::select! {
        status = child.wait() => status,
        () = end => {
            tell_to_end(&child);
            child.wait().await
        }
    };
    let status =
        status.map_err(|cause| Failure::error(format!("wait for {program:?}: {cause}")))?;
    match ended(status) {
        None => Ok(()),
        Some((line, code)) => Err(Failure::of_command(line, code)),
    }
}

fn tell_to_end(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(id) = id.and_then(Pid::from_raw) {
        // One that has just ended needs no telling.
        let _ = kill_process(id, Signal::TERM);
    }
}

/// How a failure is told, and the exit status it gives.
fn ended(status: ExitStatus) -> Option<(String, u8)> {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some((
            format!("exit status {code}"),
            u8::try_from(code).unwrap_or(u8::MAX),
        )),
        (None, signal) => Some((format!("signal: {}", signal.unwrap_or_default()), u8::MAX)),
    }
}
