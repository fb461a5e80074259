//! Reference A.5, and the edges at which etcd lost events (issues 18089, 19179).

use super::*;

#[test]
fn which_revisions_may_be_compacted() {
    let mut store = Store::new();
    store.put("k", "1");
    store.put("k", "2");
    let table = [
        (-1, Err(Refusal::Compacted)),
        // Zero, once.
        (0, Ok(())),
        (0, Err(Refusal::Compacted)),
        (4, Err(Refusal::FutureRevision)),
        (2, Ok(())),
        (2, Err(Refusal::Compacted)),
        (1, Err(Refusal::Compacted)),
        (3, Ok(())),
    ];
    for (revision, expected) in table {
        assert_eq!(store.compact(revision), expected, "{revision}");
    }
    assert_eq!(
        (store.machine.compacted(), store.machine.revision()),
        (Revision(3), Revision(3))
    );
}

#[test]
fn zero_is_not_shown_as_a_compaction() {
    let mut store = Store::new();
    assert_eq!(store.machine.compacted(), Revision(0));
    store.compact(0).unwrap();
    assert_eq!(store.machine.compacted(), Revision(0));
    assert_eq!(store.events(0), Ok(vec![]));
}

#[test]
fn makes_no_revision_and_no_event() {
    let mut store = Store::new();
    store.put("k", "1");
    let applied = store.apply(Command::Compact {
        revision: Revision(2),
    });
    assert_eq!((applied.revision, applied.events.len()), (Revision(2), 0));
}

/// k put at 2, 3, deleted at 4, put at 5; gone put at 6, deleted at 7; kept put at 8. Whatever is
/// compacted, and however far the scrub has come, the same is read and told.
#[test]
fn reads_and_events_at_every_compaction() {
    let table: [(i64, &[&str]); 8] = [
        (
            1,
            &[
                "+k@2", "+k@3<", "-k@4<", "+k@5", "+gone@6", "-gone@7<", "+kept@8",
            ],
        ),
        (
            2,
            &[
                "+k@2", "+k@3<", "-k@4<", "+k@5", "+gone@6", "-gone@7<", "+kept@8",
            ],
        ),
        (
            3,
            &["+k@3", "-k@4<", "+k@5", "+gone@6", "-gone@7<", "+kept@8"],
        ),
        // A delete exactly at the compaction is told; its former pair is compacted.
        (4, &["-k@4", "+k@5", "+gone@6", "-gone@7<", "+kept@8"]),
        (5, &["+k@5", "+gone@6", "-gone@7<", "+kept@8"]),
        (6, &["+gone@6", "-gone@7<", "+kept@8"]),
        (7, &["-gone@7", "+kept@8"]),
        (8, &["+kept@8"]),
    ];
    for (compacted, events) in table {
        let mut store = Store::new();
        store.put("k", "1");
        store.put("k", "2");
        store.delete("k");
        store.put("k", "3");
        store.put("gone", "1");
        store.delete("gone");
        store.put("kept", "1");
        let whole = Store {
            machine: store.machine.clone(),
        };
        store.compact(compacted).unwrap();
        loop {
            assert_eq!(store.events(compacted).unwrap(), events, "{compacted}");
            assert_eq!(store.events(compacted - 1), Err(Refusal::Compacted));
            for revision in 1..=8 {
                for key in ["k", "gone", "kept"] {
                    let expected = if revision < compacted {
                        Err(Refusal::Compacted)
                    } else {
                        whole.get_at(key, revision)
                    };
                    assert_eq!(store.get_at(key, revision), expected, "{key} at {revision}");
                }
            }
            if store.machine.scrub(1) {
                break;
            }
        }
    }
}

#[test]
fn what_is_scrubbed_is_given_back() {
    let mut store = Store::new();
    for round in 0..50 {
        for key in 0..50 {
            store.put(&format!("key {key}"), &format!("value {round}"));
        }
    }
    for key in 10..50 {
        store.delete(&format!("key {key}"));
    }
    let revision = store.machine.revision();
    store.put("last", "v");
    let before = (
        store.machine.size_bytes(),
        store.machine.size_in_use_bytes(),
    );
    store.compact(revision.0).unwrap();
    // The account follows the compaction at once, the scrub gives the memory back.
    let after = store.machine.size_bytes();
    assert!(after < before.0 / 50, "{before:?} {after}");
    assert_eq!(store.machine.size_in_use_bytes(), before.1);
    let mut turns = 0;
    while !store.machine.scrub(10) {
        turns += 1;
    }
    assert!(turns >= 50, "{turns} turns of 10 for 2500 versions");
    assert_eq!(store.machine.size_bytes(), after);
    assert!(store.machine.keyspace.held_bytes() < 4_000);
    assert!(store.machine.scrub(1), "nothing is left");
}

/// The server refuses such transactions; should one come, nothing of
/// its revision is lost while a watcher may start there.
#[test]
fn a_key_written_twice_in_one_revision() {
    let mut store = Store::new();
    let op = |value| TxnOp::Put(put("k", value));
    let success = vec![
        op("1"),
        op("22"),
        TxnOp::Delete(DeleteRequest {
            keys: one("k"),
            prev_kv: false,
        }),
        op("333"),
    ];
    store
        .txn(TxnRequest {
            success,
            ..TxnRequest::default()
        })
        .unwrap();
    let told_of = ["+k@2", "+k@2<", "-k@2<", "+k@2"];
    assert_eq!(store.events(2).unwrap(), told_of);
    let versions = (65 + 1) + (65 + 2) + 65 + (65 + 3);
    assert_eq!(store.machine.size_bytes(), versions);
    store.compact(2).unwrap();
    store.machine.scrub(100);
    assert_eq!(store.events(2).unwrap(), ["+k@2", "+k@2", "-k@2", "+k@2"]);
    assert_eq!(store.machine.size_bytes(), versions);
    store.put("other", "");
    store.compact(3).unwrap();
    store.machine.scrub(100);
    assert_eq!(store.machine.size_bytes(), (65 + 3) + 69);
    assert_eq!(store.machine.keyspace.versions(), 2);
}

#[test]
fn a_key_of_many_versions_takes_many_turns() {
    let mut store = Store::new();
    for value in 0..1_000 {
        store.put("k", &value.to_string());
    }
    store.compact(1_000).unwrap();
    let mut versions = vec![store.machine.keyspace.versions()];
    while !store.machine.scrub(50) {
        versions.push(store.machine.keyspace.versions());
        assert_eq!(store.get_at("k", 1_000), Ok(Some("998".into())));
    }
    assert!(
        versions.windows(2).all(|w| w[0] - w[1] <= 50),
        "{versions:?}"
    );
    assert_eq!(store.machine.keyspace.versions(), 2);
}

/// Stable keys among much that comes and goes neither pin what was written around them nor get
/// lost when it is given back.
#[test]
fn churn_does_not_grow() {
    let mut store = Store::new();
    let mut held = Vec::new();
    for round in 0..200 {
        if round < 10 {
            store.put(&format!("stable {round}"), "v");
        }
        for key in 0..20 {
            store.put(&format!("busy {key}"), &"v".repeat(key * 7));
        }
        store.delete("busy 3");
        store.compact(store.machine.revision().0 - 5).unwrap();
        while !store.machine.scrub(7) {}
        held.push((
            store.machine.keyspace.held_bytes(),
            store.machine.keyspace.segments(),
        ));
    }
    let (bytes, segments) = held[20];
    assert!(
        held[20..]
            .iter()
            .all(|(b, s)| *b < bytes * 2 && *s < segments * 2),
        "{held:?}"
    );
    let stable = store.keys(between("stable", "stablf"));
    assert_eq!(stable.len(), 10);
}

#[test]
fn the_hash_does_not_depend_on_the_scrub() {
    let mut store = Store::new();
    for round in 0..5 {
        for key in ["a", "b", "c"] {
            store.put(key, &round.to_string());
        }
    }
    store.delete("b");
    let uncompacted = store.machine.hash_kv(Revision(0)).unwrap();
    assert_eq!((uncompacted.1, uncompacted.2), (Revision(0), Revision(17)));
    store.compact(17).unwrap();
    let hash = store.machine.hash_kv(Revision(0)).unwrap();
    assert_ne!(hash.0, uncompacted.0, "what is compacted does not count");
    while !store.machine.scrub(1) {
        assert_eq!(store.machine.hash_kv(Revision(0)), Ok(hash));
    }
    assert_eq!(store.machine.hash_kv(Revision(17)), Ok(hash));
    // Later writes do not count at an earlier revision.
    store.put("a", "later");
    assert_eq!(store.machine.hash_kv(Revision(17)), Ok(hash));
    assert_ne!(store.machine.hash_kv(Revision(0)).unwrap().0, hash.0);
    assert_eq!(store.machine.hash_kv(Revision(16)), Err(Refusal::Compacted));
    assert_eq!(
        store.machine.hash_kv(Revision(19)),
        Err(Refusal::FutureRevision)
    );
}

#[test]
fn a_visit_that_has_seen_enough_stops() {
    let mut store = Store::new();
    for key in 0..20 {
        store.put(&key.to_string(), "v");
    }
    let mut seen = Vec::new();
    store
        .machine
        .events(Revision(3), Revision(100), &mut |revision, _| {
            seen.push(revision.0);
            seen.len() < 3
        })
        .unwrap();
    assert_eq!(seen, [3, 4, 5]);
}
