//! A machine comes back as it was.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use store_machine::alarm::AlarmKind;
use store_machine::auth::{Auth, Permission, PermissionKind, TOKEN_KEY_BYTES};
use store_machine::command::Command;
use store_machine::reply::KeyValue;
use store_machine::request::{DeleteRequest, KeyRange, PutRequest, RangeEnd};
use store_machine::revision::{Index, LeaseId, Revision};
use store_machine::snapshot::State;
use store_machine::{Limits, Machine, MemberRecord};

use super::message::Pair;
use super::revision::RevisionKey;
use super::{Export, ImportError, import};
use crate::loader::Loader;
use crate::tree::Tree;

const UNBOUNDED: Limits = Limits {
    quota_bytes: u64::MAX,
};

/// All there is to a machine, however its history is cut into segments.
fn content(machine: &Machine) -> (State, Vec<KeyValue>) {
    let mut snapshot = machine.snapshot_begin();
    let mut versions = Vec::new();
    while let Some(records) = snapshot.records() {
        versions.extend(records);
    }
    (snapshot.state(), versions)
}

fn export(machine: &Machine, piece: usize) -> Vec<u8> {
    let mut export = Export::new(machine.snapshot_begin(), 3);
    let expected = export.bytes();
    let mut file = Vec::new();
    while let Some(piece) = export.piece(piece) {
        file.extend_from_slice(&piece);
    }
    assert_eq!(file.len() as u64, expected);
    file
}

/// Reads it with what a file of etcd does not say, or says otherwise.
fn import_as(file: &[u8], machine: &Machine) -> Result<Machine, ImportError> {
    let state = machine.snapshot_begin().state();
    let imported = import(&Tree::open(file)?, UNBOUNDED, |found| {
        assert_eq!(found.revision, state.revision);
        assert_eq!(found.leases, state.leases);
        assert_eq!(found.alarms, state.alarms);
        assert_eq!(found.compacted.max(0), state.compacted.max(0));
        *found = state;
    })?;
    assert_eq!(imported.detached, 0);
    Ok(imported.machine)
}

#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, bytes: usize, lease: i64 },
    Delete { from: u8, to: u8 },
    Grant(i64),
    Compact(u8),
    Alarm(u64),
    Scrub,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..20_u8, prop_oneof![0..50_usize, 1000..9000_usize], 0..4_i64)
            .prop_map(|(key, bytes, lease)| Step::Put { key, bytes, lease }),
        2 => (0..20_u8, 0..20_u8).prop_map(|(from, to)| Step::Delete { from, to }),
        1 => (1..4_i64).prop_map(Step::Grant),
        1 => any::<u8>().prop_map(Step::Compact),
        1 => (1..3_u64).prop_map(Step::Alarm),
        1 => Just(Step::Scrub),
    ];
    proptest::collection::vec(step, 0..120)
}

fn machine(steps: Vec<Step>) -> Machine {
    let mut machine = Machine::new(UNBOUNDED);
    machine.found(vec![MemberRecord {
        id: 7,
        name: "seven".to_owned(),
        peer_urls: vec!["http://seven:2380".to_owned()],
        ..MemberRecord::default()
    }]);
    let key = |key: u8| Bytes::from(format!("key-{key:03}"));
    for (index, step) in (1..).zip(steps) {
        let command = match step {
            Step::Put {
                key: k,
                bytes,
                lease,
            } => Command::Put(PutRequest {
                key: key(k),
                value: vec![k; bytes].into(),
                lease: LeaseId(lease),
                prev_kv: false,
                ignore_value: false,
                ignore_lease: false,
            }),
            Step::Delete { from, to } => Command::Delete(DeleteRequest {
                keys: KeyRange {
                    start: key(from),
                    end: RangeEnd::Before(key(to)),
                },
                prev_kv: false,
            }),
            Step::Grant(id) => Command::LeaseGrant {
                id: LeaseId(id),
                ttl_seconds: 10 * id,
            },
            Step::Compact(part) => Command::Compact {
                revision: Revision(machine.revision().0 * i64::from(part) / 255),
            },
            Step::Alarm(member) => Command::AlarmRaise {
                member,
                kind: AlarmKind::NoSpace,
            },
            Step::Scrub => {
                machine.scrub(1000);
                continue;
            }
        };
        // What is refused changes nothing.
        let _ = machine.apply(Index(index), command);
    }
    machine
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_machine_comes_back(steps in steps(), piece in 1..20_000_usize) {
        let machine = machine(steps);
        let file = export(&machine, piece);
        let found = import_as(&file, &machine).unwrap();
        prop_assert_eq!(content(&found), content(&machine));
    }

    #[test]
    fn any_bytes_are_a_machine_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let puts = (0..40).map(|key| Step::Put { key, bytes: 30, lease: 0 });
        let machine = machine(puts.chain([Step::Grant(1), Step::Compact(99)]).collect());
        let mut file = export(&machine, 4096);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let read = Tree::open(&file[..]).map(|tree| import(&tree, UNBOUNDED, |_| {}).is_ok());
        let _ = read;
    }
}

#[test]
fn a_raised_revision_survives_without_a_key() {
    let machine = machine(vec![Step::Put {
        key: 1,
        bytes: 1,
        lease: 0,
    }]);
    let raised = import(
        &Tree::open(&export(&machine, 1)[..]).unwrap(),
        UNBOUNDED,
        |state| {
            state.revision = Revision(1000);
        },
    );
    let raised = raised.unwrap().machine;
    let again = import(
        &Tree::open(&export(&raised, 1)[..]).unwrap(),
        UNBOUNDED,
        |_| {},
    );
    assert_eq!(again.unwrap().machine.revision(), Revision(1000));
}

/// A file with these versions of keys, each with its revision and lease, and a lease 1.
fn file_of(versions: &[(i64, &str, i64)]) -> Vec<u8> {
    let run = |mut loader: Loader| {
        loader.bucket(b"key");
        for (main, key, lease) in versions {
            let pair = Pair {
                key: Bytes::copy_from_slice(key.as_bytes()),
                create_revision: *main,
                mod_revision: *main,
                version: 1,
                lease: *lease,
                ..Pair::default()
            };
            let at = RevisionKey {
                main: *main,
                sub: 0,
                deleted: false,
            };
            loader.put(&at.encode(), pair.encoded_len(), |out| pair.encode_raw(out));
        }
        loader.bucket(b"lease");
        let lease = [8, 1, 16, 60];
        loader.put(&1_i64.to_be_bytes(), lease.len(), |out| {
            out.extend_from_slice(&lease);
        });
        loader.bucket(b"meta");
        (loader.finish(), loader.take())
    };
    run(Loader::writing(run(Loader::dry()).0)).1
}

#[test]
fn a_key_on_a_lease_that_there_is_not_hangs_on_none() {
    let file = file_of(&[(2, "a", 9), (3, "b", 9), (4, "b", 1), (5, "c", 0)]);
    let imported = import(&Tree::open(&file[..]).unwrap(), UNBOUNDED, |_| {}).unwrap();
    assert_eq!(imported.detached, 1);
    let machine = imported.machine;
    assert_eq!(machine.lease_keys(LeaseId(1)), [Bytes::from_static(b"b")]);
    assert_eq!(machine.lease_keys(LeaseId(9)), [] as [Bytes; 0]);
    assert_eq!(machine.revision(), Revision(5));
}

#[test]
fn another_file_of_bbolt_is_refused() {
    let mut loader = Loader::dry();
    loader.bucket(b"widgets");
    let layout = loader.finish();
    let mut loader = Loader::writing(layout);
    loader.bucket(b"widgets");
    loader.finish();
    let file = loader.take();
    let refused = import(&Tree::open(&file[..]).unwrap(), UNBOUNDED, |_| {})
        .err()
        .unwrap();
    assert!(
        refused.to_string().contains("no bucket \"key\""),
        "{refused}"
    );
}

#[test]
fn users_and_roles_come_back() {
    let keys = |end| KeyRange {
        start: Bytes::from_static(b"a"),
        end,
    };
    let permission = |kind, end| Permission {
        kind,
        keys: keys(end),
    };
    let roles = BTreeMap::from([
        ("root".to_owned(), Vec::new()),
        (
            "some".to_owned(),
            vec![
                permission(PermissionKind::Read, RangeEnd::Single),
                permission(
                    PermissionKind::Write,
                    RangeEnd::Before(Bytes::from_static(b"b")),
                ),
                permission(PermissionKind::ReadWrite, RangeEnd::Open),
            ],
        ),
    ]);
    let role = |name: &str| BTreeSet::from([name.to_owned()]);
    let users = BTreeMap::from([
        ("root".to_owned(), (Some("hash".to_owned()), role("root"))),
        ("by certificate".to_owned(), (None, role("some"))),
    ]);
    let auth = Auth::of_parts(
        (true, 9),
        [7; TOKEN_KEY_BYTES],
        roles.clone(),
        users.clone(),
    );
    let file = export(&machine(Vec::new()), 1);
    let tree = Tree::open(&file[..]).unwrap();
    let with = import(&tree, UNBOUNDED, |state| state.auth = auth).unwrap();
    let file = export(&with.machine, 4096);
    assert!(
        !file.windows(8).any(|bytes| bytes == [7; 8]),
        "the key that signs tokens is not in a backup"
    );
    let again = import(&Tree::open(&file[..]).unwrap(), UNBOUNDED, |_| {}).unwrap();
    let expected = Auth::of_parts((true, 9), [0; TOKEN_KEY_BYTES], roles, users);
    assert_eq!(again.machine.snapshot_begin().state().auth, expected);
}
