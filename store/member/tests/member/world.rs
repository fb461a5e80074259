//! Members, their disks, a network and a clock in one thread; nothing happens by itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use store_machine::command::Command;
use store_machine::request::{KeyRange, PutRequest, RangeEnd, RangeRequest};
use store_machine::revision::LeaseId;
use store_machine::snapshot::Restore;
use store_machine::{Limits, Machine};
use store_member::answer::{Body, Consistency, Failure, MemberInfo};
use store_member::effects::{Append, Effects, Envelope, Fatal, Notice, Reply};
use store_member::input::{Input, Read, Token};
use store_member::record::{Entry, Mark, Recovered, Vote};
use store_member::{Config, Member, Moment, PeerMessage};
use store_watch::batch::{Batch, StreamId};

/// What survives a crash, and what may not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) entries: Vec<Entry>,
    pub(crate) vote: Vote,
    pub(crate) unsynced: Vec<Append>,
    pub(crate) snapshot: Option<(Mark, Vec<Vec<u8>>)>,
    pub(crate) writing: Option<(Mark, Vec<Vec<u8>>)>,
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
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) member: Option<Member>,
    pub(crate) disk: Disk,
    pub(crate) replies: Vec<Reply>,
    pub(crate) watched: Vec<(StreamId, Batch)>,
    pub(crate) notices: Vec<Notice>,
    /// It has learnt that it is a member no more, and has ended.
    pub(crate) removed: bool,
    /// Lives so far: the seed of the next.
    lives: u64,
}

/// All there is.
pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) wire: VecDeque<(u64, Envelope)>,
    /// Links that lose everything, from and to.
    pub(crate) cut: BTreeSet<(u64, u64)>,
    /// Members whose disks sync nothing.
    pub(crate) stalled: BTreeSet<u64>,
    /// Machines begin without a quota, as the shell's do; else with their member's.
    pub(crate) unlimited: bool,
    tokens: u64,
}

impl World {
    /// `count` members with ids from 1, not started; `adjust` may change their settings.
    pub(crate) fn new(count: u64, adjust: impl Fn(&mut Config)) -> Self {
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
                watched: Vec::new(),
                notices: Vec::new(),
                removed: false,
                lives: 0,
            }
        };
        Self {
            now: Moment(1_000),
            nodes: (1..=count).map(|id| (id, node(id))).collect(),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            stalled: BTreeSet::new(),
            unlimited: false,
            tokens: 0,
        }
    }

    /// A place for a member that is to join; not started.
    pub(crate) fn add_joining(&mut self, id: u64) {
        let mut config = Config::new(7, id, 0);
        config.joining = true;
        config.members[0].name = format!("m{id}");
        config.members[0].client_urls = vec![format!("http://client-{id}")];
        let node = Node {
            config,
            member: None,
            disk: Disk::default(),
            replies: Vec::new(),
            watched: Vec::new(),
            notices: Vec::new(),
            removed: false,
            lives: 0,
        };
        self.nodes.insert(id, node);
    }

    /// As [`World::new`], all started.
    pub(crate) fn started(count: u64) -> Self {
        let mut world = Self::new(count, |_| {});
        for id in 1..=count {
            world.start(id);
        }
        world
    }

    pub(crate) fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("no such node")
    }

    pub(crate) fn member(&self, id: u64) -> &Member {
        self.nodes[&id].member.as_ref().expect("this node is down")
    }

    /// Starts a member on what its disk holds.
    pub(crate) fn start(&mut self, id: u64) -> Effects {
        let (now, unlimited) = (self.now, self.unlimited);
        let node = self.node(id);
        let limits = if unlimited {
            Limits::NONE
        } else {
            node.config.limits
        };
        node.lives += 1;
        node.config.seed = id * 1_000 + node.lives;
        let (mark, machine) = match &node.disk.snapshot {
            None => (None, Machine::new(limits)),
            Some((mark, chunks)) => {
                let mut restore = Restore::new(limits);
                for chunk in chunks {
                    restore.feed(chunk).expect("a snapshot must be readable");
                }
                let machine = restore.finish().expect("a snapshot must be whole");
                (Some(mark.clone()), machine)
            }
        };
        let recovered = Recovered {
            mark,
            vote: node.disk.vote,
            entries: node.disk.entries.clone(),
        };
        let member = Member::open(node.config.clone(), machine, recovered, now);
        node.member = Some(member.expect("a member must open on its own disk"));
        self.turn(id)
    }

    /// Drops a member; the first `kept` of its unsynced appends reach the disk all the same.
    pub(crate) fn crash(&mut self, id: u64, kept: usize) {
        let node = self.node(id);
        node.member = None;
        let unsynced = std::mem::take(&mut node.disk.unsynced);
        for append in unsynced.iter().take(kept) {
            node.disk.write(append);
        }
        node.disk.writing = None;
    }

    /// Tells a member a fact, without ending its turn.
    pub(crate) fn tell(&mut self, id: u64, input: Input, effects: &mut Effects) {
        let now = self.now;
        if let Some(member) = &mut self.node(id).member {
            member.step(now, input, effects);
        }
    }

    /// Ends a turn that `effects` were collected in; performs all but the disk's part.
    pub(crate) fn settle(&mut self, id: u64, mut effects: Effects) -> Effects {
        let now = self.now;
        let node = self.node(id);
        let Some(member) = &mut node.member else {
            return effects;
        };
        member.settle(now, &mut effects);
        if let Some(fatal) = effects.fatal.take() {
            assert_eq!(fatal, Fatal::Removed { member: id });
            node.removed = true;
        }
        if let Some(mut snapshot) = effects.snapshot.take() {
            let chunks = std::iter::from_fn(|| snapshot.content.chunk(1_000)).collect();
            node.disk.writing = Some((snapshot.mark, chunks));
        }
        if let Some(purged) = effects.purge {
            node.disk.entries.retain(|entry| entry.index > purged);
        }
        let returned = Effects {
            appends: effects.appends.clone(),
            sends: effects.sends.clone(),
            watch: effects.watch.clone(),
            end_streams: effects.end_streams,
            notices: effects.notices.clone(),
            ..Effects::default()
        };
        node.disk.unsynced.append(&mut effects.appends);
        node.replies.append(&mut effects.replies);
        node.watched.append(&mut effects.watch);
        node.notices.append(&mut effects.notices);
        if node.removed {
            node.member = None;
        }
        self.wire
            .extend(effects.sends.into_iter().map(|envelope| (id, envelope)));
        returned
    }

    /// A turn without facts.
    pub(crate) fn turn(&mut self, id: u64) -> Effects {
        self.settle(id, Effects::default())
    }

    /// A turn with one fact.
    pub(crate) fn say(&mut self, id: u64, input: Input) -> Effects {
        let mut effects = Effects::default();
        self.tell(id, input, &mut effects);
        self.settle(id, effects)
    }

    /// Makes everything a member has ordered durable and tells it; true if there was anything.
    pub(crate) fn sync(&mut self, id: u64) -> bool {
        if self.stalled.contains(&id) {
            return false;
        }
        let node = self.node(id);
        if let Some(written) = node.disk.writing.take() {
            let mark = &written.0;
            let continues = |entry: &Entry| (entry.index, entry.term) == (mark.index, mark.term);
            if !node.disk.entries.iter().any(continues) {
                // It came from another member, and replaces the log.
                node.disk.entries.clear();
            }
            node.disk.snapshot = Some(written);
            self.say(id, Input::SnapshotSynced);
            return true;
        }
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
    pub(crate) fn deliver(&mut self) -> bool {
        let Some((from, envelope)) = self.wire.pop_front() else {
            return false;
        };
        let there = self.nodes.contains_key(&envelope.to);
        if there && !self.cut.contains(&(from, envelope.to)) {
            let bytes = envelope.message.encode();
            let message = PeerMessage::decode(bytes.into()).expect("a message must be readable");
            assert_eq!(message, envelope.message);
            self.say(envelope.to, Input::PeerSaid { from, message });
        }
        true
    }

    /// Lets everything happen that can happen now: syncs, messages, turns that members ask for.
    pub(crate) fn calm(&mut self) {
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

    /// Lets `ms` pass for the members' own clocks alone: nothing is synced or delivered.
    pub(crate) fn pass_alone(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        for id in self.ids() {
            self.turn(id);
        }
    }

    /// Lets `ms` pass, in steps of at most 10 ms, everything happening in between.
    pub(crate) fn pass(&mut self, ms: u64) {
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
    pub(crate) fn pass_until(&mut self, ms: u64, done: impl Fn(&Self) -> bool) {
        let end = self.now.plus_ms(ms);
        self.calm();
        while !done(self) {
            assert!(self.now < end, "it did not happen within {ms} ms");
            self.pass(10);
        }
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// The members that believe they lead.
    pub(crate) fn leaders(&self) -> Vec<u64> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.member.as_ref().is_some_and(Member::leads))
            .map(|(&id, _)| id)
            .collect()
    }

    /// Lets time pass until somebody leads and serves.
    pub(crate) fn elect(&mut self) -> u64 {
        self.pass_until(20_000, |world| {
            let leaders = world.leaders();
            leaders.len() == 1 && world.member(leaders[0]).ready()
        });
        self.leaders()[0]
    }

    pub(crate) fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    pub(crate) fn propose(&mut self, id: u64, command: Command) -> Token {
        let token = self.token();
        self.say(id, Input::Propose { token, command });
        token
    }

    pub(crate) fn read(&mut self, id: u64, read: Read, consistency: Consistency) -> Token {
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
    pub(crate) fn outcome(&self, token: Token) -> Option<&Result<Body, Failure>> {
        let mut replies = self
            .nodes
            .values()
            .flat_map(|node| &node.replies)
            .filter(|reply| reply.token == token);
        let outcome = replies.next().map(|reply| &reply.outcome);
        assert!(replies.next().is_none(), "{token:?} was answered twice");
        outcome
    }

    pub(crate) fn acknowledged(&self, token: Token) -> bool {
        matches!(self.outcome(token), Some(Ok(_)))
    }

    /// What a member's state holds for a key, whoever leads.
    pub(crate) fn value(&self, id: u64, key: &str) -> Option<String> {
        let reply = self.member(id).machine().range(&range(key)).ok()?;
        let pair = reply.kvs.into_iter().next()?;
        String::from_utf8(pair.value.to_vec()).ok()
    }
}

pub(crate) fn put(key: &str, value: &str) -> Command {
    put_leased(key, value, LeaseId::NONE)
}

pub(crate) fn put_leased(key: &str, value: &str, lease: LeaseId) -> Command {
    Command::Put(PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

pub(crate) fn range(key: &str) -> RangeRequest {
    RangeRequest::latest(KeyRange {
        start: Bytes::copy_from_slice(key.as_bytes()),
        end: RangeEnd::Single,
    })
}

/// The value a read answered with.
pub(crate) fn value_of(outcome: &Result<Body, Failure>) -> Option<String> {
    match outcome {
        Ok(Body::Range(reply)) => {
            let pair = reply.kvs.first()?;
            String::from_utf8(pair.value.to_vec()).ok()
        }
        other => panic!("not a range: {other:?}"),
    }
}
