//! A member's behaviour, seen from outside: facts in, orders out.

// Helpers of tests may unwrap like tests do.
#![allow(clippy::unwrap_used)]

mod alone;
mod chaos;
mod checks;
mod cluster;
mod crash;
mod forwarding;
mod handover;
mod leases;
mod members;
mod reads;
mod snapshots;
mod space;
mod transcript;
mod transfer;
mod world;
