//! Writes, from the fact to the answer.

use bytes::Bytes;
use store_machine::command::Command;
use store_machine::request::{
    Compare, CompareTarget, KeyRange, PutRequest, RangeRequest, Relation, TxnOp, TxnRequest,
};
use store_machine::revision::LeaseId;
use store_member::input::Input;

use super::{KEYS, Path, TURN, key, value};
use crate::lone::Lone;

pub(crate) const PUT: Path = Path {
    name: "put",
    about: "put of one of many keys, 64 in a turn: proposed, logged, applied, answered",
    times: 20_000,
    prepare: |times| writes(times, TURN, put),
};

pub(crate) const PUT_ALONE: Path = Path {
    name: "put-alone",
    about: "the same, a turn each",
    times: 5_000,
    prepare: |times| writes(times, 1, put),
};

pub(crate) const TXN: Path = Path {
    name: "txn",
    about: "transaction as Kubernetes has it (compare, put, else get), 64 in a turn",
    times: 20_000,
    prepare: |times| writes(times, TURN, txn),
};

pub(super) fn put(number: u64) -> Command {
    Command::Put(written(key(number)))
}

fn written(key: Bytes) -> PutRequest {
    PutRequest {
        key,
        value: value(),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    }
}

fn txn(number: u64) -> Command {
    let key = key(number);
    Command::Txn(TxnRequest {
        compare: vec![Compare {
            keys: KeyRange::single(key.clone()),
            relation: Relation::Less,
            target: CompareTarget::Mod(i64::MAX),
        }],
        failure: vec![TxnOp::Range(RangeRequest::latest(KeyRange::single(
            key.clone(),
        )))],
        success: vec![TxnOp::Put(written(key))],
    })
}

/// A member with [`KEYS`] keys.
pub(super) fn full() -> Lone {
    let mut lone = Lone::new();
    send(&mut lone, KEYS, TURN, put);
    lone
}

fn writes(times: u64, turn: u64, command: fn(u64) -> Command) -> Box<dyn FnOnce()> {
    let mut lone = full();
    Box::new(move || send(&mut lone, times, turn, command))
}

/// Writes the keys from the first on, again and again.
pub(super) fn send(lone: &mut Lone, times: u64, turn: u64, command: fn(u64) -> Command) {
    let mut sent = 0;
    while sent < times {
        let many = turn.min(times - sent);
        let inputs: Vec<_> = (sent..sent + many)
            .map(|number| Input::Propose {
                token: lone.token(),
                command: command(number % KEYS),
            })
            .collect();
        let (replies, _) = lone.turn(inputs);
        assert_eq!(replies as u64, many);
        sent += many;
    }
}
