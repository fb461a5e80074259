//! What was found about one thing, and how it is shown: a line each, as `registrator doctor` shows its own.

use serde_json::{Value, json};

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// As it should be.
    Fine,
    /// Not looked at, because something needed for it was not given.
    Skipped,
    /// It works, and will not for ever or not well.
    Warning,
    /// It does not work, or is about to stop.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was looked at, one word.
    pub(crate) what: &'static str,
    /// How it is.
    pub(crate) state: State,
    /// What was seen.
    pub(crate) detail: String,
    /// What to do; empty where there is nothing.
    pub(crate) advice: String,
}

impl Finding {
    fn new(what: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self {
            what,
            state,
            detail: detail.into(),
            advice: String::new(),
        }
    }

    /// It is as it should be.
    pub(crate) fn fine(what: &'static str, detail: impl Into<String>) -> Self {
        Self::new(what, State::Fine, detail)
    }

    /// It was not looked at; `detail` says why.
    pub(crate) fn skipped(what: &'static str, detail: impl Into<String>) -> Self {
        Self::new(what, State::Skipped, detail)
    }

    /// It is not as it should be; `advice` is what to do.
    pub(crate) fn warning(
        what: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(what, State::Warning, detail).advise(advice)
    }

    /// It does not work; `advice` is what to do.
    pub(crate) fn wrong(
        what: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(what, State::Wrong, detail).advise(advice)
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let state = match self.state {
            State::Fine => "ok",
            State::Skipped => "skipped",
            State::Warning => "warning",
            State::Wrong => "wrong",
        };
        json!({
            "what": self.what,
            "ok": self.state <= State::Skipped,
            "state": state,
            "detail": self.detail,
            "advice": self.advice,
        })
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            State::Fine => "ok",
            State::Skipped => "-",
            State::Warning => "WARN",
            State::Wrong => "WRONG",
        };
        writeln!(formatter, "{state:<6} {:<12} {}", self.what, self.detail)?;
        if !self.advice.is_empty() {
            writeln!(formatter, "{:<19} → {}", "", self.advice)?;
        }
        Ok(())
    }
}

/// A number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / *size as f64),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_advice_another() {
        let fine = Finding::fine("disk", "fast");
        assert_eq!(fine.to_string(), "ok     disk         fast\n");
        let wrong = Finding::wrong("quota", "full", "delete something");
        assert_eq!(
            wrong.to_string(),
            "WRONG  quota        full\n                    → delete something\n"
        );
        assert_eq!(wrong.to_json()["ok"], false);
        assert_eq!(Finding::skipped("x", "y").to_json()["ok"], true);
    }

    #[test]
    fn bytes_have_a_unit() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(2 << 30), "2.0 GiB");
    }
}
