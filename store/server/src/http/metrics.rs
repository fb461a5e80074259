//! `/metrics`: etcd's names for what has a real value here, and a few of our own
//! under `muster_`. A name without a meaning here is absent rather than zero.

mod calls;
mod process;

use std::sync::atomic::Ordering::Relaxed;

use http::{HeaderValue, Response, StatusCode};

use super::exposition::{Exposition, Kind};
use super::response;
use crate::api::Api;
use crate::body::Body;
use crate::counters::{Counters, Histogram, Number, PeerCounters, TIME_BUCKETS_US};
use crate::grpc::maintenance::alarm_name;
use crate::handle::StatusReport;
use crate::version;

const EXPOSITION: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// `GET /metrics`.
pub(super) async fn metrics(api: &Api) -> Response<Body> {
    let mut page = Exposition::default();
    let member = api.handle.member_id();
    versions(&mut page, member);
    raft(&mut page, api.handle.counters(), member);
    disk(&mut page, api.handle.counters());
    peers(&mut page, api.handle.counters(), member);
    // A member that goes down still has its counters to show.
    if let Ok(answer) = api.handle.status().await {
        store(&mut page, &answer.body);
    }
    keyspace(&mut page, api.handle.counters());
    page.single(
        "etcd_debugging_auth_revision",
        Kind::Gauge,
        "Revision of users and roles.",
        api.handle.auth_view().current().revision(),
    );
    calls::calls(&mut page, &api.accounts);
    calls::call_times(&mut page, &api.accounts);
    calls::chores(&mut page, &api.accounts);
    calls::checks(&mut page, &api.accounts);
    connections(&mut page, api);
    process::process(&mut page);
    response(StatusCode::OK, EXPOSITION, page.text())
}

fn versions(page: &mut Exposition, member: u64) {
    use Kind::Gauge;
    let name = "etcd_server_version";
    page.metric(name, Gauge, "The etcd version whose behaviour is matched.");
    page.sample(name, &[("server_version", version::ETCD_VERSION)], 1);
    let name = "etcd_cluster_version";
    page.metric(name, Gauge, "Version of the cluster.");
    page.sample(name, &[("cluster_version", version::API_VERSION)], 1);
    let name = "muster_build_info";
    page.metric(name, Gauge, "The product's own version.");
    page.sample(name, &[("version", version::PRODUCT_VERSION)], 1);
    let name = "etcd_server_id";
    page.metric(name, Gauge, "Id of this member.");
    page.sample(name, &[("server_id", &format!("{member:x}"))], 1);
}

fn connections(page: &mut Exposition, api: &Api) {
    use Kind::{Counter, Gauge};
    let doormen = &api.doormen;
    let accepted = doormen.accepted.load(Relaxed);
    let ended = doormen.ended.load(Relaxed);
    for (name, kind, help, value) in [
        (
            "muster_client_connections",
            Gauge,
            "Connections of clients that are open.",
            accepted.saturating_sub(ended),
        ),
        (
            "muster_client_connections_accepted_total",
            Counter,
            "Connections of clients so far.",
            accepted,
        ),
        (
            "muster_client_connections_rejected_total",
            Counter,
            "Connections that were not served: failed handshakes, TLS or none where it had to be the other.",
            doormen.rejected.load(Relaxed),
        ),
        (
            "muster_client_connections_waited_total",
            Counter,
            "How often a connection had to wait because there were as many as there may be.",
            doormen.waited.load(Relaxed),
        ),
    ] {
        page.single(name, kind, help, value);
    }
    if api.keepers.is_empty() {
        return;
    }
    let name = "muster_tls_days_to_expiry";
    page.metric(
        name,
        Gauge,
        "Days until a TLS file ends; negative once it has.",
    );
    for keeper in &api.keepers {
        for (part, days) in keeper.days_left() {
            let labels = [("ports", keeper.name()), ("part", part)];
            page.sample(name, &labels, format_args!("{days:.3}"));
        }
    }
}

fn raft(page: &mut Exposition, counters: &Counters, member: u64) {
    use Kind::{Counter, Gauge};
    let leader = counters.leader.get();
    for (name, kind, help, value) in [
        (
            "etcd_server_has_leader",
            Gauge,
            "1 if there is a leader.",
            u64::from(leader != 0),
        ),
        (
            "etcd_server_is_leader",
            Gauge,
            "1 if this member leads.",
            u64::from(leader == member),
        ),
        (
            "etcd_server_leader_changes_seen_total",
            Counter,
            "Changes of the leader.",
            counters.leader_changes.get(),
        ),
        (
            "etcd_server_proposals_committed_total",
            Gauge,
            "Highest committed index.",
            counters.proposals_committed.get(),
        ),
        (
            "etcd_server_proposals_applied_total",
            Gauge,
            "Highest applied index.",
            counters.proposals_applied.get(),
        ),
        (
            "etcd_server_proposals_pending",
            Gauge,
            "Proposals without an outcome yet.",
            counters.proposals_pending.get(),
        ),
        (
            "etcd_server_proposals_failed_total",
            Counter,
            "Proposals that failed.",
            counters.proposals_failed.get(),
        ),
        ("muster_raft_term", Gauge, "Raft term.", counters.term.get()),
        (
            "muster_checks_total",
            Counter,
            "Comparisons of the members' states this one made as leader.",
            counters.checks.get(),
        ),
        (
            "muster_checks_differing_total",
            Counter,
            "Those in which a member differed.",
            counters.checks_differing.get(),
        ),
        (
            "muster_requests_refused_total",
            Counter,
            "Requests refused because too many were waiting.",
            counters.refused_busy.get(),
        ),
        (
            "muster_driver_turns_total",
            Counter,
            "Turns of the driver.",
            counters.turns.get(),
        ),
        (
            "muster_driver_inputs_total",
            Counter,
            "Facts the driver was told; by turns, the size of its batches.",
            counters.inputs.get(),
        ),
    ] {
        page.single(name, kind, help, value);
    }
    histogram(
        page,
        "muster_driver_turn_duration_seconds",
        "Time of one turn of the driver, without waiting.",
        &counters.turn,
    );
}

fn disk(page: &mut Exposition, counters: &Counters) {
    use Kind::{Counter, Gauge};
    for (name, help, times) in [
        (
            "etcd_disk_wal_fsync_duration_seconds",
            "Time of one sync of the log.",
            &counters.wal_sync,
        ),
        (
            "etcd_disk_wal_write_duration_seconds",
            "Time of one write to the log, before its sync.",
            &counters.wal_write,
        ),
        (
            "etcd_debugging_snap_save_total_duration_seconds",
            "Time from the begin of a snapshot until it was durable.",
            &counters.snapshot,
        ),
    ] {
        histogram(page, name, help, times);
    }
    page.single(
        "etcd_disk_wal_write_bytes_total",
        Gauge,
        "Bytes written to the log.",
        counters.wal_bytes.get(),
    );
    page.single(
        "muster_wal_entries_total",
        Counter,
        "Entries written to the log; by syncs, the size of its batches.",
        counters.wal_entries.get(),
    );
    page.single(
        "muster_quota_warning_percent",
        Gauge,
        "Share of the quota that has been warned of: 0, 80, 90 or 100.",
        counters.space_warned.get(),
    );
    page.single(
        "muster_disk_slow_total",
        Counter,
        "Times the log's disk kept writes waiting for longer than --slow-disk-handover.",
        counters.slow_syncs.get(),
    );
    page.single(
        "muster_disk_full",
        Gauge,
        "1 while the disk has no room for more log.",
        counters.disk_full.get(),
    );
}

/// The links to the other members; ids as etcd writes them.
fn peers(page: &mut Exposition, counters: &Counters, member: u64) {
    use Kind::{Counter, Gauge};
    let local = format!("{member:x}");
    let peers = counters.peers();
    let peers: Vec<(String, &PeerCounters)> = peers
        .iter()
        .map(|(id, counters)| (format!("{id:x}"), &**counters))
        .collect();
    let name = "etcd_network_known_peers";
    page.metric(name, Gauge, "Members whose address is known.");
    page.sample(name, &[("Local", &local)], peers.len());
    if peers.is_empty() {
        return;
    }
    let name = "etcd_network_active_peers";
    page.metric(name, Gauge, "1 while there is a stream to the member.");
    for (remote, counters) in &peers {
        let labels = [("Local", local.as_str()), ("Remote", remote)];
        page.sample(name, &labels, counters.connected.get());
    }
    let mut of_each = |name: &str, help, label, of: fn(&PeerCounters) -> &Number| {
        page.metric(name, Counter, help);
        for (remote, counters) in &peers {
            page.sample(name, &[(label, remote)], of(counters).get());
        }
    };
    of_each(
        "etcd_network_peer_sent_bytes_total",
        "Bytes sent to the member.",
        "To",
        |counters| &counters.sent_bytes,
    );
    of_each(
        "etcd_network_peer_received_bytes_total",
        "Bytes received from the member.",
        "From",
        |counters| &counters.received_bytes,
    );
    of_each(
        "etcd_network_peer_sent_failures_total",
        "Streams to the member that broke or did not come to be.",
        "To",
        |counters| &counters.sent_failures,
    );
    let name = "etcd_network_peer_round_trip_time_seconds";
    page.metric(
        name,
        Kind::Histogram,
        "Time of a message to the member and one back.",
    );
    for (remote, counters) in &peers {
        let times = &counters.round_trip;
        page.times(
            name,
            &[("To", remote)],
            &TIME_BUCKETS_US,
            &times.buckets(),
            times.sum_us(),
        );
    }
}

fn store(page: &mut Exposition, report: &StatusReport) {
    let name = "etcd_debugging_server_alarms";
    page.metric(name, Kind::Gauge, "1 for each raised alarm.");
    for alarm in &report.alarms {
        let member = format!("{:x}", alarm.member);
        let kind = alarm_name(alarm.kind);
        page.sample(name, &[("server_id", &member), ("alarm_type", kind)], 1);
    }
    for (name, help, value) in [
        (
            "etcd_mvcc_db_total_size_in_bytes",
            "Bytes the state accounts for.",
            report.size_bytes,
        ),
        (
            "etcd_mvcc_db_total_size_in_use_in_bytes",
            "Bytes of the state in use.",
            report.size_in_use_bytes,
        ),
        (
            "etcd_server_quota_backend_bytes",
            "Bytes the state may take.",
            report.quota_bytes,
        ),
        ("etcd_debugging_mvcc_keys_total", "Keys.", report.keys),
        (
            "etcd_server_is_learner",
            "1 if this member has no vote.",
            report.learner.into(),
        ),
    ] {
        page.single(name, Kind::Gauge, help, value);
    }
}

fn keyspace(page: &mut Exposition, counters: &Counters) {
    use Kind::{Counter, Gauge};
    for (name, kind, help, value) in [
        (
            "etcd_debugging_mvcc_current_revision",
            Gauge,
            "Current revision.",
            counters.revision.get(),
        ),
        (
            "etcd_debugging_mvcc_compact_revision",
            Gauge,
            "Last compacted revision.",
            counters.compacted_revision.get(),
        ),
        (
            "etcd_debugging_mvcc_watch_stream_total",
            Gauge,
            "Open watch streams.",
            counters.watch_streams.get(),
        ),
        (
            "etcd_debugging_mvcc_watcher_total",
            Gauge,
            "Watchers.",
            counters.watchers.get(),
        ),
        (
            "etcd_debugging_mvcc_slow_watcher_total",
            Gauge,
            "Watchers that are behind.",
            counters.watchers_lagging.get(),
        ),
        (
            "etcd_debugging_server_lease_expired_total",
            Counter,
            "Leases that ended by time.",
            counters.leases_expired.get(),
        ),
    ] {
        page.single(name, kind, help, value);
    }
    let work = &counters.work;
    for (name, help, value) in [
        ("etcd_mvcc_put_total", "Pairs that were put.", &work.puts),
        ("etcd_mvcc_delete_total", "Deletes.", &work.deletes),
        (
            "etcd_mvcc_range_total",
            "Ranges that were read.",
            &work.ranges,
        ),
        ("etcd_mvcc_txn_total", "Transactions.", &work.txns),
        (
            "etcd_debugging_mvcc_events_total",
            "Events for watchers.",
            &work.events,
        ),
        (
            "etcd_debugging_mvcc_total_put_size_in_bytes",
            "Bytes of keys and values that were put.",
            &work.put_bytes,
        ),
        (
            "etcd_debugging_lease_granted_total",
            "Leases that were granted.",
            &work.leases_granted,
        ),
        (
            "etcd_debugging_lease_revoked_total",
            "Leases that ended.",
            &work.leases_revoked,
        ),
        (
            "etcd_debugging_lease_renewed_total",
            "Renewals of leases on this member as leader.",
            &work.leases_renewed,
        ),
        (
            "etcd_server_slow_apply_total",
            "Turns of the store that took longer than --warning-apply-duration.",
            &counters.slow_turns,
        ),
    ] {
        page.single(name, Counter, help, value.get());
    }
}

fn histogram(page: &mut Exposition, name: &str, help: &str, times: &Histogram) {
    page.seconds(
        name,
        help,
        &TIME_BUCKETS_US,
        &times.buckets(),
        times.sum_us(),
    );
}
