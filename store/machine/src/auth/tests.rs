//! What each change does, what each request needs, and bytes that stand in logs and snapshots.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::permission::Ranges;
use super::*;
use crate::alarm::AlarmKind;
use crate::command::Command;
use crate::error::Refusal;
use crate::request::*;
use crate::revision::{Index, LeaseId, Revision};
use crate::snapshot::Restore;
use crate::tests::rules::{between as keys, one, put};
use crate::{Limits, Machine};

const KEY: [u8; TOKEN_KEY_BYTES] = [7; TOKEN_KEY_BYTES];
const LIMITS: Limits = Limits {
    quota_bytes: u64::MAX,
};

fn del(key: &str) -> DeleteRequest {
    DeleteRequest {
        keys: one(key),
        prev_kv: false,
    }
}

fn range(key: &str) -> RangeRequest {
    RangeRequest::latest(one(key))
}

fn add(name: &str) -> AuthChange {
    AuthChange::UserAdd {
        name: name.into(),
        password: Some("hash".into()),
    }
}

fn role(name: &str) -> AuthChange {
    AuthChange::RoleAdd { name: name.into() }
}

fn grant(user: &str, role: &str) -> AuthChange {
    AuthChange::UserGrant {
        user: user.into(),
        role: role.into(),
    }
}

fn permit(role: &str, kind: PermissionKind, keys: KeyRange) -> AuthChange {
    AuthChange::RoleGrant {
        role: role.into(),
        permission: Permission { kind, keys },
    }
}

/// A user `root`, a reader of a..m, a writer of a..m, one without roles; enabled.
fn enabled() -> Auth {
    let mut auth = Auth::default();
    for change in [
        add("root"),
        role("root"),
        grant("root", "root"),
        add("reader"),
        role("r"),
        permit("r", PermissionKind::Read, keys("a", "m")),
        grant("reader", "r"),
        add("writer"),
        role("w"),
        permit("w", PermissionKind::Write, keys("a", "m")),
        grant("writer", "w"),
        add("nobody"),
        AuthChange::Enable { token_key: KEY },
    ] {
        auth.change(change).unwrap();
    }
    auth
}

fn actor(auth: &Auth, name: &str) -> Actor {
    Actor::User {
        name: name.into(),
        revision: auth.revision(),
    }
}

#[test]
fn changes_are_refused_and_counted_as_in_etcd() {
    use Refusal as R;
    let revoke = |user: &str, role: &str| AuthChange::UserRevoke {
        user: user.into(),
        role: role.into(),
    };
    let unadd = |name: &str| AuthChange::UserDelete { name: name.into() };
    let unrole = |name: &str| AuthChange::RoleDelete { name: name.into() };
    let unpermit = |role: &str, keys: KeyRange| AuthChange::RoleRevoke {
        role: role.into(),
        keys,
    };
    let password = |name: &str| AuthChange::UserPassword {
        name: name.into(),
        password: "other".into(),
    };
    let enable = || AuthChange::Enable { token_key: KEY };
    let read = PermissionKind::Read;
    let mut auth = Auth::default();
    // Each with the revision after it, or the refusal.
    let steps: Vec<(AuthChange, Result<u64, Refusal>)> = vec![
        (AuthChange::Disable, Ok(1)),
        (enable(), Err(R::RootUserMissing)),
        (add(""), Err(R::UserEmpty)),
        (add("root"), Ok(2)),
        (add("root"), Err(R::UserExists)),
        (enable(), Err(R::RootRoleMissing)),
        (grant("none", "none"), Err(R::UserNotFound)),
        (grant("root", "none"), Err(R::RoleNotFound)),
        // The role root need not exist.
        (grant("root", "root"), Ok(3)),
        (grant("root", "root"), Ok(3)),
        (role(""), Err(R::RoleEmpty)),
        (role("r"), Ok(4)),
        (role("r"), Err(R::RoleExists)),
        (permit("none", read, keys("a", "b")), Err(R::RoleNotFound)),
        (
            permit("r", read, keys("b", "a")),
            Err(R::InvalidAuthManagement),
        ),
        (
            permit("none", read, keys("", "a")),
            Err(R::InvalidAuthManagement),
        ),
        (permit("r", read, keys("b", "c")), Ok(5)),
        (permit("r", read, keys("a", "b")), Ok(6)),
        // Again counts, even the same kind.
        (permit("r", read, keys("a", "b")), Ok(7)),
        (unpermit("none", keys("a", "b")), Err(R::RoleNotFound)),
        (unpermit("r", keys("a", "c")), Err(R::PermissionNotGranted)),
        (unpermit("r", keys("a", "b")), Ok(8)),
        (add("u"), Ok(9)),
        (grant("u", "r"), Ok(10)),
        (password("none"), Err(R::UserNotFound)),
        (password("u"), Ok(11)),
        (revoke("none", "r"), Err(R::UserNotFound)),
        (revoke("root", "r"), Err(R::RoleNotGranted)),
        (enable(), Ok(11)),
        (enable(), Ok(11)),
        (unadd("root"), Err(R::InvalidAuthManagement)),
        (revoke("root", "root"), Err(R::InvalidAuthManagement)),
        (unrole("root"), Err(R::InvalidAuthManagement)),
        (unadd("none"), Err(R::UserNotFound)),
        (unrole("none"), Err(R::RoleNotFound)),
        (unrole("r"), Ok(12)),
        (revoke("u", "r"), Err(R::RoleNotGranted)),
        (AuthChange::Disable, Ok(13)),
        (AuthChange::Disable, Ok(13)),
        (unrole("root"), Err(R::RoleNotFound)),
        (revoke("root", "root"), Ok(14)),
        (unadd("root"), Ok(15)),
    ];
    for (change, wanted) in steps {
        let before = auth.clone();
        let outcome = auth.change(change.clone()).map(|()| auth.revision());
        assert_eq!(outcome, wanted, "{change:?}");
        if wanted.is_err() {
            assert_eq!(auth, before, "{change:?} was refused");
        }
    }
    let left: Vec<&str> = auth.users().map(|(name, _)| name).collect();
    assert_eq!(left, ["u"]);
    assert_eq!(auth.user("u").unwrap().generation, 11);
}

#[test]
fn a_user_without_password_gets_none() {
    let mut auth = Auth::default();
    let add = AuthChange::UserAdd {
        name: "cn".into(),
        password: None,
    };
    auth.change(add).unwrap();
    let change = AuthChange::UserPassword {
        name: "cn".into(),
        password: "hash".into(),
    };
    auth.change(change).unwrap();
    assert_eq!(auth.user("cn").unwrap().password, None);
}

#[test]
fn permissions_keep_the_order_of_their_keys() {
    let mut auth = Auth::default();
    auth.change(role("r")).unwrap();
    for (start, end) in [("b", "d"), ("a", "b"), ("b", "c"), ("c", "d")] {
        let change = permit("r", PermissionKind::Read, keys(start, end));
        auth.change(change).unwrap();
    }
    let change = permit("r", PermissionKind::Write, keys("b", "c"));
    auth.change(change).unwrap();
    let permissions: Vec<_> = auth
        .role("r")
        .unwrap()
        .iter()
        .map(|it| (it.kind, it.keys.clone()))
        .collect();
    let (read, write) = (PermissionKind::Read, PermissionKind::Write);
    assert_eq!(
        permissions,
        [
            (read, keys("a", "b")),
            (read, keys("b", "d")),
            (write, keys("b", "c")),
            (read, keys("c", "d")),
        ]
    );
}

/// Who × what, with the answer; `None` stands for nobody.
#[test]
fn each_need_is_judged_for_everybody() {
    use Refusal as R;
    let auth = enabled();
    let single = &RangeEnd::Single;
    let before = |end: &'static str| RangeEnd::Before(Bytes::from_static(end.as_bytes()));
    let (to_m, to_z) = (&before("m"), &before("z"));
    let people = [
        None,
        Some("ghost"),
        Some("nobody"),
        Some("reader"),
        Some("writer"),
        Some("root"),
    ];
    let (ok, denied, empty) = (Ok(()), Err(R::PermissionDenied), Err(R::UserEmpty));
    let table: Vec<(Need<'_>, [Result<(), Refusal>; 6])> = vec![
        (Need::Nothing, [empty, ok, ok, ok, ok, ok]),
        (Need::Identity, [empty, ok, ok, ok, ok, ok]),
        (
            Need::Root,
            [empty, Err(R::UserNotFound), denied, denied, denied, ok],
        ),
        (
            Need::Oneself("reader"),
            [empty, denied, denied, ok, denied, ok],
        ),
        (Need::OwnRole("w"), [empty, denied, denied, denied, ok, ok]),
        (
            Need::Read(b"a", single),
            [empty, denied, denied, ok, denied, ok],
        ),
        (
            Need::Read(b"l", single),
            [empty, denied, denied, ok, denied, ok],
        ),
        (
            Need::Read(b"m", single),
            [empty, denied, denied, denied, denied, ok],
        ),
        (
            Need::Read(b"b", to_m),
            [empty, denied, denied, ok, denied, ok],
        ),
        (
            Need::Read(b"b", to_z),
            [empty, denied, denied, denied, denied, ok],
        ),
        (
            Need::Read(b"a", &RangeEnd::Open),
            [empty, denied, denied, denied, denied, ok],
        ),
        (
            Need::Write(b"a", single),
            [empty, denied, denied, denied, ok, ok],
        ),
        (
            Need::Write(b"a", to_m),
            [empty, denied, denied, denied, ok, ok],
        ),
        (
            Need::Write(b"a", &RangeEnd::Open),
            [empty, denied, denied, denied, denied, ok],
        ),
    ];
    for (need, wanted) in table {
        for (name, wanted) in people.iter().zip(wanted) {
            let actor = name.map(|name| actor(&auth, name));
            assert_eq!(
                auth.check(actor.as_ref(), &need),
                wanted,
                "{name:?} {need:?}"
            );
        }
        assert_eq!(auth.check(Some(&Actor::Store), &need), ok);
        let mut off = auth.clone();
        off.change(AuthChange::Disable).unwrap();
        assert_eq!(off.check(None, &need), ok);
    }
}

#[test]
fn what_concerns_keys_needs_the_present_revision() {
    let mut auth = enabled();
    let root = actor(&auth, "root");
    auth.change(add("one more")).unwrap();
    let read = Need::Read(b"a", &RangeEnd::Single);
    assert_eq!(
        auth.check(Some(&root), &read),
        Err(Refusal::AuthOldRevision)
    );
    assert_eq!(auth.check(Some(&root), &Need::Root), Ok(()));
}

#[test]
fn a_role_alone_reads_and_writes_what_it_may() {
    let auth = enabled();
    let (single, denied) = (RangeEnd::Single, Err(Refusal::PermissionDenied));
    for (role, need, wanted) in [
        ("r", Need::Read(b"a", &single), Ok(())),
        ("r", Need::Write(b"a", &single), denied),
        ("r", Need::Read(b"z", &single), denied),
        ("w", Need::Write(b"a", &single), Ok(())),
        ("none", Need::Read(b"a", &single), denied),
        ("root", Need::Root, denied),
    ] {
        assert_eq!(auth.check_role(role, &need), wanted, "{role} {need:?}");
    }
}

/// A machine with keys of two leases: 1 holds `b` and `c`, 2 holds `b2` and `z`.
fn machine() -> Machine {
    let mut machine = Machine::new(LIMITS);
    let mut next = 0;
    let mut apply = |command| {
        next += 1;
        machine.apply(Index(next), command).reply.unwrap();
    };
    for id in [1, 2] {
        apply(Command::LeaseGrant {
            id: LeaseId(id),
            ttl_seconds: 10,
        });
    }
    for (key, lease) in [("b", 1), ("c", 1), ("b2", 2), ("z", 2)] {
        let mut put = put(key, "v");
        put.lease = LeaseId(lease);
        apply(Command::Put(put));
    }
    machine.auth = Arc::new(enabled());
    machine
}

/// Commands and reads × {nobody, user without, with read, with write, root}.
#[test]
fn each_request_needs_what_it_touches() {
    let machine = machine();
    let on_lease = |lease| {
        let mut put = put("a", "v");
        put.lease = LeaseId(lease);
        Command::Put(put)
    };
    let txn = |compare: bool, success: Vec<TxnOp>, failure: Vec<TxnOp>| TxnRequest {
        compare: Vec::from_iter(compare.then(|| Compare {
            keys: keys("a", "b"),
            relation: Relation::Equal,
            target: CompareTarget::Version(0),
        })),
        success,
        failure,
    };
    let within = |txn| TxnOp::Txn(txn);
    let prev = |mut put: PutRequest| {
        put.prev_kv = true;
        put
    };
    let revoke = |id, term| Command::LeaseRevoke {
        id: LeaseId(id),
        term,
    };
    let (get, set) = (|| TxnOp::Range(range("a")), || TxnOp::Put(put("a", "v")));
    // Who may: nobody, a user without roles, reader, writer; root always may.
    let none = [false, false, false, false];
    let anybody = [false, true, true, true];
    let all = [true; 4];
    let reader = [false, false, true, false];
    let writer = [false, false, false, true];
    let commands: Vec<(Command, [bool; 4])> = vec![
        (Command::Put(put("a", "v")), writer),
        (Command::Put(put("z", "v")), none),
        (Command::Put(prev(put("a", "v"))), none),
        (on_lease(1), writer),
        (on_lease(2), none),
        (on_lease(3), writer),
        (Command::Delete(del("a")), writer),
        (
            Command::Delete(DeleteRequest {
                keys: keys("a", "m"),
                prev_kv: false,
            }),
            writer,
        ),
        (
            Command::Delete(DeleteRequest {
                keys: keys("a", "m"),
                prev_kv: true,
            }),
            none,
        ),
        (
            Command::Delete(DeleteRequest {
                keys: KeyRange {
                    start: "a".into(),
                    end: RangeEnd::Open,
                },
                prev_kv: false,
            }),
            none,
        ),
        (Command::Txn(txn(false, vec![], vec![])), anybody),
        (Command::Txn(txn(true, vec![], vec![])), reader),
        (Command::Txn(txn(false, vec![set()], vec![])), writer),
        (Command::Txn(txn(false, vec![], vec![set()])), writer),
        (Command::Txn(txn(true, vec![set()], vec![])), none),
        (Command::Txn(txn(false, vec![set()], vec![get()])), none),
        (
            Command::Txn(txn(
                false,
                vec![within(txn(false, vec![set()], vec![]))],
                vec![],
            )),
            writer,
        ),
        (
            Command::Txn(txn(
                false,
                vec![within(txn(true, vec![set()], vec![]))],
                vec![],
            )),
            none,
        ),
        (
            Command::Txn(txn(
                false,
                vec![within(txn(
                    false,
                    vec![TxnOp::Put(prev(put("a", "v")))],
                    vec![],
                ))],
                vec![],
            )),
            none,
        ),
        (
            Command::LeaseGrant {
                id: LeaseId(9),
                ttl_seconds: 5,
            },
            anybody,
        ),
        (revoke(1, 0), writer),
        (revoke(2, 0), none),
        (revoke(3, 0), anybody),
        (revoke(2, 1), all),
        (
            Command::LeaseCheckpoint {
                remaining: vec![],
                term: 1,
            },
            all,
        ),
        (
            Command::Compact {
                revision: Revision(2),
            },
            none,
        ),
        (
            Command::AlarmRaise {
                member: 1,
                kind: AlarmKind::NoSpace,
            },
            none,
        ),
        (
            Command::AlarmClear {
                member: 1,
                kind: AlarmKind::NoSpace,
            },
            none,
        ),
        (Command::Auth(add("x")), none),
    ];
    for (command, wanted) in &commands {
        who_may(&machine, Access::Command(command), *wanted);
    }
    let (read, unread) = (
        txn(true, vec![get()], vec![]),
        txn(true, vec![TxnOp::Range(range("z"))], vec![]),
    );
    for (access, wanted) in [
        (Access::Range(&range("a")), reader),
        (Access::Range(&range("z")), none),
        (Access::Txn(&read), reader),
        (Access::Txn(&unread), none),
        (Access::LeaseRenew(LeaseId(1)), writer),
        (Access::LeaseRenew(LeaseId(2)), none),
        (Access::LeaseRenew(LeaseId(3)), anybody),
        (Access::LeaseLife, anybody),
        (Access::LeaseKeys(LeaseId(1)), reader),
        (Access::LeaseKeys(LeaseId(2)), none),
        (Access::Leases, none),
        (Access::Guarded, all),
    ] {
        who_may(&machine, access, wanted);
    }
}

fn who_may(machine: &Machine, access: Access<'_>, wanted: [bool; 4]) {
    let people = [
        None,
        Some("nobody"),
        Some("reader"),
        Some("writer"),
        Some("root"),
    ];
    let wanted = wanted.into_iter().chain([true]);
    for (name, wanted) in people.into_iter().zip(wanted) {
        let actor = name.map(|name| actor(&machine.auth, name));
        let outcome = machine.authorize(actor.as_ref(), access);
        assert_eq!(outcome.is_ok(), wanted, "{name:?} {access:?}: {outcome:?}");
    }
    assert_eq!(machine.authorize(Some(&Actor::Store), access), Ok(()));
}

/// The command in the log is what counts, not what the member that took it has seen.
#[test]
fn commands_are_judged_when_they_are_applied() {
    let mut machine = machine();
    let revision = machine.revision();
    let by = |name| Some(actor(&enabled(), name));
    let write = || Command::Put(put("a", "v"));
    let refused = machine.apply(Index(20), write());
    assert_eq!(refused.reply, Err(Refusal::UserEmpty));
    let refused = machine.apply(Index(21), write().by(by("reader")));
    assert_eq!(refused.reply, Err(Refusal::PermissionDenied));
    assert_eq!((machine.revision(), refused.events), (revision, vec![]));
    let done = machine.apply(Index(22), write().by(by("writer")));
    assert!(done.reply.is_ok());
    let revoke = AuthChange::UserRevoke {
        user: "writer".into(),
        role: "w".into(),
    };
    machine
        .apply(Index(23), Command::Auth(revoke).by(by("root")))
        .reply
        .unwrap();
    let refused = machine.apply(Index(24), write().by(by("writer")));
    assert_eq!(refused.reply, Err(Refusal::AuthOldRevision));
    let now = Some(actor(machine.auth(), "writer"));
    let refused = machine.apply(Index(25), write().by(now));
    assert_eq!(refused.reply, Err(Refusal::PermissionDenied));
    // Judged elsewhere: by what is no more, or by what is.
    let judged = |auth: &Auth| {
        Some(Actor::Judged {
            revision: auth.revision(),
        })
    };
    let refused = machine.apply(Index(26), write().by(judged(&enabled())));
    assert_eq!(refused.reply, Err(Refusal::AuthOldRevision));
    let now = judged(machine.auth());
    assert!(machine.apply(Index(27), write().by(now)).reply.is_ok());
}

/// These bytes stand in logs: a row may be added but never changed.
#[test]
fn golden_bytes_of_changes_and_actors() {
    let user = Actor::User {
        name: "u".into(),
        revision: 300,
    };
    let table: Vec<(Command, Vec<u8>)> = vec![
        (
            Command::Auth(AuthChange::Enable { token_key: KEY }),
            [&[1, 21, 1][..], &KEY].concat(),
        ),
        (Command::Auth(AuthChange::Disable), vec![1, 21, 2]),
        (
            Command::Auth(add("u")),
            [&[1, 21, 3, 1][..], b"u\x01\x04hash"].concat(),
        ),
        (
            Command::Auth(AuthChange::UserAdd {
                name: "u".into(),
                password: None,
            }),
            vec![1, 21, 3, 1, b'u', 0],
        ),
        (
            Command::Auth(AuthChange::UserDelete { name: "u".into() }),
            vec![1, 21, 4, 1, b'u'],
        ),
        (
            Command::Auth(AuthChange::UserPassword {
                name: "u".into(),
                password: "h".into(),
            }),
            vec![1, 21, 5, 1, b'u', 1, b'h'],
        ),
        (
            Command::Auth(grant("u", "r")),
            vec![1, 21, 6, 1, b'u', 1, b'r'],
        ),
        (
            Command::Auth(AuthChange::UserRevoke {
                user: "u".into(),
                role: "r".into(),
            }),
            vec![1, 21, 7, 1, b'u', 1, b'r'],
        ),
        (Command::Auth(role("r")), vec![1, 21, 8, 1, b'r']),
        (
            Command::Auth(AuthChange::RoleDelete { name: "r".into() }),
            vec![1, 21, 9, 1, b'r'],
        ),
        (
            Command::Auth(permit("r", PermissionKind::ReadWrite, keys("a", "b"))),
            vec![1, 21, 10, 1, b'r', 2, 1, b'a', 2, 1, b'b'],
        ),
        (
            Command::Auth(AuthChange::RoleRevoke {
                role: "r".into(),
                keys: KeyRange::single("a".into()),
            }),
            vec![1, 21, 11, 1, b'r', 1, b'a', 0],
        ),
        (
            Command::Compact {
                revision: Revision(5),
            }
            .by(Some(Actor::Store)),
            vec![1, 20, 0, 4, 5],
        ),
        (
            Command::Compact {
                revision: Revision(5),
            }
            .by(Some(user)),
            vec![1, 20, 1, 1, b'u', 0xac, 2, 4, 5],
        ),
        (
            Command::Compact {
                revision: Revision(5),
            }
            .by(Some(Actor::Judged { revision: 300 })),
            vec![1, 20, 2, 0xac, 2, 4, 5],
        ),
    ];
    for (command, golden) in table {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        assert_eq!(bytes, golden, "{command:?}");
        assert_eq!(Command::decode(Bytes::from(golden)), Ok(command));
    }
    // One inside another is no command.
    assert!(Command::decode(Bytes::from_static(&[1, 20, 0, 20, 0, 4, 5])).is_err());
}

#[test]
fn a_snapshot_holds_users_and_roles() {
    let machine = machine();
    let mut restore = Restore::new(LIMITS);
    let mut cursor = machine.snapshot_begin();
    while let Some(chunk) = cursor.chunk(64) {
        restore.feed(&chunk).unwrap();
    }
    let restored = restore.finish().unwrap();
    assert_eq!(restored.auth, machine.auth);
    let root = actor(&machine.auth, "root");
    assert_eq!(restored.authorize(Some(&root), Access::Leases), Ok(()));
}

#[test]
fn secrets_are_not_shown() {
    let auth = enabled();
    let change = AuthChange::UserPassword {
        name: "u".into(),
        password: "secret hash".into(),
    };
    let shown = format!("{auth:?} {change:?} {:?}", add("u"));
    assert!(!shown.contains("hash") && !shown.contains("[7"), "{shown}");
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "a\0", "aa", "b", "c", "c\0", "d"])
        .prop_map(|key| Bytes::from_static(key.as_bytes()))
}

fn some_keys() -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![
        Just(RangeEnd::Single),
        Just(RangeEnd::Open),
        key().prop_map(RangeEnd::Before)
    ];
    (key(), end).prop_map(|(start, end)| KeyRange { start, end })
}

proptest! {
    /// The twin asks every key there is in a small world, and one behind all of them.
    #[test]
    fn ranges_add_up_to_the_keys_in_them(
        granted in prop::collection::vec(some_keys(), 0..6),
        wanted in some_keys(),
    ) {
        let granted: Vec<_> = granted
            .into_iter()
            .filter(|keys| Permission { kind: PermissionKind::Read, keys: keys.clone() }.is_valid())
            .collect();
        let mut ranges = Ranges::default();
        for keys in &granted {
            ranges.add(keys);
        }
        let world: BTreeSet<&[u8]> = BTreeSet::from([
            &b"a"[..], b"a\0", b"a\0\0", b"aa", b"aa\0", b"b", b"b\0", b"c", b"c\0", b"c\0\0", b"cc", b"d", b"d\0", b"z",
        ]);
        let covered = |key: &[u8]| granted.iter().any(|keys| keys.contains(key));
        let touched: Vec<_> = world.iter().filter(|key| wanted.contains(key)).collect();
        let twin = touched.iter().all(|key| covered(key));
        // Of an empty range nothing is said.
        if !touched.is_empty() {
            prop_assert_eq!(ranges.contains(&wanted.start, &wanted.end), twin);
        }
    }
}

proptest! {
    /// No bytes make it panic, and what is accepted has no second spelling.
    #[test]
    fn any_bytes_are_a_change_or_an_error(
        kind in 0u8..13,
        on_behalf in any::<bool>(),
        noise in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..60),
    ) {
        let head = if on_behalf { &[1, 20, 0, 21][..] } else { &[1, 21][..] };
        let bytes = [head, &[kind], &noise].concat();
        if let Ok(command) = Command::decode(Bytes::from(bytes.clone())) {
            let mut again = Vec::new();
            command.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}
