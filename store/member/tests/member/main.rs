//! A member's behaviour, seen from outside: facts in, orders out.

mod alone;
mod cluster;
mod crash;
mod leases;
mod reads;
mod snapshots;
mod space;
mod transcript;
mod world;
