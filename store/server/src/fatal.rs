//! Ends of the process that nothing can be done about, each with its own exit status.

use std::error::Error;
use std::fmt::Write as _;

/// Why the process ends. The value is the exit status; the operator page lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// This member has been removed from its cluster (`EX_UNAVAILABLE`): starting it again is of no
    /// use.
    Removed = 69,
    /// A promise of the design is broken (`EX_SOFTWARE`): please report it.
    Invariant = 70,
    /// The log or a snapshot could not be written or synced (`EX_IOERR`). What is on disk is
    /// unknown until the folder is opened anew, so the process must not go on.
    DiskFailed = 74,
}

impl Exit {
    /// Logs the error with its causes and a hint, and ends the process.
    pub fn end(self, error: &dyn Error, hint: Option<&str>) -> ! {
        self.end_because(&format!("failed to {}", chain(error)), hint)
    }

    /// As [`Exit::end`], where nothing has failed.
    pub(crate) fn end_because(self, reason: &str, hint: Option<&str>) -> ! {
        tracing::error!(status = self as i32, hint, "the store ends: {reason}");
        std::process::exit(self as i32)
    }
}

/// The error and its causes, outermost first, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string does not fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// Ends the process when the thread that holds it panics: a store without its driver or disk
/// thread would accept requests and answer none.
pub(crate) struct EndsWithThread(pub(crate) &'static str);

impl Drop for EndsWithThread {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                status = Exit::Invariant as i32,
                "the store ends: its {} thread panicked",
                self.0
            );
            std::process::exit(Exit::Invariant as i32);
        }
    }
}
