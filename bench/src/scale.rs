//! What a fleet of hosts does to a store, by arithmetic from measured costs.
//!
//! Nothing here is measured: costs come from a report (`docs/benchmarks.json`), what a fleet does from [`Habits`]. The
//! results are loads on the busiest member, and which bound the first of them reaches.

use std::fmt::Write;

use crate::contender::Contender;
use crate::cores::Mode;
use crate::report::{Report, Row};

/// What every host does.
#[derive(Clone, Copy, Debug)]
struct Habits {
    /// Containers on a host, a key each.
    containers: f64,
    /// Seconds a container lives: each is put once and deleted once.
    life_s: f64,
    /// Share of all containers that a deployment replaces, and the seconds it takes.
    deployed: f64,
    deployment_s: f64,
    /// Leases kept alive on a host, and seconds between two renewals.
    leases: f64,
    renewal_s: f64,
    /// Bytes of a record with its key, and of an event that carries it.
    record_bytes: f64,
    event_bytes: f64,
    /// Revisions of a key that history keeps.
    revisions: f64,
}

/// The registrator's defaults, and a fleet that is busier than most: 50 containers a host that live an hour, and a
/// tenth of all replaced within five minutes.
const HABITS: Habits = Habits {
    containers: 50.0,
    life_s: 3600.0,
    deployed: 0.1,
    deployment_s: 300.0,
    // The registrator's and confd's, each renewed after a third of 30 s.
    leases: 2.0,
    renewal_s: 10.0,
    record_bytes: 300.0,
    event_bytes: 350.0,
    // An hour of history: a life is a put and a delete.
    revisions: 2.0,
};

/// Where a member ends: a core for what only one thread can do, a network of 1 Gbit/s, the largest quota etcd advises.
const CORES_MAX: f64 = 1.0;
const NETWORK_BYTES_MAX: f64 = 125e6;
const QUOTA_BYTES_MAX: f64 = 8.0 * 1024.0 * 1024.0 * 1024.0;

/// Hosts that are looked at.
const HOSTS: [f64; 3] = [1e3, 1e4, 1e5];
/// Members of the store.
const MEMBERS: [f64; 2] = [3.0, 5.0];
/// Share of all services that the files of one host are made from: everything, and what a service's neighbours are.
const SHARES: [f64; 2] = [1.0, 0.01];

/// Microseconds of a member's CPU, and bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Costs {
    /// A put at the leader, alone.
    put: f64,
    /// A put at one follower.
    follow: f64,
    keep_alive: f64,
    /// An event sent to one watcher.
    event: f64,
    /// Memory that a key takes beside its own bytes and its value's.
    key_bytes: f64,
}

/// A case that the costs need and the report lacks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("take the costs from the report: it has no figures of the case {case}")]
pub(crate) struct Missing {
    case: &'static str,
}

impl Costs {
    fn of(report: &Report) -> Result<Self, Missing> {
        let row = |case: &'static str| {
            let ours = |row: &&Row| row.case == case && row.contender == Contender::Muster;
            let rows: Vec<&Row> = report.rows.iter().filter(ours).collect();
            // On a core of its own, where that was measured: no work is shared with the load's.
            let pinned = rows.iter().find(|row| row.mode == Mode::Pinned);
            pinned.or(rows.first()).copied().ok_or(Missing { case })
        };
        let put = row("put")?.cpu_us;
        let million = row("million")?;
        Ok(Self {
            put,
            follow: ((row("put-three")?.cpu_us - put) / 2.0).max(0.0),
            keep_alive: row("keep-alive")?.cpu_us,
            event: row("watch-10000")?.cpu_us,
            // A million keys of 16 bytes with values of 256.
            key_bytes: (million.resident_mib * f64::from(1 << 20) / 1e6 - 272.0).max(0.0),
        })
    }
}

/// What a fleet does to a store.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Writes per second, on an ordinary day and while a deployment goes on.
    writes: f64,
    writes_peak: f64,
    keep_alives: f64,
    /// Events per second to all watchers, at the peak.
    events: f64,
    /// Of the busiest member, at the peak.
    cores: f64,
    network_bytes: f64,
    /// Of every member.
    state_bytes: f64,
}

impl Load {
    fn new(habits: &Habits, costs: &Costs, hosts: f64, members: f64, share: f64) -> Self {
        let keys = hosts * habits.containers;
        let writes = 2.0 * keys / habits.life_s;
        let writes_peak = writes + 2.0 * keys * habits.deployed / habits.deployment_s;
        let keep_alives = hosts * habits.leases / habits.renewal_s;
        let events = writes_peak * hosts * share;
        // The leader writes and renews; watchers are spread over all members.
        let micros = writes_peak * costs.put
            + keep_alives * costs.keep_alive
            + events / members * costs.event;
        let network_bytes = events / members * habits.event_bytes
            + writes_peak * habits.record_bytes * (members - 1.0);
        Self {
            writes,
            writes_peak,
            keep_alives,
            events,
            cores: micros / 1e6,
            network_bytes,
            state_bytes: keys * habits.revisions * (habits.record_bytes + costs.key_bytes),
        }
    }

    /// What ends first, if something does: the bound passed by most.
    fn breaks_at(&self) -> Option<&'static str> {
        let bounds = [
            (self.cores / CORES_MAX, "processor"),
            (self.network_bytes / NETWORK_BYTES_MAX, "network"),
            (self.state_bytes / QUOTA_BYTES_MAX, "memory"),
        ];
        let worst = bounds
            .into_iter()
            .max_by(|one, other| one.0.total_cmp(&other.0));
        worst
            .filter(|(share, _)| *share > 1.0)
            .map(|(_, name)| name)
    }
}

/// The tables, as Markdown.
pub(crate) fn tables(report: &Report) -> Result<String, Missing> {
    let costs = Costs::of(report)?;
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "Costs of {} (commit {}, {}): a put {:.1} µs at the leader and {:.1} µs at a follower, a keep-alive {:.1} µs, an event to \
         a watcher {:.1} µs of one core; a key takes {:.0} bytes beside its own and its value's.\n",
        report.date,
        report.commit,
        report.machine.processor,
        costs.put,
        costs.follow,
        costs.keep_alive,
        costs.event,
        costs.key_bytes
    );
    let _ = writeln!(
        out,
        "| hosts | members | a host's files are made from | writes/s, deploying | keep-alives/s | events/s | cores of the leader | network of a member | state | ends first |\n\
         |--:|--:|---|--:|--:|--:|--:|--:|--:|---|"
    );
    for hosts in HOSTS {
        for members in MEMBERS {
            for share in SHARES {
                let load = Load::new(&HABITS, &costs, hosts, members, share);
                let _ = writeln!(
                    out,
                    "| {hosts:.0} | {members:.0} | {} | {:.0}, {:.0} | {:.0} | {:.0} | {:.2} | {:.1} MB/s | {:.2} GiB | {} |",
                    if share < 1.0 {
                        format!("{:.0} % of all services", share * 100.0)
                    } else {
                        "all services".to_owned()
                    },
                    load.writes,
                    load.writes_peak,
                    load.keep_alives,
                    load.events,
                    load.cores,
                    load.network_bytes / 1e6,
                    load.state_bytes / f64::from(1 << 30),
                    load.breaks_at().unwrap_or("nothing")
                );
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{report, row};

    const COSTS: Costs = Costs {
        put: 20.0,
        follow: 10.0,
        keep_alive: 5.0,
        event: 1.0,
        key_bytes: 100.0,
    };

    #[test]
    fn costs_come_from_the_rows_of_ours_alone() {
        let ours = |case: &str, mode, cpu_us: f64| Row {
            cpu_us,
            resident_mib: 400.0,
            ..row(case, mode, Contender::Muster)
        };
        let mut rows = vec![
            row("put", Mode::Pinned, Contender::Etcd),
            ours("put", Mode::Free, 9.0),
            ours("put", Mode::Pinned, 20.0),
            ours("put-three", Mode::Pinned, 50.0),
            ours("keep-alive", Mode::Pinned, 5.0),
            ours("watch-10000", Mode::Pinned, 2.0),
            ours("million", Mode::Free, 0.0),
        ];
        let costs = Costs::of(&report(rows.clone())).unwrap();
        assert_eq!((costs.put, costs.follow, costs.event), (20.0, 15.0, 2.0));
        assert!((costs.key_bytes - (400.0 * 1.048_576 - 272.0)).abs() < 1e-6);
        assert!(tables(&report(rows.clone())).unwrap().lines().count() >= 14);
        rows.pop();
        let missing = Costs::of(&report(rows)).unwrap_err();
        assert_eq!(missing, Missing { case: "million" });
    }

    #[test]
    fn loads_are_what_hosts_do_taken_together() {
        let load = Load::new(&HABITS, &COSTS, 1e3, 3.0, 1.0);
        let close = |found: f64, wanted: f64| {
            assert!((found / wanted - 1.0).abs() < 1e-3, "{found} {wanted}");
        };
        close(load.writes, 27.78);
        close(load.writes_peak, 61.11);
        close(load.keep_alives, 200.0);
        close(load.events, 61_111.0);
        close(load.cores, 61.11 * 20e-6 + 200.0 * 5e-6 + 20_370.0 * 1e-6);
        close(load.network_bytes, 20_370.0 * 350.0 + 61.11 * 300.0 * 2.0);
        close(load.state_bytes, 50_000.0 * 2.0 * 400.0);
        assert_eq!(load.breaks_at(), None);
    }

    #[test]
    fn what_is_passed_by_most_ends_first() {
        // Ten times the hosts are a hundred times the events.
        let all = Load::new(&HABITS, &COSTS, 1e4, 3.0, 1.0);
        assert_eq!(all.breaks_at(), Some("network"));
        let costly = Costs {
            event: 100.0,
            ..COSTS
        };
        assert_eq!(
            Load::new(&HABITS, &costly, 1e4, 3.0, 1.0).breaks_at(),
            Some("processor")
        );
        let large = Costs {
            key_bytes: 1e4,
            ..COSTS
        };
        assert_eq!(
            Load::new(&HABITS, &large, 1e5, 5.0, 1e-6).breaks_at(),
            Some("memory")
        );
    }
}
