//! The way in for whoever has an etcd 2: what a real etcd 3.4 kept of version 2 is in a store of ours as it was there. And
//! copies of folders of our own.

use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::store::{Maker, Store};
use end_to_end::{programs, wait};
use serde_json::Value;

use super::sequences::made_up;
use super::{ask, base, ours};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// Exit status, stdout and stderr.
type Said = (Option<i32>, String, String);

fn muster(words: &[&str]) -> Said {
    let mut command = Command::new(MUSTER);
    let output = command.env_clear().args(words).output();
    let output = output.expect("muster runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output.status.code(), out, err)
}

fn migrate(from: &Path, to: &Path) -> Said {
    muster(&[
        "utl",
        "migrate",
        "--data-dir",
        text(from),
        "--output-dir",
        text(to),
    ])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// An etcd 3.4 that has much of what version 2 can do behind it.
fn filled(options: &[&str]) -> Store {
    let mut store = Store::prepare(Maker::EtcdOfDistribution).with_option("--enable-v2");
    for option in options {
        store = store.with_option(option);
    }
    store.restart();
    let mut lines = made_up(9);
    lines.extend(
        "PUT /bytes value=%FF%00%41
PUT /text value=<&>\u{e9}
PUT /lives value=x&ttl=1000
PUT /lives value=y&ttl=2000&prevExist=true
PUT /lives refresh=true&ttl=3000&prevExist=true
PUT /stays value=x&ttl=1000
PUT /stays value=x&prevExist=true
PUT /swapped value=1
PUT /swapped value=2&prevValue=1
PUT /over value=1
PUT /over value=2
PUT /dir/with/time value=1
PUT /dir dir=true&ttl=1000&prevExist=true
PUT /empty dir=true
PUT /_hidden/key value=1
POST /queue value=1
POST /queue value=2
PUT /gone dir=true&ttl=1
PUT /gone/below value=1
PUT /ends value=1&ttl=1"
            .lines()
            .map(str::to_owned),
    );
    for line in &lines {
        let answer = ask(&store, line);
        assert!(answer.status < 500, "{line}: {answer:?}");
    }
    for path in ["/gone", "/ends"] {
        wait::until("its end", wait::LONG, || {
            match ask(&store, &format!("GET {path}?quorum=true")).status {
                404 => Ok(()),
                other => Err(other.to_string()),
            }
        });
    }
    store
}

/// What is below a path, and below all that is hidden there.
fn listed(store: &Store, path: &str) -> Value {
    let line = format!("GET {path}?recursive=true&sorted=true&quorum=true");
    serde_json::from_str(&ask(store, &line).body).expect("JSON")
}

/// Without what is not kept: the ends, and the indexes of directories, which here come from what they hold. Without
/// indexes, without the names made of them too.
fn kept(value: &mut Value, with_indexes: bool) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|one| kept(one, with_indexes)),
        Value::Object(map) => {
            map.remove("ttl");
            map.remove("expiration");
            // Ours shows bytes that are no text in a second way, etcd only what it can show of them.
            map.remove("valueBase64");
            let holds = map.get("nodes").is_some();
            if !with_indexes || map.get("dir") == Some(&true.into()) {
                map.remove("createdIndex");
                map.remove("modifiedIndex");
            }
            if holds && map["nodes"] == Value::Array(Vec::new()) {
                map.remove("nodes");
            }
            if let Some(Value::String(key)) = map.get_mut("key").filter(|_| !with_indexes) {
                let made = |name: &str| name.len() == 20 && name.starts_with("0000");
                let names = key
                    .split('/')
                    .map(|name| if made(name) { "<made>" } else { name });
                *key = names.collect::<Vec<_>>().join("/");
            }
            map.values_mut().for_each(|one| kept(one, with_indexes));
        }
        _ => {}
    }
}

/// All that is to be the same.
fn content(store: &Store, with_indexes: bool) -> Vec<Value> {
    ["/", "/_hidden", "/_h", "/b/_h"]
        .map(|path| {
            let mut value = listed(store, path);
            value.as_object_mut().map(|map| map.remove("index"));
            kept(&mut value, with_indexes);
            value
        })
        .into()
}

fn opened(data: &Path) -> Store {
    let mut store = Store::prepare(Maker::Muster(MUSTER.into())).with_data(data);
    store.restart();
    store
}

#[test]
fn keys_of_an_etcd_2_come_in() {
    // Everything in the log; and a snapshot with a log behind it.
    for options in [&[][..], &["--snapshot-count=40"]] {
        let mut etcd = filled(options);
        let (index, expected) = (base(&etcd), content(&etcd, true));
        let without_indexes = content(&etcd, false);
        let snapshots = || {
            let files = std::fs::read_dir(etcd.data().join("member/snap")).expect("a folder");
            files
                .filter_map(|file| {
                    file.expect("a file")
                        .path()
                        .extension()
                        .map(ToOwned::to_owned)
                })
                .filter(|extension| extension == "snap")
                .count()
        };
        if !options.is_empty() {
            wait::until("a snapshot", wait::LONG, || match snapshots() {
                0 => Err("none yet".to_owned()),
                _ => Ok(()),
            });
        }
        etcd.process().signal(end_to_end::process::Signal::TERM);
        etcd.process().wait_exit(wait::LONG);
        let folder = tempfile::tempdir().expect("a folder");
        let [new, backup, of_backup, no_ttl] =
            ["new", "backup", "of-backup", "no-ttl"].map(|name| folder.path().join(name));

        let (status, out, err) = migrate(etcd.data(), &new);
        assert_eq!((status, &*out), (Some(0), ""), "{err}");
        assert!(err.contains(&format!("revision {index}:")), "{err}");
        assert!(
            err.contains(" keys and directories had a time to live: they have none now"),
            "{err}"
        );
        let store = opened(&new);
        assert_eq!(base(&store), index);
        assert_eq!(content(&store, true), expected);
        // Bytes that are no text are in the log as they were; a snapshot of etcd has them no more.
        if options.is_empty() {
            let output = store
                .client()
                .command(&["get", "/bytes", "--print-value-only"])
                .output();
            assert_eq!(output.expect("etcdctl runs").stdout, b"\xff\0A\n");
        }
        let old = ask(&store, "GET /?wait=true&recursive=true&waitIndex=2");
        assert!(old.body.contains("\"errorCode\":401"), "{}", old.body);
        assert_eq!(ask(&store, "PUT /new value=1").status, 201);
        assert_eq!(base(&store), index + 1);
        drop(store);

        // From a backup that etcd's own tool made; it renumbers what it keeps.
        let output = Command::new(programs::etcdctl_of_distribution())
            .env_clear()
            .env("ETCDCTL_API", "2")
            .args([
                "backup",
                "--data-dir",
                text(etcd.data()),
                "--backup-dir",
                text(&backup),
            ])
            .output()
            .expect("etcdctl runs");
        assert!(output.status.success(), "{output:?}");
        let (status, _, err) = migrate(&backup, &of_backup);
        assert_eq!(status, Some(0), "{err}");
        assert_eq!(content(&opened(&of_backup), false), without_indexes);

        let (status, _, err) = muster(&[
            "utl",
            "migrate",
            "--no-ttl",
            "--data-dir",
            text(etcd.data()),
            "--output-dir",
            text(&no_ttl),
        ]);
        assert_eq!(status, Some(0), "{err}");
        let store = opened(&no_ttl);
        for (path, wanted) in [("/lives", 404), ("/dir/with/time", 404), ("/stays", 200)] {
            assert_eq!(ask(&store, &format!("GET {path}")).status, wanted, "{path}");
        }
        drop(store);

        // Nothing is done by halves.
        let full = migrate(etcd.data(), &new);
        assert_eq!(full.0, Some(1), "{}", full.2);
        assert!(
            full.2.contains("output-dir") && full.2.contains("not empty"),
            "{}",
            full.2
        );
        damaged_is_refused(etcd.data(), folder.path());
    }
}

/// One byte of the log, then of the newest snapshot; a log that is cut; a part of it that is missing.
fn damaged_is_refused(data: &Path, folder: &Path) {
    let to = folder.join("never");
    let file = |kind: &str| -> Option<PathBuf> {
        let files = std::fs::read_dir(data.join("member").join(kind)).ok()?;
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.retain(|file| file.extension().is_some_and(|end| end == kind));
        files.sort();
        files.pop()
    };
    let log = file("wal").expect("a log");
    let whole = std::fs::read(&log).expect("a log");
    let used = whole
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap_or_default();
    let mut bytes = whole.clone();
    // In what a request says, which its record's checksum is about.
    let path = b"/1/swapped";
    let at = whole.windows(path.len()).position(|bytes| bytes == path);
    bytes[at.expect("the request")] ^= 1;
    std::fs::write(&log, &bytes).expect("written");
    let (status, _, err) = migrate(data, &to);
    assert_eq!(status, Some(1), "{err}");
    assert!(
        err.contains("at byte") && err.contains("hint: take another copy"),
        "{err}"
    );
    // The end of a log that was being written is no damage.
    std::fs::write(&log, &whole[..used - 3]).expect("written");
    let torn = folder.join("torn");
    let (status, _, err) = migrate(data, &torn);
    assert_eq!(status, Some(0), "{err}");
    assert!(
        err.contains("the log ends in the middle of a record"),
        "{err}"
    );
    std::fs::write(&log, &whole).expect("written");
    if let Some(snapshot) = file("snap") {
        let whole = std::fs::read(&snapshot).expect("a snapshot");
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&snapshot, &bytes).expect("written");
        // The one before is taken while the log still goes on from there.
        let older = folder.join("older");
        let (status, _, err) = migrate(data, &older);
        assert!(
            status == Some(0) || err.contains("is not there") || err.contains("is missing"),
            "{err}"
        );
        assert!(
            status != Some(0) || err.contains("passed over a snapshot"),
            "{err}"
        );
        std::fs::write(&snapshot, &whole).expect("written");
    }
    std::fs::remove_file(&log).expect("removed");
    let (status, _, err) = migrate(data, &to);
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("is not there"), "{err}");
    assert!(!to.exists(), "something was written");
}

#[test]
fn what_is_no_etcd_2_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("to");
    for (words, said) in [
        (&["--output-dir", text(&to)][..], "\"data-dir\" not set"),
        (&["--data-dir", "/proc"], "\"output-dir\" not set"),
        (
            &["--data-dir", "/nowhere", "--output-dir", text(&to)],
            "no such file",
        ),
        (
            &["--data-dir", "/proc", "--output-dir", text(&to)],
            "is not the data folder of an etcd",
        ),
        (
            &[
                "--data-dir",
                "/proc",
                "--output-dir",
                text(&to),
                "--transformer",
                "/bin/cat",
            ],
            "--transformer is not served",
        ),
    ] {
        let (status, _, err) = muster(&[&["utl", "migrate"], words].concat());
        assert_eq!(status, Some(1), "{words:?}: {err}");
        assert!(err.contains(said), "{words:?}: {err}");
    }
    // Keys of version 3 alone: etcd's words, and where to go.
    let mut etcd = Store::start(Maker::EtcdOfDistribution);
    assert_eq!(etcd.client().run(&["put", "k", "v"]), "OK\n");
    etcd.kill();
    let (status, out, err) = migrate(etcd.data(), &to);
    assert_eq!(
        (status, &*out),
        (Some(0), "no v2 keys to migrate\n"),
        "{err}"
    );
    assert!(err.contains("snapshot restore --skip-hash-check"), "{err}");
    assert!(!to.exists());
    let (status, _, err) = backup(etcd.data(), &to);
    assert_eq!(status, Some(1));
    assert!(err.contains("is the data folder of an etcd"), "{err}");
}

/// `etcdctl backup`, as people of version 2 have it.
fn backup(from: &Path, to: &Path) -> Said {
    let mut command = Command::new(MUSTER);
    command
        .env_clear()
        .env("ETCDCTL_API", "2")
        .args(["ctl", "backup"]);
    command.args([
        "--data-dir",
        text(from),
        "--backup-dir",
        text(to),
        "--with-v3",
    ]);
    let output = command.output().expect("muster runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output.status.code(), out, err)
}

#[test]
fn a_backup_is_a_store_of_its_own() {
    let mut store = ours();
    let client = store.client();
    assert_eq!(ask(&store, "PUT /two value=2").status, 201);
    assert_eq!(ask(&store, "PUT /empty dir=true").status, 201);
    for line in [
        "put three 3",
        "put three 3again",
        "del three",
        "user add u:pw",
        "role add r",
    ] {
        assert_ne!(
            client.run(&line.split(' ').collect::<Vec<_>>()),
            "",
            "{line}"
        );
    }
    let granted = client.run(&["lease", "grant", "3600"]);
    let lease = granted.split(' ').nth(1).expect("an id").to_owned();
    assert_eq!(
        client.run(&["put", "leased", "x", "--lease", &lease]),
        "OK\n"
    );
    let hash = |store: &Store| {
        let told = store.client().run(&["endpoint", "hashkv", "-w", "json"]);
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let told = &told[0]["HashKV"];
        let header = &told["header"];
        let ids = [&header["cluster_id"], &header["member_id"]].map(Value::to_string);
        (
            (told["hash"].to_string(), header["revision"].to_string()),
            ids,
        )
    };
    let (expected, ids) = hash(&store);
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("backup");
    let (status, _, err) = backup(store.data(), &to);
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("use"), "one that runs is left alone: {err}");
    store.kill();
    let before = std::fs::read_dir(store.data()).expect("a folder").count();
    let (status, out, err) = backup(store.data(), &to);
    assert_eq!((status, &*out), (Some(0), ""), "{err}");
    assert_eq!(
        std::fs::read_dir(store.data()).expect("a folder").count(),
        before
    );
    let (status, _, err) = backup(store.data(), &to);
    assert_eq!(status, Some(1), "{err}");
    assert!(
        err.contains("backup-dir") && err.contains("not empty"),
        "{err}"
    );
    let copy = opened(&to);
    let (found, other_ids) = hash(&copy);
    assert_eq!(found, expected);
    assert!(
        ids[0] != other_ids[0] && ids[1] != other_ids[1],
        "{ids:?} {other_ids:?}"
    );
    let client = copy.client();
    assert_eq!(client.run(&["user", "list"]), "u\n");
    assert!(
        client
            .run(&["lease", "timetolive", &lease, "--keys"])
            .contains("[leased]")
    );
    assert_eq!(ask(&copy, "GET /empty").status, 200);
    assert_eq!(client.run(&["put", "more", "x"]), "OK\n");
    // The original goes on, too.
    store.restart();
    assert_eq!(hash(&store).0, expected);
}
