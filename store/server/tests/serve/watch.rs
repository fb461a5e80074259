//! Watch streams over gRPC.

use store_proto::etcdserverpb as pb;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use crate::running::{Running, bytes, start, start_with};

/// A client's end of a stream.
struct Client {
    requests: mpsc::UnboundedSender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Client {
    async fn open(store: &Running) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        let stream = UnboundedReceiverStream::new(receiver);
        let responses = store.watch().watch(stream).await.unwrap().into_inner();
        Self {
            requests,
            responses,
        }
    }

    fn ask(&self, request: RequestUnion) {
        self.requests
            .send(pb::WatchRequest {
                request_union: Some(request),
            })
            .unwrap();
    }

    fn create(&self, request: pb::WatchCreateRequest) {
        self.ask(RequestUnion::CreateRequest(request));
    }

    async fn next(&mut self) -> pb::WatchResponse {
        self.responses.message().await.unwrap().unwrap()
    }

    /// The next events, as "PUT key=value@revision".
    async fn events(&mut self) -> Vec<String> {
        let response = self.next().await;
        assert!(!response.created && !response.canceled, "{response:?}");
        let text = |event: pb_event::Event| {
            let kind = event.r#type().as_str_name();
            let kv = event.kv.unwrap();
            let prev = event.prev_kv.map_or_else(String::new, |kv| {
                format!(" was {}", String::from_utf8_lossy(&kv.value))
            });
            let (key, value) = (
                String::from_utf8_lossy(&kv.key).into_owned(),
                String::from_utf8_lossy(&kv.value).into_owned(),
            );
            format!("{kind} {key}={value}@{}{prev}", kv.mod_revision)
        };
        response.events.into_iter().map(text).collect()
    }
}

use store_proto::mvccpb as pb_event;

fn watch(key: &str, end: &str, start: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: bytes(key),
        range_end: bytes(end),
        start_revision: start,
        ..Default::default()
    }
}

async fn delete(store: &Running, key: &str) {
    let request = pb::DeleteRangeRequest {
        key: bytes(key),
        ..Default::default()
    };
    store.kv().delete_range(request).await.unwrap();
}

#[tokio::test]
async fn the_present_and_the_past_are_told_in_order() {
    let store = start().await;
    store.put("a", "1").await;
    let mut client = Client::open(&store).await;
    client.create(watch("a", "", 0));
    let created = client.next().await;
    assert!(created.created && !created.canceled);
    assert_eq!((created.watch_id, created.header.unwrap().revision), (0, 2));
    store.put("a", "2").await;
    store.put("b", "0").await;
    delete(&store, "a").await;
    assert_eq!(client.events().await, ["PUT a=2@3"]);
    assert_eq!(client.events().await, ["DELETE a=@5"]);

    client.create(pb::WatchCreateRequest {
        prev_kv: true,
        ..watch("\0", "\0", 2)
    });
    let created = client.next().await;
    assert_eq!((created.watch_id, created.header.unwrap().revision), (1, 5));
    let mut past = vec![];
    while past.len() < 4 {
        past.extend(client.events().await);
    }
    assert_eq!(
        past,
        [
            "PUT a=1@2",
            "PUT a=2@3 was 1",
            "PUT b=0@4",
            "DELETE a=@5 was 2"
        ]
    );
}

#[tokio::test]
async fn watchers_end_when_asked_or_refused() {
    let store = start().await;
    for value in ["1", "2", "3"] {
        store.put("a", value).await;
    }
    let compact = pb::CompactionRequest {
        revision: 3,
        physical: false,
    };
    store.kv().compact(compact).await.unwrap();
    let mut client = Client::open(&store).await;

    client.create(watch("b", "a", 0));
    let refused = client.next().await;
    assert!(refused.created && refused.canceled);
    assert_eq!(refused.watch_id, -1);
    assert_eq!(refused.cancel_reason, "mvcc: watcher range is empty");

    client.create(watch("a", "", -1));
    let refused = client.next().await;
    assert!(refused.created && refused.canceled);
    assert_eq!(
        refused.cancel_reason,
        "etcdserver: mvcc: required revision has been compacted"
    );

    client.create(watch("a", "", 2));
    let created = client.next().await;
    assert!(created.created && !created.canceled);
    let canceled = client.next().await;
    assert!(canceled.canceled && !canceled.created);
    assert_eq!(canceled.watch_id, created.watch_id);
    assert_eq!(canceled.compact_revision, 3);
    assert_eq!(canceled.header.unwrap().revision, 0);
    assert_eq!(canceled.cancel_reason, "");

    client.create(pb::WatchCreateRequest {
        watch_id: 9,
        ..watch("a", "", 0)
    });
    assert_eq!(client.next().await.watch_id, 9);
    client.create(pb::WatchCreateRequest {
        watch_id: 9,
        ..watch("a", "", 0)
    });
    let refused = client.next().await;
    assert_eq!(refused.watch_id, -1);
    assert_eq!(
        refused.cancel_reason,
        "mvcc: duplicate watch ID provided on the WatchStream"
    );

    for watch_id in [77, 9] {
        let cancel = pb::WatchCancelRequest { watch_id };
        client.ask(RequestUnion::CancelRequest(cancel));
    }
    let canceled = client.next().await;
    assert!(canceled.canceled, "{canceled:?}");
    assert_eq!(canceled.watch_id, 9, "an unknown id is ignored");
    store.put("a", "4").await;
    client.create(watch("a", "", 5));
    assert!(client.next().await.created);
    assert_eq!(client.events().await, ["PUT a=4@5"], "once, to the new one");
}

#[tokio::test]
async fn filters_drop_what_they_name() {
    let store = start().await;
    let mut client = Client::open(&store).await;
    client.create(pb::WatchCreateRequest {
        filters: vec![pb::watch_create_request::FilterType::Noput.into()],
        ..watch("a", "", 0)
    });
    assert!(client.next().await.created);
    store.put("a", "1").await;
    delete(&store, "a").await;
    assert_eq!(client.events().await, ["DELETE a=@3"]);
}

#[tokio::test]
async fn progress_is_told_on_request_and_by_itself() {
    let period = std::time::Duration::from_millis(100);
    let store = start_with(|config| config.watch_progress_interval = period).await;
    let revision = store.put("a", "1").await;
    let mut client = Client::open(&store).await;
    client.create(pb::WatchCreateRequest {
        progress_notify: true,
        ..watch("b", "", 0)
    });
    assert!(client.next().await.created);
    let progress = client.next().await;
    assert!(progress.events.is_empty() && !progress.canceled);
    assert_eq!(progress.watch_id, 0);
    assert_eq!(progress.header.unwrap().revision, revision);
    client.ask(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
    loop {
        let progress = client.next().await;
        assert_eq!(progress.header.unwrap().revision, revision);
        if progress.watch_id == -1 {
            break;
        }
    }
}

#[tokio::test]
async fn a_large_revision_is_split_only_when_allowed() {
    let store = start_with(|config| config.request_bytes_max = 1_000_000).await;
    let mut client = Client::open(&store).await;
    client.create(pb::WatchCreateRequest {
        fragment: true,
        ..watch("k", "l", 0)
    });
    assert!(client.next().await.created);
    let mut whole = Client::open(&store).await;
    whole.responses = {
        let (requests, receiver) = mpsc::unbounded_channel();
        whole.requests = requests;
        let mut watch = store.watch().max_decoding_message_size(usize::MAX);
        let stream = UnboundedReceiverStream::new(receiver);
        watch.watch(stream).await.unwrap().into_inner()
    };
    whole.create(watch("k", "l", 2));
    assert!(whole.next().await.created);
    // Three revisions of 900 kB, and catching up from the first.
    let value = "v".repeat(900_000);
    for key in ["k1", "k2", "k3"] {
        store.put(key, &value).await;
    }
    let mut seen = 0;
    while seen < 3 {
        let response = client.next().await;
        seen += response.events.len();
        assert!(response.events.len() <= 1, "1.5 MB per response at most");
    }
    let mut seen = 0;
    while seen < 3 {
        let response = whole.next().await;
        assert!(!response.fragment);
        seen += response.events.len();
    }
}

/// As etcd does: only a client that leaves ends its watchers.
#[tokio::test]
async fn a_client_that_has_said_all_goes_on_hearing() {
    let store = start().await;
    let mut client = Client::open(&store).await;
    client.create(watch("k", "", 0));
    assert!(client.next().await.created);
    let Client {
        requests,
        mut responses,
    } = client;
    drop(requests);
    store.put("k", "v").await;
    let events = responses.message().await.unwrap().unwrap().events;
    assert_eq!(events.len(), 1);
}
