//! Pure: What a source that reads its keys as a whole has told so far, and the event that leads from there to what it
//! reads now. Revisions count what was told: the stores behind such sources have none that spans all keys.

use std::collections::BTreeMap;

use bytes::Bytes;
use store_client::mirror::{Cause, Change, Entry, Event, KeyRange, Snapshot};

/// Keys and values as they were read.
pub(super) type Keys = BTreeMap<Bytes, Bytes>;

/// See the module text.
#[derive(Debug)]
pub(super) struct Ledger {
    ranges: Vec<KeyRange>,
    /// What was told last; revision 0 before the first reading.
    held: Snapshot,
}

impl Ledger {
    /// Nothing was told yet. Keys outside of `ranges` never are.
    pub(super) fn new(ranges: Vec<KeyRange>) -> Self {
        Self {
            ranges,
            held: Snapshot::from_entries(0, Vec::new()),
        }
    }

    /// Number of the last event; 0 before the first.
    pub(super) fn revision(&self) -> i64 {
        self.held.revision()
    }

    /// The event that leads from what was told to these keys; `None` if they are the same. The first is always told,
    /// for there may be nothing to read.
    pub(super) fn advance(&mut self, keys: Keys) -> Option<Event> {
        let first = self.held.revision() == 0;
        let revision = self.held.revision() + 1;
        let mut changes = Vec::new();
        let mut entries: Vec<(Bytes, Entry)> = Vec::with_capacity(keys.len());
        for (key, value) in keys {
            if !self.ranges.iter().any(|range| range.contains(&key)) {
                continue;
            }
            let before = self.held.get(&key).cloned();
            let entry = match &before {
                Some(before) if before.value == value => before.clone(),
                _ => Entry {
                    value,
                    create_revision: before
                        .as_ref()
                        .map_or(revision, |before| before.create_revision),
                    mod_revision: revision,
                },
            };
            if entry.mod_revision == revision {
                changes.push(Change {
                    key: key.clone(),
                    before,
                    after: Some(entry.clone()),
                });
            }
            entries.push((key, entry));
        }
        let snapshot = Snapshot::from_entries(revision, entries);
        let gone = self
            .held
            .iter()
            .filter(|(key, _)| snapshot.get(key).is_none())
            .map(|(key, entry)| Change {
                key: key.clone(),
                before: Some(entry.clone()),
                after: None,
            });
        changes.extend(gone);
        if changes.is_empty() && !first {
            return None;
        }
        self.held = snapshot.clone();
        Some(match first {
            true => Event::Listed {
                snapshot,
                changes,
                cause: Cause::First,
            },
            false => Event::Advanced { snapshot, changes },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(pairs: &[(u8, u8)]) -> Keys {
        let text = |number: u8| Bytes::from(format!("/k/{number}"));
        pairs
            .iter()
            .map(|(key, value)| (text(*key), text(*value)))
            .collect()
    }

    fn parts(event: Event) -> (bool, Snapshot, Vec<Change>) {
        match event {
            Event::Listed {
                snapshot, changes, ..
            } => (true, snapshot, changes),
            Event::Advanced { snapshot, changes } => (false, snapshot, changes),
        }
    }

    #[test]
    fn the_first_is_told_even_if_there_is_nothing() {
        let mut ledger = Ledger::new(vec![KeyRange::tree("/k")]);
        let (listed, snapshot, changes) = parts(ledger.advance(Keys::new()).unwrap());
        assert!(listed && snapshot.is_empty() && changes.is_empty());
        assert_eq!(ledger.revision(), 1);
        assert!(ledger.advance(Keys::new()).is_none());
        assert_eq!(ledger.revision(), 1);
        let outside = Keys::from([(Bytes::from("/other"), Bytes::new())]);
        assert!(ledger.advance(outside).is_none());
    }

    proptest! {
        /// Whoever applies the changes one by one has what the snapshot holds, which is what was read.
        #[test]
        fn changes_lead_from_one_reading_to_the_next(
            readings in prop::collection::vec(prop::collection::vec((0..6u8, 0..3u8), 0..6), 1..8)
        ) {
            let mut ledger = Ledger::new(vec![KeyRange::tree("/k")]);
            let mut twin = Keys::new();
            for reading in &readings {
                let read = keys(reading);
                if let Some(event) = ledger.advance(read.clone()) {
                    let (_, snapshot, changes) = parts(event);
                    for change in changes {
                        let before = twin.get(&change.key).cloned();
                        prop_assert_eq!(before, change.before.map(|entry| entry.value));
                        match change.after {
                            Some(entry) => {
                                prop_assert_eq!(entry.mod_revision, snapshot.revision());
                                twin.insert(change.key, entry.value);
                            }
                            None => {
                                twin.remove(&change.key);
                            }
                        }
                    }
                    let shown: Keys = snapshot
                        .iter()
                        .map(|(key, entry)| (key.clone(), entry.value.clone()))
                        .collect();
                    prop_assert_eq!(&shown, &twin);
                }
                prop_assert_eq!(&twin, &read);
            }
        }
    }
}
