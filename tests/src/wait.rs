//! Waiting for a state: polls a probe until it holds or a deadline passes, then fails with what was last seen. The only
//! place where tests and demo sleep.

use std::time::{Duration, Instant};

/// 10 ms: short against everything waited for, long against a probe's cost.
const POLL: Duration = Duration::from_millis(10);

/// 20 s: many times what anything here takes on an idle machine, so that only a fault or a hang reaches it.
pub const LONG: Duration = Duration::from_secs(20);

/// Calls `probe` until it gives a value. An `Err` is the state seen instead, kept for the diagnosis.
///
/// # Errors
/// When `deadline` passes: what was waited for, how long, and the state last seen.
pub fn try_until<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if start.elapsed() >= deadline => {
                return Err(format!(
                    "waited {:.1} s for: {what}\nlast seen: {seen}",
                    start.elapsed().as_secs_f64()
                ));
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// [`try_until`] for tests.
///
/// # Panics
/// When the deadline passes.
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, probe: impl FnMut() -> Result<T, String>) -> T {
    match try_until(what, deadline, probe) {
        Ok(value) => value,
        Err(diagnosis) => panic!("{diagnosis}"),
    }
}

/// Checks for a while that a state does not change: for what must *not* happen, where there is nothing to wait for.
///
/// # Panics
/// When `probe` says how it changed.
#[track_caller]
pub fn stays(what: &str, span: Duration, mut probe: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while start.elapsed() < span {
        if let Err(seen) = probe() {
            panic!(
                "for {:.1} s it held, then no longer: {what}\nseen: {seen}",
                start.elapsed().as_secs_f64()
            );
        }
        std::thread::sleep(POLL);
    }
}
