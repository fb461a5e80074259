//! Handing the lead to another member: because somebody asks, before this member goes down, or
//! because it is not fit to lead: its disk keeps everybody waiting or has no room, or its state is wrong.
//!
//! A slow disk costs the lead only where a majority of the voters has proved to be faster, by having
//! acknowledged what this one has not made durable; where none has, leading on is no worse. While a hand-over lasts nothing is proposed; what waits goes to the new leader. Raft gives up after an
//! election timeout, and this member leads on.

use store_machine::command::Command;
use store_machine::error::Refusal;

use crate::answer::{Body, Failure, Forbidden};
use crate::effects::{Effects, Notice, Unfit};
use crate::input::Token;
use crate::limits::YIELD_PAUSE_MS;
use crate::member::Member;
use crate::moment::Moment;
use crate::proposals::Queued;
use crate::space::gives_room;

/// A hand-over under way, and who waits for it.
#[derive(Debug)]
pub(crate) struct Handover {
    /// `None` when the member itself wants it.
    token: Option<Token>,
    deadline: Moment,
}

/// What keeps a member from being fit to lead.
#[derive(Debug, Default)]
pub(crate) struct Fitness {
    /// The disk has been slow since it last had nothing to do, and that has been said.
    slow: bool,
    /// No hand-over by itself before.
    not_before: Moment,
}

impl Member {
    /// When a hand-over has taken too long.
    pub(crate) fn next_handover(&self) -> Moment {
        let handover = self.handover.as_ref();
        handover.map_or(Moment::NEVER, |handover| handover.deadline)
    }

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
        let token = Some(token);
        self.handover = Some(Handover { token, deadline });
    }

    /// Whether a member has been heard of within an election timeout.
    pub(crate) fn heard_lately(&self, now: Moment, id: u64) -> bool {
        let heard = self.heard.get(&id);
        heard.is_some_and(|at| now.ms_since(*at) < self.config.election_ms)
    }

    /// Notes whether the disk has kept an append waiting for too long.
    pub(crate) fn watch_disk(&mut self, now: Moment, out: &mut Effects) {
        let waited_ms = self.persist.waits_since().map(|at| now.ms_since(at));
        let slow_ms = self.config.slow_sync_ms;
        if slow_ms > 0
            && let Some(ms) = waited_ms
            && ms >= slow_ms
        {
            self.counts.slow_syncs += u64::from(!self.fitness.slow);
            if !std::mem::replace(&mut self.fitness.slow, true) {
                out.notices.push(Notice::DiskSlow { ms });
            }
        } else if waited_ms.is_none() {
            self.fitness.slow = false;
        }
    }

    /// When the disk will have been too slow.
    pub(crate) fn next_slow(&self) -> Moment {
        match self.persist.waits_since() {
            Some(at) if self.config.slow_sync_ms > 0 && !self.fitness.slow => {
                at.plus_ms(self.config.slow_sync_ms)
            }
            _ => Moment::NEVER,
        }
    }

    /// Hands the lead over when this member should not have it and somebody else can.
    pub(crate) fn mind_fitness(&mut self, now: Moment, out: &mut Effects) {
        self.watch_disk(now, out);
        if !self.leads() || self.handover.is_some() || now < self.fitness.not_before {
            return;
        }
        let Some(unfit) = self.unfit() else {
            return;
        };
        let Some(to) = self.fitter_successor(now, unfit != Unfit::SlowDisk) else {
            return;
        };
        self.node.transfer_leader(to);
        let patience_ms = 2 * self.config.election_ms;
        self.handover = Some(Handover {
            token: None,
            deadline: now.plus_ms(patience_ms),
        });
        let pause_ms = match unfit {
            Unfit::SlowDisk => YIELD_PAUSE_MS,
            Unfit::FullDisk | Unfit::Corrupt => patience_ms,
        };
        self.fitness.not_before = now.plus_ms(pause_ms);
        out.notices.push(Notice::Yields { to, unfit });
    }

    /// Whether there is room for a command. While the lead goes to somebody else there always is: what is asked
    /// meanwhile goes with it, or fits into the room that is kept for what was admitted.
    pub(crate) fn takes(&mut self, command: &Command) -> bool {
        self.handover.is_some() || self.space.takes(command)
    }

    /// A leader with a full disk did not admit what it has taken along from before it led.
    pub(crate) fn refuse_without_room(&mut self, out: &mut Effects) {
        if self.leads() && self.space.disk_full() {
            let refused = |queued: &Queued| !gives_room(&queued.command);
            for queued in self.proposals.take_queued(refused) {
                self.decline(&queued, Failure::Refused(Refusal::NoSpace), out);
            }
        }
    }

    /// Why this member should not lead.
    fn unfit(&self) -> Option<Unfit> {
        if self.checks.is_corrupt() {
            Some(Unfit::Corrupt)
        } else if self.space.disk_full() {
            Some(Unfit::FullDisk)
        } else if self.fitness.slow && self.persist.waits_since().is_some() {
            Some(Unfit::SlowDisk)
        } else {
            None
        }
    }

    /// Begins to hand the lead over because this member is about to be removed; false when there is
    /// nobody to have it, or none took it.
    pub(crate) fn steps_aside(&mut self, now: Moment) -> bool {
        if self.handover.is_some() {
            return true;
        }
        if now < self.fitness.not_before {
            return false;
        }
        let Some(to) = self.best_successor(now) else {
            return false;
        };
        self.node.transfer_leader(to);
        let patience_ms = 2 * self.config.election_ms;
        self.handover = Some(Handover {
            token: None,
            deadline: now.plus_ms(patience_ms),
        });
        self.fitness.not_before = now.plus_ms(2 * patience_ms);
        true
    }

    /// The best successor; unless anybody will do, only where a majority that this member is no part of
    /// has made more of the log durable than there is here: an election takes as many disks.
    fn fitter_successor(&self, now: Moment, anybody: bool) -> Option<u64> {
        let durable = self.node.raft.raft_log.persisted;
        let progress = self.node.raft.prs();
        let voters = &self.voters.voters;
        let faster = voters.iter().filter(|&&id| {
            let matched = progress.get(id).map_or(0, |progress| progress.matched);
            id != self.config.id && matched > durable && self.heard_lately(now, id)
        });
        if anybody || faster.count() > voters.len() / 2 {
            self.best_successor(now)
        } else {
            None
        }
    }

    /// The voter, heard of lately, that has most of the log.
    fn best_successor(&self, now: Moment) -> Option<u64> {
        let progress = self.node.raft.prs();
        let others = self.voters.voters.iter().copied().filter(|&id| {
            id != self.config.id && self.heard_lately(now, id) && !self.machine.is_corrupt(id)
        });
        others.max_by_key(|id| progress.get(*id).map_or(0, |progress| progress.matched))
    }

    /// Answers when a hand-over has come to an end.
    pub(crate) fn watch_handover(&mut self, now: Moment, out: &mut Effects) {
        self.mind_fitness(now, out);
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
        if let Some(token) = token {
            self.reply(token, outcome, out);
        }
    }
}
