//! Clients that write all the time while something is done to the store, and remember what was acknowledged.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::etcdctl::Etcdctl;
use crate::wait;

/// Writes that must come through after the change: enough that each writer has met what is left.
const AFTER: usize = 10;

/// A client that waits for whatever the member says: the members give up first, after seven seconds.
const PATIENT: &str = "--command-timeout=30s";

/// What became of the writes.
#[derive(Debug, Default)]
pub struct Written {
    /// Keys whose write was acknowledged.
    pub acknowledged: BTreeSet<String>,
    /// What was said about the others, of which it is unknown what became of them.
    pub failed: Vec<String>,
}

/// Has each client put one key after the other, `<writer>/<number>`, while `change` runs, and for a little longer.
///
/// # Panics
/// When `change` does, or no more writes come through after it.
pub fn under_load(clients: &[Etcdctl], change: impl FnOnce()) -> Written {
    let stop = AtomicBool::new(false);
    let written = Mutex::new(Written::default());
    let lock = || written.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for (writer, client) in clients.iter().enumerate() {
            let (lock, stop) = (&lock, &stop);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{writer}/{number:05}");
                    let put = client.try_run(&["put", PATIENT, &key, "x"]);
                    let mut written = lock();
                    match put {
                        Ok(_) => drop(written.acknowledged.insert(key)),
                        Err(said) => written.failed.push(said),
                    }
                }
            });
        }
        // The writers must end in any case.
        let changed = catch_unwind(AssertUnwindSafe(change)).map(|()| {
            let before = lock().acknowledged.len();
            wait::try_until("more writes after the change", wait::LONG, || {
                let more = lock().acknowledged.len() - before;
                if more >= AFTER {
                    Ok(())
                } else {
                    Err(format!("{more}"))
                }
            })
        });
        stop.store(true, Ordering::Relaxed);
        match changed {
            Ok(Ok(())) => {}
            Ok(Err(diagnosis)) => panic!("{diagnosis}"),
            Err(panic) => resume_unwind(panic),
        }
    });
    written.into_inner().unwrap_or_else(PoisonError::into_inner)
}
