//! The names dashboards and alerts for etcd know: each has a value, or `docs/metrics.md` says why it has none.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use store_proto::etcdserverpb as pb;
use tokio_stream::StreamExt as _;

use super::http::get_at;
use super::running::{bytes, start, start_with};
use super::strangers::{post, said_to};

/// What is told here and what is not.
const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

/// What etcd's own test of its metrics asks for, and its mixin and dashboard.
const KNOWN: &[(&str, &str)] = &[
    ("etcd_cluster_", "version"),
    (
        "etcd_server_",
        "version go_version id is_leader is_learner has_leader leader_changes_seen_total learner_promote_successes \
         learner_promote_failures heartbeat_send_failures_total slow_apply_total slow_read_indexes_total \
         read_indexes_failed_total proposals_applied_total proposals_committed_total proposals_failed_total \
         proposals_pending quota_backend_bytes health_success health_failures client_requests_total \
         apply_duration_seconds range_duration_seconds request_duration_seconds snapshot_apply_in_progress_total \
         healthcheck healthchecks_total feature_enabled",
    ),
    (
        "etcd_disk_",
        "wal_fsync_duration_seconds wal_write_bytes_total wal_write_duration_seconds backend_commit_duration_seconds \
         backend_defrag_duration_seconds backend_snapshot_duration_seconds defrag_inflight",
    ),
    (
        "etcd_mvcc_",
        "db_total_size_in_bytes db_total_size_in_use_in_bytes db_open_read_transactions put_total delete_total \
         range_total txn_total hash_duration_seconds hash_rev_duration_seconds",
    ),
    (
        "etcd_network_",
        "client_grpc_received_bytes_total client_grpc_sent_bytes_total known_peers",
    ),
    (
        "etcd_snap_",
        "db_fsync_duration_seconds db_save_total_duration_seconds fsync_duration_seconds",
    ),
    (
        "etcd_grpc_proxy_",
        "cache_hits_total cache_keys_total cache_misses_total events_coalescing_total watchers_coalescing_total",
    ),
    (
        "etcd_debugging_mvcc_",
        "compact_revision current_revision keys_total events_total pending_events_total slow_watcher_total \
         watch_stream_total watcher_total total_put_size_in_bytes db_compaction_keys_total db_compaction_last \
         db_compaction_pause_duration_milliseconds db_compaction_total_duration_milliseconds \
         index_compaction_pause_duration_milliseconds",
    ),
    (
        "etcd_debugging_",
        "auth_revision lease_granted_total lease_renewed_total lease_revoked_total lease_ttl_total \
         server_lease_expired_total store_expires_total store_watch_requests_total store_watchers \
         snap_save_marshalling_duration_seconds snap_save_total_duration_seconds server_alarms \
         disk_backend_commit_rebalance_duration_seconds disk_backend_commit_spill_duration_seconds \
         disk_backend_commit_write_duration_seconds server_watch_send_loop_watch_stream_duration_seconds \
         server_watch_send_loop_watch_stream_duration_per_event_seconds \
         server_watch_send_loop_control_stream_duration_seconds server_watch_send_loop_progress_duration_seconds",
    ),
    (
        "grpc_server_",
        "started_total handled_total msg_received_total msg_sent_total handling_seconds",
    ),
    ("os_fd_", "limit used"),
    (
        "process_",
        "resident_memory_bytes open_fds max_fds cpu_seconds_total",
    ),
];

/// The words between backticks in a row's first column.
fn absent() -> BTreeSet<&'static str> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split(" | ").next());
    let names = names.flat_map(|names| names.split(", "));
    names.map(|name| name.trim_matches('`')).collect()
}

/// Samples by their names and labels.
fn samples(page: &str) -> BTreeMap<&str, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name, value.parse().unwrap())
    });
    samples.collect()
}

#[tokio::test]
async fn every_known_name_has_a_value_or_a_reason() {
    let store = start_with(|config| config.extensive_metrics = true).await;
    let page = get_at(store.address(), "/metrics").await;
    let announced = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let announced: BTreeSet<&str> = announced
        .filter_map(|line| line.split(' ').next())
        .collect();
    let absent = absent();
    let mut wrong = Vec::new();
    for (prefix, names) in KNOWN {
        for name in names.split_ascii_whitespace() {
            let name = format!("{prefix}{name}");
            let (told, excused) = (announced.contains(&*name), absent.contains(&*name));
            if told == excused {
                wrong.push(format!("{name}: told {told}, listed as absent {excused}"));
            }
        }
    }
    let known = |name: &str| {
        KNOWN.iter().any(|(prefix, names)| {
            let rest = name.strip_prefix(prefix);
            rest.is_some_and(|rest| names.split_ascii_whitespace().any(|name| name == rest))
        })
    };
    for name in absent {
        if !name.ends_with('*') && !known(name) {
            wrong.push(format!("{name}: absent, but nobody asks for it"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let store = start_with(|_| ()).await;
    let put = |key: &str| pb::PutRequest {
        key: bytes(key),
        value: bytes("value"),
        ..Default::default()
    };
    let op = |request| pb::RequestOp {
        request: Some(request),
    };
    use pb::request_op::Request;
    let txn = pb::TxnRequest {
        success: vec![
            op(Request::RequestPut(put("a"))),
            op(Request::RequestPut(put("b"))),
            op(Request::RequestDeleteRange(pb::DeleteRangeRequest {
                key: bytes("c"),
                ..Default::default()
            })),
        ],
        ..Default::default()
    };
    store.kv().txn(txn).await.unwrap();
    store.put("c", "value").await;
    store.get("c").await;
    let grant = pb::LeaseGrantRequest { ttl: 60, id: 7 };
    store.lease().lease_grant(grant).await.unwrap();
    let revoke = pb::LeaseRevokeRequest { id: 7 };
    store.lease().lease_revoke(revoke).await.unwrap();
    store.maintenance().hash(pb::HashRequest {}).await.unwrap();
    assert_eq!(get_at(store.address(), "/readyz").await, "ok");
    let page = get_at(store.address(), "/metrics").await;
    let samples = samples(&page);
    for (name, wanted) in [
        ("etcd_mvcc_put_total", 3.0),
        ("etcd_mvcc_delete_total", 1.0),
        ("etcd_mvcc_txn_total", 1.0),
        ("etcd_debugging_mvcc_events_total", 3.0),
        ("etcd_debugging_mvcc_total_put_size_in_bytes", 18.0),
        ("etcd_debugging_lease_granted_total", 1.0),
        ("etcd_debugging_lease_revoked_total", 1.0),
        ("etcd_mvcc_hash_duration_seconds_count", 1.0),
        (
            "etcd_server_healthcheck{type=\"readyz\",name=\"linearizable_read\"}",
            1.0,
        ),
        (
            "etcd_server_healthchecks_total{type=\"readyz\",name=\"non_learner\",status=\"success\"}",
            1.0,
        ),
    ] {
        assert_eq!(samples.get(name), Some(&wanted), "{name}");
    }
    // One was the test's, two those of the checks.
    assert!(samples["etcd_mvcc_range_total"] >= 3.0);
}

/// The gateway of etcd is a client of its own port, so that its requests are counted as all others.
#[tokio::test]
async fn requests_of_the_gateway_are_counted_as_calls() {
    let store = start().await;
    for body in [
        r#"{"key":"aw=="}"#,
        r#"{"key":"aw=="}"#,
        "{}",
        "no request at all",
    ] {
        said_to(&store, &post("/v3/kv/range", body.as_bytes())).await;
    }
    let page = get_at(store.address(), "/metrics").await;
    for (name, code, wanted) in [
        ("grpc_server_started_total", None, 3),
        ("grpc_server_msg_received_total", None, 3),
        ("grpc_server_msg_sent_total", None, 2),
        ("grpc_server_handled_total", Some("OK"), 2),
        ("grpc_server_handled_total", Some("InvalidArgument"), 1),
    ] {
        let of = call_sample(&page, name, ("KV", "Range"), code);
        assert_eq!(of, wanted, "{name} {code:?}\n{page}");
    }
}

/// What a page says about a method, its calls that ended with a code or all of them.
pub(crate) fn call_sample(
    page: &str,
    name: &str,
    (service, method): (&str, &str),
    code: Option<&str>,
) -> u64 {
    let service = format!("grpc_service=\"etcdserverpb.{service}\"");
    let method = format!("grpc_method=\"{method}\"");
    let code = code.map(|code| format!("grpc_code=\"{code}\""));
    let line = page.lines().find(|line| {
        let (found, rest) = line.split_once('{').unwrap_or((line, ""));
        let labels = [Some(&service), Some(&method), code.as_ref()];
        found == name && labels.iter().flatten().all(|label| rest.contains(*label))
    });
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.map_or(0, |value| value.parse().unwrap())
}

/// As etcd counts them: what it encodes and decodes, without the five bytes that go before each on the wire.
#[tokio::test]
async fn bytes_are_those_of_messages() {
    let store = start().await;
    let counted = async || {
        let page = get_at(store.address(), "/metrics").await;
        let samples = samples(&page);
        ["received", "sent"].map(|way| {
            let name = format!("etcd_network_client_grpc_{way}_bytes_total");
            samples[&*name] as usize
        })
    };
    let create = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(
            pb::WatchCreateRequest {
                key: bytes("k"),
                ..Default::default()
            },
        )),
    };
    let put = pb::PutRequest {
        key: bytes("k"),
        value: bytes("value"),
        ..Default::default()
    };
    let all = pb::RangeRequest {
        key: bytes("k"),
        ..Default::default()
    };
    let before = counted().await;
    let two = [create.clone(), create.clone()];
    let requests = tokio_stream::iter(two).chain(tokio_stream::pending());
    let watch = store.watch().watch(requests).await;
    let mut answers = watch.unwrap().into_inner();
    let mut sent = 0;
    for _ in 0..2 {
        sent += answers.message().await.unwrap().unwrap().encoded_len();
    }
    let answer = store.kv().put(put.clone()).await.unwrap();
    sent += answer.into_inner().encoded_len();
    for _ in 0..2 {
        sent += answers.message().await.unwrap().unwrap().encoded_len();
    }
    let answer = store.kv().range(all.clone()).await.unwrap().into_inner();
    sent += answer.encoded_len();
    let received = 2 * create.encoded_len() + put.encoded_len() + all.encoded_len();
    let after = counted().await;
    assert_eq!(
        [after[0] - before[0], after[1] - before[1]],
        [received, sent]
    );
    let page = get_at(store.address(), "/metrics").await;
    for (name, wanted) in [
        ("grpc_server_started_total", 1),
        ("grpc_server_msg_received_total", 2),
        ("grpc_server_msg_sent_total", 4),
    ] {
        let of = call_sample(&page, name, ("Watch", "Watch"), None);
        assert_eq!(of, wanted, "{name}");
    }
}
