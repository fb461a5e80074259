//! What has been handed to the disk, and what of it is durable: the order of appends as data.

use std::collections::VecDeque;

use raft::eraftpb::{Entry as RaftEntry, Message, MessageType};

use crate::effects::{Append, Effects, Envelope};
use crate::founding::Founding;
use crate::log;
use crate::moment::Moment;
use crate::record::{Entry, EntryKind, Mark, Vote};

/// What raft wants to be sent.
pub(crate) struct Messages {
    /// As soon as the vote that gives it the right to is durable.
    pub(crate) at_once: Vec<Message>,
    /// Once all of this ready is durable.
    pub(crate) after_sync: Vec<Message>,
}

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
    /// The commit index that must be on disk soon; `None` once it has been ordered.
    commit_wanted: Option<u64>,
    /// Append that holds it.
    commit_appended: u64,
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
            commit_wanted: None,
            commit_appended: 0,
            bootstrap,
        }
    }

    /// The next append is to say that this index is committed. As a rule that is written when something else is.
    pub(crate) const fn record_commit(&mut self, index: u64) {
        self.commit_wanted = Some(index);
    }

    /// Whether what was to be recorded is durable.
    pub(crate) const fn is_commit_recorded(&self) -> bool {
        self.commit_wanted.is_none() && self.commit_appended <= self.synced
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
        messages: Messages,
        out: &mut Effects,
    ) {
        let current = vote.unwrap_or(self.vote);
        let must_vote = (current.term, current.voted_for) != (self.vote.term, self.vote.voted_for);
        // Where only the commit index moved, it is worth a record when one is written anyway, or wanted.
        self.vote = current;
        let must_commit = self.commit_wanted.take_if(|index| *index <= current.commit);
        if must_commit.is_some() {
            self.commit_appended = number;
        }
        if must_vote {
            self.vote_appended = number;
        }
        let mut then = Vec::new();
        let at_once = messages.at_once.into_iter().map(Envelope::from);
        if self.vote_appended <= self.synced {
            out.sends.extend(at_once);
        } else {
            // A sole voter leads before its vote is durable. Were a learner to hear of it, a crash could make
            // it lead twice in one term, and say two things.
            then.extend(at_once);
        }
        for message in messages.after_sync {
            // A heartbeat's answer promises nothing about the log; it may overtake entries on
            // their way to the disk, but not a vote.
            let heartbeat = message.get_msg_type() == MessageType::MsgHeartbeatResponse;
            if heartbeat && self.vote_appended <= self.synced {
                out.sends.push(Envelope::from(message));
            } else {
                then.push(Envelope::from(message));
            }
        }
        let must_record = must_vote || must_commit.is_some();
        if entries.is_empty() && !must_record && (then.is_empty() || self.is_idle()) {
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
        let vote = (must_record || !entries.is_empty()).then_some(self.vote);
        let entries = entries.iter().map(log::to_record);
        out.appends.push(Append {
            number,
            vote,
            entries: bootstrap.into_iter().chain(entries).collect(),
            then,
        });
    }
}
