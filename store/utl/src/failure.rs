//! How a command ends when it fails: a line on stderr that begins with `Error:`, perhaps a hint, and etcdutl's exit
//! status.

use std::error::Error;
use std::process::ExitCode;

use crate::exit::Exit;

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What and where.
    pub line: String,
    /// What to do.
    pub hint: Option<String>,
    /// How the command ends.
    pub exit: Exit,
}

impl Failure {
    pub(crate) fn error(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            hint: None,
            exit: Exit::Error,
        }
    }

    pub(crate) fn bad_arguments(line: impl Into<String>) -> Self {
        Self {
            exit: Exit::BadArguments,
            ..Self::error(line)
        }
    }

    pub(crate) fn bad_feature(line: impl Into<String>) -> Self {
        Self {
            exit: Exit::BadFeature,
            ..Self::error(line)
        }
    }

    /// An error with its causes, after what was being done.
    pub(crate) fn of(doing: &str, error: &dyn Error) -> Self {
        let mut line = format!("{doing}: {error}");
        let mut cause = error.source();
        while let Some(inner) = cause {
            line = format!("{line}: {inner}");
            cause = inner.source();
        }
        Self::error(line)
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
    #[must_use]
    pub fn report(&self) -> ExitCode {
        eprintln!("Error: {}", self.line);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(self.exit.status())
    }
}
