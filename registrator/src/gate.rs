//! [pure] The gate between a container that runs and one that is registered: what the engine's own
//! health check (`HEALTHCHECK`) has to say first. A container without one has nothing to wait for.
//! Knows no ports and no layouts; it says which state the container's records are in.

use std::fmt;
use std::str::FromStr;

use registrator_catalog::record::State;

use crate::container::{Container, Health};
use crate::span;

/// What is done about a health check, and how long a check that has not decided is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// What is done.
    pub policy: Policy,
    /// Milliseconds after its start at which a container whose check has neither passed nor failed
    /// is taken for healthy; `None` waits as long as the engine does. The engine's first check is
    /// only due after one interval, 30 s unless the image says otherwise.
    pub timeout_ms: Option<u64>,
}

/// What is done about a health check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    Off,
    /// Registered only while it is healthy. The default: nobody writes a health check to have it
    /// ignored, and no consumer has to know about states.
    #[default]
    Wait,
    /// Registered at once, with the check's result as state. Layouts without states hold it only
    /// while it is healthy.
    Mark,
}

/// Label with a policy for one container.
const POLICY_LABEL: &str = "muster.gate";
/// Label with a time for one container, such as `10s`.
const TIMEOUT_LABEL: &str = "muster.gate.timeout";

/// What the gate says at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// State of the container's records.
    pub state: State,
    /// Why there should be no records at all, if so.
    pub closed: Option<&'static str>,
    /// In how many milliseconds the answer may be another one without anything having happened.
    pub again_ms: Option<u64>,
    /// Labels that cannot be read, for which the agent's own settings hold.
    pub warnings: Vec<String>,
}

impl Gate {
    /// What is done about checks of `container`.
    #[must_use]
    pub fn policy_of(self, container: &Container) -> Policy {
        let label = container.labels.get(POLICY_LABEL);
        label
            .and_then(|text| text.parse().ok())
            .unwrap_or(self.policy)
    }

    /// What this gate, or the one in the container's labels, says at `now_nanos` (since 1970).
    #[must_use]
    pub fn ask(mut self, container: &Container, now_nanos: i64) -> Passage {
        let mut warnings = Vec::new();
        if let Some(text) = container.labels.get(POLICY_LABEL) {
            match text.parse() {
                Ok(policy) => self.policy = policy,
                Err(Unknown) => warnings.push(format!(
                    "label {POLICY_LABEL}: {text:?} is not off, wait or mark; the agent's {} holds",
                    self.policy
                )),
            }
        }
        if let Some(text) = container.labels.get(TIMEOUT_LABEL) {
            match span::parse_ms(text) {
                Some(ms) => self.timeout_ms = Some(ms),
                None => warnings.push(format!(
                    "label {TIMEOUT_LABEL}: {text:?} is not a time such as 10s"
                )),
            }
        }
        let mut passage = Passage {
            state: State::Up,
            closed: None,
            again_ms: None,
            warnings,
        };
        let Some(health) = container.health.filter(|_| self.policy != Policy::Off) else {
            return passage;
        };
        match health {
            Health::Healthy => {}
            Health::Unhealthy => {
                passage.state = State::Down;
                passage.closed = Some("its health check fails");
            }
            Health::Starting => {
                let left_ms = self.timeout_ms.map(|timeout_ms| {
                    let ran =
                        now_nanos.saturating_sub(container.started_nanos.unwrap_or(now_nanos));
                    timeout_ms.saturating_sub(u64::try_from(ran / 1_000_000).unwrap_or(0))
                });
                if left_ms != Some(0) {
                    passage.state = State::Starting;
                    passage.closed = Some("its health check has not passed yet");
                    passage.again_ms = left_ms;
                }
            }
        }
        if self.policy == Policy::Mark {
            passage.closed = None;
        }
        passage
    }
}

/// A text that names no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl FromStr for Policy {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        match text.trim() {
            "off" => Ok(Self::Off),
            "wait" => Ok(Self::Wait),
            "mark" => Ok(Self::Mark),
            _ => Err(Unknown),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Wait => "wait",
            Self::Mark => "mark",
        })
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
