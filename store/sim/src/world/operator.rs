//! Who changes the members while all goes on: adds them to vote or to learn, promotes, removes, replaces the
//! dead, moves addresses, asks leaders to hand over. Hosts come and go with it.

use store_machine::MemberRecord;
use store_machine::command::{Command, MemberChange};
use store_member::answer::{Body, Consistency, Failure};
use store_member::input::{Input, Read, Token};
use store_wal::sim::SimDisk;

use crate::bugs::Bug;
use crate::host::open::End;
use crate::host::{Durable, Fate, Host};
use crate::plan::{MS, SECOND};
use crate::promises::Check;
use crate::promises::membership::Wish;
use crate::queue::Event;
use crate::world::World;

/// The first token of an operator's request; those of clients stay below.
const FIRST_TOKEN: u64 = 1 << 62;

/// Members at a time, at most: etcd's advice is seven.
const MEMBERS_MAX: usize = 7;

/// Hosts of a run, at most. Those of former members are not used again.
const HOSTS_MAX: usize = 14;

/// Whether a token is an operator's; the number of its request.
pub(super) fn order_of(token: Token) -> Option<usize> {
    let number = token.0.checked_sub(FIRST_TOKEN)?;
    usize::try_from(number).ok().filter(|_| token.0 != u64::MAX)
}

impl World {
    /// A host, not yet running.
    pub(super) fn new_host(&self, id: u64, config: store_member::Config) -> Host {
        Host {
            id,
            fate: Fate::Runs,
            config,
            disk: SimDisk::new(),
            segment_bytes: self.plan.segment_bytes,
            blind: self.blind,
            durable: Durable::default(),
            life: 0,
            up: None,
            bug: self.bug,
            power_going: false,
            sync_max: self.plan.sync_max,
        }
    }

    /// The operator thinks of something to do.
    pub(super) fn operator(&mut self) {
        let next = if self.net.well {
            SECOND
        } else {
            self.chance.between(1, 2 * self.plan.change_every)
        };
        self.after(next, Event::Operator);
        if !self.net.well {
            self.retire_the_removed();
        }
        if let Some(wish) = self.wish() {
            self.say(|| format!("the operator wishes {wish:?}"));
            let order = self.memberships.ask(wish);
            let host = self.some_host();
            let delay = self.client_delay();
            self.after(delay, Event::Wish { host, order });
        }
    }

    /// A host that is in use; in peace, one of a member.
    pub(super) fn some_host(&mut self) -> usize {
        let used = self.used_hosts();
        used[self.chance.place(used.len())]
    }

    pub(super) fn is_member(&self, place: usize) -> bool {
        let records = &self.canon.model.members.records;
        records.contains_key(&(place as u64 + 1))
    }

    fn wish(&mut self) -> Option<Wish> {
        let members = &self.canon.model.members;
        let lost = |id: &&u64| self.hosts[place_of(**id)].fate == Fate::Lost;
        if let Some(&id) = members.records.keys().find(lost) {
            // Nothing else before that: a majority depends on it.
            return Some(Wish::Change(MemberChange::Remove { id }));
        }
        if self.net.well {
            return None;
        }
        let ids: Vec<u64> = members.records.keys().copied().collect();
        let learners = members.learners();
        let mut some = |ids: &[u64]| ids.get(self.chance.place(ids.len())).copied();
        let any = some(&ids)?;
        let learner = some(&learners).unwrap_or(any);
        let room = ids.len() < MEMBERS_MAX && self.hosts.len() < HOSTS_MAX;
        Some(match self.chance.below(20) {
            0..4 if room => Wish::Change(self.addition(false)),
            4..8 if room => Wish::Change(self.addition(true)),
            8..12 => Wish::Change(MemberChange::Promote { id: learner }),
            12..15 => {
                let down = |id: &&u64| self.hosts[place_of(**id)].up.is_none();
                let dead = ids.iter().find(down).copied();
                let leader = self.leader().map(|place| self.hosts[place].id);
                let id = match self.chance.below(3) {
                    0 => dead.unwrap_or(any),
                    1 => leader.unwrap_or(any),
                    _ => any,
                };
                Wish::Change(MemberChange::Remove { id })
            }
            15 => Wish::Change(MemberChange::Update {
                id: any,
                peer_urls: vec![self.some_url()],
            }),
            16..18 => {
                let to = (!self.chance.once_in(3)).then_some(any);
                Wish::HandOver(to)
            }
            _ => Wish::List,
        })
    }

    /// A new member, and a host for it: set up a little later, or a little too early.
    fn addition(&mut self, learner: bool) -> MemberChange {
        let id = self.hosts.len() as u64 + 1;
        let record = MemberRecord {
            id,
            peer_urls: vec![self.some_url()],
            learner,
            ..MemberRecord::default()
        };
        let mut config = self.config_of(id);
        config.joining = self.bug != Some(Bug::JoinsAsFounder);
        if !config.joining {
            let others = self.canon.model.members.voters();
            config.members.extend(others.into_iter().map(World::named));
        }
        let host = self.new_host(id, config);
        self.hosts.push(host);
        let delay = self.chance.skewed(10 * MS, 4 * SECOND);
        let host = self.hosts.len() - 1;
        self.after(delay, Event::Joins { host });
        MemberChange::Add(record)
    }

    /// An address, now and then one that somebody has.
    fn some_url(&mut self) -> String {
        format!("p{}", self.chance.below(200))
    }

    /// A wish arrives at a member.
    pub(super) fn wish_arrives(&mut self, host: usize, order: usize) {
        let life = self.hosts[host].life;
        let wish = self.memberships.arrives(order, host, life);
        let token = Token(FIRST_TOKEN + order as u64);
        let input = match wish {
            Wish::Change(change) => Input::Propose {
                token,
                command: Command::Members(change),
            },
            Wish::HandOver(to) => Input::TransferLeadership { token, to },
            Wish::List => Input::Read {
                token,
                read: Read::Members,
                consistency: Consistency::Linearizable,
            },
        };
        self.tell(host, input);
    }

    /// A member answers the operator.
    pub(super) fn wish_answered(&mut self, order: usize, outcome: &Result<Body, Failure>) -> Check {
        self.say(|| format!("wish {order} is answered with {outcome:?}"));
        self.memberships.answered(order, outcome)
    }

    /// A process has ended because its member was removed. Whoever looks after it may start it again.
    pub(super) fn removed(&mut self, place: usize) {
        self.say(|| format!("member {} is one no more", place + 1));
        if !self.chance.once_in(3) && self.settled(&[]) {
            self.hosts[place].fate = Fate::Retired;
        }
        self.end(place, End::Killed);
    }

    /// Whether all voters but these have the last change of members on disk as committed. Who is not needed by then
    /// is not needed any more: an operator asks them before taking anything away.
    fn settled(&self, but: &[u64]) -> bool {
        let last = self.memberships.last_change();
        let voters = self.canon.model.members.voters();
        let knows = |id: &u64| {
            let durable = &self.hosts[place_of(*id)].durable;
            durable.vote.commit >= last || durable.snapshot >= last
        };
        voters.iter().filter(|id| !but.contains(id)).all(knows)
    }

    /// Now and then an operator stops what it has removed itself.
    fn retire_the_removed(&mut self) {
        for place in 0..self.hosts.len() {
            let removed = self
                .canon
                .model
                .members
                .removed
                .contains(&(place as u64 + 1));
            let runs = self.hosts[place].fate == Fate::Runs;
            if removed && runs && self.chance.once_in(20) && self.settled(&[]) {
                self.hosts[place].fate = Fate::Retired;
                self.end(place, End::Stopped);
            }
        }
    }

    /// A disk is lost for good, if what is left can still decide, whatever else is on its way.
    pub(crate) fn lose(&mut self, place: usize) {
        let id = place as u64 + 1;
        let members = &self.canon.model.members;
        let voters = members.voters();
        if !members.records.contains_key(&id) {
            return;
        }
        let is_lost = |other: u64| other == id || self.hosts[place_of(other)].fate == Fate::Lost;
        let lost: Vec<u64> = voters.iter().copied().filter(|id| is_lost(*id)).collect();
        if !self.settled(&lost) {
            return;
        }
        let mut left = voters.iter().filter(|id| !is_lost(**id)).count();
        let mut all = voters.len();
        for change in self.memberships.open() {
            match change {
                MemberChange::Add(member) if member.learner => {}
                MemberChange::Add(_) | MemberChange::Promote { .. } => all += 1,
                MemberChange::Remove { id } if is_lost(*id) => {}
                MemberChange::Remove { .. } => left = left.saturating_sub(1),
                MemberChange::Update { .. } => {}
            }
        }
        if left * 2 <= all {
            return;
        }
        self.say(|| format!("the disk of member {id} is lost for good"));
        self.hosts[place].fate = Fate::Lost;
        self.end(place, End::Killed);
    }
}

/// Where a member lives.
pub(super) fn place_of(id: u64) -> usize {
    usize::try_from(id - 1).unwrap_or(usize::MAX)
}
