//! What the proxy counts, and the page it is shown on; etcd's names where etcd has one.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::cache::Cache;

/// Counted while it runs.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    watchers_coalesced: AtomicU64,
    renewals_coalesced: AtomicU64,
    events: AtomicU64,
    watchers_upstream: AtomicUsize,
    watchers: AtomicUsize,
}

/// Watchers and renewals that joined others so far; watchers upstream and of clients now.
type Levels = (u64, u64, usize, usize);

impl Counters {
    /// Events that went to one client.
    pub(crate) fn events(&self, events: usize) {
        self.events.fetch_add(events as u64, Relaxed);
    }

    /// The levels of one identity have changed. Levels may fall: what is added wraps, and so does the sum.
    pub(crate) fn moved(&self, before: Levels, now: Levels) {
        self.watchers_coalesced.fetch_add(now.0 - before.0, Relaxed);
        self.renewals_coalesced.fetch_add(now.1 - before.1, Relaxed);
        self.watchers_upstream
            .fetch_add(now.2.wrapping_sub(before.2), Relaxed);
        self.watchers
            .fetch_add(now.3.wrapping_sub(before.3), Relaxed);
    }

    /// The page, as Prometheus reads it.
    pub(crate) fn page(&self, cache: &Cache) -> String {
        let mut page = String::new();
        for (name, kind, help, value) in [
            (
                "etcd_grpc_proxy_cache_hits_total",
                "counter",
                "Serializable ranges answered from the cache.",
                cache.hits,
            ),
            (
                "etcd_grpc_proxy_cache_misses_total",
                "counter",
                "Serializable ranges that went to a member.",
                cache.misses,
            ),
            (
                "etcd_grpc_proxy_cache_keys_total",
                "gauge",
                "Answers in the cache.",
                cache.len() as u64,
            ),
            (
                "etcd_grpc_proxy_events_coalescing_total",
                "counter",
                "Events sent to watchers of clients.",
                self.events.load(Relaxed),
            ),
            (
                "etcd_grpc_proxy_watchers_coalescing_total",
                "gauge",
                "Watchers of clients that share one upstream with others.",
                self.watchers
                    .load(Relaxed)
                    .saturating_sub(self.watchers_upstream.load(Relaxed)) as u64,
            ),
            (
                "muster_grpc_proxy_watchers",
                "gauge",
                "Watchers of clients.",
                self.watchers.load(Relaxed) as u64,
            ),
            (
                "muster_grpc_proxy_upstream_watchers",
                "gauge",
                "Watchers at members, for clients and for the cache.",
                self.watchers_upstream.load(Relaxed) as u64,
            ),
            (
                "muster_grpc_proxy_watchers_joined_total",
                "counter",
                "How often a watcher joined one that was there.",
                self.watchers_coalesced.load(Relaxed),
            ),
            (
                "muster_grpc_proxy_renewals_joined_total",
                "counter",
                "Renewals of leases that were answered by another's.",
                self.renewals_coalesced.load(Relaxed),
            ),
        ] {
            // Writing to a string does not fail.
            let _ = writeln!(
                page,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
            );
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_rise_and_fall() {
        let counters = Counters::default();
        counters.moved((0, 0, 0, 0), (3, 1, 2, 100));
        counters.moved((3, 1, 2, 100), (3, 1, 1, 99));
        counters.events(7);
        let page = counters.page(&Cache::default());
        for line in [
            "muster_grpc_proxy_upstream_watchers 1",
            "muster_grpc_proxy_watchers 99",
            "etcd_grpc_proxy_watchers_coalescing_total 98",
            "etcd_grpc_proxy_events_coalescing_total 7",
            "muster_grpc_proxy_renewals_joined_total 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}: {page}");
        }
    }
}
