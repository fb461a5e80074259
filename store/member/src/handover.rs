//! Handing the lead to another member: because somebody asks, or before this member goes down.
//!
//! While it lasts nothing is proposed; what waits goes to the new leader. Raft gives up after an
//! election timeout, and this member leads on.

use crate::answer::{Body, Failure, Forbidden};
use crate::effects::Effects;
use crate::input::Token;
use crate::member::Member;
use crate::moment::Moment;

/// A hand-over under way, and who waits for it.
#[derive(Debug)]
pub(crate) struct Handover {
    token: Token,
    deadline: Moment,
}

impl Handover {
    pub(crate) const fn deadline(&self) -> Moment {
        self.deadline
    }
}

impl Member {
    /// Begins to hand the lead over, to a certain member or to the one that has most of the log.
    pub(crate) fn hand_over(
        &mut self,
        now: Moment,
        token: Token,
        to: Option<u64>,
        out: &mut Effects,
    ) {
        if !self.leads() {
            let failure = Failure::Forbidden(Forbidden::NotLeader);
            return self.reply(token, Err(failure), out);
        }
        if to == Some(self.config.id) {
            return self.reply(token, Ok(Body::Transferred(self.config.id)), out);
        }
        if self.handover.is_some() {
            return self.reply(token, Err(Failure::TooManyRequests), out);
        }
        let voters = &self.voters.voters;
        let target = to.or_else(|| self.best_successor(now));
        let Some(target) = target.filter(|target| voters.contains(target)) else {
            let failure = Failure::Forbidden(Forbidden::BadTransferee);
            return self.reply(token, Err(failure), out);
        };
        self.node.transfer_leader(target);
        let deadline = now.plus_ms(self.config.request_timeout_ms());
        self.handover = Some(Handover { token, deadline });
    }

    /// The voter, heard of lately, that has most of the log.
    fn best_successor(&self, now: Moment) -> Option<u64> {
        let progress = self.node.raft.prs();
        let others = self.voters.voters.iter().filter(|id| {
            let heard = self.heard.get(id);
            heard.is_some_and(|at| now.ms_since(*at) < self.config.election_ms)
        });
        others
            .copied()
            .filter(|id| *id != self.config.id)
            .max_by_key(|id| progress.get(*id).map_or(0, |progress| progress.matched))
    }

    /// Answers when a hand-over has come to an end.
    pub(crate) fn watch_handover(&mut self, now: Moment, out: &mut Effects) {
        let Some(handover) = &self.handover else {
            return;
        };
        let leader = self.node.raft.leader_id;
        let given_up = self.leads() && self.node.raft.lead_transferee.is_none();
        let outcome = if !self.leads() && leader != raft::INVALID_ID {
            Ok(Body::Transferred(leader))
        } else if given_up || now >= handover.deadline {
            Err(Failure::TimedOut)
        } else {
            return;
        };
        let token = handover.token;
        self.handover = None;
        self.reply(token, outcome, out);
    }
}
