//! The keyspace: every pair in every version that has not been compacted.
//!
//! `index` knows the versions of each key, `history` holds their records in the order of revisions.
//! Writes gather under the next revision until [`Keyspace::commit`]. Never leases' keys, quota or
//! transactions.

mod account;
mod audit;
mod compact;
mod events;
mod hash;
mod history;
mod index;
mod range;
mod record;
mod segment;
mod select;

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::keymap::KeyMap;
use crate::reply::{Event, EventKind, KeyValue};
use crate::request::{KeyRange, RangeEnd};
use crate::revision::{LeaseId, Revision};
use account::Account;
pub use audit::{AUDIT_SUMS, Audit, AuditStep, sum_bounds};
use compact::Scrub;
use history::History;
use index::{Version, Versions};
pub(crate) use record::Record;
pub(crate) use segment::Segment;

/// See the module.
#[derive(Clone)]
pub(crate) struct Keyspace {
    /// Last finished revision.
    revision: Revision,
    /// The next revision has begun.
    dirty: bool,
    /// Last compaction; -1 before the first, so that compacting 0 works once.
    compacted: i64,
    index: KeyMap<Versions>,
    history: History,
    account: Account,
    /// `None` when nothing is left to scrub.
    scrub: Option<Scrub>,
}

impl Keyspace {
    pub(crate) fn new() -> Self {
        Self {
            revision: Revision::FIRST,
            dirty: false,
            compacted: -1,
            index: KeyMap::new(),
            history: History::new(),
            account: Account::default(),
            scrub: None,
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn compacted(&self) -> Revision {
        Revision(self.compacted.max(0))
    }

    /// Keys that exist now.
    pub(crate) fn keys(&self) -> u64 {
        self.index.weight()
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.account.kept()
    }

    /// Packed bytes really held, dropped ones that still stand among others included.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.history.held_bytes()
    }

    /// Versions of all keys that have not been dropped.
    #[cfg(test)]
    pub(crate) fn versions(&self) -> usize {
        let mut count = 0;
        self.index.walk(&[], |_, versions| {
            count += versions.iter().count();
            ControlFlow::Continue(())
        });
        count
    }

    /// Segment numbers ever in use at once.
    #[cfg(test)]
    pub(crate) fn segments(&self) -> usize {
        self.history.segments()
    }

    pub(crate) fn size_in_use_bytes(&self) -> u64 {
        self.account.current()
    }

    /// Writes a pair at the next revision.
    pub(crate) fn put(&mut self, key: &Bytes, value: Bytes, lease: LeaseId) -> Event {
        let revision = self.revision.next();
        let mut kv = KeyValue {
            key: key.clone(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            value,
            lease,
        };
        let prev = self.write(key, |prev| {
            if let Some(prev) = prev {
                kv.create_revision = prev.create_revision;
                kv.version = prev.version + 1;
            }
            Record {
                key: kv.key.clone(),
                value: kv.value.clone(),
                modified: revision.0,
                created: kv.create_revision.0,
                version: kv.version,
                lease,
            }
        });
        Event {
            kind: EventKind::Put,
            kv,
            prev,
        }
    }

    /// Deletes every key of the range at the next revision.
    pub(crate) fn delete(&mut self, keys: &KeyRange) -> Vec<Event> {
        let revision = self.revision.next().0;
        let mut found = Vec::new();
        if let RangeEnd::Single = keys.end {
            found.extend(self.exists(&keys.start).then(|| keys.start.clone()));
        } else {
            self.walk(keys, |kv| {
                found.push(kv.key);
                ControlFlow::Continue(())
            });
        }
        let mut events = Vec::with_capacity(found.len());
        for key in found {
            let prev = self.write(&key, |_| Record::deleted(key.clone(), revision));
            events.push(events::deleted(key, revision, prev));
        }
        events
    }

    /// Adds the record that `make` derives from the current pair, and returns that pair.
    fn write(
        &mut self,
        key: &[u8],
        make: impl FnOnce(Option<&KeyValue>) -> Record,
    ) -> Option<KeyValue> {
        self.dirty = true;
        let (history, account) = (&mut self.history, &mut self.account);
        self.index.update(key, |versions| {
            let last = versions.as_ref().map(Versions::last);
            let prev = last
                .filter(|last| !last.place.is_delete())
                .map(|last| history.read(last.place).into_pair());
            let record = make(prev.as_ref());
            let modified = record.modified;
            if let Some(prev) = &prev {
                let bytes = account::cost(prev.key.len(), prev.value.len());
                account.supersede(bytes, prev.mod_revision.0, modified);
            }
            let bytes = account::cost(record.key.len(), record.value.len());
            if record.is_delete() {
                account.delete(bytes, modified);
            } else {
                account.put(bytes);
            }
            let version = Version {
                modified,
                place: history.append(record),
            };
            match versions {
                Some(versions) => versions.push(version),
                None => *versions = Some(Versions::new(version)),
            }
            prev
        })
    }

    /// All records as they are now, in the order they were written; see [`History::freeze`].
    pub(crate) fn freeze(&self) -> Vec<Arc<Segment>> {
        self.history.freeze()
    }

    /// The last compaction as a snapshot keeps it: -1 when there was none.
    pub(crate) fn compacted_or_never(&self) -> i64 {
        self.compacted
    }

    /// Prepares an empty keyspace for [`Keyspace::restore`].
    pub(crate) fn restore_begin(&mut self, compacted: i64) {
        self.compacted = compacted;
        // The snapshot holds what its member had not scrubbed yet.
        self.scrub = (compacted >= 0).then(Scrub::start);
    }

    /// Adds a record of a snapshot, and returns the lease of the pair that was current before it.
    pub(crate) fn restore(&mut self, mut record: Record) -> LeaseId {
        if history::shares(&record) {
            // Unlike a log entry, the piece of snapshot it came in holds much else.
            record.value = Bytes::copy_from_slice(&record.value);
        }
        let key = record.key.clone();
        let prev = self.write(&key, |_| record);
        prev.map_or(LeaseId::NONE, |prev| prev.lease)
    }

    /// All records have arrived.
    pub(crate) fn restore_end(&mut self, revision: Revision) {
        self.revision = revision;
        self.dirty = false;
        self.account.compact(self.compacted);
    }

    /// Ends the revision under which writes have gathered, if there were any.
    pub(crate) fn commit(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.revision = self.revision.next();
        }
    }
}
