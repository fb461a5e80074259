//! Reference A.7, as far as it is replicated.

use super::*;

fn record(id: i64, remaining_seconds: i64) -> crate::LeaseRecord {
    crate::LeaseRecord {
        id: LeaseId(id),
        ttl_seconds: 10,
        remaining_seconds,
    }
}

#[test]
fn grants() {
    let mut store = Store::new();
    let granted = |id| {
        Ok(Reply::LeaseGrant {
            id: LeaseId(id),
            ttl_seconds: 10,
        })
    };
    // Negative ids are as good as any.
    for id in [5, -3, i64::MIN] {
        assert_eq!(store.grant(id), granted(id));
    }
    assert_eq!(store.grant(5), Err(Refusal::LeaseExists));
    assert_eq!(store.grant(0), Err(Refusal::LeaseNotFound));
    assert_eq!(
        store.machine.leases(),
        [record(i64::MIN, 0), record(-3, 0), record(5, 0)]
    );
    assert_eq!(store.machine.lease(LeaseId(-3)), Some(record(-3, 0)));
    assert_eq!(store.machine.revision(), Revision(1));
}

#[test]
fn a_put_moves_its_key_between_leases() {
    let mut store = Store::new();
    store.grant(1).unwrap();
    store.grant(2).unwrap();
    assert_eq!(store.reply(leased("k", 3)), Err(Refusal::LeaseNotFound));
    let attached = |store: &Store| {
        [1, 2].map(|id| {
            store
                .machine
                .lease_keys(LeaseId(id))
                .iter()
                .map(text)
                .collect::<Vec<_>>()
                .join(" ")
        })
    };
    for (lease, expected) in [
        (1, ["k", ""]),
        (1, ["k", ""]),
        (2, ["", "k"]),
        (0, ["", ""]),
    ] {
        store.reply(leased("k", lease)).unwrap();
        assert_eq!(attached(&store), expected, "{lease}");
    }
    for key in ["b", "a", "aa", "c"] {
        store.reply(leased(key, 1)).unwrap();
    }
    assert_eq!(attached(&store), ["a aa b c", ""]);
    store.delete("aa");
    assert_eq!(attached(&store), ["a b c", ""]);
}

#[test]
fn revoking_deletes_all_keys_in_one_revision() {
    let mut store = Store::new();
    store.grant(1).unwrap();
    store.put("free", "v");
    for key in ["c", "a", "b"] {
        store.reply(leased(key, 1)).unwrap();
    }
    let applied = store.revoke(1);
    assert_eq!(
        (applied.reply, applied.revision),
        (Ok(Reply::LeaseRevoke), Revision(6))
    );
    assert_eq!(
        applied.events.iter().map(told).collect::<Vec<_>>(),
        ["-a@6<", "-b@6<", "-c@6<"]
    );
    assert_eq!(store.keys(from("")), ["free"]);
    assert_eq!(store.machine.lease(LeaseId(1)), None);
    assert_eq!(store.revoke(1).reply, Err(Refusal::LeaseNotFound));
    // Without keys, no revision.
    store.grant(2).unwrap();
    let applied = store.revoke(2);
    assert_eq!(
        (applied.reply, applied.revision),
        (Ok(Reply::LeaseRevoke), Revision(6))
    );
    // The same id may come again, without its former keys.
    store.grant(1).unwrap();
    assert_eq!(store.machine.lease_keys(LeaseId(1)), Vec::<Bytes>::new());
}

#[test]
fn checkpoints() {
    let mut store = Store::new();
    store.grant(1).unwrap();
    store.grant(2).unwrap();
    let remaining = vec![(LeaseId(1), 4), (LeaseId(9), 3), (LeaseId(2), -1)];
    let reply = store.reply(Command::LeaseCheckpoint { remaining, term: 1 });
    assert_eq!(reply, Ok(Reply::LeaseCheckpoint));
    assert_eq!(store.machine.leases(), [record(1, 4), record(2, 0)]);
    // A renewal takes the checkpoint back.
    let remaining = vec![(LeaseId(1), 0)];
    store
        .reply(Command::LeaseCheckpoint { remaining, term: 1 })
        .unwrap();
    assert_eq!(store.machine.leases(), [record(1, 0), record(2, 0)]);
}

/// A leader that slept must not revoke what its successor keeps alive (etcd issue 15247).
#[test]
fn a_former_leader_decides_nothing() {
    let mut store = Store::new();
    for id in 1..=4 {
        store.grant(id).unwrap();
    }
    let revoke = |id, term| Command::LeaseRevoke {
        id: LeaseId(id),
        term,
    };
    let checkpoint = |term| Command::LeaseCheckpoint {
        remaining: vec![(LeaseId(4), 1)],
        term,
    };
    assert_eq!(store.reply(revoke(1, 5)), Ok(Reply::LeaseRevoke));
    assert_eq!(store.reply(revoke(2, 4)), Err(Refusal::StaleTerm));
    assert_eq!(store.reply(checkpoint(4)), Err(Refusal::StaleTerm));
    assert_eq!(store.reply(checkpoint(6)), Ok(Reply::LeaseCheckpoint));
    assert_eq!(store.reply(revoke(2, 5)), Err(Refusal::StaleTerm));
    // A client's wish is bound to no term.
    assert_eq!(store.reply(revoke(2, 0)), Ok(Reply::LeaseRevoke));
    assert_eq!(store.reply(revoke(3, 6)), Ok(Reply::LeaseRevoke));
    assert_eq!(store.machine.leases().len(), 1);
}
