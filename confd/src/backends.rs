//! Where keys come from. Every backend delivers a first listing and then changes, as the mirror does, so the agent
//! knows no difference between them.

mod consul;
mod env;
mod file;
mod follow;
mod ledger;
mod reach;
mod redis;
mod store;
mod vault;
mod zookeeper;

use std::task::{Context, Poll};

use store_client::mirror::{Event, FeedStatus, KeyRange};
use tokio::sync::watch;

pub use self::consul::Consul;
pub use self::env::Environment;
pub use self::file::{FileFault, Files};
pub use self::redis::Redis;
pub use self::store::Store;
pub use self::vault::{Login, Vault};
pub use self::zookeeper::ZooKeeper;
use crate::config::BackendKind;

/// The backend of a kind; `seed` spreads the retries of many agents.
pub(crate) fn of(kind: &BackendKind, seed: u64) -> Box<dyn Backend> {
    match kind {
        BackendKind::Store(connect) => Box::new(Store {
            connect: connect.clone(),
            seed,
        }),
        BackendKind::Environment => Box::new(Environment::new(crate::run::environment())),
        BackendKind::Files(files) => Box::new(files.clone()),
        BackendKind::Consul(consul) => Box::new(consul.clone()),
        BackendKind::Redis(redis) => Box::new(redis.clone()),
        BackendKind::Vault(vault) => Box::new(vault.clone()),
        BackendKind::ZooKeeper(zookeeper) => Box::new(zookeeper.clone()),
    }
}

/// A kind of source.
pub trait Backend: Send + Sync {
    /// Opens a source of these ranges. Does not wait: while there is nothing to reach it keeps trying.
    fn open(&self, ranges: Vec<KeyRange>) -> Box<dyn Source>;
}

/// A running source; dropping it ends it.
pub trait Source: Send {
    /// The next event. `None` means that nothing will ever change again.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>>;

    /// How the source is doing.
    fn status(&self) -> watch::Receiver<FeedStatus>;
}
