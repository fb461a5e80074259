//! What is measured: one small file per noun, and the table of all.
//!
//! A case gets a contender that serves and gives back one [`Sample`]. To add one: write its file,
//! put it into [`CASES`]; choosing, interleaving, pinning and reporting come with the table.

mod beside;
mod connections;
mod crowd;
mod failover;
mod gibibyte;
mod keep_alive;
mod million;
mod page;
mod put;
mod range;
mod registration;
mod rendering;
mod snapshot;
mod sync;
mod txn;
mod watch;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::contender::{Contender, Programs, Running, Server, StartError};
use crate::cores::Mode;
use crate::load::{self, Asker, LoadError, Shape};
use crate::process::ProcessError;
use crate::sample::{Meter, Sample};

/// Paths of the methods that cases call.
pub(crate) const PUT: &str = "/etcdserverpb.KV/Put";
/// See [`PUT`].
pub(crate) const RANGE: &str = "/etcdserverpb.KV/Range";
/// See [`PUT`].
pub(crate) const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// See [`PUT`].
pub(crate) const TXN: &str = "/etcdserverpb.KV/Txn";
/// See [`PUT`].
pub(crate) const LEASE_GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
/// See [`PUT`].
pub(crate) const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

/// All cases, in the order of the report.
pub(crate) const CASES: &[&Case] = &[
    &put::MANY,
    &put::ONE,
    &put::THREE,
    &sync::DISK,
    &range::LINEARIZABLE,
    &range::SERIALIZABLE,
    &page::PAGE,
    &connections::SMALL_REQUESTS,
    &txn::GUARDED,
    &watch::DELIVERY,
    &watch::FAN_OUT,
    &watch::OWN_KEYS,
    &watch::CREATION,
    &keep_alive::KEEP_ALIVE_RATE,
    &million::MILLION,
    &registration::START_TO_KEY,
    &rendering::KEY_TO_FILE,
    &crowd::CROWD,
    &failover::KILLED,
    &failover::ENDED,
    &snapshot::PUT_BEFORE,
    &snapshot::PUT_WHILE,
    &snapshot::SAVE,
    &snapshot::CATCH_UP,
    &beside::ALONE,
    &beside::BESIDE,
    &beside::WHOLE,
    &gibibyte::READS,
    &gibibyte::PUTS,
];

/// Both ways of sharing the machine.
pub(crate) const BOTH_MODES: &[Mode] = &[Mode::Pinned, Mode::Free];

/// One thing that is measured.
pub(crate) struct Case {
    /// Short, for the command line and the table.
    pub(crate) name: &'static str,
    /// One line for people: what an operation is, from where to where its latency goes.
    pub(crate) about: &'static str,
    /// Ways of sharing the machine that make a difference.
    pub(crate) modes: &'static [Mode],
    /// Who can take part.
    pub(crate) contenders: &'static [Contender],
    /// Members of the store.
    pub(crate) members: usize,
    /// What is worth telling.
    pub(crate) figures: Figures,
    /// Runs it once.
    pub(crate) run: fn(&mut Bout<'_>) -> Result<Sample, CaseError>,
}

impl Case {
    /// Whether it runs in this round, counted from 0.
    pub(crate) fn takes_part_in(&self, round: usize) -> bool {
        round == 0 || self.figures != Figures::State
    }
}

/// Which of its figures say something about a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figures {
    /// All of them.
    All,
    /// All of them, of a case that runs when it is named.
    Named,
    /// Latencies alone: operations are rare, and take what time they take. Such a case runs when it is
    /// named.
    Gaps,
    /// What a large state costs: memory once it is loaded, and the time a start takes with it. Runs once, in the
    /// first round: it takes long and differs little.
    State,
}

/// How much of everything.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Settings {
    /// Clients of the cases with many.
    pub(crate) clients: usize,
    /// Connections they share.
    pub(crate) connections: usize,
    /// Bytes of a key.
    pub(crate) key_bytes: usize,
    /// Bytes of a value.
    pub(crate) value_bytes: usize,
    /// Different keys.
    pub(crate) keys: u64,
    /// Milliseconds before anything counts.
    pub(crate) warm_up_ms: u64,
    /// Milliseconds that count, per run.
    pub(crate) measured_ms: u64,
}

impl Settings {
    fn warm_up(&self) -> Duration {
        Duration::from_millis(self.warm_up_ms)
    }

    fn measured(&self) -> Duration {
        Duration::from_millis(self.measured_ms)
    }
}

/// One run: a case against a contender.
pub(crate) struct Bout<'a> {
    /// Who is measured.
    pub(crate) server: &'a mut Server,
    /// Where the programs are, for cases that need more than a store.
    pub(crate) programs: &'a Programs,
    /// How much of everything.
    pub(crate) settings: &'a Settings,
    /// For the choice of keys: the same for all contenders of a round, another one each round.
    pub(crate) seed: u64,
}

impl Bout<'_> {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.server.addresses()
    }

    /// Puts every key once, unmeasured.
    fn load(&self) -> Result<(), CaseError> {
        let settings = self.settings;
        load::exhaust(
            &self.addresses(),
            settings.connections,
            settings.clients,
            &mut put::EveryPut::new(settings),
            &mut Meter::idle(),
        )?;
        Ok(())
    }

    /// Lets `clients` on `connections` ask as long as the settings say.
    fn measure(
        &self,
        connections: usize,
        clients: usize,
        asker: &mut dyn Asker,
    ) -> Result<Sample, CaseError> {
        let mut meter = Meter::of(self.server);
        self.load_for(connections, clients, asker, &mut meter)?;
        Ok(meter.finish()?)
    }

    /// The same, with the figures left in `meter`.
    fn load_for(
        &self,
        connections: usize,
        clients: usize,
        asker: &mut dyn Asker,
        meter: &mut Meter,
    ) -> Result<(), LoadError> {
        let shape = Shape {
            connections,
            clients,
            warm_up: self.settings.warm_up(),
            measured: self.settings.measured(),
        };
        load::measure(&self.addresses(), shape, asker, meter)
    }

    /// Starts an agent of ours against the store: `muster <name>` with `arguments`.
    fn agent(&self, name: &str, arguments: &[&str]) -> Result<Running, CaseError> {
        let endpoint = format!("http://{}", self.server.address());
        let mut command = Command::new(&self.programs.muster);
        command
            .args([name, "--endpoints", &endpoint])
            .args(arguments);
        let log = self.server.folder().join(format!("{name}.log"));
        Ok(Running::start(command, &log)?)
    }
}

/// Why a run gave no sample.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaseError {
    /// The load failed.
    #[error("run the load")]
    Load(#[from] LoadError),
    /// The server went away.
    #[error("measure the server")]
    Process(#[from] ProcessError),
    /// An agent, or the server anew, cannot be started.
    #[error("start a program")]
    Start(#[from] StartError),
    /// The Docker engine refused.
    #[error("ask the Docker engine: {reason}")]
    Docker {
        /// What it said.
        reason: String,
    },
    /// The agent did not do its work.
    #[error("{what}; the agent said:\n{log}")]
    Idle {
        /// What did not happen.
        what: &'static str,
        /// Its last words.
        log: String,
    },
    /// A file of the case.
    #[error("{operation}")]
    File {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The server said something else than it should.
    #[error("the server {what}")]
    Unexpected {
        /// What it did.
        what: String,
    },
}

impl From<crate::wire::WireError> for CaseError {
    fn from(error: crate::wire::WireError) -> CaseError {
        CaseError::Load(LoadError::Wire(error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_case_can_run() {
        let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), CASES.len());
        for case in CASES {
            assert!(
                !case.modes.is_empty() && !case.contenders.is_empty(),
                "{}",
                case.name
            );
            assert!(!case.about.ends_with('.'), "{}", case.name);
        }
    }
}
