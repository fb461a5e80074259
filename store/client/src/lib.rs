//! What the agents use on top of the `etcd-client` crate: where the store is and how to reach it,
//! how long to wait before trying again, what a failure means, a lease that outlives a restart, and
//! (in [`mirror`]) a copy of a key range that follows it.
//! Never knows what the keys mean: that is the registrator's catalog and confd's templates.

pub mod announce;
pub mod backoff;
pub mod connect;
pub mod endpoint;
pub mod failure;
pub mod lease;
pub mod mirror;
