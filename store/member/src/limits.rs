//! Every bound of a member that is not a setting, with its reason.

/// Ticks per heartbeat. Raft counts time in ticks; ten per heartbeat give the election jitter a
/// hundred different values at etcd's defaults, so that five members rarely collide.
pub const TICKS_PER_HEARTBEAT: u64 = 10;

/// Ticks a single turn may catch up: one heartbeat. A member that was paused must hear what its
/// peers said meanwhile before it may conclude anything from the time that passed.
pub const TICKS_PER_TURN_MAX: u64 = TICKS_PER_HEARTBEAT;

/// Proposals that wait for their outcome: five times the 10,000 clients the store is meant for.
pub const PROPOSALS_MAX: usize = 50_000;

/// Bytes of proposals that wait for their outcome: less than half of the log's spare segment, so
/// that what was admitted always fits when the disk turns out to be full.
pub const PROPOSAL_BYTES_MAX: u64 = 24 << 20;

/// Forwarded messages a leader can tell apart behind the newest of a sender: as many as the bits of
/// the window. One link delivers in order; this is for what a new link overtakes.
pub const FORWARD_WINDOW: u64 = 128;

/// Lives of members a leader remembers in one term as senders of proposals: 48 KiB. A message of one
/// forgotten would have to be older than this many restarts.
pub const SENDERS_MAX: usize = 1_024;

/// Reads that wait for their round; as [`PROPOSALS_MAX`], with keep-alives counted in.
pub const READS_MAX: usize = 100_000;

/// Bytes of entries handed to one append: keeps one sync below about 10 ms on a 1 GB/s disk.
pub const APPEND_BYTES_MAX: u64 = 8 << 20;

/// Bytes of entries in one message to a peer. etcd's value.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Messages on their way to a peer without an answer: 256 MiB of window at most, typically a few
/// hundred KiB. Half of etcd's 512.
pub const MESSAGES_IN_FLIGHT_MAX: usize = 256;

/// Bytes of committed entries applied between two looks at raft.
pub const APPLY_BYTES_MAX: u64 = 4 << 20;

/// Looks at raft in one turn. Ends a turn after at most `APPLY_BYTES_MAX` times this many bytes of
/// entries, so that a long catch-up does not keep requests and heartbeats waiting.
pub const READIES_PER_TURN_MAX: usize = 8;

/// Superseded versions removed per turn after a compaction: some 100 µs of work, so that the p99 of
/// a put hardly notices.
pub const SCRUB_RECORDS_PER_TURN: usize = 512;

/// Bytes of log that call for a snapshot before `snapshot_count` entries are reached: one segment.
pub const LOG_BYTES_BEFORE_SNAPSHOT: u64 = 64 << 20;

/// Bytes of applied log kept in memory for members that lag. Entries may be 1.5 MiB each.
pub const CATCH_UP_BYTES_MAX: u64 = 32 << 20;

/// Applied entries forgotten at once: a batch or two.
pub const TRIM_ENTRIES: u64 = 1_024;

/// Leases whose revoke may be under way at once. Keeps room for clients when very many end at the
/// same moment: 1,000 are applied within one or two batches.
pub const REVOKES_IN_FLIGHT_MAX: usize = 1_000;

/// Pause before a revoke that was refused is tried again: it is while nobody knows which state is right, until a
/// person has said so.
pub const REVOKE_AGAIN_MS: u64 = 1_000;

/// Leases per checkpoint command: 16 KiB.
pub const CHECKPOINT_LEASES_MAX: usize = 1_000;

/// Period in which leases are looked at for a checkpoint: some milliseconds of work with 100,000 leases.
pub const CHECKPOINT_PERIOD_MS: u64 = 10_000;

/// Time without a renewal after which every lease gets a checkpoint, and the time after which it gets the
/// next (etcd's period, 5 minutes). A short one gets it at half its time to live.
pub const CHECKPOINT_AGE_MS: u64 = 5 * 60 * 1_000;

/// Parts of a snapshot on their way to a receiver: 1 MiB, enough for a gigabit at 8 ms of round trip.
pub const SNAPSHOT_PARTS_IN_FLIGHT: usize = 4;

/// Receivers served at once; each keeps alive what is compacted meanwhile. Others wait their turn.
pub const SNAPSHOTS_OUT_MAX: usize = 2;

/// Bytes of log kept in memory while snapshots are being sent, for what comes after them. When there
/// is more, writes come faster than the receiver can take them: the transfers begin anew.
pub const SNAPSHOT_HOLD_BYTES_MAX: u64 = 512 << 20;

/// Keys and versions hashed per turn by an audit: some 100 µs of work.
pub const AUDIT_RECORDS_PER_TURN: usize = 256;

/// Bytes hashed per turn by an audit: as much time again, where values are large.
pub const AUDIT_BYTES_PER_TURN: usize = 1 << 20;

/// Shortest time between two comparisons of members, whoever asks for them.
pub const CHECK_ROUND_MS: u64 = 1_000;

/// Longest wait for the members' answers where they have nothing to work out: what has not come by
/// then is lost.
pub const CHECK_ANSWER_MS: u64 = 5_000;

/// The same where they hash their contents; an audit of 2 GiB beside other work takes seconds. Also
/// how long a member that was told to wait for one waits to be compared at its start.
pub const CHECK_PATIENCE_MS: u64 = 60_000;

/// Shortest time between two hand-overs of one member for its slow disk: a disk that stalls now and
/// then costs its cluster a hand-over a minute at most.
pub const YIELD_PAUSE_MS: u64 = 60_000;

/// Shares of the quota, in percent, whose use is said: two in time to do something, one when it is used up.
pub const SPACE_WARN_PERCENT: [u64; 3] = [80, 90, 100];

/// Bytes of commands that give room back, taken into the log after the disk turned out to be full: a part
/// of the segment that is written then, half of which is left when all that was admitted before has
/// been written. A hundred thousand deletes.
pub const RESCUE_BYTES_MAX: u64 = 8 << 20;

/// Shortest time between two snapshots tried while the disk is full: each writes until it fails.
pub const RESCUE_SNAPSHOT_MS: u64 = 30_000;

/// Share of the quota, in percent, that must be free again before the NOSPACE alarm is taken back:
/// enough that it does not flap with each delete.
pub const SPACE_FREE_PERCENT: u64 = 5;
