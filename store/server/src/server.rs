//! A running server: store, listeners and what runs beside them, started and stopped in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use store_transport::tls::{Keeper, TlsError};
use store_transport::{Bound, Listener, Reuse};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::absence::Absence;
use crate::api::{Api, Limits};
use crate::auth::{Guard, JwtError};
use crate::compactor;
use crate::config::address::Address;
use crate::config::security::Tls;
use crate::config::{Config, Serves};
use crate::connection::{self, Door, Settings};
use crate::grpc::account::Accounts;
use crate::grpc::large::Budget;
use crate::grpc::reflection::Reflection;
use crate::grpc::snapshot;
use crate::handle::{Failure, Handle};
use crate::http::access::Access;
use crate::http::v2::Books;
use crate::intake::Intake;
use crate::peers::PeerDoor;
use crate::store::{self, Store, StoreConfig};

/// How long requests may take to finish once the server stops: as long as one may wait for its
/// outcome, so that nobody is cut off who would have had an answer.
const DRAIN: Duration = Duration::from_secs(7);

/// Between two looks whether the members know of this one, which takes a write.
const PUBLISHED_LOOK: Duration = Duration::from_millis(5);

/// How long it may take them: a disk that is full keeps them from it.
const PUBLISHED_WAIT: Duration = Duration::from_secs(5);

/// The flags that say where to listen.
const LISTEN_CLIENT: &str = "listen-client-urls";
const LISTEN_PEER: &str = "listen-peer-urls";

/// Why a server does not start. Nothing is left running.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another program listens there.
    #[error("listen on {address}: the port is in use{}", by(.occupant.as_deref()))]
    PortInUse {
        /// Which flag says where.
        flag: &'static str,
        /// Where.
        address: Address,
        /// The other program and its process id, if that can be known.
        occupant: Option<String>,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// Which flag says where.
        flag: &'static str,
        /// Where.
        address: Address,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("set up TLS for {ports} ports")]
    Tls {
        /// `client` or `peer`.
        ports: &'static str,
        /// What is wrong.
        #[source]
        source: TlsError,
    },
    /// The store does not start.
    #[error(transparent)]
    Store(#[from] store::StartError),
    /// Tokens cannot be signed or checked.
    #[error(transparent)]
    Tokens(#[from] JwtError),
    /// Recovery was interrupted by a panic or the end of the runtime.
    #[error("start the store: the runtime ended meanwhile")]
    Interrupted,
}

fn by(occupant: Option<&str>) -> String {
    occupant.map_or_else(String::new, |occupant| format!(" by {occupant}"))
}

impl StartError {
    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::PortInUse { flag, address, .. } => Some(format!(
                "stop the other program, or choose another port with --{flag} (now {address})"
            )),
            Self::Tls { source, .. } => Some(source.hint()),
            Self::Listen {
                flag,
                address,
                source,
            } if address.file().is_some() => Some(match source.kind() {
                io::ErrorKind::NotFound => "make the folder of the socket file".to_owned(),
                io::ErrorKind::AddrInUse => format!(
                    "another program listens there, or the file is no socket: remove it, or choose another with --{flag}"
                ),
                _ => format!(
                    "let the user the program runs as write there, or choose another file with --{flag}"
                ),
            }),
            Self::Listen {
                flag,
                address,
                source,
            } => Some(match source.kind() {
                io::ErrorKind::PermissionDenied => format!(
                    "choose a port above 1023 with --{flag}, or give the program the right to bind low ports"
                ),
                // Without addresses of its kind, or without the kind.
                _ if address.to_string().contains('[') => {
                    "this machine may have no IPv6: use 127.0.0.1, an address of this machine, or 0.0.0.0 for all"
                        .to_owned()
                }
                io::ErrorKind::AddrNotAvailable => {
                    "use 127.0.0.1, an address of this machine, or 0.0.0.0 for all of them"
                        .to_owned()
                }
                _ => format!("choose another address with --{flag}"),
            }),
            Self::Store(error) => error.hint(),
            Self::Tokens(error) => Some(error.hint()),
            Self::Interrupted => None,
        }
    }
}

/// A server that has been started. Dropped without [`Server::stop`], it cuts clients off.
pub struct Server {
    api: Arc<Api>,
    addresses: Vec<SocketAddr>,
    /// How long handing the lead over may take: no longer than doing without.
    election: Duration,
    /// Listeners with their connections, and the compactor.
    tasks: JoinSet<()>,
    store: Option<Store>,
}

impl Server {
    /// Listens, recovers the store and serves. Returns before a leader is known: see
    /// [`Server::ready`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let guard = Guard::new(&config.auth)?;
        // First the ports: a second process on the same settings finds out before it touches data.
        let reuse = Reuse {
            port: config.reuse_port,
        };
        let mut clients = Vec::new();
        for address in &config.listen_client {
            clients.push(listen(LISTEN_CLIENT, address, reuse)?);
        }
        let mut more = Vec::new();
        for (address, serves) in &config.listen_more {
            let flag = match serves {
                Serves::Metrics => "listen-metrics-urls",
                _ => "listen-client-http-urls",
            };
            more.push(listen(flag, address, reuse)?);
        }
        let mut addresses = Vec::new();
        let urls = config.listen_client.iter();
        let urls = urls.chain(config.listen_more.iter().map(|(address, _)| address));
        for (bound, address) in clients.iter().chain(&more).zip(urls) {
            let bound = bound.address();
            addresses.push(bound.map_err(|source| refused(LISTEN_CLIENT, address, source))?);
        }
        let peer_doors = listen_peer(&config)?;
        let peer_port = !peer_doors.is_empty();
        let client_tls = keeper("client", config.client_tls.clone()).await?;
        let peer_tls = keeper("peer", config.peer_tls.clone()).await?;
        let store_config = StoreConfig {
            peer_tls: peer_tls.clone(),
            ..store_config(&config, &addresses)
        };
        let start = move || Store::start(&store_config, peer_doors);
        let store = tokio::task::spawn_blocking(start)
            .await
            .map_err(|_| StartError::Interrupted)??;
        let (absence, looks) = Absence::new(store.handle(), config.election);
        let api = Arc::new(Api {
            snapshots: snapshot::places(),
            handle: store.handle(),
            guard,
            limits: Limits {
                request_bytes_max: config.request_bytes_max,
                receive_bytes_max: config.receive_bytes_max(),
                txn_ops_max: config.txn_ops_max,
                strict_reconfig: config.strict_reconfig,
            },
            peer_port,
            intake: Intake::new(config.receive_bytes_max(), config.patience),
            ranges: Budget::new(config.range_bytes_max),
            accounts: Arc::new(Accounts::new(config.extensive_metrics)),
            closing: CancellationToken::new(),
            absence,
            access: Access {
                hosts: config.hosts.clone(),
                origins: config.origins.clone(),
                gateway: config.gateway,
                v2: config.v2,
            },
            reflection: config.reflection.then(Reflection::new).flatten(),
            slow_call: config.slow_call,
            keepers: client_tls.iter().chain(&peer_tls).cloned().collect(),
            doormen: Arc::default(),
            v2: Books::default(),
            started: SystemTime::now(),
        });
        let mut tasks = JoinSet::new();
        let settings = Settings::new(&config);
        let main = config.listen_client.iter();
        let main = main.map(|address| (address, config.serves));
        let others = config.listen_more.iter();
        let others = others.map(|(address, serves)| (address, *serves));
        let bound = clients.into_iter().chain(more);
        for (bound, (address, serves)) in bound.zip(main.chain(others)) {
            let secure = address.scheme.is_secure();
            let door = Door {
                listener: serve(bound, address)?,
                url: address.to_string(),
                tls: client_tls.as_ref().filter(|_| secure).cloned(),
                serves,
            };
            tasks.spawn(connection::accept(door, Arc::clone(&api), settings.clone()));
        }
        for keeper in &api.keepers {
            let closing = api.closing.clone();
            let follow = Arc::clone(keeper).follow();
            tasks.spawn(async move {
                // Safe to cancel: it only looks at files.
                closing.run_until_cancelled(follow).await;
            });
        }
        let closing = api.closing.clone();
        tasks.spawn(async move {
            // Safe to cancel: it only looks.
            closing.run_until_cancelled(looks).await;
        });
        tasks.spawn(compactor::run(
            Arc::clone(&api),
            config.auto_compaction,
            config.quota_bytes,
        ));
        Ok(Self {
            api,
            addresses: addresses.into_iter().flatten().collect(),
            election: config.election,
            tasks,
            store: Some(store),
        })
    }

    /// Waits until linearizable requests are served and the members know of this one: whoever is known
    /// to have started cannot come back without its data unnoticed.
    ///
    /// # Errors
    /// When the store stops meanwhile.
    pub async fn ready(&self) -> Result<(), Failure> {
        loop {
            match self.api.handle.ready().await {
                Err(Failure::TimedOut | Failure::NoLeader | Failure::LeaderChanged) => {}
                Err(failure) => return Err(failure),
                Ok(()) => break,
            }
        }
        let published = async {
            while self.api.handle.counters().published.get() == 0 {
                tokio::time::sleep(PUBLISHED_LOOK).await;
            }
        };
        // What is served does not depend on it.
        let _ = tokio::time::timeout(PUBLISHED_WAIT, published).await;
        Ok(())
    }

    /// The ports clients are served on, in the order of the listen URLs, with the real numbers. Socket
    /// files are not among them.
    #[must_use]
    pub fn client_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Direct access to the store, for programs that embed one.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.api.handle.clone()
    }

    /// Stops accepting, ends streams with `Unavailable`, lets requests finish for some seconds, then
    /// stops the store. What was acknowledged is on disk all along.
    ///
    /// A leader hands the lead over first, so that nobody has to wait for an election.
    pub async fn stop(mut self) {
        self.hand_over().await;
        self.api.closing.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("clients did not finish in time and are cut off");
            self.tasks.shutdown().await;
        }
        if let Some(store) = self.store.take() {
            // Blocks until the log is synced and the folder let go.
            let stopped = tokio::task::spawn_blocking(move || store.stop()).await;
            if stopped.is_err() {
                tracing::error!("the store was interrupted while it stopped");
            }
        }
    }
}

impl Server {
    async fn hand_over(&self) {
        let handle = &self.api.handle;
        let counters = handle.counters();
        if counters.leader.get() != handle.member_id() || counters.peers().is_empty() {
            return;
        }
        match tokio::time::timeout(self.election, handle.transfer_leadership(None)).await {
            Ok(Ok(answer)) => {
                tracing::info!(
                    leader = format!("{:016x}", answer.body),
                    "handed the lead over"
                );
            }
            Ok(Err(failure)) => tracing::warn!(?failure, "the lead was not handed over"),
            Err(_) => tracing::warn!("the lead was not handed over in time"),
        }
    }
}

/// The ports for peers. One that nobody asked for may be taken: then the store does without, and no
/// member can be added to it.
fn listen_peer(config: &Config) -> Result<Vec<PeerDoor>, StartError> {
    let mut doors = Vec::new();
    for address in &config.listen_peer {
        match listen(
            LISTEN_PEER,
            address,
            Reuse {
                port: config.reuse_port,
            },
        ) {
            Ok(bound) => doors.push(PeerDoor {
                bound,
                secure: address.scheme.is_secure(),
            }),
            Err(error) if !config.listen_peer_given => {
                tracing::warn!(
                    hint = "to be able to add members, say where with --listen-peer-urls",
                    "does not listen for other members: {error}"
                );
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(doors)
}

/// Reads the files of one kind of port.
async fn keeper(ports: &'static str, tls: Option<Tls>) -> Result<Option<Arc<Keeper>>, StartError> {
    let Some(tls) = tls else {
        return Ok(None);
    };
    let load = move || Keeper::new(ports, tls.settings, tls.own);
    let loaded = tokio::task::spawn_blocking(load)
        .await
        .map_err(|_| StartError::Interrupted)?;
    loaded
        .map(Some)
        .map_err(|source| StartError::Tls { ports, source })
}

/// Takes a port or socket file.
fn listen(flag: &'static str, address: &Address, reuse: Reuse) -> Result<Bound, StartError> {
    let bound = match (address.file(), address.bind_ip()) {
        (Some(path), _) => Bound::unix(path),
        (None, Some(ip)) => Bound::tcp((ip, address.port).into(), reuse),
        (None, None) => Err(io::ErrorKind::AddrNotAvailable.into()),
    };
    bound.map_err(|source| refused(flag, address, source))
}

fn serve(bound: Bound, address: &Address) -> Result<Listener, StartError> {
    let listener = bound.listen();
    listener.map_err(|source| refused(LISTEN_CLIENT, address, source))
}

fn refused(flag: &'static str, address: &Address, source: io::Error) -> StartError {
    let address = address.clone();
    if source.kind() == io::ErrorKind::AddrInUse && address.file().is_none() {
        let occupant = store_transport::occupant::of_port(address.port);
        return StartError::PortInUse {
            flag,
            address,
            occupant,
            source,
        };
    }
    StartError::Listen {
        flag,
        address,
        source,
    }
}

fn store_config(config: &Config, addresses: &[Option<SocketAddr>]) -> StoreConfig {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    StoreConfig {
        name: config.name.clone(),
        cluster_token: config.initial_cluster_token.clone(),
        members: config
            .initial_cluster
            .iter()
            .map(|member| (member.name.clone(), member.urls()))
            .collect(),
        members_given: config.initial_cluster_given,
        cluster_state: config.initial_cluster_state,
        client_urls: told_urls(config, addresses),
        force_new_cluster: config.force_new_cluster,
        strict_reconfig: config.strict_reconfig,
        learners_max: config.learners_max,
        heartbeat_ms: millis(config.heartbeat),
        election_ms: millis(config.election),
        snapshot_count: config.snapshot_count,
        catch_up_entries: config.catch_up_entries,
        // 0 keeps all.
        snapshots_max: match config.snapshots_max {
            0 => usize::MAX,
            snapshots => snapshots as usize,
        },
        segment_bytes: config.segment_bytes,
        quota_bytes: config.quota_bytes,
        progress_ms: millis(config.watch_progress_interval),
        slow_turn: config.slow_apply,
        slow_sync_ms: millis(config.slow_disk),
        check_ms: millis(config.checksum_check),
        check_contents_ms: millis(config.contents_check),
        check_at_start: config.check_at_start,
        fsync: config.sync,
        log_dir: config.wal_dir.clone(),
        ..StoreConfig::new(config.data_dir.clone())
    }
}

/// Where clients are told to go. A port that the system picked is filled in where the advertised
/// URL is the listened one.
fn told_urls(config: &Config, addresses: &[Option<SocketAddr>]) -> Vec<String> {
    let told = |url: &String| {
        config
            .listen_client
            .iter()
            .zip(addresses)
            .filter_map(|(asked, bound)| Some((asked, bound.as_ref()?)))
            .find(|(asked, _)| asked.port == 0 && asked.to_string() == *url)
            .map_or_else(
                || url.clone(),
                |(asked, bound)| {
                    let port = bound.port();
                    Address {
                        port,
                        ..asked.clone()
                    }
                    .to_string()
                },
            )
    };
    config.advertise_client_urls.iter().map(told).collect()
}
