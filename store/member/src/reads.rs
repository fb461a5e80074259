//! Linearizable reads by ReadIndex (Raft thesis 6.4): all reads that arrive while a round is out
//! share the next one.
//!
//! A round's context is made here, by the member that runs it, and never used twice: neither a
//! delayed heartbeat answer nor a repeated request of a follower can confirm a round it was not
//! meant for (the stale read of etcd issue 20418, repaired there by etcd-io/raft pull request
//! 397). That is also why a follower's request is not handed to raft as it comes, but joins a round
//! of the leader's own. A single voter's round is confirmed by raft at once: nobody else can commit.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::forwarding::Asker;
use crate::input::Read;
use crate::limits::READS_MAX;
use crate::moment::Moment;

/// A read that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) asker: Asker,
    pub(crate) read: Read,
    pub(crate) deadline: Moment,
}

/// A follower's round that waits for one of ours.
#[derive(Debug)]
pub(crate) struct Remote {
    /// The follower.
    pub(crate) from: u64,
    /// Its context, handed back to it.
    pub(crate) context: Bytes,
}

/// A round that raft has not confirmed yet.
#[derive(Debug)]
struct Round {
    context: [u8; 24],
    /// Term and leader it was begun under; a change makes it void.
    under: (u64, u64),
    begun: Moment,
    reads: Vec<Waiting>,
    remote: Vec<Remote>,
}

/// All linearizable reads of a member.
#[derive(Debug)]
pub(crate) struct Reads {
    /// First part of every context: member and life, so that no earlier life's answer fits.
    origin: (u64, u64),
    /// Last part: number of the round begun last.
    rounds: u64,
    /// Not in a round yet.
    waiting: Vec<Waiting>,
    remote_waiting: Vec<Remote>,
    round: Option<Round>,
    /// Confirmed, waiting for the index to be applied; ascending by index.
    confirmed: VecDeque<(u64, Vec<Waiting>)>,
    /// Reads in all three places.
    pending: usize,
    /// No deadline lies before this moment.
    earliest: Moment,
}

impl Reads {
    pub(crate) const fn new(member: u64, life: u64) -> Self {
        Self {
            origin: (member, life),
            rounds: 0,
            waiting: Vec::new(),
            remote_waiting: Vec::new(),
            round: None,
            confirmed: VecDeque::new(),
            pending: 0,
            earliest: Moment::NEVER,
        }
    }

    /// Whether one more may be taken.
    pub(crate) const fn admits(&self) -> bool {
        self.pending < READS_MAX
    }

    /// Takes a read into the next round.
    pub(crate) fn add(&mut self, asker: Asker, read: Read, deadline: Moment) {
        self.pending += 1;
        self.earliest = self.earliest.min(deadline);
        self.waiting.push(Waiting {
            asker,
            read,
            deadline,
        });
    }

    /// Takes a follower's round into the next one of ours.
    pub(crate) fn add_remote(&mut self, from: u64, context: Bytes) {
        if self.remote_waiting.len() < READS_MAX {
            self.remote_waiting.push(Remote { from, context });
        }
    }

    /// Begins a round, if some read wants one and none is out, and returns its context. `under`
    /// names term and leader.
    pub(crate) fn begin(&mut self, now: Moment, under: (u64, u64)) -> Option<Vec<u8>> {
        if self.round.is_some() || (self.waiting.is_empty() && self.remote_waiting.is_empty()) {
            return None;
        }
        self.rounds += 1;
        let mut context = [0; 24];
        context[..8].copy_from_slice(&self.origin.0.to_be_bytes());
        context[8..16].copy_from_slice(&self.origin.1.to_be_bytes());
        context[16..].copy_from_slice(&self.rounds.to_be_bytes());
        self.round = Some(Round {
            context,
            under,
            begun: now,
            reads: std::mem::take(&mut self.waiting),
            remote: std::mem::take(&mut self.remote_waiting),
        });
        Some(context.to_vec())
    }

    /// Raft has confirmed a round: its reads may be answered once `index` is applied. Returns the
    /// followers' rounds that were part of it.
    pub(crate) fn confirm(&mut self, context: &[u8], index: u64) -> Vec<Remote> {
        let Some(round) = self.round.take_if(|round| round.context == context) else {
            return Vec::new();
        };
        // Commit indexes do not descend within a term, but may from one leader's view to the
        // next; waiting for the higher one is always right.
        let index = self
            .confirmed
            .back()
            .map_or(index, |last| index.max(last.0));
        if !round.reads.is_empty() {
            self.confirmed.push_back((index, round.reads));
        }
        round.remote
    }

    /// Reads whose index is applied, to be answered now.
    pub(crate) fn ripe(&mut self, applied: u64) -> Option<Vec<Waiting>> {
        if self.confirmed.front()?.0 > applied {
            return None;
        }
        let (_, reads) = self.confirmed.pop_front()?;
        self.pending -= reads.len();
        Some(reads)
    }

    /// Voids a round begun under another leader or term, or that has been out for `retry_ms`: its
    /// reads wait for the next one.
    pub(crate) fn check(&mut self, now: Moment, under: (u64, u64), retry_ms: u64) {
        let Some(mut round) = self
            .round
            .take_if(|round| round.under != under || now >= round.begun.plus_ms(retry_ms))
        else {
            return;
        };
        round.reads.append(&mut self.waiting);
        self.waiting = round.reads;
        // Followers ask again by themselves; only the leader they asked may answer them.
    }

    /// Calls `late` with those that have waited long enough.
    pub(crate) fn give_up(&mut self, now: Moment, mut late: impl FnMut(Asker)) {
        if self.earliest > now {
            return;
        }
        let mut earliest = Moment::NEVER;
        let mut given_up = 0;
        let mut keep = |waiting: &Waiting| {
            if waiting.deadline <= now {
                late(waiting.asker);
                given_up += 1;
                return false;
            }
            earliest = earliest.min(waiting.deadline);
            true
        };
        for (_, reads) in &mut self.confirmed {
            reads.retain(&mut keep);
        }
        if let Some(round) = &mut self.round {
            round.reads.retain(&mut keep);
        }
        self.waiting.retain(&mut keep);
        self.earliest = earliest;
        self.pending -= given_up;
    }

    /// When the next one has waited long enough, or the round out must be repeated.
    pub(crate) fn next_deadline(&self, retry_ms: u64) -> Moment {
        let retry = self
            .round
            .as_ref()
            .map_or(Moment::NEVER, |round| round.begun.plus_ms(retry_ms));
        if self.pending == 0 {
            return retry;
        }
        retry.min(self.earliest)
    }
}
