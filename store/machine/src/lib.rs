//! The replicated state: the same commands in the same order give the same bytes on every member.
//!
//! Pure: no time, no randomness, no files, no sockets, no raft and no wire types. Deadlines of
//! leases belong to `store/member`, who has been shown what to `store/watch`.

pub mod alarm;
mod apply;
pub mod auth;
pub mod checksum;
pub mod command;
pub mod error;
mod keymap;
mod lease;
mod members;
mod mvcc;
mod quota;
pub mod reply;
pub mod request;
pub mod revision;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod txn;
mod varint;
pub mod weigh;

use std::sync::Arc;

use bytes::Bytes;

use crate::alarm::{Alarm, AlarmKind, Alarms};
use crate::auth::Auth;
use crate::checksum::{Checksum, Trail, TrailMark, TrailPoint};
use crate::command::MemberChange;
use crate::error::Refusal;
pub use crate::lease::LeaseRecord;
use crate::lease::Leases;
pub use crate::members::MemberRecord;
use crate::members::Members;
use crate::mvcc::Keyspace;
pub use crate::mvcc::{AUDIT_SUMS, Audit, AuditStep, sum_bounds};
use crate::reply::{Event, RangeReply, TxnReply};
use crate::request::{RangeRequest, TxnRequest};
use crate::revision::{Index, LeaseId, Revision};

/// Bounds a machine begins with; equal on all members, or they would refuse different commands. Those of
/// a snapshot come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes the state may account for before `NoSpace`; `u64::MAX` = off.
    pub quota_bytes: u64,
}

impl Limits {
    /// None: what a machine begins with whose leader says the rest.
    pub const NONE: Self = Self {
        quota_bytes: u64::MAX,
    };
}

/// The replicated state of one store.
#[derive(Clone)]
pub struct Machine {
    /// Bytes the state may account for before `NoSpace`; `u64::MAX` = off. Replicated.
    quota_bytes: u64,
    /// Last index applied or passed.
    applied: Index,
    keyspace: Keyspace,
    leases: Leases,
    alarms: Alarms,
    members: Members,
    /// Copied when it changes, so that others may hold on to it.
    auth: Arc<Auth>,
    trail: Trail,
}

impl Machine {
    /// An empty store at [`Revision::FIRST`].
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            quota_bytes: limits.quota_bytes,
            applied: Index(0),
            keyspace: Keyspace::new(),
            leases: Leases::new(),
            alarms: Alarms::default(),
            members: Members::default(),
            auth: Arc::default(),
            trail: Trail::new(Revision::FIRST),
        }
    }

    /// Notes that the entry at `index` was passed: raft's own, without a command.
    ///
    /// # Panics
    /// When `index` does not lie above [`Machine::applied`].
    pub fn pass(&mut self, index: Index) {
        assert!(
            index > self.applied,
            "entry {index} after entry {}",
            self.applied
        );
        self.applied = index;
    }

    /// Last index applied or passed; 0 before the first.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Current revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.keyspace.revision()
    }

    /// Last compaction; reads at it still work. `Revision(0)` before the first.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.keyspace.compacted()
    }

    /// Reads a range.
    ///
    /// # Errors
    /// `Compacted` or `FutureRevision` for a revision that cannot be read, `Corrupt` while that
    /// alarm is raised.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeReply, Refusal> {
        self.check_sound()?;
        self.keyspace.range(request)
    }

    /// Runs a transaction that holds no write: [`TxnRequest::writes`] is false.
    ///
    /// # Errors
    /// As [`Machine::range`].
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnReply, Refusal> {
        self.check_sound()?;
        let chosen = txn::choose(request, &self.keyspace);
        txn::check(&chosen, &self.keyspace, &self.leases)?;
        let mut reply = txn::read(&chosen, &self.keyspace)?;
        txn::stamp(&mut reply, self.revision());
        Ok(reply)
    }

    /// Calls `visit` with the events of each revision in `from..=to`, oldest first and each
    /// revision whole, until it returns false. `from` may be the last compaction itself: what was
    /// written or deleted exactly there is kept (etcd issues 18089, 19179), only without the
    /// former pairs.
    ///
    /// # Errors
    /// `Compacted` when `from` lies below the last compaction.
    pub fn events(
        &self,
        from: Revision,
        to: Revision,
        visit: &mut dyn FnMut(Revision, &[Event]) -> bool,
    ) -> Result<(), Refusal> {
        self.keyspace.events(from, to, visit)
    }

    /// Goes on removing what the last compaction made unreachable, for about `records_max` keys and
    /// versions (a microsecond each). True when nothing is left to do; after a restore there
    /// may be something. Answers do not change by it.
    pub fn scrub(&mut self, records_max: usize) -> bool {
        self.keyspace.scrub(records_max)
    }

    /// One lease.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<LeaseRecord> {
        self.leases.get(id)
    }

    /// All leases by id.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseRecord> {
        self.leases.iter().copied().collect()
    }

    /// Keys attached to a lease, in key order.
    #[must_use]
    pub fn lease_keys(&self, id: LeaseId) -> Vec<Bytes> {
        self.leases.keys(id)
    }

    /// Raised alarms, in order.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        self.alarms.iter().copied().collect()
    }

    /// Whether CORRUPT alarms stop everything, on all members. Where a majority of the voters agrees,
    /// only the named members must not be asked, and the others go on; where none does, or the alarm
    /// is about somebody who is no member, nobody knows what is right (etcd stops in both cases).
    #[must_use]
    pub fn unsound(&self) -> bool {
        let mut corrupt = self.alarms.of(AlarmKind::Corrupt).peekable();
        if corrupt.peek().is_none() {
            return false;
        }
        let mut voters_corrupt = 0;
        for id in corrupt {
            match self.members.get(id) {
                Some(member) => voters_corrupt += usize::from(!member.learner),
                None => return true,
            }
        }
        let voters = self.members.iter().filter(|member| !member.learner);
        voters_corrupt * 2 >= voters.count()
    }

    /// Whether this member is named by a CORRUPT alarm, and must answer nobody.
    #[must_use]
    pub fn is_corrupt(&self, member: u64) -> bool {
        self.alarms.of(AlarmKind::Corrupt).any(|id| id == member)
    }

    /// The members by id.
    #[must_use]
    pub fn members(&self) -> Vec<MemberRecord> {
        self.members.iter().cloned().collect()
    }

    /// One member.
    #[must_use]
    pub fn member(&self, id: u64) -> Option<&MemberRecord> {
        self.members.get(id)
    }

    /// Whether this id was a member's once, and is not any more.
    #[must_use]
    pub fn is_removed(&self, id: u64) -> bool {
        self.members.removed().contains(&id)
    }

    /// All ids that were members' once.
    pub fn removed(&self) -> impl Iterator<Item = u64> + '_ {
        self.members.removed().iter().copied()
    }

    /// The first members of a new cluster, as its first entry names them.
    pub fn found(&mut self, members: Vec<MemberRecord>) {
        self.members.restore(members, Vec::new());
    }

    /// Whether a change of the members would be made.
    ///
    /// # Errors
    /// `MemberNotFound`, `MemberExists`, `PeerUrlExists`, `NotLearner`.
    pub fn check_change(&self, change: &MemberChange) -> Result<(), Refusal> {
        self.members.check(change)
    }

    /// Users, roles and permissions, as they are now.
    #[must_use]
    pub const fn auth(&self) -> &Arc<Auth> {
        &self.auth
    }

    /// Keys that exist now.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keyspace.keys()
    }

    /// Bytes the state accounts for, as compared with the quota. Equal on all members at the same
    /// index, however far each has scrubbed.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.keyspace.size_bytes() + self.leases.size_bytes()
    }

    /// The quota, as replicated.
    #[must_use]
    pub const fn quota_bytes(&self) -> u64 {
        self.quota_bytes
    }

    /// Whether the store has raised NOSPACE by itself, and will take it back so.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.alarms.full().is_empty()
    }

    /// Bytes that would remain if the current revision were compacted.
    #[must_use]
    pub fn size_in_use_bytes(&self) -> u64 {
        self.keyspace.size_in_use_bytes() + self.leases.size_bytes()
    }

    /// Checksum of all versions up to `revision` (0 = the current one) that the last compaction
    /// keeps: (checksum, last compaction, revision hashed). Equal on members at the same revision
    /// and compaction, however far each has scrubbed. Takes time in proportion to the store.
    ///
    /// # Errors
    /// `Compacted` or `FutureRevision`.
    pub fn hash_kv(&self, revision: Revision) -> Result<(u32, Revision, Revision), Refusal> {
        self.keyspace.check(revision)?;
        let at = if revision.0 <= 0 {
            self.revision()
        } else {
            revision
        };
        Ok((self.keyspace.hash(at), self.compacted(), at))
    }

    /// The running checksum of all changes.
    #[must_use]
    pub const fn trail(&self) -> TrailPoint {
        self.trail.point()
    }

    /// What is kept of it for the past, ascending.
    #[must_use]
    pub fn trail_marks(&self) -> Vec<TrailMark> {
        self.trail.marks()
    }

    /// Checksum of what is not in the keyspace: leases, alarms, users and roles, who is a member; and of
    /// the sizes.
    /// Takes time in proportion to the leases, some nanoseconds each. Names and addresses of members
    /// do not count, as logs of early versions did not hold them.
    #[must_use]
    pub fn rest_checksum(&self) -> u64 {
        let mut sum = Checksum::default();
        for number in [
            self.keys(),
            self.size_bytes(),
            self.size_in_use_bytes(),
            self.leases.term(),
        ] {
            sum.add(number);
        }
        for lease in self.leases.iter() {
            for number in [lease.id.0, lease.ttl_seconds, lease.remaining_seconds] {
                sum.add(number.cast_unsigned());
            }
        }
        for alarm in self.alarms.iter() {
            sum.add(alarm.member);
            sum.add(alarm.kind as u64);
        }
        for member in self.members.iter() {
            sum.add(member.id);
            sum.add(member.learner.into());
        }
        for &id in self.members.removed() {
            sum.add(id);
        }
        sum.add(self.quota_bytes);
        for &member in self.alarms.full() {
            sum.add(member);
        }
        let mut auth = Vec::new();
        self.auth.write(&mut auth);
        sum.add(u64::from(crc32c::crc32c(&auth)));
        sum.value()
    }

    /// Begins to hash the versions of `from..=to` that are kept now, from memory and up to the
    /// present revision; [`Machine::audit`] goes on with it.
    #[must_use]
    pub fn audit_begin(&self, from: Revision, to: Revision) -> Audit {
        self.keyspace.audit_begin(from, to)
    }

    /// Goes on with an audit, for about `records_max` keys and versions or `bytes_max` bytes. The sums
    /// are equal on members that began at the same index, whatever was written since and however far
    /// each has scrubbed.
    pub fn audit(&self, audit: &mut Audit, records_max: usize, bytes_max: usize) -> AuditStep {
        self.keyspace.audit(audit, records_max, bytes_max)
    }
}
