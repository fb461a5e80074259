//! The keys API of etcd 2 as a view on the same keys that version 3 shows: requests become a read and one conditional
//! transaction, answers and events become etcd 2's JSON. Pure: no time, no sockets; the server performs.
//!
//! `/a/b` is the key `/a/b`. A directory is whatever has keys below it; one that is made, so that it may be empty or
//! have a time to live, also has the key with a slash at its end (`/a/`), which no path of version 2 can name. The index
//! is the revision. `params.rs` reads requests, `look.rs` a path and what leads to it, `write.rs` decides, `tree.rs`
//! lists, `event.rs` tells what watchers see, `term.rs` is times to live,
//! `people.rs` users, `rights.rs` what roles allow.

mod error;
mod event;
mod look;
mod nameless;
mod node;
mod params;
mod path;
pub mod people;
mod rights;
mod term;
mod tree;
mod write;

pub use error::{Code, Error};
pub use event::{Scope, told};
pub use look::{Look, foreign_leases};
pub use nameless::Nameless;
pub use node::{Answer, Lives, Node};
pub use params::{Params, Verb};
pub use path::Path;
pub use term::Term;
pub use tree::Listing;
pub use write::{Plan, decide};
