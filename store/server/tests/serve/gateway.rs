//! Streams over the JSON gateway: requests one after the other, answers line by line.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

use super::http::get_at;
use super::metrics::call_sample;
use super::running::{Running, start};

type Said = Result<Frame<Bytes>, std::convert::Infallible>;

/// The body of a request; dropped = all has been said.
struct Mouth(UnboundedSender<Said>);

impl Mouth {
    fn say(&self, text: &str) {
        let frame = Frame::data(Bytes::copy_from_slice(text.as_bytes()));
        self.0.unbounded_send(Ok(frame)).unwrap();
    }
}

/// The body of an answer, line by line.
struct Ear {
    status: StatusCode,
    body: Incoming,
    read: BytesMut,
}

fn body() -> (Mouth, UnboundedReceiver<Said>) {
    let (mouth, body) = mpsc::unbounded();
    (Mouth(mouth), body)
}

/// Sends a request; returns with the head of the answer.
async fn ask(store: &Running, path: &str, body: UnboundedReceiver<Said>) -> Ear {
    let stream = TcpStream::connect(store.address()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(path)
        .header("host", "localhost")
        .body(StreamBody::new(body))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    Ear {
        status: answer.status(),
        body: answer.into_body(),
        read: BytesMut::new(),
    }
}

/// Says all at once.
async fn ask_all(store: &Running, path: &str, text: &str) -> Ear {
    let (mouth, body) = body();
    mouth.say(text);
    drop(mouth);
    ask(store, path, body).await
}

impl Ear {
    /// The next line as it stands.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            let Some(frame) = self.body.frame().await else {
                assert!(self.read.is_empty(), "a line is missing its end");
                return None;
            };
            self.read
                .extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    }

    /// The next result, without its header.
    async fn result(&mut self) -> Value {
        let line = self.line().await.unwrap();
        let mut line: Value = serde_json::from_str(&line).unwrap();
        let header = line["result"]
            .as_object_mut()
            .unwrap()
            .shift_remove("header");
        assert!(header.unwrap()["raft_term"].is_string());
        line["result"].take()
    }
}

#[tokio::test]
async fn a_watch_answers_a_line_for_each_message() {
    let store = start().await;
    let (mouth, said) = body();
    // Two at once, and one that comes in pieces.
    mouth.say(r#"{"create_request":{"key":"Zm9v"}} {"create_request":{"key":"Zm9v","prev_kv":true}}{"cre"#);
    mouth.say(r#"ate_request":{"key":"Zm9v","range_end":"Zg=="}}"#);
    let mut ear = ask(&store, "/v3/watch", said).await;
    assert_eq!(ear.status, 200);
    let handle = store.server.handle();
    let header = |revision: u64| {
        let term = handle.counters().term.get();
        format!(
            r#""header":{{"cluster_id":"{}","member_id":"{}","revision":"{revision}","raft_term":"{term}"}}"#,
            handle.cluster_id(),
            handle.member_id()
        )
    };
    assert_eq!(
        ear.line().await.unwrap(),
        format!(r#"{{"result":{{{},"created":true}}}}"#, header(1))
    );
    assert_eq!(
        ear.result().await,
        json!({"watch_id": "1", "created": true})
    );
    assert_eq!(
        ear.result().await,
        json!({
            "watch_id": "-1",
            "created": true,
            "canceled": true,
            "cancel_reason": "mvcc: watcher range is empty",
        })
    );
    store.put("foo", "bar").await;
    let event = r#""events":[{"kv":{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}}]"#;
    assert_eq!(
        ear.line().await.unwrap(),
        format!(r#"{{"result":{{{},{event}}}}}"#, header(2))
    );
    assert_eq!(ear.result().await["watch_id"], "1");
    mouth.say(r#"{"cancel_request":{"watch_id":"0"}}"#);
    assert_eq!(ear.result().await, json!({"canceled": true}));
    // All has been said, and the other watcher goes on.
    drop(mouth);
    store.put("foo", "baz").await;
    let event = &ear.result().await["events"][0];
    assert_eq!(event["kv"]["value"], "YmF6");
    assert_eq!(event["prev_kv"]["value"], "YmFy");
    let stopped = tokio::spawn(store.server.stop());
    assert_eq!(
        ear.line().await.unwrap(),
        r#"{"error":{"code":14,"message":"etcdserver: server stopped","details":[],"grpc_code":14,"http_code":503,"http_status":"Service Unavailable"}}"#
    );
    assert_eq!(ear.line().await, None);
    stopped.await.unwrap();
}

#[tokio::test]
async fn leases_are_kept_alive_one_by_one() {
    let store = start().await;
    let grant = store_proto::etcdserverpb::LeaseGrantRequest { ttl: 60, id: 7 };
    store.lease().lease_grant(grant).await.unwrap();
    let mut ear = ask_all(&store, "/v3/lease/keepalive", r#"{"ID":"7"}{"ID":8}"#).await;
    assert_eq!(ear.status, 200);
    assert_eq!(ear.result().await, json!({"ID": "7", "TTL": "60"}));
    assert_eq!(ear.result().await, json!({"ID": "8"}));
    assert_eq!(ear.line().await, None);
    let mut nothing = ask_all(&store, "/v3/lease/keepalive", "").await;
    assert_eq!(
        (nothing.status, nothing.line().await),
        (StatusCode::OK, None)
    );
}

#[tokio::test]
async fn what_is_no_request_ends_a_stream_with_an_error() {
    let store = start().await;
    for path in ["/v3/watch", "/v3/lease/keepalive"] {
        for bad in [
            "{",
            "[]",
            "x",
            r#"{"ID": "x", "create_request": 7}"#,
            r#"{"ID"}"#,
        ] {
            let mut ear = ask_all(&store, path, bad).await;
            assert_eq!(ear.status, 400, "{path} {bad}");
            let line = ear.line().await.unwrap();
            assert!(
                line.starts_with(r#"{"error":{"code":3,"message":""#),
                "{line}"
            );
            assert_eq!(ear.line().await, None);
        }
    }
    let mut ear = ask_all(&store, "/v3/lease/keepalive", r#"{"ID":"7"}{"ID":"x"}"#).await;
    assert_eq!(ear.status, 200, "it began well");
    assert_eq!(ear.result().await, json!({"ID": "7"}));
    let line = ear.line().await.unwrap();
    assert!(line.starts_with(r#"{"error":{"code":3,"#), "{line}");
    assert_eq!(ear.line().await, None);
    // Longer than any message may be.
    let long = format!(r#"{{"create_request":{{"key":"{}"#, "A".repeat(5 << 20));
    let mut ear = ask_all(&store, "/v3/watch", &long).await;
    assert_eq!(ear.status, 400);
    let line = ear.line().await.unwrap();
    assert!(line.contains("etcdserver: request is too large"), "{line}");
}

#[tokio::test]
async fn a_snapshot_comes_in_lines_and_its_sum_last() {
    let store = start().await;
    store.put("k", &"v".repeat(100_000)).await;
    let mut ear = ask_all(&store, "/v3/maintenance/snapshot", "{}").await;
    let mut blobs = Vec::new();
    let mut left = Vec::new();
    while let Some(line) = ear.line().await {
        let line: Value = serde_json::from_str(&line).unwrap();
        let result = &line["result"];
        blobs.push(STANDARD.decode(result["blob"].as_str().unwrap()).unwrap());
        left.push(result["remaining_bytes"].as_str().unwrap_or("0").to_owned());
    }
    let sum = blobs.pop().unwrap();
    let file = blobs.concat();
    assert!(file.len() > 100_000 && blobs.len() > 3);
    assert_eq!(&Sha256::digest(&file)[..], &sum[..]);
    assert_eq!(left[0], (file.len() - blobs[0].len()).to_string());
    assert_eq!(left.pop().unwrap(), "0");
}

#[tokio::test]
async fn an_election_is_observed() {
    let store = start().await;
    let observed = ask_all(&store, "/v3/election/observe", r#"{"name":"ZQ=="}"#);
    let campaign = async {
        let campaign = r#"{"name":"ZQ==","value":"bWU="}"#;
        let mut won = ask_all(&store, "/v3/election/campaign", campaign).await;
        won.body.frame().await.unwrap().unwrap();
    };
    let (mut ear, ()) = tokio::join!(observed, campaign);
    assert_eq!(ear.status, 200);
    assert_eq!(ear.result().await["kv"]["value"], "bWU=");
}

/// etcd's gateway is a client of its own port, so that its streams are counted as all others.
#[tokio::test]
async fn streams_are_counted_as_calls() {
    let store = start().await;
    let (mouth, said) = body();
    mouth.say(r#"{"create_request":{"key":"Zm9v"}}"#);
    let mut watch = ask(&store, "/v3/watch", said).await;
    assert_eq!(watch.result().await, json!({"created": true}));
    store.put("foo", "bar").await;
    assert!(watch.result().await["events"].is_array());
    let mut renewals = ask_all(&store, "/v3/lease/keepalive", r#"{"ID":7}{"ID":8}"#).await;
    while renewals.line().await.is_some() {}
    let mut wrong = ask_all(&store, "/v3/lease/keepalive", "x").await;
    while wrong.line().await.is_some() {}
    let mut snapshot = ask_all(&store, "/v3/maintenance/snapshot", "{}").await;
    let mut pieces = 0;
    while snapshot.line().await.is_some() {
        pieces += 1;
    }
    // What is no request is none.
    let none = ask_all(&store, "/v3/maintenance/snapshot", "x").await;
    assert_eq!(none.status, 400);
    drop((watch, mouth));
    let watch = ("Watch", "Watch");
    let handled = "grpc_server_handled_total";
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let page = loop {
        let page = get_at(store.address(), "/metrics").await;
        if call_sample(&page, handled, watch, Some("Canceled")) == 1 {
            break page;
        }
        assert!(std::time::Instant::now() < deadline, "{page}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let renewals = ("Lease", "LeaseKeepAlive");
    let snapshot = ("Maintenance", "Snapshot");
    let [started, received, sent] =
        ["started", "msg_received", "msg_sent"].map(|what| format!("grpc_server_{what}_total"));
    for (name, of, code, wanted) in [
        (&*started, watch, None, 1),
        (&received, watch, None, 1),
        (&sent, watch, None, 2),
        (&started, renewals, None, 2),
        (&received, renewals, None, 2),
        (&sent, renewals, None, 2),
        (handled, renewals, Some("OK"), 1),
        (handled, renewals, Some("InvalidArgument"), 1),
        (&started, snapshot, None, 1),
        (&received, snapshot, None, 1),
        (&sent, snapshot, None, pieces),
        (handled, snapshot, Some("OK"), 1),
    ] {
        let found = call_sample(&page, name, of, code);
        assert_eq!(found, wanted, "{name} {of:?} {code:?}\n{page}");
    }
}
