//! The store as a process: what it survives, and what it says to bad input and broken disks.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use end_to_end::complaint::Complaint;
use end_to_end::etcdctl::{Etcdctl, Release};
use end_to_end::process::{Process, Signal};
use end_to_end::segment::Segment;
use end_to_end::store::{Maker, Store};
use end_to_end::{http, programs, wait};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

fn muster() -> Maker {
    Maker::Muster(PathBuf::from(MUSTER))
}

/// Puts `count` keys `k<n>`, each acknowledged.
fn put(store: &Store, count: usize) {
    let client = store.client();
    for number in 0..count {
        assert_eq!(
            client.run(&["put", &format!("k{number:04}"), "value"]),
            "OK\n"
        );
    }
}

fn keys(store: &Store) -> BTreeSet<String> {
    store
        .client()
        .keys("")
        .unwrap_or_else(|reason| panic!("{reason}"))
        .into_iter()
        .collect()
}

#[test]
fn answers_about_itself_over_http_on_the_same_port() {
    let store = Store::start(muster());
    let address = ([127, 0, 0, 1], store.port()).into();
    let fetch = |path| http::get(address, path).unwrap_or_else(|reason| panic!("{path}: {reason}"));
    let health = fetch("/health");
    assert_eq!(
        (health.status, health.body.contains("\"health\":\"true\"")),
        (200, true),
        "{health:?}"
    );
    let version = fetch("/version");
    assert!(
        version.status == 200 && version.body.contains("\"etcdserver\":\"3.7."),
        "{version:?}"
    );
    put(&store, 3);
    let metrics = fetch("/metrics");
    assert_eq!(metrics.status, 200, "{metrics:?}");
    assert!(
        metrics.body.contains("etcd_server_has_leader 1"),
        "{}",
        metrics.body
    );
    assert_eq!(fetch("/no-such-path").status, 404);
}

#[test]
fn ends_well_when_told_to_and_keeps_everything() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut store = Store::start(muster());
        put(&store, 10);
        let before = keys(&store);
        store.process().signal(signal);
        let status = store.process().wait_exit(wait::LONG);
        assert!(status.success(), "{status}: {}", store.process().tail());
        store.restart();
        assert_eq!(keys(&store), before);
    }
}

#[test]
fn every_acknowledged_write_survives_kill_9() {
    let mut store = Store::start(muster());
    let acknowledged = Mutex::new(BTreeSet::new());
    for round in 0..3 {
        let client = store.client();
        let enough = |count: usize| acknowledged.lock().unwrap().len() >= (round + 1) * 40 + count;
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (client, acknowledged) = (&client, &acknowledged);
                scope.spawn(move || {
                    for number in 0.. {
                        let key = format!("{round}/{writer}/{number:04}");
                        // The first failure is the kill: what happened to that write is unknown, and stays so.
                        if client
                            .try_run(&["put", "--command-timeout=2s", &key, "x"])
                            .is_err()
                        {
                            break;
                        }
                        acknowledged.lock().unwrap().insert(key);
                    }
                });
            }
            wait::until("writes under way", wait::LONG, || {
                if enough(0) {
                    Ok(())
                } else {
                    Err(String::new())
                }
            });
            store.kill();
        });
        store.restart();
        let kept = keys(&store);
        let acknowledged = acknowledged.lock().unwrap();
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
    }
}

#[test]
fn disk_use_stays_bounded_by_snapshots() {
    let mut store = Store::prepare(muster());
    for option in [
        "--snapshot-count=50",
        "--snapshot-catchup-entries=10",
        "--max-wals=2",
        "--max-snapshots=2",
    ] {
        store = store.with_option(option);
    }
    store.restart();
    let client = store.client();
    // 1 MiB over and over: 250 MiB through a log whose segments hold 64 MiB.
    let value = "x".repeat(1 << 20);
    for _ in 0..250 {
        let (status, _, err) = client.output_with_input(&["put", "big"], &value);
        assert_eq!(status, 0, "{err}");
        let revision = revision(&client.run(&["get", "big", "--write-out=json", "--keys-only"]));
        if revision.is_multiple_of(20) {
            let _ = client.run(&["compaction", &(revision - 1).to_string()]);
        }
    }
    wait::until("old segments to go", wait::LONG, || {
        let bytes = folder_bytes(store.data());
        if bytes < 320 << 20 {
            Ok(())
        } else {
            Err(format!("{} MiB", bytes >> 20))
        }
    });
    store.kill();
    store.restart();
    assert_eq!(
        store
            .client()
            .value("big")
            .unwrap()
            .map(|value| value.len()),
        Some(1 << 20)
    );
}

fn revision(json: &str) -> u64 {
    let answer: serde_json::Value = serde_json::from_str(json).expect("JSON");
    answer["header"]["revision"].as_u64().expect("a revision")
}

fn folder_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        };
    }
    bytes
}

#[test]
fn a_torn_tail_is_cut_and_said() {
    let mut store = Store::start(muster());
    put(&store, 20);
    store.kill();
    let mut segment = Segment::newest_in(store.data());
    let last = segment.frames().pop().expect("frames");
    segment.lose_from(last.start + (last.len() / 2));
    store.restart();
    assert!(
        store.process().tail().contains("torn tail"),
        "{}",
        store.process().tail()
    );
    let kept = keys(&store);
    // Whatever the last frame held may be gone with it; nothing before.
    assert!(
        kept.len() >= 19 && (0..19).all(|number| kept.contains(&format!("k{number:04}"))),
        "{kept:?}"
    );
    put(&store, 20);
    assert_eq!(keys(&store).len(), 20);
}

#[test]
fn damage_before_the_end_is_refused_with_its_place() {
    let mut store = Store::start(muster());
    put(&store, 20);
    store.kill();
    let mut segment = Segment::newest_in(store.data());
    let frames = segment.frames();
    let middle = frames[frames.len() / 2].clone();
    segment.flip(middle.start + 40);
    let name = segment
        .path()
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let complaint = Complaint::by(store.spawn());
    complaint.names(&[&name]);
    assert!(
        complaint.hint.contains("snapshot") || complaint.hint.contains("backup"),
        "{complaint:?}"
    );
    // Refusing changed nothing: with the byte put back, everything is there.
    segment.flip(middle.start + 40);
    store.restart();
    assert_eq!(keys(&store).len(), 20);
}

#[test]
fn a_folder_of_another_version_is_refused() {
    let mut store = Store::start(muster());
    put(&store, 1);
    store.kill();
    let identity = store.data().join("identity");
    let mut bytes = std::fs::read(&identity).expect("the identity file");
    // Twelve bytes of magic, then the version; the checksum stands at the end.
    bytes[12] += 1;
    let end = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    std::fs::write(&identity, bytes).expect("write");
    Complaint::by(store.spawn()).names(&["version 2", &store.data().display().to_string()]);
}

#[test]
fn a_folder_in_use_is_refused_and_its_user_undisturbed() {
    let first = Store::start(muster());
    put(&first, 1);
    let mut second = Store::prepare(muster()).with_data(first.data());
    let complaint = Complaint::by(second.spawn());
    complaint.names(&[&first.data().display().to_string()]);
    put(&first, 2);
    assert_eq!(keys(&first).len(), 2);
}

#[test]
fn a_port_in_use_is_refused() {
    let mut store = Store::prepare(muster());
    let _taken = TcpListener::bind(("127.0.0.1", store.port())).expect("listen");
    Complaint::by(store.spawn()).names(&[&format!("127.0.0.1:{}", store.port())]);
}

#[test]
fn a_slow_request_is_told_with_where_its_time_went() {
    let mut store = Store::prepare(muster())
        .with_option("--warning-unary-request-duration=1ns")
        .with_option("--warning-apply-duration=1ns");
    store.restart();
    put(&store, 1);
    let process = store.process();
    process.wait_line("a turn of the store took too long", wait::LONG);
    let line = process.wait_line("request took too long method=\"Put\"", wait::LONG);
    for part in [
        "took=",
        "waiting_for_the_store=",
        "while_the_disk_was_slow=",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!line.contains("k0000"), "keys may be secrets: {line}");
}

#[test]
fn through_a_link_called_etcd_it_is_etcd() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let link = folder.path().join("etcd");
    std::os::unix::fs::symlink(MUSTER, &link).expect("link");
    let url = format!("http://127.0.0.1:{}", end_to_end::port::free());
    let mut command = Command::new(link);
    // One dash, as Go programs take it.
    command.args([
        "-listen-client-urls",
        &url,
        "-advertise-client-urls",
        &url,
        "-data-dir",
    ]);
    let mut process = Process::spawn("etcd, a link", command.arg(folder.path().join("data")));
    process.wait_line("ready to serve client requests", wait::LONG);
    let client = Etcdctl::new(Release::V3_5, &url);
    assert_eq!(client.run(&["put", "k", "v"]), "OK\n");
}

#[test]
fn wrong_flags_are_refused_with_a_suggestion() {
    let complain = |arguments: &[&str]| Complaint::of(Command::new(MUSTER).args(arguments));
    let complaint = complain(&["store", "--data-dri", "x"]);
    complaint.names(&["--data-dri"]);
    assert!(complaint.hint.contains("--data-dir"), "{complaint:?}");
    assert_eq!(complaint.status, 2);
    let complaint = complain(&["stroe"]);
    assert!(complaint.hint.contains("store"), "{complaint:?}");
    complain(&["store", "--listen-client-urls", "nonsense"]).names(&["nonsense"]);
    complain(&["store", "--snapshot-count", "many"]).names(&["many"]);
}

/// A small file system of its own, taken away when dropped. Needs root.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mounted = programs::as_root("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path())
            .output()
            .expect("run mount");
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(
            mounted.status.success(),
            "mount a small file system: {said}\nhint: this test needs root, or sudo without a password"
        );
        Self { folder }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = programs::as_root("umount")
            .arg("--lazy")
            .arg(self.folder.path())
            .status();
    }
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    // Room for four segments of 64 MiB and a little else, most of which somebody else takes.
    let disk = SmallDisk::mount(300 << 20);
    let mut store = Store::prepare(muster()).with_data(&disk.folder.path().join("data"));
    store.restart();
    let client = store.client();
    assert_eq!(client.run(&["put", "first", "kept"]), "OK\n");
    // Somebody else fills the disk.
    let filler = disk.folder.path().join("filler");
    fill(&filler);
    let value = "x".repeat(1 << 20);
    let mut written = 0;
    let refusal = loop {
        let (status, _, err) = client.output_with_input(&["put", &format!("big{written}")], &value);
        if status != 0 {
            break err;
        }
        written += 1;
        assert!(written < 400, "400 MiB were written to a disk of 300 MiB");
    };
    assert!(
        refusal.contains("etcdserver: mvcc: database space exceeded")
            || refusal.contains("no space"),
        "{refusal}"
    );
    assert_eq!(client.value("first").unwrap().as_deref(), Some("kept"));
    assert_eq!(
        client
            .value(&format!("big{}", written - 1))
            .unwrap()
            .map(|value| value.len()),
        Some(1 << 20)
    );
    std::fs::remove_file(&filler).expect("remove the filler");
    wait::until("writes to be taken again", wait::LONG, || {
        client.try_run(&["put", "last", "x"])
    });
    store.kill();
    store.restart();
    let kept = keys(&store);
    assert!(
        kept.contains("first") && kept.contains("last") && kept.len() >= written + 2,
        "{kept:?}"
    );
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("create the filler");
    for size in [1 << 20, 1 << 12] {
        let block = vec![1; size];
        while file.write_all(&block).is_ok() {}
    }
}

#[test]
fn an_empty_folder_s_parents_are_made_and_an_unusable_one_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut deep = Store::prepare(muster()).with_data(&folder.path().join("a/b/c"));
    deep.restart();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("write");
    let mut store = Store::prepare(muster()).with_data(&file);
    Complaint::by(store.spawn()).names(&[&file.display().to_string()]);
}
