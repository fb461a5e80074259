//! A lease ends never early, and late by at most a bound (etcd API guarantees, "leases"; Raft thesis
//! 6.4.1 on clocks): whoever was told that a lease lives has its time to live from the moment of
//! asking, as measured by a clock that is as much too fast as clocks may be. Only the bound on
//! being late needs a leader and a majority, so it is looked at when all faults are over.

use std::collections::BTreeMap;

use store_machine::revision::LeaseId;

use crate::clock::Time;
use crate::plan::SECOND;
use crate::promises::{Canon, Check, broken};

#[derive(Clone, Copy, Debug)]
struct Promised {
    ttl_seconds: i64,
    /// When the latest renewal that was answered had been asked for.
    renewed: Time,
}

/// What holders of leases were told.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    leases: BTreeMap<LeaseId, Promised>,
    /// Index of each grant.
    granted: BTreeMap<LeaseId, u64>,
    pub(crate) expired: u64,
}

impl Promises {
    /// A grant was applied.
    pub(crate) fn granted(&mut self, id: LeaseId, index: u64) {
        self.granted.insert(id, index);
    }

    /// A holder is told that there is no such lease.
    pub(crate) fn missed(&self, canon: &Canon, id: LeaseId, floor_index: u64) -> Check {
        let known = self
            .granted
            .get(&id)
            .is_some_and(|index| *index <= floor_index);
        if known && canon.model.leases().any(|lease| lease == id) {
            return broken(
                "a lease never ends early",
                format!("lease {id} lives, and its holder is told that it does not"),
            );
        }
        Ok(())
    }

    /// A grant or a renewal, asked for at `asked`, is answered with a time to live.
    pub(crate) fn told(&mut self, id: LeaseId, ttl_seconds: i64, asked: Time) {
        let promised = self.leases.entry(id).or_insert(Promised {
            ttl_seconds,
            renewed: asked,
        });
        promised.renewed = promised.renewed.max(asked);
    }

    /// A revoke that no client asked for was applied; its leader decided it at `decided`. Clocks are too
    /// fast by `skew` parts per thousand at most.
    pub(crate) fn ended(&mut self, skew: u64, id: LeaseId, decided: Time) -> Check {
        self.expired += 1;
        self.holds(skew, id, decided)
    }

    /// A lease that was gone at a moment, and that no client had revoked, had lived its time.
    pub(crate) fn holds(&self, skew: u64, id: LeaseId, decided: Time) -> Check {
        let Some(promised) = self.leases.get(&id) else {
            // Whoever asked for it has not been answered.
            return Ok(());
        };
        let ttl = u64::try_from(promised.ttl_seconds).unwrap_or(0) * SECOND;
        let least = ttl * 1_000 / (1_000 + skew);
        // A member's clock shows whole milliseconds.
        if decided + 2_000 < promised.renewed + least {
            return broken(
                "a lease never ends early",
                format!(
                    "lease {id} of {} s, kept alive by a request at {} µs, was ended at {decided} µs",
                    promised.ttl_seconds, promised.renewed
                ),
            );
        }
        Ok(())
    }
}

/// All is quiet for longer than any lease lives unless somebody keeps it alive, as `kept` says.
pub(crate) fn finished(canon: &Canon, kept: impl Fn(LeaseId) -> bool) -> Check {
    match canon.model.leases().find(|lease| !kept(*lease)) {
        None => Ok(()),
        Some(lease) => broken(
            "a lease ends late by at most a bound",
            format!("lease {lease} lives, and nobody has kept it alive for long"),
        ),
    }
}

#[cfg(test)]
mod tests;
