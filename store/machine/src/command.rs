//! Replicated commands; their byte form is in the children `encode` and `decode`.
//!
//! A command says everything its effect depends on: applying it reads no clock and no randomness.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use encode::alarm_byte;

use crate::MemberRecord;
use crate::alarm::AlarmKind;
use crate::auth::{Actor, AuthChange};
use crate::request::{DeleteRequest, PutRequest, TxnRequest};
use crate::revision::{LeaseId, Revision};

/// Something every member does at the same index of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write a pair.
    Put(PutRequest),
    /// Remove keys.
    Delete(DeleteRequest),
    /// Run a transaction.
    Txn(TxnRequest),
    /// Forget what was overwritten at or below this revision.
    Compact {
        /// The last revision that stays readable.
        revision: Revision,
    },
    /// Create a lease. The proposer has already picked the id and raised the TTL to the minimum.
    LeaseGrant {
        /// Its id, not zero.
        id: LeaseId,
        /// Seconds.
        ttl_seconds: i64,
    },
    /// Remove a lease and, in one revision, all its keys in key order.
    LeaseRevoke {
        /// Which lease.
        id: LeaseId,
        /// Raft term of the leader whose clock decided; 0 when a client asked. A term older than
        /// one already seen revokes nothing (etcd issue 15247).
        term: u64,
    },
    /// Record how long leases still had to live, so that a new leader does not reset them.
    LeaseCheckpoint {
        /// Remaining seconds per lease; unknown leases are skipped.
        remaining: Vec<(LeaseId, i64)>,
        /// As in `LeaseRevoke`.
        term: u64,
    },
    /// Raise an alarm.
    AlarmRaise {
        /// The member concerned.
        member: u64,
        /// What is wrong.
        kind: AlarmKind,
    },
    /// Take an alarm back.
    AlarmClear {
        /// The member concerned.
        member: u64,
        /// Which.
        kind: AlarmKind,
    },
    /// What the leader decides on room.
    Space(SpaceChange),
    /// A member announces, after its start, how clients call and reach it.
    MemberPublish {
        /// The member.
        id: u64,
        /// Its name.
        name: String,
        /// Where clients reach it.
        client_urls: Vec<String>,
    },
    /// Somebody joins, leaves or moves. That a majority stays is the proposer's business.
    Members(MemberChange),
    /// Users, roles or permissions change.
    Auth(AuthChange),
    /// The command inside, on behalf of somebody. One outside of it is nobody's, and refused while
    /// authentication is on unless no client can ask for such a thing.
    As {
        /// On whose.
        actor: Actor,
        /// Not itself one of these.
        command: Box<Command>,
    },
}

impl Command {
    /// The command on behalf of somebody, or of nobody.
    #[must_use]
    pub fn by(self, actor: Option<Actor>) -> Self {
        match actor {
            Some(actor) => Self::As {
                actor,
                command: Box::new(self),
            },
            None => self,
        }
    }

    /// The command, whoever is behind it.
    #[must_use]
    pub fn bare(&self) -> &Self {
        match self {
            Self::As { command, .. } => command,
            command => command,
        }
    }
}

/// What the leader decides on the room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceChange {
    /// The quota from now on, on all members: they must refuse the same commands.
    Quota {
        /// Bytes; `u64::MAX` = off.
        bytes: u64,
    },
    /// The quota is used up: NOSPACE.
    Full {
        /// The member in whose name.
        member: u64,
    },
    /// Enough of it is free again. Takes back what `Full` raised, and no alarm of a person's hand.
    Free,
}

/// A change of the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// One more, to vote or to learn; its name and client addresses come when it has started.
    Add(MemberRecord),
    /// One less; its id never comes back.
    Remove {
        /// Which.
        id: u64,
    },
    /// One moves.
    Update {
        /// Which.
        id: u64,
        /// Where peers reach it from now on.
        peer_urls: Vec<String>,
    },
    /// A learner votes from now on.
    Promote {
        /// Which.
        id: u64,
    },
}

/// First byte of the form written today; a change of any layout gets the next number, and `decode`
/// goes on reading all former ones: they stand in logs.
const FORMAT: u8 = 1;

/// A byte form that no version of this program has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Byte offset at which decoding stopped.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "decode command: expected {} at byte {}",
            self.expected, self.offset
        )
    }
}

impl std::error::Error for DecodeError {}

/// Numbers of the command kinds in the byte form. Never reused.
mod tag {
    pub(super) const PUT: u8 = 1;
    pub(super) const DELETE: u8 = 2;
    pub(super) const TXN: u8 = 3;
    pub(super) const COMPACT: u8 = 4;
    pub(super) const LEASE_GRANT: u8 = 5;
    pub(super) const LEASE_REVOKE: u8 = 6;
    pub(super) const LEASE_CHECKPOINT: u8 = 7;
    pub(super) const ALARM_RAISE: u8 = 8;
    pub(super) const ALARM_CLEAR: u8 = 9;
    pub(super) const MEMBER_PUBLISH: u8 = 10;
    pub(super) const MEMBER_ADD: u8 = 11;
    pub(super) const MEMBER_REMOVE: u8 = 12;
    pub(super) const MEMBER_UPDATE: u8 = 13;
    pub(super) const MEMBER_PROMOTE: u8 = 14;
    pub(super) const SPACE_QUOTA: u8 = 15;
    pub(super) const SPACE_FULL: u8 = 16;
    pub(super) const SPACE_FREE: u8 = 17;
    pub(super) const AS: u8 = 20;
    pub(super) const AUTH: u8 = 21;
}

/// Numbers of the operations of a transaction. Never reused.
mod op_tag {
    pub(super) const RANGE: u8 = 1;
    pub(super) const PUT: u8 = 2;
    pub(super) const DELETE: u8 = 3;
    pub(super) const TXN: u8 = 4;
}

/// Bits of the flag bytes.
mod flag {
    pub(super) const PREV_KV: u8 = 1;
    pub(super) const IGNORE_VALUE: u8 = 2;
    pub(super) const IGNORE_LEASE: u8 = 4;
    pub(super) const KEYS_ONLY: u8 = 1;
    pub(super) const COUNT_ONLY: u8 = 2;
}
