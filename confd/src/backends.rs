//! Where keys come from. Every backend delivers a first listing and then changes, as the mirror does, so the agent
//! knows no difference between them.

mod consul;
mod env;
mod file;
mod follow;
mod ledger;
mod overlays;
mod reach;
mod redis;
mod store;
mod vault;
mod zookeeper;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use store_client::mirror::{Event, FeedStatus, KeyRange};
use tokio::sync::watch;

pub use self::consul::Consul;
pub use self::env::Environment;
pub use self::file::{FileFault, Files};
use self::overlays::Overlays;
pub use self::redis::Redis;
pub use self::store::Store;
pub use self::vault::{Login, Vault};
pub use self::zookeeper::ZooKeeper;
use crate::agent::Fault;
use crate::confdir::Units;
use crate::config::{BackendKind, Config};
use crate::resource::{Layer, Resource};

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

/// Turns resources into faults whose own backends cannot be.
pub(crate) fn refuse(config: &Config, units: &mut Units) {
    for unit in units.values_mut() {
        let Ok(good) = unit else { continue };
        let fault = good.resource.layers.iter().find_map(|layer| {
            let error = config.layer(layer).err()?;
            Some(Fault {
                message: format!("resource {}: {error}", good.resource.name),
                hint: error.hint(),
            })
        });
        if let Some(fault) = fault {
            *unit = Err(fault);
        }
    }
}

/// Opens what resources see: `rest`, and on top of each other what they name themselves.
pub(crate) fn open<'a>(
    rest: &Arc<dyn Backend>,
    config: &Config,
    resources: impl Iterator<Item = &'a Resource>,
    ranges: Vec<KeyRange>,
) -> Box<dyn Source> {
    let (mut spaces, mut backends) = (BTreeMap::new(), BTreeMap::new());
    for resource in resources.filter(|resource| !resource.layers.is_empty()) {
        let names: Vec<String> = resource.layers.iter().map(Layer::name).collect();
        for (layer, name) in resource.layers.iter().zip(&names) {
            // One that cannot be is the resource's fault, which then is not among these.
            if let Ok(kind) = config.layer(layer) {
                backends.insert(name.clone(), of(&kind, 0));
            }
        }
        spaces.insert(resource.space(), names);
    }
    if spaces.is_empty() {
        return rest.open(ranges);
    }
    let overlays = Overlays {
        rest: rest.clone(),
        backends,
        spaces,
    };
    overlays.open(ranges)
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
