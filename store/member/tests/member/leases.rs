//! Leases end on time, not early, and survive a change of leader.

use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::request::{DeleteRequest, KeyRange};
use store_machine::revision::LeaseId;
use store_member::answer::{Body, Consistency, Failure};
use store_member::input::{Input, Read, Token};

use crate::world::{World, put_leased};

fn grant(world: &mut World, id: u64, lease: i64, ttl_seconds: i64) {
    let token = world.token();
    let input = Input::LeaseGrant {
        token,
        id: LeaseId(lease),
        ttl_seconds,
        actor: None,
    };
    world.say(id, input);
    world.calm();
    assert!(world.acknowledged(token), "{:?}", world.outcome(token));
}

fn keep_alive(world: &mut World, id: u64, lease: i64) -> Token {
    let token = world.read(
        id,
        Read::KeepAlive(LeaseId(lease)),
        Consistency::Linearizable,
    );
    world.calm();
    token
}

fn ttl(world: &World, token: Token) -> i64 {
    match world.outcome(token) {
        Some(Ok(Body::KeepAlive(ttl))) => *ttl,
        other => panic!("{other:?}"),
    }
}

fn exists(world: &World, id: u64, lease: i64) -> bool {
    world.member(id).machine().lease(LeaseId(lease)).is_some()
}

#[test]
fn ends_after_its_time_and_takes_its_keys_along() {
    let mut world = World::started(1);
    world.calm();
    grant(&mut world, 1, 9, 10);
    let write = world.propose(1, put_leased("k", "v", LeaseId(9)));
    world.calm();
    assert!(world.acknowledged(write));
    world.pass(9_990);
    assert!(exists(&world, 1, 9), "ended early");
    world.pass(20);
    assert!(!exists(&world, 1, 9));
    assert_eq!(world.value(1, "k"), None);
    let late = keep_alive(&mut world, 1, 9);
    assert_eq!(ttl(&world, late), 0);
}

#[test]
fn a_keep_alive_begins_the_time_anew() {
    let mut world = World::started(1);
    world.calm();
    grant(&mut world, 1, 9, 10);
    for _ in 0..5 {
        world.pass(8_000);
        let token = keep_alive(&mut world, 1, 9);
        assert_eq!(ttl(&world, token), 10);
    }
    world.pass(9_990);
    assert!(exists(&world, 1, 9));
    world.pass(20);
    assert!(!exists(&world, 1, 9));
}

#[test]
fn a_short_time_to_live_is_raised() {
    let mut world = World::started(1);
    world.calm();
    grant(&mut world, 1, 9, 1);
    let lease = world.member(1).machine().lease(LeaseId(9)).unwrap();
    assert_eq!(lease.ttl_seconds, 2);
}

#[test]
fn a_keep_alive_of_an_ended_lease_waits_for_its_revoke() {
    let mut world = World::started(1);
    world.calm();
    grant(&mut world, 1, 9, 10);
    world.now = world.now.plus_ms(10_000);
    // The revoke is proposed in this turn and not durable yet.
    let token = world.read(1, Read::KeepAlive(LeaseId(9)), Consistency::Linearizable);
    assert!(world.outcome(token).is_none());
    world.calm();
    assert_eq!(ttl(&world, token), 0);
}

#[test]
fn many_ending_at_once_leave_room_for_writes() {
    let mut world = World::started(1);
    world.calm();
    for lease in 1..=3_000 {
        let token = world.token();
        let input = Input::LeaseGrant {
            token,
            id: LeaseId(lease),
            ttl_seconds: 10,
            actor: None,
        };
        world.say(1, input);
    }
    world.calm();
    world.now = world.now.plus_ms(10_001);
    world.turn(1);
    let bound = store_member::limits::REVOKES_IN_FLIGHT_MAX as u64;
    assert!(world.member(1).counts().proposals_pending <= bound);
    world.calm();
    assert_eq!(world.member(1).machine().leases().len(), 0);
}

#[test]
fn a_new_leader_gives_every_lease_its_time_again() {
    let mut world = World::started(3);
    let old = world.elect();
    grant(&mut world, old, 9, 10);
    world.pass(8_000);
    world.crash(old, 0);
    let new = world.elect();
    world.pass(9_000);
    assert!(exists(&world, new, 9), "ended early");
    world.pass(3_000);
    assert!(!exists(&world, new, 9));
}

#[test]
fn long_leases_are_checkpointed_and_a_renewal_takes_that_back() {
    let mut world = World::started(3);
    let old = world.elect();
    // An hour.
    grant(&mut world, old, 9, 3_600);
    world.pass(11 * 60 * 1_000);
    let left = world.member(old).machine().lease(LeaseId(9)).unwrap();
    assert!(
        (2_900..=3_100).contains(&left.remaining_seconds),
        "{left:?}"
    );
    let token = keep_alive(&mut world, old, 9);
    assert_eq!(ttl(&world, token), 3_600);
    let left = world.member(old).machine().lease(LeaseId(9)).unwrap();
    assert_eq!(left.remaining_seconds, 0);
}

#[test]
fn a_client_may_revoke() {
    let mut world = World::started(1);
    world.calm();
    grant(&mut world, 1, 9, 10);
    let revoke = Command::LeaseRevoke {
        id: LeaseId(9),
        term: 0,
    };
    let token = world.propose(1, revoke);
    world.calm();
    assert!(world.acknowledged(token));
    world.pass(20_000);
    assert!(!exists(&world, 1, 9));
}

#[test]
fn a_new_leader_adds_the_time_without_a_leader() {
    let mut world = World::started(1);
    world.calm();
    grant(&mut world, 1, 9, 10);
    world.crash(1, 9);
    world.start(1);
    world.calm();
    let election_ms = world.node(1).config.election_ms;
    world.pass(10_000 + election_ms - 10);
    assert!(exists(&world, 1, 9), "ended early");
    world.pass(20);
    assert!(!exists(&world, 1, 9));
}

#[test]
fn a_keep_alive_that_waits_is_given_up_like_any_request() {
    let mut world = World::started(1);
    world.calm();
    grant(&mut world, 1, 9, 10);
    world.now = world.now.plus_ms(10_000);
    let token = world.read(1, Read::KeepAlive(LeaseId(9)), Consistency::Linearizable);
    // The disk does not answer.
    let limit = world.node(1).config.request_timeout_ms();
    world.now = world.now.plus_ms(limit);
    assert!(world.member(1).next_deadline(world.now) <= world.now);
    world.turn(1);
    assert_eq!(world.outcome(token), Some(&Err(Failure::TimedOut)));
    world.calm();
    assert!(!exists(&world, 1, 9));
}

/// A leader that cannot write must not ask for turn after turn (found by `simulate --seed 15`).
#[test]
fn ends_on_a_full_disk_and_does_not_spin() {
    let mut world = World::started(1);
    world.calm();
    grant(&mut world, 1, 9, 10);
    world.say(1, Input::DiskFull);
    world.pass(11_000);
    assert!(!exists(&world, 1, 9));
    // The room set aside is used up.
    grant_though_full(&mut world);
    let delete = Command::Delete(DeleteRequest {
        keys: KeyRange::single(vec![0; 1 << 20].into()),
        prev_kv: false,
    });
    let refused = Err(Failure::Refused(Refusal::NoSpace));
    for taken in 0.. {
        let token = world.propose(1, delete.clone());
        world.sync(1);
        if world.outcome(token) == Some(&refused) {
            assert!(taken > 1);
            break;
        }
    }
    let compact = Command::Compact {
        revision: world.member(1).machine().revision(),
    };
    let mut small = world.propose(1, compact.clone());
    while world.outcome(small) != Some(&refused) {
        for _ in 0..100 {
            small = world.propose(1, compact.clone());
        }
        world.sync(1);
    }
    world.pass(11_000);
    assert!(exists(&world, 1, 8));
    let now = world.now;
    assert!(world.member(1).next_deadline(now) > now, "it spins");
    world.say(1, Input::DiskFree);
    world.calm();
    assert!(!exists(&world, 1, 8));
}

/// Grants lease 8 while the disk has room for a moment.
fn grant_though_full(world: &mut World) {
    world.say(1, Input::DiskFree);
    grant(world, 1, 8, 10);
    world.say(1, Input::DiskFull);
}

#[test]
fn what_another_reign_decided_ends_nothing() {
    let mut world = World::started(3);
    let leader = world.elect();
    let id = LeaseId(5);
    let grant = Command::LeaseGrant {
        id,
        ttl_seconds: 60,
    };
    world.propose(leader, grant);
    world.pass(100);
    let term = world.member(leader).header().term;
    // Of the past, and of a future that the machine alone would believe.
    for decided in [term - 1, term + 1] {
        let revoke = Command::LeaseRevoke { id, term: decided };
        let checkpoint = Command::LeaseCheckpoint {
            remaining: vec![(id, 1)],
            term: decided,
        };
        for command in [revoke, checkpoint] {
            let token = world.propose(leader, command);
            world.pass(100);
            let refusal = Failure::Refused(Refusal::StaleTerm);
            assert_eq!(world.outcome(token), Some(&Err(refusal)), "term {decided}");
        }
    }
    for member in world.ids() {
        let lease = world.member(member).machine().lease(id).unwrap();
        assert_eq!(lease.remaining_seconds, 0, "member {member}");
    }
    let revoke = Command::LeaseRevoke { id, term };
    let token = world.propose(leader, revoke);
    world.pass(100);
    assert!(world.acknowledged(token));
}

/// What a lease has left by the leader's clock.
fn left(world: &mut World, lease: i64) -> i64 {
    let leader = world.elect();
    let id = LeaseId(lease);
    let token = world.read(
        leader,
        Read::LeaseLife { id, keys: false },
        Consistency::Linearizable,
    );
    world.pass(100);
    match world.outcome(token) {
        Some(Ok(Body::LeaseLife(Some(life)))) => life.remaining_seconds,
        other => panic!("{other:?}"),
    }
}

/// How a reign ends: by a crash, by everybody's restart, by a hand-over.
#[test]
fn a_new_leader_goes_on_with_what_was_left() {
    for end in ["crash", "restart of all", "hand-over"] {
        let mut world = World::started(3);
        let leader = world.elect();
        grant(&mut world, leader, 9, 120);
        grant(&mut world, leader, 8, 120);
        for _ in 0..3 {
            world.pass(30_000);
            let leader = world.elect();
            let renewed = keep_alive(&mut world, leader, 8);
            world.pass(200);
            assert_eq!(ttl(&world, renewed), 120);
        }
        let leader = world.elect();
        match end {
            "crash" => world.crash(leader, 0),
            "restart of all" => {
                for id in world.ids() {
                    world.crash(id, 0);
                }
                for id in world.ids() {
                    world.start(id);
                }
            }
            _ => {
                let token = world.token();
                world.say(leader, Input::TransferLeadership { token, to: None });
            }
        }
        world.pass(3_000);
        // 30 seconds less the time without a leader, and a step of the record at most; not 120.
        let remaining = left(&mut world, 9);
        assert!((20..=50).contains(&remaining), "{end}: {remaining}");
        assert!(left(&mut world, 8) > 110, "{end}");
        world.pass(55_000);
        let leader = world.elect();
        assert!(!exists(&world, leader, 9), "{end}");
        assert!(exists(&world, leader, 8), "{end}");
    }
}
