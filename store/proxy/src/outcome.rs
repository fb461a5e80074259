//! How the proxies end: the error line, a hint, the exit status; the signals that end them; and times as Go writes them.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::upstream::UpstreamError;

/// Why a proxy did not start.
#[derive(Debug)]
pub(crate) struct Outcome {
    line: String,
    hint: Option<String>,
}

impl Outcome {
    pub(crate) fn failed(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            hint: None,
        }
    }

    pub(crate) fn listen(address: &str, cause: &std::io::Error) -> Self {
        Self::failed(format!("failed to listen on {address}: {cause}"))
            .hint("another program may use it: choose another with --listen-addr")
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints it and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("error: {}", self.line);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::FAILURE
    }
}

impl From<UpstreamError> for Outcome {
    fn from(error: UpstreamError) -> Self {
        Self::failed(format!("failed to {}", chain(&error))).hint(error.hint())
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
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
    line
}

/// Waits for Ctrl-C or SIGTERM. Where signals cannot be heard, for ever: the system's own way ends the program then.
pub(crate) async fn stopped() {
    let heard = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate)] = heard else {
        return std::future::pending().await;
    };
    tokio::select! {
        // Safe to cancel, both: a signal that came stays pending.
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A length of time as Go writes it: `1m30s`, `500ms`; 0 needs no unit.
pub(crate) fn go_duration(text: &str) -> Result<Duration, String> {
    let invalid = |_| format!("{text:?} is no length of time, such as 30s or 1m30s");
    store_duration::parse(text).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_go_s() {
        for (text, ms) in [
            ("1m0s", 60_000),
            ("1.5s", 1500),
            ("300ms", 300),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(go_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["", "5", "s", "-1s", "1x", "1s2"] {
            assert!(go_duration(wrong).is_err(), "{wrong}");
        }
    }
}
