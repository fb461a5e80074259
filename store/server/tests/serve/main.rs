//! The server at its boundary: a real one in this process on a port of its own, asked over gRPC and
//! HTTP as clients do.

#![allow(
    clippy::unwrap_used,
    reason = "the helpers are tests too, which clippy cannot know"
)]

mod cluster;
mod compaction;
mod gateway;
mod http;
mod integrity;
mod kv;
mod large;
mod lease;
mod life;
mod maintenance;
mod metrics;
mod patience;
mod raw;
mod reflection;
mod running;
mod snapshot;
mod strangers;
mod streams;
mod tls;
mod turns;
mod watch;
mod weighed;
