//! What can be asked of the keyspace, in the machine's own words.
//!
//! Owns the request nouns (range, put, delete, transaction, compare). The wire forms live in
//! `store/proto` and are translated in `store/server`; the replicated byte form is `command.rs`.

use bytes::Bytes;

use crate::revision::{LeaseId, Revision};

/// A set of neighbouring keys, `start` included, `end` excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key of the set.
    pub start: Bytes,
    /// Where the set ends.
    pub end: RangeEnd,
}

impl KeyRange {
    /// Exactly one key.
    #[must_use]
    pub const fn single(key: Bytes) -> Self {
        Self {
            start: key,
            end: RangeEnd::Single,
        }
    }

    /// Whether `key` belongs to the set.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Open => key >= &self.start[..],
            RangeEnd::Before(end) => key >= &self.start[..] && key < &end[..],
        }
    }
}

/// Where a [`KeyRange`] ends. On the wire: empty, one zero byte, anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeEnd {
    /// The set is exactly the start key.
    Single,
    /// Every key from the start on.
    Open,
    /// Every key from the start on that sorts before this one. A bound at or below the start
    /// makes an empty set, which is not an error.
    Before(Bytes),
}

/// What to sort the result of a range by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key itself; the natural order.
    #[default]
    Key,
    /// Number of puts since the key was created.
    Version,
    /// Revision of creation.
    Create,
    /// Revision of the last put.
    Mod,
    /// The value, as bytes.
    Value,
}

/// Direction of the sort. `None` with a target other than the key behaves as ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// No order asked for.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// Read of a [`KeyRange`]. Filters are off at zero; a limit of zero means no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// Most pairs to return, applied after sort and filters; 0 = all.
    pub limit: u64,
    /// Revision to read at; 0 or below = the latest.
    pub revision: Revision,
    /// See [`SortOrder`].
    pub sort_order: SortOrder,
    /// See [`SortTarget`].
    pub sort_target: SortTarget,
    /// Leave values empty.
    pub keys_only: bool,
    /// Return only the count.
    pub count_only: bool,
    /// Drop pairs last modified before this revision.
    pub mod_revision_min: i64,
    /// Drop pairs last modified after this revision.
    pub mod_revision_max: i64,
    /// Drop pairs created before this revision.
    pub create_revision_min: i64,
    /// Drop pairs created after this revision.
    pub create_revision_max: i64,
    /// The count is of no interest: it may be that of the pairs found. What goes on with a range at a past revision
    /// asks for this, as counting walks over all of it. Never part of a command.
    pub uncounted: bool,
}

impl RangeRequest {
    /// A plain read of `keys` at the latest revision.
    #[must_use]
    pub const fn latest(keys: KeyRange) -> Self {
        Self {
            keys,
            limit: 0,
            revision: Revision(0),
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            keys_only: false,
            count_only: false,
            mod_revision_min: 0,
            mod_revision_max: 0,
            create_revision_min: 0,
            create_revision_max: 0,
            uncounted: false,
        }
    }
}

/// Write of one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRequest {
    /// The key; never empty (the server refuses that before it proposes).
    pub key: Bytes,
    /// The value; empty when `ignore_value`.
    pub value: Bytes,
    /// Lease to attach to; [`LeaseId::NONE`] detaches.
    pub lease: LeaseId,
    /// Answer with the pair that stood there before.
    pub prev_kv: bool,
    /// Keep the current value; the key must exist.
    pub ignore_value: bool,
    /// Keep the current lease; the key must exist.
    pub ignore_lease: bool,
}

/// Removal of every key of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// Answer with the removed pairs, in key order.
    pub prev_kv: bool,
}

/// All-or-nothing group of operations: one branch runs, chosen by the compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnRequest {
    /// All must hold, on the state before the transaction, for `success` to run.
    pub compare: Vec<Compare>,
    /// Runs when every compare holds.
    pub success: Vec<TxnOp>,
    /// Runs otherwise.
    pub failure: Vec<TxnOp>,
}

/// How deeply transactions may nest. 128: as many levels as etcd's default of 128 operations per
/// transaction allows; decoding and running recurse once per level.
pub const TXN_DEPTH_MAX: usize = 128;

impl TxnRequest {
    /// Whether any branch, however deep, holds a put or a delete. A transaction without runs on
    /// [`crate::Machine::read_txn`] and needs no log entry.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.ops().any(|op| match op {
            TxnOp::Range(_) => false,
            TxnOp::Put(_) | TxnOp::Delete(_) => true,
            TxnOp::Txn(nested) => nested.writes(),
        })
    }

    /// Levels of nesting, itself included; the proposer refuses more than [`TXN_DEPTH_MAX`].
    #[must_use]
    pub fn depth(&self) -> usize {
        let nested = self.ops().map(|op| match op {
            TxnOp::Txn(nested) => nested.depth(),
            _ => 0,
        });
        1 + nested.max().unwrap_or(0)
    }

    /// Operations of both branches, nested ones not unfolded.
    pub(crate) fn ops(&self) -> impl Iterator<Item = &TxnOp> {
        self.success.iter().chain(&self.failure)
    }
}

/// One operation of a transaction branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp {
    /// Sees the writes of earlier operations of the same transaction.
    Range(RangeRequest),
    /// See [`PutRequest`].
    Put(PutRequest),
    /// See [`DeleteRequest`].
    Delete(DeleteRequest),
    /// Its compares see the state before the outermost transaction.
    Txn(TxnRequest),
}

/// A condition on every key of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Keys that must all satisfy the condition; an empty set is treated like a missing key.
    pub keys: KeyRange,
    /// The relation that must hold between what is stored and `target`.
    pub relation: Relation,
    /// What is compared, and with what.
    pub target: CompareTarget,
}

/// Relation of a stored number or value to the given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Stored = given.
    Equal,
    /// Stored > given.
    Greater,
    /// Stored < given.
    Less,
    /// Stored differs from given.
    NotEqual,
}

/// What a [`Compare`] looks at, with the given side. On a missing key `Value` never holds and the
/// numbers are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    /// Puts since creation.
    Version(i64),
    /// Revision of creation.
    Create(i64),
    /// Revision of the last put.
    Mod(i64),
    /// The value, compared as bytes.
    Value(Bytes),
    /// The attached lease.
    Lease(i64),
}
