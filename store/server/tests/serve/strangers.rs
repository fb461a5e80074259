//! What nobody should send, on a raw socket: each gets an error of its protocol or is cut off, the memory
//! it takes is bounded, and the others are served as before.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::running::{Running, start, start_with};

/// Longest that an answer or an end may take here.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends a whole request and reads until the end.
pub(crate) async fn said_to(store: &Running, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(store.address()).await.unwrap();
    // Refused half way is an answer too.
    let _ = stream.write_all(bytes).await;
    read(stream, bytes).await
}

/// Sends bytes and that there will be no more.
async fn said_to_the_last(store: &Running, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(store.address()).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    read(stream, bytes).await
}

async fn read(mut stream: TcpStream, bytes: &[u8]) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(
        read.is_ok(),
        "no answer and no end to {:?}",
        String::from_utf8_lossy(bytes)
    );
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn json_that_is_none_is_refused_with_a_code() {
    let store = start().await;
    for (body, status) in [
        (&b"{"[..], "400"),
        (b"[]", "400"),
        (b"\xff\xfe", "400"),
        (br#"{"key": 5}"#, "400"),
        (br#"{"key": "not base64!"}"#, "400"),
        (
            br#"{"key": "aw==", "limit": "99999999999999999999999"}"#,
            "400",
        ),
        (br#"{"key": "aw==", "revision": "-1"}"#, "200"),
        (br#"{"key": "aw==", "limit": "-5"}"#, "200"),
        (br#"{"key": "aw==", "limit": "9223372036854775807"}"#, "200"),
    ] {
        let answer = said_to(&store, &post("/v3/kv/range", body)).await;
        let line = answer.lines().next().unwrap_or_default();
        assert!(
            line.contains(status),
            "{:?}: {answer}",
            String::from_utf8_lossy(body)
        );
    }
    store.put("a", "1").await;
}

/// The least and the most, and what is not there, wherever a number is asked for: an answer or a refusal that says what
/// is wrong, never an inner error, and never nothing.
#[tokio::test]
async fn absurd_numbers_are_answered_or_refused() {
    const LEAST: &str = "-9223372036854775808";
    const MOST: &str = "9223372036854775807";
    let store = start().await;
    store.put("k", "v").await;
    let mut wrong = Vec::new();
    for (path, fields) in [
        (
            "kv/range",
            &[
                "limit",
                "revision",
                "min_mod_revision",
                "max_create_revision",
            ][..],
        ),
        ("kv/put", &["lease"]),
        ("kv/compaction", &["revision"]),
        ("lease/grant", &["TTL", "ID"]),
        ("lease/revoke", &["ID"]),
        ("lease/timetolive", &["ID"]),
        ("lease/keepalive", &["ID"]),
        ("maintenance/hashkv", &["revision"]),
        ("lock/lock", &["lease"]),
        ("election/campaign", &["lease"]),
    ] {
        for (field, number) in fields
            .iter()
            .flat_map(|field| [(field, LEAST), (field, "-1"), (field, MOST)])
        {
            let named = if path.starts_with("kv/") && path != "kv/compaction" {
                r#""key":"aw==","#
            } else {
                r#""#
            };
            let body = format!(r#"{{{named}"{field}":"{number}"}}"#);
            let answer = said_to(&store, &post(&format!("/v3/{path}"), body.as_bytes())).await;
            let status = answer.get(9..12).unwrap_or_default();
            if !matches!(status, "200" | "400" | "404") {
                wrong.push(format!("{path} {body}: {answer}"));
            }
        }
    }
    for (path, body, status) in [
        ("kv/range", r#"{"key":"aw==","sort_order":99}"#, "400"),
        (
            "kv/range",
            r#"{"key":"aw==","sort_target":"SIDEWAYS"}"#,
            "400",
        ),
        (
            "kv/txn",
            r#"{"compare":[{"key":"aw==","result":99}]}"#,
            "400",
        ),
        ("cluster/member/remove", r#"{"ID":"0"}"#, "404"),
        ("cluster/member/remove", r#"{"ID":"-1"}"#, "400"),
        (
            "cluster/member/promote",
            r#"{"ID":"18446744073709551615"}"#,
            "404",
        ),
        ("cluster/member/add", r#"{"peerURLs":["nowhere"]}"#, "400"),
        ("maintenance/alarm", r#"{"action":99}"#, "400"),
        (
            "maintenance/transfer-leadership",
            r#"{"targetID":"77"}"#,
            "400",
        ),
        (
            "auth/role/grant",
            r#"{"name":"r","perm":{"permType":99}}"#,
            "400",
        ),
    ] {
        let answer = said_to(&store, &post(&format!("/v3/{path}"), body.as_bytes())).await;
        if answer.get(9..12) != Some(status) {
            wrong.push(format!("{path} {body}, {status}: {answer}"));
        }
    }
    // Version 2.
    for (line, status) in [
        ("GET /v2/keys/%ff%fe", "404"),
        ("GET /v2/keys/a%zz", "400"),
        ("GET /v2/keys/a?waitIndex=-1&wait=true", "400"),
        ("PUT /v2/keys/a?ttl=99999999999999999999", "400"),
        ("PUT /v2/keys/a?ttl=-5", "400"),
        ("PUT /v2/keys/a?prevIndex=18446744073709551616", "400"),
        ("DELETE /v2/keys/../../..", "400"),
        ("BREW /v2/keys/a", "405"),
    ] {
        let request =
            format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let answer = said_to(&store, request.as_bytes()).await;
        if answer.get(9..12) != Some(status) {
            wrong.push(format!("{line}, {status}: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    store.put("k", "w").await;
}

#[tokio::test]
async fn deeply_nested_json_harms_nobody() {
    let store = start().await;
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let answer = said_to(&store, &post("/v3/kv/txn", &deep)).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    store.put("a", "1").await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let store = start().await;
    // A body announced as a gigabyte: refused or cut off, never waited for.
    let head = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n{";
    let answer = said_to_the_last(&store, head).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Heads without end.
    let many = "X-Y: z\r\n".repeat(200);
    let long = format!(
        "GET /health HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "y".repeat(1 << 20)
    );
    for request in [
        format!("GET /health HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
        long,
    ] {
        let answer = said_to(&store, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    store.put("a", "1").await;
}

#[tokio::test]
async fn http2_out_of_line_ends_the_connection() {
    let store = start().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let frame = |length: [u8; 3], kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let head = [
            length[0], length[1], length[2], kind, flags, 0, 0, 0, stream,
        ];
        [&preface[..], &head, payload].concat()
    };
    for bytes in [
        // A frame larger than may be.
        frame([0xff, 0xff, 0xff], 0, 0, 1, &[0; 64]),
        // Data for a stream that was never opened.
        frame([0, 0, 4], 0, 0, 9, &[0; 4]),
        // A header block that is no HPACK.
        frame([0, 0, 4], 1, 4, 1, &[0xff; 4]),
        // Settings of the wrong size, a window that overflows.
        frame([0, 0, 5], 4, 0, 0, &[0; 5]),
        frame([0, 0, 4], 8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        // Headers that go on in no frame.
        frame([0, 0, 1], 1, 0, 1, &[0x83]),
    ] {
        // Ends, with a GOAWAY or without.
        let _ = said_to_the_last(&store, &bytes).await;
    }
    store.put("a", "1").await;
}

#[tokio::test]
async fn whoever_says_nothing_holds_nobody_up() {
    // As many as there may be.
    let store = start_with(|config| config.connections_max = 3).await;
    let silent = TcpStream::connect(store.address()).await.unwrap();
    let mut slow = TcpStream::connect(store.address()).await.unwrap();
    slow.write_all(b"GET /hea").await.unwrap();
    // Those who are in are served on.
    store.put("a", "1").await;
    // One more waits, and is served when there is a place.
    let mut waiting = TcpStream::connect(store.address()).await.unwrap();
    waiting
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    drop(silent);
    let mut answer = String::new();
    let read = waiting.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn doors_serve_what_they_are_for_and_hosts_are_asked_for() {
    use store_server::config::Serves;
    use store_server::config::address::Address;
    let store = start_with(|config| {
        config.hosts = Some(vec!["good.example".to_owned()]);
        config.serves = Serves::Grpc;
        for serves in [Serves::Http, Serves::Metrics] {
            let anywhere = Address::parse("test", "http://127.0.0.1:0").unwrap();
            config.listen_more.push((anywhere, serves));
        }
    })
    .await;
    // gRPC is served as before.
    store.put("k", "v").await;
    let addresses = store.server.client_addrs().to_vec();
    let get = async |door: usize, path: &str, host: &str| {
        let mut stream = TcpStream::connect(addresses[door]).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer[9..12].to_owned()
    };
    for (door, path, host, status) in [
        (0, "/health", "good.example", "200"),
        (0, "/v3/kv/range", "good.example", "404"),
        (1, "/version", "good.example:2379", "200"),
        (1, "/version", "evil.example", "421"),
        (2, "/metrics", "good.example", "200"),
        (2, "/version", "good.example", "404"),
    ] {
        assert_eq!(get(door, path, host).await, status, "{door} {path} {host}");
    }
}
