//! History told as events, for watchers that lag.

use std::ops::ControlFlow;

use super::Keyspace;
use super::history::Place;
use super::index::Version;
use super::record::Record;
use crate::error::Refusal;
use crate::reply::{Event, EventKind, KeyValue};
use crate::revision::Revision;

impl Keyspace {
    /// See [`crate::Machine::events`].
    pub(crate) fn events(
        &self,
        from: Revision,
        to: Revision,
        visit: &mut dyn FnMut(Revision, &[Event]) -> bool,
    ) -> Result<(), Refusal> {
        if from.0 < self.compacted {
            return Err(Refusal::Compacted);
        }
        // Events of the revision that is being gathered.
        let mut batch: Vec<Event> = Vec::new();
        let mut stopped = false;
        self.history.walk(from.0, &mut |place, record| {
            let revision = Revision(record.modified);
            if let Some(last) = batch.last()
                && last.kv.mod_revision != revision
            {
                stopped = !visit(last.kv.mod_revision, &batch);
                batch.clear();
            }
            if stopped || revision > to {
                return ControlFlow::Break(());
            }
            batch.push(self.event(place, record));
            ControlFlow::Continue(())
        });
        if let Some(last) = batch.last()
            && !stopped
        {
            visit(last.kv.mod_revision, &batch);
        }
        Ok(())
    }

    fn event(&self, place: Place, record: Record) -> Event {
        // What stood before the compaction is compacted, whether or not the scrub got there.
        let prev = if record.modified > self.compacted {
            let version = Version {
                modified: record.modified,
                place,
            };
            let versions = self.index.get(&record.key);
            versions
                .and_then(|versions| versions.before(version))
                .and_then(|v| self.pair(v))
        } else {
            None
        };
        if place.is_delete() {
            return deleted(record.key, record.modified, prev);
        }
        Event {
            kind: EventKind::Put,
            kv: record.into_pair(),
            prev,
        }
    }
}

/// The event of a delete: key and revision only.
pub(super) fn deleted(key: bytes::Bytes, revision: i64, prev: Option<KeyValue>) -> Event {
    let kv = KeyValue {
        key,
        mod_revision: Revision(revision),
        ..KeyValue::default()
    };
    Event {
        kind: EventKind::Delete,
        kv,
        prev,
    }
}
