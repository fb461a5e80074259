//! The keys API of etcd 2 on our store answers as a real etcd's does: written out requests, generated sequences, real
//! clients, and what version 3 sees of it.

mod auth;
mod clients;
mod commands;
mod figures;
mod migrate;
mod sequences;
mod view;

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use end_to_end::http::{self, Response};
use end_to_end::store::{Maker, Store};
use end_to_end::wait;
use serde_json::Value;

fn ours() -> Store {
    Store::start(Maker::Muster(env!("CARGO_BIN_EXE_muster").into()))
}

fn theirs() -> Store {
    let mut store = Store::prepare(Maker::Etcd).with_option("--enable-v2");
    store.restart();
    // Its index counts what it settles by itself after its start, too.
    wait::until("etcd's cluster version", wait::LONG, || {
        let answer = send(&store, "", "GET", "/version", "", "");
        if answer.body.contains("\"etcdcluster\":\"3.5.0\"") {
            Ok(())
        } else {
            Err(answer.body)
        }
    });
    store
}

/// One request: `PUT /a?ttl=5 value=x&dir=true`, the form last.
fn ask(store: &Store, line: &str) -> Response {
    let mut words = line.splitn(3, ' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let kind = "application/x-www-form-urlencoded";
    let body = words.next().unwrap_or_default();
    send(store, "", method, &format!("/v2/keys{path}"), kind, body)
}

/// One request, in the name of `name:password` unless that is empty.
fn send(store: &Store, user: &str, method: &str, path: &str, kind: &str, body: &str) -> Response {
    let address = SocketAddr::from(([127, 0, 0, 1], store.port()));
    let mut head = String::new();
    if !user.is_empty() {
        let user = STANDARD.encode(user);
        head = format!("Authorization: Basic {user}\r\n");
    }
    if !body.is_empty() {
        let length = body.len();
        head += &format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n");
    }
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{head}\r\n{body}"
    );
    http::request(address, &text).unwrap_or_else(|cause| panic!("{method} {path}: {cause}"))
}

/// What an answer says, with indexes counted from `base`. What differs by design is left out: `createdIndex` of what was
/// written over, which stays here; the moment of an end, which is never the same.
fn said(response: &Response, base: i64) -> (u16, Value, Option<i64>) {
    let mut value = serde_json::from_str(&response.body).unwrap_or(Value::Null);
    shift(&mut value, base);
    let index = response.header("x-etcd-index").map(|index| {
        let index: i64 = index.parse().expect("an index is a number");
        if index == 0 { 0 } else { index - base }
    });
    (response.status, value, index)
}

fn shift(value: &mut Value, base: i64) {
    match value {
        Value::Array(list) => {
            list.iter_mut().for_each(|one| shift(one, base));
            // Without an order asked for etcd has none.
            list.sort_by_key(|node| node["key"].to_string());
        }
        Value::Object(map) => {
            map.remove("createdIndex");
            if map.remove("expiration").is_some() {
                map.insert("expires".into(), true.into());
            }
            for name in ["modifiedIndex", "index"] {
                let index = map
                    .get(name)
                    .and_then(Value::as_i64)
                    .filter(|index| *index != 0);
                if let Some(index) = index {
                    map.insert(name.into(), (index - base).into());
                }
            }
            for name in ["key", "cause"] {
                if let Some(text) = map.get(name).and_then(Value::as_str) {
                    let text = ordered(text, base);
                    map.insert(name.into(), text.into());
                }
            }
            map.values_mut().for_each(|one| shift(one, base));
        }
        _ => {}
    }
}

/// Names made by POST and indexes in causes hold indexes too.
fn ordered(text: &str, base: i64) -> String {
    let name = |name: &str| match name.parse::<i64>() {
        Ok(index) if name.len() == 20 => format!("<{}>", index - base),
        _ => name.to_owned(),
    };
    if let Some((wanted, have)) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .and_then(|text| text.split_once(" != "))
        && let (Ok(_), Ok(have)) = (wanted.parse::<i64>(), have.parse::<i64>())
    {
        return format!("[{wanted} != {}]", have - base);
    }
    text.split('/').map(name).collect::<Vec<_>>().join("/")
}

/// The index of a store that holds nothing yet.
fn base(store: &Store) -> i64 {
    let index = ask(store, "GET /");
    let index = index.header("x-etcd-index").expect("an index");
    index.parse().expect("a number")
}

/// Both stores say the same to each line.
#[track_caller]
fn same<'l>(lines: impl IntoIterator<Item = &'l str>) {
    let (ours, theirs) = (ours(), theirs());
    let (our_base, their_base) = (base(&ours), base(&theirs));
    for line in lines {
        let told = said(&ask(&ours, line), our_base);
        let expected = said(&ask(&theirs, line), their_base);
        assert_eq!(told, expected, "{line}");
    }
}
