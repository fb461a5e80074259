//! Three members, a toy network: the shape holds for more than one.

use crate::world::{World, put};

#[test]
fn one_is_elected_and_replicates() {
    let mut world = World::started(3);
    let leader = world.elect();
    let tokens: Vec<_> = (0..50)
        .map(|i| world.propose(leader, put("a", &i.to_string())))
        .collect();
    world.calm();
    assert!(tokens.iter().all(|&token| world.acknowledged(token)));
    world.pass(200);
    for id in world.ids() {
        assert_eq!(world.value(id, "a").as_deref(), Some("49"), "member {id}");
        assert_eq!(
            world.member(id).machine().revision(),
            world.member(leader).machine().revision()
        );
    }
}

#[test]
fn a_write_needs_a_quorum() {
    let mut world = World::started(3);
    let leader = world.elect();
    let others: Vec<u64> = world.ids().into_iter().filter(|&id| id != leader).collect();
    for &other in &others {
        world.cut.insert((leader, other));
    }
    let token = world.propose(leader, put("a", "1"));
    world.calm();
    assert!(world.outcome(token).is_none());
    world.cut.clear();
    world.pass_until(5_000, |world| world.outcome(token).is_some());
    assert!(world.acknowledged(token));
}

#[test]
fn a_new_leader_takes_over_and_what_the_old_one_was_asked_is_done_once() {
    let mut world = World::started(3);
    let old = world.elect();
    let kept = world.propose(old, put("a", "1"));
    world.calm();
    assert!(world.acknowledged(kept));
    let others: Vec<u64> = world.ids().into_iter().filter(|&id| id != old).collect();
    for &other in &others {
        world.cut.insert((old, other));
        world.cut.insert((other, old));
    }
    let cut_off = world.propose(old, put("b", "1"));
    world.pass_until(20_000, |world| {
        let leaders = world.leaders();
        leaders.len() == 1 && leaders[0] != old && world.member(leaders[0]).ready()
    });
    assert!(world.outcome(cut_off).is_none());
    let new = world.leaders()[0];
    assert_eq!(world.value(new, "a").as_deref(), Some("1"));
    let after = world.propose(new, put("a", "2"));
    world.calm();
    assert!(world.acknowledged(after));
    world.cut.clear();
    world.pass(3_000);
    // Its entry was overwritten, so it goes to the new leader.
    assert!(world.acknowledged(cut_off), "{:?}", world.outcome(cut_off));
    for id in world.ids() {
        assert_eq!(world.value(id, "a").as_deref(), Some("2"), "member {id}");
        assert_eq!(world.member(id).machine().revision().0, 4, "three writes");
    }
}

#[test]
fn a_lagging_follower_catches_up_from_the_log() {
    let mut world = World::started(3);
    let leader = world.elect();
    let lagging = world.ids().into_iter().find(|&id| id != leader).unwrap();
    world.crash(lagging, 0);
    let mut last = None;
    for i in 0..500 {
        last = Some(world.propose(leader, put("a", &i.to_string())));
        world.calm();
    }
    assert!(world.acknowledged(last.unwrap()));
    world.start(lagging);
    world.pass_until(10_000, |world| {
        world.value(lagging, "a").as_deref() == Some("499")
    });
}

#[test]
fn acknowledged_writes_survive_the_crash_of_all() {
    let mut world = World::started(3);
    let leader = world.elect();
    let token = world.propose(leader, put("a", "1"));
    world.calm();
    assert!(world.acknowledged(token));
    for id in world.ids() {
        world.crash(id, 0);
    }
    world.wire.clear();
    for id in world.ids() {
        world.start(id);
    }
    let leader = world.elect();
    assert_eq!(world.value(leader, "a").as_deref(), Some("1"));
}

#[test]
fn a_follower_acknowledges_only_what_is_durable() {
    let mut world = World::started(3);
    let leader = world.elect();
    world.calm();
    let token = world.propose(leader, put("a", "1"));
    // The leader's own sync, and messages, but no sync on the followers.
    for _ in 0..20 {
        world.sync(leader);
        while world.deliver() {}
    }
    assert!(world.outcome(token).is_none());
    world.calm();
    assert!(world.acknowledged(token));
}

#[test]
fn a_long_pause_alone_does_not_make_a_follower_campaign() {
    let mut world = World::started(3);
    let leader = world.elect();
    let term = world.member(leader).header().term;
    // Everybody stands still for a minute, as on a suspended machine.
    world.now = world.now.plus_ms(60_000);
    for id in world.ids() {
        world.turn(id);
    }
    world.calm();
    world.pass(500);
    assert_eq!(world.leaders(), [leader]);
    assert_eq!(world.member(leader).header().term, term);
}
