//! One turn of a member, and what becomes of its orders. Everything a member says or does is checked
//! here and in `world/applied.rs`, before anybody else hears of it.

use store_machine::command::Command;
use store_machine::reply::{EventKind, Reply};
use store_member::answer::{Body, Failure, Header};
use store_member::effects::{Effects, Envelope, Fatal};
use store_member::input::Token;
use store_watch::batch::{Batch, StreamId};

use crate::bugs::Bug;
use crate::history::{OpId, What};
use crate::plan::MS;
use crate::promises::reads::Seen;
use crate::promises::{Check, answers, broken, reads, rest, writes};
use crate::queue::Event;
use crate::world::World;
use crate::world::operator::{order_of, place_of};

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
        let ends = match effects.fatal.take() {
            Some(Fatal::Removed { .. }) => {
                if self.chance.once_in(2) {
                    // It ends before it has said its last.
                    effects.sends.clear();
                }
                true
            }
            Some(fatal) => return broken("no member ends by itself", fatal.to_string()),
            None => false,
        };
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
            self.noticed(place, &notice)?;
        }
        let host = &self.hosts[place];
        rest::turned(host.id, host.up.as_ref().map_or(0, |life| life.idle_turns))?;
        let before = self.hosts[place].up.as_ref().map_or(0, |life| life.applied);
        self.applied(place, effects.members_changed)?;
        effects.members_changed = false;
        if let Some(snapshot) = &effects.snapshot {
            self.memberships
                .marked(self.hosts[place].id, &snapshot.mark)?;
        }
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
        self.send(place, sends)?;
        self.order_disk(place, effects);
        if ends {
            self.memberships.ended_as_removed(self.hosts[place].id)?;
            self.removed(place);
        }
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
        if let Some(order) = order_of(token) {
            return self.wish_answered(order, &outcome);
        }
        if self.agent_answered(token, header, &outcome) {
            return Ok(());
        }
        let id = OpId(usize::try_from(token.0).unwrap_or(usize::MAX));
        let Some(op) = self.history.ops.get_mut(id.0) else {
            return Ok(());
        };
        if let Err(Failure::LeaderChanged | Failure::TimedOut) = outcome
            && matches!(op.what, What::Write(_))
        {
            match self.bug {
                Some(Bug::UnknownAsAbsent) => outcome = Err(Failure::NoLeader),
                Some(Bug::ProposedAgain) => {
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
            answers::answered(op, id, &mut life.told, &header)?;
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
        let delay = self.client_delay();
        let agents = self.agents.as_mut();
        if let Some((at, shown)) =
            agents.and_then(|agents| agents.shown(self.now + delay, stream, &batch))
        {
            self.queue.push(at, Event::Agents(shown));
            return;
        }
        let Some(watcher) = self.streams.get(&stream).copied() else {
            return;
        };
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
            (Some(Bug::HalfRevisionShown), Batch::Events { events, .. }) if events.len() > 1 => {
                events.pop();
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
    pub(super) fn send(&mut self, place: usize, envelopes: Vec<Envelope>) -> Check {
        let from = self.hosts[place].id;
        for Envelope { to, message } in envelopes {
            self.said(place, &message)?;
            if self.slips(place, to, &message) {
                continue;
            }
            let host = place_of(to);
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
        Ok(())
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
            if life.log.order_snapshot(self.bug, snapshot) {
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
