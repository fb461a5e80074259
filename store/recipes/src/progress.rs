//! How a task stands. The keys of a task:
//! ```text
//!   <prefix>/<task>/worker    who works on it, under the worker's lease: gone when it is
//!   <prefix>/<task>/report    what it said last, which outlives it
//! ```

use serde::{Deserialize, Serialize};

/// What a worker said last. Its JSON form is the value of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What it has said of its end, if it has come to one.
    pub state: Said,
    /// How far it is, in its own words.
    pub progress: String,
    /// Who it is.
    pub worker: String,
    /// Create revision of its worker key: what tells one life of a worker from the next, and fences what it writes.
    pub token: i64,
}

/// What a worker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// It works.
    Running,
    /// It came to a good end.
    Done,
    /// It came to a bad one.
    Failed,
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has begun.
    Waiting,
    /// Its worker is alive.
    Running,
    /// Done.
    Done,
    /// Its worker gave up.
    Failed,
    /// Its worker said that it works and is gone.
    Lost,
}

impl Stage {
    /// The word for people and scripts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }
}

impl Report {
    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of texts and numbers always has one.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads one; `None` when it is none.
    #[must_use]
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// How a task stands, given what was said last, and the create revision of the worker key if there is one.
#[must_use]
pub fn stage(report: Option<&Report>, worker: Option<i64>) -> Stage {
    match (report, worker) {
        // Somebody works on it, whatever the one before has said.
        (None, Some(_)) => Stage::Running,
        (Some(report), Some(token)) if report.token != token => Stage::Running,
        (None, None) => Stage::Waiting,
        (Some(report), worker) => match (report.state, worker) {
            (Said::Done, _) => Stage::Done,
            (Said::Failed, _) => Stage::Failed,
            (Said::Running, Some(_)) => Stage::Running,
            (Said::Running, None) => Stage::Lost,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_task_stands() {
        let report = |state| Report {
            state,
            progress: "half".into(),
            worker: "a:1".into(),
            token: 7,
        };
        for (said, worker, wanted) in [
            (None, None, Stage::Waiting),
            (None, Some(7), Stage::Running),
            (Some(Said::Running), Some(7), Stage::Running),
            (Some(Said::Running), None, Stage::Lost),
            (Some(Said::Done), None, Stage::Done),
            (Some(Said::Done), Some(7), Stage::Done),
            (Some(Said::Failed), None, Stage::Failed),
            // The next worker has not said anything yet.
            (Some(Said::Running), Some(9), Stage::Running),
            (Some(Said::Done), Some(9), Stage::Running),
        ] {
            assert_eq!(
                stage(said.map(report).as_ref(), worker),
                wanted,
                "{said:?} {worker:?}"
            );
        }
        let json = report(Said::Done).to_json();
        assert_eq!(
            json,
            r#"{"state":"done","progress":"half","worker":"a:1","token":7}"#
        );
        assert_eq!(Report::from_json(json.as_bytes()), Some(report(Said::Done)));
        assert_eq!(Report::from_json(b"half"), None);
    }
}
