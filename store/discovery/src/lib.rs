//! Where the members of a cluster are, when no list says so: `srv.rs` asks the domain name system, `registry.rs`
//! another cluster, `service.rs` one below a URL, as etcd 2 does.
//!
//! It knows names and addresses, and nothing of what is said to whom it finds.

pub mod registry;
pub mod service;
pub mod srv;
