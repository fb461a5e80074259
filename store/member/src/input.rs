//! The facts a member is told. Each stands for something that has already happened.

use store_machine::auth::{Access, Actor};
use store_machine::command::Command;
use store_machine::request::{RangeRequest, TxnRequest};
use store_machine::revision::{LeaseId, Revision};
use store_watch::batch::{StreamId, WatchId};
use store_watch::watcher::WatchSpec;

use crate::answer::Consistency;
use crate::peer::PeerMessage;

/// Names a waiting request towards the shell, which never uses a token twice; every token is
/// answered exactly once, unless the member is dropped before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A fact.
#[derive(Debug)]
pub enum Input {
    /// A client wants something replicated.
    Propose {
        /// Whom to answer.
        token: Token,
        /// What.
        command: Command,
    },
    /// A client wants a lease.
    LeaseGrant {
        /// Whom to answer.
        token: Token,
        /// Wanted id; [`LeaseId::NONE`] = the member picks one.
        id: LeaseId,
        /// Wanted seconds; raised to the minimum.
        ttl_seconds: i64,
        /// On whose behalf; `None` = nobody's.
        actor: Option<Actor>,
    },
    /// A client wants to look at something.
    Read {
        /// Whom to answer.
        token: Token,
        /// What.
        read: Read,
        /// How fresh.
        consistency: Consistency,
    },
    /// Somebody wants another member to lead, or this one is to go down and should lead no more.
    /// Answered `Transferred` once another leads.
    TransferLeadership {
        /// Whom to answer.
        token: Token,
        /// Who shall lead; `None` = the voter that has most of the log.
        to: Option<u64>,
    },
    /// Something happened on a watch stream.
    Watch {
        /// Which stream.
        stream: StreamId,
        /// What.
        event: StreamEvent,
    },
    /// Every append up to and including this number is durable.
    Synced {
        /// Number of the last append contained, see [`crate::effects::Append`].
        number: u64,
    },
    /// The snapshot begun last is complete and durable.
    SnapshotSynced,
    /// The snapshot begun last could not be written; the log stays as it is.
    SnapshotFailed,
    /// The disk has no room for more log.
    DiskFull,
    /// It has again.
    DiskFree,
    /// A message from a peer.
    PeerSaid {
        /// Who said it.
        from: u64,
        /// What.
        message: PeerMessage,
    },
    /// The last message to this peer was not delivered.
    PeerUnreachable {
        /// Which peer.
        member: u64,
    },
}

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A range.
    Range(RangeRequest),
    /// A transaction without writes.
    Txn(TxnRequest),
    /// What the pairs in the answer to a transaction would weigh, which may write; nothing is written.
    Weigh {
        /// The transaction.
        txn: TxnRequest,
        /// How far to look, in bytes.
        enough: u64,
    },
    /// Renews a lease. A read to raft: nothing is replicated, but only a proven leader may do it
    /// (etcd issue 15247).
    KeepAlive(LeaseId),
    /// Time left of a lease.
    LeaseLife {
        /// Which.
        id: LeaseId,
        /// List its keys too.
        keys: bool,
    },
    /// All leases.
    Leases,
    /// All members.
    Members,
    /// State of this member.
    Status,
    /// Checksum up to a revision; 0 = the current one.
    HashKv(Revision),
    /// Users, roles and permissions.
    Auth,
    /// The read inside, on behalf of somebody. One outside of it is nobody's.
    As {
        /// On whose.
        actor: Actor,
        /// Not itself one of these.
        read: Box<Self>,
    },
    /// All there is, as it is now.
    Snapshot,
}

impl Read {
    /// Whether only the leader can answer it: it alone counts the time of leases.
    pub(crate) fn is_of_leader(&self) -> bool {
        matches!(
            self.bare(),
            Self::KeepAlive(_) | Self::LeaseLife { .. } | Self::Leases
        )
    }

    /// The read on behalf of somebody, or of nobody.
    #[must_use]
    pub fn by(self, actor: Option<Actor>) -> Self {
        match actor {
            Some(actor) => Self::As {
                actor,
                read: Box::new(self),
            },
            None => self,
        }
    }

    /// The read, whoever is behind it.
    pub(crate) fn bare(&self) -> &Self {
        match self {
            Self::As { read, .. } => read,
            read => read,
        }
    }

    /// What it is to be judged by.
    pub(crate) fn access(&self) -> Access<'_> {
        match self.bare() {
            Self::Range(range) => Access::Range(range),
            Self::Txn(txn) | Self::Weigh { txn, .. } => Access::Txn(txn),
            Self::KeepAlive(id) => Access::LeaseRenew(*id),
            Self::LeaseLife { keys: false, .. } => Access::LeaseLife,
            Self::LeaseLife { id, keys: true } => Access::LeaseKeys(*id),
            Self::Leases => Access::Leases,
            // Guarded where the method comes in; one inside another does not exist.
            Self::Members
            | Self::Status
            | Self::HashKv(_)
            | Self::Snapshot
            | Self::Auth
            | Self::As { .. } => Access::Guarded,
        }
    }
}

/// What happened on a watch stream.
#[derive(Debug)]
pub enum StreamEvent {
    /// It is open and can take this many responses.
    Opened {
        /// Responses.
        credit: usize,
    },
    /// The client asks for a watcher.
    Create(WatchSpec),
    /// The client is done with a watcher.
    Cancel(WatchId),
    /// The client asks how far the stream is.
    Progress,
    /// The stream can take this many responses more.
    Credit(usize),
    /// The client is gone.
    Closed,
}
