//! What the machine answers and what it tells the watchers.
//!
//! Owns replies, events and [`Applied`]. Headers (cluster, member, term) are added by the server.

use bytes::Bytes;

use crate::error::Refusal;
use crate::revision::{LeaseId, Revision};

/// One pair as stored. The fields are etcd's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Revision at which the key last came into being.
    pub create_revision: Revision,
    /// Revision of the last put (in a delete event: of the delete).
    pub mod_revision: Revision,
    /// Puts since creation; 1 on the first. 0 in a delete event.
    pub version: i64,
    /// The value; shared with the store, never copied.
    pub value: Bytes,
    /// Attached lease, or [`LeaseId::NONE`].
    pub lease: LeaseId,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key was created or overwritten.
    Put,
    /// The key was removed; `kv` has only key and `mod_revision`.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Put or delete.
    pub kind: EventKind,
    /// The pair after the change.
    pub kv: KeyValue,
    /// The pair before the change, where there was one (and, in history, it is not compacted).
    /// Always filled by the machine; whether a watcher sees it is the watcher's choice.
    pub prev: Option<KeyValue>,
}

/// Answer to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The pairs, in the asked order; empty with `count_only`.
    pub kvs: Vec<KeyValue>,
    /// The limit cut the result.
    pub more: bool,
    /// Keys in the range at that revision, whatever limit and filters say.
    pub count: u64,
}

/// Answer to a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// The former pair, if asked for and there was one.
    pub prev: Option<KeyValue>,
}

/// Answer to a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteReply {
    /// How many keys were removed.
    pub deleted: u64,
    /// The removed pairs in key order, if asked for.
    pub prev: Vec<KeyValue>,
}

/// Answer to a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// The compares held.
    pub succeeded: bool,
    /// One answer per operation of the branch that ran.
    pub replies: Vec<TxnOpReply>,
    /// The revision each nested header carries: the store's revision after this transaction.
    pub revision: Revision,
}

/// Answer to one operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOpReply {
    /// Of a range.
    Range(RangeReply),
    /// Of a put.
    Put(PutReply),
    /// Of a delete.
    Delete(DeleteReply),
    /// Of a nested transaction.
    Txn(TxnReply),
}

/// Answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of a put.
    Put(PutReply),
    /// Of a delete.
    Delete(DeleteReply),
    /// Of a transaction.
    Txn(TxnReply),
    /// The compaction is recorded; scrubbing goes on by [`crate::Machine::scrub`].
    Compact,
    /// The lease exists, with this id and granted time to live.
    LeaseGrant {
        /// Its id.
        id: LeaseId,
        /// Seconds.
        ttl_seconds: i64,
    },
    /// The lease and its keys are gone.
    LeaseRevoke,
    /// Coarse remaining times are recorded.
    LeaseCheckpoint,
    /// The alarm the command raised (or found raised) or took back; empty when there was none to
    /// take back.
    Alarm(Vec<crate::alarm::Alarm>),
    /// The member's name and addresses are recorded.
    MemberPublish,
    /// The members after the change, by id.
    Members(Vec<crate::MemberRecord>),
    /// Users, roles or permissions have changed.
    Auth,
}

/// What one command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The store's revision after the command.
    pub revision: Revision,
    /// The answer, or why the command was refused. A refused command changes nothing.
    pub reply: Result<Reply, Refusal>,
    /// What watchers are to be shown: every event has `mod_revision == revision`. Empty when the
    /// command changed no key.
    pub events: Vec<Event>,
}
