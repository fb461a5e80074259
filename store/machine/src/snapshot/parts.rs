//! A snapshot as its parts, for those who keep it in another form: what a cursor holds, and a machine
//! built from the same.

use super::restore::Building;
use super::state::{self, State};
use super::{Bytes, SnapshotCursor};
use crate::mvcc::Record;
use crate::reply::KeyValue;
use crate::{Limits, Machine};

impl SnapshotCursor {
    /// Everything but the keys.
    ///
    /// # Panics
    /// Never: the bytes were encoded when the snapshot began.
    #[must_use]
    pub fn state(&self) -> State {
        state::decode(Bytes::clone(&self.state)).expect("the state that was encoded")
    }

    /// The next versions of keys, in the order they were written, about 64 KiB of them or one that is larger;
    /// a delete has version 0. `None` after the last. Takes them from what [`SnapshotCursor::chunk`] would hand
    /// out: a cursor serves one or the other.
    pub fn records(&mut self) -> Option<Vec<KeyValue>> {
        let segment = self.segments.next()?;
        let mut records = Vec::new();
        segment.walk(0, |_, record| {
            records.push(record.into_pair());
            std::ops::ControlFlow::Continue(())
        });
        Some(records)
    }
}

/// The same state: taken at the same entry, and as far handed out.
impl PartialEq for SnapshotCursor {
    fn eq(&self, other: &Self) -> bool {
        (self.applied, self.bytes_left, self.checksum)
            == (other.applied, other.bytes_left, other.checksum)
    }
}

/// A machine being built from the parts of a snapshot.
pub struct Rebuild {
    building: Building,
}

impl Rebuild {
    /// Begins with everything but the keys.
    ///
    /// # Errors
    /// What was expected, when the numbers contradict each other.
    pub fn new(limits: Limits, state: State) -> Result<Self, &'static str> {
        if !state.is_sane() {
            return Err("a revision from 1 to 2^62, not below the last compaction");
        }
        Ok(Self {
            building: Building::new(limits, state),
        })
    }

    /// Adds a version of a key; a delete has version 0. They come in the order they were written.
    ///
    /// # Errors
    /// What was expected of it.
    pub fn record(&mut self, pair: KeyValue) -> Result<(), &'static str> {
        let (created, modified) = (pair.create_revision.0, pair.mod_revision.0);
        let sane = match pair.version {
            0 => modified > 0,
            version => version > 0 && (1..=modified).contains(&created),
        };
        if !sane {
            return Err("revisions and a version of a key that was put or deleted");
        }
        if pair.version == 0 {
            return self.building.record(Record::deleted(pair.key, modified));
        }
        self.building.record(Record {
            key: pair.key,
            value: pair.value,
            modified,
            created,
            version: pair.version,
            lease: pair.lease,
        })
    }

    /// The machine.
    ///
    /// # Errors
    /// What was expected of the whole.
    pub fn finish(mut self) -> Result<Machine, &'static str> {
        self.building.finish()?;
        Ok(self.building.machine())
    }
}
