//! Members compare what they hold: one whose state differs is found, named with the first differing
//! revision, and answers no client until a person has taken the alarm back; nobody else is named.

use bytes::Bytes;
use store_machine::alarm::{Alarm, AlarmKind};
use store_machine::checksum::Span;
use store_machine::command::{Command, MemberChange};
use store_machine::error::Refusal;
use store_machine::revision::{LeaseId, Revision};
use store_member::Config;
use store_member::answer::{Body, Consistency, Failure};
use store_member::effects::{Notice, Unfit};
use store_member::input::{Input, Read, StreamEvent};
use store_member::peer::check::Difference;
use store_member::verdict::Aspect;
use store_watch::batch::StreamId;

use crate::world::{World, put, put_leased, range};

/// Compares every second, contents every three.
fn often(config: &mut Config) {
    config.check_ms = 1_000;
    config.check_contents_ms = 3_000;
    config.snapshot_count = 20;
}

/// Members with some history; the first snapshots are on disk.
fn running(members: u64, adjust: impl Fn(&mut Config)) -> World {
    let mut world = World::new(members, |config| {
        often(config);
        adjust(config);
    });
    for id in 1..=members {
        world.start(id);
    }
    let leader = world.elect();
    world.propose(
        leader,
        Command::LeaseGrant {
            id: LeaseId(5),
            ttl_seconds: 1_000,
        },
    );
    for i in 0..60 {
        world.propose(
            leader,
            put(&format!("k{}", i % 7), &format!("value-{i:02}")),
        );
        world.propose(
            leader,
            put_leased("leased", &format!("lease-{i:02}"), LeaseId(5)),
        );
        world.pass(20);
    }
    world.pass(500);
    world
}

/// Changes a value in the snapshot on a member's disk, so that it is still well formed: what a fault
/// of memory leaves behind.
fn alter_snapshot(world: &mut World, id: u64, old: &str, new: &str) {
    let (_, chunks) = world.node(id).disk.snapshot.as_mut().unwrap();
    let mut bytes = chunks.concat();
    assert!(
        replace(&mut bytes, old, new),
        "{old} is not in the snapshot"
    );
    let end = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[..end - 5]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    *chunks = vec![bytes];
}

fn replace(bytes: &mut [u8], old: &str, new: &str) -> bool {
    let place = bytes.windows(old.len()).position(|it| it == old.as_bytes());
    if let Some(place) = place {
        bytes[place..place + old.len()].copy_from_slice(new.as_bytes());
    }
    place.is_some()
}

/// What members were said to differ in, by whom.
fn differences(world: &World) -> Vec<(u64, Difference)> {
    let notices = world.nodes.iter().flat_map(|(&id, node)| {
        let notices = node.notices.iter();
        notices.filter_map(move |notice| match notice {
            Notice::Differs(difference) => Some((id, *difference)),
            _ => None,
        })
    });
    notices.collect()
}

fn checks(world: &World) -> (u64, u64) {
    let counts = world.ids().into_iter().map(|id| *world.member(id).counts());
    counts.fold((0, 0), |sum, counts| {
        (sum.0 + counts.checks, sum.1 + counts.checks_differing)
    })
}

fn corrupt(member: u64) -> Alarm {
    let kind = AlarmKind::Corrupt;
    Alarm { member, kind }
}

/// The member that neither leads nor is given.
fn followers(world: &World) -> Vec<u64> {
    let leader = world.leaders()[0];
    world.ids().into_iter().filter(|id| *id != leader).collect()
}

#[test]
fn members_that_agree_are_left_alone() {
    let mut world = running(3, |_| {});
    for i in 0..400 {
        let leader = world.elect();
        let id = 1 + i % 3;
        world.propose(id, put("busy", &i.to_string()));
        match i % 100 {
            // Compactions, restarts, hand-overs and lags in between.
            10 => {
                let revision = world.member(leader).machine().revision();
                world.propose(leader, Command::Compact { revision });
            }
            40 => {
                let follower = followers(&world)[0];
                world.crash(follower, 1);
                world.start(follower);
            }
            70 => {
                let token = world.token();
                world.say(leader, Input::TransferLeadership { token, to: None });
            }
            90 => {
                let follower = followers(&world)[1];
                world.cut.insert((leader, follower));
            }
            _ => world.cut.clear(),
        }
        world.pass(50);
    }
    world.pass(4_000);
    let (checks, differing) = checks(&world);
    assert!(checks > 10, "{checks} checks");
    assert_eq!(differing, 0);
    assert_eq!(differences(&world), []);
    for id in world.ids() {
        assert_eq!(world.member(id).machine().alarms(), []);
    }
}

#[test]
fn a_value_that_rots_on_one_member_is_found_and_its_revision_named() {
    let mut world = running(3, |_| {});
    let faulty = followers(&world)[0];
    let leader = world.leaders()[0];
    let bytes: Vec<u8> = world
        .node(faulty)
        .disk
        .snapshot
        .as_ref()
        .unwrap()
        .1
        .concat();
    // A value of the snapshot that is still there.
    let old = (0..60)
        .rev()
        .map(|i| format!("value-{i:02}"))
        .find(|value| bytes.windows(value.len()).any(|it| it == value.as_bytes()))
        .unwrap();
    let number: i64 = old[6..].parse().unwrap();
    // Two puts a round; the first revision is 2.
    let revision = Revision(2 + 2 * number);
    world.crash(faulty, 0);
    alter_snapshot(&mut world, faulty, &old, "VALUE-xx");
    world.start(faulty);
    world.pass_until(10_000, |world| {
        differences(world)
            .iter()
            .filter(|(_, it)| it.since.is_some_and(|s| s.exact().is_some()))
            .count()
            == 2
    });
    let exact = Span {
        after: Revision(revision.0 - 1),
        until: revision,
    };
    let difference = Difference {
        member: faulty,
        aspect: Aspect::Contents,
        since: Some(exact),
    };
    let said = differences(&world);
    assert!(said.contains(&(leader, difference)), "{said:?}");
    assert!(said.contains(&(faulty, difference)), "{said:?}");
    for id in world.ids() {
        assert_eq!(world.member(id).machine().alarms(), [corrupt(faulty)]);
    }

    // It answers nobody; the others go on.
    let refused = Err(Failure::Refused(Refusal::Corrupt));
    for consistency in [Consistency::Linearizable, Consistency::Serializable] {
        let token = world.read(faulty, Read::Range(range("k1")), consistency);
        assert_eq!(world.outcome(token), Some(&refused));
    }
    let token = world.propose(faulty, put("no", "x"));
    assert_eq!(world.outcome(token), Some(&refused));
    assert!(!world.member(faulty).ready());
    for id in world.ids() {
        if id != faulty {
            let wrote = world.propose(id, put("yes", "x"));
            let read = world.read(id, Read::Range(range("yes")), Consistency::Linearizable);
            world.pass(200);
            assert!(world.acknowledged(wrote) && world.acknowledged(read));
        }
    }
    // What a person needs is answered there too: state, members, checksums, the alarms' end.
    for read in [Read::Status, Read::Members, Read::HashKv(Revision(0))] {
        let token = world.read(faulty, read, Consistency::Serializable);
        assert!(world.acknowledged(token));
    }

    // Taken back without a repair it comes again.
    let clear = Command::AlarmClear {
        member: faulty,
        kind: AlarmKind::Corrupt,
    };
    let token = world.propose(faulty, clear.clone());
    world.pass(200);
    assert!(world.acknowledged(token));
    assert!(world.member(faulty).ready());
    world.pass(5_000);
    assert_eq!(world.member(leader).machine().alarms(), [corrupt(faulty)]);

    // Removed, it is no business of the others any more.
    let change = MemberChange::Remove { id: faulty };
    world.propose(leader, Command::Members(change));
    world.pass(1_000);
    assert_eq!(world.member(leader).machine().alarms(), []);
}

#[test]
fn another_change_is_found_by_the_running_checksum_and_named_exactly() {
    let mut world = running(3, |config| {
        config.snapshot_count = 10_000;
        config.check_contents_ms = 0;
    });
    let faulty = followers(&world)[1];
    world.crash(faulty, 0);
    // Value 40 of the log: revision 2 and 40 rounds of two.
    let entries = &mut world.node(faulty).disk.entries;
    let altered = entries.iter_mut().any(|entry| {
        let mut body = entry.body.to_vec();
        let found = replace(&mut body, "value-40", "VALUE-40");
        entry.body = Bytes::from(body);
        found
    });
    assert!(altered);
    world.start(faulty);
    world.pass_until(5_000, |world| differences(world).len() == 2);
    let span = Span {
        after: Revision(81),
        until: Revision(82),
    };
    for (_, difference) in differences(&world) {
        let expected = Difference {
            member: faulty,
            aspect: Aspect::Changes,
            since: Some(span),
        };
        assert_eq!(difference, expected);
    }
    assert!(!world.member(faulty).ready());
}

#[test]
fn a_member_that_joins_by_snapshot_is_compared_too() {
    let mut world = running(3, |_| {});
    let behind = followers(&world)[0];
    let leader = world.leaders()[0];
    world.crash(behind, 0);
    for i in 0..6_000 {
        world.propose(leader, put("much", &i.to_string()));
        if i % 100 == 0 {
            world.pass(10);
        }
    }
    world.start(behind);
    world.pass(5_000);
    let trail = |world: &World, id| world.member(id).machine().trail();
    assert_eq!(trail(&world, behind), trail(&world, leader));
    assert_eq!(trail(&world, behind).origin, Revision::FIRST);
    assert_eq!(differences(&world), []);
}

#[test]
fn of_two_that_differ_both_are_named_and_nothing_is_served() {
    let mut world = running(2, |config| config.snapshot_count = 10_000);
    let faulty = followers(&world)[0];
    world.crash(faulty, 0);
    for entry in &mut world.node(faulty).disk.entries {
        let mut body = entry.body.to_vec();
        replace(&mut body, "lease-40", "LEASE-40");
        entry.body = Bytes::from(body);
    }
    world.start(faulty);
    world.pass_until(5_000, |world| world.member(1).machine().alarms().len() == 2);
    world.pass(200);
    let refused = Err(Failure::Refused(Refusal::Corrupt));
    for id in world.ids() {
        assert_eq!(
            world.member(id).machine().alarms(),
            [corrupt(1), corrupt(2)]
        );
        let token = world.propose(id, put("no", "x"));
        world.pass(100);
        assert_eq!(world.outcome(token), Some(&refused));
    }
    assert!(!differences(&world).is_empty());
}

#[test]
fn a_leader_that_differs_leads_no_more() {
    let mut world = running(3, |config| config.snapshot_count = 10_000);
    let leader = world.leaders()[0];
    world.crash(leader, 0);
    for entry in &mut world.node(leader).disk.entries {
        let mut body = entry.body.to_vec();
        replace(&mut body, "value-30", "VALUE-30");
        entry.body = Bytes::from(body);
    }
    world.start(leader);
    let other = world.elect();
    let token = world.token();
    let to = Some(leader);
    world.say(other, Input::TransferLeadership { token, to });
    let yielded = |world: &World| {
        let mut notices = world.nodes[&leader].notices.iter();
        notices.any(|notice| {
            matches!(
                notice,
                Notice::Yields {
                    unfit: Unfit::Corrupt,
                    ..
                }
            )
        })
    };
    world.pass_until(5_000, yielded);
    world.pass(5_000);
    assert_ne!(world.leaders(), [leader]);
    assert_eq!(world.member(other).machine().alarms(), [corrupt(leader)]);
    let token = world.propose(other, put("on", "x"));
    world.pass(200);
    assert!(world.acknowledged(token));
}

#[test]
fn streams_of_a_member_that_stands_apart_end() {
    let mut world = running(3, |config| config.snapshot_count = 10_000);
    let faulty = followers(&world)[0];
    let raise = Command::AlarmRaise {
        member: faulty,
        kind: AlarmKind::Corrupt,
    };
    let stream = StreamId(1);
    let open = |world: &mut World| {
        let event = StreamEvent::Opened { credit: 10 };
        world.say(faulty, Input::Watch { stream, event })
    };
    assert!(!open(&mut world).end_streams);
    world.propose(faulty, raise);
    world.pass(200);
    let event = StreamEvent::Closed;
    assert!(
        world
            .say(faulty, Input::Watch { stream, event })
            .end_streams
    );
    assert!(open(&mut world).end_streams);
}

#[test]
fn told_to_check_at_start_a_member_serves_when_it_is_known_to_be_sound() {
    let mut world = running(3, |config| config.check_at_start = true);
    let [sound, faulty] = followers(&world)[..] else {
        panic!("three members");
    };
    for id in [sound, faulty] {
        world.crash(id, 0);
    }
    // The leader alone leads no more until another is there.
    world.pass(2_000);
    let bytes = world
        .node(faulty)
        .disk
        .snapshot
        .as_ref()
        .unwrap()
        .1
        .concat();
    let value = bytes
        .windows(8)
        .find(|it| it.starts_with(b"lease-"))
        .unwrap();
    let old = String::from_utf8(value.to_vec()).unwrap();
    alter_snapshot(&mut world, faulty, &old, "LEASE-xx");
    world.start(sound);
    let early = world.read(sound, Read::Range(range("k1")), Consistency::Serializable);
    assert_eq!(world.outcome(early), Some(&Err(Failure::NoLeader)));
    world.pass_until(5_000, |world| world.member(sound).ready());
    let token = world.read(sound, Read::Range(range("k1")), Consistency::Serializable);
    assert!(world.acknowledged(token));

    world.start(faulty);
    world.pass_until(10_000, |world| {
        let alarms = world.member(faulty).machine().alarms();
        assert!(!world.member(faulty).ready());
        alarms == [corrupt(faulty)]
    });
}

#[test]
fn with_nobody_there_a_member_serves_unchecked_after_a_minute() {
    let mut world = running(2, |config| config.check_at_start = true);
    world.crash(1, 0);
    world.crash(2, 0);
    world.start(1);
    let read = |world: &mut World| {
        let token = world.read(1, Read::Range(range("k1")), Consistency::Serializable);
        world.outcome(token).cloned()
    };
    world.pass(50_000);
    assert_eq!(read(&mut world), Some(Err(Failure::NoLeader)));
    world.pass(15_000);
    assert!(matches!(read(&mut world), Some(Ok(Body::Range(_)))));
    assert!(world.node(1).notices.contains(&Notice::ServesUnchecked));
}

#[test]
fn a_member_alone_neither_waits_nor_wakes() {
    let mut world = running(1, |config| config.check_at_start = true);
    world.crash(1, 0);
    world.start(1);
    world.calm();
    assert!(world.member(1).ready());
    assert_eq!(checks(&world), (0, 0));
}
