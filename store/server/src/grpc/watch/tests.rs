//! The shapes of etcd's watch answers, and the hand-made encoding against prost's.

use std::sync::OnceLock;

use prost::Message as _;
use store_machine::reply::{Event, EventKind, KeyValue};
use store_machine::request::{KeyRange, RangeEnd};
use store_machine::revision::LeaseId;
use store_proto::mvccpb;

use super::*;

const HEADER: Header = Header {
    cluster: 1,
    member: 2,
    revision: Revision(99),
    term: 3,
};

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader {
        cluster_id: 1,
        member_id: 2,
        revision,
        raft_term: 3,
    })
}

fn kv(key: &'static str, value: &str, revision: i64) -> KeyValue {
    KeyValue {
        key: Bytes::from_static(key.as_bytes()),
        create_revision: Revision(2),
        mod_revision: Revision(revision),
        version: 5,
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease: LeaseId(-7),
    }
}

fn shared(kind: EventKind, kv: KeyValue, prev: Option<KeyValue>) -> Arc<SharedEvent> {
    Arc::new(SharedEvent {
        event: Event { kind, kv, prev },
        encoded: OnceLock::new(),
        encoded_with_prev: OnceLock::new(),
    })
}

fn delete(key: &'static str, revision: i64) -> KeyValue {
    KeyValue {
        key: Bytes::from_static(key.as_bytes()),
        mod_revision: Revision(revision),
        ..Default::default()
    }
}

#[test]
fn control_answers_have_the_shapes_of_the_reference() {
    for (batch, wanted) in [
        (
            Batch::Created {
                id: WatchId(0),
                revision: Revision(5),
            },
            pb::WatchResponse {
                header: header(5),
                created: true,
                ..Default::default()
            },
        ),
        (
            Batch::Refused {
                reason: CreateRefusal::EmptyRange,
                revision: Revision(5),
            },
            pb::WatchResponse {
                header: header(5),
                watch_id: -1,
                created: true,
                canceled: true,
                cancel_reason: "mvcc: watcher range is empty".into(),
                ..Default::default()
            },
        ),
        (
            Batch::Refused {
                reason: CreateRefusal::DuplicateId,
                revision: Revision(5),
            },
            pb::WatchResponse {
                header: header(5),
                watch_id: -1,
                created: true,
                canceled: true,
                cancel_reason: "mvcc: duplicate watch ID provided on the WatchStream".into(),
                ..Default::default()
            },
        ),
        (
            Batch::Refused {
                reason: CreateRefusal::Compacted,
                revision: Revision(5),
            },
            pb::WatchResponse {
                header: header(5),
                watch_id: -1,
                created: true,
                canceled: true,
                cancel_reason: "etcdserver: mvcc: required revision has been compacted".into(),
                ..Default::default()
            },
        ),
        (
            Batch::Canceled {
                id: WatchId(4),
                revision: Revision(5),
            },
            pb::WatchResponse {
                header: header(5),
                watch_id: 4,
                canceled: true,
                ..Default::default()
            },
        ),
        (
            Batch::Compacted {
                id: WatchId(4),
                compacted: Revision(3),
            },
            pb::WatchResponse {
                header: header(0),
                watch_id: 4,
                canceled: true,
                compact_revision: 3,
                ..Default::default()
            },
        ),
        (
            Batch::Progress {
                id: WatchId::NONE,
                revision: Revision(5),
            },
            pb::WatchResponse {
                header: header(5),
                watch_id: -1,
                ..Default::default()
            },
        ),
    ] {
        assert_eq!(answer(HEADER, batch).decoded(), wanted);
    }
}

#[test]
fn spliced_events_decode_as_encoded_by_prost() {
    let before = kv("a", "old", 6);
    let events = vec![
        shared(EventKind::Put, kv("a", "new", 7), Some(before.clone())),
        shared(EventKind::Put, kv("b", "", 7), None),
        shared(EventKind::Delete, delete("c", 7), Some(before.clone())),
    ];
    let plain =
        |kind: mvccpb::event::EventType, kv: KeyValue, prev: Option<KeyValue>| mvccpb::Event {
            r#type: kind.into(),
            kv: Some(translate::key_value(kv)),
            prev_kv: prev.map(translate::key_value),
        };
    use mvccpb::event::EventType::{Delete, Put};
    for prev_kv in [false, true, false] {
        let prev = || Some(before.clone()).filter(|_| prev_kv);
        let wanted = pb::WatchResponse {
            header: header(7),
            watch_id: 3,
            events: vec![
                plain(Put, kv("a", "new", 7), prev()),
                plain(Put, kv("b", "", 7), None),
                plain(Delete, delete("c", 7), prev()),
            ],
            ..Default::default()
        };
        let batch = Batch::Events {
            id: WatchId(3),
            revision: Revision(7),
            events: events.clone(),
            prev_kv,
            fragment: false,
        };
        assert_eq!(answer(HEADER, batch).decoded(), wanted, "prev_kv {prev_kv}");
    }
}

#[test]
fn an_event_is_encoded_once() {
    let event = shared(EventKind::Put, kv("a", "v", 7), Some(kv("a", "u", 6)));
    let first = encoded(&event, false).as_ptr();
    assert_eq!(encoded(&event, false).as_ptr(), first);
    assert_ne!(encoded(&event, true).as_ptr(), first);
    let without = shared(EventKind::Put, kv("a", "v", 7), None);
    assert_eq!(
        encoded(&without, true).as_ptr(),
        encoded(&without, false).as_ptr(),
        "without a previous pair both forms are one"
    );
}

#[test]
fn fragments_stay_below_the_limit_and_lose_nothing() {
    let value = "v".repeat(100);
    let events: Vec<_> = (0..20)
        .map(|at| shared(EventKind::Put, kv("key", &value, 7 + at), None))
        .collect();
    let of = head(HEADER, WatchId(3), Revision(30));
    for bytes_max in [1, 150, 400, 1000, 100_000] {
        let pieces = fragments(&of, events.clone(), false, bytes_max);
        let last = pieces.len() - 1;
        let mut revisions = vec![];
        for (at, piece) in pieces.iter().enumerate() {
            let decoded = piece.decoded();
            assert_eq!(decoded.fragment, at < last, "limit {bytes_max}, piece {at}");
            assert!(decoded.encoded_len() < bytes_max || decoded.events.len() == 1);
            revisions.extend(
                decoded
                    .events
                    .iter()
                    .filter_map(|event| event.kv.as_ref().map(|kv| kv.mod_revision)),
            );
        }
        assert_eq!(revisions, (7..27).collect::<Vec<_>>(), "limit {bytes_max}");
        assert_eq!(last == 0, bytes_max == 100_000);
    }
}

#[test]
fn a_creation_keeps_every_field() {
    let create = pb::WatchCreateRequest {
        key: Bytes::from_static(b"a"),
        range_end: Bytes::from_static(b"\0"),
        start_revision: -3,
        progress_notify: true,
        filters: vec![1, 7],
        prev_kv: true,
        watch_id: 9,
        fragment: true,
    };
    assert_eq!(
        spec(create),
        WatchSpec {
            keys: KeyRange {
                start: Bytes::from_static(b"a"),
                end: RangeEnd::Open,
            },
            start: Revision(-3),
            id: WatchId(9),
            no_put: false,
            no_delete: true,
            prev_kv: true,
            progress_notify: true,
            fragment: true,
        }
    );
    let whole = spec(pb::WatchCreateRequest {
        filters: vec![0],
        ..Default::default()
    });
    assert_eq!(&whole.keys.start[..], [0]);
    assert!(whole.no_put && !whole.no_delete);
}
