//! A full store says so, lets things be removed, and recovers by itself.

use bytes::Bytes;
use store_machine::Limits;
use store_machine::alarm::AlarmKind;
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::reply::Reply;
use store_machine::request::{DeleteRequest, KeyRange, RangeEnd};
use store_member::answer::{Body, Failure};
use store_member::effects::Notice;
use store_member::input::Input;

use crate::world::{World, put};

const QUOTA: u64 = 64 << 10;

fn full() -> World {
    let mut world = World::new(1, |config| {
        config.limits = Limits { quota_bytes: QUOTA };
    });
    world.start(1);
    world.calm();
    let value = "v".repeat(1_000);
    for i in 0..1_000 {
        let token = world.propose(1, put(&format!("k{i:03}"), &value));
        world.calm();
        if !world.acknowledged(token) {
            let refused = Err(Failure::Refused(Refusal::NoSpace));
            assert_eq!(world.outcome(token), Some(&refused));
            return world;
        }
    }
    panic!("the quota never mattered");
}

#[test]
fn the_quota_raises_an_alarm() {
    let world = full();
    assert_eq!(world.member(1).machine().alarms().len(), 1);
}

#[test]
fn the_alarm_goes_when_there_is_room_again() {
    let mut world = full();
    let all = KeyRange {
        start: Bytes::from_static(b"k"),
        end: RangeEnd::Open,
    };
    let delete = Command::Delete(DeleteRequest {
        keys: all,
        prev_kv: false,
    });
    let token = world.propose(1, delete);
    world.calm();
    let deleted = |world: &World| match world.outcome(token) {
        Some(Ok(Body::Applied(Reply::Delete(reply)))) => reply.deleted,
        other => panic!("{other:?}"),
    };
    assert!(deleted(&world) > 10);
    let revision = world.member(1).machine().revision();
    let token = world.propose(1, Command::Compact { revision });
    world.calm();
    assert!(world.acknowledged(token));
    world.calm();
    assert_eq!(world.member(1).machine().alarms(), []);
    let token = world.propose(1, put("again", "x"));
    world.calm();
    assert!(world.acknowledged(token));
}

#[test]
fn the_alarm_survives_a_restart_and_still_goes() {
    let mut world = full();
    world.crash(1, 0);
    world.start(1);
    world.calm();
    assert_eq!(world.member(1).machine().alarms().len(), 1);
    let refused = world.propose(1, put("no", "x"));
    world.calm();
    assert!(!world.acknowledged(refused));
}

#[test]
fn an_alarm_raised_by_hand_stays_until_it_is_taken_back_by_hand() {
    let mut world = World::started(1);
    world.calm();
    let (member, kind) = (1, AlarmKind::NoSpace);
    world.propose(1, Command::AlarmRaise { member, kind });
    world.pass(5_000);
    assert_eq!(world.member(1).machine().alarms().len(), 1);
    let refused = world.propose(1, put("no", "x"));
    world.calm();
    assert!(!world.acknowledged(refused));
    world.propose(1, Command::AlarmClear { member, kind });
    let token = world.propose(1, put("yes", "x"));
    world.calm();
    assert!(world.acknowledged(token));
}

#[test]
fn the_use_of_the_quota_is_said_once_per_bound() {
    let mut world = full();
    let said = |world: &World| -> Vec<u64> {
        let notices = world.nodes[&1].notices.iter();
        let percents = notices.filter_map(|notice| match notice {
            Notice::SpaceUsed { percent, .. } => Some(*percent),
            _ => None,
        });
        percents.collect()
    };
    assert_eq!(said(&world), [80, 90]);
    world.pass(1_000);
    assert_eq!(said(&world), [80, 90]);
}

#[test]
fn members_started_with_another_quota_refuse_by_the_leaders() {
    let mut world = World::new(3, |config| {
        config.limits = Limits {
            quota_bytes: QUOTA * config.id,
        };
        config.check_ms = 1_000;
    });
    world.unlimited = true;
    for id in 1..=3 {
        world.start(id);
    }
    let value = "v".repeat(1_000);
    for i in 0..300 {
        let leader = world.elect();
        world.propose(leader, put(&format!("k{i}"), &value));
        world.pass(10);
        if i % 60 == 59 {
            let token = world.token();
            world.say(leader, Input::TransferLeadership { token, to: None });
            world.pass(500);
        }
    }
    world.pass(2_000);
    let sums: Vec<u64> = (1..=3)
        .map(|id| world.member(id).machine().rest_checksum())
        .collect();
    assert_eq!(sums, [sums[0]; 3]);
    for id in 1..=3 {
        let kinds = world.member(id).machine().alarms();
        assert!(kinds.iter().all(|alarm| alarm.kind == AlarmKind::NoSpace));
    }
}

#[test]
fn a_full_disk_takes_what_gives_room_and_snapshots_are_tried() {
    let mut world = World::started(1);
    world.calm();
    let token = world.propose(1, put("a", "x"));
    world.calm();
    assert!(world.acknowledged(token));
    world.say(1, Input::DiskFull);
    world.calm();
    let refused = Err(Failure::Refused(Refusal::NoSpace));
    let token = world.propose(1, put("b", "x"));
    assert_eq!(world.outcome(token), Some(&refused));
    let delete = Command::Delete(DeleteRequest {
        keys: KeyRange {
            start: Bytes::from_static(b"a"),
            end: RangeEnd::Single,
        },
        prev_kv: false,
    });
    let token = world.propose(1, delete);
    let revision = world.member(1).machine().revision();
    world.calm();
    assert!(world.acknowledged(token));
    let compact = world.propose(1, Command::Compact { revision });
    world.pass(35_000);
    assert!(world.acknowledged(compact));
    // The log behind it can go.
    let (mark, _) = world.node(1).disk.snapshot.clone().unwrap();
    assert_eq!(mark.index, world.member(1).machine().applied().0);
    world.say(1, Input::DiskFree);
    let token = world.propose(1, put("b", "x"));
    world.calm();
    assert!(world.acknowledged(token));
}
