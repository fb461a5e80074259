//! What a member must be told once. Owns the numbers a person may set; fixed bounds are in
//! `limits.rs`.

use store_machine::Limits;

use crate::answer::MemberInfo;

/// Everything that is fixed for the life of a member.
#[derive(Clone, Debug)]
pub struct Config {
    /// Cluster id, for headers.
    pub cluster: u64,
    /// This member's id, not 0.
    pub id: u64,
    /// The members of a new cluster, this one included; ignored where the disk says otherwise.
    pub members: Vec<MemberInfo>,
    /// This member joins a cluster that exists: it begins with nothing, and waits to be sent a
    /// snapshot. Ignored where the disk says otherwise.
    pub joining: bool,
    /// Leader's heartbeat period. etcd's default 100.
    pub heartbeat_ms: u64,
    /// Shortest silence after which a follower campaigns; at least 5 heartbeats. etcd's default
    /// 1000.
    pub election_ms: u64,
    /// Applied entries after which a snapshot is taken. etcd's default 10,000.
    pub snapshot_count: u64,
    /// Entries kept in memory and on disk behind a snapshot, so that a member that lags a little
    /// needs no snapshot. etcd's default 5,000.
    pub catch_up_entries: u64,
    /// Period of watch progress for watchers that asked for it. etcd's default 10 minutes.
    pub progress_ms: u64,
    /// An append that waits longer than this for the disk makes a leader hand the lead over, if a majority
    /// of other voters has proved to be faster; 0 = never.
    pub slow_sync_ms: u64,
    /// Period in which members compare the running checksums of their states; 0 = never.
    pub check_ms: u64,
    /// Period in which they compare what lies in memory; 0 = never.
    pub check_contents_ms: u64,
    /// After a start on existing data, serve nobody before the contents have been compared with the
    /// others', or nobody could be reached for a minute.
    pub check_at_start: bool,
    /// Members that may learn at a time. etcd's default 1.
    pub learners_max: usize,
    /// Refuse changes of the members that would leave too few of them started and heard of. etcd's
    /// default; without it only what cannot be carried out is refused.
    pub strict_reconfig: bool,
    /// Bytes of a part of a snapshot on its way to another member. 256 KiB: a millisecond of work at
    /// either end.
    pub snapshot_part_bytes: usize,
    /// Bounds a leader puts in force on all members. The machine this member is opened on has these, or
    /// none: never others.
    pub limits: Limits,
    /// Source of election jitter, lease ids and read rounds. Must differ from life to life and from
    /// member to member.
    pub seed: u64,
}

impl Config {
    /// Defaults for one member.
    #[must_use]
    pub fn new(cluster: u64, id: u64, seed: u64) -> Self {
        Self {
            cluster,
            id,
            members: vec![MemberInfo {
                id,
                name: String::new(),
                peer_urls: Vec::new(),
                client_urls: Vec::new(),
                learner: false,
            }],
            joining: false,
            heartbeat_ms: 100,
            election_ms: 1_000,
            snapshot_count: 10_000,
            catch_up_entries: 5_000,
            progress_ms: 10 * 60 * 1_000,
            // The time after which members do not wait for a leader either.
            slow_sync_ms: 1_000,
            // Some hundred bytes per member.
            check_ms: 10_000,
            // A second of a core per gigabyte or less.
            check_contents_ms: 10 * 60 * 1_000,
            check_at_start: false,
            learners_max: 1,
            strict_reconfig: true,
            snapshot_part_bytes: 256 << 10,
            limits: Limits {
                quota_bytes: 2 << 30,
            },
            seed,
        }
    }

    /// What this member says of itself, if it says anything.
    pub(crate) fn own(&self) -> Option<&MemberInfo> {
        self.members.iter().find(|member| member.id == self.id)
    }

    /// The least time to live a lease is given, in seconds: one and a half election timeouts,
    /// rounded up, so that a leader change alone cannot end a lease.
    #[must_use]
    pub fn lease_ttl_seconds_min(&self) -> i64 {
        i64::try_from((self.election_ms * 3).div_ceil(2_000)).unwrap_or(i64::MAX)
    }

    /// How long a request waits for its outcome: etcd's 5 seconds and two elections.
    #[must_use]
    pub fn request_timeout_ms(&self) -> u64 {
        5_000 + 2 * self.election_ms
    }
}
