//! What the agent says about itself in the store, on its own lease beside the registrations: made of its picture, written
//! when something changed, and seldom enough to cost nothing (see `store_client::announce::Pace`).

use std::time::Duration;

use registrator_catalog::agent::{self, Agent, Registrator};
use registrator_catalog::timestamp;
use store_client::announce::{Pace, Said};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::agent::Input;
use crate::docker::wall_nanos;
use crate::status::Status;

/// What is said, and when.
pub(crate) struct Announce {
    status: watch::Receiver<Status>,
    began: Instant,
    since: String,
    pace: Pace,
    /// Of the last change this agent made.
    revision: i64,
    /// Whether nothing is to be said, or must not be.
    silent: bool,
}

impl Announce {
    /// About this agent; `wanted` is false where nothing is to be said.
    pub(crate) fn new(status: watch::Receiver<Status>, wanted: bool) -> Self {
        let since = u64::try_from(wall_nanos() / 1_000_000).unwrap_or(0);
        Self {
            status,
            began: Instant::now(),
            since: timestamp::format_millis(since),
            pace: Pace::new(Duration::ZERO),
            revision: 0,
            silent: !wanted,
        }
    }

    /// A session begins with what it `held`: what stands in the registry about this agent is not known.
    pub(crate) fn begin(&mut self, held: &Input) {
        self.pace.forget(self.began.elapsed());
        self.heard(held);
    }

    /// The registry told how far it is with what this agent wrote.
    pub(crate) fn heard(&mut self, fact: &Input) {
        let revision = match fact {
            Input::Committed { revision, .. } => *revision,
            Input::Leased { held, .. } => {
                let revisions = held.iter().map(|(_, held)| held.mod_revision);
                revisions.max().unwrap_or(0)
            }
            _ => 0,
        };
        self.revision = self.revision.max(revision);
    }

    /// Waits until something is to be written, and gives it. Safe to cancel.
    pub(crate) async fn due(&mut self) -> String {
        while !self.silent {
            let said = said(&self.status.borrow_and_update(), &self.since, self.revision);
            let due = self.pace.due(&said);
            let wait = async {
                match due {
                    Some(due) => sleep_until(self.began + due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Both only wait.
                () = wait => {
                    self.pace.wrote(self.began.elapsed(), said.clone());
                    return said.value;
                }
                changed = self.status.changed() => if changed.is_err() {
                    // The loop that makes pictures has ended, and all of this will.
                    break;
                }
            }
        }
        std::future::pending().await
    }

    /// The store lets this user write no such key.
    pub(crate) fn refused(&mut self, why: &str) {
        tracing::info!("what this agent says about itself is not written: {why}");
        self.silent = true;
    }
}

fn said(status: &Status, since: &str, revision: i64) -> Said {
    let registrator = Registrator {
        version: agent::VERSION,
        node: status.node.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        since: since.to_owned(),
        revision,
        containers: status.containers,
        services: status.services.len(),
        instances: status.services.values().map(Vec::len).sum(),
        pending: status.pending,
        error: status
            .faults
            .first()
            .map(|fault| agent::line(&format!("{}: {}", fault.subject, fault.text))),
    };
    let value = Agent::Registrator(registrator).to_json();
    Said {
        essence: value.clone(),
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Fault;

    #[test]
    fn the_picture_in_a_few_words() {
        let status = Status {
            node: "n1".into(),
            containers: 3,
            pending: 1,
            faults: vec![Fault {
                subject: "web".into(),
                text: "no address\nat all".into(),
                hint: None,
            }],
            ..Status::default()
        };
        let said = said(&status, "2026-11-20T04:48:44.123Z", 9);
        let Some(Agent::Registrator(read)) = Agent::from_json(said.value.as_bytes()) else {
            panic!("{}", said.value);
        };
        assert_eq!(
            (
                read.node.as_str(),
                read.containers,
                read.pending,
                read.revision
            ),
            ("n1", 3, 1, 9)
        );
        assert_eq!(read.error.as_deref(), Some("web: no address"));
    }
}
