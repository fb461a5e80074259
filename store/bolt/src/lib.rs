//! Snapshots in etcd's file format, read and written as bytes.
//!
//! `page.rs` holds the bytes of bbolt's pages, `tree.rs` reads a file of them and believes nothing in it,
//! `loader.rs` writes one from sorted pairs in a single pass. `etcd/` is what etcd keeps in such a file and
//! what of it our machine is: start at [`etcd::Export`] and [`etcd::import`].
//!
//! Pure: a file is whatever a [`Source`] reads, and what is written comes out as bytes.

pub mod etcd;
mod loader;
mod page;
mod source;
#[cfg(test)]
mod tests;
mod tree;

pub use loader::{Layout, Loader};
pub use source::Source;
pub use tree::{Bucket, Tree, TreeError, Visit};
