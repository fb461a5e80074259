//! The layouts are for everybody: what curl does by version 2 and by JSON of version 3, as `docs/recipes.md` shows it, and
//! what the commands do meet in the same keys.

use std::process::Command;

use end_to_end::programs;
use end_to_end::store::{Maker, Store};
use end_to_end::wait;
use serde_json::Value;

use super::{MUSTER, Scene};

fn curl(words: &[&str]) -> String {
    let output = Command::new(programs::system("curl"))
        .args(["-s", "-S", "-L", "-N", "--max-time", "20"])
        .args(words)
        .output()
        .expect("curl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{words:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn curl_and_the_commands_meet_in_the_same_keys() {
    let scene = Scene {
        store: Store::start(Maker::Muster(MUSTER.into())),
        folder: tempfile::tempdir().unwrap(),
    };
    let v2 = |method: &str, path: &str, data: &[&str]| {
        let url = format!("{}/v2/keys{path}", scene.store.endpoint());
        let mut words = vec!["-X", method, url.as_str()];
        for one in data {
            words.extend(["--data-urlencode", one]);
        }
        curl(&words)
    };
    let v3 = |path: &str, body: &str| -> Value {
        let url = format!("{}/v3/{path}", scene.store.endpoint());
        serde_json::from_str(&curl(&[&url, "-d", body])).unwrap()
    };
    let first = |words: &[&str]| {
        let (_, out, err) = scene.said(words);
        format!("{out}{err}")
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };

    // Queue: a POST of version 2 is a push.
    v2("POST", "/queues/jobs/items", &["value=one"]);
    scene.run(&["queue", "push", "jobs", "two"]);
    v2("POST", "/queues/jobs/items", &["value=three"]);
    for item in ["one\n", "two\n", "three\n"] {
        assert_eq!(scene.run(&["queue", "pop", "jobs"]), item);
    }

    // Locks.
    v2(
        "PUT",
        "/locks/jobs?prevExist=false",
        &["value=me", "ttl=30"],
    );
    assert_eq!(
        first(&["lock", "--exclusive", "--try", "/locks/jobs", "true"]),
        "Error: somebody else holds it: me"
    );
    let lease = v3("lease/grant", r#"{"TTL":30}"#)["ID"]
        .as_str()
        .unwrap()
        .to_owned();
    v3(
        "lock/lock",
        &format!(r#"{{"name":"am9icw==","lease":"{lease}"}}"#),
    );
    let taken = first(&["lock", "--try", "jobs", "true"]);
    assert!(
        taken.starts_with("Error: somebody else holds it: jobs/"),
        "{taken}"
    );

    // Election.
    let body = format!(r#"{{"name":"ZQ==","lease":"{lease}","value":"bWU="}}"#);
    v3("election/campaign", &body);
    assert_eq!(first(&["elect", "--resign", "e"]), "me");

    // Service: the record that a command wrote, written by curl.
    let mut offered = scene.spawn(&[
        "service",
        "register",
        "web",
        "--address",
        "10.0.0.1",
        "--port",
        "80",
    ]);
    offered.wait_line("10.0.0.1:80", wait::LONG);
    let key = offered.wait_line("/services/web/", wait::LONG);
    let record = scene.run(&["get", "--print-value-only", &key]);
    offered.kill();
    v2(
        "PUT",
        &key,
        &[&format!("value={}", record.trim()), "ttl=30"],
    );
    assert_eq!(first(&["service", "resolve", "web"]), "10.0.0.1:80");

    // Configuration.
    let mut subscriber = scene.spawn(&["subscribe", "/config/app"]);
    v2("PUT", "/config/app", &["value=blue"]);
    subscriber.wait_line("blue", wait::LONG);

    // Group.
    v2("PUT", "/groups/crew/x", &["value=me", "ttl=30"]);
    assert_eq!(first(&["monitor", "list", "crew"]), "x\tme");

    // Task.
    let report = r#"value={"state":"running","progress":"70%","worker":"me","token":42}"#;
    v2("PUT", "/tasks/import/report", &[report]);
    assert_eq!(first(&["progress", "show"]), "import\tlost\tme\t70%");
    v2(
        "PUT",
        "/tasks/import/worker?prevExist=false",
        &["value=me", "ttl=30"],
    );
    assert_eq!(first(&["progress", "show"]), "import\trunning\tme\t70%");

    // Barrier.
    v2("PUT", "/barriers/deploy", &["value=me"]);
    let mut waiting = scene.spawn(&["barrier", "wait", "deploy"]);
    assert_eq!(waiting.exited(), None);
    v3("kv/deleterange", r#"{"key":"L2JhcnJpZXJzL2RlcGxveQ=="}"#);
    assert_eq!(waiting.wait_exit(wait::LONG).code(), Some(0));
}
