//! Running numbers of the store, for `/metrics`: written by the driver and disk threads, read by
//! anybody. Plain atomics, relaxed: each number is right by itself, not together with others.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store_member::counts::Work;

use crate::delays::Delays;

/// A number that only the owner writes.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// Its present value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }
}

/// Upper bounds of the buckets of a [`Histogram`] of times, in microseconds: etcd's buckets for disk
/// times (1 ms doubled 13 times) with finer ones below, as a sync here often takes 100 µs.
pub const TIME_BUCKETS_US: [u64; 18] = [
    62, 125, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000,
    512_000, 1_024_000, 2_048_000, 4_096_000, 8_192_000,
];

/// How long something took, counted by buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One per bound of [`TIME_BUCKETS_US`] (that bucket alone, not cumulative), and one above all.
    buckets: [Number; TIME_BUCKETS_US.len() + 1],
    sum_us: Number,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = TIME_BUCKETS_US.partition_point(|&bound| bound < us);
        self.buckets[bucket].add(1);
        self.sum_us.add(us);
    }

    /// Observations so far per bucket; the last is above all bounds.
    #[must_use]
    pub fn buckets(&self) -> [u64; TIME_BUCKETS_US.len() + 1] {
        std::array::from_fn(|i| self.buckets[i].get())
    }

    /// All observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Number::get).sum()
    }

    /// Sum of what was observed, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

/// All numbers of one store. Those named like a state (`leader`, `pending`) go up and down, the
/// others only up.
#[derive(Debug, Default)]
pub struct Counters {
    /// Id of the leader, 0 = none (`etcd_server_has_leader`, `etcd_server_is_leader`).
    pub leader: Number,
    /// Since when it has led as far as this member knows, in milliseconds since 1970 by this member's clock.
    pub leader_since_ms: Number,
    /// Raft term.
    pub term: Number,
    /// 1 while this member does not vote (`etcd_server_is_learner`).
    pub learner: Number,
    /// 1 once the members know what this one is called and where its clients find it.
    pub published: Number,
    /// Leader changes seen (`etcd_server_leader_changes_seen_total`).
    pub leader_changes: Number,
    /// Highest committed index (`etcd_server_proposals_committed_total`).
    pub proposals_committed: Number,
    /// Highest applied index (`etcd_server_proposals_applied_total`).
    pub proposals_applied: Number,
    /// Proposals without an outcome (`etcd_server_proposals_pending`).
    pub proposals_pending: Number,
    /// Proposals that failed or got no outcome in time (`etcd_server_proposals_failed_total`).
    pub proposals_failed: Number,
    /// Leases that ended by time (`etcd_debugging_lease_ttl_total` counts their ends).
    pub leases_expired: Number,
    /// Share of the quota, in percent, that has been warned of: 0, 80, 90 or 100.
    pub space_warned: Number,
    /// Times the disk kept appends waiting for too long.
    pub slow_syncs: Number,
    /// Comparisons of members, and those in which one differed.
    pub checks: Number,
    /// See [`Counters::checks`].
    pub checks_differing: Number,
    /// Store revision (`etcd_debugging_mvcc_current_revision`).
    pub revision: Number,
    /// Last compacted revision (`etcd_debugging_mvcc_compact_revision`).
    pub compacted_revision: Number,
    /// Accounted bytes (`etcd_mvcc_db_total_size_in_bytes`).
    pub size_bytes: Number,
    /// Requests refused because too many were waiting.
    pub refused_busy: Number,
    /// Open watch streams (`etcd_debugging_mvcc_watch_stream_total`).
    pub watch_streams: Number,
    /// Watchers (`etcd_debugging_mvcc_watcher_total`).
    pub watchers: Number,
    /// Those of them that are behind (`etcd_debugging_mvcc_slow_watcher_total`).
    pub watchers_lagging: Number,
    /// Keys now (`etcd_debugging_mvcc_keys_total`).
    pub keys: Number,
    /// Turns of the driver.
    pub turns: Number,
    /// Facts the driver was told; divided by `turns`, the batch size.
    pub inputs: Number,
    /// How long a turn took without waiting (`etcd_server_apply_duration_seconds` is part of it).
    pub turn: Histogram,
    /// Syncs of the log (`etcd_disk_wal_fsync_duration_seconds`).
    pub wal_sync: Histogram,
    /// Writes to the log before a sync (`etcd_disk_wal_write_duration_seconds`).
    pub wal_write: Histogram,
    /// Bytes of entry bodies written to the log (`etcd_disk_wal_write_bytes_total`).
    pub wal_bytes: Number,
    /// Entries written to the log; divided by the number of syncs, the batch size.
    pub wal_entries: Number,
    /// Snapshots made durable, and how long each took from begin to end
    /// (`etcd_debugging_snap_save_total_duration_seconds`).
    pub snapshot: Histogram,
    /// 1 while the disk has no room for more log.
    pub disk_full: Number,
    /// Turns of the driver that took longer than they should (`etcd_server_slow_apply_total`).
    pub slow_turns: Number,
    /// What commands and reads did.
    pub work: WorkCounters,
    /// What was slow lately.
    pub(crate) delays: Delays,
    peers: Mutex<Vec<(u64, Arc<PeerCounters>)>>,
}

/// What the store was made to do; see [`Work`].
#[derive(Debug, Default)]
pub struct WorkCounters {
    /// Pairs that were put (`etcd_mvcc_put_total`).
    pub puts: Number,
    /// Bytes of those (`etcd_debugging_mvcc_total_put_size_in_bytes`).
    pub put_bytes: Number,
    /// Deletes (`etcd_mvcc_delete_total`).
    pub deletes: Number,
    /// Ranges (`etcd_mvcc_range_total`).
    pub ranges: Number,
    /// Transactions (`etcd_mvcc_txn_total`).
    pub txns: Number,
    /// Events (`etcd_debugging_mvcc_events_total`).
    pub events: Number,
    /// Leases granted (`etcd_debugging_lease_granted_total`).
    pub leases_granted: Number,
    /// Leases ended (`etcd_debugging_lease_revoked_total`).
    pub leases_revoked: Number,
    /// Renewals (`etcd_debugging_lease_renewed_total`).
    pub leases_renewed: Number,
}

impl WorkCounters {
    pub(crate) fn set(&self, work: &Work) {
        self.puts.set(work.puts);
        self.put_bytes.set(work.put_bytes);
        self.deletes.set(work.deletes);
        self.ranges.set(work.ranges);
        self.txns.set(work.txns);
        self.events.set(work.events);
        self.leases_granted.set(work.leases_granted);
        self.leases_revoked.set(work.leases_revoked);
        self.leases_renewed.set(work.leases_renewed);
    }
}

impl Counters {
    /// The links to the other members, by their ids.
    #[must_use]
    pub fn peers(&self) -> Vec<(u64, Arc<PeerCounters>)> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.clone()
    }

    pub(crate) fn set_peers(&self, now: Vec<(u64, Arc<PeerCounters>)>) {
        *self.peers.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// Numbers of the links to one other member.
#[derive(Debug, Default)]
pub struct PeerCounters {
    /// 1 while there is a stream to it (`etcd_network_active_peers`).
    pub connected: Number,
    /// Bytes sent to it (`etcd_network_peer_sent_bytes_total`).
    pub sent_bytes: Number,
    /// Bytes it sent (`etcd_network_peer_received_bytes_total`).
    pub received_bytes: Number,
    /// Streams to it that broke or did not come to be (`etcd_network_peer_sent_failures_total`).
    pub sent_failures: Number,
    /// Time of a message there and one back (`etcd_network_peer_round_trip_time_seconds`).
    pub round_trip: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lands_in_the_bucket_it_does_not_exceed() {
        let histogram = Histogram::default();
        for us in [0, 62, 63, 1_000, 1_001, 9_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let buckets = histogram.buckets();
        let filled: Vec<(usize, u64)> = (0..).zip(buckets).filter(|bucket| bucket.1 > 0).collect();
        assert_eq!(filled, [(0, 2), (1, 1), (4, 1), (5, 1), (18, 1)]);
        assert_eq!(histogram.count(), 6);
        assert_eq!(histogram.sum_us(), 9_002_126);
    }
}
