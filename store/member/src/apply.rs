//! Committed and durable entries become state: apply, publish to watchers, answer who waits.

use raft::eraftpb::{Entry as RaftEntry, EntryType};
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::reply::Reply;
use store_machine::revision::{Index, LeaseId};

use crate::answer::{Body, Failure};
use crate::effects::{Effects, Fatal};
use crate::member::Member;
use crate::moment::Moment;
use crate::proposals::{self, Arrived};

/// What the member must remember of a command that the machine consumes.
enum Aftermath {
    None,
    Revoked {
        id: LeaseId,
        /// Its time was up; else a client wanted it.
        expired: bool,
    },
    Checkpointed(Vec<(LeaseId, i64)>),
    Compacted,
}

impl Member {
    pub(crate) fn apply(&mut self, now: Moment, committed: Vec<RaftEntry>, out: &mut Effects) {
        let Some(last) = committed.last().map(|entry| entry.index) else {
            return;
        };
        for entry in committed {
            if out.fatal.is_some() {
                return;
            }
            self.apply_entry(now, entry, out);
            if self.captures() {
                self.capture(out);
            }
        }
        self.node.advance_apply_to(last);
    }

    fn apply_entry(&mut self, now: Moment, entry: RaftEntry, out: &mut Effects) {
        let index = Index(entry.index);
        if entry.term > self.applied_term {
            self.applied_term = entry.term;
            self.proposals.renew(entry.term);
            self.refuse_without_room(out);
            self.more |= self.proposals.has_queued();
        }
        if entry.get_entry_type() != EntryType::EntryNormal {
            self.apply_change(&entry, out);
            return;
        }
        if entry.data.is_empty() {
            self.machine.pass(index);
            return;
        }
        let term = entry.term;
        let (token, command) = match self.proposals.arrive(entry.index, term) {
            Some(Arrived { token, command }) => (token, command),
            None => match proposals::decode(entry.data) {
                Ok((origin, command)) => (self.returned(origin), command),
                Err(error) => {
                    out.fatal = Some(Fatal::Undecodable {
                        index: entry.index,
                        term,
                        offset: error.offset,
                        expected: error.expected,
                    });
                    return;
                }
            },
        };
        if clock_term(&command).is_some_and(|decided| decided != term) {
            // Decided in another reign than the one whose log it came into: no leader does that, and
            // none whose time is over is believed (etcd issue 15247).
            self.machine.pass(index);
            if let Some(token) = token {
                let refusal = Failure::Refused(Refusal::StaleTerm);
                self.reply(token, Err(refusal), out);
            }
            return;
        }
        let aftermath = aftermath(&command);
        let applied = self.machine.apply(index, command);
        self.counts.work.applied(&applied);
        if !applied.events.is_empty() {
            self.hub.publish(applied.revision, applied.events);
            self.watch_dirty = true;
        }
        self.conclude(now, aftermath, &applied.reply, out);
        if let Some(token) = token {
            let outcome = applied.reply.map(Body::Applied).map_err(Failure::Refused);
            self.reply(token, outcome, out);
        }
    }

    /// The alarms may have changed.
    pub(crate) fn note_alarms(&mut self, out: &mut Effects) {
        self.space.note_alarms();
        self.note_corrupt(out);
    }

    /// Carries what a command did over to what only this member knows.
    fn conclude(
        &mut self,
        now: Moment,
        aftermath: Aftermath,
        reply: &Result<Reply, Refusal>,
        out: &mut Effects,
    ) {
        match reply {
            Ok(Reply::LeaseGrant { id, ttl_seconds }) => {
                self.expiry.granted(now, *id, *ttl_seconds);
            }
            Ok(Reply::MemberPublish) => out.members_changed = true,
            Ok(Reply::Members(_)) => {
                out.members_changed = true;
                // A removed member's alarms go with it.
                self.note_alarms(out);
            }
            Ok(Reply::Alarm(_)) => self.note_alarms(out),
            Err(Refusal::NoSpace) => self.space.note_refusal(),
            _ => {}
        }
        match aftermath {
            Aftermath::None => {}
            Aftermath::Compacted => {
                self.scrubbing |= reply.is_ok();
                // Watchers below the compaction are to be told.
                self.watch_dirty = true;
            }
            Aftermath::Revoked { id, expired } => {
                self.counts.leases_expired += u64::from(expired && reply.is_ok());
                // Refused as an old leader's, or while nobody knows what is right, the lease lives on; as unknown,
                // it is gone.
                if self.machine.lease(id).is_some() {
                    self.expiry.refused(now, id);
                } else {
                    for asker in self.expiry.revoked(id) {
                        self.answer(asker, Ok(Body::KeepAlive(0)), out);
                    }
                }
            }
            Aftermath::Checkpointed(remaining) => {
                for (id, seconds) in remaining {
                    let (askers, ttl) = self.expiry.checkpointed(now, id, seconds);
                    for asker in askers {
                        self.answer(asker, Ok(Body::KeepAlive(ttl)), out);
                    }
                }
            }
        }
    }
}

/// The term of the leader whose clock decided on a command, where one did.
pub(crate) fn clock_term(command: &Command) -> Option<u64> {
    match command.bare() {
        Command::LeaseRevoke { term, .. } | Command::LeaseCheckpoint { term, .. } if *term != 0 => {
            Some(*term)
        }
        _ => None,
    }
}

fn aftermath(command: &Command) -> Aftermath {
    match command.bare() {
        Command::LeaseRevoke { id, term } => Aftermath::Revoked {
            id: *id,
            expired: *term != 0,
        },
        Command::LeaseCheckpoint { remaining, .. } => Aftermath::Checkpointed(remaining.clone()),
        Command::Compact { .. } => Aftermath::Compacted,
        _ => Aftermath::None,
    }
}
