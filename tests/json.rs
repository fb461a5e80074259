//! JSON over HTTP: the same requests, one after the other, to the official etcd and to muster, by curl. What they answer
//! is equal to the byte once the ids of cluster and member and the term are masked, streams line by line.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use end_to_end::programs;
use end_to_end::store::{Maker, Store};

/// A request: its path behind `/v3/`, its body, and the lines of the answer.
type Request = (&'static str, &'static str, usize);

/// `k` and its kin are base64: Zm9v = foo, YmFy = bar, ZQ== = e, bG9jaw== = lock.
const REQUESTS: &[Request] = &[
    ("kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#, 1),
    (
        "kv/put",
        r#"{"key":"Zm9v","value":"YmF6","prev_kv":true}"#,
        1,
    ),
    ("kv/put", r#"{"key":"Zm9vMg==","value":"AA=="}"#, 1),
    ("kv/range", r#"{"key":"Zm9v"}"#, 1),
    ("kv/range", r#"{"key":"Zm9v","revision":"2"}"#, 1),
    (
        "kv/range",
        r#"{"key":"AA==","range_end":"AA==","limit":1}"#,
        1,
    ),
    (
        "kv/range",
        r#"{"key":"AA==","range_end":"AA==","count_only":true}"#,
        1,
    ),
    (
        "kv/range",
        r#"{"key":"AA==","range_end":"AA==","sort_order":"DESCEND","sort_target":2,"unknown":7}"#,
        1,
    ),
    ("kv/range", r#"{"key":"bm9uZQ=="}"#, 1),
    (
        "kv/txn",
        r#"{"compare":[{"target":"VALUE","key":"Zm9v","value":"YmF6","result":"EQUAL"}],"success":[{"request_put":{"key":"YQ==","value":"MQ=="}},{"request_range":{"key":"Zm9v"}},{"request_delete_range":{"key":"Zm9vMg==","prev_kv":true}}],"failure":[]}"#,
        1,
    ),
    ("kv/txn", "{}", 1),
    ("kv/deleterange", r#"{"key":"YQ==","prev_kv":true}"#, 1),
    ("lease/grant", r#"{"TTL":"600","ID":"7"}"#, 1),
    ("kv/put", r#"{"key":"YQ==","value":"MQ==","lease":"7"}"#, 1),
    ("lease/keepalive", r#"{"ID":"7"} {"ID":"8"}"#, 2),
    ("lease/keepalive", "", 0),
    ("lease/leases", "{}", 1),
    ("kv/lease/leases", "", 1),
    ("lease/timetolive", r#"{"ID":"9","keys":true}"#, 1),
    // History, then what was just cancelled.
    (
        "watch",
        r#"{"create_request":{"key":"Zm9v","start_revision":"2","prev_kv":true}}"#,
        2,
    ),
    (
        "watch",
        r#"{"create_request":{"key":"Zm9v","watch_id":"5"}}{"cancel_request":{"watch_id":"5"}}"#,
        2,
    ),
    (
        "watch",
        r#"{"create_request":{"key":"Zm9v"}} {"create_request":{"key":"Zm9v","filters":["NOPUT"]}}"#,
        2,
    ),
    (
        "watch",
        r#"{"create_request":{"key":"Zm9v","range_end":"Zg=="}}"#,
        1,
    ),
    ("lock/lock", r#"{"name":"bG9jaw==","lease":"7"}"#, 1),
    ("lock/unlock", r#"{"key":"bG9jay83"}"#, 1),
    (
        "election/campaign",
        r#"{"name":"ZQ==","lease":"7","value":"bWU="}"#,
        1,
    ),
    ("election/leader", r#"{"name":"ZQ=="}"#, 1),
    ("election/observe", r#"{"name":"ZQ=="}"#, 1),
    (
        "election/resign",
        r#"{"leader":{"name":"ZQ==","key":"ZS83","rev":"0","lease":"7"}}"#,
        1,
    ),
    ("lease/revoke", r#"{"ID":"7"}"#, 1),
    ("kv/compaction", r#"{"revision":"3"}"#, 1),
    // Forgotten by now.
    (
        "watch",
        r#"{"create_request":{"key":"Zm9v","start_revision":"2"}}"#,
        2,
    ),
    ("maintenance/alarm", "{}", 1),
    ("maintenance/defragment", "{}", 1),
    ("auth/user/add", r#"{"name":"root","password":"secret"}"#, 1),
    ("auth/role/add", r#"{"name":"reader"}"#, 1),
    (
        "auth/role/grant",
        r#"{"name":"reader","perm":{"permType":"READ","key":"YQ==","range_end":"Yg=="}}"#,
        1,
    ),
    ("auth/role/get", r#"{"role":"reader"}"#, 1),
    ("auth/user/grant", r#"{"user":"root","role":"reader"}"#, 1),
    ("auth/user/get", r#"{"name":"root"}"#, 1),
    ("auth/user/list", "{}", 1),
    ("auth/role/list", "{}", 1),
    ("auth/status", "{}", 1),
];

/// The first lines of an answer, as they stand.
fn said(store: &Store, (path, body, lines): Request) -> Vec<String> {
    let url = format!("{}/v3/{path}", store.endpoint());
    let mut curl = Command::new(programs::system("curl"))
        // Only a lost line takes that long.
        .args(["-sN", "--max-time", "60", "-d", body, &url])
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl starts");
    let answer = BufReader::new(curl.stdout.take().expect("a pipe"));
    let said: Vec<String> = answer
        .lines()
        .take(lines)
        .map(|line| masked(&line.expect("text")))
        .collect();
    // A watch does not end by itself.
    let _ = curl.kill();
    curl.wait().expect("curl ends");
    said
}

/// A line without what differs between any two clusters.
fn masked(line: &str) -> String {
    let mut masked = line.to_owned();
    for name in ["cluster_id", "member_id", "raft_term"] {
        let field = format!("\"{name}\":\"");
        let mut at = 0;
        while let Some(found) = masked[at..].find(&field) {
            let from = at + found + field.len();
            let digits = masked[from..].bytes().take_while(u8::is_ascii_digit);
            let to = from + digits.count();
            masked.replace_range(from..to, "#");
            at = from;
        }
    }
    masked
}

#[test]
fn the_gateway_says_what_etcd_s_says() {
    let ours = Store::start(Maker::Muster(PathBuf::from(env!("CARGO_BIN_EXE_muster"))));
    let theirs = Store::start(Maker::Etcd);
    let mut differ = Vec::new();
    for request in REQUESTS {
        let (ours, theirs) = (said(&ours, *request), said(&theirs, *request));
        assert_eq!(theirs.len(), request.2, "{request:?}: {theirs:?}");
        if ours != theirs {
            differ.push(format!("{request:?}\n ours   {ours:?}\n theirs {theirs:?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn ids_are_masked() {
    let line = r#"{"header":{"cluster_id":"12","member_id":"3","revision":"4","raft_term":"5"}}"#;
    let wanted =
        r##"{"header":{"cluster_id":"#","member_id":"#","revision":"4","raft_term":"#"}}"##;
    assert_eq!(masked(line), wanted);
}
