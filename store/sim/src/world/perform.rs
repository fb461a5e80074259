//! One turn of a member, and what becomes of its orders. Everything a member says or does is checked
//! here, before anybody else hears of it.

use store_machine::command::Command;
use store_machine::reply::{EventKind, Reply};
use store_member::answer::{Body, Failure, Header};
use store_member::effects::{Append, Effects, Envelope, Notice, PeerMessage};
use store_member::input::{Input, Token};
use store_member::record::EntryKind;
use store_watch::batch::{Batch, StreamId};

use crate::bugs::Bug;
use crate::history::{OpId, Place, What, command};
use crate::host::Slot;
use crate::plan::MS;
use crate::promises::reads::Seen;
use crate::promises::{Check, answers, broken, durability, reads, rest, state, writes};
use crate::queue::Event;
use crate::world::World;

/// Turns between two complete looks at a state, about: a look walks all keys and versions.
const LOOK_EVERY: u64 = 400;

impl World {
    /// A member's turn.
    pub(super) fn turn(&mut self, place: usize) -> Check {
        let mut effects = std::mem::take(&mut self.effects);
        let host = &mut self.hosts[place];
        if let Some(life) = &mut host.up {
            life.turn_due = false;
        }
        host.turn(self.now, &mut effects);
        let done = self.perform(place, &mut effects);
        self.effects = effects;
        done?;
        if let Some(at) = self.hosts[place].next_wake(self.now) {
            self.wake_later(place, at.max(self.now + 1));
        }
        Ok(())
    }

    fn perform(&mut self, place: usize, effects: &mut Effects) -> Check {
        if let Some(fatal) = effects.fatal.take() {
            return broken("no member ends by itself", fatal.to_string());
        }
        self.installed(place)?;
        if let (Some(snapshot), Some(life)) = (&effects.snapshot, &mut self.hosts[place].up) {
            let mark = &snapshot.mark;
            let foreign = mark.index > life.member.machine().applied().0;
            life.received = foreign.then_some((mark.index, mark.term));
        }
        for append in &effects.appends {
            self.appended(place, append)?;
        }
        for notice in effects.notices.drain(..) {
            self.noticed(place, notice)?;
        }
        let host = &self.hosts[place];
        rest::turned(host.id, host.up.as_ref().map_or(0, |life| life.idle_turns))?;
        let before = self.hosts[place].up.as_ref().map_or(0, |life| life.applied);
        self.applied(place)?;
        if effects.snapshot.is_some() || self.chance.once_in(LOOK_EVERY) {
            self.look(place)?;
        }
        let after = self.hosts[place].up.as_ref().map_or(0, |life| life.applied);
        let seen = Seen {
            compacted_before: self.canon.point(before).compacted,
            compacted_after: self.canon.point(after).compacted,
        };
        for reply in effects.replies.drain(..) {
            self.replied(place, reply.token, reply.header, reply.outcome, seen)?;
        }
        for (stream, batch) in effects.watch.drain(..) {
            self.show(place, stream, batch);
        }
        let sends = std::mem::take(&mut effects.sends);
        self.send(place, sends);
        self.order_disk(place, effects);
        Ok(())
    }

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
        self.states.look(&self.canon, host.id, member.machine())
    }

    fn appended(&mut self, place: usize, append: &Append) -> Check {
        let host = &mut self.hosts[place];
        let Some(life) = &mut host.up else {
            return Ok(());
        };
        for entry in &append.entries {
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
    fn installed(&mut self, place: usize) -> Check {
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

    fn noticed(&mut self, place: usize, notice: Notice) -> Check {
        self.say(|| format!("member {}: {notice:?}", place + 1));
        let host = &self.hosts[place];
        let (Notice::Leads { term }, Some(life)) = (notice, &host.up) else {
            return Ok(());
        };
        let who = (host.id, host.life);
        let alone = self.hosts.len() == 1;
        let elected = self
            .elections
            .leads(term, who, alone, &life.shadow, &self.canon);
        if self.blind { Ok(()) } else { elected }
    }

    /// What the member has applied in this turn.
    fn applied(&mut self, place: usize) -> Check {
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
                durability::committed(index, &slot, &self.hosts)?;
            }
            let term = self.hosts[place]
                .member()
                .map_or(0, |member| member.header().term);
            self.committed(index, slot, term)?;
        }
        let host = &self.hosts[place];
        match host.member() {
            Some(member) => state::same_point(&self.canon, host.id, member.machine()),
            None => Ok(()),
        }
    }

    /// An entry is applied for the first time: the model follows.
    fn committed(&mut self, index: u64, slot: Slot, term: u64) -> Check {
        if slot.kind == EntryKind::Normal
            && let Some(command) = command(&slot.body)
        {
            if decided_in(&command).is_some_and(|term| term != slot.term) {
                // Decided in another reign: no member carries it out.
                self.canon.push(slot, term);
                return Ok(());
            }
            let (reply, revision) = self.canon.model.apply(&command);
            let asked = self.history.of_body(&slot.body);
            match &command {
                Command::LeaseRevoke { id, .. } if asked.is_none() && reply.is_ok() => {
                    let decided = self.logs.since(index, slot.term).unwrap_or(self.now);
                    self.leases.ended(self.plan.skew, *id, decided)?;
                }
                Command::LeaseGrant { id, .. } if reply.is_ok() => self.leases.granted(*id, index),
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

    fn replied(
        &mut self,
        place: usize,
        token: Token,
        header: Header,
        mut outcome: Result<Body, Failure>,
        seen: Seen,
    ) -> Check {
        let id = OpId(usize::try_from(token.0).unwrap_or(usize::MAX));
        let Some(op) = self.history.ops.get_mut(id.0) else {
            return Ok(());
        };
        if let Err(Failure::LeaderChanged | Failure::TimedOut) = outcome
            && matches!(op.what, What::Write(_))
        {
            match self.bug {
                Some(Bug::UnknownAsAbsent) => outcome = Err(Failure::NoLeader),
                Some(Bug::ProposedAgain) if outcome == Err(Failure::LeaderChanged) => {
                    self.after(
                        MS,
                        Event::Request {
                            host: place,
                            op: id,
                        },
                    );
                    return Ok(());
                }
                _ => {}
            }
        }
        if let Some(life) = &mut self.hosts[place].up {
            answers::answered(op, id, life, &header)?;
        }
        match &op.what {
            What::Write(command) => {
                if let (Command::LeaseGrant { id, ttl_seconds }, Ok(_)) = (command, &outcome) {
                    self.leases.told(*id, *ttl_seconds, op.asked);
                }
                writes::answered(op, id, &header, &outcome)?;
            }
            What::KeepAlive(lease) => match outcome {
                Ok(Body::KeepAlive(0)) => {
                    self.leases.missed(&self.canon, *lease, op.floor_index)?;
                }
                Ok(Body::KeepAlive(ttl_seconds)) => {
                    self.leases.told(*lease, ttl_seconds, op.asked);
                }
                _ => {}
            },
            What::Range(..) | What::Txn(..) => {
                reads::answered(&self.canon, op, id, &header, &outcome, seen)?;
            }
        }
        if !self.net.well && self.chance.per_mille(self.plan.drop) {
            return Ok(());
        }
        let delay = self.client_delay();
        self.after(
            delay,
            Event::Answer {
                op: id,
                header,
                outcome,
            },
        );
        Ok(())
    }

    /// A batch goes to its watcher.
    fn show(&mut self, place: usize, stream: StreamId, mut batch: Batch) {
        let Some(watcher) = self.streams.get(&stream).copied() else {
            return;
        };
        let delay = self.client_delay();
        let compacted = self.hosts[place]
            .member()
            .map_or(0, |member| member.machine().compacted().0);
        let Some(connection) = &mut self.watchers[watcher].connection else {
            return;
        };
        if connection.stream != stream {
            return;
        }
        let mut at = connection.down.max(self.now + delay);
        match (self.bug, &mut batch) {
            (Some(Bug::DeleteLostAtCompaction), Batch::Events { events, .. }) => {
                events.retain(|shared| {
                    let event = &shared.event;
                    event.kind != EventKind::Delete || event.kv.mod_revision.0 != compacted
                });
            }
            (Some(Bug::ProgressAhead), Batch::Progress { .. }) => at = self.now + 1,
            (Some(Bug::StarvedStreamLoses), Batch::Events { .. }) if connection.owed >= 2 => {
                connection.owed += 1;
                return;
            }
            _ => {}
        }
        connection.down = connection.down.max(at);
        self.queue.push(
            at,
            Event::Shown {
                watcher,
                stream,
                batch,
            },
        );
    }

    /// Messages to other members go their way.
    pub(super) fn send(&mut self, place: usize, envelopes: Vec<Envelope>) {
        let from = self.hosts[place].id;
        for Envelope { to, message } in envelopes {
            self.note_round(place, &message);
            let host = usize::try_from(to - 1).unwrap_or(usize::MAX);
            if host >= self.hosts.len() {
                continue;
            }
            let link = (place, host);
            let [first, second] = self.net.send(self.now, link, &self.plan, &mut self.chance);
            if let Some(at) = second {
                let message = message.clone();
                self.queue.push(
                    at,
                    Event::Deliver {
                        from,
                        host,
                        message,
                    },
                );
            }
            if let Some(at) = first {
                self.queue.push(
                    at,
                    Event::Deliver {
                        from,
                        host,
                        message,
                    },
                );
            }
        }
    }

    fn order_disk(&mut self, place: usize, effects: &mut Effects) {
        let number = self.hosts[place].life;
        let Some(life) = &mut self.hosts[place].up else {
            return;
        };
        let work = !effects.appends.is_empty() || effects.purge.is_some();
        life.log.order(self.bug, &mut effects.appends);
        if let Some(index) = effects.purge.take() {
            life.log.order_purge(index);
        }
        let snapshot = effects.snapshot.take();
        if let Some(snapshot) = snapshot {
            if life.log.order_snapshot(snapshot) {
                let event = Event::Snapshot {
                    host: place,
                    life: number,
                };
                self.after(MS, event);
            } else {
                self.disk_failed(place);
                return;
            }
        }
        if work {
            let delay = self.chance.between(1, 30);
            self.disk_after(place, delay);
        }
    }

    /// For the bug below: the round of reads a member has out.
    fn note_round(&mut self, place: usize, message: &PeerMessage) {
        if self.bug == Some(Bug::RoundConfirmedByOldAnswer)
            && let (PeerMessage::Raft(raft), Some(life)) = (message, &mut self.hosts[place].up)
            && format!("{:?}", raft.get_msg_type()) == "MsgHeartbeat"
            && !raft.context.is_empty()
        {
            life.round = raft.context.clone();
        }
    }

    /// A bug: whatever answer to a heartbeat arrives is taken for one to the last.
    pub(super) fn confuse_rounds(&self, place: usize, message: &mut PeerMessage) {
        if self.bug == Some(Bug::RoundConfirmedByOldAnswer)
            && let (PeerMessage::Raft(raft), Some(life)) = (message, &self.hosts[place].up)
            && format!("{:?}", raft.get_msg_type()) == "MsgHeartbeatResponse"
        {
            raft.context = life.round.clone();
        }
    }

    /// A bug: what this member believes to have ended is revoked through whoever leads now.
    pub(super) fn revoke_as_old_leader(&mut self, place: usize) {
        let Some(member) = self.hosts[place].member().filter(|member| member.leads()) else {
            return;
        };
        let leases = member.machine().leases();
        let mut others = (0..self.hosts.len()).filter(|other| *other != place);
        let leads = |other: &usize| self.hosts[*other].member().is_some_and(|m| m.leads());
        let Some(leader) = others.find(leads) else {
            return;
        };
        for lease in leases {
            let command = Command::LeaseRevoke {
                id: lease.id,
                term: 0,
            };
            let token = Token(u64::MAX);
            self.tell(leader, Input::Propose { token, command });
        }
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

/// Whether an answer says that a write was done.
pub(super) const fn done(outcome: &Result<Body, Failure>) -> bool {
    matches!(
        outcome,
        Ok(Body::Applied(
            Reply::Put(_) | Reply::Delete(_) | Reply::Txn(_)
        ))
    )
}
