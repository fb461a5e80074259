//! Members come and go while the store serves.

use raft::eraftpb::MessageType;
use store_machine::MemberRecord;
use store_machine::command::{Command, MemberChange};
use store_machine::error::Refusal;
use store_machine::reply::Reply;
use store_machine::revision::Revision;
use store_member::PeerMessage;
use store_member::answer::{Body, Consistency, Failure, Forbidden};
use store_member::input::{Input, Read};

use crate::world::{World, put, range};

fn add(id: u64, learner: bool) -> MemberChange {
    MemberChange::Add(MemberRecord {
        id,
        name: String::new(),
        peer_urls: vec![format!("http://peer-{id}")],
        client_urls: Vec::new(),
        learner,
    })
}

/// Asks a member for a change and waits for the outcome.
fn change(world: &mut World, at: u64, change: MemberChange) -> Result<Vec<u64>, Failure> {
    let token = world.propose(at, Command::Members(change));
    world.pass_until(10_000, |world| world.outcome(token).is_some());
    match world.outcome(token) {
        Some(Ok(Body::Applied(Reply::Members(members)))) => {
            Ok(members.iter().map(|member| member.id).collect())
        }
        Some(Err(failure)) => Err(*failure),
        other => panic!("{other:?}"),
    }
}

/// Until a member has what the leader has, and all has been said about it.
fn catches_up(world: &mut World, id: u64) {
    world.pass_until(20_000, |world| {
        let [leader] = world.leaders()[..] else {
            return false;
        };
        let hash = |id| world.member(id).machine().hash_kv(Revision(0)).unwrap();
        let known = world.member(leader).machine().member(id);
        hash(leader) == hash(id) && known.is_some_and(|member| !member.name.is_empty())
    });
}

fn start_joining(world: &mut World, id: u64) {
    world.add_joining(id);
    world.start(id);
}

fn serves(world: &mut World) {
    let leader = world.elect();
    let token = world.propose(leader, put("serves", "1"));
    world.pass(500);
    assert!(world.acknowledged(token), "{:?}", world.outcome(token));
}

fn member_ids(world: &World, id: u64) -> Vec<u64> {
    let members = world.member(id).members();
    members.iter().map(|member| member.id).collect()
}

#[test]
fn a_full_leader_that_nobody_can_follow_declines() {
    let mut world = World::started(1);
    world.elect();
    assert!(change(&mut world, 1, add(2, true)).is_ok());
    start_joining(&mut world, 2);
    catches_up(&mut world, 2);
    world.say(1, Input::DiskFull);
    for id in [1, 2] {
        let token = world.propose(id, put("a", "1"));
        world.calm();
        let full = Some(&Err(Failure::Refused(Refusal::NoSpace)));
        assert_eq!(world.outcome(token), full, "at {id}");
    }
    assert_eq!(world.leaders(), [1]);
}

#[test]
fn one_becomes_three_and_three_become_one() {
    let mut world = World::started(1);
    world.elect();
    for i in 0..200 {
        world.propose(1, put(&format!("k{}", i % 7), &i.to_string()));
    }
    world.calm();
    for id in 2..=3 {
        let ids: Vec<u64> = (1..=id).collect();
        assert_eq!(change(&mut world, 1, add(id, true)), Ok(ids));
        start_joining(&mut world, id);
        catches_up(&mut world, id);
        assert!(change(&mut world, 1, MemberChange::Promote { id }).is_ok());
        serves(&mut world);
    }
    world.pass(1_000);
    for id in 1..=3 {
        assert_eq!(member_ids(&world, id), [1, 2, 3]);
        let status = world.read(id, Read::Status, Consistency::Serializable);
        match world.outcome(status) {
            Some(Ok(Body::Status(status))) => assert!(!status.learner),
            other => panic!("{other:?}"),
        }
    }
    let third = &world.member(1).members()[2];
    assert_eq!(third.name, "m3");
    assert_eq!(third.client_urls, ["http://client-3"]);
    // The first leaves although it leads, asked of another.
    for id in [1, 2] {
        assert!(change(&mut world, 3, MemberChange::Remove { id }).is_ok());
        world.pass_until(10_000, |world| world.nodes[&id].removed);
        serves(&mut world);
    }
    assert_eq!(member_ids(&world, 3), [3]);
    let last = change(&mut world, 3, MemberChange::Remove { id: 3 });
    assert_eq!(last, Err(Failure::Forbidden(Forbidden::UnstartedMembers)));
}

/// Two members; the one that leads and the other.
fn two(world: &mut World) -> (u64, u64) {
    world.elect();
    world.pass(500);
    assert!(change(world, 1, add(2, false)).is_ok());
    start_joining(world, 2);
    catches_up(world, 2);
    let leader = world.elect();
    (leader, 3 - leader)
}

#[test]
fn who_is_left_of_two_serves_on() {
    let mut world = World::started(1);
    let (leader, other) = two(&mut world);
    let token = world.propose(
        leader,
        Command::Members(MemberChange::Remove { id: leader }),
    );
    world.pass_until(10_000, |world| world.nodes[&leader].removed);
    world.wire.clear();
    assert!(world.acknowledged(token));
    serves(&mut world);
    assert_eq!(member_ids(&world, other), [other]);
}

#[test]
fn a_member_leaves_when_another_knows_for_good() {
    for leads in [true, false] {
        for syncs in [false, true] {
            let mut world = World::started(1);
            let (leader, follower) = two(&mut world);
            let (leaves, stays) = if leads {
                (leader, follower)
            } else {
                (follower, leader)
            };
            let token = world.propose(
                leader,
                Command::Members(MemberChange::Remove { id: leaves }),
            );
            world.pass_until(10_000, |world| world.acknowledged(token));
            if syncs {
                world.pass(50);
            }
            // The power goes at the other: what it knows of the change, it has on disk, or it asks again.
            world.crash(stays, 0);
            world.wire.clear();
            world.pass(50);
            world.start(stays);
            world.pass_until(20_000, |world| world.nodes[&leaves].removed);
            serves(&mut world);
            assert_eq!(member_ids(&world, stays), [stays]);
        }
    }
}

#[test]
fn a_learner_tells_no_voter_that_it_is_removed() {
    let mut world = World::started(1);
    let (leader, other) = two(&mut world);
    assert!(change(&mut world, leader, add(3, true)).is_ok());
    start_joining(&mut world, 3);
    catches_up(&mut world, 3);
    world.cut.insert((leader, other));
    let token = world.propose(
        leader,
        Command::Members(MemberChange::Remove { id: leader }),
    );
    world.pass(50);
    world.cut.clear();
    world.pass_until(10_000, |world| world.nodes[&leader].removed);
    assert!(world.acknowledged(token));
    serves(&mut world);
}

/// It knows a leader and nobody else: there is nobody to be compared with.
#[test]
fn a_member_that_waits_for_its_snapshot_sleeps() {
    let mut world = World::started(1);
    world.elect();
    assert!(change(&mut world, 1, add(2, true)).is_ok());
    world.cut.insert((2, 1));
    start_joining(&mut world, 2);
    world.pass(500);
    assert!(world.member(2).next_deadline(world.now) > world.now);
    world.cut.clear();
    catches_up(&mut world, 2);
}

/// Its vote is the majority: it leads at once. What a learner hears of that must not be unsaid by a crash.
#[test]
fn a_sole_voter_is_silent_until_its_vote_is_durable() {
    let mut world = World::started(1);
    world.elect();
    assert!(change(&mut world, 1, add(2, true)).is_ok());
    start_joining(&mut world, 2);
    catches_up(&mut world, 2);
    for _ in 0..2 {
        world.crash(1, 0);
        world.wire.clear();
        world.start(1);
        world.pass_alone(5_000);
        for i in 0..20 {
            world.propose(1, put("k", &i.to_string()));
            world.pass_alone(200);
        }
        assert_eq!(world.leaders(), [1]);
        let said = world.wire.iter().filter(|(from, _)| *from == 1).count();
        assert_eq!(said, 0, "{:?}", world.wire);
    }
    serves(&mut world);
    catches_up(&mut world, 2);
}

#[test]
fn a_removed_leader_is_not_alone() {
    let mut world = World::started(1);
    let (leader, other) = two(&mut world);
    let token = world.propose(
        leader,
        Command::Members(MemberChange::Remove { id: leader }),
    );
    // The other does not take the lead it is offered before that.
    let offer = |message: &PeerMessage| match message {
        PeerMessage::Raft(message) => message.get_msg_type() == MessageType::MsgTimeoutNow,
        _ => false,
    };
    for _ in 0..20_000 {
        if world.acknowledged(token) {
            break;
        }
        world.wire.retain(|(_, envelope)| !offer(&envelope.message));
        if !world.deliver() {
            world.pass_alone(10);
        }
        for id in [leader, other] {
            world.turn(id);
            world.sync(id);
        }
    }
    assert!(world.acknowledged(token));
    // It may lead for a while, but it serves nobody: the other may lead, too, and has all the say.
    world.cut.insert((leader, other));
    world.cut.insert((other, leader));
    assert!(!world.member(leader).alone());
    let read = world.read(
        leader,
        Read::Range(range("serves")),
        Consistency::Linearizable,
    );
    world.pass(500);
    assert!(!matches!(world.outcome(read), Some(Ok(_))));
    world.pass_until(60_000, |world| world.nodes[&leader].removed);
}

#[test]
fn a_leader_asked_to_remove_itself_hands_over_first_and_answers() {
    let mut world = World::started(3);
    let leader = world.elect();
    world.pass(500);
    let asked = Command::Members(MemberChange::Remove { id: leader });
    let token = world.propose(leader, asked);
    world.pass_until(3_000, |world| world.nodes[&leader].removed);
    assert!(world.acknowledged(token), "{:?}", world.outcome(token));
    let others: Vec<u64> = world.ids().into_iter().filter(|&id| id != leader).collect();
    let led = world.leaders();
    assert!(others.contains(&led[0]), "{led:?}");
    assert_eq!(member_ids(&world, led[0]), others);
    serves(&mut world);
}

#[test]
fn a_former_member_is_named_only_by_who_knows_it_after_a_power_cut() {
    let mut world = World::started(3);
    let leader = world.elect();
    let gone = world.ids().into_iter().find(|&id| id != leader).unwrap();
    world.propose(leader, Command::Members(MemberChange::Remove { id: gone }));
    let mut too_early = 0;
    for _ in 0..1_000 {
        if !world.deliver() {
            world.pass_alone(10);
        }
        // The disk takes longer than everything else.
        if world.wire.is_empty() {
            for id in world.ids() {
                world.sync(id);
            }
        }
        let member = world.member(leader);
        if member.former().contains(&gone) {
            break;
        }
        too_early += usize::from(member.machine().is_removed(gone));
    }
    assert!(world.member(leader).former().contains(&gone));
    assert!(too_early > 0, "it took no time to become durable");
    world.crash(leader, 0);
    world.start(leader);
    world.sync(leader);
    assert!(world.member(leader).machine().is_removed(gone));
    world.pass_until(5_000, |world| world.member(leader).former().contains(&gone));
}

#[test]
fn a_voter_may_join_a_single_member() {
    let mut world = World::started(1);
    world.elect();
    assert_eq!(change(&mut world, 1, add(2, false)), Ok(vec![1, 2]));
    // Until it has started, nothing can be decided.
    let token = world.propose(1, put("a", "1"));
    world.calm();
    assert!(world.outcome(token).is_none());
    start_joining(&mut world, 2);
    world.pass_until(10_000, |world| world.outcome(token).is_some());
    assert!(world.acknowledged(token));
    catches_up(&mut world, 2);
}

#[test]
fn a_dead_member_is_replaced() {
    let mut world = World::started(3);
    let leader = world.elect();
    world.pass(500);
    let dead = world.ids().into_iter().find(|&id| id != leader).unwrap();
    world.crash(dead, 0);
    world.pass(2_000);
    let refused = change(&mut world, leader, add(4, false));
    assert_eq!(
        refused,
        Err(Failure::Forbidden(Forbidden::UnhealthyCluster))
    );
    assert!(change(&mut world, leader, MemberChange::Remove { id: dead }).is_ok());
    assert!(change(&mut world, leader, add(4, false)).is_ok());
    start_joining(&mut world, 4);
    catches_up(&mut world, 4);
    serves(&mut world);
    // The dead one comes back, and is told.
    world.start(dead);
    world.pass_until(10_000, |world| world.nodes[&dead].removed);
    serves(&mut world);
    let back = change(&mut world, leader, add(dead, false));
    assert_eq!(back, Err(Failure::Refused(Refusal::MemberExists)));
}

#[test]
fn a_follower_passes_changes_on_and_refusals_back() {
    let mut world = World::started(3);
    let leader = world.elect();
    world.pass(500);
    let follower = world.ids().into_iter().find(|&id| id != leader).unwrap();
    let table = [
        (
            MemberChange::Promote { id: 2 },
            Failure::Refused(Refusal::NotLearner),
        ),
        (
            MemberChange::Remove { id: 9 },
            Failure::Refused(Refusal::MemberNotFound),
        ),
    ];
    for (refused, failure) in table {
        assert_eq!(change(&mut world, follower, refused), Err(failure));
    }
    assert_eq!(
        change(&mut world, follower, add(4, true)),
        Ok(vec![1, 2, 3, 4])
    );
    assert_eq!(
        change(&mut world, follower, add(5, true)),
        Err(Failure::Forbidden(Forbidden::TooManyLearners))
    );
    assert_eq!(
        change(&mut world, follower, MemberChange::Promote { id: 4 }),
        Err(Failure::Forbidden(Forbidden::LearnerNotReady))
    );
    let update = |id, url: &str| MemberChange::Update {
        id,
        peer_urls: vec![url.into()],
    };
    assert_eq!(
        change(&mut world, follower, update(1, "http://peer-4")),
        Err(Failure::Refused(Refusal::PeerUrlExists))
    );
    assert!(change(&mut world, follower, update(1, "http://new")).is_ok());
    world.pass(500);
    for id in 1..=3 {
        assert_eq!(world.member(id).members()[0].peer_urls, ["http://new"]);
    }
}

#[test]
fn changes_asked_at_once_are_made_one_by_one() {
    let mut world = World::started(3);
    let leader = world.elect();
    world.pass(500);
    let tokens: Vec<_> = (4..=6)
        .map(|id| world.propose(leader, Command::Members(add(id, false))))
        .collect();
    world.pass(1_000);
    // Three of four are there; of five, three of which have started, as well; not of six.
    let outcomes: Vec<bool> = tokens.iter().map(|&t| world.acknowledged(t)).collect();
    assert_eq!(outcomes, [true, true, false]);
    serves(&mut world);
}

#[test]
fn members_survive_crashes_at_every_step() {
    for steps in 0..24 {
        let mut world = World::started(3);
        let leader = world.elect();
        world.pass(500);
        let token = world.propose(leader, Command::Members(add(4, true)));
        for _ in 0..steps {
            world.deliver();
            world.sync(1 + steps % 3);
        }
        for id in 1..=3 {
            world.crash(id, usize::try_from(steps % 2).unwrap());
        }
        world.wire.clear();
        let acknowledged = world.acknowledged(token);
        for id in 1..=3 {
            world.start(id);
        }
        let leader = world.elect();
        world.pass(1_000);
        let ids = member_ids(&world, leader);
        if acknowledged {
            assert_eq!(ids, [1, 2, 3, 4], "after {steps} steps");
        }
        for id in 1..=3 {
            assert_eq!(member_ids(&world, id), ids, "after {steps} steps");
        }
        if ids.len() == 3 {
            assert!(change(&mut world, leader, add(4, true)).is_ok());
        }
        start_joining(&mut world, 4);
        catches_up(&mut world, 4);
        serves(&mut world);
    }
}

#[test]
fn members_survive_a_snapshot() {
    let mut world = World::new(3, |config| {
        config.snapshot_count = 50;
        config.catch_up_entries = 5;
    });
    for id in 1..=3 {
        world.start(id);
    }
    let leader = world.elect();
    world.pass(500);
    let gone = world.ids().into_iter().find(|&id| id != leader).unwrap();
    assert!(change(&mut world, leader, MemberChange::Remove { id: gone }).is_ok());
    for i in 0..400 {
        world.propose(leader, put("k", &i.to_string()));
        world.calm();
    }
    let others: Vec<u64> = (1..=3).filter(|&id| id != gone).collect();
    for &id in &others {
        let start = &world.nodes[&id].disk.entries.first().unwrap().index;
        assert!(*start > 1, "the log of {id} still begins with its founding");
        world.crash(id, 0);
        world.start(id);
    }
    let leader = world.elect();
    assert_eq!(member_ids(&world, leader), others);
    let back = change(&mut world, leader, add(gone, false));
    assert_eq!(back, Err(Failure::Refused(Refusal::MemberExists)));
}

#[test]
fn a_member_that_joins_may_crash_at_any_step() {
    for steps in (0..60).step_by(4) {
        let mut world = World::started(1);
        world.elect();
        for i in 0..100 {
            world.propose(1, put("k", &i.to_string()));
        }
        world.calm();
        assert!(change(&mut world, 1, add(2, true)).is_ok());
        start_joining(&mut world, 2);
        for _ in 0..steps {
            if !world.deliver() {
                world.pass_alone(10);
            }
            for id in 1..=2 {
                world.turn(id);
                world.sync(id);
            }
        }
        world.crash(2, steps % 3);
        world.start(2);
        catches_up(&mut world, 2);
        serves(&mut world);
    }
}
