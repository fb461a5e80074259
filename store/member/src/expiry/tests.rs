//! The schedule against a dumb twin that looks at every lease each time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::input::Token;

#[derive(Clone, Debug)]
enum Step {
    Grant(i64, i64),
    Renew(i64),
    Revoke(i64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..6i64, 1..20i64).prop_map(|(id, ttl)| Step::Grant(id, ttl)),
        (1..6i64).prop_map(Step::Renew),
        (1..6i64).prop_map(Step::Revoke),
        (0..8_000u64).prop_map(Step::Pass),
    ]
}

/// All that is needed when speed does not matter.
#[derive(Default)]
struct Twin {
    /// Time to live, end, revoke under way.
    leases: BTreeMap<LeaseId, (i64, Moment, bool)>,
}

impl Twin {
    fn due(&mut self, now: Moment) -> Vec<LeaseId> {
        let mut due = Vec::new();
        for (&id, (_, ends, revoking)) in &mut self.leases {
            if *ends <= now && !*revoking {
                *revoking = true;
                due.push(id);
            }
        }
        due
    }
}

proptest! {
    #[test]
    fn ends_what_the_twin_ends(steps in prop::collection::vec(step(), 1..60)) {
        let mut now = Moment(1_000);
        let mut expiry = Expiry::default();
        expiry.start(now, Vec::new(), 1_000);
        let mut twin = Twin::default();
        for step in steps {
            match step {
                Step::Grant(id, ttl) => {
                    let id = LeaseId(id);
                    if twin.leases.contains_key(&id) {
                        continue;
                    }
                    expiry.granted(now, id, ttl);
                    let ends = now.plus_ms(1_000 * ttl.cast_unsigned());
                    twin.leases.insert(id, (ttl, ends, false));
                }
                Step::Renew(id) => {
                    let id = LeaseId(id);
                    let expected = match twin.leases.get_mut(&id) {
                        None => Renewal::Unknown,
                        Some((_, ends, revoking)) if *revoking || *ends <= now => Renewal::Waits,
                        Some((ttl, ends, _)) => {
                            *ends = now.plus_ms(1_000 * ttl.cast_unsigned());
                            Renewal::Renewed(*ttl)
                        }
                    };
                    prop_assert_eq!(expiry.renew(now, id, Asker::Client(Token(1)), Moment::NEVER), expected);
                }
                Step::Revoke(id) => {
                    expiry.revoked(LeaseId(id));
                    twin.leases.remove(&LeaseId(id));
                }
                Step::Pass(ms) => now = now.plus_ms(ms),
            }
            let expected = twin.due(now);
            prop_assert!(expected.is_empty() || expiry.next_deadline() <= now);
            let mut due = Vec::new();
            expiry.due(now, |id| due.push(id));
            due.sort_unstable();
            prop_assert_eq!(due, expected);
            for (&id, &(_, ends, _)) in &twin.leases {
                prop_assert_eq!(expiry.left_ms(now, id), Some(ends.ms_since(now)));
            }
        }
    }
}

#[test]
fn revokes_under_way_are_bounded_and_go_on() {
    let mut expiry = Expiry::default();
    expiry.start(Moment(0), Vec::new(), 1_000);
    let count = REVOKES_IN_FLIGHT_MAX + 10;
    for id in 1..=count {
        expiry.granted(Moment(0), LeaseId(i64::try_from(id).unwrap()), 1);
    }
    let now = Moment(1_000);
    let mut due = Vec::new();
    expiry.due(now, |id| due.push(id));
    assert_eq!(due.len(), REVOKES_IN_FLIGHT_MAX);
    assert!(expiry.next_deadline() > now, "must not spin");
    for &id in &due[..4] {
        expiry.revoked(id);
    }
    assert!(expiry.next_deadline() <= now);
    let mut more = 0;
    expiry.due(now, |_| more += 1);
    assert_eq!(more, 4);
}

#[test]
fn a_revoke_that_was_refused_is_tried_again() {
    let mut expiry = Expiry::default();
    expiry.start(Moment(0), Vec::new(), 1_000);
    let due = |expiry: &mut Expiry, now| {
        let mut due = Vec::new();
        expiry.due(now, |id| due.push(id));
        due
    };
    let id = LeaseId(1);
    expiry.granted(Moment(0), id, 10);
    assert_eq!(due(&mut expiry, Moment(10_000)), [id]);
    assert_eq!(due(&mut expiry, Moment(60_000)), [], "it is under way");
    expiry.refused(Moment(60_000), id);
    assert_eq!(due(&mut expiry, Moment(60_000 + REVOKE_AGAIN_MS - 1)), []);
    assert_eq!(due(&mut expiry, Moment(60_000 + REVOKE_AGAIN_MS)), [id]);
    // Another's refusal changes nothing of one that is not under way.
    let other = LeaseId(2);
    expiry.granted(Moment(60_000), other, 10);
    expiry.refused(Moment(60_000), other);
    assert_eq!(due(&mut expiry, Moment(69_999)), []);
    assert_eq!(due(&mut expiry, Moment(70_000)), [other]);
}

#[test]
fn checkpoints_hold_long_leases_that_have_run_for_a_while() {
    let hour = 3_600;
    let mut expiry = Expiry::default();
    expiry.start(Moment(0), Vec::new(), 1_000);
    expiry.granted(Moment(0), LeaseId(1), hour);
    expiry.granted(Moment(0), LeaseId(2), 60);
    expiry.granted(Moment(0), LeaseId(3), hour);
    let now = Moment(CHECKPOINT_AGE_MS);
    let renewed = expiry.renew(
        Moment(now.0 - 1),
        LeaseId(3),
        Asker::Client(Token(1)),
        Moment::NEVER,
    );
    assert_eq!(renewed, Renewal::Renewed(hour));
    let mut recorded = Vec::new();
    expiry.due_checkpoint(now, |remaining| recorded.extend(remaining));
    assert_eq!(recorded, [(LeaseId(1), hour - 300)]);
    // A renewal must take it back before it counts, even if it is not recorded yet.
    let renewal = expiry.renew(now, LeaseId(1), Asker::Client(Token(2)), Moment::NEVER);
    assert_eq!(renewal, Renewal::WaitsForReset);
    let renewal = expiry.renew(now, LeaseId(1), Asker::Client(Token(3)), Moment::NEVER);
    assert_eq!(renewal, Renewal::Waits);
    assert_eq!(expiry.checkpointed(now, LeaseId(1), hour - 300).0, []);
    let (told, ttl) = expiry.checkpointed(now, LeaseId(1), 0);
    assert_eq!(
        (told, ttl),
        (vec![Asker::Client(Token(2)), Asker::Client(Token(3))], hour)
    );
}

#[test]
fn a_short_lease_is_recorded_from_half_its_time_on_and_not_too_often() {
    let mut expiry = Expiry::default();
    expiry.start(Moment(0), Vec::new(), 1_000);
    expiry.granted(Moment(0), LeaseId(1), 160);
    expiry.granted(Moment(0), LeaseId(2), 160);
    let mut recorded = Vec::new();
    for second in 0..160 {
        let now = Moment(second * 1_000);
        if second % 50 == 0 {
            // As clients do it: a third of the time to live.
            expiry.renew(now, LeaseId(2), Asker::Client(Token(1)), Moment::NEVER);
        }
        expiry.due_checkpoint(now, |remaining| recorded.extend(remaining));
    }
    let expected = [80, 60, 40, 20].map(|left| (LeaseId(1), left));
    assert_eq!(recorded, expected);
}
