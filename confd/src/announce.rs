//! What the agent says about itself in the store: its status in a few words, kept under a lease of its own. Which values
//! follow from which status is pure; `store_client::announce` writes them, seldom.

use std::time::Duration;

use registrator_catalog::agent::{self, Agent, Confd, Failure, RESOURCES_MAX};
use registrator_catalog::timestamp::format_millis;
use store_client::announce::{Announcer, Options, Said};
use tokio::sync::watch;

use crate::config::{BackendKind, Config};
use crate::status::{Resource, Status};

/// 12 hex digits, 48 bits: enough to tell the few versions of one file apart.
const CONTENT_DIGITS: usize = 12;

/// Who speaks.
struct Speaker {
    node: String,
    confdir: String,
    since: String,
}

/// What keeps the key up to date.
pub(crate) struct Announcement {
    announcer: Announcer,
    teller: tokio::task::JoinHandle<()>,
}

impl Announcement {
    /// Starts it inside the current runtime; `None` for an agent that is to say nothing: it was told so, ends at once,
    /// changes nothing, or has no store.
    pub(crate) fn start(
        config: &Config,
        hostname: String,
        started_unix: Duration,
        mut status: watch::Receiver<Status>,
        seed: u64,
    ) -> Option<Self> {
        let BackendKind::Store(connect) = &config.backend else {
            return None;
        };
        if !config.publish_status || config.onetime || config.noop {
            return None;
        }
        let mut place = config.confdir.display().to_string();
        if let Some(only) = &config.only {
            place = format!("{place}/{only}");
        }
        let node = config.status_name.clone().unwrap_or(hostname);
        let options = Options {
            connect: connect.clone(),
            key: agent::confd_key(&node, &place),
            seed,
        };
        let speaker = Speaker {
            node,
            confdir: config.confdir.display().to_string(),
            since: format_millis(u64::try_from(started_unix.as_millis()).unwrap_or(0)),
        };
        let first = speaker.said(&status.borrow_and_update());
        let (tell, said) = watch::channel(first);
        let teller = tokio::spawn(async move {
            // Safe to cancel: the status stays in its channel.
            while status.changed().await.is_ok() {
                let said = speaker.said(&status.borrow_and_update());
                tell.send_if_modified(|old| {
                    let changed = *old != said;
                    *old = said;
                    changed
                });
            }
        });
        Some(Self {
            announcer: Announcer::start(options, said),
            teller,
        })
    }

    /// Takes the key away.
    pub(crate) async fn stop(self) {
        self.announcer.stop().await;
        self.teller.abort();
    }
}

impl Speaker {
    fn said(&self, status: &Status) -> Said {
        let mut resources: Vec<agent::Resource> = status.resources.iter().map(resource).collect();
        // Stable: otherwise by name.
        resources.sort_by_key(|resource| resource.failure.is_none());
        let left_out = resources.len().saturating_sub(RESOURCES_MAX);
        resources.truncate(RESOURCES_MAX);
        let error = status.source.error.as_ref().or(status.problems.first());
        let agent = Agent::Confd(Confd {
            version: agent::VERSION,
            node: self.node.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since.clone(),
            confdir: self.confdir.clone(),
            revision: status.source.revision,
            error: error.map(|error| agent::line(error)),
            resources,
            left_out,
        });
        Said {
            value: agent.to_json(),
            essence: agent.essence().to_json(),
        }
    }
}

fn resource(resource: &Resource) -> agent::Resource {
    let failure = match (&resource.stale, &resource.load_fault) {
        (Some(stale), _) => Some(Failure {
            step: stale.step.to_owned(),
            message: agent::line(&stale.problem.message),
            since: Some(format_millis(stale.since_unix_ms)),
        }),
        (None, Some(fault)) => Some(Failure {
            step: "load".to_owned(),
            message: agent::line(&fault.message),
            since: None,
        }),
        (None, None) => None,
    };
    // What lasts for the time of a pass is no news.
    let state = match resource.state {
        "quiet" | "working" if resource.stale.is_some() => "retrying",
        "quiet" | "working" if resource.succeeded_unix_ms.is_some() => "current",
        "quiet" | "working" => "waiting",
        lasting => lasting,
    };
    agent::Resource {
        name: resource.name.clone(),
        dest: resource.dest.clone(),
        state: state.to_owned(),
        revision: resource.revision,
        content: resource
            .applied
            .as_ref()
            .map(|hash| hash.chars().take(CONTENT_DIGITS).collect()),
        succeeded: resource.succeeded_unix_ms.map(format_millis),
        failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Problem, Source, Stale};

    fn of(name: &str, state: &'static str) -> Resource {
        Resource {
            told: false,
            name: name.to_owned(),
            state,
            dest: format!("/out/{name}"),
            revision: 7,
            succeeded_unix_ms: Some(1_500),
            stale: None,
            load_fault: None,
            attempts: 0,
            applied: Some("0123456789abcdef".to_owned()),
            reloaded: None,
            generation: 1,
            passes: 5,
            replaced: 1,
            reloads: 1,
            failed: 3,
            rolled_back: 0,
            notes: vec![],
            because: String::new(),
            would_change: false,
        }
    }

    fn speaker() -> Speaker {
        Speaker {
            node: "n1".into(),
            confdir: "/etc/confd".into(),
            since: "2026-11-20T04:48:44.123Z".into(),
        }
    }

    #[test]
    fn the_status_in_a_few_words_failures_first() {
        let mut stale = of("b", "working");
        stale.stale = Some(Stale {
            step: "check",
            problem: Problem {
                message: "exit 1\nmore".to_owned(),
                hint: None,
            },
            since_unix_ms: 1_000,
        });
        let status = Status {
            source: Source {
                revision: 9,
                ..Source::default()
            },
            resources: vec![of("a", "quiet"), stale],
            ..Status::default()
        };
        let said = speaker().said(&status);
        assert_eq!(
            said.value,
            r#"{"agent":"confd","version":1,"node":"n1","program":"VERSION","since":"2026-11-20T04:48:44.123Z","confdir":"/etc/confd","revision":9,"resources":[{"name":"b","dest":"/out/b","state":"retrying","revision":7,"content":"0123456789ab","succeeded":"1970-01-01T00:00:01.500Z","failure":{"step":"check","message":"exit 1","since":"1970-01-01T00:00:01.000Z"}},{"name":"a","dest":"/out/a","state":"current","revision":7,"content":"0123456789ab","succeeded":"1970-01-01T00:00:01.500Z"}],"left_out":0}"#
                .replace("VERSION", env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn passes_that_change_nothing_are_no_news_and_long_lists_are_cut() {
        let status = |state, revision| {
            let mut one = of("a", state);
            one.revision = revision;
            Status {
                resources: vec![one],
                ..Status::default()
            }
        };
        let (before, after) = (status("current", 7), status("working", 8));
        let (before, after) = (speaker().said(&before), speaker().said(&after));
        assert_ne!(before.value, after.value);
        assert_eq!(before.essence, after.essence);
        let many = Status {
            resources: vec![of("a", "current"); RESOURCES_MAX + 3],
            ..Status::default()
        };
        let Some(Agent::Confd(many)) = Agent::from_json(speaker().said(&many).value.as_bytes())
        else {
            panic!("no confd");
        };
        assert_eq!((many.resources.len(), many.left_out), (RESOURCES_MAX, 3));
    }
}
