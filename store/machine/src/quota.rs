//! What commands are taken to cost, and what a full store refuses.
//!
//! The check is part of applying a command, so it looks only at replicated numbers: the accounted
//! size does not depend on how far this member's scrub has come.

use crate::request::{PutRequest, TxnOp};

/// What a put costs beside key and value: etcd's estimate of its bookkeeping.
const PUT_BYTES: u64 = 256;

/// What a lease costs.
pub(crate) const LEASE_BYTES: u64 = 64;

/// Cost of a put.
pub(crate) fn put_cost(put: &PutRequest) -> u64 {
    PUT_BYTES + (put.key.len() + put.value.len()) as u64
}

/// Cost of the puts among `ops`; a nested transaction counts with its larger branch.
pub(crate) fn ops_cost(ops: &[TxnOp]) -> u64 {
    ops.iter()
        .map(|op| match op {
            TxnOp::Put(put) => put_cost(put),
            TxnOp::Txn(nested) => ops_cost(&nested.success).max(ops_cost(&nested.failure)),
            TxnOp::Range(_) | TxnOp::Delete(_) => 0,
        })
        .sum()
}

/// Whether any of `ops`, however deep, is a put.
pub(crate) fn has_put(ops: &[TxnOp]) -> bool {
    ops.iter().any(|op| match op {
        TxnOp::Put(_) => true,
        TxnOp::Txn(nested) => has_put(&nested.success) || has_put(&nested.failure),
        TxnOp::Range(_) | TxnOp::Delete(_) => false,
    })
}
