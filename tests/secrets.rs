//! What must not come out of a store, however much it is asked to say: passwords and tokens.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use end_to_end::programs;
use end_to_end::store::{Maker, Store};

/// Wrong tokens tried: enough to show in memory if each left something behind.
const GUESSES: usize = 2000;
/// 32 MiB: what a store of tests grows by between any two moments, several times over.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

/// Longest wait for a line of the log.
const LINE_WAIT_MAX: Duration = Duration::from_secs(30);

/// A POST of JSON to the gateway, with a token.
fn post(store: &Store, path: &str, token: &str, body: &str) -> String {
    let output = Command::new(programs::system("curl"))
        .args(["-s", "-H", &format!("Authorization: {token}"), "-d", body])
        .arg(format!("{}{path}", store.endpoint()))
        .output()
        .unwrap_or_else(|cause| panic!("run curl: {cause}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn no_password_and_no_token_is_ever_logged() {
    let maker = Maker::Muster(PathBuf::from(env!("CARGO_BIN_EXE_muster")));
    let mut store = Store::prepare(maker)
        .with_option("--log-level=debug")
        .with_option("--bcrypt-cost=4");
    store.restart();
    let client = store.client();
    let _ = client.run(&["user", "add", "root:Pass-of-root"]);
    let _ = client.run(&["role", "add", "root"]);
    let _ = client.run(&["user", "grant-role", "root", "root"]);
    let _ = client.run(&["auth", "enable"]);
    for password in ["Wrong-one", "Pass-of-root"] {
        let user = format!("--user=root:{password}");
        let outcome = client.try_run(&[&user, "put", "k", "v"]);
        assert_eq!(outcome.is_ok(), password == "Pass-of-root", "{outcome:?}");
    }
    let credentials = r#"{"name":"root","password":"Pass-of-root"}"#;
    let answer = post(&store, "/v3/auth/authenticate", "", credentials);
    let token = answer
        .split("\"token\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_else(|| panic!("no token: {answer}"))
        .to_owned();
    let read = r#"{"key":"aw=="}"#;
    assert!(post(&store, "/v3/kv/range", &token, read).contains("kvs"));
    // What is malformed is the likeliest to be quoted.
    for body in [
        r#"{"name":"root","password":"Pass-of-root""#,
        r#"{"name":"root","password":["Pass-of-root"]}"#,
        r#"{"name":5,"password":"Pass-of-root"}"#,
    ] {
        let answer = post(&store, "/v3/auth/authenticate", "", body);
        assert!(
            answer.contains("error") || answer.contains("message"),
            "{answer}"
        );
    }
    let _ = client.run(&["--user=root:Pass-of-root", "user", "add", "bob:Pass-of-bob"]);
    // What only the level of debugging tells, so that it is seen to be on: a connection of nonsense.
    let nonsense = TcpStream::connect(("127.0.0.1", store.port()));
    let mut nonsense = nonsense.unwrap_or_else(|cause| panic!("connect to the store: {cause}"));
    let _ = nonsense.write_all(b"no request at all\r\n\r\n");
    store.process().wait_line("connection ended", LINE_WAIT_MAX);
    let said = store.process().lines().join("\n");
    for secret in ["Pass-of-root", "Pass-of-bob", "Wrong-one", &token] {
        assert!(!said.contains(secret), "{secret} is logged:\n{said}");
    }
}

#[test]
fn guessing_tokens_costs_the_store_no_memory() {
    let maker = Maker::Muster(PathBuf::from(env!("CARGO_BIN_EXE_muster")));
    let mut store = Store::prepare(maker).with_option("--bcrypt-cost=4");
    store.restart();
    let client = store.client();
    let _ = client.run(&["user", "add", "root:secret"]);
    let _ = client.run(&["role", "add", "root"]);
    let _ = client.run(&["user", "grant-role", "root", "root"]);
    let _ = client.run(&["auth", "enable"]);
    let before = store.process().resident_kib();
    // One curl for all of them: each with its own token, on one connection.
    let folder = store.data().with_extension("guesses");
    let guesses: Vec<String> = (0..GUESSES)
        .map(|number| {
            format!(
                "url = \"{}/v3/kv/range\"\nheader = \"Authorization: guess{number}.{number}\"\ndata = \"{{\\\"key\\\":\\\"aw==\\\"}}\"\nsilent\n",
                store.endpoint()
            )
        })
        .collect();
    std::fs::write(&folder, guesses.join("next\n")).unwrap_or_else(|cause| panic!("{cause}"));
    let output = Command::new(programs::system("curl"))
        .arg("--config")
        .arg(&folder)
        .output()
        .unwrap_or_else(|cause| panic!("run curl: {cause}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let refused = said.matches("invalid auth token").count();
    assert!(
        refused >= GUESSES,
        "{refused} refused: {}",
        &said[..said.len().min(500)]
    );
    let after = store.process().resident_kib();
    assert!(
        after <= before + GROWTH_KIB_MAX,
        "{GUESSES} guesses took {before} KiB to {after} KiB"
    );
    // Served as before.
    assert_eq!(client.run(&["--user=root:secret", "put", "k", "v"]), "OK\n");
}
