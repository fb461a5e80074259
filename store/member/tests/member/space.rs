//! A full store says so, lets things be removed, and recovers by itself.

use bytes::Bytes;
use store_machine::Limits;
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::reply::Reply;
use store_machine::request::{DeleteRequest, KeyRange, RangeEnd};
use store_member::answer::{Body, Failure};

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
