//! What etcd keeps in a snapshot, and what of it our machine is.
//!
//! The form is that of etcd 3.5, which 3.4 to 3.7 read: it says neither its own version nor the cluster's, which
//! only later ones insist on. In the bucket `key` stands every version of every key under its revision:
//!
//! ```text
//! main revision 8 | '_' | number within it 8 | 't' if deleted        numbers big-endian, so that they sort
//! ```
//!
//! Behind the pages a snapshot has the SHA-256 of all of them; that is the business of who reads and writes
//! files and streams.

mod auth;
mod export;
mod import;
mod message;
mod metadata;
mod revision;
#[cfg(test)]
mod tests;

pub use export::Export;
pub use import::{ImportError, Imported, import};

/// Bytes of the checksum behind the pages.
pub const DIGEST_BYTES: u64 = 32;

/// The etcd release from which on a snapshot of ours can be restored with everything in it.
pub const SINCE_RELEASE: &str = "3.5.0";

/// Names of the buckets.
mod bucket {
    pub(super) const ALARM: &[u8] = b"alarm";
    pub(super) const AUTH: &[u8] = b"auth";
    pub(super) const AUTH_ROLES: &[u8] = b"authRoles";
    pub(super) const AUTH_USERS: &[u8] = b"authUsers";
    pub(super) const CLUSTER: &[u8] = b"cluster";
    pub(super) const KEY: &[u8] = b"key";
    pub(super) const LEASE: &[u8] = b"lease";
    pub(super) const MEMBERS: &[u8] = b"members";
    pub(super) const MEMBERS_REMOVED: &[u8] = b"members_removed";
    pub(super) const META: &[u8] = b"meta";
}

/// Keys of the bucket `meta`.
mod meta {
    pub(super) const CONSISTENT_INDEX: &[u8] = b"consistent_index";
    pub(super) const TERM: &[u8] = b"term";
    pub(super) const VOTERS: &[u8] = b"confState";
    pub(super) const COMPACTED: &[u8] = b"finishedCompactRev";
    pub(super) const COMPACTING: &[u8] = b"scheduledCompactRev";
}
