//! How the program ends when it fails: one line saying what and where, one with a hint, and an exit status that scripts
//! can rely on. The statuses stand in one table, [`STATUSES`], which `muster --help` prints.

use std::error::Error;
use std::process::ExitCode;

use store_server::fatal::Exit;

/// The program did what it was asked to do.
pub(crate) const DONE: u8 = 0;
/// It could not; the message says why.
const FAILED: u8 = 1;
/// It did not understand what it was asked to do; clap's status for the same.
const USAGE: u8 = 2;
/// The member was removed from its cluster.
const REMOVED: u8 = Exit::Removed as u8;
/// The store broke a promise of its own design.
const INVARIANT: u8 = Exit::Invariant as u8;
/// The store's disk failed a write or a sync.
const DISK_FAILED: u8 = Exit::DiskFailed as u8;
/// A second Ctrl-C or SIGTERM cut the shutdown short; the shell's status for an interrupted program.
pub(crate) const FORCED: u8 = 130;

/// Every exit status, with its meaning.
pub(crate) const STATUSES: &[(u8, &str)] = &[
    (
        DONE,
        "done; after SIGTERM or Ctrl-C: everything was drained and stopped in order",
    ),
    (
        FAILED,
        "failed: the error line says what, the hint what to do",
    ),
    (
        USAGE,
        "wrong usage: unknown command or flag, or a value that cannot be",
    ),
    (
        REMOVED,
        "the store was removed from its cluster and stopped",
    ),
    (
        INVARIANT,
        "the store found itself broken and stopped: please report what it logged",
    ),
    (
        DISK_FAILED,
        "the store's disk failed a write or a sync; nothing acknowledged is lost",
    ),
    (FORCED, "a second Ctrl-C or SIGTERM cut the shutdown short"),
];

/// A failure as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    line: String,
    hint: Option<String>,
    status: u8,
}

impl Failure {
    /// Something did not work.
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            hint: None,
            status: FAILED,
        }
    }

    /// What was asked cannot be.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            hint: None,
            status: USAGE,
        }
    }

    /// An error with its causes, in one line.
    pub(crate) fn of(error: &dyn Error) -> Self {
        let mut line = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            // Some libraries repeat their cause in their own text.
            if !line.contains(&text) {
                line = format!("{line}: {text}");
            }
            cause = inner.source();
        }
        Self::new(line.replace('\n', " "))
    }

    /// With what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what to do about it, if that is known.
    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Prints it and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("error: {}", self.line);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(self.status)
    }
}
