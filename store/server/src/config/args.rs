//! The flags, with etcd's names and defaults.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory as _, Parser};

use super::discovery::DiscoveryArgs;
use super::duration;
use super::journal::JournalArgs;
use super::later::LATER;
use super::security::SecurityArgs;

/// Every flag the store takes, those included that it only accepts: for pages and completions.
#[must_use]
pub fn declared() -> clap::Command {
    let accepted = LATER.iter().map(|later| {
        let arg = clap::Arg::new(later.name)
            .long(later.name)
            .help(later.said())
            .help_heading("Accepted");
        match later.switch {
            true => arg.num_args(0..=1).require_equals(true).value_name("BOOL"),
            false => arg.value_name("VALUE"),
        }
    });
    Args::command().args(accepted)
}

/// Flags of the store. What they mean together is checked in [`super::Config::checked`].
#[derive(Clone, Debug, Parser)]
#[command(
    name = "muster store",
    about = "A durable key-value store that speaks the etcd protocol",
    after_help = "Every flag can also be set in the environment: ETCD_ and the name in capitals, for example \
                  ETCD_DATA_DIR; or in a file, see --config-file. A flag wins over the environment, the environment over \
                  the file (etcd ignores the other two when there is a file). --print-config shows what is in \
                  effect. Flags with a single dash (-name) are accepted.\n\n\
                  Examples:\n  \
                  muster store --data-dir /var/lib/muster\n  \
                  muster store --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://10.0.0.5:2379",
    args_override_self = true,
    disable_version_flag = true,
    max_term_width = 100
)]
pub struct Args {
    /// Name of this member, for people.
    #[arg(long, default_value = "default", help_heading = "Member")]
    pub name: String,

    /// Folder for everything the store keeps [default: <name>.etcd]
    #[arg(long, help_heading = "Member")]
    pub data_dir: Option<PathBuf>,

    /// Folder for the log alone, best on a disk of its own; it stays with the data folder. Empty: in the data folder
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "",
        help_heading = "Member"
    )]
    pub wal_dir: String,

    /// Where to listen for clients, comma-separated: http, https, unix and unixs URLs. Port 0 picks a free port.
    #[arg(
        long,
        value_name = "URLS",
        default_value = "http://localhost:2379",
        help_heading = "Member"
    )]
    pub listen_client_urls: String,

    /// Where clients are told to go, comma-separated [default: the listen URLs]
    #[arg(long, value_name = "URLS", help_heading = "Member")]
    pub advertise_client_urls: Option<String>,

    /// Where to listen for other members; empty = nowhere, so that none can be added [default:
    /// http://localhost:2380; a store of one member does without where that port is taken]
    #[arg(long, value_name = "URLS", help_heading = "Cluster")]
    pub listen_peer_urls: Option<String>,

    /// Where other members are told to go; part of this member's identity.
    #[arg(
        long,
        value_name = "URLS",
        default_value = "http://localhost:2380",
        help_heading = "Cluster"
    )]
    pub initial_advertise_peer_urls: String,

    /// All members of a new cluster as name=url [default: this member alone]
    #[arg(long, value_name = "NAME=URL,…", help_heading = "Cluster")]
    pub initial_cluster: Option<String>,

    /// new: the members listed start together; existing: they run already. Without effect on a member that has
    /// its data.
    #[arg(long, default_value = "new", help_heading = "Cluster")]
    pub initial_cluster_state: String,

    /// Tells clusters apart; part of the cluster's identity.
    #[arg(long, default_value = "etcd-cluster", help_heading = "Cluster")]
    pub initial_cluster_token: String,

    /// Milliseconds between two signs of life of a leader.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 100,
        help_heading = "Cluster"
    )]
    pub heartbeat_interval: u64,

    /// Milliseconds without a leader until an election begins.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 1000,
        help_heading = "Cluster"
    )]
    pub election_timeout: u64,

    /// Do not wait a whole election timeout after the start. Accepted; a store of one member never waits.
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Cluster")]
    pub initial_election_tick_advance: bool,

    /// Go on as the only member, with the data and the ids there are: for the last one when the others are lost.
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Cluster")]
    pub force_new_cluster: bool,

    /// Refuse changes of the cluster that would cost it its quorum.
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Cluster")]
    pub strict_reconfig_check: bool,

    /// Members that may learn at a time.
    #[arg(
        long,
        value_name = "MEMBERS",
        default_value_t = 1,
        help_heading = "Cluster"
    )]
    pub max_learners: usize,

    /// Ask before an election whether it could be won.
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Cluster")]
    pub pre_vote: bool,

    /// Entries applied between two snapshots of the state.
    #[arg(
        long,
        value_name = "ENTRIES",
        default_value_t = 10_000,
        help_heading = "Storage"
    )]
    pub snapshot_count: u64,

    /// Entries kept behind a snapshot for members that lag a little.
    #[arg(
        long,
        value_name = "ENTRIES",
        default_value_t = 5_000,
        help_heading = "Storage"
    )]
    pub snapshot_catchup_entries: u64,

    /// Log files to keep. Accepted; the log is cut behind each snapshot and keeps no more than it needs.
    #[arg(
        long,
        value_name = "FILES",
        default_value_t = 5,
        help_heading = "Storage"
    )]
    pub max_wals: u32,

    /// Snapshots to keep; 0 = all. Each holds the whole state, unlike etcd's, whose default is 5.
    #[arg(
        long,
        value_name = "FILES",
        default_value_t = 2,
        help_heading = "Storage"
    )]
    pub max_snapshots: u32,

    /// Bytes the store may take; 0 = 2 GiB, negative = no bound.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        allow_negative_numbers = true,
        help_heading = "Storage"
    )]
    pub quota_backend_bytes: i64,

    /// periodic (forget versions older than the retention) or revision (keep that many revisions).
    #[arg(
        long,
        value_name = "MODE",
        default_value = "periodic",
        help_heading = "Storage"
    )]
    pub auto_compaction_mode: String,

    /// A duration, a bare number of hours, or with mode revision a number of revisions; 0 = off [default: an hour,
    /// and a minute while more than half the quota is in use]
    #[arg(long, value_name = "RETENTION", help_heading = "Storage")]
    pub auto_compaction_retention: Option<String>,

    /// Acknowledge writes before they are on disk. Loses data on a power cut.
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Storage")]
    pub unsafe_no_fsync: bool,

    /// Between two comparisons of what members hold in memory, and with it all their history; 0s = never.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::parse, help_heading = "Integrity")]
    pub corrupt_check_time: Duration,

    /// Between two comparisons of the members' running checksums, which cost next to nothing; 0s = never.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse, help_heading = "Integrity")]
    pub compact_hash_check_time: Duration,

    /// Compare running checksums.
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Integrity")]
    pub compact_hash_check_enabled: bool,

    /// After a start on existing data, serve nobody before the contents have been compared with the other
    /// members', or none could be reached for a minute.
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Integrity")]
    pub initial_corrupt_check: bool,

    /// A leader whose disk keeps a write waiting this long hands the lead over, if a majority without it was
    /// faster; 0s = never.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse, help_heading = "Integrity")]
    pub slow_disk_handover: Duration,

    /// etcd's gates as name=true,…: InitialCorruptCheck and CompactHashCheck are the flags of that name.
    #[arg(
        long,
        value_name = "GATES",
        default_value = "",
        help_heading = "Integrity"
    )]
    pub feature_gates: String,

    /// Largest request, in bytes.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 1_572_864,
        help_heading = "Limits"
    )]
    pub max_request_bytes: usize,

    /// Memory that answers to large ranges may take together, in bytes; more wait a little, then are refused. 0 = half
    /// the quota.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        help_heading = "Limits"
    )]
    pub max_range_bytes: u64,

    /// Operations per transaction.
    #[arg(
        long,
        value_name = "OPS",
        default_value_t = 128,
        help_heading = "Limits"
    )]
    pub max_txn_ops: usize,

    /// Connections of clients there may be at once; more wait. 0 = as many as the limit on open files allows.
    #[arg(
        long,
        value_name = "CONNECTIONS",
        default_value_t = 0,
        help_heading = "Limits"
    )]
    pub max_client_connections: u32,

    /// Calls one connection may have open.
    #[arg(long, value_name = "CALLS", default_value_t = u32::MAX, hide_default_value = true, help_heading = "Limits")]
    pub max_concurrent_streams: u32,

    /// Shortest time between two pings of a client that etcd tolerates. Accepted; pings here cost too little to cut
    /// anybody off.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse, help_heading = "Limits")]
    pub grpc_keepalive_min_time: Duration,

    /// Silence after which a client is asked whether it is there; 0 = never.
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = duration::parse, help_heading = "Limits")]
    pub grpc_keepalive_interval: Duration,

    /// How long its answer may take.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration::parse, help_heading = "Limits")]
    pub grpc_keepalive_timeout: Duration,

    /// Between two progress messages to a watcher that asked for them; at least 100ms.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = progress_interval, help_heading = "Limits")]
    pub watch_progress_notify_interval: Duration,

    /// Tokens given to users: simple, or jwt,sign-method=METHOD,priv-key=FILE,pub-key=FILE,ttl=DURATION. Simple ones
    /// are signed with a key of the cluster's and good on every member.
    #[arg(
        long,
        value_name = "KIND",
        default_value = "simple",
        help_heading = "Security"
    )]
    pub auth_token: String,

    /// Seconds a simple token lives after its last use.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        help_heading = "Security"
    )]
    pub auth_token_ttl: u64,

    /// Work of hashing a password, as a power of two: 4 to 31.
    #[arg(
        long,
        value_name = "COST",
        default_value_t = 10,
        help_heading = "Security"
    )]
    pub bcrypt_cost: u32,

    /// Where to serve plain HTTP, comma-separated; the other ports serve gRPC alone then.
    #[arg(
        long,
        value_name = "URLS",
        default_value = "",
        hide_default_value = true,
        help_heading = "Operation"
    )]
    pub listen_client_http_urls: String,

    /// Where to serve /metrics and the health checks as well, comma-separated.
    #[arg(
        long,
        value_name = "URLS",
        default_value = "",
        hide_default_value = true,
        help_heading = "Operation"
    )]
    pub listen_metrics_urls: String,

    /// Hosts plain HTTP requests may name, comma-separated; * = any.
    #[arg(
        long,
        value_name = "HOSTS",
        default_value = "*",
        help_heading = "Operation"
    )]
    pub host_whitelist: String,

    /// Web pages whose scripts may read answers, comma-separated origins; * = any.
    #[arg(
        long,
        value_name = "ORIGINS",
        default_value = "*",
        help_heading = "Operation"
    )]
    pub cors: String,

    /// Serve JSON over HTTP for every gRPC method.
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Operation")]
    pub enable_grpc_gateway: bool,

    /// Serve the API of etcd 2, a view on the same keys, at /v2/.
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Operation")]
    pub enable_v2: bool,

    /// Tell whoever asks over gRPC which services and messages there are (reflection).
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Operation")]
    pub enable_grpc_reflection: bool,

    /// Accepted; there is no Go program to profile.
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Operation")]
    pub enable_pprof: bool,

    /// Calls that take longer are logged, with where the time went; 0 = none.
    #[arg(long, value_name = "DURATION", default_value = "300ms", value_parser = duration::parse,
          help_heading = "Operation")]
    pub warning_unary_request_duration: Duration,

    /// Turns of the store that take longer are logged; 0 = none.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = duration::parse,
          help_heading = "Operation")]
    pub warning_apply_duration: Duration,

    /// basic, or extensive: with times of calls by method.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "basic",
        help_heading = "Operation"
    )]
    pub metrics: String,

    /// Several processes may listen on the same port.
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Operation")]
    pub socket_reuse_port: bool,

    /// Accepted; a port whose last connections linger can be listened on anyway.
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Operation")]
    pub socket_reuse_address: bool,

    /// File with settings (YAML), named as the flags. Flags and variables win over it.
    #[arg(long, value_name = "FILE", help_heading = "Operation")]
    pub config_file: Option<String>,

    /// Print every setting with its value and who said so, and do nothing else.
    #[arg(long, help_heading = "Operation")]
    pub print_config: bool,

    /// Print the version of etcd whose behaviour this is, as etcd does, and do nothing else.
    #[arg(long, help_heading = "Operation")]
    pub version: bool,

    /// See [`SecurityArgs`].
    #[command(flatten)]
    pub security: SecurityArgs,

    /// See [`DiscoveryArgs`].
    #[command(flatten)]
    pub discovery: DiscoveryArgs,

    /// See [`JournalArgs`].
    #[command(flatten)]
    pub journal: JournalArgs,
}

impl Args {
    /// What holds when nothing is said.
    #[must_use]
    pub fn defaults() -> Self {
        // No flag is mandatory and every default parses; the tests hold both.
        Self::parse_from(["muster store"])
    }
}

/// Booleans as Go reads them, so that scripts written for etcd work.
pub(super) fn go_bool(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("not true or false"),
    }
}

/// etcd refuses intervals under 100 ms: progress would be most of the traffic.
fn progress_interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err("must be at least 100ms".into());
    }
    Ok(interval)
}
