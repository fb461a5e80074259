//! Plain HTTP on the same port: health, version, metrics, the JSON gateway.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use store_proto::etcdserverpb as pb;
use tokio::net::TcpStream;

use crate::running::{Running, start, start_with};

async fn ask(store: &Running, method: Method, path: &str, body: &str) -> Response<String> {
    ask_at(store.address(), method, path, body).await
}

/// The body a server answers a `GET` with.
pub(crate) async fn get_at(address: SocketAddr, path: &str) -> String {
    ask_at(address, Method::GET, path, "").await.into_body()
}

/// Asks a server, whichever it is.
pub(crate) async fn ask_at(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: &str,
) -> Response<String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    text(sender.send_request(request).await.unwrap()).await
}

async fn text(response: Response<hyper::body::Incoming>) -> Response<String> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    Response::from_parts(head, text)
}

async fn get(store: &Running, path: &str) -> (u16, String) {
    let response = ask(store, Method::GET, path, "").await;
    (response.status().as_u16(), response.into_body())
}

async fn post(store: &Running, path: &str, body: &str) -> (u16, String) {
    let response = ask(store, Method::POST, path, body).await;
    (response.status().as_u16(), response.into_body())
}

async fn alarm(store: &Running) {
    let raise = pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate.into(),
        member_id: store.server.handle().member_id(),
        alarm: pb::AlarmType::Corrupt.into(),
    };
    store.maintenance().alarm(raise).await.unwrap();
}

#[tokio::test]
async fn health_and_what_speaks_against_it() {
    let store = start().await;
    let well = (200, r#"{"health":"true","reason":""}"#.to_owned());
    for path in ["/health", "/health?serializable=true"] {
        assert_eq!(get(&store, path).await, well);
    }
    let refused = ask(&store, Method::POST, "/health", "").await;
    assert_eq!(refused.status(), 405);
    assert_eq!(refused.headers()["allow"], "GET");
    alarm(&store).await;
    assert_eq!(
        get(&store, "/health").await,
        (
            503,
            r#"{"health":"false","reason":"ALARM CORRUPT"}"#.to_owned()
        )
    );
    // The alarm itself is passed over, but reads are refused for it too.
    let (status, answer) = get(&store, "/health?exclude=CORRUPT").await;
    assert_eq!(status, 503);
    assert!(answer.contains("RANGE ERROR:etcdserver: corrupt cluster"));
}

#[tokio::test]
async fn probes() {
    let store = start().await;
    for path in ["/livez", "/readyz", "/readyz/non_learner"] {
        assert_eq!(get(&store, path).await, (200, "ok".to_owned()));
    }
    assert_eq!(
        get(&store, "/readyz?verbose&exclude=non_learner").await,
        (
            200,
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok"
                .to_owned()
        )
    );
    assert_eq!(get(&store, "/readyz/nonsense").await.0, 404);
}

#[tokio::test]
async fn versions_and_unknown_paths() {
    let store = start().await;
    assert_eq!(
        get(&store, "/version").await,
        (
            200,
            r#"{"etcdserver":"3.7.0","etcdcluster":"3.7.0","storage":"3.7.0"}"#.to_owned()
        )
    );
    let missing = ask(&store, Method::GET, "/nowhere", "").await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.headers()["content-type"], "application/json");
    assert_eq!(missing.headers()["access-control-allow-origin"], "*");
    let preflight = ask(&store, Method::OPTIONS, "/v3/kv/range", "").await;
    assert_eq!(preflight.status(), 200);
    assert_eq!(
        missing.body(),
        r#"{"code":5,"message":"Not Found","details":[],"error":"Not Found"}"#
    );
}

#[tokio::test]
async fn metrics_have_the_values_of_what_happened() {
    let store = start().await;
    store.put("a", "1").await;
    store.put("a", "2").await;
    let page = ask(&store, Method::GET, "/metrics", "").await;
    assert_eq!(
        page.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let page = page.into_body();
    let line = |start: &str| {
        page.lines()
            .find_map(|line| line.strip_prefix(start))
            .unwrap_or_else(|| panic!("no {start} in\n{page}"))
            .trim()
            .to_owned()
    };
    assert_eq!(line("etcd_server_has_leader "), "1");
    assert_eq!(line("etcd_server_is_leader "), "1");
    assert_eq!(line("etcd_debugging_mvcc_current_revision "), "3");
    assert_eq!(line("etcd_debugging_mvcc_keys_total "), "1");
    let put = "grpc_type=\"unary\",grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\"}";
    let handled = format!("grpc_server_handled_total{{grpc_code=\"OK\",{put}");
    assert_eq!(line(&handled), "2");
    assert_eq!(line(&format!("grpc_server_started_total{{{put}")), "2");
    assert_ne!(line("etcd_disk_wal_fsync_duration_seconds_count "), "0");
    assert_ne!(line("process_resident_memory_bytes "), "0");
    // Every sample belongs to a metric that was announced, and none is announced twice.
    let mut types = std::collections::BTreeSet::new();
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert!(types.insert(kind.split(' ').next().unwrap()), "{kind}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(name);
            assert!(types.contains(name) || types.contains(base), "{name}");
        }
    }
}

#[tokio::test]
async fn variables_for_whoever_looks_for_a_fault() {
    let store = start().await;
    let (status, vars) = get(&store, "/debug/vars").await;
    assert_eq!(status, 200);
    let vars: serde_json::Value = serde_json::from_str(&vars).unwrap();
    let raft = &vars["raft.status"];
    let id = format!("{:x}", store.server.handle().member_id());
    assert_eq!(
        (&raft["id"], &raft["lead"]),
        (&id.as_str().into(), &id.as_str().into())
    );
    assert_eq!(raft["raftState"], "StateLeader");
    assert!(raft["applied"].as_u64() <= raft["commit"].as_u64());
    assert!(vars["cmdline"].is_array() && vars["file_descriptor_limit"].is_u64());
}

#[tokio::test]
async fn extensive_metrics_have_the_times_of_calls() {
    let put = "grpc_server_handling_seconds_count{grpc_type=\"unary\",grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\"} 1\n";
    for extensive in [false, true] {
        let store = start_with(|config| config.extensive_metrics = extensive).await;
        store.put("a", "1").await;
        let page = get(&store, "/metrics").await.1;
        assert_eq!(page.contains(put), extensive);
    }
}

#[tokio::test]
async fn the_gateway_speaks_json() {
    let store = start().await;
    let ids = format!(
        r#""cluster_id":"{}","member_id":"{}""#,
        store.server.handle().cluster_id(),
        store.server.handle().member_id()
    );
    let (status, put) = post(&store, "/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#).await;
    assert_eq!(status, 200);
    assert!(
        put.starts_with(&format!(
            r#"{{"header":{{{ids},"revision":"2","raft_term":"#
        )),
        "{put}"
    );
    for path in ["/v3/kv/range", "/v3beta/kv/range"] {
        let (status, range) = post(&store, path, r#"{"key":"Zm9v"}"#).await;
        assert_eq!(status, 200);
        assert!(
            range.ends_with(
                r#""kvs":[{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}],"count":"1"}"#
            ),
            "{range}"
        );
    }
    let txn = r#"{"compare":[{"target":"VERSION","key":"Zm9v","result":"EQUAL","version":"1"}],"success":[{"request_delete_range":{"key":"Zm9v"}}]}"#;
    let (status, txn) = post(&store, "/v3/kv/txn", txn).await;
    assert_eq!(status, 200);
    assert!(txn.contains(r#""succeeded":true"#), "{txn}");
    let (_, grant) = post(&store, "/v3/lease/grant", r#"{"TTL":"60","ID":7}"#).await;
    assert!(grant.ends_with(r#""ID":"7","TTL":"60"}"#), "{grant}");
    let (_, alive) = post(&store, "/v3/lease/keepalive", r#"{"ID":"7"}"#).await;
    assert!(alive.starts_with(r#"{"result":{"header""#), "{alive}");
    assert!(
        alive.ends_with("\"ID\":\"7\",\"TTL\":\"60\"}}\n"),
        "{alive}"
    );
    let (status, members) = post(&store, "/v3/cluster/member/list", "").await;
    assert_eq!(status, 200);
    assert!(members.contains(r#""name":"default""#), "{members}");
}

#[tokio::test]
async fn the_gateway_refuses_in_json() {
    let store = start().await;
    for (path, body, status, wanted) in [
        (
            "/v3/kv/range",
            "{}",
            400,
            r#"{"code":3,"message":"etcdserver: key is not provided","details":[],"error":"etcdserver: key is not provided"}"#,
        ),
        (
            "/v3/kv/range",
            r#"{"key":"YQ==","revision":"9"}"#,
            400,
            r#"{"code":11,"message":"etcdserver: mvcc: required revision is a future revision","details":[],"error":"etcdserver: mvcc: required revision is a future revision"}"#,
        ),
        (
            "/v3/lease/revoke",
            r#"{"ID":"9"}"#,
            404,
            r#"{"code":5,"message":"etcdserver: requested lease not found","details":[],"error":"etcdserver: requested lease not found"}"#,
        ),
        (
            "/v3/auth/enable",
            "{}",
            400,
            r#"{"code":9,"message":"etcdserver: root user does not exist","details":[],"error":"etcdserver: root user does not exist"}"#,
        ),
        (
            "/v3/kv/nothing",
            "{}",
            404,
            r#"{"code":5,"message":"Not Found","details":[],"error":"Not Found"}"#,
        ),
    ] {
        let answer = post(&store, path, body).await;
        assert_eq!(answer, (status, wanted.to_owned()), "{path} {body}");
    }
    for body in ["{", "[]", r#"{"key":"%"}"#, r#"{"key":7}"#, "\u{7f}"] {
        let (status, answer) = post(&store, "/v3/kv/range", body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer.starts_with(r#"{"code":3,"#), "{answer}");
    }
    let (status, _) = get(&store, "/v3/kv/range").await;
    assert_eq!(status, 501, "only POST");
    let huge = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "A".repeat(5_000_000));
    let (status, answer) = post(&store, "/v3/kv/put", &huge).await;
    assert_eq!(status, 400);
    assert!(answer.contains("request is too large"), "{answer}");
}

#[tokio::test]
async fn plain_requests_may_come_over_http_2() {
    let store = start().await;
    let stream = TcpStream::connect(store.address()).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}/health", store.address()))
        .body(Full::<Bytes>::default())
        .unwrap();
    let response = text(sender.send_request(request).await.unwrap()).await;
    assert_eq!(response.body(), r#"{"health":"true","reason":""}"#);
}

#[tokio::test]
async fn grpc_over_http_1_is_told_what_is_wrong() {
    let store = start().await;
    let stream = TcpStream::connect(store.address()).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/etcdserverpb.KV/Range")
        .header("content-type", "application/grpc")
        .body(Full::<Bytes>::default())
        .unwrap();
    let response = text(sender.send_request(request).await.unwrap()).await;
    assert_eq!(response.status(), 505);
    assert_eq!(response.body(), "gRPC requires HTTP/2\n");
}
