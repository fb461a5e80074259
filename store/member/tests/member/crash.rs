//! A crash at each step of a small life, with each part of the unsynced writes kept: what was
//! acknowledged is there, what was not is wholly there or not at all.

use store_machine::command::Command;
use store_machine::revision::LeaseId;
use store_member::input::Token;

use crate::world::{World, put, put_leased};

/// Writes in order, with the key and value each leaves behind.
fn script() -> Vec<(Command, &'static str, &'static str)> {
    let grant = Command::LeaseGrant {
        id: LeaseId(5),
        ttl_seconds: 100,
    };
    vec![
        (put("a", "1"), "a", "1"),
        (put("b", "1"), "b", "1"),
        (put("a", "2"), "a", "2"),
        (grant, "", ""),
        (put_leased("l", "1", LeaseId(5)), "l", "1"),
        (put("b", "2"), "b", "2"),
    ]
}

/// Runs the script, a write every other step, a sync in between, until `steps` are done.
fn run(world: &mut World, steps: usize) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut writes = script().into_iter();
    for step in 0..steps {
        if step % 3 == 2 {
            world.sync(1);
        } else if let Some((command, ..)) = writes.next() {
            tokens.push(world.propose(1, command));
        }
    }
    tokens
}

#[test]
fn acknowledged_writes_survive_a_crash_at_every_step() {
    for steps in 0..12 {
        for kept in 0..4 {
            let mut world = World::started(1);
            let tokens = run(&mut world, steps);
            let acknowledged: Vec<bool> = tokens
                .iter()
                .map(|&token| world.acknowledged(token))
                .collect();
            world.crash(1, kept);
            world.start(1);
            world.calm();
            assert!(world.member(1).ready());
            check_state(&world, &acknowledged, tokens.len());
            let after = world.propose(1, put("after", "1"));
            world.calm();
            assert!(world.acknowledged(after), "steps {steps}, kept {kept}");
        }
    }
}

/// The state must be that after some number of writes, at least all acknowledged ones.
fn check_state(world: &World, acknowledged: &[bool], proposed: usize) {
    let least = acknowledged.iter().filter(|&&acked| acked).count();
    assert!(
        acknowledged[..least].iter().all(|&acked| acked),
        "acknowledged out of order"
    );
    let state = |key: &str| world.value(1, key);
    let matches = |writes: usize| {
        ["a", "b", "l"].into_iter().all(|key| {
            let expected = script()[..writes]
                .iter()
                .rev()
                .find(|write| write.1 == key)
                .map(|write| write.2.to_owned());
            state(key) == expected
        })
    };
    assert!(
        (least..=proposed).any(matches),
        "no prefix of at least {least} of {proposed} writes gives a={:?} b={:?} l={:?}",
        state("a"),
        state("b"),
        state("l")
    );
}

#[test]
fn a_second_life_does_not_repeat_ids_or_answers() {
    let mut world = World::started(1);
    world.calm();
    let token = world.propose(1, put("a", "1"));
    world.crash(1, 1);
    world.start(1);
    world.calm();
    // The entry reached the disk, but who asked is gone with the first life.
    assert_eq!(world.value(1, "a").as_deref(), Some("1"));
    assert!(world.outcome(token).is_none());
}
