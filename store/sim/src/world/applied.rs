//! What a member has in its log and has applied, as seen after each of its turns: compared with what
//! all others have, and with the model.

use store_machine::command::Command;
use store_machine::reply::Reply;
use store_member::effects::{Append, Notice, PeerMessage};
use store_member::record::EntryKind;

use crate::history::{Place, command};
use crate::host::Slot;
use crate::promises::{Check, broken, durability, election, membership, state, writes};
use crate::world::World;

impl World {
    /// Everything of a state is compared with others'.
    pub(super) fn look(&mut self, place: usize) -> Check {
        let host = &self.hosts[place];
        let Some(member) = host.member() else {
            return Ok(());
        };
        if member.machine().applied().0 > self.canon.last() {
            return broken(
                "state machine safety",
                format!(
                    "member {} starts behind entry {}, but nobody has applied more than {}",
                    host.id,
                    member.machine().applied(),
                    self.canon.last()
                ),
            );
        }
        let members = self.memberships.at(member.machine().applied().0);
        self.states
            .look(&self.canon, members, host.id, member.machine())
    }

    pub(super) fn appended(&mut self, place: usize, append: &Append) -> Check {
        let host = &mut self.hosts[place];
        let Some(life) = &mut host.up else {
            return Ok(());
        };
        for entry in &append.entries {
            let own = life.member.leads() && life.member.header().term == entry.term;
            if own && entry.kind == EntryKind::MembersJoint && !self.blind {
                let place = (entry.index, entry.term);
                membership::proposed(host.id, &life.shadow, life.applied, place)?;
            }
            let before = life.shadow.term(entry.index - 1);
            let matches = self.logs.appended(self.now, host.id, entry, before);
            if !self.blind {
                matches?;
            }
            let slot = Slot {
                term: entry.term,
                kind: entry.kind,
                body: entry.body.clone(),
            };
            life.shadow.push(entry.index, slot);
        }
        Ok(())
    }

    /// Whether the member's state has become that of a snapshot it had received.
    pub(super) fn installed(&mut self, place: usize) -> Check {
        let host = &mut self.hosts[place];
        let Some(life) = &mut host.up else {
            return Ok(());
        };
        let applied = life.member.machine().applied().0;
        let jumped = |(index, _): &mut (u64, u64)| life.applied < *index && *index <= applied;
        let Some((index, term)) = life.received.take_if(jumped) else {
            return Ok(());
        };
        if life.shadow.term(index) == Some(term) {
            // The log has come after all.
            return Ok(());
        }
        life.shadow.restart(index, term);
        life.applied = index;
        let committed = self.canon.slot(index).map(|slot| slot.term);
        if committed != Some(term) {
            return broken(
                "state machine safety",
                format!(
                    "member {} takes a snapshot at entry {index} of term {term}, others applied one of {committed:?}",
                    host.id
                ),
            );
        }
        self.transfers += 1;
        self.say(|| format!("member {} takes a snapshot at entry {index}", place + 1));
        if applied == index {
            self.look(place)?;
        }
        Ok(())
    }

    pub(super) fn noticed(&mut self, place: usize, notice: &Notice) -> Check {
        self.say(|| format!("member {}: {notice:?}", place + 1));
        if let Notice::Leads { term } = *notice
            && self.hosts[place].durable.vote.term >= term
        {
            return self.leads(place, term);
        }
        Ok(())
    }

    /// A member leads, and others may hear of it.
    fn leads(&mut self, place: usize, term: u64) -> Check {
        let host = &self.hosts[place];
        let who = (host.id, host.life);
        let Some(life) = &host.up else { return Ok(()) };
        if self.elections.known(term, who) {
            return Ok(());
        }
        let elected = self.elections.leads(term, who, &life.shadow, &self.canon);
        if self.blind { Ok(()) } else { elected }
    }

    /// A member says something to another.
    pub(super) fn said(&mut self, place: usize, message: &PeerMessage) -> Check {
        let PeerMessage::Raft(raft) = message else {
            return Ok(());
        };
        // Raft's own numbers; before a vote the next term is only asked about.
        let (append, heartbeat, pre_vote, pre_vote_answer) = (3, 8, 17, 18);
        let kind = raft.get_msg_type() as i32;
        if kind == append || kind == heartbeat {
            self.leads(place, raft.term)?;
        }
        if self.blind || kind == pre_vote || kind == pre_vote_answer {
            return Ok(());
        }
        let host = &self.hosts[place];
        election::said(host.id, raft.term, host.durable.vote.term)
    }

    /// What the member has applied in this turn.
    pub(super) fn applied(&mut self, place: usize, told_members: bool) -> Check {
        let Some(life) = &mut self.hosts[place].up else {
            return Ok(());
        };
        let applied = life.member.machine().applied().0;
        let before = std::mem::replace(&mut life.applied, applied);
        if applied == before {
            return Ok(());
        }
        for index in before + 1..=applied {
            let host = &self.hosts[place];
            let slot = host.up.as_ref().and_then(|life| life.shadow.get(index));
            if index <= self.canon.last() {
                state::same_entry(&self.canon, host.id, index, slot)?;
                continue;
            }
            let Some(slot) = slot.cloned() else {
                return broken(
                    "state machine safety",
                    format!(
                        "member {} applies entry {index} that it does not have",
                        host.id
                    ),
                );
            };
            if !self.blind {
                let deciders = self.memberships.may_decide(index);
                let disks = self.hosts.iter().map(|host| (host.id, &host.durable));
                durability::committed(index, &slot, &deciders, disks)?;
            }
            let term = self.hosts[place]
                .member()
                .map_or(0, |member| member.header().term);
            self.committed(index, slot, term)?;
        }
        let host = &self.hosts[place];
        if self.memberships.changed_within(before, applied) && !told_members {
            return broken(
                "a shell is told when members change",
                format!(
                    "member {} has applied a change in {before}..={applied} and says nothing",
                    host.id
                ),
            );
        }
        match host.member() {
            Some(member) => state::same_point(&self.canon, host.id, member.machine()),
            None => Ok(()),
        }
    }

    /// An entry is applied for the first time: the model follows.
    fn committed(&mut self, index: u64, slot: Slot, term: u64) -> Check {
        if let Some(command) = command_of(&slot) {
            if decided_in(&command).is_some_and(|term| term != slot.term) {
                // Decided in another reign: no member carries it out.
                self.canon.push(slot, term);
                return Ok(());
            }
            let before = self.canon.model.revision();
            let (reply, revision) = self.canon.model.apply(&command);
            if let (Some(agents), Ok(Reply::Txn(_))) = (&mut self.agents, &reply) {
                // A transaction that changes nothing has no revision of its own.
                let own = if revision > before { revision } else { 0 };
                let events = self.canon.model.events(own);
                agents.committed(&command, events)?;
            }
            let asked = self.history.of_body(&slot.body);
            match &command {
                Command::LeaseRevoke { id, .. } if asked.is_none() && reply.is_ok() => {
                    let decided = self.logs.since(index, slot.term).unwrap_or(self.now);
                    self.leases.ended(self.plan.skew, *id, decided)?;
                }
                Command::LeaseGrant { id, .. } if reply.is_ok() => self.leases.granted(*id, index),
                Command::Members(change) if reply.is_ok() => {
                    let members = &self.canon.model.members;
                    self.memberships.changed(index, members, Some(change))?;
                }
                Command::MemberPublish { .. } if reply.is_ok() => {
                    let members = &self.canon.model.members;
                    self.memberships.changed(index, members, None)?;
                }
                _ => {}
            }
            if let Some(op) = asked {
                let place = Place {
                    index,
                    revision,
                    reply,
                };
                writes::placed(&mut self.history, op, place)?;
            }
        }
        self.canon.push(slot, term);
        Ok(())
    }
}

/// The command an entry holds; `None` where it holds none.
fn command_of(slot: &Slot) -> Option<Command> {
    match slot.kind {
        EntryKind::Normal => command(&slot.body),
        EntryKind::MembersJoint => Command::decode(store_member::change_in(&slot.body)?).ok(),
        EntryKind::Members | EntryKind::Bootstrap => None,
    }
}

/// The term of the leader whose clock decided on a command, where one did.
fn decided_in(command: &Command) -> Option<u64> {
    match command {
        Command::LeaseRevoke { term, .. } | Command::LeaseCheckpoint { term, .. } => {
            Some(*term).filter(|term| *term != 0)
        }
        _ => None,
    }
}
