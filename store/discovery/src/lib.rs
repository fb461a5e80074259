//! Where the members of a cluster are, when no list says so: `srv.rs` asks the domain name system, `registry.rs`
//! another cluster.
//!
//! It knows names and addresses, and nothing of what is said to whom it finds.

pub mod registry;
pub mod srv;
