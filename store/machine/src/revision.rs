//! The three numbers that order everything the machine knows, as types that cannot be swapped.
//!
//! Owns [`Revision`], [`Index`] and [`LeaseId`]. Knows nothing of how they are stored or sent.

use std::fmt;

/// The store's version counter. An empty store is at revision 1; every put, effective delete,
/// transaction with at least one effective write, and lease revoke with keys adds exactly 1
/// (etcd API guarantees, "revision").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

impl Revision {
    /// What a store without any write reports.
    pub const FIRST: Self = Self(1);

    /// The revision the next write will get.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position of a command in the replicated log. The machine only remembers the last one applied,
/// so that a replay after recovery applies nothing twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of a lease: any non-zero 64-bit integer, negative ones included, as in etcd.
/// Zero means "no lease".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// The value that stands for "not attached to a lease".
    pub const NONE: Self = Self(0);
}

/// As etcd prints it: sixteen hexadecimal digits.
impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
