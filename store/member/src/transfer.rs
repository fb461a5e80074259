//! Snapshots on their way to members that lag behind the log, or have just joined.
//!
//! They travel beside raft's messages, in parts that are numbered by their offset and acknowledged
//! by the next offset wanted: few under way at once, those lost sent again. The receiver builds a
//! machine from them, has its shell write that as a snapshot of its own, and only when that is
//! durable tells raft: a snapshot without content, which raft answers as it would any append. From
//! then on the log goes on from there.
//!
//! A receiver needs no leader for the last steps: what it has been given is committed, whoever leads.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft::StateRole;
use raft::eraftpb::{Message, MessageType, Snapshot as RaftSnapshot};
use store_machine::snapshot::{Restore, SnapshotCursor};
use store_machine::{Limits, Machine};

use crate::answer::Failure;
use crate::effects::{Effects, Envelope, Snapshot};
use crate::leaving::Former;
use crate::limits::{SNAPSHOT_HOLD_BYTES_MAX, SNAPSHOT_PARTS_IN_FLIGHT, SNAPSHOTS_OUT_MAX};
use crate::log;
use crate::member::Member;
use crate::moment::Moment;
use crate::peer::{PeerMessage, SnapshotGot, SnapshotPart};
use crate::record::Mark;

/// A snapshot that is being sent.
#[derive(Debug)]
struct Outgoing {
    /// Names it towards the receiver.
    transfer: u64,
    mark: Mark,
    content: SnapshotCursor,
    bytes: u64,
    /// Sent and not acknowledged, by offset, without gaps.
    window: VecDeque<(u64, Bytes)>,
    /// Everything below has been acknowledged.
    acknowledged: u64,
    /// When what is in the window is sent again.
    again: Moment,
}

/// A snapshot that is being received.
struct Incoming {
    from: u64,
    transfer: u64,
    mark: Mark,
    bytes: u64,
    /// Next offset wanted.
    next: u64,
    stage: Stage,
}

enum Stage {
    /// Parts are missing.
    Arriving(Box<Restore>),
    /// To be ordered from the shell, once it is not busy with another.
    Complete(Box<Machine>),
    /// The shell writes it.
    Writing(Box<Machine>),
    /// On disk; to be told to raft.
    Durable(Box<Machine>),
    /// Raft has been told, and takes it from here.
    Told(Box<Machine>),
}

/// All snapshots between this member and others.
#[derive(Default)]
pub(crate) struct Transfers {
    /// By receiver.
    outgoing: BTreeMap<u64, Outgoing>,
    incoming: Option<Incoming>,
}

impl Transfers {
    /// The log above this index is needed for those who are being sent a snapshot.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.outgoing.values().map(|out| out.mark.index).min()
    }

    /// When something must be sent again.
    pub(crate) fn next_deadline(&self) -> Moment {
        let again = self.outgoing.values().map(|out| out.again).min();
        again.unwrap_or(Moment::NEVER)
    }

    /// Whether the log on disk is about to be replaced: nothing may be added to it meanwhile.
    pub(crate) const fn replacing(&self) -> bool {
        matches!(
            &self.incoming,
            Some(Incoming {
                stage: Stage::Writing(_) | Stage::Durable(_) | Stage::Told(_),
                ..
            })
        )
    }

    /// The shell could not write it.
    pub(crate) fn write_failed(&mut self) {
        self.incoming
            .take_if(|incoming| matches!(incoming.stage, Stage::Writing(_)));
    }

    /// The shell has written the snapshot at `index`.
    pub(crate) fn written(&mut self, index: u64) {
        if let Some(mut incoming) = self.incoming.take() {
            incoming.stage = match incoming.stage {
                Stage::Writing(machine) if incoming.mark.index == index => Stage::Durable(machine),
                stage => stage,
            };
            self.incoming = Some(incoming);
        }
    }

    /// Raft takes the snapshot at `index` into its log: the machine and where it stands.
    fn take_told(&mut self, index: u64) -> Option<(Machine, Mark, u64)> {
        let incoming = self.incoming.take_if(|incoming| {
            matches!(incoming.stage, Stage::Told(_)) && incoming.mark.index == index
        })?;
        match incoming.stage {
            Stage::Told(machine) => Some((*machine, incoming.mark, incoming.bytes)),
            _ => None,
        }
    }
}

impl Outgoing {
    fn part(&self, offset: u64, content: Bytes) -> SnapshotPart {
        SnapshotPart {
            transfer: self.transfer,
            mark: self.mark.clone(),
            bytes: self.bytes,
            offset,
            content,
        }
    }

    /// The next part, if there is one and it may be on its way.
    fn next_part(&mut self, bytes_max: usize) -> Option<SnapshotPart> {
        if self.window.len() >= SNAPSHOT_PARTS_IN_FLIGHT {
            return None;
        }
        let offset = self.bytes - self.content.bytes_left();
        let content = Bytes::from(self.content.chunk(bytes_max)?);
        self.window.push_back((offset, content.clone()));
        Some(self.part(offset, content))
    }

    /// What is sent when nothing has been heard for a while. An empty part at the end asks whether
    /// the receiver still has what it has acknowledged.
    fn parts_again(&self) -> Vec<SnapshotPart> {
        if self.window.is_empty() {
            return vec![self.part(self.acknowledged, Bytes::new())];
        }
        let window = self.window.iter();
        window
            .map(|(offset, content)| self.part(*offset, content.clone()))
            .collect()
    }
}

impl Member {
    /// Begins, goes on with and ends what is being sent; one part per receiver and turn, so that
    /// nothing else waits for longer than that takes.
    pub(crate) fn send_snapshots(&mut self, now: Moment, out: &mut Effects) {
        let asked = self.node.mut_store().take_asked();
        if !self.leads() {
            self.transfers.outgoing.clear();
            return;
        }
        for to in asked {
            self.begin_transfer(now, to);
        }
        let raft = &self.node.raft;
        self.transfers.outgoing.retain(|to, outgoing| {
            let progress = raft.prs().get(*to);
            progress.is_some_and(|progress| progress.matched < outgoing.mark.index)
        });
        if self.node.store().bytes() > SNAPSHOT_HOLD_BYTES_MAX {
            self.transfers.outgoing.clear();
        }
        for (&to, outgoing) in &mut self.transfers.outgoing {
            let mut parts = Vec::new();
            if now >= outgoing.again {
                parts = outgoing.parts_again();
                outgoing.again = now.plus_ms(self.config.election_ms);
            }
            parts.extend(outgoing.next_part(self.config.snapshot_part_bytes));
            self.more |= outgoing.window.len() < SNAPSHOT_PARTS_IN_FLIGHT
                && outgoing.content.bytes_left() > 0;
            out.sends.extend(parts.into_iter().map(|part| Envelope {
                to,
                message: PeerMessage::SnapshotPart(Box::new(part)),
            }));
        }
    }

    /// Raft lacks entries for a member.
    fn begin_transfer(&mut self, now: Moment, to: u64) {
        let outgoing = &self.transfers.outgoing;
        if outgoing.contains_key(&to) || outgoing.len() >= SNAPSHOTS_OUT_MAX {
            return;
        }
        let index = self.machine.applied().0;
        let Ok(term) = raft::Storage::term(self.node.store(), index) else {
            return;
        };
        let content = self.machine.snapshot_begin();
        let outgoing = Outgoing {
            transfer: self.random.next(),
            mark: Mark {
                index,
                term,
                voters: self.voters.clone(),
            },
            bytes: content.bytes_left(),
            content,
            window: VecDeque::new(),
            acknowledged: 0,
            again: now.plus_ms(self.config.election_ms),
        };
        self.transfers.outgoing.insert(to, outgoing);
    }

    /// A receiver says how far it is.
    pub(crate) fn snapshot_got(&mut self, now: Moment, from: u64, got: SnapshotGot) {
        let again = now.plus_ms(self.config.election_ms);
        let Some(outgoing) = self.transfers.outgoing.get_mut(&from) else {
            return;
        };
        if outgoing.transfer != got.transfer {
            return;
        }
        if got.next == 0 && outgoing.acknowledged > 0 {
            // It has lost what it had: raft will ask for another.
            self.transfers.outgoing.remove(&from);
            return;
        }
        if got.next > outgoing.acknowledged && got.next <= outgoing.bytes {
            outgoing.acknowledged = got.next;
            outgoing.again = again;
            while let Some((offset, content)) = outgoing.window.front() {
                if offset + content.len() as u64 > got.next {
                    break;
                }
                outgoing.window.pop_front();
            }
        }
    }

    /// A part of a snapshot has come.
    pub(crate) fn snapshot_part(&mut self, from: u64, part: &SnapshotPart, out: &mut Effects) {
        let next = if part.mark.index <= self.machine.applied().0 {
            // Its leader does not know: what it was told is lost, or this member ended before it told.
            if self.may_tell_raft() && self.node.raft.leader_id == from {
                self.tell_raft(&part.mark);
            }
            part.bytes
        } else {
            self.take_part(from, part)
        };
        out.sends.push(Envelope {
            to: from,
            message: PeerMessage::SnapshotGot(SnapshotGot {
                transfer: part.transfer,
                next,
            }),
        });
    }

    /// Adds a part to what has arrived; the next offset wanted.
    fn take_part(&mut self, from: u64, part: &SnapshotPart) -> u64 {
        let known = |incoming: &Incoming| {
            incoming.from == from
                && incoming.transfer == part.transfer
                && incoming.mark == part.mark
                && incoming.bytes == part.bytes
        };
        match &self.transfers.incoming {
            Some(incoming) if known(incoming) => {}
            // One that is complete goes its way; the log from there on is all that will be missing.
            Some(incoming) if !matches!(incoming.stage, Stage::Arriving(_)) => return 0,
            _ if part.offset > 0 => return 0,
            _ => {
                self.transfers.incoming = Some(Incoming {
                    from,
                    transfer: part.transfer,
                    mark: part.mark.clone(),
                    bytes: part.bytes,
                    next: 0,
                    stage: Stage::Arriving(Box::new(Restore::new(Limits::NONE))),
                });
            }
        }
        let Some(incoming) = &mut self.transfers.incoming else {
            return 0;
        };
        let Stage::Arriving(restore) = &mut incoming.stage else {
            return incoming.next;
        };
        if part.offset != incoming.next {
            return incoming.next;
        }
        let fed = restore.feed(&part.content);
        incoming.next += part.content.len() as u64;
        if fed.is_err() || incoming.next > incoming.bytes {
            self.transfers.incoming = None;
            return 0;
        }
        if incoming.next < incoming.bytes {
            return incoming.next;
        }
        let (next, index) = (incoming.next, incoming.mark.index);
        if let Some(incoming) = self.transfers.incoming.take()
            && let Stage::Arriving(restore) = incoming.stage
            && let Ok(machine) = restore.finish()
            && machine.applied().0 == index
        {
            self.transfers.incoming = Some(Incoming {
                stage: Stage::Complete(Box::new(machine)),
                ..incoming
            });
            return next;
        }
        0
    }

    /// Takes what has been received a step further: to the disk, then to raft.
    pub(crate) fn advance_incoming(&mut self, out: &mut Effects) {
        let Some(mut incoming) = self.transfers.incoming.take() else {
            return;
        };
        incoming.stage = match incoming.stage {
            // The log has come after all.
            Stage::Arriving(_) | Stage::Complete(_)
                if incoming.mark.index <= self.node.raft.raft_log.committed =>
            {
                return;
            }
            Stage::Complete(machine)
                if self.persist.is_idle() && !self.snapshots.busy() && !self.space.disk_full() =>
            {
                self.snapshots.begin_received(incoming.mark.index);
                out.snapshot = Some(Snapshot {
                    mark: incoming.mark.clone(),
                    content: machine.snapshot_begin(),
                });
                Stage::Writing(machine)
            }
            Stage::Durable(machine) if self.may_tell_raft() => {
                let mark = incoming.mark.clone();
                self.transfers.incoming = Some(Incoming {
                    stage: Stage::Told(machine),
                    ..incoming
                });
                if !self.tell_raft(&mark) {
                    // The log has it already, or this member is not among its members.
                    self.transfers.incoming = None;
                }
                return;
            }
            stage => stage,
        };
        self.transfers.incoming = Some(incoming);
    }

    /// Raft takes a snapshot as a follower of a known leader, to whom it answers.
    fn may_tell_raft(&self) -> bool {
        let raft = &self.node.raft;
        raft.state == StateRole::Follower && raft.leader_id != raft::INVALID_ID
    }

    /// Tells raft of a snapshot that is durable; true when it takes it in place of its log. In either case it
    /// answers its leader up to where the two agree.
    fn tell_raft(&mut self, mark: &Mark) -> bool {
        let mut snapshot = RaftSnapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = mark.index;
        metadata.term = mark.term;
        metadata.set_conf_state(log::conf_state(&mark.voters));
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgSnapshot);
        message.from = self.node.raft.leader_id;
        message.to = self.config.id;
        message.term = self.node.raft.term;
        message.set_snapshot(snapshot);
        self.node.step(message).is_ok() && self.node.snap().is_some()
    }

    /// Raft has taken a snapshot in place of its log; it is durable already.
    pub(crate) fn install(&mut self, snapshot: &RaftSnapshot, out: &mut Effects) {
        let index = snapshot.get_metadata().index;
        let Some((machine, mark, bytes)) = self.transfers.take_told(index) else {
            // Raft is told of no other.
            debug_assert!(false, "a snapshot at {index} that was not received");
            return;
        };
        self.node.mut_store().restart(mark.index, mark.term);
        self.snapshots.received(index, bytes);
        self.machine = machine;
        self.voters = mark.voters;
        self.former = Former::new(self.machine.removed().collect());
        // It may hold what clients of this member wait for, and nobody can tell.
        let mut lost = Vec::new();
        self.proposals.lose(|token| lost.push(token));
        self.counts.proposals_failed += lost.len() as u64;
        for token in lost {
            self.reply(token, Err(Failure::LeaderChanged), out);
        }
        self.applied_term = mark.term;
        self.forget_audit();
        self.note_alarms(out);
        self.scrubbing = true;
        self.watch_dirty = true;
        self.publish_at = Moment::default();
        out.members_changed = true;
    }
}
