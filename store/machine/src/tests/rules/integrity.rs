//! What members compare: the running checksum, the rest, and the audit of what lies in memory; and
//! what a CORRUPT alarm stops.

use super::*;
use crate::alarm::AlarmKind;
use crate::command::MemberChange;
use crate::snapshot::Restore;
use crate::tests::dump::audit;
use crate::{AUDIT_SUMS, AuditStep, MemberRecord, sum_bounds};

/// A store with some history: overwritten, deleted, leased, compacted and current keys.
fn busy() -> Store {
    let mut store = Store::new();
    store.grant(1).unwrap();
    for round in 0..10 {
        for key in ["a", "b", "c", "d"] {
            store.put(key, &format!("{key}{round}"));
        }
        store.delete("c");
    }
    store.compact(20).unwrap();
    store
}

/// The same state, with one byte of one value changed: what a fault of memory or disk leaves.
fn altered(store: &Store, old: &str, new: &str) -> Store {
    let mut cursor = store.machine.snapshot_begin();
    let mut bytes = cursor.chunk(usize::MAX).unwrap();
    let places: Vec<usize> = (0..bytes.len() - old.len())
        .filter(|&at| &bytes[at..at + old.len()] == old.as_bytes())
        .collect();
    let [place] = places[..] else {
        panic!("{old} stands at {places:?}");
    };
    bytes[place..place + new.len()].copy_from_slice(new.as_bytes());
    let end = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[..end - 5]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    let mut restore = Restore::new(Limits {
        quota_bytes: u64::MAX,
    });
    restore.feed(&bytes).unwrap();
    Store {
        machine: restore.finish().unwrap(),
    }
}

#[test]
fn the_same_changes_give_the_same_checksums_and_others_do_not() {
    let (one, mut other) = (busy(), busy());
    assert_eq!(one.machine.trail(), other.machine.trail());
    assert_eq!(one.machine.rest_checksum(), other.machine.rest_checksum());
    assert_eq!(audit(&one.machine), audit(&other.machine));
    other.grant(2).unwrap();
    assert_eq!(one.machine.trail(), other.machine.trail());
    assert_ne!(one.machine.rest_checksum(), other.machine.rest_checksum());
}

#[test]
fn once_different_always_different() {
    let (mut one, mut other) = (busy(), busy());
    one.put("a", "x");
    other.put("a", "y");
    let parted = one.machine.revision();
    for key in ["a", "b", "a"] {
        one.put(key, "same");
        other.put(key, "same");
    }
    assert_ne!(one.machine.trail().digest, other.machine.trail().digest);
    let span = crate::checksum::first_difference(
        Revision::FIRST,
        &one.machine.trail_marks(),
        &other.machine.trail_marks(),
    );
    assert_eq!(span.and_then(|span| span.exact()), Some(parted));
}

#[test]
fn a_changed_byte_in_memory_is_found_and_its_revision_named() {
    let store = busy();
    // "b9" was written at revision 48; it is the current value.
    let faulty = altered(&store, "b9", "b8");
    assert_eq!(store.machine.trail(), faulty.machine.trail());
    assert_eq!(
        store.machine.rest_checksum(),
        faulty.machine.rest_checksum()
    );
    let (mut from, mut to) = (Revision::FIRST, Revision(1_000_000));
    let mut rounds = 0;
    while from < to {
        let sums = |store: &Store| {
            let mut audit = store.machine.audit_begin(from, to);
            let AuditStep::Done(sums) = store.machine.audit(&mut audit, 10_000, 1 << 20) else {
                panic!("more than there is");
            };
            sums
        };
        let differing: Vec<usize> = sums(&store)
            .iter()
            .zip(sums(&faulty))
            .enumerate()
            .filter_map(|(place, (one, other))| (*one != other).then_some(place))
            .collect();
        assert_eq!(differing.len(), 1, "{from}..={to}");
        (from, to) = sum_bounds(from, to, differing[0]);
        rounds += 1;
    }
    assert_eq!((from, rounds), (Revision(48), 4));
}

#[test]
fn what_happens_during_an_audit_does_not_matter_but_for_a_compaction() {
    let mut store = busy();
    let whole = audit(&store.machine);
    let mut audit = store
        .machine
        .audit_begin(Revision::FIRST, store.machine.revision());
    let mut slices = 0;
    let sums = loop {
        match store.machine.audit(&mut audit, 2, 1_000) {
            AuditStep::Going => {}
            AuditStep::Done(sums) => break sums,
            AuditStep::Compacted => panic!("not yet"),
        }
        store.put("b", "later");
        store.put("e", "later");
        store.delete("a");
        store.machine.scrub(1);
        slices += 1;
    };
    assert!(slices > 5);
    assert_eq!(sums, whole);
    assert_eq!(sums.len(), AUDIT_SUMS);

    let mut audit = store
        .machine
        .audit_begin(Revision::FIRST, store.machine.revision());
    assert_eq!(store.machine.audit(&mut audit, 2, 1_000), AuditStep::Going);
    store.compact(store.machine.revision().0).unwrap();
    let step = store.machine.audit(&mut audit, 2, 1_000);
    assert_eq!(step, AuditStep::Compacted);
}

#[test]
fn large_values_take_more_slices() {
    let mut store = Store::new();
    for key in 0..5 {
        store.put(&key.to_string(), &"v".repeat(1_000));
    }
    let mut audit = store
        .machine
        .audit_begin(Revision::FIRST, store.machine.revision());
    let mut slices = 1;
    while store.machine.audit(&mut audit, 1_000, 1_500) == AuditStep::Going {
        slices += 1;
    }
    assert_eq!(slices, 3);
}

#[test]
fn the_bounds_of_sums_cover_the_span() {
    for (from, to) in [(1, 1), (1, 64), (1, 65), (7, 1_000_000), (5, i64::MAX)] {
        let (from, to) = (Revision(from), Revision(to));
        let mut next = from;
        for place in 0..AUDIT_SUMS {
            let (first, last) = sum_bounds(from, to, place);
            if first > to {
                break;
            }
            assert_eq!(first, next, "{from}..={to}");
            assert!(last >= first && last <= to);
            next = Revision(last.0.saturating_add(1));
        }
        assert!(next > to || to.0 == i64::MAX);
    }
}

/// Voters 1, 2 and 3, and 4 that learns.
fn four() -> Store {
    let mut store = Store::new();
    for id in 1..=4 {
        let member = MemberRecord {
            id,
            name: id.to_string(),
            peer_urls: vec![format!("p{id}")],
            learner: id == 4,
            ..MemberRecord::default()
        };
        let change = MemberChange::Add(member);
        store.reply(Command::Members(change)).unwrap();
    }
    store
}

#[test]
fn a_majority_that_agrees_goes_on() {
    // Who is named, and whether that stops all.
    let table: [(&[u64], bool); 7] = [
        (&[], false),
        (&[3], false),
        (&[4], false),
        (&[3, 4], false),
        (&[2, 3], true),
        (&[1, 2, 3], true),
        // Nobody there: an operator's hand.
        (&[9], true),
    ];
    for (named, stops) in table {
        let mut store = four();
        for &member in named {
            let kind = AlarmKind::Corrupt;
            store.reply(Command::AlarmRaise { member, kind }).unwrap();
        }
        assert_eq!(store.machine.unsound(), stops, "{named:?}");
        let refused = store.reply(Command::Put(put("k", "v"))).err();
        assert_eq!(refused, stops.then_some(Refusal::Corrupt), "{named:?}");
        for id in 1..=4 {
            assert_eq!(store.machine.is_corrupt(id), named.contains(&id));
        }
    }
}

#[test]
fn an_alarm_goes_with_its_member() {
    let mut store = four();
    for kind in [AlarmKind::Corrupt, AlarmKind::NoSpace] {
        store
            .reply(Command::AlarmRaise { member: 3, kind })
            .unwrap();
    }
    let change = MemberChange::Remove { id: 3 };
    store.reply(Command::Members(change)).unwrap();
    assert_eq!(store.machine.alarms(), []);
}
