//! Who writes the keys that are no containers': two keys far apart, always in one transaction and with one value,
//! so that a file that shows both shows whether the transaction was seen whole.

use bytes::Bytes;
use store_machine::reply::Reply;
use store_machine::request::{DeleteRequest, KeyRange, PutRequest, TxnOp, TxnRequest};
use store_machine::revision::LeaseId;
use store_member::answer::{Body, Failure};

use super::Happening;
use super::desk::{Caller, Desk, Wish};
use super::renderer::PAIR;
use crate::plan::SECOND;
use crate::promises::{Check, broken};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Editor {
    value: u64,
    /// The requests of the last edit.
    last: Vec<usize>,
    /// The last edit is known to be done.
    settled: bool,
}

impl Editor {
    /// Writes both keys; in peace the last value, until that is known to be there.
    pub(super) fn edit(&mut self, desk: &mut Desk<'_>, quiet: bool) {
        let plan = desk.plan;
        let over = !plan.last_edit && (quiet || desk.now > plan.edits_until);
        if over || (quiet && self.settled) {
            return;
        }
        let again = if quiet {
            2 * SECOND
        } else {
            desk.chance.between(1_000, 2 * desk.plan.edit_every)
        };
        desk.after(again, Happening::Edit);
        if self.last.is_empty() {
            self.value += 1;
        }
        let deletes = !quiet && desk.chance.once_in(10);
        let value = self.value;
        let write = |key: &'static str| match deletes {
            true => delete(key),
            false => put(key, value),
        };
        let Some((host, _)) = desk.connect() else {
            return;
        };
        let txn = TxnRequest {
            compare: Vec::new(),
            success: PAIR.map(write).to_vec(),
            failure: Vec::new(),
        };
        let ask = desk.ask(host, Caller::Editor, Wish::Txn(txn));
        if quiet {
            self.last.push(ask);
        }
    }

    pub(super) fn answered(&mut self, ask: usize, outcome: &Result<Body, Failure>) {
        let done = matches!(outcome, Ok(Body::Applied(Reply::Txn(_))));
        self.settled |= done && self.last.contains(&ask);
    }

    /// Whether the last edit is known to be done.
    pub(super) fn unsettled(&self) -> Check {
        if self.settled {
            return Ok(());
        }
        broken(
            "peace brings service",
            String::from("the last edit of two keys is not known to be done"),
        )
    }
}

fn put(key: &'static str, value: u64) -> TxnOp {
    TxnOp::Put(PutRequest {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from(value.to_string()),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn delete(key: &'static str) -> TxnOp {
    TxnOp::Delete(DeleteRequest {
        keys: KeyRange::single(Bytes::from_static(key.as_bytes())),
        prev_kv: false,
    })
}
