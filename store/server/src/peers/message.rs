//! How large a message is and how urgent. What it means, and its bytes, are the member's business.

use protobuf::Message as _;
use raft::eraftpb::MessageType;
use store_member::answer::Body;
use store_member::command_bytes;
use store_member::peer::PeerMessage;

/// Largest message that may overtake others: votes, heartbeats, answers.
const URGENT_BYTES_MAX: usize = 1 << 10;

/// About its size on the wire.
pub(super) fn bytes(message: &PeerMessage) -> usize {
    /// What is small in any of them.
    const REST: usize = 64;
    let of_all = |sizes: u64| usize::try_from(sizes).unwrap_or(usize::MAX);
    match message {
        PeerMessage::Raft(message) => message.compute_size() as usize,
        PeerMessage::Forward(forward) => {
            REST + of_all(forward.commands.iter().map(command_bytes).sum())
        }
        PeerMessage::Ask(_) => REST,
        PeerMessage::Answer(answer) => {
            REST + match &answer.outcome {
                Ok(Body::Leases(leases)) => size_of_val(&**leases),
                Ok(Body::LeaseLife(Some(life))) => life.keys.iter().map(bytes::Bytes::len).sum(),
                _ => 0,
            }
        }
        PeerMessage::Declined(declined) => REST + size_of_val(&*declined.proposals),
        PeerMessage::SnapshotPart(part) => REST + part.content.len(),
        PeerMessage::Check(check) => REST + check.bytes(),
        PeerMessage::SnapshotGot(_) | PeerMessage::Removed => REST,
    }
}

/// Whether a message of this size may overtake larger ones. Entries stay in order among themselves,
/// even where there are none: each says where it goes on from the one before.
pub(super) fn is_urgent(message: &PeerMessage, bytes: usize) -> bool {
    let is_append = match message {
        PeerMessage::Raft(message) => message.get_msg_type() == MessageType::MsgAppend,
        _ => false,
    };
    !is_append && bytes <= URGENT_BYTES_MAX
}

#[cfg(test)]
pub(super) mod samples {
    use raft::eraftpb::{Entry, Message};

    use super::*;

    fn raft(kind: MessageType, to: u64, from: u64) -> Message {
        let mut message = Message::default();
        message.set_msg_type(kind);
        message.to = to;
        message.from = from;
        message.term = 3;
        message
    }

    pub(in crate::peers) fn heartbeat(to: u64, from: u64) -> PeerMessage {
        PeerMessage::Raft(Box::new(raft(MessageType::MsgHeartbeat, to, from)))
    }

    pub(in crate::peers) fn append(to: u64, from: u64, bytes: usize) -> PeerMessage {
        let mut message = raft(MessageType::MsgAppend, to, from);
        let entry = Entry {
            index: 9,
            term: 3,
            data: vec![7; bytes].into(),
            ..Entry::default()
        };
        message.set_entries(vec![entry].into());
        PeerMessage::Raft(Box::new(message))
    }

    #[test]
    fn appends_keep_their_order_and_small_ones_overtake() {
        let sized = |message: &PeerMessage| is_urgent(message, bytes(message));
        assert!(sized(&heartbeat(1, 2)));
        assert!(!sized(&append(1, 2, 10)));
        assert!(!sized(&append(1, 2, 100_000)));
    }
}
