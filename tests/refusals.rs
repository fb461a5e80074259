//! What `muster ctl` and `muster utl` say to what cannot be: wrong words, servers that are missing or never answer, wrong
//! credentials, files that are no snapshots, transfers that break off. Each ends with its documented exit status, in a
//! line or two, and leaves nothing half-written.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use end_to_end::store::{Maker, Store};
use tempfile::TempDir;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

fn muster(words: &[&str]) -> Output {
    let mut command = Command::new(MUSTER);
    command
        .env_clear()
        .args(words)
        .output()
        .expect("muster runs")
}

fn store() -> Store {
    Store::start(Maker::Muster(MUSTER.into()))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.collect()
}

/// Ends with `status`, having said nothing but a line that begins with `line` and perhaps a hint.
#[track_caller]
fn refused(words: &[&str], status: i32, line: &str) -> String {
    let output = muster(words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
    let mut lines = said.lines();
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with(line), "{words:?}: {said}");
    let rest: Vec<&str> = lines.collect();
    assert!(
        rest.len() <= 1 && rest.iter().all(|line| line.starts_with("hint: ")),
        "{words:?}: {said}"
    );
    assert_eq!(output.stdout, b"", "{words:?}: {said}");
    said
}

#[test]
fn wrong_words_are_told_in_a_line_before_anybody_is_asked() {
    // Nobody listens there; who asked would say so.
    let with = |words: &[&'static str]| [&["ctl", "--endpoints", "127.0.0.1:1"], words].concat();
    for (words, status, line) in [
        (with(&["git"]), 1, "Error: unrecognized subcommand 'git'"),
        (
            with(&["get", "--prefx"]),
            1,
            "Error: unexpected argument '--prefx' found",
        ),
        (
            with(&["get"]),
            128,
            "Error: get command needs one argument as key",
        ),
        (
            with(&["get", "a", "--order", "UP"]),
            4,
            "Error: bad sort order UP",
        ),
        (
            with(&["get", "a", "-w", "yaml"]),
            4,
            "Error: unsupported output format",
        ),
        (
            with(&["get", "a", "--limit", "many"]),
            1,
            "Error: invalid value 'many'",
        ),
        (with(&["put"]), 128, "Error: put command needs 1 argument"),
        (
            with(&["del"]),
            128,
            "Error: del command needs one argument as key",
        ),
        (with(&["lease", "grant", "soon"]), 128, "Error: bad TTL"),
        (
            with(&["lease", "revoke", "xyz"]),
            128,
            "Error: bad lease ID",
        ),
        (
            with(&["member", "remove", "n1"]),
            128,
            "Error: bad member ID arg",
        ),
        (
            with(&["snapshot", "save"]),
            128,
            "Error: snapshot save expects one argument",
        ),
        (
            with(&["get", "a", "--dial-timeout", "5"]),
            1,
            "Error: invalid value '5' for '--dial-timeout",
        ),
        (
            with(&["get", "a", "--cert", "c.pem"]),
            128,
            "Error: --cert is given without --key",
        ),
        (
            ["ctl", "--endpoints", "http://[::1", "get", "a"].to_vec(),
            128,
            "Error: endpoint \"http://[::1\"",
        ),
        (
            ["utl", "git"].to_vec(),
            1,
            "Error: unrecognized subcommand 'git'",
        ),
        (["utl", "snapshot", "restore"].to_vec(), 128, "Error: "),
        (["utl", "snapshot", "status"].to_vec(), 128, "Error: "),
    ] {
        refused(&words, status, line);
    }
}

#[test]
fn servers_that_are_missing_or_never_answer_are_told_of_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let half_open = silent.local_addr().expect("its address").to_string();
    let missing = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address").to_string()
    };
    let folder = folder();
    let file = folder.path().join("s.db").display().to_string();
    for (place, why) in [(&half_open, "hint: "), (&missing, "refused")] {
        let times = ["--command-timeout", "1s", "--dial-timeout", "500ms"];
        let with = |words: &[&str]| {
            let all = [&["ctl", "--endpoints", place][..], &times, words].concat();
            all.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        for words in [
            with(&["get", "a"]),
            with(&["put", "a", "b"]),
            with(&["lease", "grant", "5"]),
            with(&["member", "list"]),
            with(&["--user", "root:x", "get", "a"]),
        ] {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let line = match words.contains(&"lease") && place == &half_open {
                true => "Error: failed to grant lease (context deadline exceeded)",
                false => "Error: context deadline exceeded",
            };
            // A login is part of connecting, and what fails there has etcdctl's status for that.
            let status = if words.contains(&"--user") && place == &half_open {
                2
            } else {
                1
            };
            let said = refused(&words, status, line);
            // Which one and why, for who gave several.
            assert!(
                said.contains(why) || said.lines().count() == 1,
                "{words:?}: {said}"
            );
        }
    }
    // What takes as long as it takes has no time of its own to end in; the silence of the other end ends it.
    let silence = ["--keepalive-time=200ms", "--keepalive-timeout=200ms"];
    for words in [&["watch", "a"][..], &["snapshot", "save", &file]] {
        let all = [&["ctl", "--endpoints", &half_open][..], &silence, words].concat();
        let said = refused(&all, 1, "Error: ");
        assert!(said.contains("hint: "), "{said}");
    }
    assert_eq!(
        names(folder.path()),
        [""; 0],
        "nothing is left of a snapshot"
    );
}

#[test]
fn wrong_credentials_are_told_from_no_permission() {
    let store = store();
    let endpoint = store.endpoint();
    for words in [
        &["user", "add", "root:r"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "ann:a"],
        &["auth", "enable"],
    ] {
        let all = [&["ctl", "--endpoints", &endpoint], words].concat();
        let output = muster(&all);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    let folder = folder();
    let file = folder.path().join("s.db").display().to_string();
    for (user, words, status, line) in [
        (
            "ann:wrong",
            &["get", "a"][..],
            2,
            "Error: etcdserver: authentication failed, invalid user ID or password",
        ),
        (
            "bob:b",
            &["get", "a"],
            2,
            "Error: etcdserver: authentication failed, invalid user ID or password",
        ),
        (
            "ann:a",
            &["get", "a"],
            1,
            "Error: etcdserver: permission denied",
        ),
        ("ann:a", &["snapshot", "save", &file], 1, "Error: "),
        (
            "",
            &["get", "a"],
            1,
            "Error: etcdserver: user name is empty",
        ),
    ] {
        let mut all = vec!["ctl", "--endpoints", &endpoint];
        if !user.is_empty() {
            all.extend(["--user", user]);
        }
        all.extend(words);
        refused(&all, status, line);
    }
    assert_eq!(names(folder.path()), [""; 0]);
}

/// Lets `limit` bytes of the answer through, then cuts both ways.
fn cutting(upstream: &str, limit: usize) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let upstream = upstream.trim_start_matches("http://").to_owned();
    let relay = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("somebody comes");
        let mut server = TcpStream::connect(upstream).expect("the store is there");
        let (mut asks, mut asked) = (
            client.try_clone().expect("a handle"),
            server.try_clone().expect("a handle"),
        );
        let asking = std::thread::spawn(move || std::io::copy(&mut asks, &mut asked).map(drop));
        let mut left = limit;
        let mut buffer = [0; 4096];
        while left > 0 {
            let length = left.min(buffer.len());
            let Ok(read @ 1..) = server.read(&mut buffer[..length]) else {
                break;
            };
            left -= read;
            if client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        // Whoever is gone already need not be cut off.
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
        let _ = asking.join();
    });
    (address, relay)
}

#[test]
fn a_snapshot_that_is_cut_in_the_middle_leaves_what_was_there() {
    let store = store();
    let client = store.client();
    for key in 0..8 {
        let _ = client.run(&["put", &format!("/k/{key}"), &"x".repeat(100_000)]);
    }
    let folder = folder();
    let file = folder.path().join("s.db");
    std::fs::write(&file, "the one before").expect("written");
    let shown = file.display().to_string();
    // Before the first message, in the middle, and shortly before the end.
    for limit in [100, 300_000, 700_000] {
        let (relay, ended) = cutting(&store.endpoint(), limit);
        let output = muster(&["ctl", "--endpoints", &relay, "snapshot", "save", &shown]);
        ended.join().expect("the relay ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            matches!(output.status.code(), Some(1..=5)),
            "{limit}: {said}"
        );
        assert!(said.starts_with("Error: "), "{limit}: {said}");
        assert_eq!(output.stdout, b"", "{limit}: {said}");
        assert_eq!(names(folder.path()), ["s.db"], "{limit}");
        let kept = std::fs::read(&file).expect("it is there");
        assert_eq!(kept, b"the one before", "{limit}");
    }
    let missing = folder.path().join("no/such/folder/s.db");
    let endpoint = store.endpoint();
    let words = [
        "ctl",
        "--endpoints",
        &endpoint,
        "snapshot",
        "save",
        &missing.display().to_string(),
    ]
    .map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refused(&words, 5, "Error: could not open ");
}

#[test]
fn files_that_are_no_snapshots_are_refused_and_nothing_is_written_over() {
    let store = store();
    let _ = store.client().run(&["put", "a", "1"]);
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let endpoint = store.endpoint();
    let good = path("good.db");
    let saved = muster(&["ctl", "--endpoints", &endpoint, "snapshot", "save", &good]);
    assert!(saved.status.success(), "{saved:?}");
    let bytes = std::fs::read(&good).expect("it is there");
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (name, content) in [
        ("empty.db", &b""[..]),
        (
            "text.db",
            b"this is no snapshot at all, whatever it is called",
        ),
        ("cut.db", &bytes[..bytes.len() / 2 + 7]),
        ("flipped.db", &flipped),
        ("zeros.db", &[0; 65_568]),
    ] {
        std::fs::write(path(name), content).expect("written");
        let (file, out) = (path(name), path("out"));
        refused(
            &["utl", "snapshot", "restore", &file, "--data-dir", &out],
            1,
            "Error: ",
        );
        assert!(!Path::new(&out).exists(), "{name}: nothing is made");
    }
    let (gone, out) = (path("gone.db"), path("out"));
    refused(
        &["utl", "snapshot", "restore", &gone, "--data-dir", &out],
        1,
        "Error: stat ",
    );
    refused(&["utl", "snapshot", "status", &gone], 1, "Error: stat ");
    // A folder that holds something is nobody's to write over.
    std::fs::create_dir(&out).expect("made");
    std::fs::write(path("out/mine"), "kept").expect("written");
    refused(
        &["utl", "snapshot", "restore", &good, "--data-dir", &out],
        1,
        "Error: data-dir ",
    );
    assert_eq!(names(Path::new(&out)), ["mine"]);
}

/// What a command writes to a terminal.
fn on_a_terminal(words: &[&str]) -> String {
    let line = [&[MUSTER], words].concat().join(" ");
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .output()
        .expect("script runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {text}");
    text
}

#[test]
fn bars_and_colours_are_for_terminals() {
    let store = store();
    let endpoint = store.endpoint();
    let _ = store.client().run(&["put", "a", &"x".repeat(100_000)]);
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, out, again) = (path("s.db"), path("out"), path("again"));
    let save = ["ctl", "--endpoints", &endpoint, "snapshot", "save", &file];
    let restore = ["utl", "snapshot", "restore", &file, "--data-dir"];
    let told = on_a_terminal(&save);
    assert!(told.contains("] ") && told.contains(" % of "), "{told:?}");
    let told = on_a_terminal(&[&restore[..], &[&out]].concat());
    assert!(told.contains("] ") && told.contains(" % of "), "{told:?}");
    for words in [save.to_vec(), [&restore[..], &[&again]].concat()] {
        let output = muster(&words);
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(output.status.success(), "{told}");
        assert!(
            !told.contains(" % of ") && !told.contains('\x1b'),
            "{told:?}"
        );
    }
    let status = ["status", "--endpoints", &endpoint];
    assert!(on_a_terminal(&status).contains("\x1b[32mleader\x1b[0m"));
    let plain = muster(&status);
    assert!(!plain.stdout.contains(&0x1b), "{plain:?}");
}
