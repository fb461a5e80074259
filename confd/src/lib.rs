//! confd: keeps configuration files equal to what the store says, and services running on them.
//!
//! Pure: [`resource`] (what to keep), [`tree`], [`glob`] and [`reads`] (what a template sees and has seen), [`engine`]
//! (templates), [`render`], [`plan`] (desired, applied, reloaded), [`reload`] (how a service takes its file), [`agent`]
//! (when to do what). Shells: `drivers`, [`files`] on [`disk`],
//! [`command`], [`backends`], [`confdir`], [`run`], `api`, `state`. Never knows raft, the Docker engine beyond the two calls of a driver, or what a key means beyond
//! the catalog.
//!
//! ```text
//!   store ─► backends ─► agent ─► engine (one snapshot) ─► files: stage ─► check_cmd ─► replace ─► reload_cmd
//!                          ▲                                                                          │
//!                          └── retry until it holds ◄─────────────────────────────────────────────────┘
//! ```

mod accounts;
pub mod agent;
mod announce;
mod api;
pub mod backends;
pub mod bundle;
pub mod calls;
pub mod child;
pub mod command;
pub mod confdir;
pub mod config;
pub mod defaults;
pub mod dialect;
pub mod disk;
mod drivers;
pub mod duration;
pub mod each;
pub mod engine;
pub mod explain;
mod faults;
pub mod files;
pub mod format;
mod generations;
pub mod glob;
pub mod guard;
mod outside;
pub mod plan;
mod program;
mod quiet;
pub mod reads;
pub mod redact;
pub mod reload;
pub mod render;
pub mod resource;
pub mod run;
mod spelling;
mod state;
pub mod status;
mod supervisor;
pub mod switch;
mod systemd;
pub mod tree;
pub mod verb;
pub mod web;

pub use config::{Args, BackendKind, Config, ConfigError};
pub use program::{main, run as run_config};
pub use run::{Agent, StartError};
pub use status::Status;
