//! How many calls one connection may have under way.

use std::time::Duration;

use futures::FutureExt as _;
use store_proto::etcdserverpb as pb;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::running::{Running, bytes, start_with};

/// Long enough for an answer that is not held back, many times over.
const A_WHILE: Duration = Duration::from_millis(300);

/// A watch that has begun, and so a call that goes on until both are dropped.
async fn watch(store: &Running) -> (mpsc::Sender<pb::WatchRequest>, Streaming<pb::WatchResponse>) {
    let create = pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(pb::WatchCreateRequest {
            key: bytes("k"),
            ..Default::default()
        })),
    };
    let (requests, taken) = mpsc::channel(1);
    requests.send(create).await.unwrap();
    let answers = store.watch().watch(ReceiverStream::new(taken)).await;
    let mut answers = answers.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().created);
    (requests, answers)
}

#[tokio::test]
async fn a_call_more_than_a_connection_may_have_waits_for_one_to_end() {
    let store = start_with(|config| config.concurrent_streams_max = 2).await;
    let first = watch(&store).await;
    let _second = watch(&store).await;
    let mut third = Box::pin(store.put("a", "1"));
    let early = tokio::time::timeout(A_WHILE, &mut third).await;
    assert!(early.is_err(), "a third call was answered: {early:?}");
    assert_eq!((&mut third).now_or_never(), None);
    drop(first);
    assert_eq!(third.await, 2);
}
