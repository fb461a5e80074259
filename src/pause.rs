//! `muster pause`: holds what other containers join (process numbers, a network), so that each of those can end and start
//! again by itself. As process 1 it takes in what is left of theirs. Knows nothing of any store.

use std::process::ExitCode;

use rustix::process::{WaitOptions, wait};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Waits until it is told to stop.
///
/// # Errors
/// Signals cannot be heard.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    let failed = |cause: std::io::Error| Failure::new(format!("hear signals: {cause}"));
    // One thread: it does nothing for years.
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(failed)?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut child = signal(SignalKind::child()).map_err(failed)?;
        loop {
            tokio::select! {
                // Safe to cancel, all three: a signal that was not received is kept for the next call.
                _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
                _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
                _ = child.recv() => while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {},
            }
        }
    })
}
