//! Reference A.4.

use super::*;
use crate::tests::dump::dump;

fn compare(keys: KeyRange, relation: Relation, target: CompareTarget) -> Compare {
    Compare {
        keys,
        relation,
        target,
    }
}

fn value(text: &str) -> CompareTarget {
    CompareTarget::Value(bytes(text))
}

fn put_op(key: &str, value: &str) -> TxnOp {
    TxnOp::Put(put(key, value))
}

fn range_op(keys: KeyRange) -> TxnOp {
    TxnOp::Range(RangeRequest::latest(keys))
}

fn range_at(keys: KeyRange, revision: i64) -> TxnOp {
    TxnOp::Range(RangeRequest {
        revision: Revision(revision),
        ..RangeRequest::latest(keys)
    })
}

fn delete_op(keys: KeyRange) -> TxnOp {
    TxnOp::Delete(DeleteRequest {
        keys,
        prev_kv: false,
    })
}

fn ops(success: Vec<TxnOp>) -> TxnRequest {
    TxnRequest {
        success,
        ..TxnRequest::default()
    }
}

#[test]
fn compares() {
    use {CompareTarget::*, Relation::*};
    let mut store = Store::new();
    store.grant(7).unwrap();
    store.put("a", "1"); // 2
    store.put("b", "2"); // 3
    store.put("b", "2"); // 4
    store.reply(leased("l", 7)).unwrap(); // 5
    let table = [
        (one("b"), Equal, Version(2), true),
        (one("b"), NotEqual, Version(2), false),
        (one("b"), Greater, Version(1), true),
        (one("b"), Greater, Version(2), false),
        (one("b"), Less, Version(3), true),
        (one("b"), Equal, Create(3), true),
        (one("b"), Less, Create(3), false),
        (one("b"), Equal, Mod(4), true),
        (one("b"), Equal, Mod(3), false),
        (one("b"), Equal, value("2"), true),
        (one("b"), Greater, value("10"), true),
        (one("b"), Less, value("3"), true),
        (one("b"), NotEqual, value(""), true),
        (one("l"), Equal, Lease(7), true),
        (one("b"), Equal, Lease(0), true),
        // A missing key: numbers are 0, and nothing holds of its value.
        (one("x"), Equal, Version(0), true),
        (one("x"), Equal, Create(0), true),
        (one("x"), Greater, Mod(0), false),
        (one("x"), Less, Mod(1), true),
        (one("x"), Equal, Lease(0), true),
        (one("x"), Equal, value(""), false),
        (one("x"), NotEqual, value("1"), false),
        (one("x"), Less, value("1"), false),
        // A range: every key of it; an empty one like a missing key.
        (between("a", "c"), Greater, Version(0), true),
        (between("a", "c"), Equal, Version(1), false),
        (between("a", "c"), NotEqual, value("3"), true),
        (from("b"), Less, Mod(6), true),
        (between("x", "z"), Equal, Version(0), true),
        (between("x", "z"), NotEqual, value("1"), false),
        (between("c", "a"), Equal, Version(0), true),
    ];
    for (keys, relation, target, holds) in table {
        let compare = compare(keys, relation, target);
        let txn = TxnRequest {
            compare: vec![compare.clone()],
            ..TxnRequest::default()
        };
        assert_eq!(
            store.machine.read_txn(&txn).unwrap().succeeded,
            holds,
            "{compare:?}"
        );
        assert_eq!(store.txn(txn).unwrap().succeeded, holds, "{compare:?}");
    }
    // All must hold; none is a success.
    let both = vec![
        compare(one("a"), Equal, Version(1)),
        compare(one("b"), Equal, Version(1)),
    ];
    let txn = TxnRequest {
        compare: both,
        ..TxnRequest::default()
    };
    assert!(!store.machine.read_txn(&txn).unwrap().succeeded);
    assert!(
        store
            .machine
            .read_txn(&TxnRequest::default())
            .unwrap()
            .succeeded
    );
    // A value deleted is missing.
    store.delete("a");
    let txn = TxnRequest {
        compare: vec![compare(one("a"), NotEqual, value("x"))],
        ..TxnRequest::default()
    };
    assert!(!store.machine.read_txn(&txn).unwrap().succeeded);
}

#[test]
fn one_revision_and_events_in_the_order_of_operations() {
    let mut store = Store::new();
    store.put("old", "1");
    let txn = ops(vec![
        put_op("z", "1"),
        delete_op(one("old")),
        put_op("a", "1"),
    ]);
    let applied = store.apply(Command::Txn(txn));
    assert_eq!(applied.revision, Revision(3));
    let told_of: Vec<_> = applied.events.iter().map(told).collect();
    assert_eq!(told_of, ["+z@3", "-old@3<", "+a@3"]);
    assert_eq!(store.events(3).unwrap(), told_of);
}

#[test]
fn reads_see_earlier_writes_and_compares_do_not() {
    let mut store = Store::new();
    store.put("k", "old");
    let nested = TxnRequest {
        compare: vec![compare(one("k"), Relation::Equal, value("old"))],
        success: vec![range_op(one("k"))],
        failure: vec![],
    };
    let txn = ops(vec![
        range_op(one("k")),
        put_op("k", "new"),
        range_op(one("k")),
        range_at(one("k"), 2),
        TxnOp::Txn(nested),
        delete_op(one("k")),
        range_op(one("k")),
    ]);
    let reply = store.txn(txn).unwrap();
    let seen = |reply: &TxnOpReply| match reply {
        TxnOpReply::Range(reply) => {
            assert_eq!(reply.count, reply.kvs.len() as u64);
            reply
                .kvs
                .iter()
                .map(|kv| text(&kv.value))
                .collect::<Vec<_>>()
                .join(",")
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(seen(&reply.replies[0]), "old");
    assert_eq!(seen(&reply.replies[2]), "new");
    assert_eq!(seen(&reply.replies[3]), "old");
    let TxnOpReply::Txn(nested) = &reply.replies[4] else {
        panic!("{reply:?}")
    };
    assert!(nested.succeeded, "compares see the state before");
    assert_eq!(seen(&nested.replies[0]), "new");
    assert_eq!(seen(&reply.replies[6]), "");
    assert_eq!(
        (reply.revision, nested.revision),
        (Revision(3), Revision(3))
    );
}

#[test]
fn without_effect_no_revision() {
    let mut store = Store::new();
    store.put("k", "v");
    for txn in [
        TxnRequest::default(),
        ops(vec![range_op(one("k"))]),
        ops(vec![delete_op(one("x"))]),
        ops(vec![TxnOp::Txn(ops(vec![
            range_op(one("k")),
            delete_op(from("x")),
        ]))]),
        // The branch with the write does not run.
        TxnRequest {
            failure: vec![put_op("k", "w")],
            ..TxnRequest::default()
        },
    ] {
        let applied = store.apply(Command::Txn(txn.clone()));
        assert_eq!(
            (applied.revision, applied.events.len()),
            (Revision(2), 0),
            "{txn:?}"
        );
        let Ok(Reply::Txn(reply)) = applied.reply else {
            panic!("{txn:?}")
        };
        assert_eq!(reply.revision, Revision(2));
    }
}

/// Refused before anything is applied, whatever comes first (etcd issues 18667, 21432).
#[test]
fn all_or_nothing() {
    let mut store = Store::new();
    store.grant(7).unwrap();
    for value in ["1", "2", "3"] {
        store.put("k", value); // 2, 3, 4
    }
    store.compact(3).unwrap();
    let keep_value = |key: &str| {
        TxnOp::Put(PutRequest {
            ignore_value: true,
            ..put(key, "")
        })
    };
    let keep_lease = |key: &str| {
        TxnOp::Put(PutRequest {
            ignore_lease: true,
            ..put(key, "v")
        })
    };
    let on_lease = |lease| {
        TxnOp::Put(PutRequest {
            lease: LeaseId(lease),
            ..put("l", "v")
        })
    };
    let table: Vec<(Vec<TxnOp>, Result<(), Refusal>)> = vec![
        (vec![range_at(one("k"), 3)], Ok(())),
        (vec![range_at(one("k"), 2)], Err(Refusal::Compacted)),
        // Outside a transaction, what is negative means the latest.
        (vec![range_at(one("k"), -1)], Err(Refusal::Compacted)),
        (vec![range_at(one("k"), 4)], Ok(())),
        // The revision the transaction itself makes is a future one.
        (vec![range_at(one("k"), 5)], Err(Refusal::FutureRevision)),
        (
            vec![TxnOp::Txn(ops(vec![range_at(one("k"), 2)]))],
            Err(Refusal::Compacted),
        ),
        (vec![on_lease(7)], Ok(())),
        (vec![on_lease(8)], Err(Refusal::LeaseNotFound)),
        // Of two refusals, the write's.
        (
            vec![range_at(one("k"), 2), on_lease(8)],
            Err(Refusal::LeaseNotFound),
        ),
        (vec![keep_value("k")], Ok(())),
        (vec![keep_value("x")], Err(Refusal::KeyNotFound)),
        (vec![keep_lease("x")], Err(Refusal::KeyNotFound)),
        // What an earlier operation does counts.
        (vec![put_op("x", "v"), keep_value("x")], Ok(())),
        (
            vec![delete_op(from("j")), keep_value("k")],
            Err(Refusal::KeyNotFound),
        ),
        (
            vec![delete_op(from("j")), put_op("k", "v"), keep_lease("k")],
            Ok(()),
        ),
        (
            vec![TxnOp::Txn(ops(vec![delete_op(one("k"))])), keep_value("k")],
            Err(Refusal::KeyNotFound),
        ),
        // Only the branch that runs is judged.
        (
            vec![TxnOp::Txn(TxnRequest {
                failure: vec![on_lease(8)],
                ..TxnRequest::default()
            })],
            Ok(()),
        ),
    ];
    for (judged, expected) in table {
        let mut store = Store {
            machine: store.machine.clone(),
        };
        let before = store.machine.clone();
        let mut success = vec![put_op("first", "v")];
        success.extend(judged);
        let applied = store.apply(Command::Txn(ops(success.clone())));
        assert_eq!(
            applied.reply.as_ref().map(drop).map_err(|r| *r),
            expected,
            "{success:?}"
        );
        if expected.is_err() {
            let mut passed = before;
            passed.pass(store.machine.applied());
            assert_eq!(dump(&store.machine), dump(&passed));
            assert!(applied.events.is_empty());
        }
    }
}

#[test]
fn a_read_is_told_from_a_write() {
    let nested = |op: TxnOp| TxnOp::Txn(ops(vec![TxnOp::Txn(ops(vec![op]))]));
    let table = [
        (TxnRequest::default(), false),
        (ops(vec![range_op(one("k"))]), false),
        (ops(vec![nested(range_op(one("k")))]), false),
        (ops(vec![range_op(one("k")), put_op("k", "v")]), true),
        (ops(vec![delete_op(one("k"))]), true),
        (
            TxnRequest {
                failure: vec![put_op("k", "v")],
                ..TxnRequest::default()
            },
            true,
        ),
        (ops(vec![nested(delete_op(one("k")))]), true),
    ];
    for (txn, writes) in table {
        assert_eq!(txn.writes(), writes, "{txn:?}");
    }
}

#[test]
fn a_read_answers_as_its_command_would() {
    let mut store = Store::new();
    store.put("a", "1");
    store.put("b", "2");
    let txn = TxnRequest {
        compare: vec![compare(one("a"), Relation::Equal, value("2"))],
        success: vec![],
        failure: vec![
            range_op(from("")),
            TxnOp::Txn(ops(vec![range_at(from(""), 2), range_op(one("b"))])),
        ],
    };
    assert_eq!(store.machine.read_txn(&txn), store.txn(txn));
    for (revision, refusal) in [
        (4, Some(Refusal::FutureRevision)),
        // A store never compacted counts as compacted at -1.
        (-1, None),
        (-2, Some(Refusal::Compacted)),
    ] {
        let txn = ops(vec![range_at(from(""), revision)]);
        let answer = store.machine.read_txn(&txn);
        assert_eq!(answer.as_ref().err(), refusal.as_ref(), "{revision}");
        assert_eq!(answer, store.txn(txn));
    }
}
