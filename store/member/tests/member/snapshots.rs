//! Snapshots bound the log, and a member starts from one.

use crate::world::{World, put};

fn small(config: &mut store_member::Config) {
    config.snapshot_count = 100;
    config.catch_up_entries = 20;
}

#[test]
fn the_log_is_cut_behind_a_durable_snapshot() {
    let mut world = World::new(1, small);
    world.start(1);
    world.calm();
    for i in 0..1_000 {
        world.propose(1, put(&format!("k{}", i % 7), &i.to_string()));
        world.calm();
        let held = world.node(1).disk.entries.len();
        // The state is tiny, but each write grows its history: the log may become as large.
        assert!(
            held <= 20 + 100.max(i),
            "{held} entries on disk after write {i}"
        );
    }
    let (mark, _) = world.node(1).disk.snapshot.clone().unwrap();
    assert!(mark.index > 500);
    assert_eq!(mark.voters.voters, [1]);
}

#[test]
fn nothing_is_cut_before_the_snapshot_is_durable() {
    let mut world = World::new(1, small);
    world.start(1);
    world.calm();
    for i in 0..150 {
        world.propose(1, put("k", &i.to_string()));
    }
    let node = world.node(1);
    let number = node.disk.unsynced.last().unwrap().number;
    for append in std::mem::take(&mut node.disk.unsynced) {
        node.disk.entries.extend(append.entries);
    }
    world.say(1, store_member::Input::Synced { number });
    assert!(world.node(1).disk.writing.is_some());
    assert_eq!(world.node(1).disk.entries.first().unwrap().index, 1);
    world.sync(1);
    assert!(world.node(1).disk.entries.first().unwrap().index > 1);
}

#[test]
fn a_member_starts_from_snapshot_and_log() {
    let mut world = World::new(1, small);
    world.start(1);
    world.calm();
    for i in 0..250 {
        world.propose(1, put(&format!("k{}", i % 7), &i.to_string()));
        world.calm();
    }
    let before: Vec<_> = (0..7).map(|k| world.value(1, &format!("k{k}"))).collect();
    let hash = |world: &World| {
        let hashed = world.member(1).machine().hash_kv(Default::default());
        hashed.unwrap()
    };
    let hashed = hash(&world);
    world.crash(1, 0);
    world.start(1);
    world.calm();
    let after: Vec<_> = (0..7).map(|k| world.value(1, &format!("k{k}"))).collect();
    assert_eq!(before, after);
    assert_eq!(hash(&world), hashed);
}

#[test]
fn a_failed_snapshot_is_tried_again_later() {
    let mut world = World::new(1, small);
    world.start(1);
    world.calm();
    for i in 0..105 {
        world.propose(1, put("k", &i.to_string()));
        if world.node(1).disk.writing.take().is_some() {
            world.say(1, store_member::Input::SnapshotFailed);
        }
        world.sync(1);
    }
    world.node(1).disk.writing = None;
    world.say(1, store_member::Input::SnapshotFailed);
    for i in 0..105 {
        world.propose(1, put("k", &i.to_string()));
        world.calm();
    }
    assert!(world.node(1).disk.snapshot.is_some());
}
