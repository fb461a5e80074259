//! Keeps every running container registered in the store under one lease.
//!
//! Pure: `container`, `labels`, `gate`, `signal`, `desired`, `plan`, `agent`, `latency`, `span`, `status`, `work` decide what
//! should be written and when; they know no socket, clock or task. Shells: `docker` asks the engine,
//! `registry` writes to the store, `api` answers HTTP, `config` reads flags and files, `run` ties
//! them together. Keys and values are defined in the `registrator-catalog` crate.

pub mod address;
pub mod agent;
mod api;
pub mod check;
pub mod config;
pub mod container;
pub mod desired;
mod docker;
pub mod explain;
mod file_sd;
pub mod gate;
mod host;
mod journal;
pub mod labels;
pub mod latency;
mod listening;
mod metrics;
pub mod own_layout;
pub mod plan;
mod probe;
pub mod registry;
mod run;
pub mod scheme;
pub mod services;
pub mod signal;
mod span;
pub mod status;
mod systemd;
pub mod template;
pub mod upstream;
mod verb;
pub mod work;

pub use config::{Args, Config, ConfigError, StopPolicy};
pub use run::{Agent, StartError, main};
pub use status::Status;
