//! The store as a running thing: opens the folder, recovers, starts driver and disk thread, stops
//! them in order.

mod founding;
mod joining;
mod recovering;
mod surviving;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use store_machine::Limits;
use store_machine::snapshot::RestoreError;
use store_member::answer::MemberInfo;
use store_member::{Config, Member};
use store_transport::tls::Keeper;
use store_wal::{Disk, RealDisk, Wal, WalConfig};

use crate::auth::View;
use crate::config::cluster::ClusterState;
use crate::counters::Counters;
use crate::disk::log::Log;
use crate::disk::{DiskQueue, DiskThread};
use crate::driver::disk::DriverDisk;
use crate::driver::inbox::{Inbox, Knock};
use crate::driver::outbox::Outbox;
use crate::driver::seat::Seat;
use crate::driver::{Driver, moment};
use crate::fatal::EndsWithThread;
use crate::handle::Handle;
use crate::peers::Peers;
use crate::peers::directory::Directory;
use crate::store::founding::Founding;
use crate::store::recovering::recover;

pub use self::founding::FoundingError;
pub use self::joining::JoinError;
pub use self::recovering::read;
pub use crate::peers::PeerDoor;

/// What a store must be told to start.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Name of this member.
    pub name: String,
    /// Its folder; made when it does not exist.
    pub data_dir: PathBuf,
    /// The folder of its log, if that has one of its own.
    pub log_dir: Option<PathBuf>,
    /// Part of the ids of a new cluster.
    pub cluster_token: String,
    /// The first members, by name, and where their peers reach them; this one is among them, under
    /// its name. Their ids are made of the URLs.
    pub members: Vec<(String, Vec<String>)>,
    /// `members` was said by somebody, so a folder that says otherwise is the wrong one.
    pub members_given: bool,
    /// Whether they begin together.
    pub cluster_state: ClusterState,
    /// Where clients are told to reach this member.
    pub client_urls: Vec<String>,
    /// The others are lost: this member goes on as the only one.
    pub force_new_cluster: bool,
    /// See [`Config::strict_reconfig`].
    pub strict_reconfig: bool,
    /// See [`Config::learners_max`].
    pub learners_max: usize,
    /// See [`Config::heartbeat_ms`].
    pub heartbeat_ms: u64,
    /// See [`Config::election_ms`].
    pub election_ms: u64,
    /// See [`Config::snapshot_count`].
    pub snapshot_count: u64,
    /// See [`Config::catch_up_entries`].
    pub catch_up_entries: u64,
    /// Snapshot files kept; at least 1.
    pub snapshots_max: usize,
    /// See [`WalConfig::segment_bytes`]; the largest request must fit into half of it.
    pub segment_bytes: u64,
    /// Bytes the state may take before writes are refused; `u64::MAX` = no bound.
    pub quota_bytes: u64,
    /// See [`Config::progress_ms`].
    pub progress_ms: u64,
    /// See [`Config::slow_sync_ms`].
    pub slow_sync_ms: u64,
    /// See [`Config::check_ms`].
    pub check_ms: u64,
    /// See [`Config::check_contents_ms`].
    pub check_contents_ms: u64,
    /// See [`Config::check_at_start`].
    pub check_at_start: bool,
    /// Sync before acknowledging. Without it a power cut loses acknowledged writes.
    pub fsync: bool,
    /// How TLS is spoken with peers whose URLs ask for it.
    pub peer_tls: Option<Arc<Keeper>>,
    /// Turns of the driver that take longer are logged; zero = none.
    pub slow_turn: Duration,
}

impl StoreConfig {
    /// etcd's defaults, in this folder.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let member = Config::new(0, 1, 0);
        let data_dir = data_dir.into();
        let wal = WalConfig::new(&data_dir);
        Self {
            name: "default".to_owned(),
            data_dir,
            log_dir: None,
            cluster_token: "etcd-cluster".to_owned(),
            members: vec![(
                "default".to_owned(),
                vec!["http://localhost:2380".to_owned()],
            )],
            members_given: false,
            cluster_state: ClusterState::New,
            client_urls: vec!["http://localhost:2379".to_owned()],
            force_new_cluster: false,
            strict_reconfig: member.strict_reconfig,
            learners_max: member.learners_max,
            heartbeat_ms: member.heartbeat_ms,
            election_ms: member.election_ms,
            snapshot_count: member.snapshot_count,
            catch_up_entries: member.catch_up_entries,
            snapshots_max: wal.snapshots_max,
            segment_bytes: wal.segment_bytes,
            quota_bytes: member.limits.quota_bytes,
            progress_ms: member.progress_ms,
            slow_sync_ms: member.slow_sync_ms,
            check_ms: member.check_ms,
            check_contents_ms: member.check_contents_ms,
            check_at_start: member.check_at_start,
            fsync: true,
            peer_tls: None,
            slow_turn: Duration::ZERO,
        }
    }
}

/// Why a store does not start. Nothing was changed that matters: the cause can be removed and the
/// start tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The folder cannot be used.
    #[error("open the data folder")]
    Open(#[from] store_wal::OpenError),
    /// The flags do not go with the folder.
    #[error("find out who this member is")]
    Founding(#[from] FoundingError),
    /// The network to the peers cannot be set up.
    #[error("start to listen for peers")]
    Peers {
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// There are others, and they could not reach this member.
    #[error("start as one of {members} members without a port for peers")]
    NoPeerPort {
        /// How many there are.
        members: usize,
    },
    /// A snapshot of this folder cannot be read as a state.
    #[error("read snapshot {index} of data folder {}", .dir.display())]
    Snapshot {
        /// The folder.
        dir: PathBuf,
        /// Last entry the snapshot covers.
        index: u64,
        /// What does not fit.
        #[source]
        source: RestoreError,
    },
    /// What is written beside a snapshot does not fit it.
    #[error("read snapshot {index} of data folder {}: {what} does not fit it", .dir.display())]
    SnapshotMark {
        /// The folder.
        dir: PathBuf,
        /// Last entry the snapshot covers, by its mark.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// An entry of the log is of a kind this program does not know.
    #[error("read entry {index} of data folder {}: unknown kind {kind}", .dir.display())]
    EntryKind {
        /// The folder.
        dir: PathBuf,
        /// Position of the entry.
        index: u64,
        /// Its kind.
        kind: u8,
    },
    /// An entry of the log is damaged, although its checksum holds.
    #[error("read the log of data folder {}", .dir.display())]
    Replay {
        /// The folder.
        dir: PathBuf,
        /// Which, and what it should have been.
        #[source]
        source: store_member::ReplayError,
    },
    /// This member was removed before.
    #[error("go on alone with data folder {}: it is of a member that was removed", .dir.display())]
    NoSurvivor {
        /// The folder.
        dir: PathBuf,
    },
    /// The log could not be told that the others are gone.
    #[error("write into the log that the other members are gone")]
    Survivor(#[source] store_wal::WalError),
    /// The settings contradict each other.
    #[error("start the member")]
    Member(#[from] store_member::member::OpenError),
    /// The system refused a thread.
    #[error("start the {thread} thread")]
    Thread {
        /// Which.
        thread: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}

impl StartError {
    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Open(error) => error.hint(),
            Self::Snapshot { .. } | Self::SnapshotMark { .. } => Some(
                "keep a copy of the folder; restore a backup, or start the version that wrote it"
                    .to_owned(),
            ),
            Self::EntryKind { .. } | Self::Replay { .. } => {
                Some("start the newer version that wrote it".to_owned())
            }
            Self::NoSurvivor { .. } => {
                Some("muster utl backup makes a member of its own of what it holds".to_owned())
            }
            Self::Survivor(error) => error.hint(),
            Self::Member(_) => {
                Some("the election timeout must be at least five heartbeat intervals".to_owned())
            }
            Self::Founding(error) => Some(error.hint()),
            Self::NoPeerPort { .. } => {
                Some("say with --listen-peer-urls where the others reach this member".to_owned())
            }
            Self::Thread { .. } | Self::Peers { .. } => {
                Some("raise the limit on processes and threads".to_owned())
            }
        }
    }
}

/// A running store. Dropped without [`Store::stop`], it stops in the background.
#[derive(Debug)]
pub struct Store {
    handle: Handle,
    inbox: Arc<Inbox>,
    threads: Vec<JoinHandle<()>>,
    /// `None` for a store that nobody can reach and that has nobody to reach.
    peers: Option<Peers>,
}

impl Store {
    /// Opens the folder, recovers, and starts. Blocks for as long as recovery takes; returns before
    /// a leader is known: see [`Handle::ready`]. Peers come in by the `doors`.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: &StoreConfig, doors: Vec<PeerDoor>) -> Result<Self, StartError> {
        if config.fsync {
            Self::start_on(RealDisk, config, doors)
        } else {
            Self::start_on(crate::unsynced::Unsynced(RealDisk), config, doors)
        }
    }

    /// As [`Store::start`], on another kind of disk.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_on<D: Disk>(
        disk: D,
        config: &StoreConfig,
        doors: Vec<PeerDoor>,
    ) -> Result<Self, StartError> {
        let epoch = Instant::now();
        let found = Wal::identity(&disk, &config.data_dir)?;
        let known = found.is_some();
        let mut founding = founding::settle(config, found)?;
        let identity = founding.identity;
        let dir = config.data_dir.clone();
        let mut wal_config = WalConfig::new(&dir).with_log(config.log_dir.as_deref());
        wal_config.snapshots_max = config.snapshots_max;
        wal_config.segment_bytes = config.segment_bytes;
        let survivor = match config.force_new_cluster {
            true => surviving::survivor(&disk, &wal_config)?,
            false => None,
        };
        let (mut wal, found) = Wal::open(disk, wal_config, identity)?;
        if founding.joining && known && found.snapshot.is_none() && found.entries.is_empty() {
            // Ended before the others had sent anything: who they are is not on this disk.
            let asked = joining::join(config, Some(identity));
            founding = asked.map_err(FoundingError::from)?;
        }
        let first = founding.members.clone();
        let member_config = member_config(config, founding);
        let (machine, mut recovered) = recover(&dir, found)?;
        if let Some(survivor) = survivor {
            survivor.write(&mut wal, &mut recovered)?;
        }
        let took = epoch.elapsed();
        tracing::info!(
            cluster = format!("{:016x}", identity.cluster),
            member = format!("{:016x}", identity.member),
            revision = machine.revision().0,
            entries = recovered.entries.len(),
            ms = took.as_millis(),
            "recovered"
        );
        let member = Member::open(member_config, machine, recovered, moment(epoch))?;
        founding::check_folder(config, identity.member, &member.machine().members())?;

        let counters = Arc::new(Counters::default());
        let auth = Arc::new(View::default());
        let inbox = Arc::new(Inbox::default());
        let queue = Arc::new(DiskQueue::default());
        let directory = Arc::new(Directory::new(identity.member, Arc::clone(&counters)));
        // What is replicated knows of changes since; a log of an early version says no addresses.
        let mut members = member.members();
        let reachable = |member: &MemberInfo| !member.peer_urls.is_empty();
        if !members.iter().all(reachable) || members.is_empty() {
            members = first;
        }
        directory.set(&members, member.former().clone());
        let outbox = Arc::new(Outbox::new(Arc::clone(&directory), Arc::clone(&inbox)));
        let log = Arc::new(Mutex::new(Log::new(wal, Arc::clone(&counters))));
        let disk_thread = DiskThread::new(
            Arc::clone(&log),
            Arc::clone(&queue),
            Arc::clone(&inbox),
            Arc::clone(&outbox),
            Arc::clone(&counters),
        );
        let disk = DriverDisk::new(queue, log);
        let driver = Driver::new(
            member,
            Arc::clone(&inbox),
            disk,
            outbox,
            Arc::clone(&counters),
            Arc::clone(&auth),
            epoch,
        )
        .warning_above(config.slow_turn);
        let seat = Arc::new(Seat::new(Arc::clone(&inbox), driver));
        let handle = Handle::new(
            Arc::clone(&inbox),
            Arc::clone(&seat),
            counters,
            (identity.cluster, identity.member),
            auth,
        );
        let peers = if members.len() == 1 && doors.is_empty() {
            None
        } else if doors.is_empty() {
            let members = members.len();
            return Err(StartError::NoPeerPort { members });
        } else {
            let tls = config.peer_tls.clone();
            let started = Peers::start(identity, doors, tls, directory, Arc::clone(&inbox));
            Some(started.map_err(|source| StartError::Peers { source })?)
        };
        let threads = vec![
            spawn("store-disk", move || disk_thread.run())?,
            spawn("store-driver", move || seat.run())?,
        ];
        Ok(Self {
            handle,
            inbox,
            threads,
            peers,
        })
    }

    /// The way in; may be cloned at will.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops: every waiting request is answered `Stopped`, every watch stream ends, the log is synced
    /// and the folder let go. Blocks until that is done.
    pub fn stop(self) {
        drop(self);
    }
}

/// As [`Store::stop`]: who drops a store may remove its folder next, and a log that is still being
/// closed would take that for a failing disk.
impl Drop for Store {
    fn drop(&mut self) {
        self.inbox.tell(Knock::Stop);
        for thread in self.threads.drain(..) {
            // A panic in one has ended the process already.
            let _ = thread.join();
        }
        if let Some(peers) = self.peers.take() {
            peers.stop();
        }
    }
}

fn spawn(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _guard = EndsWithThread(name);
            run();
        })
        .map_err(|source| StartError::Thread {
            thread: name,
            source,
        })
}

fn member_config(config: &StoreConfig, founding: Founding) -> Config {
    let identity = founding.identity;
    Config {
        members: founding.members,
        joining: founding.joining,
        strict_reconfig: config.strict_reconfig,
        learners_max: config.learners_max,
        heartbeat_ms: config.heartbeat_ms,
        election_ms: config.election_ms,
        snapshot_count: config.snapshot_count,
        catch_up_entries: config.catch_up_entries,
        progress_ms: config.progress_ms,
        slow_sync_ms: config.slow_sync_ms,
        check_ms: config.check_ms,
        check_contents_ms: config.check_contents_ms,
        check_at_start: config.check_at_start,
        limits: Limits {
            quota_bytes: config.quota_bytes,
        },
        ..Config::new(identity.cluster, identity.member, rand::random())
    }
}

#[cfg(test)]
mod faulty;
#[cfg(test)]
mod tests;
