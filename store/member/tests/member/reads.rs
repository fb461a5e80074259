//! Linearizable reads: fresh, or not at all.

use store_member::answer::{Consistency, Failure};
use store_member::input::{Input, Read};

use crate::world::{World, put, range, value_of};

#[test]
fn a_follower_serves_linearizable_reads() {
    let mut world = World::started(3);
    let leader = world.elect();
    let write = world.propose(leader, put("a", "1"));
    world.calm();
    assert!(world.acknowledged(write));
    for id in world.ids() {
        let read = world.read(id, Read::Range(range("a")), Consistency::Linearizable);
        world.pass_until(2_000, |world| world.outcome(read).is_some());
        let value = value_of(world.outcome(read).unwrap());
        assert_eq!(value.as_deref(), Some("1"), "member {id}");
    }
}

#[test]
fn a_paused_leader_serves_nothing_stale() {
    let mut world = World::started(3);
    let old = world.elect();
    let write = world.propose(old, put("a", "1"));
    world.calm();
    assert!(world.acknowledged(write));
    // The old leader is paused: what is said to it waits, and it says nothing.
    let paused = world.node(old).member.take();
    let new = {
        world.pass_until(20_000, |world| {
            let leaders = world.leaders();
            leaders.len() == 1 && world.member(leaders[0]).ready()
        });
        world.leaders()[0]
    };
    let write = world.propose(new, put("a", "2"));
    world.calm();
    assert!(world.acknowledged(write));
    // It wakes and is asked before anybody has told it.
    world.node(old).member = paused;
    world.wire.clear();
    assert_eq!(world.leaders().len(), 2);
    let stale = world.read(old, Read::Range(range("a")), Consistency::Linearizable);
    assert!(world.outcome(stale).is_none());
    world.pass_until(10_000, |world| world.outcome(stale).is_some());
    match world.outcome(stale).unwrap() {
        Err(failure) => assert_eq!(*failure, Failure::TimedOut),
        read => assert_eq!(value_of(read).as_deref(), Some("2")),
    }
}

/// etcd issue 20418: a follower's request arrives at the leader a second time, when answers to the
/// heartbeats of the first time are still under way, and the leader has been deposed.
#[test]
fn delayed_answers_do_not_confirm_a_later_round() {
    let mut world = World::started(3);
    let old = world.elect();
    world.pass(50);
    let followers: Vec<u64> = world.ids().into_iter().filter(|&id| id != old).collect();
    let asking = followers[0];
    // The follower's request goes to the leader; it and the heartbeat answers are kept.
    let first = world.read(asking, Read::Range(range("a")), Consistency::Linearizable);
    let request = world.wire.back().expect("a request to the leader").clone();
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.extend(
            world
                .wire
                .iter()
                .filter(|(from, envelope)| *from != old && envelope.to == old)
                .cloned(),
        );
        world.deliver();
        for id in world.ids() {
            world.sync(id);
        }
    }
    assert!(world.outcome(first).is_some());
    // The old leader is cut off; another takes over and writes.
    for &other in &followers {
        world.cut.insert((old, other));
        world.cut.insert((other, old));
    }
    let paused = world.node(old).member.take();
    world.pass_until(20_000, |world| !world.leaders().is_empty());
    let new = world.elect();
    let write = world.propose(new, put("a", "new"));
    world.calm();
    assert!(world.acknowledged(write));
    // The old leader wakes, gets a read of its own, then the request again and the old answers.
    world.node(old).member = paused;
    let stale = world.read(old, Read::Range(range("a")), Consistency::Linearizable);
    for (from, envelope) in std::iter::once(request).chain(answers) {
        let message = envelope.message;
        world.say(old, Input::PeerSaid { from, message });
    }
    assert!(
        world.outcome(stale).is_none(),
        "a deposed leader answered {:?}",
        world.outcome(stale)
    );
}

#[test]
fn a_new_leader_serves_no_read_before_its_first_commit() {
    let mut world = World::new(1, |_| {});
    world.start(1);
    let read = world.read(1, Read::Range(range("a")), Consistency::Linearizable);
    for _ in 0..3 {
        world.turn(1);
        assert!(world.outcome(read).is_none());
    }
    world.sync(1);
    assert!(world.acknowledged(read));
}

#[test]
fn serializable_reads_need_nobody() {
    let mut world = World::started(3);
    let read = world.read(1, Read::Range(range("a")), Consistency::Serializable);
    assert!(world.acknowledged(read));
}

#[test]
fn a_follower_waits_until_it_has_applied_what_the_leader_had() {
    let mut world = World::started(3);
    let leader = world.elect();
    world.pass(200);
    let followers: Vec<u64> = world.ids().into_iter().filter(|&id| id != leader).collect();
    let slow = followers[0];
    let write = world.propose(leader, put("a", "1"));
    // The slow follower's disk does nothing; the others agree without it.
    for _ in 0..20 {
        world.sync(leader);
        world.sync(followers[1]);
        while world.deliver() {}
    }
    assert!(world.acknowledged(write));
    let read = world.read(slow, Read::Range(range("a")), Consistency::Linearizable);
    while world.deliver() {}
    assert!(world.outcome(read).is_none(), "{:?}", world.outcome(read));
    world.pass_until(2_000, |world| world.outcome(read).is_some());
    let value = value_of(world.outcome(read).unwrap());
    assert_eq!(value.as_deref(), Some("1"));
}
