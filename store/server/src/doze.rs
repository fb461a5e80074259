//! How driver and disk thread sleep while their queue is empty.

use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::Instant;

/// Waits once for `wake`, at most until the moment given; `None` waits without end. True when the
/// moment had come before: there was nothing to wait for. May wake for no reason, so look again.
pub(crate) fn doze<'a, T>(
    wake: &Condvar,
    state: MutexGuard<'a, T>,
    until: Option<Instant>,
) -> (MutexGuard<'a, T>, bool) {
    let Some(until) = until else {
        let state = wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        return (state, false);
    };
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return (state, true);
    }
    let (state, _) = wake
        .wait_timeout(state, left)
        .unwrap_or_else(PoisonError::into_inner);
    (state, false)
}
