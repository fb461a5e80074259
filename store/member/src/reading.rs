//! Answers to reads: what each kind of read looks at.

use std::sync::Arc;

use store_machine::command::Command;
use store_machine::error::Refusal;

use crate::answer::{Body, Consistency, Failure, LeaseLife, StatusReport};
use crate::effects::Effects;
use crate::expiry::{Renewal, ms_to_seconds};
use crate::forwarding::Asker;
use crate::input::{Read, Token};
use crate::member::Member;
use crate::moment::Moment;

impl Member {
    /// Takes a read: answered at once, or after a round.
    pub(crate) fn read(
        &mut self,
        now: Moment,
        token: Token,
        read: Read,
        consistency: Consistency,
        out: &mut Effects,
    ) {
        let deadline = now.plus_ms(self.config.request_timeout_ms());
        let asker = Asker::Client(token);
        if let Some(failure) = self.refuses()
            && Self::is_of_state(&read)
        {
            return self.reply(token, Err(failure), out);
        }
        if consistency == Consistency::Serializable && !matches!(read.bare(), Read::KeepAlive(_)) {
            self.answer_read(now, asker, read, out);
        } else if !self.reads.admits() || !self.forwarding.admits() {
            self.reply(token, Err(Failure::TooManyRequests), out);
        } else if read.is_of_leader() && !self.leads() {
            self.forwarding.add(token, read, deadline);
        } else {
            self.reads.add(asker, read, deadline);
        }
    }

    /// Answers the reads whose index is applied.
    pub(crate) fn answer_ripe_reads(&mut self, now: Moment, out: &mut Effects) {
        while let Some(ripe) = self.reads.ripe(self.machine.applied().0) {
            for waiting in ripe {
                let (asker, read) = (waiting.asker, waiting.read);
                if !read.is_of_leader() || self.leads() {
                    self.answer_read(now, asker, read, out);
                } else if let Asker::Client(token) = asker {
                    // The round was confirmed by a leader that this member is not. A question of a peer
                    // is not for this member any more.
                    self.forwarding.add(token, read, waiting.deadline);
                }
            }
        }
    }

    fn answer_read(&mut self, now: Moment, asker: Asker, read: Read, out: &mut Effects) {
        // Its state may have turned out to be wrong since this was asked.
        if let Some(failure) = self.refuses()
            && Self::is_of_state(&read)
        {
            return self.answer(asker, Err(failure), out);
        }
        let (actor, read) = match read {
            Read::As { actor, read } => (Some(actor), *read),
            read => (None, read),
        };
        if let Err(refusal) = self.machine.authorize(actor.as_ref(), read.access()) {
            self.answer(asker, Err(Failure::Refused(refusal)), out);
            return;
        }
        let outcome = match read {
            Read::Range(request) => {
                self.counts.work.ranges += 1;
                let reply = self.machine.range(&request);
                reply.map(Body::Range).map_err(Failure::Refused)
            }
            Read::Txn(request) => {
                let reply = self.machine.read_txn(&request);
                let work = &mut self.counts.work;
                let counted = reply.inspect(|reply| work.txn(reply));
                counted.map(Body::Txn).map_err(Failure::Refused)
            }
            Read::Weigh { txn, enough } => Ok(Body::Weight(self.machine.weigh_txn(&txn, enough))),
            Read::KeepAlive(id) => {
                let deadline = now.plus_ms(self.config.request_timeout_ms());
                match self.expiry.renew(now, id, asker, deadline) {
                    Renewal::Renewed(seconds) => {
                        self.counts.work.leases_renewed += 1;
                        Ok(Body::KeepAlive(seconds))
                    }
                    Renewal::Unknown => Ok(Body::KeepAlive(0)),
                    Renewal::Waits => return,
                    Renewal::WaitsForReset => {
                        let command = Command::LeaseCheckpoint {
                            remaining: vec![(id, 0)],
                            term: self.node.raft.term,
                        };
                        self.proposals.queue(None, Moment::NEVER, command);
                        return;
                    }
                }
            }
            Read::LeaseLife { id, keys } => {
                let life = self.machine.lease(id).map(|lease| LeaseLife {
                    granted_seconds: lease.ttl_seconds,
                    remaining_seconds: self
                        .expiry
                        .left_ms(now, id)
                        .map_or(lease.ttl_seconds, ms_to_seconds),
                    keys: if keys {
                        self.machine.lease_keys(id)
                    } else {
                        Vec::new()
                    },
                });
                Ok(Body::LeaseLife(life))
            }
            Read::Leases => {
                let mut leases: Vec<_> = self
                    .machine
                    .leases()
                    .into_iter()
                    .map(|lease| (self.expiry.left_ms(now, lease.id), lease.id))
                    .collect();
                leases.sort_unstable();
                Ok(Body::Leases(
                    leases.into_iter().map(|lease| lease.1).collect(),
                ))
            }
            Read::Auth => Ok(Body::Auth(Arc::clone(self.machine.auth()))),
            // No reader of the byte form makes one inside another, nor does any caller.
            Read::As { .. } => Err(Failure::Refused(Refusal::PermissionDenied)),
            Read::Members => Ok(Body::Members(self.members())),
            Read::Status => Ok(Body::Status(Box::new(self.status()))),
            Read::HashKv(revision) => self
                .machine
                .hash_kv(revision)
                .map(|(hash, compacted, hashed)| Body::HashKv(hash, compacted, hashed))
                .map_err(Failure::Refused),
            Read::Snapshot => Ok(Body::Snapshot(Box::new(self.machine.snapshot_begin()))),
        };
        self.answer(asker, outcome, out);
    }

    fn status(&self) -> StatusReport {
        StatusReport {
            leader: self.node.raft.leader_id,
            raft_index: self.node.raft.raft_log.last_index(),
            applied_index: self.machine.applied().0,
            size_bytes: self.machine.size_bytes(),
            size_in_use_bytes: self.machine.size_in_use_bytes(),
            quota_bytes: self.config.limits.quota_bytes,
            compacted: self.machine.compacted(),
            keys: self.machine.keys(),
            learner: self.learns(),
            alarms: self.machine.alarms(),
            corrupt: self.machine.unsound() || self.machine.is_corrupt(self.config.id),
        }
    }
}
