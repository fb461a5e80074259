//! Ranges of many pairs: complete, of one revision, and bounded over all who ask.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use store_proto::etcdserverpb as pb;
use tokio::net::TcpStream;

use super::running::{Running, bytes, refusal, start, start_with};

/// Several pieces' worth.
const KEYS: usize = 10_000;

/// Puts `KEYS` keys with values of `value_bytes`; returns the revision.
async fn fill(store: &Running, value_bytes: usize) -> i64 {
    use pb::request_op::Request as Op;
    let value = bytes(&"v".repeat(value_bytes));
    let mut revision = 0;
    let keys: Vec<usize> = (0..KEYS).collect();
    for some in keys.chunks(100) {
        let put = |key: &usize| pb::RequestOp {
            request: Some(Op::RequestPut(pb::PutRequest {
                key: bytes(&format!("k{key:05}")),
                value: value.clone(),
                ..Default::default()
            })),
        };
        let txn = pb::TxnRequest {
            success: some.iter().map(put).collect(),
            ..Default::default()
        };
        let answer = store.kv().txn(txn).await.unwrap().into_inner();
        revision = answer.header.unwrap().revision;
    }
    revision
}

fn all() -> pb::RangeRequest {
    pb::RangeRequest {
        key: bytes("k"),
        range_end: bytes("l"),
        ..Default::default()
    }
}

/// An answer that is not read.
async fn unread(store: &Running) -> Incoming {
    let stream = TcpStream::connect(store.address()).await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(65_535)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let message = all().encode_to_vec();
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap());
    body.put_slice(&message);
    let request = Request::post(format!("http://{}/etcdserverpb.KV/Range", store.address()))
        .header("content-type", "application/grpc")
        .body(Full::<Bytes>::new(body.freeze()))
        .unwrap();
    sender.send_request(request).await.unwrap().into_body()
}

#[tokio::test]
async fn many_pairs_come_whole_and_of_one_revision() {
    let store = start().await;
    let revision = fill(&store, 300).await;
    store.put("k00000", "new").await;
    let mut client = store.kv().max_decoding_message_size(usize::MAX);
    for (limit, at, pairs, more) in [
        (0, 0, KEYS, false),
        (9_000, 0, 9_000, true),
        (10_000, 0, KEYS, false),
        (0, revision, KEYS, false),
        (5_000, revision, 5_000, true),
    ] {
        let request = pb::RangeRequest {
            limit,
            revision: at,
            ..all()
        };
        let answer = client.range(request).await.unwrap().into_inner();
        assert_eq!(answer.header.unwrap().revision, revision + 1);
        assert_eq!(
            (answer.kvs.len(), answer.more),
            (pairs, more),
            "{limit} at {at}"
        );
        assert_eq!(answer.count, 10_000);
        assert_eq!(answer.kvs[0].value == "new", at == 0);
        let in_order = answer.kvs.iter().enumerate();
        for (number, kv) in in_order {
            assert_eq!(kv.key, format!("k{number:05}"));
        }
    }
}

#[tokio::test]
async fn who_does_not_read_holds_up_large_ranges_alone() {
    // Room for one, which takes some 15 MB, not for two.
    let store = start_with(|config| config.range_bytes_max = 16 << 20).await;
    fill(&store, 1_200).await;
    let held = unread(&store).await;
    let mut client = store.kv().max_decoding_message_size(usize::MAX);
    assert_eq!(
        refusal(client.range(all()).await),
        "ResourceExhausted: etcdserver: too many requests"
    );
    let second = tokio::spawn(async move { client.range(all()).await });
    for _ in 0..100 {
        assert_eq!(store.get("k00007").await.count, 1);
    }
    assert!(!second.is_finished());
    drop(held);
    let limit = Duration::from_secs(60);
    let answer = tokio::time::timeout(limit, second).await.unwrap().unwrap();
    assert_eq!(answer.unwrap().into_inner().kvs.len(), KEYS);
}
