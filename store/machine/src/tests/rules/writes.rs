//! Reference A.3, and what watchers are told of it.

use super::*;

#[test]
fn revisions_and_versions() {
    let mut store = Store::new();
    assert_eq!(store.machine.revision(), Revision(1));
    let numbers = |store: &Store| {
        store
            .get("k")
            .map(|kv| (kv.create_revision.0, kv.mod_revision.0, kv.version))
    };
    assert_eq!(store.put("k", "1"), Revision(2));
    assert_eq!(numbers(&store), Some((2, 2, 1)));
    assert_eq!(store.put("k", "2"), Revision(3));
    assert_eq!(numbers(&store), Some((2, 3, 2)));
    // The same value is a write all the same.
    assert_eq!(store.put("k", "2"), Revision(4));
    assert_eq!(numbers(&store), Some((2, 4, 3)));
    assert_eq!(store.delete("k"), Revision(5));
    assert_eq!(numbers(&store), None);
    assert_eq!(store.put("k", "3"), Revision(6));
    assert_eq!(numbers(&store), Some((6, 6, 1)));
}

#[test]
fn put_answers_with_the_former_pair_if_asked() {
    let mut store = Store::new();
    let asking = |value| {
        Command::Put(PutRequest {
            prev_kv: true,
            ..put("k", value)
        })
    };
    assert_eq!(
        store.reply(asking("1")),
        Ok(Reply::Put(PutReply { prev: None }))
    );
    let former = store.get("k");
    assert_eq!(
        store.reply(asking("2")),
        Ok(Reply::Put(PutReply {
            prev: former.clone()
        }))
    );
    // Watchers are told whether or not the writer asked.
    let applied = store.apply(Command::Put(put("k", "3")));
    assert_eq!(applied.reply, Ok(Reply::Put(PutReply { prev: None })));
    assert_eq!(told(&applied.events[0]), "+k@4<");
}

#[test]
fn ignoring_value_and_lease() {
    let mut store = Store::new();
    let keep = |value: &str, ignore_value, ignore_lease, lease| {
        let lease = LeaseId(lease);
        Command::Put(PutRequest {
            ignore_value,
            ignore_lease,
            lease,
            ..put("k", value)
        })
    };
    for (ignore_value, ignore_lease) in [(true, false), (false, true), (true, true)] {
        let applied = store.apply(keep("", ignore_value, ignore_lease, 0));
        assert_eq!(
            (applied.reply, applied.revision),
            (Err(Refusal::KeyNotFound), Revision(1))
        );
    }
    // A lease that does not exist is found first.
    assert_eq!(
        store.reply(keep("", true, false, 8)),
        Err(Refusal::LeaseNotFound)
    );
    store.grant(7).unwrap();
    store.reply(keep("old", false, false, 7)).unwrap();
    let pair = |store: &Store| {
        store
            .get("k")
            .map(|kv| (text(&kv.value), kv.lease.0, kv.version))
    };
    store.reply(keep("new", false, true, 0)).unwrap();
    assert_eq!(pair(&store), Some(("new".into(), 7, 2)));
    store.reply(keep("", true, true, 0)).unwrap();
    assert_eq!(pair(&store), Some(("new".into(), 7, 3)));
    store.reply(keep("", true, false, 0)).unwrap();
    assert_eq!(pair(&store), Some(("new".into(), 0, 4)));
    // A key that was deleted does not exist.
    store.delete("k");
    assert_eq!(
        store.reply(keep("", true, false, 0)),
        Err(Refusal::KeyNotFound)
    );
}

#[test]
fn deletes() {
    let mut store = Store::new();
    for key in ["a", "b", "c", "d"] {
        store.put(key, key);
    }
    let delete = |keys, prev_kv| Command::Delete(DeleteRequest { keys, prev_kv });
    // Nothing there: no revision, no event.
    for keys in [one("x"), between("x", "z"), between("d", "a"), from("e")] {
        let applied = store.apply(delete(keys, true));
        assert_eq!(applied.reply, Ok(Reply::Delete(DeleteReply::default())));
        assert_eq!((applied.revision, applied.events.len()), (Revision(5), 0));
    }
    let removed: Vec<KeyValue> = ["b", "c"].iter().filter_map(|key| store.get(key)).collect();
    let applied = store.apply(delete(between("b", "d"), true));
    assert_eq!(
        applied.reply,
        Ok(Reply::Delete(DeleteReply {
            deleted: 2,
            prev: removed
        }))
    );
    assert_eq!(
        applied.events.iter().map(told).collect::<Vec<_>>(),
        ["-b@6<", "-c@6<"]
    );
    let bare = KeyValue {
        key: bytes("b"),
        mod_revision: Revision(6),
        ..KeyValue::default()
    };
    assert_eq!(applied.events[0].kv, bare);
    let applied = store.apply(delete(from("\0"), false));
    assert_eq!(
        applied.reply,
        Ok(Reply::Delete(DeleteReply {
            deleted: 2,
            prev: vec![]
        }))
    );
    assert_eq!(store.machine.keys(), 0);
}

#[test]
#[should_panic(expected = "entry 1 after entry 1")]
fn an_entry_is_not_applied_twice() {
    let mut store = Store::new();
    store.put("k", "v");
    store.machine.apply(Index(1), Command::Put(put("k", "v")));
}

#[test]
fn a_passed_entry_moves_the_index_only() {
    let mut store = Store::new();
    store.machine.pass(Index(4));
    assert_eq!(
        (store.machine.applied(), store.machine.revision()),
        (Index(4), Revision(1))
    );
    assert_eq!(store.put("k", "v"), Revision(2));
    assert_eq!(store.machine.applied(), Index(5));
}

#[test]
fn members_publish_themselves() {
    let mut store = Store::new();
    let publish = |id, name: &str, url: &str| Command::MemberPublish {
        id,
        name: name.into(),
        client_urls: vec![url.into()],
    };
    store.reply(publish(2, "two", "http://b")).unwrap();
    store.reply(publish(1, "one", "http://a")).unwrap();
    let applied = store.apply(publish(2, "two", "http://c"));
    assert_eq!(
        (applied.revision, applied.reply),
        (Revision(1), Ok(Reply::MemberPublish))
    );
    let members = store.machine.members();
    let found: Vec<_> = members
        .iter()
        .map(|m| (m.id, m.name.as_str(), m.client_urls[0].as_str()))
        .collect();
    assert_eq!(found, [(1, "one", "http://a"), (2, "two", "http://c")]);
}

#[test]
fn members_change() {
    use crate::MemberRecord;
    use crate::command::MemberChange::{self, Add, Promote, Remove, Update};
    let member = |id, url: &str, learner| MemberRecord {
        id,
        name: String::new(),
        peer_urls: vec![url.into()],
        client_urls: vec![],
        learner,
    };
    let update = |id, url: &str| Update {
        id,
        peer_urls: vec![url.into()],
    };
    let mut store = Store::new();
    store.machine.found(vec![member(1, "a", false)]);
    let rows: Vec<(MemberChange, Result<usize, Refusal>)> = vec![
        (Add(member(2, "b", true)), Ok(2)),
        (Add(member(2, "c", false)), Err(Refusal::MemberExists)),
        (Add(member(3, "b", false)), Err(Refusal::PeerUrlExists)),
        (update(2, "a"), Err(Refusal::PeerUrlExists)),
        (update(2, "b"), Ok(2)),
        (update(9, "d"), Err(Refusal::MemberNotFound)),
        (Promote { id: 1 }, Err(Refusal::NotLearner)),
        (Promote { id: 9 }, Err(Refusal::MemberNotFound)),
        (Promote { id: 2 }, Ok(2)),
        (Promote { id: 2 }, Err(Refusal::NotLearner)),
        (Remove { id: 2 }, Ok(1)),
        (Remove { id: 2 }, Err(Refusal::MemberNotFound)),
        (Promote { id: 2 }, Err(Refusal::MemberNotFound)),
        (Add(member(2, "e", false)), Err(Refusal::MemberExists)),
        (Add(member(3, "b", false)), Ok(2)),
    ];
    for (change, expected) in rows {
        assert_eq!(
            store.machine.check_change(&change).err(),
            expected.err(),
            "{change:?}"
        );
        let reply = store.apply(Command::Members(change.clone())).reply;
        let count = reply.map(|reply| match reply {
            Reply::Members(members) => members.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(count, expected, "{change:?}");
    }
    assert!(store.machine.is_removed(2) && !store.machine.is_removed(1));
    let publish = Command::MemberPublish {
        id: 2,
        name: "back".into(),
        client_urls: vec![],
    };
    assert_eq!(store.apply(publish).reply, Err(Refusal::MemberNotFound));

    // A snapshot keeps them, and who is not among them any more.
    let mut cursor = store.machine.snapshot_begin();
    let mut restore = crate::snapshot::Restore::new(Limits {
        quota_bytes: u64::MAX,
    });
    while let Some(chunk) = cursor.chunk(10) {
        restore.feed(&chunk).unwrap();
    }
    let restored = restore.finish().unwrap();
    assert_eq!(restored.members(), store.machine.members());
    assert!(restored.is_removed(2));
}
