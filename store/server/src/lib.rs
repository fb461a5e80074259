//! The shell around the store.

pub mod handle;
pub mod counters;
mod disk;
mod driver;
pub mod fatal;
pub mod identity;
pub mod store;
mod unsynced;
