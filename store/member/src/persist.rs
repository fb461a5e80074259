//! What has been handed to the disk, and what of it is durable: the order of appends as data.

use std::collections::VecDeque;

use raft::eraftpb::{Entry as RaftEntry, Message, MessageType};

use crate::effects::{Append, Effects, Envelope};
use crate::founding::Founding;
use crate::log;
use crate::moment::Moment;
use crate::record::{Entry, EntryKind, Mark, Vote};

/// Appends of one life, by number. Invariant: `synced <= appended`.
#[derive(Debug)]
pub(crate) struct Persist {
    /// Last one ordered; moves only in `order`.
    appended: u64,
    /// Last one reported durable; moves only in `note_synced`.
    synced: u64,
    /// Last one that held a vote or a new term.
    vote_appended: u64,
    /// Vote and term as ordered last, with the commit index as known now.
    vote: Vote,
    /// Appends that are not durable, and when each was ordered.
    waiting: VecDeque<(u64, Moment)>,
    /// A new cluster's first entry, until it is ordered: before all others.
    bootstrap: Option<Founding>,
}

impl Persist {
    pub(crate) fn new(vote: Vote, bootstrap: Option<Founding>) -> Self {
        Self {
            appended: 0,
            synced: 0,
            vote_appended: 0,
            vote,
            waiting: VecDeque::new(),
            bootstrap,
        }
    }

    /// Whether everything ordered is durable.
    pub(crate) const fn is_idle(&self) -> bool {
        self.synced == self.appended
    }

    /// Since when the oldest append waits for the disk.
    pub(crate) fn waits_since(&self) -> Option<Moment> {
        self.waiting.front().map(|(_, at)| *at)
    }

    /// The shell has reported an append durable.
    pub(crate) fn note_synced(&mut self, number: u64) {
        assert!(
            self.synced <= number && number <= self.appended,
            "synced append {number} is outside {}..={}",
            self.synced,
            self.appended
        );
        self.synced = number;
        while self
            .waiting
            .pop_front_if(|(waiting, _)| *waiting <= number)
            .is_some()
        {}
    }

    /// Orders what one of raft's readies has for the disk, and what must wait for it.
    pub(crate) fn order(
        &mut self,
        now: Moment,
        number: u64,
        vote: Option<Vote>,
        entries: &[RaftEntry],
        messages: Vec<Message>,
        out: &mut Effects,
    ) {
        let current = vote.unwrap_or(self.vote);
        let must_vote = (current.term, current.voted_for) != (self.vote.term, self.vote.voted_for);
        // Where only the commit index moved, it is worth a record when one is written anyway.
        self.vote = current;
        if must_vote {
            self.vote_appended = number;
        }
        let mut then = Vec::new();
        for message in messages {
            // A heartbeat's answer promises nothing about the log; it may overtake entries on
            // their way to the disk, but not a vote.
            let heartbeat = message.get_msg_type() == MessageType::MsgHeartbeatResponse;
            if heartbeat && self.vote_appended <= self.synced {
                out.sends.push(Envelope::from(message));
            } else {
                then.push(Envelope::from(message));
            }
        }
        if entries.is_empty() && !must_vote && (then.is_empty() || self.is_idle()) {
            out.sends.append(&mut then);
            return;
        }
        self.appended = number;
        self.waiting.push_back((number, now));
        let bootstrap = self.bootstrap.take().map(|founding| {
            let body = founding.encode().into();
            let mark = Mark::bootstrap(founding.voters);
            Entry {
                index: mark.index,
                term: mark.term,
                kind: EntryKind::Bootstrap,
                body,
            }
        });
        // Messages alone only wait; they give the disk nothing to write.
        let vote = (must_vote || !entries.is_empty()).then_some(self.vote);
        let entries = entries.iter().map(log::to_record);
        out.appends.push(Append {
            number,
            vote,
            entries: bootstrap.into_iter().chain(entries).collect(),
            then,
        });
    }
}
