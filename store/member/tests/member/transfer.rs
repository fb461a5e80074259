//! Members that lag behind the log are sent a snapshot, in parts, through losses and crashes.

use std::collections::BTreeSet;

use store_machine::command::Command;
use store_machine::request::{KeyRange, RangeEnd};
use store_machine::revision::Revision;
use store_member::PeerMessage;
use store_member::input::{Input, StreamEvent};
use store_watch::batch::{Batch, StreamId, WatchId};
use store_watch::watcher::WatchSpec;

use crate::world::{World, put};

const KEYS: usize = 50;

/// Three members; one of them is down, and the others have gone on beyond what their logs hold.
fn lagging() -> (World, u64, u64) {
    let mut world = World::new(3, |config| {
        config.snapshot_count = 200;
        config.catch_up_entries = 20;
    });
    for id in 1..=3 {
        world.start(id);
    }
    let leader = world.elect();
    world.propose(leader, put("first", "1"));
    world.pass(300);
    let behind = world.ids().into_iter().find(|&id| id != leader).unwrap();
    world.crash(behind, 0);
    world.wire.clear();
    write(&mut world, leader, 1_500);
    (world, leader, behind)
}

/// About a kilobyte each.
fn write(world: &mut World, leader: u64, count: usize) {
    for i in 0..count {
        let value = format!("{i:01000}");
        world.propose(leader, put(&format!("k{}", i % KEYS), &value));
        if i % 50 == 49 {
            world.calm();
        }
    }
    world.calm();
}

fn parts(world: &World) -> Vec<(u64, usize)> {
    let messages = world.wire.iter().map(|(_, envelope)| &envelope.message);
    let parts = messages.filter_map(|message| match message {
        PeerMessage::SnapshotPart(part) => Some((part.offset, part.content.len())),
        _ => None,
    });
    parts.collect()
}

/// Until a member has what the leader has.
fn catches_up(world: &mut World, id: u64) {
    world.pass_until(20_000, |world| {
        let leaders = world.leaders();
        let [leader] = leaders[..] else { return false };
        let hash = |id| world.member(id).machine().hash_kv(Revision(0)).unwrap();
        hash(leader) == hash(id)
    });
    let leader = world.elect();
    let token = world.propose(leader, put("after", "1"));
    world.pass(500);
    assert!(world.acknowledged(token));
    assert_eq!(world.value(id, "after").as_deref(), Some("1"));
}

#[test]
fn a_member_behind_the_log_is_sent_a_snapshot() {
    let (mut world, _, behind) = lagging();
    world.start(behind);
    catches_up(&mut world, behind);
    let disk = &world.nodes[&behind].disk;
    let index = disk
        .snapshot
        .as_ref()
        .expect("a snapshot of its own")
        .0
        .index;
    assert!(index > 1_000, "{index}");
    // It starts from it again.
    world.crash(behind, 0);
    world.start(behind);
    catches_up(&mut world, behind);
}

#[test]
fn few_parts_are_on_their_way_and_writes_go_on() {
    let (mut world, leader, behind) = lagging();
    world.start(behind);
    let mut most = 0;
    let mut sent = BTreeSet::new();
    for i in 0..3_000 {
        world.now = world.now.plus_ms(1);
        for id in world.ids() {
            world.turn(id);
            world.sync(id);
        }
        sent.extend(parts(&world));
        most = most.max(parts(&world).len());
        world.deliver();
        if i % 100 == 0 {
            world.propose(leader, put("during", &i.to_string()));
        }
    }
    assert!((1..=4).contains(&most), "{most} parts at once");
    assert!(sent.len() >= 6, "{sent:?}");
    catches_up(&mut world, behind);
}

#[test]
fn lost_parts_are_sent_again_from_where_they_were_lost() {
    let (mut world, leader, behind) = lagging();
    world.start(behind);
    let arrived = |world: &World| parts(world).iter().any(|part| part.0 > 0);
    while !arrived(&world) {
        if !world.deliver() {
            world.now = world.now.plus_ms(10);
        }
        for id in world.ids() {
            world.turn(id);
            world.sync(id);
        }
    }
    // The link goes down for a while and takes along what is on it.
    world.cut.insert((leader, behind));
    world.cut.insert((behind, leader));
    world.calm();
    world.cut.clear();
    let mut restarted = 0;
    for _ in 0..400 {
        world.pass_alone(10);
        restarted += parts(&world).iter().filter(|part| part.0 == 0).count();
        world.calm();
    }
    assert!(restarted <= 1, "sent from the beginning {restarted} times");
    catches_up(&mut world, behind);
}

/// Runs a transfer step by step; after `steps` of them, `fault` strikes.
fn strike(steps: usize, fault: impl FnOnce(&mut World, u64, u64)) -> World {
    let (mut world, leader, behind) = lagging();
    world.start(behind);
    for _ in 0..steps {
        if !world.deliver() {
            world.pass_alone(10);
        }
        for id in world.ids() {
            world.turn(id);
            world.sync(id);
        }
    }
    fault(&mut world, leader, behind);
    catches_up(&mut world, behind);
    world
}

#[test]
fn the_receiver_may_crash_at_any_step() {
    for steps in (0..160).step_by(7) {
        strike(steps, |world, _, behind| {
            world.crash(behind, steps % 3);
            world.start(behind);
        });
    }
}

#[test]
fn the_sender_may_crash_at_any_step() {
    for steps in (0..160).step_by(16) {
        strike(steps, |world, leader, _| {
            world.crash(leader, 0);
            world.pass(4_000);
            world.start(leader);
        });
    }
}

/// Steps until the receiver's snapshot is about to be written.
fn about_to_write(world: &mut World, behind: u64) {
    for _ in 0..20_000 {
        if world.nodes[&behind].disk.writing.is_some() {
            return;
        }
        if !world.deliver() {
            world.pass_alone(10);
        }
        for id in world.ids() {
            if world.nodes[&id].disk.writing.is_none() {
                world.sync(id);
            }
        }
    }
    panic!("no snapshot has arrived");
}

#[test]
fn who_wrote_the_snapshot_and_could_not_say_so_goes_on_from_there() {
    for crashes in [false, true] {
        let (mut world, leader, behind) = lagging();
        world.start(behind);
        about_to_write(&mut world, behind);
        if crashes {
            let disk = &mut world.node(behind).disk;
            disk.snapshot = disk.writing.take();
            disk.entries.clear();
            world.crash(behind, 0);
            world.start(behind);
        } else {
            // What it says is lost.
            world.cut.insert((behind, leader));
            world.calm();
            world.cut.clear();
        }
        let term = world.member(leader).header().term;
        // The leader asks once in an election timeout.
        world.pass(3_000);
        assert_eq!(world.member(leader).header().term, term, "by itself");
        catches_up(&mut world, behind);
    }
}

#[test]
fn what_was_damaged_on_the_way_is_found_and_sent_again() {
    let (mut world, _, behind) = lagging();
    world.start(behind);
    let mut damaged = 0;
    for _ in 0..2_000 {
        // The second part of the first transfer.
        for (_, envelope) in &mut world.wire {
            if damaged == 0
                && let PeerMessage::SnapshotPart(part) = &mut envelope.message
                && part.offset > 0
            {
                let mut content = part.content.to_vec();
                content[7] ^= 1;
                part.content = content.into();
                damaged += 1;
            }
        }
        if !world.deliver() {
            world.pass_alone(10);
        }
        for id in world.ids() {
            world.turn(id);
            world.sync(id);
        }
    }
    assert_eq!(damaged, 1);
    catches_up(&mut world, behind);
}

#[test]
fn a_snapshot_that_cannot_be_written_is_sent_again() {
    let (mut world, _, behind) = lagging();
    world.start(behind);
    let mut failed = false;
    for _ in 0..2_000 {
        if !world.deliver() {
            world.pass_alone(10);
        }
        for id in world.ids() {
            world.turn(id);
            if id == behind && !failed && world.node(id).disk.writing.take().is_some() {
                world.say(id, Input::SnapshotFailed);
                failed = true;
            }
            world.sync(id);
        }
    }
    assert!(failed);
    catches_up(&mut world, behind);
}

#[test]
fn watchers_see_what_came_with_the_snapshot_once_and_in_order() {
    let (mut world, leader, behind) = lagging();
    let last = world.member(leader).machine().revision();
    world.start(behind);
    let stream = StreamId(1);
    let opened = StreamEvent::Opened { credit: 1_000_000 };
    let spec = WatchSpec {
        keys: KeyRange {
            start: bytes::Bytes::from_static(b"k"),
            end: RangeEnd::Open,
        },
        start: Revision(0),
        id: WatchId(0),
        no_put: false,
        no_delete: false,
        prev_kv: false,
        progress_notify: false,
        fragment: false,
    };
    for event in [opened, StreamEvent::Create(spec)] {
        world.say(behind, Input::Watch { stream, event });
    }
    catches_up(&mut world, behind);
    let revisions: Vec<Revision> = world.nodes[&behind]
        .watched
        .iter()
        .filter_map(|(_, batch)| match batch {
            Batch::Events { events, .. } => Some(events),
            _ => None,
        })
        .flatten()
        .map(|shared| shared.event.kv.mod_revision)
        .collect();
    let expected: Vec<Revision> = (last.0 - 1_499..=last.0).map(Revision).collect();
    assert!(revisions == expected, "{} events", revisions.len());
}

#[test]
fn compaction_after_the_jump_is_the_same_everywhere() {
    let (mut world, leader, behind) = lagging();
    world.start(behind);
    catches_up(&mut world, behind);
    let revision = Revision(world.member(leader).machine().revision().0 - 10);
    let token = world.propose(leader, Command::Compact { revision });
    world.pass(500);
    assert!(world.acknowledged(token));
    assert_eq!(world.member(behind).machine().compacted(), revision);
    catches_up(&mut world, behind);
}
