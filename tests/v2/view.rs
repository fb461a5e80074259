//! The same keys in both versions.

use end_to_end::etcdctl::Etcdctl;
use end_to_end::wait;

use super::{ask, ours};

fn put(client: &Etcdctl, key: &str, value: &str) {
    assert_eq!(client.run(&["put", key, value]), "OK\n");
}

#[test]
fn each_version_sees_what_the_other_wrote() {
    let store = ours();
    let client = store.client();
    assert_eq!(ask(&store, "PUT /a/b value=1").status, 201);
    assert_eq!(client.run(&["get", "/a/b"]), "/a/b\n1\n");
    put(&client, "/a/c", "2");
    let answer = ask(&store, "GET /a?recursive=true");
    assert!(
        answer.body.contains(r#"{"key":"/a/c","value":"2","#),
        "{}",
        answer.body
    );
    // The index is the revision.
    let index: i64 = answer.header("x-etcd-index").unwrap().parse().unwrap();
    let revision = client.run(&["get", "/a/c", "-w", "fields"]);
    assert!(
        revision.contains(&format!("\"Revision\" : {index}\n")),
        "{revision}"
    );
    // A directory is what has keys below it, and stays when the last of them goes by version 2.
    put(&client, "/made/by/three", "x");
    assert!(
        ask(&store, "GET /made")
            .body
            .contains(r#"{"key":"/made/by","dir":true,"#)
    );
    assert_eq!(ask(&store, "PUT /made/by value=x").status, 403);
    assert_eq!(ask(&store, "PUT /made/by/three/below value=x").status, 400);
    assert_eq!(ask(&store, "DELETE /made/by/three").status, 200);
    assert_eq!(ask(&store, "GET /made/by").status, 200);
    // A key that is a value and a parent shows both.
    put(&client, "/both", "value");
    put(&client, "/both/child", "x");
    let both = ask(&store, "GET /both").body;
    assert!(
        both.contains(r#""key":"/both","value":"value","dir":true,"nodes":[{"key":"/both/child""#),
        "{both}"
    );
    // A lease of version 3 is a time to live.
    let lease = client.run(&["lease", "grant", "100"]);
    let lease = lease.split(' ').nth(1).unwrap();
    let put_leased = client.run(&["put", "--lease", lease, "/leased", "x"]);
    assert_eq!(put_leased, "OK\n");
    let leased = ask(&store, "GET /leased").body;
    assert!(leased.contains(r#""ttl":"#), "{leased}");
    // No path names these.
    for key in ["plain", "/twice//", "/dot/./x"] {
        put(&client, key, key);
    }
    let nameless = ask(&store, "GET /_v3").body;
    for (name, key) in [
        ("plain", "plain"),
        ("=2Ftwice=2F=2F", "/twice//"),
        ("=2Fdot=2F.=2Fx", "/dot/./x"),
    ] {
        let shown = format!(r#"{{"key":"/_v3/{name}","value":"{key}","#);
        assert!(nameless.contains(&shown), "{nameless}");
        assert!(
            ask(&store, &format!("GET /_v3/{name}"))
                .body
                .contains(&shown),
            "{name}"
        );
    }
    assert_eq!(ask(&store, "PUT /_v3/x value=y").status, 400);
    assert_eq!(ask(&store, "GET /_v3/nothing").status, 404);
    let all = ask(&store, "GET /?recursive=true").body;
    assert!(!all.contains("plain") && !all.contains("twice"), "{all}");
}

#[test]
fn watchers_see_the_other_versions_writes() {
    let store = ours();
    let client = store.client();
    let mut watch = client.spawn(&["watch", "--prefix", "/w/"]);
    wait::until("the watch", wait::LONG, || {
        put(&client, "/w/first", "x");
        if watch.lines().is_empty() {
            Err("nothing yet".to_owned())
        } else {
            Ok(())
        }
    });
    assert_eq!(ask(&store, "PUT /w/k value=from-two").status, 201);
    watch.wait_line("from-two", wait::LONG);
    let index: i64 = ask(&store, "GET /w")
        .header("x-etcd-index")
        .unwrap()
        .parse()
        .unwrap();
    put(&client, "/w/three", "from-three");
    let event = ask(
        &store,
        &format!("GET /w?wait=true&recursive=true&waitIndex={}", index + 1),
    )
    .body;
    assert!(
        event.starts_with(r#"{"action":"set","node":{"key":"/w/three","value":"from-three","#),
        "{event}"
    );
    let compacted = (index + 1).to_string();
    assert!(client.run(&["compaction", &compacted]).contains(&compacted));
    let old = ask(&store, "GET /w?wait=true&recursive=true&waitIndex=2");
    assert_eq!(old.status, 400);
    assert!(old.body.starts_with(r#"{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"the requested history has been cleared ["#), "{}", old.body);
}

#[test]
fn users_are_asked_for_by_name_and_password() {
    let store = ours();
    let client = store.client();
    for words in [
        "user add root:secret",
        "user grant-role root root",
        "user add u:pw",
        "role add r",
        "role grant-permission r readwrite /mine --prefix",
        // Of the directory by itself, not of what is in it.
        "role grant-permission r read /dir",
        "user grant-role u r",
        "auth enable",
    ] {
        assert_ne!(client.run(&words.split(' ').collect::<Vec<_>>()), "");
    }
    let refused = ask(&store, "GET /mine/x");
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.body,
        "{\"errorCode\":110,\"message\":\"The request requires user authentication\",\"cause\":\"Insufficient credentials\",\"index\":0}\n"
    );
    let curl = |user: &str, words: &[&str], path: &str| {
        let url = format!("{}/v2/keys{path}", store.endpoint());
        let output = std::process::Command::new("curl")
            .args([
                "-s",
                "-m",
                "20",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-u",
                user,
            ])
            .args(words)
            .arg(url)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for (user, words, path, status) in [
        (
            "u:pw",
            &["-X", "PUT", "-d", "value=x"][..],
            "/mine/x",
            "201",
        ),
        ("u:pw", &[], "/mine/x", "200"),
        ("u:pw", &[], "/other", "401"),
        (
            "root:secret",
            &["-X", "PUT", "-d", "value=secret"],
            "/dir/secret",
            "201",
        ),
        ("u:pw", &[], "/dir", "401"),
        ("u:pw", &[], "/mine", "200"),
        ("u:pw", &[], "/?recursive=true", "401"),
        ("u:pw", &["-X", "PUT", "-d", "value=x"], "/other", "401"),
        ("u:wrong", &[], "/mine/x", "401"),
        ("root:secret", &[], "/?recursive=true", "200"),
    ] {
        assert_eq!(curl(user, words, path), status, "{user} {words:?} {path}");
    }
}
