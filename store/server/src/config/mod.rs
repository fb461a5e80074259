//! What a store is told before it starts: flags and environment (`args.rs`), made into checked
//! values here. Whatever holds a [`Config`] may rely on its invariants.
//!
//! Names and defaults are etcd's.

pub mod address;
pub mod args;
pub mod auth;
pub mod cluster;
pub mod discovery;
pub mod duration;
pub mod error;
mod file;
mod gates;
pub(crate) mod help;
pub mod journal;
pub mod later;
pub mod line;
pub mod security;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::Semaphore;

use self::address::Address;
use self::args::Args;
use self::auth::AuthConfig;
use self::cluster::{ClusterState, InitialMember};
use self::error::ConfigError;
use self::gates::Gates;
use self::security::Tls;
use crate::logging::Logging;

/// What a message may hold beyond `--max-request-bytes`: etcd's allowance for the call's own fields.
pub const RECEIVE_OVERHEAD_BYTES: usize = 512 * 1024;

/// Longest election timeout etcd accepts, in milliseconds.
const ELECTION_MS_MAX: u64 = 50_000;

/// Fewest heartbeats per election timeout: fewer, and one lost message costs a leader.
const HEARTBEATS_PER_ELECTION_MIN: u64 = 5;

/// Bytes the store may take when nothing else is said: etcd's 2 GiB.
const QUOTA_BYTES_DEFAULT: u64 = 2 * 1024 * 1024 * 1024;

/// Files the store needs for itself: log, snapshots, peers. etcd's number.
const FILES_RESERVED: usize = 150;

/// Size of a log segment: see [`store_wal::WalConfig::new`] for why.
const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// 30 s: a slow line sends something in that time, and who holds a place without a word is soon gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Old versions that are forgotten by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// None.
    Off,
    /// Those older than an hour; older than a minute while the store takes more than half its quota.
    Bounded,
    /// Those older than this.
    Periodic(Duration),
    /// All but the newest revisions, this many.
    Revisions(u64),
}

/// Checked settings of one store process.
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's name.
    pub name: String,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the log is kept, if not there.
    pub wal_dir: Option<PathBuf>,
    /// Where clients are listened for; never empty, all different.
    pub listen_client: Vec<Address>,
    /// Where clients are told to go.
    pub advertise_client_urls: Vec<String>,
    /// Where peers are listened for; empty for a store of one member that is to have no others.
    pub listen_peer: Vec<Address>,
    /// Somebody said where, or there are others at once: a store that cannot listen there does not
    /// start.
    pub listen_peer_given: bool,
    /// The others are lost: go on as the only member.
    pub force_new_cluster: bool,
    /// Refuse changes of the members that would cost the cluster its quorum.
    pub strict_reconfig: bool,
    /// Members that may learn at a time.
    pub learners_max: usize,
    /// The members at first, ordered by name. One of them, and only one, has this member's name.
    pub initial_cluster: Vec<InitialMember>,
    /// Somebody said who is in the cluster, so a data folder that says otherwise is the wrong one.
    pub initial_cluster_given: bool,
    /// Whether they begin together.
    pub initial_cluster_state: ClusterState,
    /// Part of the cluster's identity.
    pub initial_cluster_token: String,
    /// Between two signs of life of a leader.
    pub heartbeat: Duration,
    /// Silence after which an election begins; at least five heartbeats.
    pub election: Duration,
    /// Entries applied between two snapshots; not 0.
    pub snapshot_count: u64,
    /// Entries kept behind a snapshot for members that lag a little.
    pub catch_up_entries: u64,
    /// Snapshots kept; 0 = all.
    pub snapshots_max: u32,
    /// Size of a log segment in bytes. Not a flag: for stores that are many and small, as in tests.
    pub segment_bytes: u64,
    /// Bytes the store may take; `u64::MAX` = no bound.
    pub quota_bytes: u64,
    /// Largest request that is proposed, in bytes; not 0.
    pub request_bytes_max: usize,
    /// Memory that answers to large ranges may take together, in bytes; not 0.
    pub range_bytes_max: u64,
    /// Operations per level of a transaction; not 0.
    pub txn_ops_max: usize,
    /// Connections of clients there may be; not 0.
    pub connections_max: usize,
    /// Longest that a client may stand still in the middle of something it began: a handshake, the head of a request, its
    /// body. Not a flag: for servers that are to lose patience soon, as in tests.
    pub patience: Duration,
    /// Calls one connection may have open; not 0.
    pub concurrent_streams_max: u32,
    /// Silence on a connection after which the server asks whether the client is there; 0 = never.
    pub keepalive_interval: Duration,
    /// How long it waits for that answer.
    pub keepalive_timeout: Duration,
    /// Between two progress messages to a watcher that asked for them.
    pub watch_progress_interval: Duration,
    /// See [`AutoCompaction`].
    pub auto_compaction: AutoCompaction,
    /// Between two comparisons of what members hold in memory; zero = never.
    pub contents_check: Duration,
    /// Between two comparisons of their running checksums; zero = never.
    pub checksum_check: Duration,
    /// Serve nobody after a start before the contents have been compared.
    pub check_at_start: bool,
    /// Longest wait for the disk that does not cost a leader the lead; zero = none does.
    pub slow_disk: Duration,
    /// Acknowledged means on disk. Off only with `--unsafe-no-fsync`.
    pub sync: bool,
    /// TLS on the ports for clients.
    pub client_tls: Option<Tls>,
    /// TLS on the ports for peers, and to those of peers.
    pub peer_tls: Option<Tls>,
    /// More doors, each with what is served there.
    pub listen_more: Vec<(Address, Serves)>,
    /// What is served where clients are listened for.
    pub serves: Serves,
    /// Hosts plain HTTP requests may name; `None` = any.
    pub hosts: Option<Vec<String>>,
    /// Pages whose scripts may read answers; `None` = any.
    pub origins: Option<Vec<String>>,
    /// JSON over HTTP is served for every gRPC method.
    pub gateway: bool,
    /// The API of etcd 2 is served.
    pub v2: bool,
    /// The protos are told to whoever asks.
    pub reflection: bool,
    /// Calls that take longer are logged.
    pub slow_call: Duration,
    /// Turns of the store that take longer are logged; zero = none.
    pub slow_apply: Duration,
    /// Times of calls are kept by method.
    pub extensive_metrics: bool,
    /// A port may be shared by several processes.
    pub reuse_port: bool,
    /// What is not as it was said, for people.
    pub warnings: Vec<String>,
    /// How clients prove who they are.
    pub auth: AuthConfig,
    /// How the log is kept.
    pub logging: Logging,
}

/// What is served at a door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serves {
    /// Everything.
    #[default]
    All,
    /// gRPC alone: plain HTTP has doors of its own.
    Grpc,
    /// Plain HTTP alone.
    Http,
    /// Metrics and health, for those who watch over the store.
    Metrics,
}

impl Config {
    /// A one-member store with defaults, for programs that embed one.
    ///
    /// # Errors
    /// As [`Config::checked`]; with an address that can be listened on there is none.
    pub fn embedded(data_dir: PathBuf, client: &Address) -> Result<Self, ConfigError> {
        let mut args = Args::defaults();
        args.data_dir = Some(data_dir);
        args.advertise_client_urls = Some(client.to_string());
        args.listen_client_urls = client.to_string();
        args.listen_peer_urls = Some(String::new());
        Self::checked(args)
    }

    /// Checks what a person wrote.
    ///
    /// # Errors
    /// The first setting that is wrong by itself or together with another.
    pub fn checked(args: Args) -> Result<Self, ConfigError> {
        let listen_client = listen("listen-client-urls", &args.listen_client_urls)?;
        let advertise_client_urls = match &args.advertise_client_urls {
            Some(urls) => advertised("advertise-client-urls", urls)?,
            None => own_urls(&listen_client)?,
        };
        let initial_cluster = cluster::members(&args)?;
        let (listen_peer, listen_peer_given) = listen_peer(&args, &listen_client)?;
        let initial_cluster_state = cluster::state(&args)?;
        let (heartbeat, election) = check_times(&args)?;
        let gates = Gates::parse(&args.feature_gates)?;
        let checksum_check = gates
            .compact_hash_check
            .unwrap_or(args.compact_hash_check_enabled);
        let data_dir = args
            .data_dir
            .unwrap_or_else(|| PathBuf::from(format!("{}.etcd", args.name)));
        let of = |urls: &str| address::list("advertise-client-urls", urls).unwrap_or_default();
        let members_secure = initial_cluster
            .iter()
            .flat_map(|member| &member.peer_urls)
            .any(|url| url.scheme.is_secure());
        let more = |flag, urls: &str, serves| match urls {
            "" => Ok(Vec::new()),
            urls => listen(flag, urls).map(|list| {
                let doors = list.into_iter().map(|address| (address, serves));
                doors.collect::<Vec<_>>()
            }),
        };
        let listen_http = more(
            "listen-client-http-urls",
            &args.listen_client_http_urls,
            Serves::Http,
        )?;
        let listen_metrics = more(
            "listen-metrics-urls",
            &args.listen_metrics_urls,
            Serves::Metrics,
        )?;
        let secure_ports: Vec<Address> = listen_client
            .iter()
            .chain(
                listen_http
                    .iter()
                    .chain(&listen_metrics)
                    .map(|(address, _)| address),
            )
            .cloned()
            .collect();
        let security = args.security.checked(
            &data_dir,
            (&secure_ports, of(&advertise_client_urls.join(","))),
            (&listen_peer, of(&args.initial_advertise_peer_urls)),
            members_secure,
        )?;
        let quota_bytes = match args.quota_backend_bytes {
            0 => QUOTA_BYTES_DEFAULT,
            // Negative means no bound.
            bytes => u64::try_from(bytes).unwrap_or(u64::MAX),
        };
        let mut warnings = security.warnings;
        if args.enable_pprof {
            warnings.push(
                "--enable-pprof shows the profile of a Go program, which this is not: it changes nothing"
                    .to_owned(),
            );
        }
        Ok(Self {
            data_dir,
            wal_dir: (!args.wal_dir.is_empty()).then(|| PathBuf::from(args.wal_dir)),
            client_tls: security.client,
            peer_tls: security.peer,
            serves: if listen_http.is_empty() {
                Serves::All
            } else {
                Serves::Grpc
            },
            listen_more: listen_http.into_iter().chain(listen_metrics).collect(),
            hosts: words_but_all(&args.host_whitelist),
            origins: words_but_all(&args.cors),
            gateway: args.enable_grpc_gateway,
            v2: args.enable_v2,
            reflection: args.enable_grpc_reflection,
            slow_call: args.warning_unary_request_duration,
            slow_apply: args.warning_apply_duration,
            extensive_metrics: extensive(&args.metrics)?,
            reuse_port: args.socket_reuse_port,
            warnings,
            name: args.name,
            listen_client,
            advertise_client_urls,
            listen_peer,
            listen_peer_given,
            force_new_cluster: args.force_new_cluster,
            strict_reconfig: args.strict_reconfig_check,
            learners_max: args.max_learners,
            initial_cluster,
            initial_cluster_given: args.initial_cluster.is_some(),
            initial_cluster_state,
            initial_cluster_token: args.initial_cluster_token,
            heartbeat,
            election,
            snapshot_count: at_least_one("snapshot-count", args.snapshot_count)?,
            catch_up_entries: args.snapshot_catchup_entries,
            snapshots_max: args.max_snapshots,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            patience: PATIENCE,
            quota_bytes,
            range_bytes_max: match args.max_range_bytes {
                0 => (quota_bytes / 2).min(QUOTA_BYTES_DEFAULT),
                bytes => bytes,
            },
            request_bytes_max: at_least_one("max-request-bytes", args.max_request_bytes)?,
            txn_ops_max: at_least_one("max-txn-ops", args.max_txn_ops)?,
            connections_max: connections_max(args.max_client_connections)?,
            concurrent_streams_max: at_least_one(
                "max-concurrent-streams",
                args.max_concurrent_streams,
            )?,
            keepalive_interval: args.grpc_keepalive_interval,
            keepalive_timeout: args.grpc_keepalive_timeout,
            watch_progress_interval: args.watch_progress_notify_interval,
            auto_compaction: auto_compaction(
                &args.auto_compaction_mode,
                args.auto_compaction_retention.as_deref(),
            )?,
            contents_check: args.corrupt_check_time,
            checksum_check: if checksum_check {
                args.compact_hash_check_time
            } else {
                Duration::ZERO
            },
            check_at_start: gates
                .initial_corrupt_check
                .unwrap_or(args.initial_corrupt_check),
            slow_disk: args.slow_disk_handover,
            sync: !args.unsafe_no_fsync,
            auth: AuthConfig::checked(&args.auth_token, args.auth_token_ttl, args.bcrypt_cost)?,
            logging: args.journal.checked()?,
        })
    }

    /// Largest message that is read from a client, in bytes.
    #[must_use]
    pub fn receive_bytes_max(&self) -> usize {
        self.request_bytes_max
            .saturating_add(RECEIVE_OVERHEAD_BYTES)
    }
}

/// The words of a list; `None` if one of them is `*`, for anything.
fn words_but_all(list: &str) -> Option<Vec<String>> {
    let words = list.split(',').map(str::trim);
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    (!words.is_empty() && !words.iter().any(|word| word == "*")).then_some(words)
}

/// The addresses to listen on.
fn listen(flag: &'static str, urls: &str) -> Result<Vec<Address>, ConfigError> {
    let addresses = address::list(flag, urls)?;
    let mut seen = BTreeSet::new();
    for address in &addresses {
        if address.bind_ip().is_none() && address.file().is_none() {
            return Err(ConfigError::HostNotBindable {
                flag,
                host: address.host.clone(),
            });
        }
        // Port 0 picks a free one each time.
        let free_port = address.port == 0 && address.file().is_none();
        if !free_port && !seen.insert(address.place()) {
            return Err(ConfigError::AddressTwice {
                flag,
                url: address.to_string(),
            });
        }
    }
    Ok(addresses)
}

/// Where to listen for peers, and whether it must be there. A store of one member listens at the
/// default so that others can be added; two of them on one machine do not get into each other's way.
fn listen_peer(args: &Args, clients: &[Address]) -> Result<(Vec<Address>, bool), ConfigError> {
    const FLAG: &str = "listen-peer-urls";
    const DEFAULT: &str = "http://localhost:2380";
    let others = args
        .initial_cluster
        .as_ref()
        .is_some_and(|list| list.contains(','));
    let (peers, given) = match &args.listen_peer_urls {
        Some(urls) if urls.is_empty() && !others => (Vec::new(), true),
        Some(urls) => (listen(FLAG, urls)?, true),
        None => (listen(FLAG, DEFAULT)?, others),
    };
    let taken = |peer: &&Address| {
        let free_port = peer.port == 0 && peer.file().is_none();
        !free_port && clients.iter().any(|client| client.place() == peer.place())
    };
    match peers.iter().find(taken) {
        Some(peer) if given => Err(ConfigError::AddressTwice {
            flag: "listen-client-urls and --listen-peer-urls",
            url: peer.to_string(),
        }),
        Some(_) => Ok((Vec::new(), false)),
        None => Ok((peers, given)),
    }
}

/// URLs that others are told; normalised, so that they compare.
fn advertised(flag: &'static str, urls: &str) -> Result<Vec<String>, ConfigError> {
    let addresses = address::list(flag, urls)?;
    Ok(addresses.iter().map(Address::to_string).collect())
}

/// What clients are told when nobody says otherwise: where we listen, unless that is "everywhere",
/// which is no place to go to.
fn own_urls(listen: &[Address]) -> Result<Vec<String>, ConfigError> {
    if let Some(everywhere) = listen
        .iter()
        .find(|address| address.bind_ip().is_some_and(|ip| ip.is_unspecified()))
    {
        return Err(ConfigError::AdvertiseMissing {
            listen: everywhere.to_string(),
        });
    }
    Ok(listen.iter().map(Address::to_string).collect())
}

fn check_times(args: &Args) -> Result<(Duration, Duration), ConfigError> {
    let heartbeat_ms = at_least_one("heartbeat-interval", args.heartbeat_interval)?;
    let election_ms = args.election_timeout;
    if election_ms < heartbeat_ms.saturating_mul(HEARTBEATS_PER_ELECTION_MIN)
        || election_ms > ELECTION_MS_MAX
    {
        return Err(ConfigError::ElectionTimeout {
            election_ms,
            heartbeat_ms,
        });
    }
    Ok((
        Duration::from_millis(heartbeat_ms),
        Duration::from_millis(election_ms),
    ))
}

fn at_least_one<N: Default + PartialEq>(flag: &'static str, number: N) -> Result<N, ConfigError> {
    if number == N::default() {
        return Err(ConfigError::Zero { flag });
    }
    Ok(number)
}

/// 0 is as many as there can be files, less some for the store itself; as etcd does it.
fn connections_max(flag: u32) -> Result<usize, ConfigError> {
    let given = usize::try_from(flag).unwrap_or(usize::MAX);
    if given > 0 {
        return Ok(given.min(Semaphore::MAX_PERMITS));
    }
    let files = getrlimit(Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    match files.checked_sub(FILES_RESERVED) {
        None | Some(0) => Err(ConfigError::TooFewFiles { files }),
        Some(rest) => Ok(rest.min(Semaphore::MAX_PERMITS)),
    }
}

fn extensive(metrics: &str) -> Result<bool, ConfigError> {
    match metrics {
        "basic" => Ok(false),
        "extensive" => Ok(true),
        other => Err(ConfigError::NotOneOf {
            flag: "metrics",
            value: other.to_owned(),
            known: "basic, extensive",
        }),
    }
}

/// `periodic` with a bare number means hours; `revision` takes a count. etcd keeps all history when nothing is said.
fn auto_compaction(mode: &str, retention: Option<&str>) -> Result<AutoCompaction, ConfigError> {
    let Some(retention) = retention.filter(|retention| !retention.is_empty()) else {
        // The mode must be one all the same.
        return auto_compaction(mode, Some("0")).map(|_| AutoCompaction::Bounded);
    };
    let wrong = |known| ConfigError::NotOneOf {
        flag: "auto-compaction-retention",
        value: retention.to_owned(),
        known,
    };
    match mode {
        "periodic" => {
            const KNOWN: &str = "a number of hours, or a duration such as 30m";
            let duration = match retention.parse::<u32>() {
                Ok(hours) => Duration::from_hours(hours.into()),
                Err(_) => duration::parse(retention).map_err(|_| wrong(KNOWN))?,
            };
            Ok(if duration.is_zero() {
                AutoCompaction::Off
            } else {
                AutoCompaction::Periodic(duration)
            })
        }
        "revision" => match retention.parse() {
            Ok(0) => Ok(AutoCompaction::Off),
            Ok(revisions) => Ok(AutoCompaction::Revisions(revisions)),
            Err(_) => Err(wrong("with --auto-compaction-mode=revision, a number")),
        },
        _ => Err(ConfigError::NotOneOf {
            flag: "auto-compaction-mode",
            value: mode.to_owned(),
            known: "periodic, revision",
        }),
    }
}

/// etcd's names; its three ways to die count as errors.
fn log_level(level: &str) -> Result<tracing::Level, ConfigError> {
    match level.to_ascii_lowercase().as_str() {
        "debug" => Ok(tracing::Level::DEBUG),
        "info" => Ok(tracing::Level::INFO),
        "warn" => Ok(tracing::Level::WARN),
        "error" | "dpanic" | "panic" | "fatal" => Ok(tracing::Level::ERROR),
        _ => Err(ConfigError::NotOneOf {
            flag: "log-level",
            value: level.to_owned(),
            known: "debug, info, warn, error, panic, fatal",
        }),
    }
}

#[cfg(test)]
mod tests;
