//! The state of authentication as of the last turn of the driver, for those that must not wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use store_machine::auth::Auth;

/// Written by the driver, before the replies of the turn in which it changed; read by everybody.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The same as in `current`, to be had without a lock.
    enabled: AtomicBool,
    current: RwLock<Arc<Auth>>,
}

impl View {
    /// Whether anybody asks who calls. All that a call costs while nobody does.
    pub(crate) fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// The state.
    pub(crate) fn current(&self) -> Arc<Auth> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new state.
    pub(crate) fn set(&self, auth: &Arc<Auth>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(auth);
        self.enabled.store(auth.enabled(), Ordering::Relaxed);
    }
}
