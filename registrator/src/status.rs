//! [pure] What the agent tells people and the programs around it about itself. Made by
//! `agent::Agent::status`, shown by `muster up` and by the HTTP API as JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use registrator_catalog::record::{Record, State};
use serde::Serialize;

use crate::latency::{Latency, LatencySummary};

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
    /// Containers whose keys in the store are not yet what they should be.
    pub pending: usize,
    /// What is registered or about to be, by name of the service.
    pub services: BTreeMap<String, Vec<Instance>>,
    /// The records behind them, in any order.
    #[serde(skip)]
    pub records: Vec<Arc<Record>>,
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

/// What deciding cost since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Facts taken.
    pub facts: u64,
    /// Nanoseconds spent on them.
    pub nanos: u64,
}

impl Status {
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
