//! Members and figures, and no API of version 2 at all.

use end_to_end::store::{Maker, Store};
use serde_json::Value;

use super::{ask, ours, send, theirs};

fn json(store: &Store, path: &str) -> Value {
    let answer = send(store, "", "GET", path, "", "");
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    serde_json::from_str(&answer.body).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

#[test]
fn requests_about_members_are_answered_alike() {
    let (ours, theirs) = (ours(), theirs());
    let mut wrong = Vec::new();
    for (line, body) in [
        ("GET /v2/machines", ""),
        ("POST /v2/machines", ""),
        ("GET /v2/members/", ""),
        ("GET /v2/members/leader", ""),
        ("GET /v2/members/none", ""),
        ("GET /v2/members/1", ""),
        ("PATCH /v2/members", ""),
        ("POST /v2/members", "junk"),
        ("POST /v2/members", r#"{"peerURLs":["nowhere"]}"#),
        (
            "PUT /v2/members/1",
            r#"{"peerURLs":["http://127.0.0.1:9"]}"#,
        ),
        (
            "PUT /v2/members/xyz",
            r#"{"peerURLs":["http://127.0.0.1:9"]}"#,
        ),
        ("DELETE /v2/members/1", ""),
        ("DELETE /v2/members/xyz", ""),
        ("GET /v2/stats/nothing", ""),
        ("PUT /v2/stats/self", ""),
        ("GET /v2/nothing", ""),
    ] {
        let (method, path) = line.split_once(' ').expect("two words");
        let [told, expected] = [&ours, &theirs].map(|store| {
            let answer = send(store, "", method, path, "application/json", body);
            let mut shape = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
            shape_of(&mut shape);
            (
                answer.status,
                answer.header("allow").map(str::to_owned),
                shape,
            )
        });
        if told != expected {
            wrong.push(format!("{line} {body}: {told:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let form = "application/x-www-form-urlencoded";
    for store in [&ours, &theirs] {
        let answer = send(store, "", "POST", "/v2/members", form, "a=b");
        assert_eq!(answer.status, 415, "{answer:?}");
    }
}

/// What fields there are.
fn shape_of(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(shape_of),
        Value::Object(map) => map.values_mut().for_each(shape_of),
        value => *value = Value::Null,
    }
}

#[test]
fn figures_are_counted_or_left_out() {
    let (ours, theirs) = (ours(), theirs());
    for store in [&ours, &theirs] {
        for line in [
            "PUT /a value=1",
            "PUT /a value=2&prevExist=false",
            "GET /a",
            "GET /b",
            "DELETE /a",
        ] {
            ask(store, line);
        }
    }
    let [told, expected] = [&ours, &theirs].map(|store| json(store, "/v2/stats/store"));
    for name in [
        "createFail",
        "deleteSuccess",
        "deleteFail",
        "expireCount",
        "watchers",
    ] {
        assert_eq!(told[name], expected[name], "{name}");
    }
    // What etcd reads and writes by itself it counts, too.
    assert_eq!([&told["setsSuccess"], &told["getsFail"]], [1, 1]);
    let [told, mut expected] = [&ours, &theirs].map(|store| json(store, "/v2/stats/self"));
    for name in ["recvAppendRequestCnt", "sendAppendRequestCnt"] {
        expected.as_object_mut().expect("a map").remove(name);
    }
    assert_eq!(told["state"], "StateLeader");
    assert_eq!(told["leaderInfo"]["leader"], told["id"]);
    let started = |value: &Value| value["startTime"].as_str().map(str::to_owned);
    assert!(started(&told["leaderInfo"]) >= started(&told), "{told}");
    let [mut told, mut expected] = [told, expected];
    shape_of(&mut told);
    shape_of(&mut expected);
    assert_eq!(told, expected);
    let leader = json(&ours, "/v2/stats/leader");
    assert_eq!(leader["followers"], Value::Object(serde_json::Map::new()));
}

#[test]
fn it_may_be_switched_off() {
    let maker = Maker::Muster(env!("CARGO_BIN_EXE_muster").into());
    let mut store = Store::prepare(maker).with_option("--enable-v2=false");
    store.restart();
    for path in [
        "/v2/keys",
        "/v2/keys/a",
        "/v2/members",
        "/v2/machines",
        "/v2/stats/self",
        "/v2/auth/enable",
    ] {
        assert_eq!(send(&store, "", "GET", path, "", "").status, 404, "{path}");
    }
    assert_eq!(send(&store, "", "GET", "/version", "", "").status, 200);
}
