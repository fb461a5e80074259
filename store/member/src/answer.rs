//! What a request gets: a header and a body, or a failure. Owns the nouns the shell hands on to
//! the request handlers; knows no wire types.

use std::sync::Arc;

use bytes::Bytes;
use store_machine::MemberRecord;
use store_machine::alarm::Alarm;
use store_machine::auth::Auth;
use store_machine::error::Refusal;
use store_machine::reply::{RangeReply, Reply, TxnReply};
use store_machine::revision::{LeaseId, Revision};
use store_machine::snapshot::SnapshotCursor;

/// What every answer carries beside its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Cluster id.
    pub cluster: u64,
    /// Id of the member that answers.
    pub member: u64,
    /// Store revision when the answer was made.
    pub revision: Revision,
    /// Raft term.
    pub term: u64,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The machine refused.
    Refused(Refusal),
    /// Nobody leads. The request was not proposed.
    NoLeader,
    /// The leader changed before the outcome was known.
    LeaderChanged,
    /// No outcome within the deadline: unknown, not absent.
    TimedOut,
    /// Admission is closed for now. The request was not proposed.
    TooManyRequests,
    /// The member is going down.
    Stopped,
    /// The leader does not allow it as things are. The request was not proposed.
    Forbidden(Forbidden),
}

/// What a leader allows only at the right time; the names follow etcd's error table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// Too few of the voters there would be have ever started.
    UnstartedMembers,
    /// Too few of the voters there would be have been heard of lately.
    UnhealthyCluster,
    /// The learner has too little of the log.
    LearnerNotReady,
    /// As many learn as may.
    TooManyLearners,
    /// Only the leader can do this, and this member is not.
    NotLeader,
    /// It cannot lead: unknown, or a learner.
    BadTransferee,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write acknowledged before it began (ReadIndex, Raft thesis 6.4).
    Linearizable,
    /// Whatever this member has.
    Serializable,
}

/// Remaining life of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseLife {
    /// Seconds granted.
    pub granted_seconds: i64,
    /// Seconds left.
    pub remaining_seconds: i64,
    /// Attached keys, if asked for.
    pub keys: Vec<Bytes>,
}

/// One member as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its id.
    pub id: u64,
    /// Its name; empty until it has started once.
    pub name: String,
    /// Where peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// It does not vote.
    pub learner: bool,
}

impl From<MemberRecord> for MemberInfo {
    fn from(record: MemberRecord) -> Self {
        Self {
            id: record.id,
            name: record.name,
            peer_urls: record.peer_urls,
            client_urls: record.client_urls,
            learner: record.learner,
        }
    }
}

/// What `Maintenance.Status` and `/metrics` need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusReport {
    /// 0 = none.
    pub leader: u64,
    /// Last log index.
    pub raft_index: u64,
    /// Last applied index.
    pub applied_index: u64,
    /// Accounted bytes.
    pub size_bytes: u64,
    /// Bytes still in use after compaction.
    pub size_in_use_bytes: u64,
    /// Quota.
    pub quota_bytes: u64,
    /// Last compaction.
    pub compacted: Revision,
    /// Keys now.
    pub keys: u64,
    /// This member does not vote.
    pub learner: bool,
    /// Raised alarms.
    pub alarms: Vec<Alarm>,
    /// This member answers no client for a CORRUPT alarm: it is named, or nobody knows who is right.
    pub corrupt: bool,
}

/// The body of an answer; which one follows from the request.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Of a proposed command.
    Applied(Reply),
    /// Of a range.
    Range(RangeReply),
    /// Of a transaction without writes.
    Txn(TxnReply),
    /// Bytes that the pairs in an answer would weigh.
    Weight(u64),
    /// Of a keep-alive: seconds to live, 0 = there is no such lease.
    KeepAlive(i64),
    /// Of a time-to-live query; `None` = there is no such lease.
    LeaseLife(Option<LeaseLife>),
    /// All leases, the one with the least time left first.
    Leases(Vec<LeaseId>),
    /// All members, by id.
    Members(Vec<MemberInfo>),
    /// State of this member.
    Status(Box<StatusReport>),
    /// Of a hand-over: who leads now.
    Transferred(u64),
    /// Checksum, compacted revision, hashed revision.
    HashKv(u32, Revision, Revision),
    /// Users, roles and permissions.
    Auth(Arc<Auth>),
    /// All there is: the shell takes it out bit by bit.
    Snapshot(Box<SnapshotCursor>),
}
