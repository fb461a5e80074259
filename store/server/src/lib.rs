//! The shell around the store: what listens, decodes, waits, writes and syncs.
//!
//! [`store::Store`] drives the member on its own threads; [`handle::Handle`] is the way to it;
//! `grpc/` and `http/` translate between clients and the handle; [`server::Server`] puts them on a
//! port and [`program`] makes that a program.

mod absence;
mod api;
pub mod auth;
mod body;
mod call;
mod caller;
mod compactor;
pub mod config;
mod connection;
pub mod counters;
pub mod decoding;
mod delays;
mod discovery;
mod disk;
mod doze;
mod driver;
pub mod fatal;
mod grpc;
pub mod handle;
mod http;
pub mod identity;
mod intake;
pub mod logging;
mod peers;
pub mod program;
mod roster;
pub mod server;
pub mod store;
mod supervisor;
mod unsynced;
pub mod version;
