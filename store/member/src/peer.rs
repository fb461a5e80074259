//! What members say to each other. Raft's own messages pass through; the rest lets any member serve
//! every request: proposals and lease calls go to the leader, answers come back.
//!
//! Nothing here is believed to arrive, to arrive once, or in order. The byte form is in `peer/`.

pub mod check;
mod decode;
mod encode;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use store_machine::command::Command;

pub use decode::PeerDecodeError;

use self::check::CheckMessage;
use crate::answer::{Body, Failure};
use crate::input::Read;
use crate::record::Mark;

/// What members say to each other.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerMessage {
    /// Raft's own.
    Raft(Box<raft::eraftpb::Message>),
    /// To the leader: put these into the log.
    Forward(Box<Forward>),
    /// Back from it: some of them were not put into the log, and will not be.
    Declined(Box<Declined>),
    /// To the leader: a question that only it can answer.
    Ask(Box<Ask>),
    /// Back from it.
    Answer(Box<Answer>),
    /// To a member that lags: a part of a snapshot.
    SnapshotPart(Box<SnapshotPart>),
    /// Back from it: how much it has.
    SnapshotGot(SnapshotGot),
    /// To a former member: it is one no more.
    Removed,
    /// About whether all hold the same.
    Check(CheckMessage),
}

/// Names the life of a member that said something, so that no answer reaches the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(pub u64);

/// Proposals of a follower's clients. Their entries say who forwarded them, so the follower knows
/// their outcome when it applies them; see `forwarding.rs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Term in which the receiver leads; in no other may it propose them.
    pub term: u64,
    /// Life of the sender.
    pub life: Life,
    /// Number of this message among those the sender forwards in its life. What comes twice is
    /// known by it.
    pub message: u64,
    /// Number of the first proposal; the others follow.
    pub first: u64,
    /// The proposals.
    pub commands: Vec<Command>,
}

/// Proposals that were not proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// Life of the member that forwarded them.
    pub life: Life,
    /// Which ones, and why.
    pub proposals: Vec<(u64, Failure)>,
}

/// A question for the leader; asking twice does no harm.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Life of the sender.
    pub life: Life,
    /// Number of the question in it.
    pub number: u64,
    /// What: a keep-alive, a time to live, or all leases.
    pub read: Read,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Life of the member that asked.
    pub life: Life,
    /// Number of its question.
    pub number: u64,
    /// What came of it.
    pub outcome: Result<Body, Failure>,
}

/// A part of a snapshot; see `transfer.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    /// Names the transfer.
    pub transfer: u64,
    /// What the snapshot stands for.
    pub mark: Mark,
    /// Length of the whole.
    pub bytes: u64,
    /// Where this part begins.
    pub offset: u64,
    /// The part. The whole ends with a checksum of its own.
    pub content: Bytes,
}

/// How far a snapshot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotGot {
    /// Which transfer.
    pub transfer: u64,
    /// Next offset wanted; 0 when nothing is there (any more).
    pub next: u64,
}

/// Who forwarded a proposal; stands in its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) member: u64,
    pub(crate) life: Life,
    pub(crate) number: u64,
}
