//! The life of a cluster of one.

use store_machine::reply::Reply;
use store_member::answer::{Body, Consistency, Failure};
use store_member::effects::Notice;
use store_member::input::{Input, Read};

use crate::world::{World, put, range, value_of};

#[test]
fn leads_at_once_and_serves_after_one_sync() {
    let mut world = World::new(1, |_| {});
    let effects = world.start(1);
    assert_eq!(effects.notices, [Notice::Leads { term: 2 }]);
    assert_eq!(
        effects.appends.len(),
        1,
        "vote and first entry in one append"
    );
    assert!(effects.appends[0].vote.is_some());
    assert!(!world.member(1).ready());
    world.sync(1);
    assert!(world.member(1).ready());
}

#[test]
fn nothing_is_answered_before_its_sync() {
    let mut world = World::started(1);
    world.calm();
    let token = world.propose(1, put("a", "1"));
    for _ in 0..3 {
        world.turn(1);
        assert!(world.outcome(token).is_none());
    }
    world.sync(1);
    assert!(matches!(
        world.outcome(token),
        Some(Ok(Body::Applied(Reply::Put(_))))
    ));
}

#[test]
fn a_read_sees_what_is_acknowledged_and_nothing_else() {
    let mut world = World::started(1);
    world.calm();
    let write = world.propose(1, put("a", "1"));
    let before = world.read(1, Read::Range(range("a")), Consistency::Linearizable);
    assert_eq!(value_of(world.outcome(before).unwrap()), None);
    world.calm();
    assert!(world.acknowledged(write));
    let after = world.read(1, Read::Range(range("a")), Consistency::Linearizable);
    assert_eq!(
        value_of(world.outcome(after).unwrap()).as_deref(),
        Some("1")
    );
}

#[test]
fn proposals_of_a_turn_share_an_append() {
    let mut world = World::started(1);
    world.calm();
    let mut effects = store_member::Effects::default();
    let tokens: Vec<_> = (0..100).map(|_| world.token()).collect();
    for &token in &tokens {
        let command = put("a", &token.0.to_string());
        world.tell(1, Input::Propose { token, command }, &mut effects);
    }
    let effects = world.settle(1, effects);
    assert_eq!(effects.appends.len(), 1);
    assert_eq!(effects.appends[0].entries.len(), 100);
    world.calm();
    assert!(tokens.iter().all(|&token| world.acknowledged(token)));
}

#[test]
fn a_request_without_outcome_is_given_up() {
    let mut world = World::started(1);
    // The disk never answers: no leader that serves.
    let write = world.propose(1, put("a", "1"));
    let read = world.read(1, Read::Range(range("a")), Consistency::Linearizable);
    let limit = world.node(1).config.request_timeout_ms();
    world.now = world.now.plus_ms(limit - 1);
    world.turn(1);
    assert!(world.outcome(write).is_none() && world.outcome(read).is_none());
    world.now = world.now.plus_ms(1);
    assert!(world.member(1).next_deadline(world.now) <= world.now);
    world.turn(1);
    assert_eq!(world.outcome(write), Some(&Err(Failure::TimedOut)));
    assert_eq!(world.outcome(read), Some(&Err(Failure::TimedOut)));
    // It was proposed all the same: unknown, not absent.
    world.calm();
    assert_eq!(world.value(1, "a").as_deref(), Some("1"));
}

#[test]
fn an_idle_member_asks_for_no_turns() {
    let mut world = World::started(1);
    world.calm();
    let wake = world.member(1).next_deadline(world.now);
    assert!(wake.ms_since(world.now) > 60_000, "{wake:?}");
}

#[test]
fn a_full_disk_refuses_writes_and_serves_reads() {
    let mut world = World::started(1);
    world.calm();
    world.say(1, Input::DiskFull);
    let write = world.propose(1, put("a", "1"));
    let refused = Failure::Refused(store_machine::error::Refusal::NoSpace);
    assert_eq!(world.outcome(write), Some(&Err(refused)));
    let read = world.read(1, Read::Range(range("a")), Consistency::Linearizable);
    assert!(world.acknowledged(read));
    world.say(1, Input::DiskFree);
    let write = world.propose(1, put("a", "1"));
    world.calm();
    assert!(world.acknowledged(write));
}

#[test]
fn too_many_proposals_are_refused() {
    let mut world = World::started(1);
    world.calm();
    let mut effects = store_member::Effects::default();
    let max = store_member::limits::PROPOSALS_MAX as u64;
    for _ in 0..max {
        let token = world.token();
        let command = put("a", "1");
        world.tell(1, Input::Propose { token, command }, &mut effects);
    }
    world.settle(1, effects);
    let over = world.propose(1, put("a", "1"));
    assert_eq!(world.outcome(over), Some(&Err(Failure::TooManyRequests)));
    world.calm();
    let next = world.propose(1, put("a", "1"));
    world.calm();
    assert!(world.acknowledged(next));
}
