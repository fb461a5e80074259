//! `muster up`: the three parts on one machine in one process, with an embedded one-member store. Owns the order of
//! things: start, say so, show what changes, stop. What the parts are and how they are doing is `parts.rs`; how that is
//! shown is `board.rs`.

mod board;
mod parts;
mod settings;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{FORCED, Failure};
use crate::up::board::{Board, changes};
use crate::up::parts::Parts;
pub(crate) use crate::up::settings::Args;
use crate::up::settings::Settings;

/// 3 s: what is not ready by then is waiting for something (an engine, a store elsewhere), and the block says for what.
const READY: Duration = Duration::from_secs(3);
/// 100 ms: changes that come together are shown together, and a person sees them at once all the same.
const SETTLE: Duration = Duration::from_millis(100);

/// Runs until SIGTERM or Ctrl-C, then drains; a second one forces.
///
/// # Errors
/// What kept it from starting. Parts that had started are stopped again.
pub(crate) async fn run(args: &Args) -> Result<ExitCode, Failure> {
    let settings = Settings::checked(args)?;
    let mut signals = Signals::new()?;
    let began = Instant::now();
    let mut parts = tokio::select! {
        // Safe to cancel: the process ends, and what the store was recovering stays as it was.
        started = Parts::start(&settings) => started?,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    tokio::select! {
        // Safe to cancel: it only waits and prints.
        () = show(&mut parts, began) => {}
        () = signals.next() => {}
    }
    say("stopping (once more to force)");
    tokio::select! {
        () = parts.stop() => {
            say("stopped");
            Ok(ExitCode::SUCCESS)
        }
        // Cancelling the stop cuts clients and commands short; that is what a second signal asks for.
        () = signals.next() => Ok(ExitCode::from(FORCED)),
    }
}

/// Prints the block when everything is ready (or has had its time), and then what changes, for ever.
async fn show(parts: &mut Parts, began: Instant) {
    let mut shown = loop {
        let board = parts.board().await;
        if parts.ready() || began.elapsed() > READY {
            break board;
        }
        parts.changed().await;
    };
    let seconds = began.elapsed().as_secs_f64();
    say(&format!(
        "muster is up ({}, in {seconds:.1} s); Ctrl-C stops it\n{shown}",
        env!("CARGO_PKG_VERSION")
    ));
    // People get the whole block anew; a pipe or a log gets a line for each difference.
    let for_people = std::io::stdout().is_terminal();
    loop {
        parts.changed().await;
        tokio::time::sleep(SETTLE).await;
        let now = parts.board().await;
        if now != shown {
            if for_people {
                say(&format!("\n{now}"));
            } else {
                told(&shown, &now);
            }
            shown = now;
        }
    }
}

fn told(before: &Board, now: &Board) {
    for line in changes(before, now) {
        say(&line);
    }
}

/// Prints to stdout; nobody reading any more is no reason to stop.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{}", text.trim_end());
    let _ = out.flush();
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let hear = |kind| {
            signal(kind).map_err(|cause| Failure::new(format!("listen for signals: {cause}")))
        };
        Ok(Self {
            interrupt: hear(SignalKind::interrupt())?,
            terminate: hear(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of either. Safe to cancel: a signal that came stays pending.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
