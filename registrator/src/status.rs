//! [pure] What the agent tells people and the programs around it about itself. Made by
//! `agent::Agent::status`, shown by `muster up` and by the HTTP API as JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use registrator_catalog::prometheus::targets;
use registrator_catalog::record::{Record, State};
use serde::Serialize;

use crate::latency::{Latency, LatencySummary};
use crate::work::Work;

/// A picture of the agent at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// Name of this host in the registry.
    pub node: String,
    /// The way to the engine.
    pub engine: Link,
    /// The way to the store, and the lease.
    pub store: Link,
    /// Whether every container that ran at the start has been looked at.
    pub synced: bool,
    /// Containers that are looked after.
    pub containers: usize,
    /// Containers whose keys in the store are not yet what they should be.
    pub pending: usize,
    /// What is registered or about to be, by name of the service.
    pub services: BTreeMap<String, Vec<Instance>>,
    /// The records behind them in their JSON form, in any order.
    #[serde(skip)]
    pub records: Vec<Arc<[u8]>>,
    /// Containers and ports that run but are not registered, with the reason.
    pub skipped: Vec<Skipped>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// From the engine's start event to the store's acknowledgement.
    pub start_to_key: LatencySummary,
    /// The same with all buckets, for metrics.
    #[serde(skip)]
    pub latency: Latency,
    /// What was done since the agent started.
    pub counts: Counts,
    /// Events received, by what happened.
    pub actions: BTreeMap<String, u64>,
    /// What deciding cost.
    pub work: Work,
}

impl Status {
    /// One picture of several engines' agents: what counts is added up, what has to hold holds for all of them.
    #[must_use]
    pub fn of_all(all: Vec<Self>) -> Self {
        let mut all = all.into_iter();
        let mut whole = all.next().unwrap_or_default();
        for part in all {
            whole.node = format!("{} {}", whole.node, part.node);
            whole.engine = whole.engine.and(part.engine);
            whole.store = whole.store.and(part.store);
            whole.synced &= part.synced;
            whole.containers += part.containers;
            whole.pending += part.pending;
            for (name, instances) in part.services {
                whole.services.entry(name).or_default().extend(instances);
            }
            whole.records.extend(part.records);
            whole.skipped.extend(part.skipped);
            whole.faults.extend(part.faults);
            whole.latency.add(&part.latency);
            whole.counts = whole.counts.plus(part.counts);
            for (action, count) in part.actions {
                *whole.actions.entry(action).or_default() += count;
            }
            whole.work.add(&part.work);
            whole.start_to_key = whole.latency.summary();
        }
        whole
    }

    /// What Prometheus is to scrape.
    pub(crate) fn targets(&self) -> String {
        let records = self.records.iter();
        let records: Vec<Record> = records
            .filter_map(|json| Record::from_json(json).ok())
            .collect();
        targets(&records)
    }

    /// Whether the registry holds what this agent would write, as far as the agent can know.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.engine.up && self.store.up && self.synced && self.pending == 0
    }
}

/// A way to somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Whether it works.
    pub up: bool,
    /// Where to, or why not.
    pub detail: String,
}

impl Link {
    /// Both ways; what is told is what is wrong, if something is.
    fn and(self, other: Self) -> Self {
        let detail = match (self.up, other.up) {
            (true, false) => other.detail,
            (false, true) => self.detail,
            _ if self.detail == other.detail => self.detail,
            _ => format!("{}; {}", self.detail, other.detail),
        };
        Self {
            up: self.up && other.up,
            detail,
        }
    }
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Name of the container.
    pub container: String,
    /// DNS-safe name, unique in the registry.
    pub instance: String,
    /// Where to reach it.
    pub address: IpAddr,
    /// At which port.
    pub port: u16,
    /// Whether traffic should go to it.
    pub state: State,
    /// Whether the store has acknowledged it.
    pub stored: bool,
}

/// Something that runs and is not registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Name of the container.
    pub container: String,
    /// The port, when it is about one.
    pub port: Option<String>,
    /// Why.
    pub why: String,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What it is about: `engine`, `store` or the name of a container.
    pub subject: String,
    /// What is wrong, in one line.
    pub text: String,
    /// What to do about it, if there is something.
    pub hint: Option<String>,
}

/// What was done since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Events received from the engine.
    pub events: u64,
    /// Containers inspected.
    pub inspects: u64,
    /// Lists of all containers.
    pub lists: u64,
    /// Times the event stream was opened.
    pub streams: u64,
    /// Times there was no event stream between two.
    pub gaps: u64,
    /// Milliseconds of all of them together.
    pub gap_ms: u64,
    /// Times the engine had forgotten events by the time they were asked for again; the list after each gap shows what
    /// became of them.
    pub overflows: u64,
    /// Transactions the store accepted.
    pub commits: u64,
    /// Keys put.
    pub puts: u64,
    /// Keys deleted.
    pub deletes: u64,
    /// Transactions refused because a key was not as expected.
    pub conflicts: u64,
    /// Transactions that failed.
    pub failures: u64,
    /// Sessions with the store, each with the lease granted or adopted.
    pub sessions: u64,
}

impl Counts {
    /// Both together.
    fn plus(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            inspects: self.inspects + other.inspects,
            lists: self.lists + other.lists,
            streams: self.streams + other.streams,
            gaps: self.gaps + other.gaps,
            gap_ms: self.gap_ms + other.gap_ms,
            overflows: self.overflows + other.overflows,
            commits: self.commits + other.commits,
            puts: self.puts + other.puts,
            deletes: self.deletes + other.deletes,
            conflicts: self.conflicts + other.conflicts,
            failures: self.failures + other.failures,
            sessions: self.sessions + other.sessions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_engines_are_ready_when_all_are() {
        let part = |node: &str, up: bool| Status {
            node: node.to_owned(),
            engine: Link {
                up,
                detail: format!("engine of {node}"),
            },
            store: Link {
                up: true,
                detail: "the store".to_owned(),
            },
            synced: true,
            containers: 3,
            counts: Counts {
                events: 2,
                gap_ms: 5,
                ..Counts::default()
            },
            actions: BTreeMap::from([("die".to_owned(), 1)]),
            ..Status::default()
        };
        let alone = Status::of_all(vec![part("a", true)]);
        assert_eq!(alone, part("a", true));
        let both = Status::of_all(vec![part("a", true), part("b", true)]);
        assert!(both.is_ready());
        assert_eq!((both.containers, both.pending), (6, 0));
        assert_eq!(both.engine.detail, "engine of a; engine of b");
        assert_eq!(
            (both.counts.events, both.counts.gap_ms, both.actions["die"]),
            (4, 10, 2)
        );
        let half = Status::of_all(vec![part("a", true), part("b", false), part("c", true)]);
        assert!(!half.is_ready());
        assert_eq!(
            (half.node.as_str(), half.engine.detail.as_str()),
            ("a b c", "engine of b")
        );
        assert_eq!(half.store.detail, "the store");
    }
}
