//! Tells systemd how the agent is doing (`Type=notify`, `WatchdogSec=`), by sd_notify(3); nobody without systemd.
//!
//! The agent counts as started as soon as it runs, whether the store is there or not: what systemd starts after it
//! must not wait for a store that is away.

use sd_notify::NotifyState;
use tokio::time::Interval;

use crate::{Agent, Status};

/// Twice within the time that systemd waits, as its documentation asks for.
const SIGNS_PER_PATIENCE: u32 = 2;

/// For as long as it is polled.
pub(crate) async fn keep(agent: &Agent) {
    tell(&[NotifyState::Ready]);
    let mut signs = sd_notify::watchdog_enabled()
        .map(|patience| tokio::time::interval(patience / SIGNS_PER_PATIENCE));
    let mut status = agent.status();
    let mut said = String::new();
    loop {
        let line = line(&status.borrow_and_update());
        if line != said {
            tell(&[NotifyState::Status(&line)]);
            said = line;
        }
        tokio::select! {
            // A newer picture stays pending until taken.
            Ok(()) = status.changed() => {}
            // A tick that is due stays due.
            () = due(&mut signs) => if agent.answers().await {
                tell(&[NotifyState::Watchdog]);
            }
        }
    }
}

/// The agent as one line.
fn line(status: &Status) -> String {
    match &status.faults[..] {
        [] if status.is_ready() => format!("{} containers registered", status.containers),
        [] => "waiting for engine and store".to_owned(),
        [fault, ..] => format!("{} faults, the first: {}", status.faults.len(), fault.text),
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// The next sign of life; never, where nobody wants one.
async fn due(signs: &mut Option<Interval>) {
    match signs {
        Some(signs) => _ = signs.tick().await,
        None => std::future::pending().await,
    }
}
