//! Clients: what they ask, whom, and how long they wait. Each has one request under way at a time and
//! talks to a member until that one fails it.

use bytes::Bytes;
use store_machine::command::Command;
use store_machine::request::{
    Compare, CompareTarget, DeleteRequest, KeyRange, PutRequest, RangeEnd, RangeRequest, Relation,
    TxnOp, TxnRequest,
};
use store_machine::revision::{LeaseId, Revision};
use store_member::answer::Consistency;

use crate::chance::Chance;
use crate::history::{History, OpId, What};
use crate::model::all;
use crate::plan::Plan;

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    /// The member it talks to.
    pub(crate) host: usize,
    pub(crate) waits_for: Option<OpId>,
    /// Its lease, once granted.
    pub(crate) lease: Option<LeaseId>,
}

/// What all clients share: counters that make each write different from all others.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    leases: i64,
    compacted: i64,
}

impl Workload {
    /// What a client asks next. `revision` is the highest any client knows of.
    pub(crate) fn next(
        &mut self,
        plan: &Plan,
        chance: &mut Chance,
        history: &History,
        client: &mut Client,
        revision: i64,
    ) -> What {
        let number = history.ops.len();
        let key = key(chance.below(plan.keys));
        let consistency = if chance.once_in(4) {
            Consistency::Serializable
        } else {
            Consistency::Linearizable
        };
        match chance.below(100) {
            0..36 => {
                let lease = client.lease.filter(|_| chance.once_in(3));
                What::Write(Command::Put(put(
                    plan,
                    key,
                    number,
                    lease,
                    chance.once_in(4),
                )))
            }
            36..44 => What::Write(Command::Delete(delete(key, number, chance.once_in(2)))),
            44..54 => What::Write(Command::Txn(write_txn(plan, chance, key, number, revision))),
            54..60 => What::Txn(read_txn(chance, key, revision), consistency),
            60..80 => What::Range(range(chance, key, revision), consistency),
            80..84 => {
                let wanted = revision - i64::try_from(chance.below(30)).unwrap_or(0);
                if wanted <= self.compacted {
                    return What::Range(RangeRequest::latest(all()), consistency);
                }
                self.compacted = wanted;
                What::Write(Command::Compact {
                    revision: Revision(wanted),
                })
            }
            _ => self.lease(plan, chance, client),
        }
    }

    fn lease(&mut self, plan: &Plan, chance: &mut Chance, client: &mut Client) -> What {
        match client.lease {
            Some(id) if chance.once_in(12) => {
                client.lease = None;
                What::Write(Command::LeaseRevoke { id, term: 0 })
            }
            Some(id) if !chance.once_in(12) => What::KeepAlive(id),
            _ => {
                let (shortest, longest) = plan.ttl_seconds;
                let span = (longest - shortest + 1).unsigned_abs();
                self.leases += 1;
                let id = LeaseId(self.leases);
                client.lease = Some(id);
                What::Write(Command::LeaseGrant {
                    id,
                    ttl_seconds: shortest + i64::try_from(chance.below(span)).unwrap_or(0),
                })
            }
        }
    }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("k{number}"))
}

fn put(
    plan: &Plan,
    key: Bytes,
    number: usize,
    lease: Option<LeaseId>,
    prev_kv: bool,
) -> PutRequest {
    PutRequest {
        key,
        value: Bytes::from(format!("{number:0width$}", width = plan.value_bytes)),
        lease: lease.unwrap_or(LeaseId::NONE),
        prev_kv,
        ignore_value: false,
        ignore_lease: false,
    }
}

/// Deletes one key by a range that no other delete has: its end names the operation and sorts before
/// every other key.
fn delete(key: Bytes, number: usize, prev_kv: bool) -> DeleteRequest {
    let mut end = key.to_vec();
    end.push(0);
    end.extend_from_slice(number.to_string().as_bytes());
    DeleteRequest {
        keys: KeyRange {
            start: key,
            end: RangeEnd::Before(Bytes::from(end)),
        },
        prev_kv,
    }
}

fn compare(chance: &mut Chance, key: Bytes, revision: i64) -> Compare {
    let target = match chance.below(4) {
        0 => CompareTarget::Version(0),
        1 => CompareTarget::Create(revision),
        2 => CompareTarget::Lease(0),
        _ => CompareTarget::Mod(revision - 3),
    };
    let relations = [
        Relation::Equal,
        Relation::NotEqual,
        Relation::Greater,
        Relation::Less,
    ];
    Compare {
        keys: KeyRange::single(key),
        relation: relations[chance.place(4)],
        target,
    }
}

fn write_txn(
    plan: &Plan,
    chance: &mut Chance,
    key: Bytes,
    number: usize,
    revision: i64,
) -> TxnRequest {
    let other = Bytes::from_static(b"k0");
    let mut success = vec![TxnOp::Put(put(
        plan,
        key.clone(),
        number,
        None,
        chance.once_in(3),
    ))];
    if other != key {
        // Two keys in one revision, so that watchers can be shown half of it.
        success.push(TxnOp::Put(put(plan, other, number, None, false)));
    }
    success.push(TxnOp::Range(RangeRequest::latest(all())));
    let failure = if chance.once_in(2) {
        vec![TxnOp::Delete(delete(key.clone(), number, true))]
    } else {
        vec![TxnOp::Put(put(plan, key.clone(), number, None, false))]
    };
    TxnRequest {
        compare: vec![compare(chance, key, revision)],
        success,
        failure,
    }
}

fn read_txn(chance: &mut Chance, key: Bytes, revision: i64) -> TxnRequest {
    let one = TxnOp::Range(RangeRequest::latest(KeyRange::single(key.clone())));
    TxnRequest {
        compare: vec![compare(chance, key, revision)],
        success: vec![one.clone(), TxnOp::Range(RangeRequest::latest(all()))],
        failure: vec![one],
    }
}

fn range(chance: &mut Chance, key: Bytes, revision: i64) -> RangeRequest {
    let keys = if chance.once_in(3) {
        all()
    } else {
        KeyRange::single(key)
    };
    let mut range = RangeRequest::latest(keys);
    if chance.once_in(6) {
        let back = i64::try_from(chance.below(20)).unwrap_or(0);
        range.revision = Revision((revision + 2 - back).max(1));
    }
    if chance.once_in(6) {
        range.limit = 2;
    }
    range
}
