//! [pure] The agent's own health checks: what a container's labels ask for, and what a row of answers means. Knows
//! neither clocks nor sockets; `agent` says when to ask, a shell asks.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use registrator_catalog::record::State;

use crate::span;

/// 10 s between two questions, the customary interval.
const INTERVAL_MS_DEFAULT: u64 = 10_000;
/// 5 s: who needs longer to answer a health check does not take traffic well either.
const TIMEOUT_MS_DEFAULT: u64 = 5_000;
/// 100 ms: below it the checks of a busy host cost more than its work.
const INTERVAL_MS_MIN: u64 = 100;
/// One answer is enough to come, three in a row without are enough to go.
const RISE_DEFAULT: u32 = 1;
const FALL_DEFAULT: u32 = 3;

/// One instance's check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Name of the instance, unique in the registry.
    pub instance: String,
    /// Its id in layouts that have ids of their own.
    pub id: String,
    /// Full id of the container.
    pub container: String,
    /// Which run of the container; another one starts from nothing.
    pub started_nanos: Option<i64>,
    /// Where the instance is reached.
    pub at: SocketAddr,
    /// What is asked, and how answers count.
    pub terms: Terms,
}

/// What is asked, and how answers count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The question.
    pub question: Question,
    /// Milliseconds between two questions.
    pub interval_ms: u64,
    /// Longest wait for an answer, in milliseconds.
    pub timeout_ms: u64,
    /// Good answers in a row after which it is up.
    pub rise: u32,
    /// Bad ones in a row after which it is down.
    pub fall: u32,
    /// Milliseconds after the container's start in which bad answers do not count.
    pub grace_ms: u64,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// GET of this path, over TLS or not; a status of 200 to 399 is good.
    Http {
        /// Whether over TLS; the certificate is not looked at, since it names no address.
        tls: bool,
        /// Path and query.
        path: String,
    },
    /// A connection that is accepted.
    Tcp,
    /// `grpc.health.v1.Health/Check` of this service, empty for the server as a whole.
    Grpc(String),
    /// A command inside the container that ends with 0.
    Exec(String),
    /// A command on the host that ends with 0, with `SERVICE_IP` and `SERVICE_PORT` in its environment.
    Script(String),
}

impl Question {
    /// The word for it in labels and records.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http { tls: false, .. } => "http",
            Self::Http { tls: true, .. } => "https",
            Self::Tcp => "tcp",
            Self::Grpc(_) => "grpc",
            Self::Exec(_) => "exec",
            Self::Script(_) => "script",
        }
    }
}

impl Terms {
    /// Reads the labels below `check.`; `None` when they ask nothing. What cannot be read is told in `faults`.
    #[must_use]
    pub fn read(
        labels: &BTreeMap<String, String>,
        scripts: bool,
        faults: &mut Vec<String>,
    ) -> Option<Self> {
        let mut questions = Vec::new();
        for (name, value) in labels {
            let value = value.trim();
            let path = || {
                if value.starts_with('/') {
                    value.to_owned()
                } else {
                    format!("/{value}")
                }
            };
            questions.push(match name.as_str() {
                "http" => Question::Http {
                    tls: false,
                    path: path(),
                },
                "https" => Question::Http {
                    tls: true,
                    path: path(),
                },
                "tcp" if crate::labels::boolean(value) == Some(false) => continue,
                "tcp" => Question::Tcp,
                "grpc" => Question::Grpc(value.trim_matches('/').to_owned()),
                "exec" => Question::Exec(value.to_owned()),
                "script" if scripts => Question::Script(value.to_owned()),
                "script" => {
                    faults.push(
                        "label check.script: scripts on the host need --allow-scripts".to_owned(),
                    );
                    continue;
                }
                _ => continue,
            });
        }
        if questions.len() > 1 {
            let names: Vec<&str> = questions.iter().map(Question::name).collect();
            faults.push(format!(
                "labels check.{}: one check per port, the first one counts",
                names.join(", check.")
            ));
        }
        let question = questions.into_iter().next()?;
        let mut time = |name: &str, default: u64, least: u64| {
            match labels.get(name) {
            None => default,
            Some(text) => span::parse_ms(text).filter(|ms| *ms >= least).unwrap_or_else(|| {
                faults.push(format!("label check.{name}: {text:?} is not a time such as 5s of at least {least} ms"));
                default
            }),
        }
        };
        let interval_ms = time("interval", INTERVAL_MS_DEFAULT, INTERVAL_MS_MIN);
        let timeout_ms = time("timeout", TIMEOUT_MS_DEFAULT, 1);
        let grace_ms = time("grace", 0, 0);
        let mut count = |name: &str, default: u32| match labels.get(name) {
            None => default,
            Some(text) => text
                .trim()
                .parse()
                .ok()
                .filter(|count| (1..=100).contains(count))
                .unwrap_or_else(|| {
                    faults.push(format!(
                        "label check.{name}: {text:?} is not a number from 1 to 100"
                    ));
                    default
                }),
        };
        Some(Self {
            question,
            interval_ms,
            timeout_ms,
            rise: count("rise", RISE_DEFAULT),
            fall: count("fall", FALL_DEFAULT),
            grace_ms,
        })
    }
}

/// What a check says, since when, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// [`State::Starting`] before there is a result, then up or down.
    pub state: State,
    /// Since when, RFC 3339.
    pub since: String,
    /// The last bad answer, empty without.
    pub why: String,
}

/// Findings by instance.
pub type Findings = BTreeMap<String, Finding>;

/// What a row of answers means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streak {
    state: State,
    good: u32,
    bad: u32,
}

impl Default for Streak {
    fn default() -> Self {
        Self {
            state: State::Starting,
            good: 0,
            bad: 0,
        }
    }
}

impl Streak {
    /// One that is already up: an earlier process of the agent found that.
    #[must_use]
    pub fn up() -> Self {
        Self {
            state: State::Up,
            ..Self::default()
        }
    }

    /// What it says.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an answer; bad ones do not count while `in_grace`. Whether the state changed.
    pub fn take(&mut self, good: bool, terms: &Terms, in_grace: bool) -> bool {
        let before = self.state;
        if good {
            self.good = self.good.saturating_add(1);
            self.bad = 0;
            if self.good >= terms.rise {
                self.state = State::Up;
            }
        } else {
            self.good = 0;
            if !in_grace || self.state == State::Up {
                self.bad = self.bad.saturating_add(1);
            }
            if self.bad >= terms.fall {
                self.state = State::Down;
            }
        }
        self.state != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], scripts: bool) -> (Option<Terms>, String) {
        let labels = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut faults = Vec::new();
        let terms = Terms::read(&labels, scripts, &mut faults);
        (terms, faults.join("; "))
    }

    #[test]
    fn labels_ask_for_checks() {
        let path = |tls, path: &str| Question::Http {
            tls,
            path: path.to_owned(),
        };
        for (name, value, want) in [
            ("http", "/up?x=1", Some(path(false, "/up?x=1"))),
            ("http", "up", Some(path(false, "/up"))),
            ("https", "/", Some(path(true, "/"))),
            ("tcp", "true", Some(Question::Tcp)),
            ("tcp", "false", None),
            (
                "grpc",
                "shop.Cart",
                Some(Question::Grpc("shop.Cart".into())),
            ),
            (
                "exec",
                "test -e /ok",
                Some(Question::Exec("test -e /ok".into())),
            ),
            ("script", "true", Some(Question::Script("true".into()))),
            ("interval", "3s", None),
        ] {
            let (terms, faults) = read(&[(name, value)], true);
            assert_eq!(
                (terms.map(|terms| terms.question), faults.as_str()),
                (want, ""),
                "{name}={value}"
            );
        }
        assert!(
            read(&[("script", "true")], false)
                .1
                .contains("--allow-scripts")
        );
        let (terms, faults) = read(
            &[
                ("tcp", ""),
                ("interval", "1ms"),
                ("rise", "0"),
                ("fall", "2"),
                ("timeout", "1s"),
                ("grace", "x"),
            ],
            false,
        );
        let terms = terms.unwrap();
        let numbers = (
            terms.interval_ms,
            terms.rise,
            terms.fall,
            terms.timeout_ms,
            terms.grace_ms,
        );
        assert_eq!(numbers, (INTERVAL_MS_DEFAULT, 1, 2, 1_000, 0));
        assert_eq!(faults.matches("is not").count(), 3, "{faults}");
        assert!(
            read(&[("tcp", ""), ("http", "/")], false)
                .1
                .contains("one check per port")
        );
    }

    #[test]
    fn answers_in_a_row_decide() {
        let mut terms = read(&[("tcp", ""), ("rise", "2"), ("fall", "3")], false)
            .0
            .unwrap();
        for (answers, grace, want) in [
            ("", false, State::Starting),
            ("g", false, State::Starting),
            ("gg", false, State::Up),
            ("gbg", false, State::Starting),
            ("ggbb", false, State::Up),
            ("ggbbb", false, State::Down),
            ("ggbbgbb", false, State::Up),
            ("bbb", false, State::Down),
            ("bbb", true, State::Starting),
            ("ggbbb", true, State::Down),
            ("ggbbbgg", false, State::Up),
        ] {
            let mut streak = Streak::default();
            for answer in answers.chars() {
                streak.take(answer == 'g', &terms, grace);
            }
            assert_eq!(streak.state(), want, "{answers}");
        }
        terms.fall = 1;
        assert!(Streak::up().take(false, &terms, true));
    }
}
