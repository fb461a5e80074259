//! Any member serves every request: what only the leader can do goes to it and comes back once.

use store_machine::command::Command;
use store_machine::reply::Reply;
use store_machine::revision::LeaseId;
use store_member::PeerMessage;
use store_member::answer::{Body, Consistency, Failure};
use store_member::input::{Input, Read, Token};

use crate::world::{World, put, put_leased};

/// Three members, one that leads and one that does not.
fn started() -> (World, u64, u64) {
    let mut world = World::started(3);
    let leader = world.elect();
    world.pass(200);
    let follower = world.ids().into_iter().find(|&id| id != leader).unwrap();
    (world, leader, follower)
}

fn grant(world: &mut World, id: u64, ttl_seconds: i64) -> LeaseId {
    let token = world.token();
    world.say(
        id,
        Input::LeaseGrant {
            token,
            id: LeaseId::NONE,
            ttl_seconds,
            actor: None,
        },
    );
    world.pass_until(2_000, |world| world.outcome(token).is_some());
    match world.outcome(token) {
        Some(Ok(Body::Applied(Reply::LeaseGrant { id, .. }))) => *id,
        other => panic!("{other:?}"),
    }
}

fn asked(world: &mut World, id: u64, read: Read) -> Body {
    let token = world.read(id, read, Consistency::Linearizable);
    world.pass_until(8_000, |world| world.outcome(token).is_some());
    match world.outcome(token) {
        Some(Ok(body)) => body.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_through_a_follower_is_seen_there_when_it_is_acknowledged() {
    let (mut world, _, follower) = started();
    let tokens: Vec<Token> = (0..50)
        .map(|i| world.propose(follower, put("a", &i.to_string())))
        .collect();
    for (i, &token) in tokens.iter().enumerate() {
        for _ in 0..100_000 {
            if world.acknowledged(token) {
                break;
            }
            world.deliver();
            for id in world.ids() {
                world.sync(id);
            }
        }
        assert!(world.acknowledged(token), "write {i}");
        let value = world.value(follower, "a").unwrap();
        assert!(value.parse::<usize>().unwrap() >= i);
    }
    world.calm();
    assert_eq!(world.value(follower, "a").as_deref(), Some("49"));
}

#[test]
fn a_refusal_comes_back_from_the_log() {
    let (mut world, _, follower) = started();
    let token = world.propose(follower, put_leased("a", "1", LeaseId(77)));
    world.pass(100);
    let refused = matches!(world.outcome(token), Some(Err(Failure::Refused(_))));
    assert!(refused, "{:?}", world.outcome(token));
}

#[test]
fn what_comes_twice_is_proposed_once() {
    let (mut world, leader, follower) = started();
    let before = world.member(leader).machine().revision();
    let token = world.propose(follower, put("a", "1"));
    let forwarded = |message: &PeerMessage| matches!(message, PeerMessage::Forward(_));
    let copy = world
        .wire
        .iter()
        .find(|(_, envelope)| forwarded(&envelope.message))
        .cloned()
        .expect("a forwarded proposal");
    world.wire.push_back(copy.clone());
    world.calm();
    world.wire.push_back(copy.clone());
    world.calm();
    assert!(world.acknowledged(token));
    assert_eq!(world.member(leader).machine().revision().0, before.0 + 1);

    // Nor is it by the same member in a later term.
    for id in world.ids().into_iter().filter(|&id| id != leader) {
        world.cut.insert((leader, id));
        world.cut.insert((id, leader));
    }
    world.pass(3_000);
    world.cut.clear();
    world.elect();
    for id in world.ids() {
        let mut late = copy.clone();
        late.1.to = id;
        world.wire.push_back(late);
    }
    world.pass(500);
    let leader = world.elect();
    assert_eq!(world.member(leader).machine().revision().0, before.0 + 1);
}

#[test]
fn what_a_leader_did_not_get_to_replicate_is_forwarded_to_the_next() {
    let (mut world, leader, follower) = started();
    for id in world.ids().into_iter().filter(|&id| id != leader) {
        world.cut.insert((leader, id));
    }
    let token = world.propose(follower, put("a", "1"));
    world.calm();
    assert!(world.outcome(token).is_none());
    let before = world.member(follower).machine().revision().0;
    world.crash(leader, 0);
    world.pass_until(5_000, |world| world.outcome(token).is_some());
    assert!(world.acknowledged(token), "{:?}", world.outcome(token));
    world.start(leader);
    world.cut.clear();
    world.elect();
    let again = world.propose(follower, put("a", "2"));
    world.pass(1_000);
    assert!(world.acknowledged(again));
    for id in world.ids() {
        let revision = world.member(id).machine().revision().0;
        assert_eq!(revision, before + 2, "each write once");
    }
}

#[test]
fn every_write_is_carried_out_once_whenever_the_leader_changes() {
    for steps in 0..40 {
        let (mut world, leader, follower) = started();
        let before = world.member(follower).machine().revision().0;
        let mut tokens = Vec::new();
        for number in 0..6 {
            for at in [leader, follower] {
                tokens.push(world.propose(at, put("a", &number.to_string())));
            }
            for _ in 0..steps {
                world.deliver();
                world.sync(1 + number % 3);
            }
        }
        // The leader loses the others for long enough to lose the lead, at any point of all that.
        for id in world.ids().into_iter().filter(|&id| id != leader) {
            world.cut.insert((leader, id));
            world.cut.insert((id, leader));
        }
        world.pass_until(5_000, |world| {
            world.leaders().iter().any(|&id| id != leader)
        });
        world.cut.clear();
        world.pass(3_000);
        for &token in &tokens {
            assert!(
                world.acknowledged(token),
                "{steps}: {:?}",
                world.outcome(token)
            );
        }
        for id in world.ids() {
            let revision = world.member(id).machine().revision().0;
            assert_eq!(revision, before + 12, "member {id} after {steps} steps");
        }
    }
}

#[test]
fn the_outcome_is_unknown_when_the_message_is_lost() {
    let (mut world, leader, follower) = started();
    let token = world.propose(follower, put("a", "1"));
    world
        .wire
        .retain(|(_, envelope)| !matches!(envelope.message, PeerMessage::Forward(_)));
    world.pass_until(10_000, |world| world.outcome(token).is_some());
    assert_eq!(world.outcome(token), Some(&Err(Failure::TimedOut)));
    assert_eq!(world.value(leader, "a"), None);
}

#[test]
fn an_entry_of_an_earlier_life_answers_nobody() {
    let (mut world, _, follower) = started();
    let lost = world.propose(follower, put("a", "1"));
    world.crash(follower, 0);
    world.start(follower);
    let kept = world.propose(follower, put("a", "2"));
    world.pass(1_000);
    assert!(world.outcome(lost).is_none());
    assert!(world.acknowledged(kept));
    assert_eq!(world.value(follower, "a").as_deref(), Some("2"));
}

#[test]
fn proposals_wait_for_a_leader_and_then_go_to_it() {
    let mut world = World::started(3);
    let tokens: Vec<Token> = (1..=3)
        .map(|id| world.propose(id, put("a", &id.to_string())))
        .collect();
    world.elect();
    world.pass(500);
    for token in tokens {
        // Forwarded to a leader of a first term that lost it again, one may be unknown.
        let settled = matches!(
            world.outcome(token),
            Some(Ok(_) | Err(Failure::LeaderChanged))
        );
        assert!(settled, "{:?}", world.outcome(token));
    }
}

#[test]
fn leases_live_and_end_through_any_member() {
    let (mut world, leader, follower) = started();
    let id = grant(&mut world, follower, 10);
    let token = world.propose(follower, put_leased("k", "v", id));
    world.pass(100);
    assert!(world.acknowledged(token));
    for _ in 0..4 {
        world.pass(5_000);
        assert_eq!(
            asked(&mut world, follower, Read::KeepAlive(id)),
            Body::KeepAlive(10)
        );
    }
    world.pass(4_000);
    let life = Read::LeaseLife { id, keys: true };
    for member in [leader, follower] {
        match asked(&mut world, member, life.clone()) {
            Body::LeaseLife(Some(life)) => {
                assert_eq!((life.granted_seconds, life.remaining_seconds), (10, 6));
                assert_eq!(life.keys.len(), 1);
            }
            other => panic!("member {member}: {other:?}"),
        }
    }
    assert_eq!(
        asked(&mut world, follower, Read::Leases),
        Body::Leases(vec![id])
    );
    world.pass(8_000);
    assert_eq!(world.value(follower, "k"), None);
    assert_eq!(
        asked(&mut world, follower, Read::KeepAlive(id)),
        Body::KeepAlive(0)
    );
}

#[test]
fn a_keep_alive_survives_the_crash_of_the_leader() {
    let (mut world, leader, follower) = started();
    let id = grant(&mut world, follower, 60);
    let token = world.read(follower, Read::KeepAlive(id), Consistency::Linearizable);
    world.crash(leader, 0);
    world.wire.clear();
    world.pass_until(6_000, |world| world.outcome(token).is_some());
    assert_eq!(world.outcome(token), Some(&Ok(Body::KeepAlive(60))));
}

#[test]
fn lost_questions_are_asked_again() {
    let (mut world, _, follower) = started();
    let id = grant(&mut world, follower, 60);
    let token = world.read(follower, Read::KeepAlive(id), Consistency::Linearizable);
    world
        .wire
        .retain(|(_, envelope)| !matches!(envelope.message, PeerMessage::Ask(_)));
    world.pass_until(3_000, |world| world.outcome(token).is_some());
    assert!(world.acknowledged(token));
}

#[test]
fn revoking_through_a_follower_takes_the_keys() {
    let (mut world, _, follower) = started();
    let id = grant(&mut world, follower, 60);
    world.propose(follower, put_leased("k", "v", id));
    let token = world.propose(follower, Command::LeaseRevoke { id, term: 0 });
    world.pass(100);
    assert!(world.acknowledged(token));
    assert_eq!(world.value(follower, "k"), None);
}
