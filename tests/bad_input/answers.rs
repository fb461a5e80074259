//! Requests that are small, with answers that are not: however many ask for them at once, they take a bounded memory.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use end_to_end::store::Store;

use super::{Bystander, CROWD, connect, in_a_crowd, muster, post};

/// What is stored: so many values in a directory for each of the crowd, 24 MiB together.
const VALUES: usize = 192;
const VALUE_BYTES: usize = 16 << 10;

/// What large ranges may take together: room for one of all that is stored.
const BUDGET: &str = "--max-range-bytes=67108864";

/// The answer, read to its end; `None` when there was no room for it.
fn asked(port: u16, request: &[u8]) -> Option<usize> {
    let mut stream = connect(port);
    stream.write_all(request).expect("it is taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let head = String::from_utf8_lossy(&answer[..answer.len().min(2_000)]).into_owned();
    if head.starts_with("HTTP/1.1 200") {
        return Some(answer.len());
    }
    assert!(head.contains("too many requests"), "{head}");
    None
}

fn closing(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8(request.to_vec()).expect("text");
    request
        .replacen("Host: x\r\n", "Host: x\r\nConnection: close\r\n", 1)
        .into_bytes()
}

fn txn(ops: &[String]) -> Vec<u8> {
    let body = format!(r#"{{"success":[{}]}}"#, ops.join(","));
    closing(&post("/v3/kv/txn", body.as_bytes()))
}

fn range() -> String {
    let [from, to] = ["/big/", "/big0"].map(|key| STANDARD.encode(key));
    format!(r#"{{"request_range":{{"key":"{from}","range_end":"{to}"}}}}"#)
}

fn put(key: &str, value: &[u8]) -> String {
    let [key, value] = [key.as_bytes(), value].map(|bytes| STANDARD.encode(bytes));
    format!(r#"{{"request_put":{{"key":"{key}","value":"{value}"}}}}"#)
}

#[test]
fn large_answers_take_a_bounded_memory() {
    let mut store = Store::prepare(muster()).with_option(BUDGET);
    store.restart();
    let value = vec![b'v'; VALUE_BYTES];
    let keys: Vec<String> = (0..CROWD)
        .flat_map(|folder| (0..VALUES).map(move |key| format!("/big/{folder}/{key}")))
        .collect();
    for some in keys.chunks(64) {
        let puts: Vec<_> = some.iter().map(|key| put(key, &value)).collect();
        asked(store.port(), &txn(&puts)).expect("stored");
    }
    let bytes = keys.len() * VALUE_BYTES;
    let bystander = Bystander::start(store.port(), "");
    let listing = closing(b"GET /v2/keys/big?recursive=true HTTP/1.1\r\nHost: x\r\n\r\n");
    for (what, request) in [
        ("a range in a transaction", txn(&[range()])),
        (
            "a range in one that writes",
            txn(&[put("/other", b"x"), range()]),
        ),
        ("a recursive listing", listing),
    ] {
        let served = std::sync::atomic::AtomicUsize::new(0);
        in_a_crowd(&mut store, what, |port| {
            if let Some(read) = asked(port, &request) {
                assert!(read > bytes, "{read}");
                served.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        println!("{what}: {served:?} of {CROWD} were answered");
        assert!(served.into_inner() >= 1, "{what}");
    }
    in_a_crowd(&mut store, "a hundred ranges in a transaction", |port| {
        assert_eq!(asked(port, &txn(&vec![range(); 100])), None);
    });
    let [from, to] = ["/big/", "/big0"].map(|key| STANDARD.encode(key));
    let body = format!(r#"{{"key":"{from}","range_end":"{to}","prev_kv":true}}"#);
    let delete = closing(&post("/v3/kv/deleterange", body.as_bytes()));
    in_a_crowd(&mut store, "a delete that tells what it deleted", |port| {
        let _ = asked(port, &delete);
    });
    bystander.was_served();
}
