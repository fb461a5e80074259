//! Members, their disks, a network and a clock in one thread; nothing happens by itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use store_machine::Machine;
use store_machine::command::Command;
use store_machine::request::{KeyRange, PutRequest, RangeEnd, RangeRequest};
use store_machine::revision::LeaseId;
use store_member::answer::{Body, Consistency, Failure, MemberInfo};
use store_member::effects::{Append, Effects, Envelope, Reply, SnapshotOrder};
use store_member::input::{Input, Read, Token};
use store_member::record::{Entry, Mark, Recovered, Vote};
use store_member::{Config, Member, Moment};

/// What survives a crash, and what may not.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub entries: Vec<Entry>,
    pub vote: Vote,
    pub unsynced: Vec<Append>,
    pub snapshot: Option<(Mark, Vec<Bytes>)>,
    writing: Option<(Mark, Vec<Bytes>)>,
}

impl Disk {
    fn write(&mut self, append: &Append) {
        if let Some(first) = append.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
        }
        self.entries.extend(append.entries.iter().cloned());
        if let Some(vote) = append.vote {
            self.vote = vote;
        }
    }
}

/// One member with its disk and its clients.
pub struct Node {
    pub config: Config,
    pub member: Option<Member>,
    pub disk: Disk,
    pub replies: Vec<Reply>,
    /// Lives so far: the seed of the next.
    lives: u64,
}

/// All there is.
pub struct World {
    pub now: Moment,
    pub nodes: BTreeMap<u64, Node>,
    pub wire: VecDeque<(u64, Envelope)>,
    /// Links that lose everything, from and to.
    pub cut: BTreeSet<(u64, u64)>,
    tokens: u64,
}

impl World {
    /// `count` members with ids from 1, not started; `adjust` may change their settings.
    pub fn new(count: u64, adjust: impl Fn(&mut Config)) -> Self {
        let info = |id| MemberInfo {
            id,
            name: format!("m{id}"),
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            learner: false,
        };
        let node = |id| {
            let mut config = Config::new(7, id, 0);
            config.members = (1..=count).map(info).collect();
            adjust(&mut config);
            Node {
                config,
                member: None,
                disk: Disk::default(),
                replies: Vec::new(),
                lives: 0,
            }
        };
        Self {
            now: Moment(1_000),
            nodes: (1..=count).map(|id| (id, node(id))).collect(),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            tokens: 0,
        }
    }

    /// As [`World::new`], all started.
    pub fn started(count: u64) -> Self {
        let mut world = Self::new(count, |_| {});
        for id in 1..=count {
            world.start(id);
        }
        world
    }

    pub fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("no such node")
    }

    pub fn member(&self, id: u64) -> &Member {
        self.nodes[&id].member.as_ref().expect("this node is down")
    }

    /// Starts a member on what its disk holds.
    pub fn start(&mut self, id: u64) -> Effects {
        let now = self.now;
        let node = self.node(id);
        node.lives += 1;
        node.config.seed = id * 1_000 + node.lives;
        let machine = Machine::new(node.config.limits);
        assert!(node.disk.snapshot.is_none(), "not restored here");
        let recovered = Recovered {
            mark: None,
            vote: node.disk.vote,
            entries: node.disk.entries.clone(),
        };
        let member = Member::open(node.config.clone(), machine, recovered, now);
        node.member = Some(member.expect("a member must open on its own disk"));
        self.turn(id)
    }

    /// Drops a member; the first `kept` of its unsynced appends reach the disk all the same.
    pub fn crash(&mut self, id: u64, kept: usize) {
        let node = self.node(id);
        node.member = None;
        let unsynced = std::mem::take(&mut node.disk.unsynced);
        for append in unsynced.iter().take(kept) {
            node.disk.write(append);
        }
        node.disk.writing = None;
    }

    /// Tells a member a fact, without ending its turn.
    pub fn tell(&mut self, id: u64, input: Input, effects: &mut Effects) {
        let now = self.now;
        if let Some(member) = &mut self.node(id).member {
            member.step(now, input, effects);
        }
    }

    /// Ends a turn that `effects` were collected in; performs all but the disk's part.
    pub fn settle(&mut self, id: u64, mut effects: Effects) -> Effects {
        let now = self.now;
        let node = self.node(id);
        let Some(member) = &mut node.member else {
            return effects;
        };
        member.settle(now, &mut effects);
        assert_eq!(effects.fatal, None);
        for order in &effects.snapshot {
            match order {
                SnapshotOrder::Begin(mark) => node.disk.writing = Some((mark.clone(), Vec::new())),
                SnapshotOrder::Chunk(chunk) => {
                    if let Some(writing) = &mut node.disk.writing {
                        writing.1.push(chunk.clone());
                    }
                }
                SnapshotOrder::Finish => node.disk.snapshot = node.disk.writing.take(),
            }
        }
        let returned = Effects {
            appends: effects.appends.clone(),
            sends: effects.sends.clone(),
            watch: effects.watch.clone(),
            notices: effects.notices.clone(),
            ..Effects::default()
        };
        node.disk.unsynced.append(&mut effects.appends);
        node.replies.append(&mut effects.replies);
        self.wire
            .extend(effects.sends.into_iter().map(|envelope| (id, envelope)));
        returned
    }

    /// A turn without facts.
    pub fn turn(&mut self, id: u64) -> Effects {
        self.settle(id, Effects::default())
    }

    /// A turn with one fact.
    pub fn say(&mut self, id: u64, input: Input) -> Effects {
        let mut effects = Effects::default();
        self.tell(id, input, &mut effects);
        self.settle(id, effects)
    }

    /// Makes everything a member has ordered durable and tells it; true if there was anything.
    pub fn sync(&mut self, id: u64) -> bool {
        let node = self.node(id);
        let Some(number) = node.disk.unsynced.last().map(|append| append.number) else {
            return false;
        };
        let mut released = Vec::new();
        for append in std::mem::take(&mut node.disk.unsynced) {
            node.disk.write(&append);
            released.extend(append.then.into_iter().map(|envelope| (id, envelope)));
        }
        self.wire.extend(released);
        self.say(id, Input::Synced { number });
        true
    }

    /// Delivers the oldest message; true if there was one.
    pub fn deliver(&mut self) -> bool {
        let Some((from, envelope)) = self.wire.pop_front() else {
            return false;
        };
        if !self.cut.contains(&(from, envelope.to)) {
            let message = envelope.message;
            self.say(envelope.to, Input::PeerSaid { from, message });
        }
        true
    }

    /// Lets everything happen that can happen now: syncs, messages, turns that members ask for.
    pub fn calm(&mut self) {
        for _ in 0..100_000 {
            let mut busy = self.deliver();
            for id in self.ids() {
                busy |= self.sync(id);
                let now = self.now;
                let wants = |node: &Node| {
                    let member = node.member.as_ref();
                    member.is_some_and(|member| member.next_deadline(now) <= now)
                };
                if wants(&self.nodes[&id]) {
                    self.turn(id);
                    busy = true;
                }
            }
            if !busy {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Lets `ms` pass, in steps of at most 10 ms, everything happening in between.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while self.now < end {
            self.now = self.now.plus_ms(10).min(end);
            for id in self.ids() {
                self.turn(id);
            }
            self.calm();
        }
    }

    /// Lets time pass until `done`, at most `ms`.
    pub fn pass_until(&mut self, ms: u64, done: impl Fn(&Self) -> bool) {
        let end = self.now.plus_ms(ms);
        self.calm();
        while !done(self) {
            assert!(self.now < end, "it did not happen within {ms} ms");
            self.pass(10);
        }
    }

    pub fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// The members that believe they lead.
    pub fn leaders(&self) -> Vec<u64> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.member.as_ref().is_some_and(Member::leads))
            .map(|(&id, _)| id)
            .collect()
    }

    /// Lets time pass until somebody leads and serves.
    pub fn elect(&mut self) -> u64 {
        self.pass_until(20_000, |world| {
            let leaders = world.leaders();
            leaders.len() == 1 && world.member(leaders[0]).ready()
        });
        self.leaders()[0]
    }

    pub fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    pub fn propose(&mut self, id: u64, command: Command) -> Token {
        let token = self.token();
        self.say(id, Input::Propose { token, command });
        token
    }

    pub fn read(&mut self, id: u64, read: Read, consistency: Consistency) -> Token {
        let token = self.token();
        let input = Input::Read {
            token,
            read,
            consistency,
        };
        self.say(id, input);
        token
    }

    /// The one reply to a token, if it has come.
    pub fn outcome(&self, token: Token) -> Option<&Result<Body, Failure>> {
        let mut replies = self
            .nodes
            .values()
            .flat_map(|node| &node.replies)
            .filter(|reply| reply.token == token);
        let outcome = replies.next().map(|reply| &reply.outcome);
        assert!(replies.next().is_none(), "{token:?} was answered twice");
        outcome
    }

    pub fn acknowledged(&self, token: Token) -> bool {
        matches!(self.outcome(token), Some(Ok(_)))
    }

    /// What a member's state holds for a key, whoever leads.
    pub fn value(&self, id: u64, key: &str) -> Option<String> {
        let reply = self.member(id).machine().range(&range(key)).ok()?;
        let pair = reply.kvs.into_iter().next()?;
        String::from_utf8(pair.value.to_vec()).ok()
    }
}

pub fn put(key: &str, value: &str) -> Command {
    put_leased(key, value, LeaseId::NONE)
}

pub fn put_leased(key: &str, value: &str, lease: LeaseId) -> Command {
    Command::Put(PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

pub fn range(key: &str) -> RangeRequest {
    RangeRequest::latest(KeyRange {
        start: Bytes::copy_from_slice(key.as_bytes()),
        end: RangeEnd::Single,
    })
}

/// The value a read answered with.
pub fn value_of(outcome: &Result<Body, Failure>) -> Option<String> {
    match outcome {
        Ok(Body::Range(reply)) => {
            let pair = reply.kvs.first()?;
            String::from_utf8(pair.value.to_vec()).ok()
        }
        other => panic!("not a range: {other:?}"),
    }
}
