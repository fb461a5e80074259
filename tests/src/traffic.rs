//! Clients of a cluster under trial: they put, delete, transact, read both ways, hold leases and watch, at every member,
//! and write down what they ask and are told. Half of them stay with their member whatever happens to it, so that a
//! member cut off from the others is asked all along; half go elsewhere when they are failed.

mod asker;
mod asking;
mod burning;
mod reading;
mod watching;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use store_sim::recorded::Account;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::history::History;
use crate::wait;
use asking::Worker;
use reading::Reader;
use watching::Watcher;

/// What keys that clients compete for start with; there are few, so that they do.
const KEYS: &str = "k";

/// What keys under leases start with.
const LEASED: &str = "lease/";

/// Clients that do everything, for each member: one that stays and one that goes elsewhere.
const WORKERS_PER_MEMBER: usize = 2;

/// 1 s: a member that does not accept a connection by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Seconds a lease lives: the shortest the store grants at its default election timeout is 2.
pub const LEASE_SECONDS: i64 = 3;

/// 30 s: what is left to do when the last fault is over takes a few.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// Running clients. Dropped means stopped, without a verdict.
pub struct Traffic {
    runtime: Runtime,
    history: History,
    stop: Arc<Stop>,
    endpoints: Vec<SocketAddr>,
    workers: Vec<JoinHandle<()>>,
    watchers: Vec<JoinHandle<()>>,
}

/// When clients are to end.
pub(crate) struct Stop {
    /// Ask nothing more.
    quiet: AtomicBool,
    /// Watchers: end when shown everything up to this revision; 0 = go on.
    last: AtomicI64,
}

impl Stop {
    fn quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    fn last(&self) -> Option<i64> {
        Some(self.last.load(Ordering::Relaxed)).filter(|last| *last > 0)
    }
}

impl Traffic {
    /// Clients begin to ask.
    ///
    /// # Panics
    /// When there is no thread to be had.
    #[track_caller]
    #[must_use]
    pub fn start(endpoints: &[SocketAddr]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads for clients");
        let mut traffic = Self {
            runtime,
            history: History::new(),
            stop: Arc::new(Stop {
                quiet: AtomicBool::new(false),
                last: AtomicI64::new(0),
            }),
            endpoints: endpoints.to_vec(),
            workers: Vec::new(),
            watchers: Vec::new(),
        };
        for number in 0..endpoints.len() * WORKERS_PER_MEMBER {
            let stays = number < endpoints.len();
            let worker = Worker::new(number, stays, traffic.clients(), traffic.history.clone());
            let task = worker.run(Arc::clone(&traffic.stop));
            traffic.workers.push(traffic.runtime.spawn(task));
        }
        for member in 0..endpoints.len() {
            let reader = Reader::new(member, traffic.clients(), traffic.history.clone());
            let task = reader.run(Arc::clone(&traffic.stop));
            traffic.workers.push(traffic.runtime.spawn(task));
        }
        for number in 0..endpoints.len() {
            let watcher = Watcher::new(number, traffic.clients(), traffic.history.clone());
            let task = watcher.run(Arc::clone(&traffic.stop));
            traffic.watchers.push(traffic.runtime.spawn(task));
        }
        traffic
    }

    fn clients(&self) -> Clients {
        Clients {
            endpoints: self.endpoints.clone(),
            made: vec![None; self.endpoints.len()],
        }
    }

    /// How many members clients know.
    #[must_use]
    pub fn members(&self) -> usize {
        self.endpoints.len()
    }

    /// What has been recorded.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Waits until so many more writes have been acknowledged.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn more(&self, writes: usize) {
        let wanted = self.history.acknowledged() + writes;
        wait::until("acknowledged writes", SETTLED_WITHIN, || {
            match self.history.acknowledged() {
                done if done >= wanted => Ok(()),
                done => Err(format!("{done} of {wanted}")),
            }
        });
    }

    /// Waits until a member has answered so many more requests.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn more_of(&self, member: usize, answers: u64) {
        let wanted = self.history.answers(member) + answers;
        wait::until("answers of a member", SETTLED_WITHIN, || {
            match self.history.answers(member) {
                done if done >= wanted => Ok(()),
                done => Err(format!("member {member}: {done} of {wanted}")),
            }
        });
    }

    /// Makes the log longer by so many megabytes, and changes nothing: transactions whose condition never holds. One that
    /// fails is as good.
    pub fn burn(&self, megabytes: usize) {
        let mut clients = self.clients();
        self.runtime.block_on(async move {
            let mut member = 0;
            for _ in 0..megabytes {
                if burning::burn(&mut clients, member).await.is_err() {
                    member = (member + 1) % clients.members();
                }
            }
        });
    }

    /// All faults are over: ends the clients, looks at what every member holds, and gives the verdict.
    ///
    /// # Panics
    /// When a promise is broken, or the cluster does not come to rest.
    #[track_caller]
    pub fn judge(mut self) -> Account {
        self.stop.quiet.store(true, Ordering::Relaxed);
        let (workers, watchers) = (
            std::mem::take(&mut self.workers),
            std::mem::take(&mut self.watchers),
        );
        let (clients, history, stop) =
            (self.clients(), self.history.clone(), Arc::clone(&self.stop));
        let log = self.runtime.block_on(async move {
            let all = async {
                for worker in workers {
                    worker.await.map_err(|cause| cause.to_string())?;
                }
                let mut look = reading::Look::new(clients, history);
                look.until_leases_are_gone(LEASED).await;
                let last = look.last_revision().await;
                stop.last.store(last, Ordering::Relaxed);
                for watcher in watchers {
                    watcher.await.map_err(|cause| cause.to_string())?;
                }
                look.everything(last).await
            };
            tokio::time::timeout(SETTLED_WITHIN * 2, all)
                .await
                .unwrap_or_else(|_| Err("the cluster does not come to rest".to_owned()))
        });
        let log = log.unwrap_or_else(|reason| panic!("{reason}"));
        match self.history.check(log) {
            Ok(account) => account,
            Err(broken) => panic!("{broken}"),
        }
    }
}

/// 20 ms between two tries.
async fn breathe() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// A connection to each member, made when first needed.
pub(crate) struct Clients {
    endpoints: Vec<SocketAddr>,
    made: Vec<Option<Client>>,
}

impl Clients {
    fn members(&self) -> usize {
        self.endpoints.len()
    }

    async fn of(&mut self, member: usize) -> Result<Client, etcd_client::Error> {
        if let Some(client) = &self.made[member] {
            return Ok(client.clone());
        }
        let options = ConnectOptions::new().with_connect_timeout(CONNECT_TIMEOUT);
        let endpoint = format!("http://{}", self.endpoints[member]);
        let client = Client::connect([endpoint], Some(options)).await?;
        self.made[member] = Some(client.clone());
        Ok(client)
    }

    /// The next one is a new connection: this one may hang on a network that is gone.
    fn forget(&mut self, member: usize) {
        self.made[member] = None;
    }
}
