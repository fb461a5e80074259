//! Users, roles and what they may, in the words of version 2.

use end_to_end::http::Response;
use end_to_end::store::{Maker, Store};

use serde_json::Value;

use super::{ours, send, theirs};

const FORM: &str = "application/x-www-form-urlencoded";

/// A request about keys in a user's name.
fn ask_as(store: &Store, user: &str, method: &str, path: &str, form: &str) -> Response {
    send(store, user, method, &format!("/v2/keys{path}"), FORM, form)
}

/// Index at which the key was last written, as of now.
fn written(store: &Store, path: &str) -> u64 {
    let answer = ask_as(
        store,
        "root:secret",
        "GET",
        &format!("{path}?quorum=true"),
        "",
    );
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    body["node"]["modifiedIndex"].as_u64().expect("an index")
}

/// Each writer goes on until it is refused. What one of them was let in for before the permission was taken away, and
/// came to the log after that, must not be done.
#[test]
fn a_permission_that_was_taken_away_lets_no_write_through() {
    let maker = Maker::Muster(env!("CARGO_BIN_EXE_muster").into());
    // The least cost: more writes at once.
    let mut store = Store::prepare(maker).with_option("--bcrypt-cost=4");
    store.restart();
    let client = store.client();
    for line in [
        "user add root:secret",
        "user grant-role root root",
        "user add u:pw",
        "role add r",
        "user grant-role u r",
        "auth enable",
    ] {
        let said = client.run(&line.split(' ').collect::<Vec<_>>());
        assert_ne!(said, "", "{line}");
    }
    let as_root = |line: &str| {
        let words = ["--user", "root:secret"].into_iter().chain(line.split(' '));
        client.run(&words.collect::<Vec<_>>())
    };
    for round in 0..5 {
        as_root("role grant-permission r readwrite /mine/ --prefix");
        let first = ask_as(&store, "u:pw", "PUT", "/mine/x", "value=first");
        assert!(first.status < 300, "{first:?}");
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        while ask_as(&store, "u:pw", "PUT", "/mine/x", "value=x").status == 200 {}
                    })
                })
                .collect();
            as_root("role revoke-permission r /mine/ --prefix");
            let revoked = written(&store, "/mine/x");
            for writer in writers {
                writer.join().expect("a writer");
            }
            assert_eq!(written(&store, "/mine/x"), revoked, "round {round}");
        });
    }
    // The last answer is that of users and roles as they are: permitted again, the next write is.
    as_root("role grant-permission r readwrite /mine/x");
    assert_eq!(
        ask_as(&store, "u:pw", "PUT", "/mine/x", "value=y").status,
        200
    );
    assert_eq!(ask_as(&store, "u:pw", "GET", "/mine/y", "").status, 401);
}

/// Whoever does not say who it is goes as far as the role `guest`.
#[test]
fn guests_may_what_their_role_may() {
    let store = ours();
    let client = store.client();
    for line in [
        "user add root:secret",
        "user grant-role root root",
        "role add guest",
        "role grant-permission guest read /open/ --prefix",
        "put /open/x 1",
        "put /closed/x 1",
        "auth enable",
    ] {
        let said = client.run(&line.split(' ').collect::<Vec<_>>());
        assert_ne!(said, "", "{line}");
    }
    for (method, path, form, status) in [
        ("GET", "/open/x", "", 200),
        ("PUT", "/open/x", "value=2", 401),
        ("GET", "/closed/x", "", 401),
    ] {
        let answer = ask_as(&store, "", method, path, form);
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

/// A list with nothing in it is `null` or `[]` in etcd, by how it came to be.
fn lists(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(lists),
        Value::Object(map) => {
            for (name, one) in map {
                if one.is_null() && ["roles", "users", "read", "write"].contains(&&name[..]) {
                    *one = Value::Array(Vec::new());
                }
                lists(one);
            }
        }
        _ => {}
    }
}

#[test]
fn users_and_roles_are_changed_as_in_etcd() {
    let lines = r#"- GET /enable
- GET /users
- GET /users/
- GET /roles
- GET /roles/root
- GET /roles/guest
- GET /users/nobody
- PUT /enable
- DELETE /enable
- PUT /users/u {"user":"u"}
- PUT /users/u {"user":"u","password":"pw"}
- PUT /users/u {"user":"u","password":"pw2"}
- PUT /users/u {"user":"u"}
- PUT /users/u {"user":"u","password":"pw2","roles":["x"]}
- PUT /users/v {"user":"w"}
- PUT /users/v junk
- PUT /users/v {"user":7}
- PUT /users/v
- PUT /users/w {"user":"w","grant":["x"]}
- GET /users/u
- GET /users
- POST /users/u
- POST /users
- GET /users/u/x
- DELETE /users/nope
- PUT /roles/r {"role":"r"}
- PUT /roles/r {"role":"r"}
- PUT /roles/r2 {"role":"r2","permissions":{"kv":{"read":["/a/*"],"write":["/a/*","/b"]}}}
- PUT /roles/r2 {"role":"r2","grant":{"kv":{"read":["/c"]}}}
- PUT /roles/r2 {"role":"r2","grant":{"kv":{"read":["/c"]}}}
- PUT /roles/r2 {"role":"r2","revoke":{"kv":{"read":["/zz"]}}}
- PUT /roles/r2 {"role":"r2","revoke":{"kv":{"read":["/c"]}}}
- PUT /roles/r2 {"role":"r2","grant":{"kv":{"write":["/c"]}},"revoke":{"kv":{"write":["/b"]}}}
- PUT /roles/r2 {"role":"r2","permissions":{"kv":{"read":["/a/*"]}},"grant":{"kv":{"write":["/c"]}}}
- PUT /roles/r2 {"role":"r3"}
- PUT /roles/r2 x
- PUT /roles/nn {"role":"nn","grant":{"kv":{"write":["/c"]}}}
- PUT /roles/root {"role":"root"}
- PUT /roles/root {"role":"root","grant":{"kv":{"write":["/c"]}}}
- DELETE /roles/root
- DELETE /roles/nope
- GET /roles
- GET /roles/r2
- POST /roles/r2
- GET /roles/r2/x
- PUT /users/v {"user":"v","password":"pw2","roles":["r","r2"]}
- PUT /users/v {"user":"v","grant":["r"]}
- PUT /users/v {"user":"v","revoke":["z"]}
- PUT /users/v {"user":"v","revoke":["r"]}
- PUT /users/v {"user":"v","grant":["r"],"revoke":["r2"]}
- PUT /users/v {"user":"v","grant":["r2"],"roles":["r"]}
- GET /users/v
- PUT /roles/pat {"role":"pat","permissions":{"kv":{"read":["*","/*","a*b","foo"],"write":[]}}}
- GET /roles/pat
- PUT /users/root {"user":"root","password":"secret"}
- GET /users/root
- PUT /users/root {"user":"root","grant":["r2"]}
- PUT /enable
- GET /enable
root:secret GET /enable
root:secret PUT /enable
root:secret GET /roles
root:secret GET /users
root:secret DELETE /users/root
root:secret PUT /users/u {"user":"u","grant":["root"]}
u:pw2 GET /users
v:pw2 GET /users/v
root:secret DELETE /roles/guest
root:secret GET /roles/guest
- GET /users
v:pw2 GET /users
root:bad GET /users
root:secret PATCH /users
root:secret GET /nope
root:secret DELETE /users/u
root:secret DELETE /roles/r2
root:secret GET /users/v
root:secret DELETE /enable
- DELETE /enable
- DELETE /users/root
- GET /users"#;
    let (ours, theirs) = (ours(), theirs());
    for line in lines.lines() {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (user, method, path, body) = (word(), word(), word(), word());
        let user = if user == "-" { "" } else { user };
        let path = format!("/v2/auth{path}");
        let [told, expected] = [&ours, &theirs].map(|store| {
            let answer = send(store, user, method, &path, "application/json", body);
            let allow = answer.header("allow").map(str::to_owned);
            let body = serde_json::from_str(&answer.body).map_or_else(
                |_| Value::String(answer.body.clone()),
                |mut value| {
                    lists(&mut value);
                    value
                },
            );
            (answer.status, allow, body)
        });
        assert_eq!(told, expected, "{line}");
    }
}

#[test]
fn both_versions_speak_of_the_same_users_and_roles() {
    let store = ours();
    let client = store.client();
    let auth = |user: &str, method: &str, path: &str, body: &str| {
        send(
            &store,
            user,
            method,
            &format!("/v2/auth{path}"),
            "application/json",
            body,
        )
    };
    let role = r#"{"role":"r","permissions":{"kv":{"read":["/app/*","/one"],"write":["/app/*"]}}}"#;
    assert_eq!(auth("", "PUT", "/roles/r", role).status, 201);
    let shown = client.run(&["role", "get", "r"]);
    assert!(shown.contains("[/app/, /app0) (prefix /app/)"), "{shown}");
    // A role that is none cannot be given.
    let unknown = r#"{"user":"u","password":"pw","roles":["none"]}"#;
    assert_eq!(auth("", "PUT", "/users/u", unknown).status, 404);
    let user = r#"{"user":"u","password":"pw","roles":["r"]}"#;
    assert_eq!(auth("", "PUT", "/users/u", user).status, 200);
    // What version 3 allows is shown as far as there are words for it.
    for line in [
        "role grant-permission r read /p/ --prefix",
        "role grant-permission r write /from /fz",
    ] {
        let said = client.run(&line.split(' ').collect::<Vec<_>>());
        assert_ne!(said, "", "{line}");
    }
    let role: Value = serde_json::from_str(&auth("", "GET", "/roles/r", "").body).unwrap();
    assert_eq!(
        role["permissions"]["kv"]["read"],
        serde_json::json!(["/app/*", "/one", "/p/*"])
    );
    assert_eq!(
        role["unnamed"],
        serde_json::json!([{
            "permType": "WRITE",
            "key": "L2Zyb20=",
            "range_end": "L2Z6",
            "reason": "the range is no prefix",
        }])
    );
    let root = r#"{"user":"root","password":"secret"}"#;
    assert_eq!(auth("", "PUT", "/users/root", root).status, 201);
    assert_eq!(auth("", "PUT", "/enable", "").status, 200);
    // By name and password in both, and guests in version 2 only.
    let put = ["put", "--user", "u:pw", "/app/x", "1"];
    assert_eq!(client.run(&put), "OK\n");
    assert_eq!(ask_as(&store, "u:pw", "GET", "/app/x", "").status, 200);
    assert_eq!(ask_as(&store, "u:pw", "PUT", "/one", "value=1").status, 401);
    assert_eq!(ask_as(&store, "", "GET", "/app/x", "").status, 200);
    assert!(client.try_run(&["get", "/app/x"]).is_err());
    let closed = r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#;
    assert_eq!(
        auth("root:secret", "PUT", "/roles/guest", closed).status,
        200
    );
    assert_eq!(ask_as(&store, "", "GET", "/app/x", "").status, 401);
}
