//! Random commands on the machine and its dumb twin, then every question to both.

use bytes::Bytes;
use proptest::prelude::*;

use super::dump::{dump, events};
use super::strategies::{command, range};
use super::twin::Twin;
use crate::request::{KeyRange, RangeEnd, RangeRequest};
use crate::revision::{Index, Revision};
use crate::{Limits, Machine};

fn compare_all(machine: &Machine, twin: &Twin) {
    assert_eq!(machine.revision(), twin.revision());
    assert_eq!(machine.compacted().0, twin.compacted());
    assert_eq!(machine.leases(), twin.leases());
    assert_eq!(machine.alarms(), twin.alarms());
    assert_eq!(machine.size_bytes(), twin.size_bytes());
    for lease in machine.leases() {
        assert_eq!(machine.lease_keys(lease.id), twin.lease_keys(lease.id));
    }
    let mut machine = machine.clone();
    machine.alarms = Default::default();
    let all = KeyRange {
        start: Bytes::new(),
        end: RangeEnd::Open,
    };
    assert_eq!(machine.keys(), twin.pairs(&all, i64::MAX).len() as u64);
    for revision in -1..=machine.revision().0 + 1 {
        let mut request = RangeRequest::latest(all.clone());
        request.revision = Revision(revision);
        assert_eq!(
            machine.range(&request),
            twin.range(&request),
            "at {revision}"
        );
        assert_eq!(
            events(&machine, revision, i64::MAX),
            twin.events(revision, i64::MAX)
        );
        assert_eq!(
            events(&machine, revision, revision + 3),
            twin.events(revision, revision + 3)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn the_machine_equals_its_twin(
        commands in prop::collection::vec((command(), 0usize..6), 1..120),
        ranges in prop::collection::vec(range(), 20),
        quota_bytes in prop_oneof![3 => Just(u64::MAX), 1 => 1000u64..6000],
    ) {
        let mut machine = Machine::new(Limits { quota_bytes });
        let mut twin = Twin::new(quota_bytes);
        // A member that has scrubbed nothing must give the same answers all the same.
        let mut lazy = Machine::new(Limits { quota_bytes });
        for (index, (command, scrub)) in commands.iter().enumerate() {
            let index = Index(index as u64 + 1);
            let before = machine.clone();
            let applied = machine.apply(index, command.clone());
            prop_assert_eq!(&applied, &twin.apply(command), "{:?}", command);
            prop_assert_eq!(&applied, &lazy.apply(index, command.clone()));
            prop_assert_eq!(machine.size_bytes(), twin.size_bytes());
            if applied.reply.is_err() {
                let mut passed = before;
                passed.pass(index);
                prop_assert_eq!(dump(&passed), dump(&machine), "{:?}", command);
            }
            if *scrub > 0 {
                machine.scrub(*scrub);
            }
        }
        compare_all(&machine, &twin);
        prop_assert_eq!(dump(&machine), dump(&lazy));
        while !machine.scrub(3) {}
        prop_assert_eq!(machine.keyspace.versions(), twin.versions());
        compare_all(&machine, &twin);
        prop_assert_eq!(dump(&machine), dump(&lazy));
        machine.alarms = Default::default();
        for request in &ranges {
            prop_assert_eq!(machine.range(request), twin.range(request), "{:?}", request);
        }
    }
}
