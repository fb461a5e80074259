//! The end of a member that was removed: not before another voter knows it for good.
//!
//! A change of members counts here from the moment it is applied. Who is removed has it applied when the others
//! may not yet, or may forget it with the power; until one of them knows for good, their majority may need its
//! vote. Two members, one removes itself and ends: the other waits for it without end. So it stays, serves
//! nobody, and keeps talking to the voters, until one of them turns it away.

use std::collections::BTreeSet;

use raft::eraftpb::{Message, MessageType};

use crate::effects::{Effects, Envelope, Fatal};
use crate::election::leads_alone;
use crate::member::Member;
use crate::moment::Moment;
use crate::peer::PeerMessage;

/// Election timeouts after which a member that was removed ends all the same: in one or two of them, whoever
/// needs its vote asks for it.
const ELECTIONS_MAX: u64 = 5;

/// This member knows that it is one no more.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// Since when.
    since: Moment,
    /// When to talk to the voters again.
    ask_at: Moment,
}

/// Former members, as they may be told.
#[derive(Debug)]
pub(crate) struct Former {
    ids: BTreeSet<u64>,
    /// The members have changed since, and that is not durable here.
    behind: bool,
}

impl Former {
    /// As found on disk.
    pub(crate) const fn new(ids: BTreeSet<u64>) -> Self {
        Self { ids, behind: false }
    }
}

impl Member {
    /// Who was a member once, as far as this one knows for good: who is told so ends, and must not be missed after a
    /// power cut. [`Effects::members_changed`] says when to look again.
    #[must_use]
    pub const fn former(&self) -> &BTreeSet<u64> {
        &self.former.ids
    }

    /// Looks whether more of it has become durable.
    pub(crate) fn note_former(&mut self, out: &mut Effects) {
        if self.former.behind && self.persist.is_commit_recorded() {
            self.former = Former::new(self.machine.removed().collect());
            out.members_changed = true;
        }
    }

    /// When [`Member::leave_when_removed`] has something to do.
    pub(crate) fn next_leaving(&self) -> Moment {
        let leaving = self.leaving.as_ref();
        leaving.map_or(Moment::NEVER, |leaving| leaving.ask_at)
    }

    /// Whether this member was removed, as far as it knows.
    pub(crate) fn is_removed(&self) -> bool {
        self.machine.is_removed(self.config.id)
    }

    /// Asks the voters until one of them says that it knows, too.
    pub(crate) fn leave_when_removed(&mut self, now: Moment, out: &mut Effects) {
        if !self.is_removed() {
            return;
        }
        let leaving = self.leaving.get_or_insert(Leaving {
            since: now,
            ask_at: now,
        });
        if now.ms_since(leaving.since) > ELECTIONS_MAX * self.config.election_ms {
            self.end_as_removed(out);
            return;
        }
        if now < leaving.ask_at {
            return;
        }
        leaving.ask_at = now.plus_ms(self.config.heartbeat_ms);
        // Means nothing to a voter that does not turn it away.
        let voters = &self.voters.voters;
        out.sends.extend(voters.iter().map(|&to| {
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgHeartbeatResponse);
            message.from = self.config.id;
            message.to = to;
            message.term = self.node.raft.term;
            Envelope::from(message)
        }));
    }

    /// Another says that this member is one no more. A learner may know it from this very member.
    pub(crate) fn told_removed(&self, from: u64, out: &mut Effects) {
        let voters = &self.voters.voters;
        if voters.contains(&from) || !voters.contains(&self.config.id) && !self.is_removed() {
            self.end_as_removed(out);
        }
    }

    fn end_as_removed(&self, out: &mut Effects) {
        let member = self.config.id;
        out.fatal.get_or_insert(Fatal::Removed { member });
    }

    /// A former member talks as if it were one. True if so; it is told once that is durable here.
    pub(crate) fn turn_away(&self, from: u64, out: &mut Effects) -> bool {
        let removed = self.machine.is_removed(from);
        if removed && self.persist.is_commit_recorded() {
            out.sends.push(Envelope {
                to: from,
                message: PeerMessage::Removed,
            });
        }
        removed
    }

    /// The members have changed: what is committed is to be on disk soon, whether or not there is more to write.
    /// Who has nobody to talk to has nothing to write, so it writes an empty entry.
    pub(crate) fn record_members(&mut self, index: u64) {
        if self.leads() && self.node.raft.prs().get(self.config.id).is_none() {
            // Removed while it led: it has no say in the log any more (Raft thesis 4.2.2).
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, raft::INVALID_ID);
        }
        self.persist.record_commit(index);
        self.former.behind = true;
        if leads_alone(&self.node) {
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgPropose);
            message.from = self.config.id;
            message.set_entries(vec![raft::eraftpb::Entry::default()].into());
            // Whoever leads alone may propose.
            let _ = self.node.step(message);
            self.more = true;
        }
    }
}
