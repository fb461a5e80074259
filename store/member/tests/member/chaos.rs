//! Three members through crashes, pauses, cut links, and messages lost, doubled and out of order:
//! every promise that can be checked from outside holds at each step, and afterwards the cluster
//! heals. A failure names its seed.

use std::collections::BTreeMap;

use store_machine::revision::Revision;
use store_member::Member;
use store_member::answer::{Body, Consistency, Failure};
use store_member::effects::Notice;
use store_member::input::{Read, Token};

use crate::world::{World, put, range};

/// Splits one number into many (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

struct Chaos {
    world: World,
    dice: Dice,
    paused: BTreeMap<u64, Member>,
    writes: Vec<(Token, String)>,
    /// With the highest revision acknowledged when each began.
    reads: Vec<(Token, Revision)>,
    /// Replies looked at so far, per member.
    seen: BTreeMap<u64, usize>,
    acknowledged: Revision,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut world = World::new(3, |config| {
            config.check_ms = 1_000;
            config.check_contents_ms = 2_000;
        });
        for id in 1..=3 {
            world.start(id);
        }
        world.elect();
        Self {
            world,
            dice: Dice(seed),
            paused: BTreeMap::new(),
            writes: Vec::new(),
            reads: Vec::new(),
            seen: BTreeMap::new(),
            acknowledged: Revision(0),
        }
    }

    fn any(&mut self) -> u64 {
        1 + self.dice.roll(3)
    }

    fn up(&self, id: u64) -> bool {
        self.world.nodes[&id].member.is_some()
    }

    fn step(&mut self) {
        let mut id = self.any();
        let leaders = self.world.leaders();
        if let Some(&leader) = leaders.first()
            && self.dice.roll(5) > 0
        {
            id = leader;
        }
        match self.dice.roll(100) {
            0..15 if self.up(id) => {
                let value = self.writes.len().to_string();
                let token = self.world.propose(id, put("r", &value));
                self.writes.push((token, value));
            }
            15..25 if self.up(id) => {
                let read = Read::Range(range("r"));
                let token = self.world.read(id, read, Consistency::Linearizable);
                self.reads.push((token, self.acknowledged));
            }
            25..60 => {
                for _ in 0..self.dice.roll(12) {
                    self.world.deliver();
                }
            }
            60..82 => {
                let id = self.any();
                if self.up(id) {
                    self.world.sync(id);
                }
            }
            82..97 => self.world.pass_alone(self.dice.roll(40)),
            _ => {
                let id = self.any();
                self.fault(id);
            }
        }
        self.check();
    }

    fn fault(&mut self, id: u64) {
        match self.dice.roll(20) {
            0..2 => {
                let to = self.any();
                self.world.cut.insert((id, to));
            }
            2..8 => self.world.cut.clear(),
            8..11 => {
                // A message comes twice, the second time late.
                if let Some(message) = self.world.wire.front().cloned() {
                    self.world.wire.push_back(message);
                }
            }
            11..14 => {
                let count = self.world.wire.len() as u64;
                if count > 1 {
                    let place = usize::try_from(self.dice.roll(count)).unwrap();
                    self.world.wire.swap(0, place);
                }
            }
            14..16 => {
                if self.up(id) {
                    let kept = usize::try_from(self.dice.roll(4)).unwrap();
                    self.world.crash(id, kept);
                }
            }
            16 => {
                if let Some(member) = self.world.node(id).member.take() {
                    self.paused.insert(id, member);
                }
            }
            _ => {
                if self.paused.contains_key(&id) {
                    self.wake(id);
                } else if !self.up(id) {
                    self.world.start(id);
                }
            }
        }
    }

    fn wake(&mut self, id: u64) {
        if let Some(member) = self.paused.remove(&id) {
            self.world.node(id).member = Some(member);
        }
    }

    /// What can be checked at each step.
    fn check(&mut self) {
        let mut highest = self.acknowledged;
        for (&id, node) in &self.world.nodes {
            let seen = self.seen.entry(id).or_default();
            for reply in &node.replies[*seen..] {
                match &reply.outcome {
                    Ok(Body::Applied(_)) => highest = highest.max(reply.header.revision),
                    Ok(Body::Range(range)) => {
                        let read = self.reads.iter().find(|read| read.0 == reply.token);
                        let least = read.expect("an answer nobody asked for").1;
                        let found = range.kvs.first().map_or(Revision(0), |kv| kv.mod_revision);
                        assert!(
                            found >= least,
                            "stale: {found} after {least} was acknowledged"
                        );
                    }
                    Err(
                        Failure::LeaderChanged
                        | Failure::NoLeader
                        | Failure::TimedOut
                        | Failure::TooManyRequests,
                    ) => {}
                    other => panic!("{other:?}"),
                }
            }
            *seen = node.replies.len();
        }
        self.acknowledged = highest;
    }

    /// Faults end: the cluster must serve again, agree, and have kept every promise.
    fn heal(mut self) {
        self.world.cut.clear();
        for id in 1..=3 {
            self.wake(id);
            if !self.up(id) {
                self.world.start(id);
            }
        }
        let leader = self.world.elect();
        let last = self.world.propose(leader, put("r", "last"));
        self.world
            .pass_until(20_000, |world| world.outcome(last).is_some());
        // All that still waits is answered or given up.
        self.world.pass(10_000);
        self.check();
        let leader = self.world.elect();
        let hash = |world: &World, id| world.member(id).machine().hash_kv(Revision(0)).unwrap();
        for id in 1..=3 {
            assert_eq!(
                hash(&self.world, id),
                hash(&self.world, leader),
                "member {id}"
            );
        }
        for node in self.world.nodes.values() {
            let differs = |notice: &&Notice| matches!(notice, Notice::Differs(_));
            assert_eq!(node.notices.iter().find(differs), None);
        }
        let mut history = Vec::new();
        let machine = self.world.member(leader).machine();
        let all = |_: Revision, events: &[store_machine::reply::Event]| {
            history.extend(events.iter().map(|event| event.kv.value.clone()));
            true
        };
        let mut all = all;
        machine
            .events(Revision(2), machine.revision(), &mut all)
            .unwrap();
        for (token, value) in &self.writes {
            let times = history.iter().filter(|written| *written == value).count();
            match self.world.outcome(*token) {
                Some(Ok(_)) => assert_eq!(times, 1, "acknowledged {value} is there {times} times"),
                Some(Err(Failure::NoLeader)) => {
                    assert_eq!(times, 0, "{value} was not proposed, it was said");
                }
                _ => assert!(times <= 1, "{value} is there {times} times"),
            }
        }
    }
}

#[test]
fn promises_hold_through_faults() {
    let mut served = (0, 0);
    for seed in 0..40 {
        let result = std::panic::catch_unwind(|| {
            let mut chaos = Chaos::new(seed);
            for _ in 0..1_500 {
                chaos.step();
            }
            let good = |token: &Token| chaos.world.acknowledged(*token);
            let writes = chaos.writes.iter().filter(|write| good(&write.0)).count();
            let reads = chaos.reads.iter().filter(|read| good(&read.0)).count();
            chaos.heal();
            (writes, reads)
        });
        let (writes, reads) = result.unwrap_or_else(|_| panic!("seed {seed}"));
        served = (served.0 + writes, served.1 + reads);
    }
    // Else the faults left nothing to break.
    assert!(served.0 > 1_000 && served.1 > 1_000, "{served:?}");
}
