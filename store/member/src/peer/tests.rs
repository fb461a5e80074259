//! Golden bytes of every kind, and bytes that are no messages.

use bytes::Bytes;
use proptest::prelude::*;
use raft::eraftpb::{Entry, Message, MessageType};
use store_machine::auth::Actor;
use store_machine::checksum::{Span, TrailMark, TrailPoint};
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::revision::{LeaseId, Revision};

use super::check::{CheckOrder, CheckPoint, Difference};
use super::*;
use crate::answer::{Forbidden, LeaseLife};
use crate::record::Voters;
use crate::verdict::Aspect;

fn raft_message() -> PeerMessage {
    let entry = Entry {
        term: 5,
        index: 9,
        data: Bytes::from_static(b"x"),
        ..Entry::default()
    };
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgAppend);
    message.to = 2;
    message.from = 1;
    message.set_entries(vec![entry].into());
    PeerMessage::Raft(Box::new(message))
}

fn u64s(numbers: &[u64]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

fn ask(read: Read) -> PeerMessage {
    PeerMessage::Ask(Box::new(Ask {
        life: Life(7),
        number: 8,
        read,
    }))
}

fn answer(outcome: Result<Body, Failure>) -> PeerMessage {
    PeerMessage::Answer(Box::new(Answer {
        life: Life(7),
        number: 8,
        outcome,
    }))
}

/// Members of one version talk to each other in these bytes: a row may be added but never changed
/// while the version is 1.
fn golden() -> Vec<(PeerMessage, Vec<u8>)> {
    let names = u64s(&[7, 8]);
    let asked = |rest: &[u8]| [&[1, 4][..], &names, rest].concat();
    let answered = |rest: &[u8]| [&[1, 5][..], &names, rest].concat();
    vec![
        (
            raft_message(),
            [
                &[1, 1, 8, 3, 16, 2, 24, 1][..],
                &[58, 7, 16, 5, 24, 9, 34, 1, b'x'],
            ]
            .concat(),
        ),
        (
            PeerMessage::Forward(Box::new(Forward {
                term: 1,
                life: Life(2),
                message: 3,
                first: 4,
                commands: vec![
                    Command::Compact {
                        revision: Revision(6),
                    },
                    Command::LeaseGrant {
                        id: LeaseId(1),
                        ttl_seconds: 60,
                    },
                ],
            })),
            [
                &[1, 2][..],
                &u64s(&[1, 2, 3, 4]),
                &[0, 0, 0, 2],
                &[0, 0, 0, 3, 1, 4, 6],
                &[0, 0, 0, 4, 1, 5, 1, 60],
            ]
            .concat(),
        ),
        (
            PeerMessage::Declined(Box::new(Declined {
                life: Life(2),
                proposals: vec![
                    (4, Failure::TooManyRequests),
                    (5, Failure::Refused(Refusal::NoSpace)),
                ],
            })),
            [
                &[1, 3][..],
                &u64s(&[2]),
                &[0, 0, 0, 2],
                &u64s(&[4]),
                &[4],
                &u64s(&[5]),
                &[105],
            ]
            .concat(),
        ),
        (
            ask(Read::KeepAlive(LeaseId(-1))),
            asked(&[1, 255, 255, 255, 255, 255, 255, 255, 255]),
        ),
        (
            ask(Read::LeaseLife {
                id: LeaseId(3),
                keys: false,
            }),
            asked(&[2, 0, 0, 0, 0, 0, 0, 0, 3]),
        ),
        (
            ask(Read::LeaseLife {
                id: LeaseId(3),
                keys: true,
            }),
            asked(&[3, 0, 0, 0, 0, 0, 0, 0, 3]),
        ),
        (ask(Read::Leases), asked(&[4])),
        (
            ask(Read::Leases.by(Some(Actor::User {
                name: "u".into(),
                revision: 7,
            }))),
            asked(&[5, 0, 0, 0, 4, 1, 1, b'u', 7, 4]),
        ),
        (answer(Err(Failure::TimedOut)), answered(&[0, 3])),
        (
            answer(Ok(Body::KeepAlive(5))),
            answered(&[1, 0, 0, 0, 0, 0, 0, 0, 5]),
        ),
        (answer(Ok(Body::LeaseLife(None))), answered(&[2])),
        (
            answer(Ok(Body::LeaseLife(Some(LeaseLife {
                granted_seconds: 2,
                remaining_seconds: 1,
                keys: vec![Bytes::from_static(b"ab")],
            })))),
            answered(&[
                3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, b'a',
                b'b',
            ]),
        ),
        (
            answer(Ok(Body::Leases(vec![LeaseId(9)]))),
            answered(&[4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]),
        ),
        (
            PeerMessage::SnapshotPart(Box::new(SnapshotPart {
                transfer: 1,
                mark: Mark {
                    index: 2,
                    term: 3,
                    voters: Voters {
                        voters: vec![6],
                        ..Voters::default()
                    },
                },
                bytes: 4,
                offset: 5,
                content: Bytes::from_static(b"ab"),
            })),
            [
                &[1, 6][..],
                &u64s(&[1, 2, 3, 4, 5]),
                &[0, 0, 0, 26, 1, 0, 0, 0, 0, 1],
                &u64s(&[6]),
                &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                &[0, 0, 0, 2, b'a', b'b'],
            ]
            .concat(),
        ),
        (
            PeerMessage::SnapshotGot(SnapshotGot {
                transfer: 1,
                next: 2,
            }),
            [&[1, 7][..], &u64s(&[1, 2])].concat(),
        ),
        (PeerMessage::Removed, vec![1, 8]),
    ]
    .into_iter()
    .chain(golden_checks())
    .collect()
}

fn golden_checks() -> Vec<(PeerMessage, Vec<u8>)> {
    let bytes = |rest: &[&[u8]]| [&[1, 9][..], &rest.concat()].concat();
    let point = CheckPoint {
        trail: TrailPoint {
            origin: Revision(1),
            revision: Revision(2),
            digest: 3,
        },
        compacted: Revision(4),
        rest: 5,
        sums: vec![6],
    };
    let rows = [
        (CheckMessage::Wanted { contents: true }, bytes(&[&[1, 1]])),
        (
            CheckMessage::Order(CheckOrder {
                round: 1,
                index: 2,
                contents: Some((Revision(3), Revision(4))),
            }),
            bytes(&[&[2], &u64s(&[1, 2]), &[1], &u64s(&[3, 4])]),
        ),
        (
            CheckMessage::Report {
                round: 1,
                point: None,
            },
            bytes(&[&[3], &u64s(&[1]), &[0]]),
        ),
        (
            CheckMessage::Report {
                round: 1,
                point: Some(Box::new(point)),
            },
            bytes(&[
                &[3],
                &u64s(&[1]),
                &[1],
                &u64s(&[1, 2, 3, 4, 5]),
                &[0, 0, 0, 1],
                &u64s(&[6]),
            ]),
        ),
        (
            CheckMessage::MarksWanted { round: 1 },
            bytes(&[&[4], &u64s(&[1])]),
        ),
        (
            CheckMessage::Marks {
                round: 1,
                marks: vec![TrailMark {
                    revision: Revision(2),
                    digest: 3,
                }],
            },
            bytes(&[&[5], &u64s(&[1]), &[0, 0, 0, 1], &u64s(&[2, 3])]),
        ),
        (CheckMessage::Sound, bytes(&[&[6]])),
        (
            CheckMessage::Differs(Difference {
                member: 1,
                aspect: Aspect::Contents,
                since: Some(Span {
                    after: Revision(2),
                    until: Revision(3),
                }),
            }),
            bytes(&[&[7], &u64s(&[1]), &[1, 1], &u64s(&[2, 3])]),
        ),
    ];
    let checks = rows.into_iter();
    let checks = checks.map(|(check, bytes)| (PeerMessage::Check(check), bytes));
    checks.collect()
}

#[test]
fn golden_bytes() {
    for (message, bytes) in golden() {
        assert_eq!(message.encode(), bytes, "{message:?}");
        assert_eq!(PeerMessage::decode(Bytes::from(bytes)), Ok(message));
    }
}

#[test]
fn every_failure_comes_back() {
    let mut failures = vec![
        Failure::NoLeader,
        Failure::LeaderChanged,
        Failure::TimedOut,
        Failure::TooManyRequests,
        Failure::Stopped,
        Failure::Forbidden(Forbidden::UnstartedMembers),
        Failure::Forbidden(Forbidden::UnhealthyCluster),
        Failure::Forbidden(Forbidden::LearnerNotReady),
        Failure::Forbidden(Forbidden::TooManyLearners),
        Failure::Forbidden(Forbidden::NotLeader),
        Failure::Forbidden(Forbidden::BadTransferee),
    ];
    failures.extend(decode::REFUSALS.iter().copied().map(Failure::Refused));
    for failure in failures {
        let message = answer(Err(failure));
        let decoded = PeerMessage::decode(Bytes::from(message.encode()));
        assert_eq!(decoded, Ok(message));
    }
}

#[test]
fn a_cut_message_is_refused_with_its_place() {
    for (message, bytes) in golden() {
        if matches!(message, PeerMessage::Raft(_)) {
            continue;
        }
        for length in 0..bytes.len() {
            let cut = PeerMessage::decode(Bytes::copy_from_slice(&bytes[..length]));
            let offset = cut.expect_err("a cut message").offset;
            assert!(offset <= length, "{offset} of {length}");
        }
    }
}

#[test]
fn an_unknown_version_is_refused() {
    let error = PeerMessage::decode(Bytes::from_static(&[2, 4])).unwrap_err();
    let text = "decode peer message: expected version 1 at byte 0";
    assert_eq!(error.to_string(), text);
}

proptest! {
    #[test]
    fn any_bytes_give_a_message_or_an_error(
        kind in 0u8..12,
        tail in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let bytes = [&[1, kind][..], &tail].concat();
        if let Ok(message) = PeerMessage::decode(Bytes::from(bytes)) {
            let again = PeerMessage::decode(Bytes::from(message.encode()));
            prop_assert_eq!(again, Ok(message));
        }
    }
}
