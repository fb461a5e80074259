//! Snapshots there and back: of muster and of a real etcd, saved, looked at and restored by either's tools.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use end_to_end::cluster::Cluster;
use end_to_end::etcdctl::{Etcdctl, RELEASES};
use end_to_end::process::{Process, Signal};
use end_to_end::store::{Maker, Store};
use end_to_end::{programs, wait};
use serde_json::Value;
use tempfile::TempDir;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// What the revision is raised by.
const BUMP: i64 = 1_000_000_000;

fn muster() -> Maker {
    Maker::Muster(MUSTER.into())
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// What is said to have a file restored into a folder.
fn restore_into<'a>(file: &'a Path, data: &'a Path) -> [&'a str; 5] {
    ["snapshot", "restore", text(file), "--data-dir", text(data)]
}

fn run(mut command: Command, words: &[&str]) -> Output {
    command.args(words).output().expect("the program runs")
}

/// What a program that must succeed prints.
#[track_caller]
fn printed(command: Command, words: &[&str]) -> String {
    let output = run(command, words);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Our `etcdutl`.
fn utl() -> Command {
    let mut command = Command::new(MUSTER);
    command.env_clear().arg("utl");
    command
}

fn etcdutl() -> Command {
    Command::new(programs::etcd_3_5("etcdutl"))
}

/// `ctl` of ours for a store.
fn ctl(store: &Store) -> Command {
    let mut command = Command::new(MUSTER);
    command
        .env_clear()
        .arg("ctl")
        .args(["--endpoints", &store.endpoint()]);
    command
}

/// Has a client do something, whatever it prints.
#[track_caller]
fn tell(client: &Etcdctl, words: &[&str]) {
    let _ = client.run(words);
}

/// Keys with history, deletes, a large value, a lease and a compaction.
fn fill(client: &Etcdctl) {
    tell(client, &["put", "first", "1"]);
    tell(client, &["put", "first", "2"]);
    tell(client, &["put", "large", &"x".repeat(100_000)]);
    tell(client, &["del", "large"]);
    let granted = client.run(&["lease", "grant", "3600"]);
    let lease = granted.split(' ').nth(1).expect("the lease's id");
    tell(client, &["put", "leased", "3", "--lease", lease]);
    tell(client, &["compaction", "3"]);
    for number in 0..20 {
        tell(client, &["put", &format!("many/{number}"), "v"]);
    }
}

/// All pairs as stored, and the leases.
fn content(client: &Etcdctl) -> (Value, Value) {
    let json = |words: &[&str]| -> Value {
        let printed = client.run(words);
        serde_json::from_str(&printed).expect("JSON")
    };
    let kvs = json(&["get", "", "--prefix", "-w", "json"])["kvs"].take();
    assert!(kvs.as_array().is_some_and(|kvs| kvs.len() == 22), "{kvs}");
    let leases = json(&["lease", "list", "-w", "json"])["leases"].take();
    (kvs, leases)
}

fn revision(client: &Etcdctl) -> i64 {
    let answer: Value =
        serde_json::from_str(&client.run(&["get", "x", "-w", "json"])).expect("JSON");
    answer["header"]["revision"].as_i64().expect("a revision")
}

#[test]
fn etcd_goes_on_with_a_snapshot_of_ours() {
    let ours = Store::start(muster());
    fill(&ours.client());
    let dir = folder();
    let [by_theirs, by_ours] = ["theirs.db", "ours.db"].map(|name| dir.path().join(name));
    for release in RELEASES {
        let client = Etcdctl::new(release, &ours.endpoint());
        let saved = client.run(&["snapshot", "save", text(&by_theirs)]);
        assert_eq!(
            saved,
            format!("Snapshot saved at {}\n", by_theirs.display())
        );
    }
    let saved = run(ctl(&ours), &["snapshot", "save", text(&by_ours)]);
    assert_eq!(
        String::from_utf8_lossy(&saved.stderr),
        "",
        "quiet in a pipe"
    );
    assert_eq!(
        String::from_utf8_lossy(&saved.stdout),
        format!("Snapshot saved at {}\n", by_ours.display())
    );
    assert_eq!(std::fs::read(&by_theirs).ok(), std::fs::read(&by_ours).ok());
    // Its tool checks every page, ours says the same in every form.
    for format in ["simple", "fields", "json", "table"] {
        let words = ["snapshot", "status", text(&by_ours), "-w", format];
        assert_eq!(printed(utl(), &words), printed(etcdutl(), &words));
    }
    let data = dir.path().join("etcd");
    let restore = restore_into(&by_ours, &data);
    printed(etcdutl(), &restore);
    let mut theirs = Store::prepare(Maker::Etcd).with_data(&data);
    theirs.restart();
    assert_eq!(content(&theirs.client()), content(&ours.client()));
    assert_eq!(revision(&theirs.client()), revision(&ours.client()));
    let old = ["get", "first", "--rev", "4", "--print-value-only"];
    assert_eq!(theirs.client().run(&old), ours.client().run(&old));
    let gone = theirs.client().try_run(&["get", "first", "--rev", "2"]);
    assert!(gone.is_err_and(|reason| reason.contains("has been compacted")));
    tell(&theirs.client(), &["put", "first", "4"]);
}

#[test]
fn ours_goes_on_with_a_snapshot_of_etcd() {
    let theirs = Store::start(Maker::Etcd);
    fill(&theirs.client());
    let dir = folder();
    let file = dir.path().join("etcd.db");
    printed(ctl(&theirs), &["snapshot", "save", text(&file)]);
    let last = revision(&theirs.client());
    for (flags, raised, compacted) in [
        (&[][..], BUMP, true),
        (&["--bump-revision", "0"], 0, false),
        (&["--bump-revision=7", "--mark-compacted=false"], 7, false),
        (&["--bump-revision=0", "--mark-compacted"], 0, true),
    ] {
        let data = dir.path().join(format!("data{raised}{compacted}"));
        let restore = restore_into(&file, &data);
        printed(utl(), &[&restore, flags].concat());
        let mut ours = Store::prepare(muster()).with_data(&data);
        ours.restart();
        let client = ours.client();
        assert_eq!(content(&client), content(&theirs.client()));
        assert_eq!(revision(&client), last + raised);
        let old = client.try_run(&["get", "first", "--rev", "4"]);
        assert_eq!(old.is_err(), compacted, "{old:?}");
        tell(&client, &["put", "first", "4"]);
        assert_eq!(revision(&client), last + raised + 1);
        // As long as it had, or a little less.
        let lease = client.run(&["lease", "list"]);
        let lease = lease.lines().nth(1).expect("a lease");
        tell(&client, &["lease", "revoke", lease]);
        assert_eq!(client.value("leased"), Ok(None));
    }
}

#[test]
fn what_goes_in_and_out_again_is_the_same() {
    let theirs = Store::start(Maker::Etcd);
    fill(&theirs.client());
    let dir = folder();
    let [file, exported] = ["etcd.db", "exported.db"].map(|name| dir.path().join(name));
    tell(&theirs.client(), &["snapshot", "save", text(&file)]);
    let export = [
        "snapshot",
        "export",
        "--format",
        "etcd",
        text(&file),
        text(&exported),
    ];
    printed(utl(), &export);
    let hash = |file: &Path| printed(utl(), &["hashkv", text(file)]);
    assert_eq!(hash(&file), hash(&exported));
    printed(etcdutl(), &["snapshot", "status", text(&exported)]);
    let again = run(utl(), &export);
    assert_eq!(again.status.code(), Some(1), "nothing is overwritten");
    let data = dir.path().join("etcd");
    let restore = restore_into(&exported, &data);
    printed(etcdutl(), &restore);
    let mut back = Store::prepare(Maker::Etcd).with_data(&data);
    back.restart();
    assert_eq!(content(&back.client()), content(&theirs.client()));
}

#[test]
fn users_and_roles_go_in_and_out() {
    let theirs = Store::start(Maker::Etcd);
    let client = theirs.client();
    tell(&client, &["put", "open", "1"]);
    tell(&client, &["put", "closed", "1"]);
    tell(&client, &["user", "add", "root:secret"]);
    tell(&client, &["user", "grant-role", "root", "root"]);
    tell(&client, &["role", "add", "some"]);
    tell(
        &client,
        &["role", "grant-permission", "some", "readwrite", "open"],
    );
    tell(&client, &["user", "add", "one:password"]);
    tell(&client, &["user", "grant-role", "one", "some"]);
    tell(&client, &["auth", "enable"]);
    let dir = folder();
    let [file, exported] = ["etcd.db", "exported.db"].map(|name| dir.path().join(name));
    tell(
        &client,
        &["--user", "root:secret", "snapshot", "save", text(&file)],
    );
    printed(utl(), &["snapshot", "export", text(&file), text(&exported)]);
    let data = dir.path().join("etcd");
    let restore = restore_into(&exported, &data);
    printed(etcdutl(), &restore);
    let mut back = Store::prepare(Maker::Etcd).with_data(&data);
    back.restart();
    asks_who_calls(&back.client());
    let data = dir.path().join("ours");
    let restore = restore_into(&file, &data);
    printed(utl(), &restore);
    let mut ours = Store::prepare(muster()).with_data(&data);
    ours.restart();
    asks_who_calls(&ours.client());
    // And what ours saves is the same again.
    let again = dir.path().join("again.db");
    let anybody = ours.client().try_run(&["snapshot", "save", text(&again)]);
    assert!(anybody.is_err() && !again.exists());
    tell(
        &ours.client(),
        &["--user", "root:secret", "snapshot", "save", text(&again)],
    );
    let data = dir.path().join("third");
    let restore = restore_into(&again, &data);
    printed(etcdutl(), &restore);
    let mut third = Store::prepare(Maker::Etcd).with_data(&data);
    third.restart();
    asks_who_calls(&third.client());
}

/// A user may do what its role may, and nobody nothing.
#[track_caller]
fn asks_who_calls(client: &Etcdctl) {
    let one = |words: &[&str]| client.try_run(&[&["--user", "one:password"], words].concat());
    let open = one(&["get", "open", "--print-value-only"]);
    assert_eq!(open, Ok("1\n".to_owned()));
    let closed = one(&["get", "closed"]);
    assert!(closed.is_err_and(|reason| reason.contains("permission denied")));
    assert!(client.try_run(&["get", "open"]).is_err());
    let role = client.run(&["--user", "root:secret", "role", "get", "some"]);
    assert!(role.contains("open"), "{role}");
}

#[test]
fn a_file_out_of_a_data_folder_of_etcd_is_restored() {
    let mut theirs = Store::start(Maker::Etcd);
    fill(&theirs.client());
    let expected = content(&theirs.client());
    theirs.process().signal(Signal::TERM);
    theirs.process().wait_exit(wait::LONG);
    let file = theirs.data().join("member/snap/db");
    let dir = folder();
    let data = dir.path().join("data");
    let restore = restore_into(&file, &data);
    let refused = run(utl(), &restore);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("snapshot missing hash but --skip-hash-check=false"),
        "{said}"
    );
    assert!(!data.exists());
    printed(utl(), &[&restore[..], &["--skip-hash-check"]].concat());
    let mut ours = Store::prepare(muster()).with_data(&data);
    ours.restart();
    assert_eq!(content(&ours.client()), expected);
}

/// As with etcd: written there from the first start or by a restore, found again after a `kill -9`, copied from there by
/// `backup`, and never taken for lost.
#[test]
fn a_log_may_have_a_folder_of_its_own() {
    let dir = folder();
    let of = |name: &str| dir.path().join(name);
    let with_log = |name: &str| format!("--wal-dir={}", text(&of(name)));
    let holds_log = |name: &str| {
        let files = std::fs::read_dir(of(name)).expect("a folder");
        let names = files.map(|file| file.expect("a file").file_name());
        names
            .into_iter()
            .any(|name| text(Path::new(&name)).ends_with(".wal"))
    };
    let mut ours = Store::prepare(muster())
        .with_data(&of("data"))
        .with_option(with_log("log"));
    ours.restart();
    fill(&ours.client());
    let expected = content(&ours.client());
    ours.kill();
    ours.restart();
    assert_eq!(content(&ours.client()), expected);
    assert!(holds_log("log") && !holds_log("data"));

    let file = of("saved.db");
    printed(ctl(&ours), &["snapshot", "save", text(&file)]);
    let data = of("restored");
    let restore = restore_into(&file, &data);
    let flags = [&*with_log("restored-log"), "--bump-revision=0"];
    printed(utl(), &[&restore[..], &flags].concat());
    let mut restored = Store::prepare(muster())
        .with_data(&data)
        .with_option(with_log("restored-log"));
    restored.restart();
    assert_eq!(content(&restored.client()), expected);

    ours.process().signal(Signal::TERM);
    ours.process().wait_exit(wait::LONG);
    let (data, copy) = (of("data"), of("copy"));
    let backup = [
        "backup",
        "--data-dir",
        text(&data),
        "--backup-dir",
        text(&copy),
    ];
    printed(utl(), &[&backup[..], &[&with_log("log")]].concat());
    let mut copied = Store::prepare(muster()).with_data(&copy);
    copied.restart();
    assert_eq!(content(&copied.client()), expected);

    let mut lost = Store::prepare(muster()).with_data(&data);
    let process = lost.spawn();
    assert!(!process.wait_exit(wait::LONG).success());
    let said = process.lines().join("\n");
    assert!(
        said.contains("every log file is missing") && said.contains("--wal-dir"),
        "{said}"
    );
}

#[test]
fn members_restored_from_one_file_are_one_cluster() {
    let store = Store::start(muster());
    fill(&store.client());
    let dir = folder();
    let file = dir.path().join("saved.db");
    tell(&store.client(), &["snapshot", "save", text(&file)]);
    let mut cluster = Cluster::prepare(Path::new(MUSTER), 3);
    for member in cluster.all() {
        let mut restore = utl();
        restore
            .args(["snapshot", "restore", text(&file)])
            .args(["--name", &format!("m{member}")])
            .args(["--initial-cluster", &cluster.initial_cluster()])
            .args(["--initial-advertise-peer-urls", &cluster.peer_url(member)])
            .arg("--data-dir")
            .arg(cluster.data(member));
        printed(restore, &[]);
    }
    cluster.start_all();
    let expected = content(&store.client());
    for member in cluster.all() {
        assert_eq!(content(&cluster.client(member)), expected);
    }
    tell(&cluster.client(0), &["put", "later", "1"]);
    let leader = cluster.leader_among(&cluster.all());
    cluster.kill(leader);
    let left = cluster.others(leader);
    wait::until("the others to go on", wait::LONG, || {
        let client = cluster.client(left[0]);
        client.try_run(&["put", "later", "2"]).map(|_| ())
    });
    assert_eq!(
        cluster.client(left[1]).value("later"),
        Ok(Some("2".to_owned()))
    );
}

#[test]
fn what_cannot_be_restored_is_refused_before_anything_is_touched() {
    let store = Store::start(muster());
    fill(&store.client());
    let dir = folder();
    let path = |name: &str| dir.path().join(name);
    let file = path("saved.db");
    tell(&store.client(), &["snapshot", "save", text(&file)]);
    let bytes = std::fs::read(&file).expect("the snapshot");
    let mut tampered = bytes.clone();
    tampered[bytes.len() / 2] ^= 1;
    let files = [
        ("tampered", tampered),
        ("cut", bytes[..bytes.len() / 2].to_vec()),
        ("cut.short", bytes[..100].to_vec()),
        ("cut.digest", bytes[..bytes.len() - 1].to_vec()),
        ("empty", Vec::new()),
        ("other", b"#!/bin/sh\necho not a snapshot\n".repeat(100)),
    ];
    for (name, bytes) in &files {
        std::fs::write(path(name), bytes).expect("write a file");
    }
    let (vacant, occupied) = (path("vacant"), path("occupied"));
    std::fs::create_dir(&occupied).expect("a folder");
    std::fs::write(occupied.join("mine"), "").expect("a file");
    for (name, flags, wanted) in [
        (
            "saved.db",
            &["--name", "other"][..],
            "does not list a member other",
        ),
        (
            "saved.db",
            &["--bump-revision=-1"],
            "expected a number from 0 on",
        ),
        (
            "saved.db",
            &["--initial-cluster", "default"],
            "--initial-cluster",
        ),
        (
            "saved.db",
            &["--initial-advertise-peer-urls", "http://b:1"],
            "http://b:1",
        ),
        ("tampered", &[], "expected sha256"),
        ("cut", &[], "cut off after"),
        ("cut.short", &[], "cut off after 100 bytes"),
        ("cut.digest", &[], "missing hash"),
        ("empty", &[], "the file is empty"),
        ("other", &[], "does not begin like a bbolt file"),
        ("absent", &[], "no such file or directory"),
    ] {
        let file = path(name);
        let restore = restore_into(&file, &vacant);
        let refused = run(utl(), &[&restore, flags].concat());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{name}");
        assert!(
            said.starts_with("Error: ") && said.contains(wanted),
            "{name}: {said}"
        );
        assert!(!vacant.exists(), "{name} {flags:?}");
    }
    let restore = restore_into(&file, &occupied);
    let refused = run(utl(), &restore);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("found \"mine\""), "{said}");
    let left = std::fs::read_dir(&occupied).expect("a folder").count();
    assert_eq!(left, 1);
}

/// Bytes in the files of a folder, its own and those below it; 0 when there is nothing but the lock of who works on it.
fn weight(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let entries = entries.filter(|entry| entry.file_name() != "lock");
    let weights = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => weight(&entry.path()),
        // One more, so that an empty file counts.
        Ok(found) => found.len() + 1,
        // It has just been renamed.
        Err(_) => 0,
    });
    weights.sum()
}

/// What a restore that was killed has left.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Half,
    All,
}

/// Has a member be started on what is left.
#[track_caller]
fn judge(dir: &Path, expected: &(Value, Value)) -> Left {
    if weight(dir) == 0 {
        return Left::Nothing;
    }
    let mut store = Store::prepare(muster()).with_data(dir);
    if dir.join("identity").exists() {
        store.restart();
        assert_eq!(content(&store.client()), *expected);
        return Left::All;
    }
    let before = weight(dir);
    let status = store.spawn().wait_exit(wait::LONG);
    let said = store.process().lines().join("\n");
    assert!(!status.success(), "{said}");
    for wanted in [
        "holds a restore that was interrupted",
        "restore again into the same folder",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    assert_eq!(weight(dir), before, "the refused folder was touched");
    Left::Half
}

#[test]
fn a_restore_that_is_killed_leaves_nothing_half_a_restore_or_all_of_it() {
    /// Kills spread over the bytes that a restore writes.
    const KILLS: u64 = 10;
    let store = Store::start(muster());
    fill(&store.client());
    // Large enough that writing it takes a while.
    for number in 0..8 {
        let key = format!("many/{number}");
        let mut put = store.client().command(&["put", &key]);
        let mut put = put
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("etcdctl runs");
        let mut stdin = put.stdin.take().expect("its stdin");
        std::io::Write::write_all(&mut stdin, &vec![b'v'; 1_000_000]).expect("it reads");
        drop(stdin);
        assert!(put.wait().expect("it ends").success());
    }
    let dir = folder();
    let file = dir.path().join("saved.db");
    tell(&store.client(), &["snapshot", "save", text(&file)]);
    let expected = content(&store.client());
    let restore = |into: &Path| {
        let mut command = utl();
        command.args(restore_into(&file, into));
        command
    };
    let whole = dir.path().join("whole");
    printed(restore(&whole), &[]);
    let bytes = weight(&whole);
    let mut half = None;
    for kill in 0..=KILLS {
        let into = dir.path().join(format!("killed.{kill}"));
        let name = format!("restore to be killed at {kill} of {KILLS}");
        let mut process = Process::spawn(name, &mut restore(&into));
        while weight(&into) < bytes * kill / KILLS && process.exited().is_none() {
            std::hint::spin_loop();
        }
        process.kill();
        if judge(&into, &expected) == Left::Half && half.is_none() {
            half = Some(into);
        } else if into.exists() {
            std::fs::remove_dir_all(&into).expect("room for the next");
        }
    }
    let half = half.expect("a restore that was killed half-way");
    // The way out that was named.
    printed(restore(&half), &[]);
    assert_eq!(judge(&half, &expected), Left::All);
}

#[test]
fn an_interrupted_save_leaves_nothing() {
    let store = Store::start(muster());
    let client = store.client();
    for number in 0..40 {
        let mut put = client.command(&["put", &format!("key/{number}")]);
        let mut put = put
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("etcdctl runs");
        let mut stdin = put.stdin.take().expect("its stdin");
        std::io::Write::write_all(&mut stdin, &vec![b'v'; 1_000_000]).expect("it reads");
        drop(stdin);
        assert!(put.wait().expect("it ends").success());
    }
    let dir = folder();
    let file = dir.path().join("saved.db");
    let mut command = ctl(&store);
    command.args(["snapshot", "save", text(&file)]);
    let mut save = Process::spawn("snapshot save".to_owned(), &mut command);
    let names = || std::fs::read_dir(dir.path()).expect("the folder").count();
    wait::until("the transfer to begin", wait::LONG, || match names() {
        0 => Err("nothing there yet".to_owned()),
        _ => Ok(()),
    });
    save.signal(Signal::STOP);
    save.signal(Signal::INT);
    save.signal(Signal::CONT);
    let status = save.wait_exit(wait::LONG);
    let finished = status.success();
    assert_eq!(names(), usize::from(finished), "{status}");
    assert_eq!(file.exists(), finished);
}
