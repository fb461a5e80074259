//! What has been served, by method.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::super::exposition::{Exposition, Kind};
use crate::counters::TIME_BUCKETS_US;
use crate::grpc::account::{Accounts, code_name};
use crate::grpc::method::Method;

/// Calls, their messages and how they ended.
pub(super) fn calls(page: &mut Exposition, accounts: &Accounts) {
    use Kind::Counter;
    for (name, help, value) in [
        (
            "etcd_network_client_grpc_received_bytes_total",
            "Bytes of requests from gRPC clients.",
            &accounts.received_bytes,
        ),
        (
            "etcd_network_client_grpc_sent_bytes_total",
            "Bytes of answers to gRPC clients.",
            &accounts.sent_bytes,
        ),
        (
            "muster_gateway_requests_total",
            "Requests over the JSON gateway.",
            &accounts.gateway_requests,
        ),
        (
            "etcd_server_health_success",
            "Health questions answered with yes.",
            &accounts.health_success,
        ),
        (
            "etcd_server_health_failures",
            "Health questions answered with no.",
            &accounts.health_failures,
        ),
    ] {
        page.single(name, Counter, help, value.load(Relaxed));
    }
    let mut per_method = |name: &str, help: &str, of: fn(&Accounts, Method) -> &AtomicU64| {
        page.metric(name, Counter, help);
        for method in Method::ALL {
            let labels = labels(*method);
            page.sample(name, &labels, of(accounts, *method).load(Relaxed));
        }
    };
    per_method(
        "grpc_server_started_total",
        "Calls begun.",
        |accounts, method| &accounts.of(method).started,
    );
    per_method(
        "grpc_server_msg_received_total",
        "Messages from clients.",
        |accounts, method| &accounts.of(method).received,
    );
    per_method(
        "grpc_server_msg_sent_total",
        "Messages to clients.",
        |accounts, method| &accounts.of(method).sent,
    );
    let name = "grpc_server_handled_total";
    page.metric(name, Counter, "Calls ended, by code.");
    for method in Method::ALL {
        for (code, handled) in accounts.of(*method).handled.iter().enumerate() {
            let handled = handled.load(Relaxed);
            // A row per method and code would be 800 lines of zeros; OK is always shown.
            if handled > 0 || code == 0 {
                let [kind, service, name_of] = labels(*method);
                let labels = [("grpc_code", code_name(code)), kind, service, name_of];
                page.sample(name, &labels, handled);
            }
        }
    }
}

/// Times of calls by method, of those that have been called.
pub(super) fn call_times(page: &mut Exposition, accounts: &Accounts) {
    if !accounts.timed {
        return;
    }
    let name = "grpc_server_handling_seconds";
    let help = "Time from the begin of a call to its end.";
    page.metric(name, Kind::Histogram, help);
    for method in Method::ALL {
        let times = &accounts.of(*method).took;
        if times.count() > 0 {
            let buckets = times.buckets();
            let labels = labels(*method);
            page.times(name, &labels, &TIME_BUCKETS_US, &buckets, times.sum_us());
        }
    }
}

/// What operators have done.
pub(super) fn chores(page: &mut Exposition, accounts: &Accounts) {
    for (name, help, times) in [
        (
            "etcd_mvcc_hash_duration_seconds",
            "Time of a checksum of all pairs.",
            &accounts.hash,
        ),
        (
            "etcd_mvcc_hash_rev_duration_seconds",
            "Time of a checksum of all pairs at a revision.",
            &accounts.hash_kv,
        ),
        (
            "etcd_disk_backend_snapshot_duration_seconds",
            "Time of making and sending a snapshot to a client.",
            &accounts.snapshots,
        ),
    ] {
        let buckets = times.buckets();
        page.seconds(name, help, &TIME_BUCKETS_US, &buckets, times.sum_us());
    }
    for (name, help, value) in [
        (
            "etcd_server_learner_promote_successes",
            "Learners promoted through this member.",
            &accounts.promoted,
        ),
        (
            "etcd_server_learner_promote_failures",
            "Promotions through this member that failed.",
            &accounts.not_promoted,
        ),
    ] {
        page.single(name, Kind::Counter, help, value.load(Relaxed));
    }
}

/// The checks of health that were asked for.
pub(super) fn checks(page: &mut Exposition, accounts: &Accounts) {
    let checks = accounts.checks.all();
    let name = "etcd_server_healthcheck";
    page.metric(name, Kind::Gauge, "1 if the check went well the last time.");
    for ((probe, check), counters) in &checks {
        let labels = [("type", *probe), ("name", *check)];
        page.sample(name, &labels, u8::from(counters.well));
    }
    let name = "etcd_server_healthchecks_total";
    page.metric(name, Kind::Counter, "Checks by their outcome.");
    for ((probe, check), counters) in &checks {
        for (status, count) in [("success", counters.succeeded), ("error", counters.failed)] {
            let labels = [("type", *probe), ("name", *check), ("status", status)];
            page.sample(name, &labels, count);
        }
    }
}

fn labels(method: Method) -> [(&'static str, &'static str); 3] {
    [
        ("grpc_type", method.kind().label()),
        ("grpc_service", method.service()),
        ("grpc_method", method.name()),
    ]
}
