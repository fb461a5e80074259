//! Running numbers of a member, for metrics.

/// Since the member was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Leader changes seen.
    pub leader_changes: u64,
    /// Entries known to be committed: the highest index.
    pub committed_index: u64,
    /// Entries applied: the highest index.
    pub applied_index: u64,
    /// Proposals that ended without being applied, or with unknown outcome.
    pub proposals_failed: u64,
    /// Proposals without an outcome now.
    pub proposals_pending: u64,
    /// Leases revoked because their time was up.
    pub leases_expired: u64,
    /// Share of the quota, in percent, that has been warned of; 0 = none.
    pub space_warned: u64,
    /// Times the disk kept appends waiting for too long, until it had caught up.
    pub slow_syncs: u64,
    /// Comparisons of members this one made as leader.
    pub checks: u64,
    /// Those in which some member differed.
    pub checks_differing: u64,
    /// Id of the leader; 0 = none.
    pub leader: u64,
    /// Raft term.
    pub term: u64,
}
