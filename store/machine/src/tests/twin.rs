//! The dumb twin: every version of every key in a vector, every question answered by looking at
//! all of it, every command tried on a copy that is thrown away when it refuses.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::alarm::{Alarm, AlarmKind};
use crate::command::Command;
use crate::error::Refusal;
use crate::reply::*;
use crate::request::*;
use crate::revision::{LeaseId, Revision};
use crate::{LeaseRecord, quota};

#[derive(Clone, Debug, PartialEq)]
struct Version {
    modified: i64,
    /// Order of all writes.
    serial: usize,
    /// `None`: deleted.
    kv: Option<KeyValue>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Twin {
    pub(super) quota_bytes: u64,
    revision: i64,
    /// Revision of the writes under way.
    writing: i64,
    compacted: i64,
    serial: usize,
    keys: BTreeMap<Bytes, Vec<Version>>,
    leases: BTreeMap<LeaseId, LeaseRecord>,
    term: u64,
    alarms: Vec<Alarm>,
    /// All of them vote.
    members: Vec<u64>,
}

type Done = Result<Reply, Refusal>;

impl Twin {
    pub(super) fn new(quota_bytes: u64) -> Self {
        Self {
            quota_bytes,
            revision: 1,
            writing: 2,
            compacted: -1,
            serial: 0,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            term: 0,
            alarms: Vec::new(),
            members: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, command: &Command) -> Applied {
        let mut copy = self.clone();
        let mut events = Vec::new();
        copy.writing = copy.revision + 1;
        let reply = copy.run(command, &mut events);
        if reply.is_err() {
            return Applied {
                revision: self.revision(),
                reply,
                events: Vec::new(),
            };
        }
        if !events.is_empty() {
            copy.revision = copy.writing;
        }
        *self = copy;
        Applied {
            revision: self.revision(),
            reply,
            events,
        }
    }

    fn run(&mut self, command: &Command, events: &mut Vec<Event>) -> Done {
        let guarded = !matches!(
            command,
            Command::AlarmRaise { .. }
                | Command::AlarmClear { .. }
                | Command::MemberPublish { .. }
                | Command::LeaseCheckpoint { .. }
        );
        let corrupt = |id| {
            let alarm = Alarm {
                member: id,
                kind: AlarmKind::Corrupt,
            };
            self.alarms.contains(&alarm)
        };
        let stranger = (0..10).any(|id| corrupt(id) && !self.members.contains(&id));
        let sound = self.members.iter().filter(|&&id| !corrupt(id)).count();
        let majority = sound == self.members.len() || sound * 2 > self.members.len();
        if guarded && (stranger || !majority) {
            return Err(Refusal::Corrupt);
        }
        match command {
            Command::Put(put) => {
                self.space(256 + put.key.len() + put.value.len())?;
                if put.lease.0 != 0 && !self.leases.contains_key(&put.lease) {
                    return Err(Refusal::LeaseNotFound);
                }
                Ok(Reply::Put(self.put(put, events)?))
            }
            Command::Delete(delete) => Ok(Reply::Delete(self.delete(delete, events))),
            Command::Txn(txn) => {
                if quota::has_put(&txn.success) || quota::has_put(&txn.failure) {
                    self.space(Self::larger(txn))?;
                }
                let before = self.clone();
                // Of two refusals, a write's comes first, wherever it stands.
                let mut unread = None;
                let mut reply = self.txn(txn, &before, events, &mut unread)?;
                if let Some(refusal) = unread {
                    return Err(refusal);
                }
                let after = if events.is_empty() {
                    self.revision
                } else {
                    self.writing
                };
                stamp(&mut reply, after);
                Ok(Reply::Txn(reply))
            }
            Command::Compact { revision } => {
                if revision.0 <= self.compacted {
                    return Err(Refusal::Compacted);
                }
                if revision.0 > self.revision {
                    return Err(Refusal::FutureRevision);
                }
                self.compacted = revision.0;
                self.forget();
                Ok(Reply::Compact)
            }
            Command::LeaseGrant { id, ttl_seconds } => {
                self.space(64)?;
                if id.0 == 0 {
                    return Err(Refusal::LeaseNotFound);
                }
                if self.leases.contains_key(id) {
                    return Err(Refusal::LeaseExists);
                }
                let (id, ttl_seconds) = (*id, *ttl_seconds);
                self.leases.insert(
                    id,
                    LeaseRecord {
                        id,
                        ttl_seconds,
                        remaining_seconds: 0,
                    },
                );
                Ok(Reply::LeaseGrant { id, ttl_seconds })
            }
            Command::LeaseRevoke { id, term } => {
                if !self.leases.contains_key(id) {
                    return Err(Refusal::LeaseNotFound);
                }
                self.term(*term)?;
                for key in self.lease_keys(*id) {
                    let delete = DeleteRequest {
                        keys: KeyRange::single(key),
                        prev_kv: false,
                    };
                    self.delete(&delete, events);
                }
                self.leases.remove(id);
                Ok(Reply::LeaseRevoke)
            }
            Command::LeaseCheckpoint { remaining, term } => {
                self.term(*term)?;
                for (id, seconds) in remaining {
                    if let Some(lease) = self.leases.get_mut(id) {
                        lease.remaining_seconds = (*seconds).max(0);
                    }
                }
                Ok(Reply::LeaseCheckpoint)
            }
            Command::AlarmRaise { member, kind } => {
                let alarm = Alarm {
                    member: *member,
                    kind: *kind,
                };
                if !self.alarms.contains(&alarm) {
                    self.alarms.push(alarm);
                }
                Ok(Reply::Alarm(vec![alarm]))
            }
            Command::AlarmClear { member, kind } => {
                let alarm = Alarm {
                    member: *member,
                    kind: *kind,
                };
                let was = self.alarms.contains(&alarm);
                self.alarms.retain(|other| *other != alarm);
                Ok(Reply::Alarm(if was { vec![alarm] } else { vec![] }))
            }
            Command::MemberPublish { id, .. } => {
                if !self.members.contains(id) {
                    self.members.push(*id);
                }
                Ok(Reply::MemberPublish)
            }
            Command::Members(_) | Command::Auth(_) | Command::As { .. } | Command::Space(_) => {
                unreachable!("not among the commands drawn here")
            }
        }
    }

    fn term(&mut self, term: u64) -> Result<(), Refusal> {
        if term != 0 && term < self.term {
            return Err(Refusal::StaleTerm);
        }
        self.term = self.term.max(term);
        Ok(())
    }

    fn space(&self, cost: usize) -> Result<(), Refusal> {
        let full =
            self.quota_bytes != u64::MAX && self.size_bytes() + cost as u64 >= self.quota_bytes;
        if full
            || self
                .alarms
                .iter()
                .any(|alarm| alarm.kind == AlarmKind::NoSpace)
        {
            return Err(Refusal::NoSpace);
        }
        Ok(())
    }

    fn larger(txn: &TxnRequest) -> usize {
        let cost = |ops: &[TxnOp]| -> usize {
            ops.iter()
                .map(|op| match op {
                    TxnOp::Put(put) => 256 + put.key.len() + put.value.len(),
                    TxnOp::Txn(txn) => Self::larger(txn),
                    _ => 0,
                })
                .sum()
        };
        cost(&txn.success).max(cost(&txn.failure))
    }

    fn put(&mut self, put: &PutRequest, events: &mut Vec<Event>) -> Result<PutReply, Refusal> {
        let prev = self.get(&put.key);
        if (put.ignore_value || put.ignore_lease) && prev.is_none() {
            return Err(Refusal::KeyNotFound);
        }
        if !put.ignore_lease && put.lease.0 != 0 && !self.leases.contains_key(&put.lease) {
            return Err(Refusal::LeaseNotFound);
        }
        let old = prev.clone().unwrap_or_default();
        let modified = Revision(self.writing);
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: if prev.is_some() {
                old.create_revision
            } else {
                modified
            },
            mod_revision: modified,
            version: old.version + 1,
            value: if put.ignore_value {
                old.value
            } else {
                put.value.clone()
            },
            lease: if put.ignore_lease {
                old.lease
            } else {
                put.lease
            },
        };
        self.push(&put.key, Some(kv.clone()));
        events.push(Event {
            kind: EventKind::Put,
            kv,
            prev: prev.clone(),
        });
        Ok(PutReply {
            prev: prev.filter(|_| put.prev_kv),
        })
    }

    fn delete(&mut self, delete: &DeleteRequest, events: &mut Vec<Event>) -> DeleteReply {
        let found = self.pairs(&delete.keys, i64::MAX);
        for prev in &found {
            self.push(&prev.key, None);
            events.push(Event {
                kind: EventKind::Delete,
                kv: gone(&prev.key, self.writing),
                prev: Some(prev.clone()),
            });
        }
        DeleteReply {
            deleted: found.len() as u64,
            prev: if delete.prev_kv { found } else { vec![] },
        }
    }

    fn push(&mut self, key: &Bytes, kv: Option<KeyValue>) {
        self.serial += 1;
        let version = Version {
            modified: self.writing,
            serial: self.serial,
            kv,
        };
        self.keys.entry(key.clone()).or_default().push(version);
    }

    fn txn(
        &mut self,
        txn: &TxnRequest,
        before: &Self,
        events: &mut Vec<Event>,
        unread: &mut Option<Refusal>,
    ) -> Result<TxnReply, Refusal> {
        let succeeded = txn.compare.iter().all(|compare| before.holds(compare));
        let mut replies = Vec::new();
        for op in if succeeded {
            &txn.success
        } else {
            &txn.failure
        } {
            replies.push(match op {
                TxnOp::Range(range) => {
                    let reply = if range.revision.0 < self.compacted.min(0) {
                        Err(Refusal::Compacted)
                    } else {
                        self.range(range)
                    };
                    TxnOpReply::Range(reply.unwrap_or_else(|refusal| {
                        unread.get_or_insert(refusal);
                        RangeReply::default()
                    }))
                }
                TxnOp::Put(put) => TxnOpReply::Put(self.put(put, events)?),
                TxnOp::Delete(delete) => TxnOpReply::Delete(self.delete(delete, events)),
                TxnOp::Txn(txn) => TxnOpReply::Txn(self.txn(txn, before, events, unread)?),
            });
        }
        Ok(TxnReply {
            succeeded,
            replies,
            revision: Revision(0),
        })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found = self.pairs(&compare.keys, i64::MAX);
        let test = |kv: &KeyValue| match &compare.target {
            CompareTarget::Version(n) => relates(compare.relation, &kv.version, n),
            CompareTarget::Create(n) => relates(compare.relation, &kv.create_revision.0, n),
            CompareTarget::Mod(n) => relates(compare.relation, &kv.mod_revision.0, n),
            CompareTarget::Lease(n) => relates(compare.relation, &kv.lease.0, n),
            CompareTarget::Value(value) => relates(compare.relation, &kv.value, value),
        };
        if found.is_empty() {
            return !matches!(compare.target, CompareTarget::Value(_))
                && test(&KeyValue::default());
        }
        found.iter().all(test)
    }

    pub(super) fn range(&self, request: &RangeRequest) -> Result<RangeReply, Refusal> {
        let at = request.revision.0;
        if at > self.revision {
            return Err(Refusal::FutureRevision);
        }
        if at > 0 && at < self.compacted {
            return Err(Refusal::Compacted);
        }
        let mut kvs = self.pairs(&request.keys, if at <= 0 { i64::MAX } else { at });
        let count = kvs.len() as u64;
        if request.count_only {
            return Ok(RangeReply {
                kvs: vec![],
                more: false,
                count,
            });
        }
        let low = |n: i64, min: i64| min == 0 || n >= min;
        let high = |n: i64, max: i64| max == 0 || n <= max;
        kvs.retain(|kv| {
            low(kv.mod_revision.0, request.mod_revision_min)
                && high(kv.mod_revision.0, request.mod_revision_max)
                && low(kv.create_revision.0, request.create_revision_min)
                && high(kv.create_revision.0, request.create_revision_max)
        });
        let filters = [
            request.mod_revision_min,
            request.mod_revision_max,
            request.create_revision_min,
            request.create_revision_max,
        ];
        if request.sort_order == SortOrder::None && request.limit > 0 && filters == [0; 4] {
            kvs.truncate(usize::try_from(request.limit).map_or(usize::MAX, |limit| limit + 1));
        }
        let down = request.sort_order == SortOrder::Descend;
        // Insertion sort, stable either way.
        let mut sorted: Vec<KeyValue> = Vec::new();
        for kv in kvs {
            let before = |other: &KeyValue| {
                let ordering = match request.sort_target {
                    SortTarget::Key => kv.key.cmp(&other.key),
                    SortTarget::Version => kv.version.cmp(&other.version),
                    SortTarget::Create => kv.create_revision.cmp(&other.create_revision),
                    SortTarget::Mod => kv.mod_revision.cmp(&other.mod_revision),
                    SortTarget::Value => kv.value.cmp(&other.value),
                };
                if down {
                    ordering.is_gt()
                } else {
                    ordering.is_lt()
                }
            };
            let position = sorted.iter().position(before).unwrap_or(sorted.len());
            sorted.insert(position, kv);
        }
        let more = request.limit > 0 && sorted.len() as u64 > request.limit;
        if more {
            sorted.truncate(request.limit as usize);
        }
        if request.keys_only {
            sorted.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        Ok(RangeReply {
            kvs: sorted,
            more,
            count,
        })
    }

    fn at(versions: &[Version], revision: i64) -> Option<&KeyValue> {
        versions
            .iter()
            .rev()
            .find(|v| v.modified <= revision)
            .and_then(|v| v.kv.as_ref())
    }

    fn get(&self, key: &Bytes) -> Option<KeyValue> {
        Self::at(self.keys.get(key)?, i64::MAX).cloned()
    }

    pub(super) fn pairs(&self, keys: &KeyRange, revision: i64) -> Vec<KeyValue> {
        self.keys
            .iter()
            .filter(|(key, _)| keys.contains(key))
            .filter_map(|(_, versions)| Self::at(versions, revision).cloned())
            .collect()
    }

    /// Forgets what the compaction put out of reach.
    fn forget(&mut self) {
        let compacted = self.compacted;
        self.keys.retain(|_, versions| {
            let last = versions.iter().rposition(|v| v.modified <= compacted);
            let mut position = 0;
            versions.retain(|v| {
                let value_there = Some(position) == last && v.kv.is_some();
                position += 1;
                v.modified >= compacted || value_there
            });
            !versions.is_empty()
        });
    }

    pub(super) fn events(&self, from: i64, to: i64) -> Result<Vec<Event>, Refusal> {
        if from < self.compacted {
            return Err(Refusal::Compacted);
        }
        let mut found: BTreeMap<usize, Event> = BTreeMap::new();
        for (key, versions) in &self.keys {
            for (i, version) in versions.iter().enumerate() {
                if !(from..=to).contains(&version.modified) {
                    continue;
                }
                let prev = if i > 0 && version.modified > self.compacted {
                    versions[i - 1].kv.clone()
                } else {
                    None
                };
                let event = match &version.kv {
                    Some(kv) => Event {
                        kind: EventKind::Put,
                        kv: kv.clone(),
                        prev,
                    },
                    None => Event {
                        kind: EventKind::Delete,
                        kv: gone(key, version.modified),
                        prev,
                    },
                };
                found.insert(version.serial, event);
            }
        }
        Ok(found.into_values().collect())
    }

    pub(super) fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    pub(super) fn compacted(&self) -> i64 {
        self.compacted.max(0)
    }

    pub(super) fn leases(&self) -> Vec<LeaseRecord> {
        self.leases.values().copied().collect()
    }

    pub(super) fn lease_keys(&self, id: LeaseId) -> Vec<Bytes> {
        let all = KeyRange {
            start: Bytes::new(),
            end: RangeEnd::Open,
        };
        self.pairs(&all, i64::MAX)
            .into_iter()
            .filter(|kv| kv.lease == id)
            .map(|kv| kv.key)
            .collect()
    }

    pub(super) fn alarms(&self) -> Vec<Alarm> {
        let mut alarms = self.alarms.clone();
        alarms.sort();
        alarms
    }

    pub(super) fn versions(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    pub(super) fn size_bytes(&self) -> u64 {
        let versions = self.keys.iter().flat_map(|(key, versions)| {
            versions
                .iter()
                .map(|v| 64 + key.len() + v.kv.as_ref().map_or(0, |kv| kv.value.len()))
        });
        versions.sum::<usize>() as u64 + 64 * self.leases.len() as u64
    }
}

fn gone(key: &Bytes, revision: i64) -> KeyValue {
    KeyValue {
        key: key.clone(),
        mod_revision: Revision(revision),
        ..KeyValue::default()
    }
}

fn relates<T: Ord>(relation: Relation, stored: &T, given: &T) -> bool {
    match relation {
        Relation::Equal => stored == given,
        Relation::NotEqual => stored != given,
        Relation::Greater => stored > given,
        Relation::Less => stored < given,
    }
}

fn stamp(reply: &mut TxnReply, revision: i64) {
    reply.revision = Revision(revision);
    for reply in &mut reply.replies {
        if let TxnOpReply::Txn(nested) = reply {
            stamp(nested, revision);
        }
    }
}
