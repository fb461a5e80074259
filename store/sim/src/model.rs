//! The store in a few lines: what the machine must answer, written a second time and as plainly as
//! possible. It forgets nothing, so that any revision can be looked at.
//!
//! Knows only what the workload asks for: no nested transactions, no sorting, no quota.

mod members;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use store_machine::alarm::{Alarm, AlarmKind};
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::reply::{
    DeleteReply, Event, EventKind, KeyValue, PutReply, RangeReply, Reply, TxnOpReply, TxnReply,
};
use store_machine::request::{
    Compare, CompareTarget, DeleteRequest, KeyRange, PutRequest, RangeEnd, RangeRequest, Relation,
    TxnOp, TxnRequest,
};
use store_machine::revision::{LeaseId, Revision};

pub(crate) use members::Members;

/// Pair from a revision on; `None` = deleted there.
type Version = (i64, Option<KeyValue>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Model {
    keys: BTreeMap<Bytes, Vec<Version>>,
    revision: i64,
    /// -1 before the first compaction.
    compacted: i64,
    /// Of revision 2 first.
    events: Vec<Vec<Event>>,
    leases: BTreeMap<LeaseId, i64>,
    lease_term: u64,
    alarms: BTreeSet<Alarm>,
    pub(crate) members: Members,
}

impl Model {
    pub(crate) const fn new(members: Members) -> Self {
        Self {
            members,
            keys: BTreeMap::new(),
            revision: 1,
            compacted: -1,
            events: Vec::new(),
            leases: BTreeMap::new(),
            lease_term: 0,
            alarms: BTreeSet::new(),
        }
    }

    pub(crate) const fn revision(&self) -> i64 {
        self.revision
    }

    /// Last compaction; 0 before the first.
    pub(crate) fn compacted(&self) -> i64 {
        self.compacted.max(0)
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = LeaseId> + '_ {
        self.leases.keys().copied()
    }

    /// Events of a revision; empty for those before the first write.
    pub(crate) fn events(&self, revision: i64) -> &[Event] {
        let place = usize::try_from(revision - 2).ok();
        place
            .and_then(|at| self.events.get(at))
            .map_or(&[], |events| events)
    }

    /// Applies a command; the reply and the revision after it.
    pub(crate) fn apply(&mut self, command: &Command) -> (Result<Reply, Refusal>, i64) {
        let mut events = Vec::new();
        let reply = self.run(command, &mut events);
        if !events.is_empty() {
            self.revision += 1;
            self.events.push(events);
        }
        (reply, self.revision)
    }

    fn run(&mut self, command: &Command, events: &mut Vec<Event>) -> Result<Reply, Refusal> {
        match command {
            Command::Put(put) => {
                self.may_grow()?;
                self.may_attach(put.lease)?;
                Ok(Reply::Put(self.put(put, events)))
            }
            Command::Delete(delete) => Ok(Reply::Delete(self.delete(delete, events))),
            Command::Txn(txn) => self.txn(txn, events).map(Reply::Txn),
            Command::Compact { revision } => {
                if revision.0 <= self.compacted {
                    return Err(Refusal::Compacted);
                }
                if revision.0 > self.revision {
                    return Err(Refusal::FutureRevision);
                }
                self.compacted = revision.0;
                Ok(Reply::Compact)
            }
            Command::LeaseGrant { id, ttl_seconds } => {
                self.may_grow()?;
                if self.leases.contains_key(id) {
                    return Err(Refusal::LeaseExists);
                }
                self.leases.insert(*id, *ttl_seconds);
                Ok(Reply::LeaseGrant {
                    id: *id,
                    ttl_seconds: *ttl_seconds,
                })
            }
            Command::LeaseRevoke { id, term } => {
                if !self.leases.contains_key(id) {
                    return Err(Refusal::LeaseNotFound);
                }
                self.check_term(*term)?;
                for pair in self.pairs(&all(), self.revision) {
                    if pair.lease == *id {
                        let keys = KeyRange::single(pair.key);
                        let prev_kv = false;
                        self.delete(&DeleteRequest { keys, prev_kv }, events);
                    }
                }
                self.leases.remove(id);
                Ok(Reply::LeaseRevoke)
            }
            Command::LeaseCheckpoint { term, .. } => {
                self.check_term(*term)?;
                Ok(Reply::LeaseCheckpoint)
            }
            Command::AlarmRaise { member, kind } => {
                let alarm = Alarm {
                    member: *member,
                    kind: *kind,
                };
                self.alarms.insert(alarm);
                Ok(Reply::Alarm(vec![alarm]))
            }
            Command::AlarmClear { member, kind } => {
                let alarm = Alarm {
                    member: *member,
                    kind: *kind,
                };
                let cleared = self.alarms.remove(&alarm);
                Ok(Reply::Alarm(cleared.then_some(alarm).into_iter().collect()))
            }
            // Without a quota there is nothing to decide.
            Command::Space(_) => Ok(Reply::Alarm(self.alarms.iter().copied().collect())),
            Command::MemberPublish {
                id,
                name,
                client_urls,
            } => {
                self.members.publish(*id, name, client_urls)?;
                Ok(Reply::MemberPublish)
            }
            Command::Members(change) => {
                self.members.change(change)?;
                Ok(Reply::Members(self.members.list()))
            }
            // Nobody logs in there.
            Command::As { command, .. } => self.run(command, events),
            Command::Auth(_) => Ok(Reply::Auth),
        }
    }

    fn may_grow(&self) -> Result<(), Refusal> {
        let full = self.alarms.iter().any(|a| a.kind == AlarmKind::NoSpace);
        if full { Err(Refusal::NoSpace) } else { Ok(()) }
    }

    fn may_attach(&self, lease: LeaseId) -> Result<(), Refusal> {
        if lease == LeaseId::NONE || self.leases.contains_key(&lease) {
            Ok(())
        } else {
            Err(Refusal::LeaseNotFound)
        }
    }

    fn check_term(&mut self, term: u64) -> Result<(), Refusal> {
        if term != 0 && term < self.lease_term {
            return Err(Refusal::StaleTerm);
        }
        self.lease_term = self.lease_term.max(term);
        Ok(())
    }

    /// The pair of a key as of a revision.
    fn pair(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let versions = self.keys.get(key)?;
        let below = versions.partition_point(|(at, _)| *at <= revision);
        versions.get(below.checked_sub(1)?)?.1.as_ref()
    }

    fn pairs(&self, keys: &KeyRange, revision: i64) -> Vec<KeyValue> {
        if keys.end == RangeEnd::Single {
            return self
                .pair(&keys.start, revision)
                .cloned()
                .into_iter()
                .collect();
        }
        let from = self.keys.range(keys.start.clone()..);
        let inside = from.take_while(|(key, _)| keys.contains(key));
        inside
            .filter_map(|(key, _)| self.pair(key, revision).cloned())
            .collect()
    }

    fn put(&mut self, put: &PutRequest, events: &mut Vec<Event>) -> PutReply {
        let at = self.revision + 1;
        let prev = self.pair(&put.key, at).cloned();
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: prev
                .as_ref()
                .map_or(Revision(at), |prev| prev.create_revision),
            mod_revision: Revision(at),
            version: prev.as_ref().map_or(1, |prev| prev.version + 1),
            value: put.value.clone(),
            lease: put.lease,
        };
        let versions = self.keys.entry(put.key.clone()).or_default();
        versions.push((at, Some(kv.clone())));
        events.push(Event {
            kind: EventKind::Put,
            kv,
            prev: prev.clone(),
        });
        PutReply {
            prev: prev.filter(|_| put.prev_kv),
        }
    }

    fn delete(&mut self, delete: &DeleteRequest, events: &mut Vec<Event>) -> DeleteReply {
        let at = self.revision + 1;
        let found = self.pairs(&delete.keys, at);
        for prev in &found {
            if let Some(versions) = self.keys.get_mut(&prev.key) {
                versions.push((at, None));
            }
            events.push(Event {
                kind: EventKind::Delete,
                kv: KeyValue {
                    key: prev.key.clone(),
                    mod_revision: Revision(at),
                    ..KeyValue::default()
                },
                prev: Some(prev.clone()),
            });
        }
        DeleteReply {
            deleted: found.len() as u64,
            prev: if delete.prev_kv { found } else { Vec::new() },
        }
    }

    /// Whether all compares of a transaction hold at a revision.
    fn holds(&self, txn: &TxnRequest, revision: i64) -> bool {
        let holds = |compare: &Compare| {
            let found = self.pairs(&compare.keys, revision);
            let missing = KeyValue::default();
            let stored = found.first().unwrap_or(&missing);
            let order = match &compare.target {
                CompareTarget::Version(given) => stored.version.cmp(given),
                CompareTarget::Create(given) => stored.create_revision.0.cmp(given),
                CompareTarget::Mod(given) => stored.mod_revision.0.cmp(given),
                CompareTarget::Lease(given) => stored.lease.0.cmp(given),
                CompareTarget::Value(_) if found.is_empty() => return false,
                CompareTarget::Value(given) => stored.value.cmp(given),
            };
            match compare.relation {
                Relation::Equal => order.is_eq(),
                Relation::Greater => order.is_gt(),
                Relation::Less => order.is_lt(),
                Relation::NotEqual => order.is_ne(),
            }
        };
        txn.compare.iter().all(holds)
    }

    fn txn(&mut self, txn: &TxnRequest, events: &mut Vec<Event>) -> Result<TxnReply, Refusal> {
        let puts = |ops: &[TxnOp]| ops.iter().any(|op| matches!(op, TxnOp::Put(_)));
        if puts(&txn.success) || puts(&txn.failure) {
            self.may_grow()?;
        }
        let succeeded = self.holds(txn, self.revision);
        let ops = if succeeded {
            &txn.success
        } else {
            &txn.failure
        };
        for op in ops {
            if let TxnOp::Put(put) = op {
                self.may_attach(put.lease)?;
            }
        }
        let mut replies = Vec::new();
        for op in ops {
            replies.push(match op {
                TxnOp::Put(put) => TxnOpReply::Put(self.put(put, events)),
                TxnOp::Delete(delete) => TxnOpReply::Delete(self.delete(delete, events)),
                TxnOp::Range(range) => {
                    TxnOpReply::Range(answer(range, self.pairs(&range.keys, self.revision + 1)))
                }
                TxnOp::Txn(_) => unreachable!("the workload nests no transactions"),
            });
        }
        Ok(TxnReply {
            succeeded,
            replies,
            revision: Revision(self.revision + i64::from(!events.is_empty())),
        })
    }

    /// What a range is answered by a member at `revision` that knows of a compaction at `compacted`.
    pub(crate) fn range(
        &self,
        range: &RangeRequest,
        revision: i64,
        compacted: i64,
    ) -> Result<RangeReply, Refusal> {
        let at = if range.revision.0 <= 0 {
            revision
        } else {
            range.revision.0
        };
        if at > revision {
            return Err(Refusal::FutureRevision);
        }
        if at < compacted {
            return Err(Refusal::Compacted);
        }
        Ok(answer(range, self.pairs(&range.keys, at)))
    }

    /// What a transaction without writes is answered by a member at `revision`.
    pub(crate) fn read_txn(&self, txn: &TxnRequest, revision: i64) -> TxnReply {
        let succeeded = self.holds(txn, revision);
        let ops = if succeeded {
            &txn.success
        } else {
            &txn.failure
        };
        let replies = ops.iter().filter_map(|op| match op {
            TxnOp::Range(range) => Some(TxnOpReply::Range(answer(
                range,
                self.pairs(&range.keys, revision),
            ))),
            _ => None,
        });
        TxnReply {
            succeeded,
            replies: replies.collect(),
            revision: Revision(revision),
        }
    }

    /// Every pair at a revision.
    pub(crate) fn everything(&self, revision: i64) -> Vec<KeyValue> {
        self.pairs(&all(), revision)
    }
}

/// Every key there can be.
pub(crate) const fn all() -> KeyRange {
    KeyRange {
        start: Bytes::from_static(b"\0"),
        end: RangeEnd::Open,
    }
}

fn answer(range: &RangeRequest, mut kvs: Vec<KeyValue>) -> RangeReply {
    let count = kvs.len() as u64;
    let limit = usize::try_from(range.limit).unwrap_or(usize::MAX);
    let more = limit > 0 && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    if range.count_only {
        // Nothing is cut where nothing is listed.
        return RangeReply {
            kvs: Vec::new(),
            more: false,
            count,
        };
    }
    RangeReply { kvs, more, count }
}
