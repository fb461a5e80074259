//! Everything a machine answers, as text that two machines can be compared by.

use bytes::Bytes;

use crate::error::Refusal;
use crate::reply::Event;
use crate::request::{KeyRange, RangeEnd, RangeRequest};
use crate::revision::Revision;
use crate::{AuditStep, Machine};

/// Everything that can be asked of a machine.
pub(crate) fn dump(machine: &Machine) -> String {
    let mut out = format!(
        "{} {} {} {:?} {:?} {:?} size {} in use {} keys {}\n",
        machine.applied(),
        machine.revision(),
        machine.compacted(),
        machine.leases(),
        machine.alarms(),
        machine.members(),
        machine.size_bytes(),
        machine.size_in_use_bytes(),
        machine.keys(),
    );
    for lease in machine.leases() {
        out += &format!("{} {:?}\n", lease.id, machine.lease_keys(lease.id));
    }
    let mut machine = machine.clone();
    machine.alarms = Default::default();
    let all = KeyRange {
        start: Bytes::new(),
        end: RangeEnd::Open,
    };
    for revision in machine.compacted().0..=machine.revision().0 {
        let mut request = RangeRequest::latest(all.clone());
        request.revision = Revision(revision);
        out += &format!("{revision} {:?}\n", machine.range(&request));
        out += &format!("{:?}\n", machine.hash_kv(Revision(revision)));
    }
    out += &format!("{:?}\n", events(&machine, machine.compacted().0, i64::MAX));
    out += &format!("{} {:?}\n", machine.rest_checksum(), audit(&machine));
    out
}

/// All events of a range of revisions; checks that they come in whole revisions, in order.
pub(crate) fn events(machine: &Machine, from: i64, to: i64) -> Result<Vec<Event>, Refusal> {
    let mut all = Vec::new();
    let mut last = Revision(0);
    machine.events(Revision(from), Revision(to), &mut |revision, events| {
        assert!(revision > last && !events.is_empty());
        assert!(events.iter().all(|event| event.kv.mod_revision == revision));
        last = revision;
        all.extend_from_slice(events);
        true
    })?;
    Ok(all)
}

/// The sums of an audit of everything, in slices.
pub(crate) fn audit(machine: &Machine) -> Vec<u64> {
    let mut audit = machine.audit_begin(Revision::FIRST, machine.revision());
    loop {
        match machine.audit(&mut audit, 3, 100) {
            AuditStep::Going => {}
            AuditStep::Done(sums) => return sums,
            AuditStep::Compacted => panic!("nothing was compacted"),
        }
    }
}
