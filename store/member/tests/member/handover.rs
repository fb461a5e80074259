//! The lead goes from one member to another when it is wanted, and nothing is lost by it.

use store_machine::error::Refusal;
use store_member::answer::{Body, Failure, Forbidden};
use store_member::effects::Notice;
use store_member::input::{Input, Token};

use crate::world::{World, put};

fn started() -> (World, u64, Vec<u64>) {
    let mut world = World::started(3);
    let leader = world.elect();
    world.pass(500);
    let others = world.ids().into_iter().filter(|&id| id != leader).collect();
    (world, leader, others)
}

fn hand_over(world: &mut World, at: u64, to: Option<u64>) -> Token {
    let token = world.token();
    world.say(at, Input::TransferLeadership { token, to });
    token
}

#[test]
fn the_wanted_member_leads_within_a_heartbeat() {
    let (mut world, leader, others) = started();
    for to in [others[0], others[1], leader, others[0]] {
        let at = world.leaders()[0];
        let token = hand_over(&mut world, at, Some(to));
        world.pass(100);
        assert_eq!(world.outcome(token), Some(&Ok(Body::Transferred(to))));
        assert_eq!(world.leaders(), [to]);
    }
}

#[test]
fn what_is_asked_meanwhile_goes_to_the_new_leader() {
    let (mut world, leader, _) = started();
    let handed = hand_over(&mut world, leader, None);
    let tokens: Vec<Token> = (0..20)
        .map(|i| world.propose(leader, put("a", &i.to_string())))
        .collect();
    world.pass(500);
    assert!(world.acknowledged(handed));
    assert_ne!(world.leaders(), [leader]);
    for token in tokens {
        assert!(world.acknowledged(token), "{:?}", world.outcome(token));
    }
    assert_eq!(world.value(leader, "a").as_deref(), Some("19"));
}

#[test]
fn the_best_is_the_one_that_has_most() {
    let (mut world, leader, others) = started();
    world.crash(others[0], 0);
    world.pass(1_500);
    let token = hand_over(&mut world, leader, None);
    world.pass(500);
    let expected = Ok(Body::Transferred(others[1]));
    assert_eq!(world.outcome(token), Some(&expected));
}

#[test]
fn what_cannot_be_is_refused() {
    let (mut world, leader, others) = started();
    let forbidden = |forbidden| Some(Err(Failure::Forbidden(forbidden)));
    let token = hand_over(&mut world, others[0], Some(others[1]));
    assert_eq!(
        world.outcome(token).cloned(),
        forbidden(Forbidden::NotLeader)
    );
    let token = hand_over(&mut world, leader, Some(9));
    let refused = forbidden(Forbidden::BadTransferee);
    assert_eq!(world.outcome(token).cloned(), refused);
    let token = hand_over(&mut world, leader, Some(leader));
    let itself = Some(Ok(Body::Transferred(leader)));
    assert_eq!(world.outcome(token).cloned(), itself);
    let first = hand_over(&mut world, leader, Some(others[0]));
    let second = hand_over(&mut world, leader, Some(others[1]));
    let busy = Some(Err(Failure::TooManyRequests));
    assert_eq!(world.outcome(second).cloned(), busy);
    world.pass(100);
    assert!(world.acknowledged(first));

    let mut alone = World::started(1);
    alone.elect();
    let token = hand_over(&mut alone, 1, None);
    assert_eq!(alone.outcome(token).cloned(), refused);
}

#[test]
fn one_that_does_not_take_it_leaves_the_lead_where_it_was() {
    let (mut world, leader, others) = started();
    world.crash(others[0], 0);
    let token = hand_over(&mut world, leader, Some(others[0]));
    let write = world.propose(leader, put("a", "1"));
    world.pass_until(5_000, |world| world.outcome(token).is_some());
    assert_eq!(world.outcome(token), Some(&Err(Failure::TimedOut)));
    world.pass(500);
    assert_eq!(world.leaders(), [leader]);
    assert!(world.acknowledged(write));
}

/// How often a member has said that its disk is slow, and that it hands the lead over for it.
fn complaints(world: &World, id: u64) -> (usize, usize) {
    let count = |wanted: fn(&Notice) -> bool| {
        let notices = world.nodes[&id].notices.iter();
        notices.filter(|notice| wanted(notice)).count()
    };
    (
        count(|notice| matches!(notice, Notice::DiskSlow { .. })),
        count(|notice| matches!(notice, Notice::Yields { .. })),
    )
}

#[test]
fn a_leader_whose_disk_stalls_hands_over_and_writes_go_on() {
    let (mut world, leader, others) = started();
    world.stalled.insert(leader);
    let stuck = world.propose(leader, put("a", "stuck"));
    world.pass(900);
    assert_eq!(world.leaders(), [leader]);
    assert_eq!(complaints(&world, leader), (0, 0));
    world.pass(300);
    assert_eq!(complaints(&world, leader), (1, 1));
    let next = world.elect();
    assert!(others.contains(&next));
    let token = world.propose(others[0], put("b", "on"));
    world.pass(100);
    assert!(world.acknowledged(token));
    // The disk comes back, stalls, comes back: nothing moves any more.
    for _ in 0..5 {
        world.stalled.clear();
        world.pass(500);
        world.stalled.insert(leader);
        world.propose(next, put("c", "x"));
        world.pass(1_500);
    }
    world.stalled.clear();
    world.pass(500);
    assert_eq!(world.leaders(), [next]);
    // The entry is there, since others had it.
    assert!(world.acknowledged(stuck), "{:?}", world.outcome(stuck));
    assert_eq!(world.value(leader, "a").as_deref(), Some("stuck"));
}

#[test]
fn a_leader_whose_disk_is_full_hands_over_and_writes_go_on() {
    let (mut world, leader, others) = started();
    world.say(leader, Input::DiskFull);
    let meanwhile = world.propose(others[0], put("a", "meanwhile"));
    world.pass(100);
    let next = world.elect();
    assert!(others.contains(&next));
    // Whatever became of it, nobody was told that there is no room.
    let settled = matches!(
        world.outcome(meanwhile),
        Some(Ok(_) | Err(Failure::LeaderChanged))
    );
    assert!(settled, "{:?}", world.outcome(meanwhile));
    for &id in &others {
        let token = world.propose(id, put("a", "on"));
        world.pass(100);
        assert!(world.acknowledged(token), "at {id}");
    }
    assert_eq!(complaints(&world, leader), (0, 1));
    // Its own clients are refused, as what they write could not be told to them.
    let refused = world.propose(leader, put("b", "x"));
    let full = Some(&Err(Failure::Refused(Refusal::NoSpace)));
    assert_eq!(world.outcome(refused), full);
    world.say(leader, Input::DiskFree);
    let token = world.propose(leader, put("c", "x"));
    world.pass(100);
    assert!(world.acknowledged(token));
}

#[test]
fn where_all_disks_are_full_writes_are_refused_until_one_has_room() {
    let (mut world, _, _) = started();
    for id in world.ids() {
        world.say(id, Input::DiskFull);
    }
    world.pass(10_000);
    let leader = world.elect();
    let token = world.propose(leader, put("a", "x"));
    world.pass(5_000);
    assert!(!world.acknowledged(token));
    for id in world.ids() {
        world.say(id, Input::DiskFree);
    }
    world.pass(3_000);
    let leader = world.elect();
    let token = world.propose(leader, put("a", "y"));
    world.pass(100);
    assert!(world.acknowledged(token));
}

#[test]
fn a_member_hands_over_for_its_disk_once_a_minute_at_most() {
    let (mut world, leader, _) = started();
    for round in 0..6 {
        // It is made leader again each time.
        let at = world.elect();
        let token = hand_over(&mut world, at, Some(leader));
        world.pass(300);
        assert!(world.acknowledged(token));
        world.stalled.insert(leader);
        world.propose(leader, put("a", &round.to_string()));
        world.pass(5_000);
        world.stalled.clear();
        world.pass(5_000);
    }
    assert_eq!(complaints(&world, leader), (6, 1));
}

#[test]
fn where_nobody_is_faster_a_leader_with_a_slow_disk_leads_on() {
    let (mut world, leader, others) = started();
    let term = world.member(leader).header().term;
    world.stalled.extend(world.ids());
    let token = world.propose(leader, put("a", "slow"));
    // Heartbeats and their answers do not wait for the disk: nobody campaigns.
    world.pass(5_000);
    assert_eq!(world.leaders(), [leader]);
    assert_eq!(world.outcome(token), None);
    for id in world.ids() {
        assert_eq!(world.member(id).header().term, term);
        assert_eq!(world.member(id).counts().leader, leader);
    }
    assert_eq!(complaints(&world, leader), (1, 0));
    // One that is faster could not be elected alone; two lead without this one.
    world.stalled.remove(&others[1]);
    world.pass(1_000);
    assert_eq!(world.leaders(), [leader]);
    world.stalled.remove(&others[0]);
    world.pass(500);
    assert_ne!(world.elect(), leader);
    world.stalled.clear();
    world.pass(500);
    assert_eq!(world.value(leader, "a").as_deref(), Some("slow"));
}

#[test]
fn without_the_bound_or_without_others_a_slow_disk_is_endured() {
    for (members, slow_sync_ms) in [(3, 0), (1, 1_000)] {
        let mut world = World::new(members, |config| config.slow_sync_ms = slow_sync_ms);
        for id in 1..=members {
            world.start(id);
        }
        let leader = world.elect();
        world.pass(500);
        world.stalled.insert(leader);
        let token = world.propose(leader, put("a", "x"));
        world.pass(5_000);
        assert_eq!(world.leaders(), [leader]);
        let warned = usize::from(slow_sync_ms > 0);
        assert_eq!(complaints(&world, leader), (warned, 0));
        world.stalled.clear();
        world.pass(500);
        assert!(world.acknowledged(token));
    }
}
