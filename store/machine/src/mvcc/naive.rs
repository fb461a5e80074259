//! Dumb twin of the keyspace: every version of every key in a vector.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::select;
use crate::error::Refusal;
use crate::reply::{Event, EventKind, KeyValue, RangeReply};
use crate::request::{KeyRange, RangeRequest};
use crate::revision::{LeaseId, Revision};

#[derive(Clone, Debug, PartialEq)]
struct Version {
    modified: i64,
    /// `None`: deleted.
    kv: Option<KeyValue>,
    /// Order of all writes.
    serial: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Keyspace {
    revision: i64,
    compacted: i64,
    dirty: bool,
    serial: usize,
    keys: BTreeMap<Bytes, Vec<Version>>,
}

impl Keyspace {
    pub(crate) fn new() -> Self {
        Self {
            revision: 1,
            compacted: -1,
            dirty: false,
            serial: 0,
            keys: BTreeMap::new(),
        }
    }
    pub(crate) fn revision(&self) -> Revision {
        Revision(self.revision)
    }
    pub(crate) fn compacted(&self) -> Revision {
        Revision(self.compacted.max(0))
    }
    fn at<'a>(versions: &'a [Version], revision: i64) -> Option<&'a KeyValue> {
        versions
            .iter()
            .rev()
            .find(|v| v.modified <= revision)
            .and_then(|v| v.kv.as_ref())
    }
    pub(crate) fn get(&self, key: &[u8]) -> Option<KeyValue> {
        Self::at(self.keys.get(key)?, i64::MAX).cloned()
    }
    pub(crate) fn check(&self, revision: Revision) -> Result<(), Refusal> {
        if revision.0 <= 0 {
            Ok(())
        } else if revision.0 > self.revision {
            Err(Refusal::FutureRevision)
        } else if revision.0 < self.compacted {
            Err(Refusal::Compacted)
        } else {
            Ok(())
        }
    }
    pub(crate) fn walk(&self, keys: &KeyRange, visit: &mut dyn FnMut(KeyValue) -> bool) {
        for (_, versions) in self.keys.iter().filter(|(key, _)| keys.contains(key)) {
            if let Some(kv) = Self::at(versions, i64::MAX)
                && !visit(kv.clone())
            {
                return;
            }
        }
    }
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeReply, Refusal> {
        self.check(request.revision)?;
        let at = if request.revision.0 <= 0 {
            i64::MAX
        } else {
            request.revision.0
        };
        let mut kvs: Vec<KeyValue> = self
            .keys
            .iter()
            .filter(|(key, _)| request.keys.contains(key))
            .filter_map(|(_, versions)| Self::at(versions, at).cloned())
            .collect();
        let count = kvs.len() as u64;
        if request.count_only {
            return Ok(RangeReply {
                kvs: Vec::new(),
                more: false,
                count,
            });
        }
        let more = select::finish(request, &mut kvs);
        Ok(RangeReply { kvs, more, count })
    }
    pub(crate) fn put(&mut self, key: &Bytes, value: Bytes, lease: LeaseId) -> Event {
        let prev = self.get(key);
        let modified = Revision(self.revision + 1);
        let kv = KeyValue {
            key: key.clone(),
            create_revision: prev.as_ref().map_or(modified, |prev| prev.create_revision),
            mod_revision: modified,
            version: prev.as_ref().map_or(1, |prev| prev.version + 1),
            value,
            lease,
        };
        self.push(key, Some(kv.clone()));
        Event {
            kind: EventKind::Put,
            kv,
            prev,
        }
    }
    fn push(&mut self, key: &Bytes, kv: Option<KeyValue>) {
        self.dirty = true;
        self.serial += 1;
        let version = Version {
            modified: self.revision + 1,
            kv,
            serial: self.serial,
        };
        self.keys.entry(key.clone()).or_default().push(version);
    }
    pub(crate) fn delete(&mut self, keys: &KeyRange) -> Vec<Event> {
        let found: Vec<KeyValue> = self
            .keys
            .iter()
            .filter(|(key, _)| keys.contains(key))
            .filter_map(|(_, versions)| Self::at(versions, i64::MAX).cloned())
            .collect();
        found
            .into_iter()
            .map(|prev| {
                self.push(&prev.key, None);
                let kv = KeyValue {
                    key: prev.key.clone(),
                    mod_revision: Revision(self.revision + 1),
                    ..KeyValue::default()
                };
                Event {
                    kind: EventKind::Delete,
                    kv,
                    prev: Some(prev),
                }
            })
            .collect()
    }
    /// Ends the revision in which the writes since the last commit happened, if there were any.
    pub(crate) fn commit(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.revision += 1;
        }
    }
    pub(crate) fn compact(&mut self, revision: Revision) -> Result<(), Refusal> {
        if revision.0 <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision.0 > self.revision {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = revision.0;
        let at = revision.0;
        self.keys.retain(|_, versions| {
            let last = versions.iter().rposition(|v| v.modified <= at);
            let mut position = 0;
            versions.retain(|v| {
                let keep = v.modified >= at || (Some(position) == last && v.kv.is_some());
                position += 1;
                keep
            });
            !versions.is_empty()
        });
        Ok(())
    }
    pub(crate) fn scrub(&mut self, _records_max: usize) -> bool {
        true
    }
    pub(crate) fn events(
        &self,
        from: Revision,
        to: Revision,
        visit: &mut dyn FnMut(Revision, &[Event]) -> bool,
    ) -> Result<(), Refusal> {
        if from.0 < self.compacted {
            return Err(Refusal::Compacted);
        }
        let mut found: BTreeMap<(i64, usize), Event> = BTreeMap::new();
        for (key, versions) in &self.keys {
            for (i, version) in versions.iter().enumerate() {
                if version.modified < from.0 || version.modified > to.0 {
                    continue;
                }
                let prev = i
                    .checked_sub(1)
                    .filter(|_| version.modified > self.compacted)
                    .and_then(|i| versions[i].kv.clone());
                let event = match &version.kv {
                    Some(kv) => Event {
                        kind: EventKind::Put,
                        kv: kv.clone(),
                        prev,
                    },
                    None => Event {
                        kind: EventKind::Delete,
                        kv: KeyValue {
                            key: key.clone(),
                            mod_revision: Revision(version.modified),
                            ..KeyValue::default()
                        },
                        prev,
                    },
                };
                found.insert((version.modified, version.serial), event);
            }
        }
        let mut events = found.into_values().peekable();
        let mut batch: Vec<Event> = Vec::new();
        while let Some(event) = events.next() {
            let revision = event.kv.mod_revision;
            batch.push(event);
            if events
                .peek()
                .is_none_or(|next| next.kv.mod_revision != revision)
            {
                if !visit(revision, &batch) {
                    return Ok(());
                }
                batch.clear();
            }
        }
        Ok(())
    }
    pub(crate) fn keys(&self) -> u64 {
        self.keys
            .values()
            .filter(|versions| Self::at(versions, i64::MAX).is_some())
            .count() as u64
    }
    pub(crate) fn size_bytes(&self) -> u64 {
        self.keys
            .values()
            .flatten()
            .map(|v| 64 + v.kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len()) as u64)
            .sum()
    }
    pub(crate) fn size_in_use_bytes(&self) -> u64 {
        self.size_bytes()
    }
    pub(crate) fn hash(&self, revision: Revision) -> u32 {
        let mut crc = 0;
        for (key, versions) in &self.keys {
            for version in versions.iter().filter(|v| v.modified <= revision.0) {
                crc = crc32c::crc32c_append(crc, key);
                crc = crc32c::crc32c_append(crc, format!("{version:?}").as_bytes());
            }
        }
        crc
    }
}
