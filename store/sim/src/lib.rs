//! The store's members in one thread under a seeded world that tries to break them.
//!
//! The member, the machine, the watch hub and the log's recovery are the real ones; time, network, disks
//! and clients are simulated. A seed is a run: it can be repeated, traced, and debugged.
//! Start at `world.rs` (the events), then `promises.rs` (what is checked) and `host.rs` (the shell).

mod agents;
mod bugs;
mod chance;
mod clock;
mod faults;
mod history;
mod host;
mod model;
mod net;
mod plan;
mod promises;
mod queue;
pub mod recorded;
mod run;
mod watcher;
mod workload;
mod world;

pub use bugs::{ALL as BUGS, Bug};
pub use promises::Violation;
pub use run::{Options, Outcome, current_seed, run};
