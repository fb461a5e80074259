//! The orders a member gives. One value collects those of a turn; the shell performs all of them
//! and may reuse the value.
//!
//! Order is data: within one list the order is binding, between lists there is none, because
//! whatever must wait for the disk stands in the `then` of the [`Append`] it waits for.

use store_machine::snapshot::SnapshotCursor;
use store_watch::batch::{Batch, StreamId};

use crate::answer::{Body, Failure, Header};
use crate::input::Token;
pub use crate::peer::PeerMessage;
use crate::peer::check::Difference;
use crate::record::{Entry, Mark, Vote};

/// Write, then sync, then release `then`, then report [`crate::input::Input::Synced`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Append {
    /// Ascending. Reporting the last of several appends written with one sync is enough.
    pub number: u64,
    /// To be written, if any, after the entries: its commit index counts them.
    pub vote: Option<Vote>,
    /// To be written first; possibly none, when only `then` must wait for earlier appends.
    pub entries: Vec<Entry>,
    /// To be sent once this and everything before is durable.
    pub then: Vec<Envelope>,
}

/// A message and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The member it is for.
    pub to: u64,
    /// What it says.
    pub message: PeerMessage,
}

/// The outcome of one request.
#[derive(Debug, PartialEq)]
pub struct Reply {
    /// Which request.
    pub token: Token,
    /// To be sent with it.
    pub header: Header,
    /// What came of it.
    pub outcome: Result<Body, Failure>,
}

/// Write the content to a snapshot file, chunk by chunk between other work, make it durable, and
/// report [`crate::input::Input::SnapshotSynced`] or `SnapshotFailed`. One at a time.
#[derive(Debug)]
pub struct Snapshot {
    /// What it stands for.
    pub mark: Mark,
    /// The content; owns all it needs, and may go to another thread.
    pub content: SnapshotCursor,
}

/// What makes a member unfit to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its disk keeps everybody waiting, and others' do not.
    SlowDisk,
    /// Its disk has no room: it would refuse everybody's writes.
    FullDisk,
    /// Its state is wrong.
    Corrupt,
}

/// What a refused change of members would have left of the voters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Voters after the change.
    pub voters: usize,
    /// Of these, how many must take part for anything to be decided.
    pub quorum: usize,
    /// How many have started.
    pub started: usize,
    /// How many were heard of lately.
    pub active: usize,
    /// Voters that have not started, or were not heard of lately; ascending.
    pub away: Vec<u64>,
}

/// Something a person may want to know; for the shell's log and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A change of members was refused: too few voters would be left that take part.
    TooFew(Shortfall),
    /// This member leads.
    Leads {
        /// Since this term.
        term: u64,
    },
    /// This member follows another.
    Follows {
        /// Whom.
        leader: u64,
        /// Its term.
        term: u64,
    },
    /// Nobody leads, as far as this member knows.
    Leaderless {
        /// Current term.
        term: u64,
    },
    /// A bound of the quota has been reached.
    SpaceUsed {
        /// The bound.
        percent: u64,
        /// Bytes in use.
        bytes: u64,
        /// The quota.
        quota_bytes: u64,
    },
    /// The disk keeps appends waiting for longer than it should.
    DiskSlow {
        /// So far, in milliseconds.
        ms: u64,
    },
    /// This member hands the lead over because it should not have it.
    Yields {
        /// To whom.
        to: u64,
        /// Why it should not.
        unfit: Unfit,
    },
    /// A member's state differs from that of the others.
    Differs(Difference),
    /// This member's state is known to be wrong: it answers no client any more.
    StandsApart,
    /// It does again.
    ServesAgain,
    /// It should have been compared with others at its start and nobody was there: it serves now.
    ServesUnchecked,
}

/// A promise of the design is broken: the process must end, and say why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A committed entry of the log cannot be read as a command.
    #[error("decode log entry {index} of term {term}: expected {expected} at byte {offset}")]
    Undecodable {
        /// Position of the entry.
        index: u64,
        /// Its term.
        term: u64,
        /// Where decoding stopped.
        offset: usize,
        /// What should have stood there.
        expected: &'static str,
    },
    /// A committed change of the voter set cannot be carried out.
    #[error("change members by log entry {index}: {reason}")]
    Members {
        /// Position of the entry.
        index: u64,
        /// What raft says.
        reason: String,
    },
    /// The leader counts on entries that this member has acknowledged, and it does not have them.
    #[error(
        "take part: the leader knows that this member had the log up to entry {acknowledged}, and it has it \
         up to {found}"
    )]
    LogLost {
        /// Last entry the leader counts on.
        acknowledged: u64,
        /// Last entry there is.
        found: u64,
    },
    /// This member is one no more. Not a broken promise, but the end all the same.
    #[error("member {member:016x} has been removed from the cluster")]
    Removed {
        /// Its id.
        member: u64,
    },
}

/// The orders of one turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// For the disk, ascending.
    pub appends: Vec<Append>,
    /// For the network, at once.
    pub sends: Vec<Envelope>,
    /// For waiting requests.
    pub replies: Vec<Reply>,
    /// For watch streams; each stream's in order.
    pub watch: Vec<(StreamId, Batch)>,
    /// For the snapshot file.
    pub snapshot: Option<Snapshot>,
    /// The log at and below this index is no longer needed on disk.
    pub purge: Option<u64>,
    /// Who is a member, or where, or was one, has changed: see [`crate::Member::members`] and
    /// [`crate::Member::former`].
    pub members_changed: bool,
    /// End all watch streams: this member must not show anything any more.
    pub end_streams: bool,
    /// For the log.
    pub notices: Vec<Notice>,
    /// End the process.
    pub fatal: Option<Fatal>,
}

impl Effects {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
            && self.sends.is_empty()
            && self.replies.is_empty()
            && self.watch.is_empty()
            && self.snapshot.is_none()
            && self.purge.is_none()
            && !self.members_changed
            && !self.end_streams
            && self.notices.is_empty()
            && self.fatal.is_none()
    }
}
