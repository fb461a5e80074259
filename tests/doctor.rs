//! `muster doctor` against real stores, ours and an etcd: what it finds, how it says so, and with which exit status.

use std::process::{Command, Output};

use end_to_end::authority::{Authority, Holder};
use end_to_end::store::{Maker, Store};
use serde_json::Value;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

fn doctor(endpoint: &str, words: &[&str]) -> Output {
    let mut command = Command::new(MUSTER);
    command
        .env_clear()
        .arg("doctor")
        .args(["--endpoints", endpoint])
        .args(words);
    command.output().expect("muster runs")
}

fn findings(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let list: Value = serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{cause}: {text}"));
    list.as_array().expect("a list").clone()
}

#[track_caller]
fn about<'f>(found: &'f [Value], what: &str) -> &'f Value {
    let mut all = found.iter().filter(|one| one["what"] == what);
    all.next()
        .unwrap_or_else(|| panic!("nothing about {what}: {found:?}"))
}

/// Holds that the member answers. How fast its disk is, which is a warning of its own, is this machine's affair.
#[track_caller]
fn answers(found: &[Value]) {
    let member = about(found, "member");
    let detail = member["detail"].to_string();
    assert_ne!(member["state"], "wrong", "{found:?}");
    assert!(detail.contains("a read takes"), "{found:?}");
}

/// The state of the worst finding, as an exit status.
fn status_of(found: &[Value]) -> i32 {
    if found.iter().any(|one| one["state"] == "wrong") {
        3
    } else {
        i32::from(found.iter().any(|one| one["state"] == "warning"))
    }
}

#[test]
fn a_store_is_looked_at_whoever_made_it() {
    for maker in [Maker::Muster(MUSTER.into()), Maker::Etcd] {
        let store = Store::start(maker);
        let client = store.client();
        for (key, value) in [
            ("/big/one", "x".repeat(5000)),
            ("/often/one", "y".to_owned()),
        ] {
            let _ = client.run(&["put", key, &value]);
        }
        for version in 0..20 {
            let _ = client.run(&["put", "/often/one", &version.to_string()]);
        }
        let data = store.data().display().to_string();
        let output = doctor(&store.endpoint(), &["--data-dir", &data, "--json"]);
        let found = findings(&output);
        assert_eq!(output.status.code(), Some(status_of(&found)), "{found:?}");
        answers(&found);
        for what in ["quorum", "version", "quota"] {
            assert_eq!(about(&found, what)["state"], "ok", "{found:?}");
        }
        let clocks = found.iter().filter(|one| one["what"] == "clock");
        let clocks: Vec<String> = clocks.map(|one| one["detail"].to_string()).collect();
        assert!(
            clocks.iter().any(|text| text.contains("has the same time")),
            "{clocks:?}"
        );
        let disk = about(&found, "disk")["detail"].to_string();
        assert!(
            disk.contains("syncs in") && disk.contains("99th percentile"),
            "{disk}"
        );
        assert!(
            about(&found, "files")["detail"]
                .to_string()
                .contains("may be"),
            "{found:?}"
        );
        let prefixes = found.iter().filter(|one| one["what"] == "prefixes");
        let prefixes: Vec<&str> = prefixes.filter_map(|one| one["detail"].as_str()).collect();
        assert!(
            prefixes[0].contains("by bytes: /big/one 4.9 KiB in 1 key"),
            "{prefixes:?}"
        );
        assert!(
            prefixes[1].starts_with("by versions: /often/one 21 versions in 1 key"),
            "{prefixes:?}"
        );
        let left = std::fs::read_dir(store.data()).expect("the folder is there");
        let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
        assert!(
            left.iter()
                .all(|name| !name.to_string_lossy().starts_with('.')),
            "{left:?}"
        );
    }
}

#[test]
fn a_store_that_is_away_is_wrong_and_so_is_a_word_it_does_not_know() {
    let store = Store::prepare(Maker::Muster(MUSTER.into()));
    let output = doctor(&store.endpoint(), &["--command-timeout=1s"]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("WRONG  store"), "{text}");
    assert!(text.contains("-      disk         not measured"), "{text}");
    assert!(text.contains("→ name a member that runs"), "{text}");
    assert_eq!(doctor("x", &["--no-such-flag"]).status.code(), Some(2));
    let help = doctor("x", &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("3  something is wrong"));
}

#[test]
fn a_certificate_near_its_end_is_told_by_file_and_as_it_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut authority = Authority::new(folder.path(), "ca");
    let soon = Holder {
        days: 10,
        ..Holder::default()
    };
    let pair = authority.issue("server", soon);
    let store = Store::prepare(Maker::Muster(MUSTER.into()));
    let url = format!("https://127.0.0.1:{}", store.port());
    let certificate = pair.certificate.display().to_string();
    let mut store = store
        .with_option(format!("--listen-client-urls={url}"))
        .with_option(format!("--advertise-client-urls={url}"))
        .with_option(format!("--cert-file={certificate}"))
        .with_option(format!("--key-file={}", pair.key.display()));
    store.restart();
    let trusted = folder.path().join("ca.pem").display().to_string();
    let flags = ["--cacert", &trusted, "--cert-file", &certificate, "--json"];
    let found = findings(&doctor(&url, &flags));
    answers(&found);
    let mut seen = Vec::new();
    for one in found.iter().filter(|one| one["what"] == "certificate") {
        seen.push((one["state"].to_string(), one["detail"].to_string()));
    }
    for (state, name) in [
        (
            "warning",
            format!("of the store {certificate} ends in 9 days"),
        ),
        ("warning", format!("shown at {url} ends in 9 days")),
        (
            "ok",
            format!("authorities of this client {trusted} is good"),
        ),
    ] {
        let holds = |(is, text): &(String, String)| is.contains(state) && text.contains(&name);
        assert!(seen.iter().any(holds), "{state} {name}: {seen:?}");
    }
}

fn upgrade(endpoint: &str, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(MUSTER);
    command
        .env_clear()
        .args(["upgrade", "--endpoints", endpoint]);
    let output = command.args(words).output().expect("muster runs");
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&told).into())
}

#[test]
fn whether_members_can_be_upgraded_is_asked_of_them() {
    let own = env!("CARGO_PKG_VERSION");
    let store = Store::start(Maker::Muster(MUSTER.into()));
    // One voter alone: it can, but nothing is served meanwhile.
    let (status, told) = upgrade(&store.endpoint(), &["--check"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains(&format!("{own} to {own}")), "{told}");
    assert!(told.contains("WARN   majority     1 of 1 voters"), "{told}");
    let (status, told) = upgrade(&store.endpoint(), &["--check", "--to", "9.0.0"]);
    assert_eq!(status, Some(3), "{told}");
    assert!(told.contains("one minor number at a time"), "{told}");
    let etcd = Store::start(Maker::Etcd);
    let (status, told) = upgrade(&etcd.endpoint(), &["--check", "--json"]);
    assert_eq!(status, Some(3), "{told}");
    assert!(told.contains("cannot serve together"), "{told}");
    for words in [&[][..], &["--check", "--to", "soon"]] {
        assert_eq!(upgrade(&store.endpoint(), words).0, Some(2), "{words:?}");
    }
}

#[test]
fn what_people_run_into_on_their_machine_is_found() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o500)).expect("its mode");
    let (data, socket) = (folder.path().display(), folder.path().join("none.sock"));
    let all = [
        "--endpoints=http://127.0.0.1:1".to_owned(),
        "--command-timeout=1s".to_owned(),
        "--json".to_owned(),
        format!("--docker-host=unix://{}", socket.display()),
        // An address of the block for documentation (RFC 3849): no machine's own.
        format!("--listen-client-urls=http://127.0.0.1:{port},http://[2001:db8::1]:2379"),
    ];
    let mut found = Vec::new();
    // Without what makes root root: whoever owns a folder may not write into it either way.
    let root = std::fs::metadata("/proc/self").expect("proc(5)").uid() == 0;
    let mut bound = match root {
        true => Command::new("setpriv"),
        false => Command::new(MUSTER),
    };
    if root {
        bound.args(["--bounding-set=-all", "--inh-caps=-all", "--", MUSTER]);
    }
    bound.arg("doctor").arg(format!("--data-dir={data}"));
    let mut free = Command::new(MUSTER);
    for command in [&mut bound, free.arg("doctor")] {
        let output = command.args(&all).output().expect("muster runs");
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        found.extend(findings(&output));
    }
    for (what, detail, advice) in [
        ("disk", "it belongs to user", "chown"),
        ("engine", "No such file", "start the engine"),
        ("address", "already by", "choose another port"),
        ("address", "cannot be listened on", "no IPv6"),
    ] {
        let told = |one: &&Value| {
            let says =
                |key: &str, text: &str| one[key].as_str().is_some_and(|had| had.contains(text));
            one["what"] == what
                && one["state"] == "wrong"
                && says("detail", detail)
                && says("advice", advice)
        };
        assert!(
            found.iter().any(|one| told(&one)),
            "{what} {detail}: {found:?}"
        );
    }
}
