//! Users, roles and what they may, in the words of version 2.

use end_to_end::http::Response;
use end_to_end::store::{Maker, Store};

use super::{ours, send};

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
    let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
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
