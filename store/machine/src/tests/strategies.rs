//! Random requests and commands over few keys, leases and revisions, so that they meet.

use bytes::Bytes;
use proptest::prelude::*;

use crate::alarm::AlarmKind;
use crate::command::Command;
use crate::request::*;
use crate::revision::{LeaseId, Revision};

/// Some are prefixes of others.
fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "aa", "ab", "b", "b/1", "b/2", "b/3", "c", "d"])
        .prop_map(|key| Bytes::from_static(key.as_bytes()))
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => prop::sample::select(vec!["", "x", "y", "zz"])
            .prop_map(|value| Bytes::from_static(value.as_bytes())),
        1 => (0usize..60).prop_map(|len| Bytes::from(vec![b'v'; len])),
        // Above the size from which a value is not packed.
        1 => (100usize..140).prop_map(|len| Bytes::from(vec![b'L'; len])),
    ]
}

fn keys() -> impl Strategy<Value = KeyRange> {
    (
        key(),
        prop_oneof![
            3 => Just(RangeEnd::Single),
            1 => Just(RangeEnd::Open),
            2 => key().prop_map(RangeEnd::Before),
        ],
    )
        .prop_map(|(start, end)| KeyRange { start, end })
}

fn lease() -> impl Strategy<Value = LeaseId> {
    prop_oneof![
        3 => Just(LeaseId::NONE),
        3 => (1i64..4).prop_map(LeaseId),
        1 => Just(LeaseId(-5)),
    ]
}

fn put() -> impl Strategy<Value = PutRequest> {
    (key(), value(), lease(), any::<bool>(), 0u8..10).prop_map(
        |(key, value, lease, prev_kv, kind)| {
            let (ignore_value, ignore_lease) = (kind == 0 || kind == 2, kind == 1 || kind == 2);
            PutRequest {
                key,
                value: if ignore_value { Bytes::new() } else { value },
                lease: if ignore_lease { LeaseId::NONE } else { lease },
                prev_kv,
                ignore_value,
                ignore_lease,
            }
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRequest> {
    (keys(), any::<bool>()).prop_map(|(keys, prev_kv)| DeleteRequest { keys, prev_kv })
}

fn bound() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0i64), 1 => 1i64..40]
}

pub(crate) fn range() -> impl Strategy<Value = RangeRequest> {
    let sort = (
        prop::sample::select(vec![SortOrder::None, SortOrder::Ascend, SortOrder::Descend]),
        prop::sample::select(vec![
            SortTarget::Key,
            SortTarget::Version,
            SortTarget::Create,
            SortTarget::Mod,
            SortTarget::Value,
        ]),
    );
    let flags = (any::<bool>(), 0u8..6);
    let bounds = (bound(), bound(), bound(), bound());
    (keys(), 0u64..5, bound(), sort, flags, bounds).prop_map(
        |(keys, limit, revision, (sort_order, sort_target), (keys_only, count), bounds)| {
            RangeRequest {
                keys,
                limit,
                revision: Revision(revision),
                sort_order,
                sort_target,
                keys_only,
                count_only: count == 0,
                mod_revision_min: bounds.0,
                mod_revision_max: bounds.1,
                create_revision_min: bounds.2,
                create_revision_max: bounds.3,
                uncounted: false,
            }
        },
    )
}

fn compare() -> impl Strategy<Value = Compare> {
    let relation = prop::sample::select(vec![
        Relation::Equal,
        Relation::Greater,
        Relation::Less,
        Relation::NotEqual,
    ]);
    let target = prop_oneof![
        (0i64..4).prop_map(CompareTarget::Version),
        (0i64..30).prop_map(CompareTarget::Create),
        (0i64..30).prop_map(CompareTarget::Mod),
        value().prop_map(CompareTarget::Value),
        (0i64..4).prop_map(CompareTarget::Lease),
    ];
    (keys(), relation, target).prop_map(|(keys, relation, target)| Compare {
        keys,
        relation,
        target,
    })
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = prop_oneof![
        3 => range().prop_map(TxnOp::Range),
        5 => put().prop_map(TxnOp::Put),
        2 => delete().prop_map(TxnOp::Delete),
    ];
    let op = leaf.prop_recursive(2, 8, 3, |op| {
        let ops = || prop::collection::vec(op.clone(), 0..3);
        (prop::collection::vec(compare(), 0..2), ops(), ops()).prop_map(
            |(compare, success, failure)| {
                TxnOp::Txn(TxnRequest {
                    compare,
                    success,
                    failure,
                })
            },
        )
    });
    let ops = || prop::collection::vec(op.clone(), 0..4);
    (prop::collection::vec(compare(), 0..3), ops(), ops()).prop_map(
        |(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        },
    )
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let kind = || prop::sample::select(vec![AlarmKind::NoSpace, AlarmKind::Corrupt]);
    prop_oneof![
        20 => put().prop_map(Command::Put),
        5 => delete().prop_map(Command::Delete),
        12 => txn().prop_map(Command::Txn),
        2 => (-1i64..60).prop_map(|revision| Command::Compact { revision: Revision(revision) }),
        3 => (lease(), 1i64..100)
            .prop_map(|(id, ttl_seconds)| Command::LeaseGrant { id, ttl_seconds }),
        2 => (lease(), 0u64..4).prop_map(|(id, term)| Command::LeaseRevoke { id, term }),
        1 => (prop::collection::vec((lease(), -1i64..50), 0..3), 0u64..4)
            .prop_map(|(remaining, term)| Command::LeaseCheckpoint { remaining, term }),
        1 => (1u64..3, kind()).prop_map(|(member, kind)| Command::AlarmRaise { member, kind }),
        3 => (1u64..3, kind()).prop_map(|(member, kind)| Command::AlarmClear { member, kind }),
        1 => (1u64..4, "[a-z]{0,4}", prop::collection::vec("[a-z]{0,4}", 0..2)).prop_map(
            |(id, name, client_urls)| Command::MemberPublish { id, name, client_urls }
        ),
    ]
}
