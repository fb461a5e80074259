//! Clients that write all the time while something is done to the store, and remember what was acknowledged.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::etcdctl::Etcdctl;
use crate::wait;

/// Writes that must come through after the change: enough that each writer has met what is left.
const AFTER: usize = 10;

/// Has each client put one key after the other, `<writer>/<number>`, while `change` runs, and for a little longer;
/// every key whose write was acknowledged. What became of a write that failed is unknown.
///
/// # Panics
/// When `change` does, or no more writes come through after it.
pub fn under_load(clients: &[Etcdctl], change: impl FnOnce()) -> BTreeSet<String> {
    let stop = AtomicBool::new(false);
    let acknowledged = Mutex::new(BTreeSet::new());
    let lock = || acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for (writer, client) in clients.iter().enumerate() {
            let (lock, stop) = (&lock, &stop);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{writer}/{number:05}");
                    if client.try_run(&["put", &key, "x"]).is_ok() {
                        lock().insert(key);
                    }
                }
            });
        }
        // The writers must end in any case.
        let changed = catch_unwind(AssertUnwindSafe(change)).map(|()| {
            let before = lock().len();
            wait::try_until("more writes after the change", wait::LONG, || {
                let more = lock().len() - before;
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
    acknowledged
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}
