//! Ranges of many pairs: complete, of one revision, and bounded over all who ask.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use store_proto::etcdserverpb as pb;
use store_proto::mvccpb::KeyValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::pb::range_request::{SortOrder, SortTarget};
use super::http::ask_at;
use super::running::{Running, bytes, refusal, start, start_with};
use super::strangers::post;

/// Several pieces' worth.
pub(crate) const KEYS: usize = 10_000;

/// Puts `KEYS` keys with values of `value_bytes`; returns the revision.
pub(crate) async fn fill(store: &Running, value_bytes: usize) -> i64 {
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

pub(crate) fn all() -> pb::RangeRequest {
    pb::RangeRequest {
        key: bytes("k"),
        range_end: bytes("l"),
        ..Default::default()
    }
}

/// The same by value, the largest first.
fn by_value() -> pb::RangeRequest {
    pb::RangeRequest {
        sort_target: SortTarget::Value.into(),
        sort_order: SortOrder::Descend.into(),
        ..all()
    }
}

const ALL_JSON: &str = r#"{"key":"aw==","range_end":"bA=="}"#;

/// An answer that is not read.
pub(crate) async fn unread(
    store: &Running,
    method: &str,
    request: &impl prost::Message,
) -> Incoming {
    let stream = TcpStream::connect(store.address()).await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(65_535)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let message = request.encode_to_vec();
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap());
    body.put_slice(&message);
    let uri = format!("http://{}/etcdserverpb.KV/{method}", store.address());
    let request = Request::post(uri)
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

/// The same over the gateway, as far as that it has begun.
async fn unread_json(store: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(store.address()).await.unwrap();
    let request = post("/v3/kv/range", ALL_JSON.as_bytes());
    stream.write_all(&request).await.unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    stream
}

/// While somebody has an answer and does not read it, there is no memory for another, in whatever form it is asked for;
/// afterwards there is.
async fn holds_up_large_ranges_alone<H>(hold: impl AsyncFnOnce(&Running) -> H) {
    // Room for one, which takes some 15 MB, not for two.
    let store = start_with(|config| config.range_bytes_max = 16 << 20).await;
    fill(&store, 1_200).await;
    let held = hold(&store).await;
    let client = || store.kv().max_decoding_message_size(usize::MAX);
    let (mut plain, mut sorted) = (client(), client());
    let json = async || ask_at(store.address(), Method::POST, "/v3/kv/range", ALL_JSON).await;
    let (plain, sorted, text) = tokio::join!(plain.range(all()), sorted.range(by_value()), json());
    for answer in [plain, sorted] {
        assert_eq!(
            refusal(answer),
            "ResourceExhausted: etcdserver: too many requests"
        );
    }
    assert_eq!(text.status(), 429);
    let text = text.into_body();
    assert!(text.contains("etcdserver: too many requests"), "{text}");
    let mut client = client();
    let second = tokio::spawn(async move { client.range(by_value()).await });
    for _ in 0..100 {
        assert_eq!(store.get("k00007").await.count, 1);
    }
    assert!(!second.is_finished());
    drop(held);
    let limit = Duration::from_secs(60);
    let answer = tokio::time::timeout(limit, second).await.unwrap().unwrap();
    assert_eq!(answer.unwrap().into_inner().kvs.len(), KEYS);
    assert_eq!(json().await.status(), 200);
}

#[tokio::test]
async fn who_does_not_read_holds_up_large_ranges_alone() {
    holds_up_large_ranges_alone(async |store| unread(store, "Range", &all()).await).await;
}

#[tokio::test]
async fn who_does_not_read_in_order_holds_up_large_ranges_alone() {
    holds_up_large_ranges_alone(async |store| unread(store, "Range", &by_value()).await).await;
}

#[tokio::test]
async fn who_does_not_read_json_holds_up_large_ranges_alone() {
    holds_up_large_ranges_alone(unread_json).await;
}

/// What a request makes of all pairs, as etcd's documentation of `RangeRequest` has it.
fn chosen(all: &[KeyValue], request: &pb::RangeRequest) -> (Vec<KeyValue>, bool) {
    let filters = request.min_mod_revision > 0;
    let limit = usize::try_from(request.limit).unwrap();
    let mut kvs = all.to_vec();
    kvs.retain(|kv| kv.mod_revision >= request.min_mod_revision);
    if !filters && limit > 0 && request.sort_order() == SortOrder::None {
        // Nobody asks for an order: the limit counts first.
        kvs.truncate(limit + 1);
    }
    let by = |a: &KeyValue, b: &KeyValue| match request.sort_target() {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    // Those that are equal stay in the order of their keys.
    match request.sort_order() {
        SortOrder::None | SortOrder::Ascend => kvs.sort_by(by),
        SortOrder::Descend => kvs.sort_by(|a, b| by(b, a)),
    }
    let more = limit > 0 && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    if request.keys_only {
        for kv in &mut kvs {
            kv.value = Bytes::new();
        }
    }
    (kvs, more)
}

#[tokio::test]
async fn orders_and_filters_hold_over_all_pieces() {
    let store = start().await;
    let filled = fill(&store, 10).await;
    let mut revision = filled;
    for key in (0..KEYS).step_by(79) {
        for _ in 0..key % 3 {
            revision = store
                .put(&format!("k{key:05}"), &(key * 7919 % 1_000).to_string())
                .await;
        }
    }
    let mut client = store.kv().max_decoding_message_size(usize::MAX);
    let (mut now, mut then) = (Vec::new(), Vec::new());
    for (at, pairs) in [(revision, &mut now), (filled + 10, &mut then)] {
        let request = pb::RangeRequest {
            revision: at,
            ..all()
        };
        *pairs = client.range(request).await.unwrap().into_inner().kvs;
    }
    store.put("k", "a later one").await;
    let kinds = [
        (0, 0, 0, false),
        (10, revision, 0, true),
        (6_000, filled + 10, 0, false),
        (4_500, revision, filled / 2, false),
        (10, filled + 10, filled / 2, true),
    ];
    let targets = [
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ];
    let orders = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
    for (limit, at, min_mod_revision, keys_only) in kinds {
        for (target, order) in targets
            .iter()
            .flat_map(|target| orders.map(|order| (*target, order)))
        {
            let request = pb::RangeRequest {
                key: bytes("k0"),
                limit,
                revision: at,
                min_mod_revision,
                keys_only,
                sort_target: target.into(),
                sort_order: order.into(),
                ..all()
            };
            let pairs = if at == filled + 10 { &then } else { &now };
            let (kvs, more) = chosen(pairs, &request);
            let answer = client.range(request.clone()).await.unwrap().into_inner();
            assert!(answer.kvs == kvs, "{request:?}");
            assert_eq!((answer.more, answer.count), (more, 10_000), "{request:?}");
        }
    }
}

#[tokio::test]
async fn many_pairs_come_as_json_as_well() {
    let store = start().await;
    fill(&store, 300).await;
    let mut client = store.kv().max_decoding_message_size(usize::MAX);
    let wanted = client.range(all()).await.unwrap().into_inner();
    let answer = ask_at(store.address(), Method::POST, "/v3/kv/range", ALL_JSON).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.headers()["grpc-metadata-content-type"],
        "application/grpc"
    );
    assert_eq!(answer.headers()["content-type"], "application/json");
    let text = answer.into_body();
    assert!(text == serde_json::to_string(&wanted).unwrap());
}
