//! Tables for the limits and checks, and a dumb twin for the search for duplicate keys.

use store_machine::reply::DeleteReply;
use store_machine::request::{DeleteRequest, PutRequest};
use store_machine::revision::{LeaseId, Revision};

use super::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(pb::PutRequest {
            key: bytes(key),
            ..Default::default()
        })),
    }
}

fn delete(key: &str, end: &str) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(pb::request_op::Request::RequestDeleteRange(
            pb::DeleteRangeRequest {
                key: bytes(key),
                range_end: bytes(end),
                prev_kv: false,
            },
        )),
    }
}

fn range(key: &str, serializable: bool) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(pb::request_op::Request::RequestRange(pb::RangeRequest {
            key: bytes(key),
            serializable,
            ..Default::default()
        })),
    }
}

fn nested(success: Vec<pb::RequestOp>, failure: Vec<pb::RequestOp>) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(pb::request_op::Request::RequestTxn(pb::TxnRequest {
            compare: vec![],
            success,
            failure,
        })),
    }
}

fn txn(success: Vec<pb::RequestOp>) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: vec![],
        success,
        failure: vec![],
    }
}

fn compare_of(target: i32, union: Option<pb::compare::TargetUnion>) -> pb::Compare {
    pb::Compare {
        target,
        key: bytes("a"),
        target_union: union,
        ..Default::default()
    }
}

#[test]
fn duplicate_keys() {
    let duplicate = Err(ApiError::DuplicateKey);
    for (name, ops, wanted) in [
        ("one put", vec![put("a")], Ok(())),
        ("two keys", vec![put("a"), put("b")], Ok(())),
        ("put twice", vec![put("a"), put("a")], duplicate),
        ("put, delete", vec![put("a"), delete("a", "")], duplicate),
        ("delete, put", vec![delete("a", ""), put("a")], duplicate),
        ("put in range", vec![put("b"), delete("a", "c")], duplicate),
        ("put at the end", vec![put("c"), delete("a", "c")], Ok(())),
        ("open delete", vec![delete("a", "\0"), put("zz")], duplicate),
        (
            "below an open delete",
            vec![delete("b", "\0"), put("a")],
            Ok(()),
        ),
        ("empty delete", vec![delete("c", "a"), put("b")], Ok(())),
        (
            "deletes overlap",
            vec![delete("a", "c"), delete("b", "d")],
            Ok(()),
        ),
        ("range and put", vec![range("a", false), put("a")], Ok(())),
        (
            "the branches of an inner transaction exclude each other",
            vec![nested(vec![put("a")], vec![put("a")])],
            Ok(()),
        ),
        (
            "put in one inner branch, delete in the other",
            vec![nested(vec![put("a")], vec![delete("a", "")])],
            Ok(()),
        ),
        (
            "outer and inner put",
            vec![put("a"), nested(vec![], vec![put("a")])],
            duplicate,
        ),
        (
            "inner put, outer delete",
            vec![nested(vec![put("a")], vec![]), delete("a", "b")],
            duplicate,
        ),
        (
            "inner delete, outer put",
            vec![put("a"), nested(vec![], vec![delete("a", "b")])],
            duplicate,
        ),
        (
            "two inner transactions",
            vec![
                nested(vec![put("a")], vec![]),
                nested(vec![], vec![put("a")]),
            ],
            duplicate,
        ),
    ] {
        assert_eq!(txn_request(txn(ops), 128).map(|_| ()), wanted, "{name}");
    }
    let both = pb::TxnRequest {
        compare: vec![],
        success: vec![put("a")],
        failure: vec![put("a")],
    };
    assert!(txn_request(both, 128).is_ok());
    let failure = pb::TxnRequest {
        compare: vec![],
        success: vec![],
        failure: vec![put("a"), put("a")],
    };
    assert_eq!(txn_request(failure, 128), Err(ApiError::DuplicateKey));
}

#[test]
fn too_many_operations() {
    let puts = |count: usize| (0..count).map(|at| put(&format!("k{at}"))).collect();
    assert!(txn_request(txn(puts(4)), 4).is_ok());
    assert_eq!(txn_request(txn(puts(5)), 4), Err(ApiError::TooManyOps));
    // Three of four are used by the outer level: one is left inside.
    let with_inner = |inner: usize| {
        let mut ops: Vec<pb::RequestOp> = vec![put("x"), put("y")];
        ops.push(nested(puts(inner), vec![]));
        txn(ops)
    };
    assert!(txn_request(with_inner(1), 4).is_ok());
    assert_eq!(txn_request(with_inner(2), 4), Err(ApiError::TooManyOps));
    let compares = pb::TxnRequest {
        compare: vec![compare_of(0, None); 5],
        ..Default::default()
    };
    assert_eq!(txn_request(compares, 4), Err(ApiError::TooManyOps));
}

#[test]
fn fields_are_checked_at_every_level() {
    let empty_key = pb::Compare::default();
    for (name, request, wanted) in [
        (
            "compare without key",
            pb::TxnRequest {
                compare: vec![empty_key],
                ..Default::default()
            },
            ApiError::EmptyKey,
        ),
        ("put without key", txn(vec![put("")]), ApiError::EmptyKey),
        (
            "inner put without key",
            txn(vec![nested(vec![], vec![put("")])]),
            ApiError::EmptyKey,
        ),
        (
            "operation that says nothing",
            txn(vec![pb::RequestOp { request: None }]),
            ApiError::KeyNotFound,
        ),
        (
            "unknown target",
            pb::TxnRequest {
                compare: vec![compare_of(9, None)],
                ..Default::default()
            },
            ApiError::InvalidCompare,
        ),
        (
            "fields before duplicates",
            txn(vec![put("a"), put("a"), put("")]),
            ApiError::EmptyKey,
        ),
    ] {
        assert_eq!(txn_request(request, 128), Err(wanted), "{name}");
    }
}

#[test]
fn compares_default_to_zero_or_empty() {
    use pb::compare::TargetUnion;
    for (target, union, wanted) in [
        (0, None, CompareTarget::Version(0)),
        (0, Some(TargetUnion::Version(3)), CompareTarget::Version(3)),
        (1, None, CompareTarget::Create(0)),
        (
            1,
            Some(TargetUnion::CreateRevision(3)),
            CompareTarget::Create(3),
        ),
        (2, Some(TargetUnion::Version(3)), CompareTarget::Mod(0)),
        (2, Some(TargetUnion::ModRevision(3)), CompareTarget::Mod(3)),
        (3, None, CompareTarget::Value(Bytes::new())),
        (
            3,
            Some(TargetUnion::Value(bytes("v"))),
            CompareTarget::Value(bytes("v")),
        ),
        (4, Some(TargetUnion::Lease(-3)), CompareTarget::Lease(-3)),
        (4, None, CompareTarget::Lease(0)),
    ] {
        assert_eq!(
            compare(compare_of(target, union)).map(|compare| compare.target),
            Ok(wanted)
        );
    }
}

#[test]
fn routes() {
    for (name, ops, wanted) in [
        ("nothing to do", vec![], Route::ReadSerializable),
        (
            "old data will do",
            vec![range("a", true)],
            Route::ReadSerializable,
        ),
        (
            "one wants the newest",
            vec![range("a", true), range("b", false)],
            Route::ReadLinearizable,
        ),
        ("a write", vec![range("a", true), put("a")], Route::Propose),
        (
            "an inner transaction that only reads",
            vec![nested(vec![range("a", true)], vec![])],
            Route::Propose,
        ),
    ] {
        assert_eq!(route(&txn(ops.clone())), wanted, "{name}");
        let failure = pb::TxnRequest {
            failure: ops,
            ..Default::default()
        };
        assert_eq!(route(&failure), wanted, "{name}, on failure");
    }
}

#[test]
fn inner_headers_carry_the_revision_their_operation_saw() {
    let range = || TxnOpReply::Range(Default::default());
    let put = || TxnOpReply::Put(Default::default());
    let delete = |deleted| {
        TxnOpReply::Delete(DeleteReply {
            deleted,
            ..Default::default()
        })
    };
    let inner = |replies| {
        TxnOpReply::Txn(TxnReply {
            replies,
            revision: Revision(7),
            ..Default::default()
        })
    };
    // The store's revision is 7 after each; what the headers carry, an inner transaction's first.
    let table = [
        (vec![range(), delete(0)], vec![7, 7]),
        (vec![range(), put(), range()], vec![6, 7, 7]),
        (
            vec![delete(0), delete(1), delete(0), range()],
            vec![6, 7, 7, 7],
        ),
        (
            vec![range(), inner(vec![range(), put()]), range()],
            vec![6, 0, 6, 7, 7],
        ),
        (vec![inner(vec![inner(vec![range()])])], vec![0, 0, 7]),
    ];
    let head = pb::ResponseHeader {
        cluster_id: 1,
        member_id: 2,
        revision: 7,
        raft_term: 3,
    };
    for (replies, expected) in table {
        let reply = TxnReply {
            succeeded: true,
            replies,
            revision: Revision(7),
        };
        let response = txn_response(head, reply);
        assert_eq!(response.header, Some(head));
        let headers = headers(&response);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|revision| pb::ResponseHeader {
                revision,
                ..Default::default()
            })
            .collect();
        assert_eq!(headers, expected);
    }
}

/// All headers inside, in order, an inner transaction's own before those of its operations.
fn headers(txn: &pb::TxnResponse) -> Vec<pb::ResponseHeader> {
    use pb::response_op::Response;
    let mut all = Vec::new();
    for op in &txn.responses {
        match op.response.as_ref().unwrap() {
            Response::ResponseRange(range) => all.push(range.header.unwrap()),
            Response::ResponsePut(put) => all.push(put.header.unwrap()),
            Response::ResponseDeleteRange(delete) => all.push(delete.header.unwrap()),
            Response::ResponseTxn(inner) => {
                all.push(inner.header.unwrap());
                all.extend(headers(inner));
            }
        }
    }
    all
}

/// Every key of a small alphabet, so that ranges can be written out.
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// The keys an operation puts and deletes, written out; a pair of sets per way the inner
/// transactions can go.
fn outcomes(op: &TxnOp) -> Vec<(Vec<&'static str>, Vec<&'static str>)> {
    match op {
        TxnOp::Range(_) => vec![(vec![], vec![])],
        TxnOp::Put(put) => {
            let key = KEYS.iter().find(|key| key.as_bytes() == put.key);
            vec![(key.into_iter().copied().collect(), vec![])]
        }
        TxnOp::Delete(delete) => {
            let inside = |key: &&&str| {
                let key = key.as_bytes();
                match &delete.keys.end {
                    RangeEnd::Single => key == delete.keys.start,
                    RangeEnd::Open => key >= &delete.keys.start[..],
                    RangeEnd::Before(end) => key >= &delete.keys.start[..] && key < &end[..],
                }
            };
            vec![(vec![], KEYS.iter().filter(inside).copied().collect())]
        }
        TxnOp::Txn(txn) => {
            let mut all = branch_outcomes(&txn.success);
            all.extend(branch_outcomes(&txn.failure));
            all
        }
    }
}

fn branch_outcomes(ops: &[TxnOp]) -> Vec<(Vec<&'static str>, Vec<&'static str>)> {
    let mut all = vec![(vec![], vec![])];
    for op in ops {
        let mut longer = vec![];
        for (puts, deletes) in &all {
            for (more_puts, more_deletes) in outcomes(op) {
                longer.push((
                    [&puts[..], &more_puts[..]].concat(),
                    [&deletes[..], &more_deletes[..]].concat(),
                ));
            }
        }
        all = longer;
    }
    all
}

/// Some way the transaction can go writes a key twice.
fn twin_finds_duplicate(ops: &[TxnOp]) -> bool {
    branch_outcomes(ops).iter().any(|(puts, deletes)| {
        puts.iter()
            .enumerate()
            .any(|(at, key)| puts[..at].contains(key) || deletes.contains(key))
    })
}

/// All operations of a small world: puts, deletes, and one level of inner transactions of them.
fn small_ops() -> Vec<TxnOp> {
    let put = |key: &str| {
        TxnOp::Put(PutRequest {
            key: bytes(key),
            value: Bytes::new(),
            lease: LeaseId::NONE,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        })
    };
    let delete = |start: &str, end| {
        TxnOp::Delete(DeleteRequest {
            keys: KeyRange {
                start: bytes(start),
                end,
            },
            prev_kv: false,
        })
    };
    let mut ops = vec![
        put("a"),
        put("b"),
        put("c"),
        delete("a", RangeEnd::Single),
        delete("a", RangeEnd::Before(bytes("b"))),
        delete("b", RangeEnd::Before(bytes("d"))),
        delete("c", RangeEnd::Before(bytes("a"))),
        delete("c", RangeEnd::Open),
    ];
    let plain = ops.clone();
    for success in &plain {
        for failure in &plain {
            ops.push(TxnOp::Txn(TxnRequest {
                compare: vec![],
                success: vec![success.clone()],
                failure: vec![failure.clone()],
            }));
        }
    }
    ops
}

#[test]
fn duplicates_are_found_as_by_the_twin() {
    let ops = small_ops();
    for first in &ops {
        for second in &ops {
            for third in ops.iter().take(8) {
                let branch = [first.clone(), second.clone(), third.clone()];
                assert_eq!(
                    claims(&branch).is_err(),
                    twin_finds_duplicate(&branch),
                    "{branch:?}"
                );
            }
        }
    }
}

#[test]
fn a_union_of_ranges_answers_as_a_list_of_them() {
    let points: Vec<Bytes> = ["a", "b", "c", "d", "e"].map(bytes).to_vec();
    let mut ranges = vec![];
    for (at, start) in points.iter().enumerate() {
        ranges.extend(points[at + 1..].iter().map(|end| (start, Some(end))));
        ranges.push((start, None));
    }
    for first in &ranges {
        for second in &ranges {
            for third in &ranges {
                let mut union = Deletes::default();
                let list = [first, second, third];
                for (start, end) in list {
                    union.insert((*start).clone(), end.cloned());
                }
                for key in &points {
                    let inside = list
                        .iter()
                        .any(|(start, end)| key >= start && end.is_none_or(|end| key < end));
                    assert_eq!(union.contains(key), inside, "{list:?} {key:?}");
                }
            }
        }
    }
}
