//! The latest status in Prometheus' text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::latency::BOUNDS_MS;
use crate::status::Status;
use crate::work::BOUNDS_US;

/// Prometheus text format 0.0.4.
pub(crate) fn metrics(status: &Status, lease: Option<Duration>) -> String {
    let mut text = String::with_capacity(4096);
    let mut gauge = |name: &str, help: &str, kind: &str, value: u64| {
        let _ = writeln!(
            text,
            "# HELP muster_registrator_{name} {help}\n# TYPE muster_registrator_{name} {kind}\n\
             muster_registrator_{name} {value}"
        );
    };
    let instances: usize = status.services.values().map(Vec::len).sum();
    let counts = &status.counts;
    for (name, help, kind, value) in [
        (
            "engine_up",
            "Whether the event stream is open.",
            "gauge",
            u64::from(status.engine.up),
        ),
        (
            "store_up",
            "Whether the lease is held.",
            "gauge",
            u64::from(status.store.up),
        ),
        (
            "ready",
            "Whether the registry is in sync.",
            "gauge",
            u64::from(status.is_ready()),
        ),
        (
            "instances",
            "Instances registered or about to be.",
            "gauge",
            instances as u64,
        ),
        (
            "services",
            "Services with an instance here.",
            "gauge",
            status.services.len() as u64,
        ),
        (
            "pending",
            "Containers that wait for the store.",
            "gauge",
            status.pending as u64,
        ),
        (
            "skipped",
            "Running containers and ports left out.",
            "gauge",
            status.skipped.len() as u64,
        ),
        (
            "faults",
            "Things that are wrong.",
            "gauge",
            status.faults.len() as u64,
        ),
        (
            "events_total",
            "Events received from the engine.",
            "counter",
            counts.events,
        ),
        (
            "streams_total",
            "Times the event stream was opened.",
            "counter",
            counts.streams,
        ),
        (
            "gaps_total",
            "Times without an event stream.",
            "counter",
            counts.gaps,
        ),
        (
            "overflows_total",
            "Times the engine had forgotten events of a gap.",
            "counter",
            counts.overflows,
        ),
        (
            "lists_total",
            "Lists of all containers.",
            "counter",
            counts.lists,
        ),
        (
            "inspects_total",
            "Containers inspected.",
            "counter",
            counts.inspects,
        ),
        (
            "commits_total",
            "Transactions the store accepted.",
            "counter",
            counts.commits,
        ),
        ("puts_total", "Keys put.", "counter", counts.puts),
        ("deletes_total", "Keys deleted.", "counter", counts.deletes),
        (
            "conflicts_total",
            "Transactions refused by a guard.",
            "counter",
            counts.conflicts,
        ),
        (
            "failures_total",
            "Transactions that failed.",
            "counter",
            counts.failures,
        ),
        (
            "sessions_total",
            "Sessions with the store.",
            "counter",
            counts.sessions,
        ),
    ] {
        gauge(name, help, kind, value);
    }
    let _ = writeln!(
        text,
        "# HELP muster_registrator_gap_seconds_total Time without an event stream.\n\
         # TYPE muster_registrator_gap_seconds_total counter\n\
         muster_registrator_gap_seconds_total {}",
        Duration::from_millis(counts.gap_ms).as_secs_f64()
    );
    let _ = writeln!(
        text,
        "# HELP muster_registrator_lease_remaining_seconds Until the keys go, when nobody keeps the lease alive; 0 without one.\n\
         # TYPE muster_registrator_lease_remaining_seconds gauge\n\
         muster_registrator_lease_remaining_seconds {}",
        lease.unwrap_or_default().as_secs_f64(),
    );
    let mut labelled =
        |name: &str, help: &str, kind: &str, label: &str, values: &BTreeMap<String, u64>| {
            let name = format!("muster_registrator_{name}");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (value, count) in values {
                let _ = writeln!(text, "{name}{{{label}=\"{value}\"}} {count}");
            }
        };
    labelled(
        "events_by_action_total",
        "Events received, by what happened.",
        "counter",
        "action",
        &status.actions,
    );
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    for instance in status.services.values().flatten() {
        *states.entry(instance.state.to_string()).or_default() += 1;
    }
    labelled(
        "instances_by_state",
        "Instances by state.",
        "gauge",
        "state",
        &states,
    );
    let bounds = BOUNDS_US.map(|bound| Duration::from_micros(bound).as_secs_f64());
    histogram(
        &mut text,
        ("reconcile_seconds", "Time spent deciding, per fact."),
        bounds.iter().zip(status.work.counts()),
        status.work.facts,
        Duration::from_nanos(status.work.nanos).as_secs_f64(),
    );
    let bounds = BOUNDS_MS.map(|bound| bound / 1e3);
    histogram(
        &mut text,
        (
            "start_to_key_seconds",
            "From the engine's start event to the store's acknowledgement.",
        ),
        bounds.iter().zip(status.latency.counts()),
        status.latency.counts().iter().sum(),
        status.latency.sum_ms() / 1e3,
    );
    text
}

/// One histogram with upper bounds in seconds and what is below each and above the one before, `all` in number.
fn histogram<'a>(
    text: &mut String,
    (name, help): (&str, &str),
    buckets: impl Iterator<Item = (&'a f64, &'a u64)>,
    all: u64,
    sum: f64,
) {
    let name = format!("muster_registrator_{name}");
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
    let mut below = 0;
    for (bound, count) in buckets {
        below += count;
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {below}");
    }
    let _ = writeln!(
        text,
        "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {sum}\n{name}_count {all}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let mut status = Status::default();
        status.actions.insert("die".into(), 2);
        status.counts.gaps = 2;
        status.counts.gap_ms = 1_250;
        status.counts.overflows = 1;
        status.work.record(20_000);
        status.work.record(1_500_000);
        status.latency.record(3_500_000);
        status.latency.record(4_500_000);
        let text = metrics(&status, Some(Duration::from_millis(1_500)));
        for line in [
            "muster_registrator_start_to_key_seconds_bucket{le=\"0.003\"} 0",
            "muster_registrator_start_to_key_seconds_bucket{le=\"0.004\"} 1",
            "muster_registrator_start_to_key_seconds_bucket{le=\"+Inf\"} 2",
            "muster_registrator_start_to_key_seconds_count 2",
            "# TYPE muster_registrator_reconcile_seconds histogram",
            "muster_registrator_reconcile_seconds_bucket{le=\"0.00001\"} 0",
            "muster_registrator_reconcile_seconds_bucket{le=\"0.000025\"} 1",
            "muster_registrator_reconcile_seconds_bucket{le=\"+Inf\"} 2",
            "muster_registrator_reconcile_seconds_sum 0.00152",
            "muster_registrator_reconcile_seconds_count 2",
            "muster_registrator_ready 0",
            "muster_registrator_gaps_total 2",
            "muster_registrator_gap_seconds_total 1.25",
            "muster_registrator_overflows_total 1",
            "muster_registrator_lease_remaining_seconds 1.5",
            "muster_registrator_events_by_action_total{action=\"die\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
