//! How a command ends when it fails: a line on stderr that begins with `Error:`, perhaps a hint, and one of etcdctl's
//! exit statuses, which scripts tell failures apart by.

use std::error::Error;
use std::process::ExitCode;

use store_utl::Exit;
use tonic::Status;

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    line: Option<String>,
    hint: Option<String>,
    status: u8,
    /// Whether the same may go well a little later.
    may_pass: bool,
}

impl Failure {
    fn new(line: impl Into<String>, exit: Exit) -> Self {
        Self {
            line: Some(line.into()),
            hint: None,
            status: exit.status(),
            may_pass: false,
        }
    }

    /// The general failure.
    pub(crate) fn error(line: impl Into<String>) -> Self {
        Self::new(line, Exit::Error)
    }

    /// It was told line by line already.
    pub(crate) fn told() -> Self {
        Self {
            line: None,
            hint: None,
            status: Exit::Error.status(),
            may_pass: false,
        }
    }

    /// The same, ending otherwise.
    pub(crate) const fn ending(mut self, exit: Exit) -> Self {
        self.status = exit.status();
        self
    }

    /// A stream broke.
    pub(crate) fn bad_connection(line: impl Into<String>) -> Self {
        Self::new(line, Exit::BadConnection)
    }

    /// What was typed in makes no sense.
    pub(crate) fn invalid_input(line: impl Into<String>) -> Self {
        Self::new(line, Exit::InvalidInput)
    }

    /// Not supported.
    pub(crate) fn bad_feature(line: impl Into<String>) -> Self {
        Self::new(line, Exit::BadFeature)
    }

    /// The server ended it.
    pub(crate) fn interrupted(line: impl Into<String>) -> Self {
        Self::new(line, Exit::Interrupted)
    }

    /// Reading or writing failed.
    pub(crate) fn io(line: impl Into<String>) -> Self {
        Self::new(line, Exit::Io)
    }

    /// Wrong arguments.
    pub(crate) fn bad_arguments(line: impl Into<String>) -> Self {
        Self::new(line, Exit::BadArguments)
    }

    /// Something that may go well a little later.
    pub(crate) fn passing(line: impl Into<String>) -> Self {
        Self::error(line).that_may_pass()
    }

    /// The same, as something that may go well a little later.
    pub(crate) fn that_may_pass(mut self) -> Self {
        self.may_pass = true;
        self
    }

    /// Whether the same may go well a little later.
    pub(crate) const fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// A command that was run failed: with its own exit status.
    pub(crate) fn of_command(line: impl Into<String>, status: u8) -> Self {
        Self {
            status,
            ..Self::error(line)
        }
    }

    /// Said to be why something larger failed.
    pub(crate) fn because(mut self, what: &str) -> Self {
        self.line = self.line.map(|line| format!("{what} ({line})"));
        self
    }

    /// With what to look at.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With its hint, in one line.
    pub(crate) fn whole(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{self} ({hint})"),
            None => self.to_string(),
        }
    }

    /// Prints it and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        if let Some(line) = &self.line {
            eprintln!("Error: {line}");
        }
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(self.status)
    }
}

impl From<store_utl::Failure> for Failure {
    fn from(failure: store_utl::Failure) -> Self {
        Self {
            line: Some(failure.line),
            hint: failure.hint,
            status: failure.exit.status(),
            may_pass: false,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let failure = Self::error(status.message());
        // What a server answers has no cause; a connection that breaks has, and its own text says little.
        let mut last = status.source();
        while let Some(deeper) = last.and_then(Error::source) {
            last = Some(deeper);
        }
        match last {
            Some(cause) => failure.hint(format!(
                "{cause}: look at --endpoints, and whether what listens there is a store that is spoken to so (https://)"
            )),
            None => failure,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.line.as_deref().unwrap_or_default())
    }
}
