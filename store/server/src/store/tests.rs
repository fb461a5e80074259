//! A whole store of one member on a real folder, without the network.

use bytes::Bytes;
use std::path::Path;
use std::sync::atomic::Ordering;
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::reply::Reply;
use store_machine::request::{KeyRange, PutRequest, RangeEnd, RangeRequest};
use store_machine::revision::{LeaseId, Revision};
use store_watch::batch::{Batch, WatchId};
use store_watch::watcher::WatchSpec;

use super::faulty::{Faults, Faulty};
use super::*;
use crate::fatal::Exit;
use crate::handle::{Consistency, Failure};

fn put(key: &str, value: &str) -> Command {
    Command::Put(PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn single(key: &str) -> KeyRange {
    KeyRange {
        start: Bytes::copy_from_slice(key.as_bytes()),
        end: RangeEnd::Single,
    }
}

fn config(dir: &tempfile::TempDir) -> StoreConfig {
    StoreConfig {
        // Small, so that making segments does not take longer than the tests.
        segment_bytes: 1 << 20,
        ..StoreConfig::new(dir.path())
    }
}

async fn get(handle: &Handle, key: &str) -> Option<(Bytes, Revision)> {
    let answer = handle
        .range(RangeRequest::latest(single(key)), Consistency::Linearizable)
        .await
        .unwrap();
    answer
        .body
        .kvs
        .first()
        .map(|kv| (kv.value.clone(), kv.mod_revision))
}

#[test]
fn a_dropped_store_has_let_go_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        drop(Store::start(&config(&dir), vec![]).unwrap());
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(&config(&dir), vec![]).unwrap();
    let handle = store.handle();
    handle.ready().await.unwrap();
    for i in 0..100 {
        let answer = handle.propose(put("a", &i.to_string())).await.unwrap();
        assert!(matches!(answer.body, Reply::Put(_)));
        assert_eq!(answer.header.revision, Revision(i + 2));
        assert_eq!(answer.header.member, handle.member_id());
    }
    assert_eq!(get(&handle, "a").await, Some(("99".into(), Revision(101))));
    store.stop();
    assert_eq!(
        handle.propose(put("a", "late")).await.unwrap_err(),
        Failure::Stopped
    );

    let store = Store::start(&config(&dir), vec![]).unwrap();
    let handle = store.handle();
    assert_eq!(get(&handle, "a").await, Some(("99".into(), Revision(101))));
    let status = handle.status().await.unwrap();
    assert_eq!(status.body.leader, handle.member_id());
    store.stop();
}

#[tokio::test]
async fn many_clients_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(&config(&dir), vec![]).unwrap();
    let handle = store.handle();
    handle.ready().await.unwrap();
    // One client alone before them: whoever finds the driver asleep then takes his turn himself.
    for i in 0..20 {
        handle.propose(put("alone", &i.to_string())).await.unwrap();
    }
    let counters = handle.counters();
    let (syncs, entries) = (counters.wal_sync.count(), counters.wal_entries.get());
    let tasks: Vec<_> = (0..64)
        .map(|client| {
            let handle = handle.clone();
            tokio::spawn(async move {
                for i in 0..50 {
                    let key = format!("k/{client}/{i}");
                    handle.propose(put(&key, "value")).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let status = handle.status().await.unwrap();
    assert_eq!(status.header.revision, Revision(1 + 20 + 64 * 50));
    let syncs = counters.wal_sync.count() - syncs;
    let entries = counters.wal_entries.get() - entries;
    assert!(syncs * 4 < entries, "{syncs} syncs for {entries} entries");
    store.stop();
}

#[tokio::test]
async fn a_watcher_sees_every_write_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(&config(&dir), vec![]).unwrap();
    let handle = store.handle();
    let mut stream = handle.watch();
    stream.create(WatchSpec {
        keys: single("w"),
        start: Revision(0),
        id: WatchId(0),
        no_put: false,
        no_delete: false,
        prev_kv: false,
        progress_notify: false,
        fragment: false,
    });
    let (_, created) = stream.next().await.unwrap();
    assert!(matches!(created, Batch::Created { .. }), "{created:?}");
    let writer = tokio::spawn({
        let handle = handle.clone();
        async move {
            for i in 0..200 {
                handle.propose(put("w", &i.to_string())).await.unwrap();
            }
        }
    });
    let mut seen = 0;
    while seen < 200 {
        let (_, batch) = stream.next().await.unwrap();
        let Batch::Events { events, .. } = batch else {
            panic!("{batch:?}");
        };
        for shared in events {
            assert_eq!(shared.event.kv.value, seen.to_string());
            seen += 1;
        }
    }
    writer.await.unwrap();
    store.stop();
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_lease_ends_with_its_keys_unless_kept_alive() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(
        &StoreConfig {
            heartbeat_ms: 10,
            election_ms: 50,
            ..config(&dir)
        },
        vec![],
    )
    .unwrap();
    let handle = store.handle();
    let granted = handle.lease_grant(LeaseId::NONE, 1).await.unwrap();
    let Reply::LeaseGrant { id, ttl_seconds } = granted.body else {
        panic!("{granted:?}");
    };
    assert_eq!(ttl_seconds, 1);
    let mut with_lease = put("leased", "x");
    if let Command::Put(put) = &mut with_lease {
        put.lease = id;
    }
    handle.propose(with_lease).await.unwrap();
    assert_eq!(handle.lease_keep_alive(id).await.unwrap().body, 1);
    let life = handle.lease_time_to_live(id, true).await.unwrap().body;
    assert_eq!(life.unwrap().keys, [Bytes::from("leased")]);
    let mut stream = handle.watch();
    stream.create(WatchSpec {
        keys: single("leased"),
        start: Revision(0),
        id: WatchId(0),
        no_put: true,
        no_delete: false,
        prev_kv: false,
        progress_notify: false,
        fragment: false,
    });
    let (_, created) = stream.next().await.unwrap();
    assert!(matches!(created, Batch::Created { .. }));
    let (_, batch) = stream.next().await.unwrap();
    assert!(matches!(batch, Batch::Events { .. }), "{batch:?}");
    assert_eq!(get(&handle, "leased").await, None);
    assert_eq!(handle.lease_keep_alive(id).await.unwrap().body, 0);
    assert_eq!(handle.leases().await.unwrap().body, []);
    store.stop();
}

#[tokio::test]
async fn snapshots_bound_the_log_and_are_started_from() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreConfig {
        snapshot_count: 100,
        catch_up_entries: 10,
        ..config(&dir)
    };
    let store = Store::start(&small.clone(), vec![]).unwrap();
    let handle = store.handle();
    for i in 0..1_000 {
        let command = put(&format!("k{}", i % 10), &i.to_string());
        handle.propose(command).await.unwrap();
    }
    assert!(handle.counters().snapshot.count() > 1);
    let hash = handle.hash_kv(Revision(0)).await.unwrap().body;
    store.stop();
    let store = Store::start(&small, vec![]).unwrap();
    let handle = store.handle();
    assert_eq!(
        get(&handle, "k9").await,
        Some(("999".into(), Revision(1_001)))
    );
    assert_eq!(handle.hash_kv(Revision(0)).await.unwrap().body, hash);
    store.stop();
}

#[test]
fn a_folder_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(&config(&dir), vec![]).unwrap();
    let error = Store::start(&config(&dir), vec![]).unwrap_err();
    assert!(matches!(
        error,
        StartError::Open(store_wal::OpenError::Locked { .. })
    ));
    assert!(error.hint().is_some());
    store.stop();
    Store::start(&config(&dir), vec![]).unwrap().stop();
}

/// Small segments, so that a few hundred writes need the next one.
fn small_segments(dir: &Path) -> StoreConfig {
    StoreConfig {
        segment_bytes: 256 << 10,
        ..StoreConfig::new(dir)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let disk = Faulty(RealDisk, faults.clone());
    let store = Store::start_on(disk, &small_segments(dir.path()), vec![]).unwrap();
    let handle = store.handle();
    handle.ready().await.unwrap();
    let value = "v".repeat(4_000);
    handle.propose(put("kept", "1")).await.unwrap();
    faults.full.store(true, Ordering::Relaxed);
    let mut written = 0;
    let refused = loop {
        match handle.propose(put("filler", &value)).await {
            Ok(_) => written += 1,
            Err(failure) => break failure,
        }
        assert!(written < 1_000, "the disk never was full");
    };
    assert_eq!(refused, Failure::Refused(Refusal::NoSpace));
    assert_eq!(handle.counters().disk_full.get(), 1);
    assert_eq!(get(&handle, "kept").await.unwrap().0, "1");
    faults.full.store(false, Ordering::Relaxed);
    while handle.propose(put("after", "1")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(handle.counters().disk_full.get(), 0);
    let revision = handle.status().await.unwrap().header.revision;
    store.stop();

    let store = Store::start(&small_segments(dir.path()), vec![]).unwrap();
    let handle = store.handle();
    assert_eq!(get(&handle, "kept").await.unwrap().0, "1");
    assert_eq!(get(&handle, "after").await.unwrap().0, "1");
    assert_eq!(handle.status().await.unwrap().header.revision, revision);
    store.stop();
}

/// Runs itself again as a process of its own, because that process must end.
#[test]
fn a_failed_sync_ends_the_process_before_anything_is_acknowledged() {
    const CHILD: &str = "STORE_TEST_FAILED_SYNC";
    if let Some(dir) = std::env::var_os(CHILD) {
        write_until_the_end(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("store::tests::a_failed_sync_ends_the_process_before_anything_is_acknowledged")
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(Exit::DiskFailed as i32));
    let said = String::from_utf8_lossy(&child.stdout);
    let acknowledged: usize = said.lines().filter(|line| *line == "acknowledged").count();
    assert_eq!(acknowledged, 10, "{said}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = Store::start(&StoreConfig::new(dir.path()), vec![]).unwrap();
    let handle = store.handle();
    let (value, _) = runtime.block_on(get(&handle, "k")).unwrap();
    assert!(value == "9" || value == "10", "{value:?}");
    store.stop();
}

fn write_until_the_end(dir: &Path) -> ! {
    let faults = Faults::default();
    let disk = Faulty(RealDisk, faults.clone());
    let store = Store::start_on(disk, &StoreConfig::new(dir), vec![]).unwrap();
    let handle = store.handle();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for i in 0.. {
            if i == 10 {
                faults.sync.store(true, Ordering::Relaxed);
            }
            handle.propose(put("k", &i.to_string())).await.unwrap();
            println!("acknowledged");
        }
    });
    unreachable!("the process must have ended")
}
