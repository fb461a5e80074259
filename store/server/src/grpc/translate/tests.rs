//! Tables: what the wire says and what the machine is asked.

use super::*;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn ends_of_ranges() {
    for (end, wanted) in [
        ("", RangeEnd::Single),
        ("\0", RangeEnd::Open),
        ("\0\0", RangeEnd::Before(bytes("\0\0"))),
        ("b", RangeEnd::Before(bytes("b"))),
    ] {
        assert_eq!(key_range(bytes("a"), bytes(end)).end, wanted, "{end:?}");
    }
}

#[test]
fn a_range_keeps_every_field() {
    let request = pb::RangeRequest {
        key: bytes("a"),
        range_end: bytes("c"),
        limit: 3,
        revision: 4,
        sort_order: 2,
        sort_target: 4,
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 10,
        max_mod_revision: 11,
        min_create_revision: 12,
        max_create_revision: 13,
    };
    assert_eq!(
        range_request(request),
        Ok(RangeRequest {
            keys: KeyRange {
                start: bytes("a"),
                end: RangeEnd::Before(bytes("c")),
            },
            limit: 3,
            revision: Revision(4),
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Value,
            keys_only: true,
            count_only: true,
            mod_revision_min: 10,
            mod_revision_max: 11,
            create_revision_min: 12,
            create_revision_max: 13,
            uncounted: false,
        })
    );
}

#[test]
fn ranges_that_are_refused() {
    let base = || pb::RangeRequest {
        key: bytes("a"),
        ..Default::default()
    };
    for (request, wanted) in [
        (pb::RangeRequest::default(), ApiError::EmptyKey),
        (
            pb::RangeRequest {
                range_end: bytes("b"),
                ..Default::default()
            },
            ApiError::EmptyKey,
        ),
        (
            pb::RangeRequest {
                sort_order: 3,
                ..base()
            },
            ApiError::InvalidSortOption,
        ),
        (
            pb::RangeRequest {
                sort_target: 5,
                ..base()
            },
            ApiError::InvalidSortOption,
        ),
        (
            pb::RangeRequest {
                sort_target: -1,
                ..base()
            },
            ApiError::InvalidSortOption,
        ),
    ] {
        assert_eq!(range_request(request.clone()), Err(wanted), "{request:?}");
    }
    let unlimited = pb::RangeRequest {
        limit: -5,
        ..base()
    };
    assert_eq!(range_request(unlimited).map(|range| range.limit), Ok(0));
}

#[test]
fn puts_that_are_refused() {
    let base = || pb::PutRequest {
        key: bytes("a"),
        ..Default::default()
    };
    for (request, wanted) in [
        (pb::PutRequest::default(), ApiError::EmptyKey),
        (
            pb::PutRequest {
                value: bytes("v"),
                ignore_value: true,
                ..base()
            },
            ApiError::ValueProvided,
        ),
        (
            pb::PutRequest {
                lease: -1,
                ignore_lease: true,
                ..base()
            },
            ApiError::LeaseProvided,
        ),
    ] {
        assert_eq!(put_request(request.clone()), Err(wanted), "{request:?}");
    }
}

#[test]
fn a_put_keeps_every_field() {
    let request = pb::PutRequest {
        key: bytes("a"),
        value: bytes("v"),
        lease: i64::MIN,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: false,
    };
    assert_eq!(
        put_request(request),
        Ok(PutRequest {
            key: bytes("a"),
            value: bytes("v"),
            lease: LeaseId(i64::MIN),
            prev_kv: true,
            ignore_value: false,
            ignore_lease: false,
        })
    );
    let kept = pb::PutRequest {
        key: bytes("a"),
        ignore_value: true,
        ignore_lease: true,
        ..Default::default()
    };
    let kept = put_request(kept).unwrap();
    assert!(kept.ignore_value && kept.ignore_lease);
}

#[test]
fn a_delete_without_a_key_is_refused() {
    assert_eq!(
        delete_request(pb::DeleteRangeRequest::default()),
        Err(ApiError::EmptyKey)
    );
}

#[test]
fn answers_keep_every_field() {
    let kv = KeyValue {
        key: bytes("k"),
        create_revision: Revision(1),
        mod_revision: Revision(2),
        version: 3,
        value: bytes("v"),
        lease: LeaseId(4),
    };
    let wire = mvccpb::KeyValue {
        key: bytes("k"),
        create_revision: 1,
        mod_revision: 2,
        version: 3,
        value: bytes("v"),
        lease: 4,
    };
    let of = Header {
        cluster: 1,
        member: 2,
        revision: Revision(3),
        term: 4,
    };
    let head = pb::ResponseHeader {
        cluster_id: 1,
        member_id: 2,
        revision: 3,
        raft_term: 4,
    };
    assert_eq!(header(of), head);
    assert_eq!(header_without_revision(of).revision, 0);
    assert_eq!(
        range_response(
            head,
            RangeReply {
                kvs: vec![kv.clone()],
                more: true,
                count: 9,
            }
        ),
        pb::RangeResponse {
            header: Some(head),
            kvs: vec![wire.clone()],
            more: true,
            count: 9,
        }
    );
    assert_eq!(
        put_response(
            head,
            PutReply {
                prev: Some(kv.clone())
            }
        )
        .prev_kv,
        Some(wire.clone())
    );
    let deleted = delete_response(
        head,
        DeleteReply {
            deleted: 1,
            prev: vec![kv],
        },
    );
    assert_eq!((deleted.deleted, deleted.prev_kvs), (1, vec![wire]));
}
