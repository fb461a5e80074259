//! Golden bytes of every kind, and bytes that are no commands.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::request::*;
use crate::tests::strategies::command;

fn encoded(command: &Command) -> Vec<u8> {
    let mut out = Vec::new();
    command.encode(&mut out);
    out
}

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    }
}

fn single(key: &'static str) -> KeyRange {
    KeyRange::single(Bytes::from_static(key.as_bytes()))
}

/// These bytes stand in logs: a row may be added but never changed while format 1 is read.
#[test]
fn golden_bytes() {
    let table: Vec<(Command, Vec<u8>)> = vec![
        (
            Command::Put(put("k", "vv")),
            [&[1, 1, 0, 0, 1, 2][..], b"kvv"].concat(),
        ),
        (
            Command::Put(PutRequest {
                lease: LeaseId(300),
                prev_kv: true,
                ignore_value: true,
                ignore_lease: true,
                ..put("k", "")
            }),
            [&[1, 1, 7, 0xac, 2, 1, 0][..], b"k"].concat(),
        ),
        (
            Command::Delete(DeleteRequest {
                keys: single("k"),
                prev_kv: true,
            }),
            vec![1, 2, 1, 0, 1, b'k'],
        ),
        (
            Command::Delete(DeleteRequest {
                keys: KeyRange {
                    start: Bytes::new(),
                    end: RangeEnd::Open,
                },
                prev_kv: false,
            }),
            vec![1, 2, 0, 1, 0],
        ),
        (
            Command::Txn(TxnRequest {
                compare: vec![
                    Compare {
                        keys: single("k"),
                        relation: Relation::NotEqual,
                        target: CompareTarget::Value(Bytes::from_static(b"v")),
                    },
                    Compare {
                        keys: single("k"),
                        relation: Relation::Less,
                        target: CompareTarget::Lease(-1),
                    },
                ],
                success: vec![TxnOp::Put(put("k", "v")), TxnOp::Txn(TxnRequest::default())],
                failure: vec![
                    TxnOp::Delete(DeleteRequest {
                        keys: single("k"),
                        prev_kv: false,
                    }),
                    TxnOp::Range(RangeRequest {
                        keys: KeyRange {
                            start: Bytes::from_static(b"a"),
                            end: RangeEnd::Before(Bytes::from_static(b"b")),
                        },
                        limit: 5,
                        revision: Revision(6),
                        sort_order: SortOrder::Descend,
                        sort_target: SortTarget::Value,
                        keys_only: true,
                        count_only: true,
                        mod_revision_min: 7,
                        mod_revision_max: 8,
                        create_revision_min: 9,
                        create_revision_max: 10,
                        uncounted: false,
                    }),
                ],
            }),
            [
                &[1, 3, 2][..],
                &[0, 1, b'k', 3, 3, 1, b'v'],
                &[
                    0, 1, b'k', 2, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1,
                ],
                &[2, 2, 0, 0, 1, 1, b'k', b'v', 4, 0, 0, 0],
                &[
                    2, 3, 0, 0, 1, b'k', 1, 3, 2, 1, b'a', 1, b'b', 5, 6, 2, 4, 7, 8, 9, 10,
                ],
            ]
            .concat(),
        ),
        (
            Command::Compact {
                revision: Revision(128),
            },
            vec![1, 4, 0x80, 1],
        ),
        (
            Command::LeaseGrant {
                id: LeaseId(1),
                ttl_seconds: 60,
            },
            vec![1, 5, 1, 60],
        ),
        (
            Command::LeaseRevoke {
                id: LeaseId(1),
                term: 2,
            },
            vec![1, 6, 1, 2],
        ),
        (
            Command::LeaseCheckpoint {
                remaining: vec![(LeaseId(1), 9), (LeaseId(2), 0)],
                term: 3,
            },
            vec![1, 7, 3, 2, 1, 9, 2, 0],
        ),
        (
            Command::AlarmRaise {
                member: 4,
                kind: AlarmKind::NoSpace,
            },
            vec![1, 8, 4, 1],
        ),
        (
            Command::AlarmClear {
                member: 4,
                kind: AlarmKind::Corrupt,
            },
            vec![1, 9, 4, 2],
        ),
        (
            Command::Space(SpaceChange::Quota { bytes: 300 }),
            vec![1, 15, 172, 2],
        ),
        (
            Command::Space(SpaceChange::Full { member: 4 }),
            vec![1, 16, 4],
        ),
        (Command::Space(SpaceChange::Free), vec![1, 17]),
        (
            Command::MemberPublish {
                id: 4,
                name: "m".into(),
                client_urls: vec!["u".into(), String::new()],
            },
            vec![1, 10, 4, 1, b'm', 2, 1, b'u', 0],
        ),
        (
            Command::Members(MemberChange::Add(MemberRecord {
                id: 5,
                name: String::new(),
                peer_urls: vec!["p".into()],
                client_urls: vec![],
                learner: true,
            })),
            vec![1, 11, 5, 0, 1, 1, b'p', 0, 1],
        ),
        (
            Command::Members(MemberChange::Remove { id: 5 }),
            vec![1, 12, 5],
        ),
        (
            Command::Members(MemberChange::Update {
                id: 5,
                peer_urls: vec!["q".into()],
            }),
            vec![1, 13, 5, 1, 1, b'q'],
        ),
        (
            Command::Members(MemberChange::Promote { id: 5 }),
            vec![1, 14, 5],
        ),
    ];
    for (command, golden) in table {
        assert_eq!(encoded(&command), golden, "{command:?}");
        assert_eq!(Command::decode(Bytes::from(golden)), Ok(command));
    }
}

#[test]
fn each_fault_is_named() {
    let table: &[(&[u8], &str)] = &[
        (&[], "decode command: expected format 1 at byte 0"),
        (&[2, 1], "decode command: expected format 1 at byte 0"),
        (&[1, 0], "decode command: expected a command kind at byte 1"),
        (&[1, 1, 8], "decode command: expected put flags at byte 2"),
        (
            &[1, 1, 0, 0x80],
            "decode command: expected a number at byte 3",
        ),
        (
            &[1, 1, 0, 0, 1, 1, b'k'],
            "decode command: expected as many bytes as the length says at byte 7",
        ),
        (&[1, 4, 1, 1], "decode command: expected the end at byte 3"),
        (
            &[1, 7, 0, 200, 1, 1],
            "decode command: expected a count that fits the bytes left at byte 5",
        ),
        (
            &[1, 10, 1, 1, 0xff, 0],
            "decode command: expected text in UTF-8 before at byte 5",
        ),
    ];
    for (bytes, text) in table {
        let error = Command::decode(Bytes::copy_from_slice(bytes)).unwrap_err();
        assert_eq!(error.to_string(), *text, "{bytes:?}");
    }
}

#[test]
fn keys_and_values_share_the_entry() {
    let entry = Bytes::from(encoded(&Command::Put(put("some key", "some value"))));
    let inside = entry.as_ptr_range();
    let Ok(Command::Put(put)) = Command::decode(entry) else {
        panic!("a put")
    };
    assert!(inside.contains(&put.key.as_ptr()) && inside.contains(&put.value.as_ptr()));
    assert_eq!(put.key.as_ptr_range().end, put.value.as_ptr());
}

#[test]
fn nesting_has_a_bound() {
    let nested = |depth: usize| {
        let wrap = |txn, _| TxnRequest {
            success: vec![TxnOp::Txn(txn)],
            ..TxnRequest::default()
        };
        (1..depth).fold(TxnRequest::default(), wrap)
    };
    for (depth, fits) in [(1, true), (TXN_DEPTH_MAX, true), (TXN_DEPTH_MAX + 1, false)] {
        let txn = nested(depth);
        assert_eq!(txn.depth(), depth);
        let bytes = Bytes::from(encoded(&Command::Txn(txn)));
        assert_eq!(Command::decode(bytes).is_ok(), fits, "{depth}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_is_written_is_read(command in command()) {
        prop_assert_eq!(Command::decode(Bytes::from(encoded(&command))), Ok(command));
    }

    /// No bytes make it panic, and what it accepts has no second spelling: members that compare
    /// bytes and members that compare commands agree.
    #[test]
    fn any_bytes_are_a_command_or_an_error(
        command in command(),
        noise in prop::collection::vec(any::<u8>(), 0..60),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = encoded(&command);
        let mut changed = whole.clone();
        changed[at.index(whole.len())] = byte;
        let mut inserted = whole.clone();
        inserted.insert(at.index(whole.len()), byte);
        let cut = whole[..cut.index(whole.len())].to_vec();
        prop_assert!(Command::decode(Bytes::from(cut)).is_err());
        let mut kind = vec![1, byte % 12];
        kind.extend_from_slice(&noise);
        for bytes in [changed, inserted, noise, kind] {
            if let Ok(command) = Command::decode(Bytes::from(bytes.clone())) {
                prop_assert_eq!(encoded(&command), bytes);
            }
        }
    }
}
