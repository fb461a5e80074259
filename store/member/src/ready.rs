//! The member's side of raft: what peers and the disk say goes in, what raft has ready is carried
//! out.

use raft::eraftpb::{Entry as RaftEntry, Message, MessageType};

use crate::effects::{Effects, Envelope, Fatal, PeerMessage};
use crate::log;
use crate::member::Member;
use crate::moment::Moment;
use crate::persist::Messages;
use crate::reads::Remote;

impl Member {
    /// The disk has reported an append durable.
    pub(crate) fn synced(&mut self, now: Moment, number: u64, out: &mut Effects) {
        self.watch_disk(now, out);
        self.persist.note_synced(number);
        self.node.on_persist_ready(number);
        self.election.fix_timeout(&mut self.node);
    }

    /// A peer has said something.
    pub(crate) fn peer_said(
        &mut self,
        now: Moment,
        from: u64,
        message: PeerMessage,
        out: &mut Effects,
    ) {
        if self.turn_away(from, out) {
            return;
        }
        self.heard.insert(from, now);
        let message = match message {
            PeerMessage::Raft(message) => message,
            PeerMessage::Forward(forward) => return self.take_forwarded(now, from, *forward, out),
            PeerMessage::Declined(declined) => return self.declined(*declined, out),
            PeerMessage::Ask(ask) => return self.asked(now, from, *ask, out),
            PeerMessage::Answer(answer) => return self.answered(*answer, out),
            PeerMessage::SnapshotPart(part) => return self.snapshot_part(from, &part, out),
            PeerMessage::Removed => return self.told_removed(from, out),
            PeerMessage::Check(check) => return self.check_said(now, from, check, out),
            PeerMessage::SnapshotGot(got) => return self.snapshot_got(now, from, got),
        };
        if message.from != from || message.to != self.config.id {
            return;
        }
        match message.get_msg_type() {
            // See reads.rs: a follower's round joins one of ours.
            MessageType::MsgReadIndex => {
                if self.leads()
                    && let [entry] = message.get_entries()
                {
                    self.reads.add_remote(from, entry.data.clone());
                }
            }
            // Raft's own forwarding could propose twice what the network delivers twice. A snapshot
            // comes in chunks beside raft's messages, not in one of them.
            MessageType::MsgPropose | MessageType::MsgSnapshot => {}
            // They come again; meanwhile the log they would be added to is being replaced.
            MessageType::MsgAppend if self.transfers.replacing() => {}
            // Its commit index is one of entries this member has acknowledged (Raft thesis 10.2.1 has
            // followers keep what they acknowledge). Without them it must not take part.
            MessageType::MsgHeartbeat
                if message.term >= self.node.raft.term
                    && message.commit > self.node.raft.raft_log.last_index() =>
            {
                out.fatal.get_or_insert(Fatal::LogLost {
                    acknowledged: message.commit,
                    found: self.node.raft.raft_log.last_index(),
                });
            }
            _ => {
                // An error means: not for this member, or not now. The peer will try again.
                let _ = self.node.step(*message);
                self.election.fix_timeout(&mut self.node);
            }
        }
    }

    /// Takes one ready from raft and carries it out.
    pub(crate) fn take_ready(&mut self, now: Moment, out: &mut Effects) {
        let mut ready = self.node.ready();
        let number = ready.number();
        let entries = ready.take_entries();
        let hard = ready.hs().cloned();
        let committed = ready.take_committed_entries();
        let at_once = ready.take_messages();
        let after_sync = ready.take_persisted_messages();
        let read_states = ready.take_read_states();

        let vote = hard.as_ref().map(log::vote);
        let messages = Messages {
            at_once,
            after_sync,
        };
        self.persist
            .order(now, number, vote, &entries, messages, out);
        let snapshot = ready.snapshot().get_metadata().index;
        if snapshot > 0 {
            self.install(ready.snapshot(), out);
        }
        let logged = self.node.mut_store().append(entries);
        self.snapshots.note_logged(logged);
        self.node.advance_append_async(ready);
        if self.persist.is_idle() {
            // Nothing is on its way to the disk: this ready held nothing for it.
            self.node.on_persist_ready(number);
        }
        if snapshot > 0 {
            // It was durable before raft heard of it.
            self.node.raft.on_persist_snap(snapshot);
            self.node.advance_apply_to(snapshot);
        }
        for state in read_states {
            for remote in self.reads.confirm(&state.request_ctx, state.index) {
                out.sends.push(self.read_index_answer(remote, state.index));
            }
        }
        self.apply(now, committed, out);
        self.election.fix_timeout(&mut self.node);
    }

    fn read_index_answer(&self, remote: Remote, index: u64) -> Envelope {
        let entry = RaftEntry {
            data: remote.context,
            ..RaftEntry::default()
        };
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgReadIndexResp);
        message.to = remote.from;
        message.from = self.config.id;
        message.term = self.node.raft.term;
        message.index = index;
        message.set_entries(vec![entry].into());
        Envelope::from(message)
    }
}

impl From<Message> for Envelope {
    fn from(message: Message) -> Self {
        Self {
            to: message.to,
            message: PeerMessage::Raft(Box::new(message)),
        }
    }
}
