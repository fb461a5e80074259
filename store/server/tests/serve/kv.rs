//! Reads and writes of pairs over gRPC.

use store_proto::etcdserverpb as pb;

use crate::running::{Running, bytes, refusal, start, start_with};

fn get(key: &str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: bytes(key),
        ..Default::default()
    }
}

fn put(key: &str, value: &str) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(pb::PutRequest {
            key: bytes(key),
            value: bytes(value),
            ..Default::default()
        })),
    }
}

fn range(request: pb::RangeRequest) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(pb::request_op::Request::RequestRange(request)),
    }
}

#[tokio::test]
async fn pairs_are_written_read_and_removed() {
    let store = start().await;
    let mut kv = store.kv();
    assert_eq!(store.put("a", "1").await, 2);
    assert_eq!(store.put("b", "2").await, 3);
    let again = pb::PutRequest {
        key: bytes("a"),
        value: bytes("3"),
        prev_kv: true,
        ..Default::default()
    };
    let again = kv.put(again).await.unwrap().into_inner();
    assert_eq!(again.prev_kv.unwrap().value, "1");

    let all = pb::RangeRequest {
        range_end: bytes("\0"),
        ..get("\0")
    };
    let all = kv.range(all).await.unwrap().into_inner();
    let header = all.header.unwrap();
    assert_eq!(header.revision, 4);
    assert_eq!(header.cluster_id, store.server.handle().cluster_id());
    assert_eq!(header.member_id, store.server.handle().member_id());
    assert!(header.raft_term > 0);
    let found: Vec<_> = all
        .kvs
        .iter()
        .map(|kv| (&kv.key[..], &kv.value[..], kv.mod_revision, kv.version))
        .collect();
    assert_eq!(found, [(&b"a"[..], &b"3"[..], 4, 2), (b"b", b"2", 3, 1)]);

    let past = pb::RangeRequest {
        revision: 2,
        ..get("a")
    };
    let past = kv.range(past).await.unwrap().into_inner();
    assert_eq!(past.kvs[0].value, "1");
    assert_eq!(past.header.unwrap().revision, 4, "the current revision");

    let delete = pb::DeleteRangeRequest {
        key: bytes("a"),
        range_end: bytes("c"),
        prev_kv: true,
    };
    let deleted = kv.delete_range(delete.clone()).await.unwrap().into_inner();
    assert_eq!((deleted.deleted, deleted.prev_kvs.len()), (2, 2));
    let nothing = kv.delete_range(delete).await.unwrap().into_inner();
    assert_eq!(nothing.deleted, 0);
    assert_eq!(nothing.header.unwrap().revision, 5, "not bumped");
}

#[tokio::test]
async fn refusals_have_code_and_text_of_etcd() {
    let store = start().await;
    let mut kv = store.kv();
    store.put("a", "1").await;
    store.put("a", "2").await;
    let compact = |revision| pb::CompactionRequest {
        revision,
        physical: true,
    };
    kv.compact(compact(3)).await.unwrap();

    let key = "InvalidArgument: etcdserver: key is not provided";
    assert_eq!(refusal(kv.range(get("")).await), key);
    let old = pb::RangeRequest {
        revision: 2,
        ..get("a")
    };
    let compacted = "OutOfRange: etcdserver: mvcc: required revision has been compacted";
    assert_eq!(refusal(kv.range(old).await), compacted);
    assert_eq!(refusal(kv.compact(compact(3)).await), compacted);
    let future = pb::RangeRequest {
        revision: 4,
        ..get("a")
    };
    let future_text = "OutOfRange: etcdserver: mvcc: required revision is a future revision";
    assert_eq!(refusal(kv.range(future).await), future_text);
    assert_eq!(refusal(kv.compact(compact(99)).await), future_text);
    let sort = pb::RangeRequest {
        sort_target: 17,
        ..get("a")
    };
    assert_eq!(
        refusal(kv.range(sort).await),
        "InvalidArgument: etcdserver: invalid sort option"
    );
    let missing = pb::PutRequest {
        key: bytes("x"),
        ignore_value: true,
        ..Default::default()
    };
    assert_eq!(
        refusal(kv.put(missing).await),
        "InvalidArgument: etcdserver: key not found"
    );
    let lease = pb::PutRequest {
        key: bytes("x"),
        lease: 77,
        ..Default::default()
    };
    assert_eq!(
        refusal(kv.put(lease).await),
        "NotFound: etcdserver: requested lease not found"
    );
    let twice = pb::TxnRequest {
        success: vec![put("a", "1"), put("a", "2")],
        ..Default::default()
    };
    assert_eq!(
        refusal(kv.txn(twice).await),
        "InvalidArgument: etcdserver: duplicate key given in txn request"
    );
    let many = pb::TxnRequest {
        success: (0..129).map(|at| put(&at.to_string(), "")).collect(),
        ..Default::default()
    };
    assert_eq!(
        refusal(kv.txn(many).await),
        "InvalidArgument: etcdserver: too many operations in txn request"
    );
}

#[tokio::test]
async fn a_transaction_takes_the_branch_its_compares_choose() {
    let store = start().await;
    let mut kv = store.kv();
    let inner = pb::TxnRequest {
        compare: vec![],
        success: vec![put("b", "2"), range(get("b"))],
        failure: vec![],
    };
    let create = pb::TxnRequest {
        compare: vec![pb::Compare {
            target: pb::compare::CompareTarget::Create.into(),
            key: bytes("a"),
            ..Default::default()
        }],
        success: vec![
            put("a", "1"),
            pb::RequestOp {
                request: Some(pb::request_op::Request::RequestTxn(inner)),
            },
        ],
        failure: vec![range(get("a"))],
    };
    let first = kv.txn(create.clone()).await.unwrap().into_inner();
    assert!(first.succeeded);
    assert_eq!(first.header.unwrap().revision, 2, "one revision for all");
    let Some(pb::response_op::Response::ResponseTxn(inner)) = &first.responses[1].response else {
        panic!("{first:?}");
    };
    assert_eq!(
        inner.header,
        Some(pb::ResponseHeader::default()),
        "there and empty, as in etcd"
    );
    let Some(pb::response_op::Response::ResponseRange(seen)) = &inner.responses[1].response else {
        panic!("{first:?}");
    };
    assert_eq!(seen.kvs[0].value, "2", "reads see earlier writes");

    let second = kv.txn(create).await.unwrap().into_inner();
    assert!(!second.succeeded);
    assert_eq!(second.header.unwrap().revision, 2, "only read");

    for serializable in [false, true] {
        let read = pb::TxnRequest {
            success: vec![range(pb::RangeRequest {
                serializable,
                ..get("a")
            })],
            ..Default::default()
        };
        let read = kv.txn(read).await.unwrap().into_inner();
        assert!(read.succeeded);
        let Some(pb::response_op::Response::ResponseRange(seen)) = &read.responses[0].response
        else {
            panic!("{read:?}");
        };
        assert_eq!(seen.kvs[0].value, "1");
    }
}

#[tokio::test]
async fn sizes_are_bounded_at_both_limits() {
    let store = start_with(|config| config.request_bytes_max = 100_000).await;
    let mut kv = store.kv();
    let put = |bytes: usize| pb::PutRequest {
        key: "k".into(),
        value: vec![b'v'; bytes].into(),
        ..Default::default()
    };
    kv.put(put(99_000)).await.unwrap();
    assert_eq!(store.get("k").await.kvs[0].value.len(), 99_000);
    assert_eq!(
        refusal(kv.put(put(101_000)).await),
        "InvalidArgument: etcdserver: request is too large"
    );
    assert_eq!(
        refusal(kv.put(put(1_000_000)).await),
        "ResourceExhausted: grpc: received message larger than max (1000007 vs. 624288)"
    );
    // The connection is as good as before.
    kv.put(put(10)).await.unwrap();
}

#[tokio::test]
async fn many_calls_on_one_connection_get_their_own_answers() {
    let store = start().await;
    let calls = (0..500).map(|at| {
        let mut kv = store.kv();
        async move {
            let key = format!("key{at}");
            let put = pb::PutRequest {
                key: bytes(&key),
                value: bytes(&at.to_string()),
                ..Default::default()
            };
            kv.put(put).await.unwrap();
            let found = kv.range(get(&key)).await.unwrap().into_inner();
            assert_eq!(found.kvs[0].value, at.to_string());
        }
    });
    futures::future::join_all(calls).await;
    let header = store.get("key0").await.header.unwrap();
    assert_eq!(header.revision, 501);
}

#[tokio::test]
async fn an_answer_of_many_frames_arrives_whole() {
    let store = start().await;
    let value = "v".repeat(1000);
    for at in 0..2000 {
        store.put(&format!("key{at:05}"), &value).await;
    }
    let mut kv = store.kv().max_decoding_message_size(usize::MAX);
    let all = pb::RangeRequest {
        range_end: bytes("\0"),
        ..get("\0")
    };
    let all = kv.range(all).await.unwrap().into_inner();
    assert_eq!((all.count, all.kvs.len()), (2000, 2000));
    for (at, kv) in all.kvs.iter().enumerate() {
        assert_eq!(kv.key, format!("key{at:05}"));
        assert_eq!(kv.value, value);
    }
}

/// All pieces of a stream.
async fn pieces(store: &Running, request: pb::RangeRequest) -> Vec<pb::RangeResponse> {
    let mut kv = store.kv().max_decoding_message_size(usize::MAX);
    let mut stream = kv.range_stream(request).await.unwrap().into_inner();
    let mut pieces = vec![];
    while let Some(piece) = stream.message().await.unwrap() {
        pieces.push(piece.range_response.unwrap());
    }
    pieces
}

#[tokio::test]
async fn a_range_in_pieces_is_the_range() {
    let store = start().await;
    for at in 0..300 {
        store.put(&format!("key{at:05}"), &at.to_string()).await;
    }
    let all = |limit| pb::RangeRequest {
        range_end: bytes("\0"),
        limit,
        ..get("\0")
    };
    for limit in [0, 1, 10, 11, 100, 300, 301] {
        let whole = store.kv().range(all(limit)).await.unwrap().into_inner();
        let pieces = pieces(&store, all(limit)).await;
        let kvs: Vec<_> = pieces.iter().flat_map(|piece| piece.kvs.clone()).collect();
        assert_eq!(kvs, whole.kvs, "limit {limit}");
        let (last, earlier) = pieces.split_last().unwrap();
        assert_eq!(last.header, whole.header);
        assert_eq!((last.more, last.count), (whole.more, whole.count));
        for piece in earlier {
            assert_eq!((piece.header, piece.more, piece.count), (None, false, 0));
        }
        assert_eq!(earlier.is_empty(), (1..=10).contains(&limit));
    }
    let count = pb::RangeRequest {
        count_only: true,
        ..all(0)
    };
    let count = pieces(&store, count).await;
    assert_eq!((count.len(), count[0].count), (1, 300));
    assert_eq!(pieces(&store, get("nothing")).await.len(), 1);

    let sorted = pb::RangeRequest {
        sort_order: pb::range_request::SortOrder::Descend.into(),
        ..all(0)
    };
    assert_eq!(
        refusal(store.kv().range_stream(sorted).await),
        "Unimplemented: etcdserver: RangeStream does not support custom sort orders"
    );
    let filtered = pb::RangeRequest {
        min_mod_revision: 3,
        ..all(0)
    };
    assert_eq!(
        refusal(store.kv().range_stream(filtered).await),
        "Unimplemented: etcdserver: RangeStream does not support revision filters"
    );
}
