//! Reference A.9: alarms and the quota.

use super::*;
use crate::alarm::{Alarm, AlarmKind};
use crate::command::SpaceChange;

fn raise(member: u64, kind: AlarmKind) -> Command {
    Command::AlarmRaise { member, kind }
}

fn clear(member: u64, kind: AlarmKind) -> Command {
    Command::AlarmClear { member, kind }
}

fn put_txn() -> TxnRequest {
    TxnRequest {
        success: vec![TxnOp::Put(put("k", "v"))],
        ..TxnRequest::default()
    }
}

/// Kinds of command, and whether each passes under NOSPACE and under CORRUPT.
fn passes() -> Vec<(&'static str, Command, bool, bool)> {
    let range = TxnOp::Range(RangeRequest::latest(one("k")));
    let delete = || DeleteRequest {
        keys: one("k"),
        prev_kv: false,
    };
    let nested = TxnRequest {
        failure: vec![TxnOp::Txn(put_txn())],
        ..TxnRequest::default()
    };
    let other = TxnRequest {
        success: vec![TxnOp::Txn(TxnRequest {
            success: vec![],
            failure: put_txn().success,
            compare: vec![],
        })],
        ..TxnRequest::default()
    };
    let reading = TxnRequest {
        success: vec![range, TxnOp::Delete(delete())],
        ..TxnRequest::default()
    };
    let publish = Command::MemberPublish {
        id: 1,
        name: "m".into(),
        client_urls: vec![],
    };
    vec![
        ("put", Command::Put(put("k", "v")), false, false),
        ("txn with a put", Command::Txn(put_txn()), false, false),
        (
            "txn with a nested put in a branch that does not run",
            Command::Txn(nested),
            false,
            false,
        ),
        (
            "txn with a put in the other branch of a nested one",
            Command::Txn(other),
            false,
            false,
        ),
        (
            "grant",
            Command::LeaseGrant {
                id: LeaseId(2),
                ttl_seconds: 1,
            },
            false,
            false,
        ),
        ("txn without put", Command::Txn(reading), true, false),
        ("delete", Command::Delete(delete()), true, false),
        (
            "compact",
            Command::Compact {
                revision: Revision(1),
            },
            true,
            false,
        ),
        (
            "revoke",
            Command::LeaseRevoke {
                id: LeaseId(1),
                term: 0,
            },
            true,
            false,
        ),
        (
            "checkpoint",
            Command::LeaseCheckpoint {
                remaining: vec![],
                term: 0,
            },
            true,
            true,
        ),
        ("publish", publish, true, true),
        ("raise", raise(3, AlarmKind::NoSpace), true, true),
        ("clear", clear(3, AlarmKind::NoSpace), true, true),
    ]
}

#[test]
fn what_an_alarm_refuses() {
    for (name, command, no_space, corrupt) in passes() {
        for (kind, passes, refusal) in [
            (AlarmKind::NoSpace, no_space, Refusal::NoSpace),
            (AlarmKind::Corrupt, corrupt, Refusal::Corrupt),
        ] {
            let mut store = Store::new();
            store.put("k", "v");
            store.grant(1).unwrap();
            // Any member's alarm binds all.
            store.reply(raise(9, kind)).unwrap();
            let refused = store.reply(command.clone()).err();
            assert_eq!(
                refused,
                (!passes).then_some(refusal),
                "{name} under {kind:?}"
            );
            store.reply(clear(9, kind)).unwrap();
            store.reply(clear(3, AlarmKind::NoSpace)).unwrap();
            assert!(store.put("k", "w") > Revision(2));
        }
    }
}

#[test]
fn reads_under_alarms() {
    let mut store = Store::new();
    store.put("k", "v");
    let range = RangeRequest::latest(one("k"));
    let txn = TxnRequest {
        success: vec![TxnOp::Range(range.clone())],
        ..TxnRequest::default()
    };
    store.reply(raise(1, AlarmKind::NoSpace)).unwrap();
    assert!(store.range(&range).is_ok() && store.machine.read_txn(&txn).is_ok());
    store.reply(raise(1, AlarmKind::Corrupt)).unwrap();
    assert_eq!(store.range(&range), Err(Refusal::Corrupt));
    assert_eq!(store.machine.read_txn(&txn), Err(Refusal::Corrupt));
}

#[test]
fn raising_and_clearing() {
    let mut store = Store::new();
    let alarm = |member, kind| Alarm { member, kind };
    let (full, corrupt) = (AlarmKind::NoSpace, AlarmKind::Corrupt);
    let table = [
        (clear(1, full), vec![], vec![]),
        (raise(2, full), vec![alarm(2, full)], vec![alarm(2, full)]),
        (raise(2, full), vec![alarm(2, full)], vec![alarm(2, full)]),
        (
            raise(1, corrupt),
            vec![alarm(1, corrupt)],
            vec![alarm(1, corrupt), alarm(2, full)],
        ),
        // The exact member and kind.
        (
            clear(1, full),
            vec![],
            vec![alarm(1, corrupt), alarm(2, full)],
        ),
        (
            clear(2, full),
            vec![alarm(2, full)],
            vec![alarm(1, corrupt)],
        ),
    ];
    for (command, answer, raised) in table {
        let applied = store.apply(command.clone());
        assert_eq!(applied.reply, Ok(Reply::Alarm(answer)), "{command:?}");
        assert_eq!(applied.revision, Revision(1));
        assert_eq!(store.machine.alarms(), raised, "{command:?}");
    }
}

#[test]
fn the_quota() {
    // Empty, a put of two bytes costs 258: refused from 258 on, allowed below.
    for (quota_bytes, fits) in [(258, false), (259, true), (u64::MAX, true)] {
        let mut store = Store::with_quota(quota_bytes);
        let refused = store.reply(Command::Put(put("k", "v"))).err();
        assert_eq!(
            refused,
            (!fits).then_some(Refusal::NoSpace),
            "{quota_bytes}"
        );
    }
    for (quota_bytes, fits) in [(64, false), (65, true)] {
        assert_eq!(
            Store::with_quota(quota_bytes).grant(1).is_ok(),
            fits,
            "{quota_bytes}"
        );
    }
    // A transaction costs its larger branch, nested ones included.
    let put = || TxnOp::Put(put("k", "v"));
    let nested = TxnOp::Txn(TxnRequest {
        failure: vec![put(), put()],
        ..TxnRequest::default()
    });
    let txn = TxnRequest {
        success: vec![put(), nested],
        failure: vec![put()],
        compare: vec![],
    };
    for (quota_bytes, fits) in [(3 * 258, false), (3 * 258 + 1, true)] {
        let mut store = Store::with_quota(quota_bytes);
        assert_eq!(store.txn(txn.clone()).is_ok(), fits, "{quota_bytes}");
    }
}

#[test]
fn deleting_and_compacting_make_room() {
    let mut store = Store::with_quota(1_000);
    let value = "v".repeat(100);
    let mut keys = 0;
    while store
        .reply(Command::Put(put(&keys.to_string(), &value)))
        .is_ok()
    {
        keys += 1;
    }
    assert_eq!(keys, 4);
    assert_eq!(store.machine.size_bytes(), 4 * (64 + 1 + 100));
    store.delete("0");
    // The deleted version is still history, and the delete is history now too.
    assert_eq!(store.machine.size_bytes(), 4 * 165 + 65);
    assert_eq!(store.machine.size_in_use_bytes(), 3 * 165);
    assert_eq!(
        store.reply(Command::Put(put("9", &value))),
        Err(Refusal::NoSpace)
    );
    store.compact(store.machine.revision().0).unwrap();
    assert_eq!(store.machine.size_bytes(), 3 * 165 + 65);
    assert!(store.reply(Command::Put(put("9", &value))).is_ok());
}

/// The alarm the store raises by itself goes by itself; a person's is a person's to take back.
#[test]
fn whose_alarm_it_is() {
    use SpaceChange::{Free, Full};
    let full = AlarmKind::NoSpace;
    let by_itself = Command::Space(Full { member: 1 });
    let table = [
        (vec![by_itself.clone()], false),
        (vec![raise(1, full)], true),
        (vec![raise(2, full), by_itself.clone()], true),
        (vec![by_itself.clone(), raise(1, full)], true),
        (vec![raise(1, full), by_itself.clone()], true),
        (
            vec![raise(1, full), clear(1, full), by_itself.clone()],
            false,
        ),
    ];
    for (commands, stays) in table {
        let mut store = Store::new();
        for command in commands.clone() {
            store.reply(command).unwrap();
        }
        assert_eq!(
            store.reply(Command::Put(put("k", "v"))),
            Err(Refusal::NoSpace)
        );
        store.reply(Command::Space(Free)).unwrap();
        assert!(!store.machine.is_full());
        assert_eq!(!store.machine.alarms().is_empty(), stays, "{commands:?}");
    }
}

/// All members refuse by the quota the leader has put into the log, whatever their own flag says.
#[test]
fn the_quota_is_replicated() {
    let mut stores = [Store::with_quota(300), Store::with_quota(u64::MAX)];
    for store in &mut stores {
        let bytes = 950;
        store
            .reply(Command::Space(SpaceChange::Quota { bytes }))
            .unwrap();
        store.put("a", &"v".repeat(100));
        store.put("b", &"v".repeat(500));
        assert_eq!(
            store.reply(Command::Put(put("c", "v"))),
            Err(Refusal::NoSpace)
        );
    }
    assert_eq!(stores[0].machine.quota_bytes(), 950);
    let sums = stores.map(|store| store.machine.rest_checksum());
    assert_eq!(sums[0], sums[1]);
}
