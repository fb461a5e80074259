//! State machine safety: no two members apply different entries at the same index (Raft paper, figure
//! 3), and the same entries give the same state (determinism; etcd issue 18667 is what happens
//! otherwise). The model, a dumb twin of the machine, must agree with both.

use std::collections::BTreeMap;

use store_machine::Machine;
use store_machine::request::RangeRequest;
use store_machine::revision::Revision;

use crate::host::Slot;
use crate::model::{Members, all};
use crate::promises::{Canon, Check, broken};

/// Everything of a state that two members must have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Digest {
    revision: i64,
    compacted: i64,
    keys: u64,
    size_bytes: u64,
    size_in_use_bytes: u64,
    hash: Option<u32>,
    /// Id, time to live and remainder of each lease, and its keys.
    leases: Vec<(i64, i64, i64, usize)>,
}

/// States by the index at which they were looked at.
#[derive(Debug, Default)]
pub(crate) struct States {
    digests: BTreeMap<u64, (u64, Digest)>,
}

/// A member has applied `slot` at `index`, which is in the canon.
pub(crate) fn same_entry(canon: &Canon, member: u64, index: u64, slot: Option<&Slot>) -> Check {
    if canon.slot(index) == slot {
        return Ok(());
    }
    let term = |slot: Option<&Slot>| slot.map(|slot| slot.term);
    broken(
        "state machine safety",
        format!(
            "member {member} applied entry {index} of term {:?}, others one of term {:?}",
            term(slot),
            term(canon.slot(index))
        ),
    )
}

/// Cheap enough for every turn: revision and compaction.
pub(crate) fn same_point(canon: &Canon, member: u64, machine: &Machine) -> Check {
    let index = machine.applied().0;
    let point = canon.point(index);
    let found = (machine.revision().0, machine.compacted().0);
    if found == (point.revision, point.compacted) {
        return Ok(());
    }
    broken(
        "state machine safety",
        format!(
            "member {member} is at revision and compaction {found:?} after entry {index}, the model at {point:?}"
        ),
    )
}

impl States {
    /// Compares a state with those of others at the same index, and with the model.
    pub(crate) fn look(
        &mut self,
        canon: &Canon,
        members: &Members,
        member: u64,
        machine: &Machine,
    ) -> Check {
        let index = machine.applied().0;
        let same = machine.members() == members.list()
            && members.removed.iter().all(|id| machine.is_removed(*id));
        // One that joins knows nobody yet.
        if !same && index > 0 {
            return broken(
                "same state at same index",
                format!(
                    "after entry {index} member {member} knows {:?}, the model {members:?}",
                    machine.members()
                ),
            );
        }
        let digest = digest(machine);
        let (other, first) = self
            .digests
            .entry(index)
            .or_insert_with(|| (member, digest.clone()));
        if *first != digest {
            return broken(
                "same state at same index",
                format!(
                    "after entry {index} member {member} is at {digest:?}, member {other} at {first:?}"
                ),
            );
        }
        let found = machine.range(&RangeRequest::latest(all()));
        let expected = canon.model.everything(machine.revision().0);
        match found {
            Ok(reply) if reply.kvs == expected => Ok(()),
            found => broken(
                "same state at same index",
                format!(
                    "after entry {index} member {member} holds {found:?}, the model {expected:?}"
                ),
            ),
        }
    }
}

fn digest(machine: &Machine) -> Digest {
    let leases = machine.leases().into_iter().map(|lease| {
        let keys = machine.lease_keys(lease.id).len();
        (lease.id.0, lease.ttl_seconds, lease.remaining_seconds, keys)
    });
    Digest {
        revision: machine.revision().0,
        compacted: machine.compacted().0,
        keys: machine.keys(),
        size_bytes: machine.size_bytes(),
        size_in_use_bytes: machine.size_in_use_bytes(),
        hash: machine.hash_kv(Revision(0)).ok().map(|hash| hash.0),
        leases: leases.collect(),
    }
}

#[cfg(test)]
mod tests;
