//! What the answer to a transaction would weigh, found without making it.
//!
//! Whoever has a bound on what answers may take asks this before the transaction goes into the log: once it is applied
//! it has an answer, whatever that takes, and every member must come to the same one.

use std::ops::ControlFlow;

use crate::Machine;
use crate::mvcc::Keyspace;
use crate::reply::KeyValue;
use crate::request::{RangeRequest, TxnOp, TxnRequest};

/// What a pair weighs beside its key and value: its place in the answer, and in the list that is made from.
pub const PAIR_BYTES: u64 = 256;

/// Adds up pairs, until there are enough.
pub(crate) struct Scale {
    bytes: u64,
    enough: u64,
}

impl Scale {
    pub(crate) fn add(&mut self, kv: &KeyValue) -> ControlFlow<()> {
        self.bytes = self.bytes.saturating_add(kv.weight());
        if self.bytes < self.enough {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    const fn is_enough(&self) -> bool {
        self.bytes >= self.enough
    }
}

impl KeyValue {
    /// What it weighs in an answer, in bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        (self.key.len() + self.value.len()) as u64 + PAIR_BYTES
    }
}

impl Machine {
    /// What the pairs in the answer to a transaction would weigh as things are now, of two branches the heavier, in
    /// bytes. Looks no further than to `enough` of them. Pairs that a sort or a filter takes away count too, as they are
    /// in memory before it does; of what the transaction itself writes nothing is known here.
    #[must_use]
    pub fn weigh_txn(&self, txn: &TxnRequest, enough: u64) -> u64 {
        weigh(&self.keyspace, txn, enough)
    }
}

fn weigh(keyspace: &Keyspace, txn: &TxnRequest, enough: u64) -> u64 {
    let branch = |ops: &[TxnOp]| {
        let mut scale = Scale { bytes: 0, enough };
        for op in ops {
            if scale.is_enough() {
                break;
            }
            weigh_op(keyspace, op, &mut scale);
        }
        scale.bytes
    };
    branch(&txn.success).max(branch(&txn.failure))
}

fn weigh_op(keyspace: &Keyspace, op: &TxnOp, scale: &mut Scale) {
    match op {
        TxnOp::Range(range) => keyspace.weigh(range, scale),
        TxnOp::Put(put) if put.prev_kv => {
            if let Some(kv) = keyspace.get(&put.key) {
                let _ = scale.add(&kv);
            }
        }
        TxnOp::Delete(delete) if delete.prev_kv => {
            keyspace.weigh(&RangeRequest::latest(delete.keys.clone()), scale);
        }
        TxnOp::Put(_) | TxnOp::Delete(_) => {}
        TxnOp::Txn(nested) => {
            let left = scale.enough.saturating_sub(scale.bytes);
            scale.bytes = scale.bytes.saturating_add(weigh(keyspace, nested, left));
        }
    }
}
