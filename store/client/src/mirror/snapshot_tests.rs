use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn entry(tag: u32) -> Entry {
    Entry {
        value: Bytes::from(tag.to_string()),
        create_revision: 1,
        mod_revision: i64::from(tag),
    }
}

fn key(number: u16) -> Bytes {
    Bytes::from(format!("/k/{number:05}"))
}

/// All structural invariants plus equality with the twin.
fn check(snapshot: &Snapshot, twin: &BTreeMap<Bytes, Entry>) {
    assert!(
        snapshot
            .pages
            .iter()
            .all(|page| !page.is_empty() && page.len() <= PAGE_ENTRIES_MAX)
    );
    assert_eq!(snapshot.len(), twin.len());
    assert!(snapshot.iter().eq(twin.iter()));
}

proptest! {
    #[test]
    fn behaves_like_a_btreemap_and_never_changes_a_clone(
        begin in proptest::collection::vec(0u16..400, 0..300),
        steps in proptest::collection::vec((0u16..400, proptest::bool::weighted(0.55)), 0..600),
        probes in proptest::collection::vec(0u16..410, 1..8),
    ) {
        let mut twin: BTreeMap<Bytes, Entry> = begin.iter().map(|n| (key(*n), entry(u32::from(*n)))).collect();
        let mut snapshot = Snapshot::from_entries(1, begin.iter().map(|n| (key(*n), entry(u32::from(*n)))).collect());
        check(&snapshot, &twin);
        let mut kept = Vec::new();
        for (number, (name, put)) in steps.iter().enumerate() {
            if number % 97 == 0 {
                kept.push((snapshot.clone(), twin.clone()));
            }
            let tag = u32::try_from(number).unwrap() + 1000;
            if *put {
                prop_assert_eq!(snapshot.insert(key(*name), entry(tag)), twin.insert(key(*name), entry(tag)));
            } else {
                prop_assert_eq!(snapshot.remove(&key(*name)), twin.remove(&key(*name)));
            }
        }
        check(&snapshot, &twin);
        for (old, old_twin) in &kept {
            check(old, old_twin);
        }
        for probe in probes {
            prop_assert_eq!(snapshot.get(&key(probe)), twin.get(&key(probe)));
            prop_assert!(snapshot.iter_from(&key(probe)).eq(twin.range(key(probe)..)));
            let prefix = key(probe).slice(..6);
            prop_assert!(snapshot.prefix(&prefix).eq(twin.iter().filter(|(name, _)| name.starts_with(&prefix))));
        }
    }
}

#[test]
fn the_last_of_several_entries_counts() {
    let snapshot = Snapshot::from_entries(
        7,
        vec![(key(2), entry(1)), (key(1), entry(2)), (key(2), entry(3))],
    );
    assert_eq!(snapshot.revision(), 7);
    assert_eq!(snapshot.len(), 2);
    assert_eq!(snapshot.get(&key(2)), Some(&entry(3)));
}

#[test]
fn mass_deletes_shorten_the_spine() {
    let mut snapshot = Snapshot::from_entries(1, (0..6400).map(|n| (key(n), entry(1))).collect());
    for number in (0..6400).filter(|n| n % 64 != 0) {
        snapshot.remove(&key(number));
    }
    assert_eq!(snapshot.len(), 100);
    assert!(
        snapshot.pages.len() <= 10,
        "{} pages for 100 keys",
        snapshot.pages.len()
    );
}
