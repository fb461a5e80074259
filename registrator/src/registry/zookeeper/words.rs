//! What people say, in ZooKeeper: nodes of no session, with the time at which they end in their value.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use registrator_catalog::overrides::{self, Override};
use tokio::sync::Mutex;
use tokio::time::sleep;
use zookeeper_client::{Acls, AddWatchMode, Client, CreateMode, Error, PersistentWatcher};

use super::{children, nodes, parent, told};
use crate::registry::words::{AGAIN, Words, ending};

/// Over this connection.
pub(super) struct ZooKeeperWords {
    client: Client,
    /// Who may do what with the nodes it makes.
    acls: Acls<'static>,
    /// Tells of changes; `None` before the first read, and with servers before 3.6, which cannot.
    watcher: Mutex<Option<PersistentWatcher>>,
}

impl ZooKeeperWords {
    pub(super) fn new(client: Client, acls: Acls<'static>) -> Self {
        Self {
            client,
            acls,
            watcher: Mutex::default(),
        }
    }

    /// Every node below the root of overrides that has a value.
    async fn all(&self) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let root = overrides::PREFIX.trim_end_matches('/');
        let mut watcher = self.watcher.lock().await;
        if watcher.is_none() {
            let watching = self.client.watch(root, AddWatchMode::PersistentRecursive);
            // Without it the nodes are read again and again.
            *watcher = watching.await.ok();
        }
        drop(watcher);
        let mut found = BTreeMap::new();
        let mut open = vec![root.to_owned()];
        while let Some(path) = open.pop() {
            let below = match children(&self.client, &path).await {
                // What may not be read says nothing.
                Err(Error::NoAuth) => Vec::new(),
                below => below?,
            };
            open.extend(below.into_iter().map(|name| format!("{path}/{name}")));
            match self.client.get_data(&path).await {
                Ok((value, _)) if !value.is_empty() => drop(found.insert(path, value)),
                Ok(_) | Err(Error::NoNode | Error::NoAuth) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        match self.client.set_data(key, value, None).await {
            Err(Error::NoNode) => {}
            done => return done.map(drop),
        }
        let options = CreateMode::Persistent.with_acls(self.acls);
        if let Some(parent) = parent(key) {
            match self.client.mkdir(parent, &options).await {
                Ok(()) | Err(Error::NodeExists) => {}
                Err(error) => return Err(error),
            }
        }
        self.client.create(key, value, &options).await.map(drop)
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        match self.client.delete(key, None).await {
            Err(Error::NoNode) => Ok(()),
            // A service's name may be the beginning of another one's.
            Err(Error::NotEmpty) => self.client.set_data(key, b"", None).await.map(drop),
            done => done,
        }
    }
}

impl Words for ZooKeeperWords {
    fn read(&self) -> BoxFuture<'_, Result<BTreeMap<String, Vec<u8>>, String>> {
        async { self.all().await.map_err(|error| told(&error)) }.boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a str,
        over: &'a Override,
        lasts: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let value = ending(over, lasts).to_json();
            let set = self.set(key, value.as_bytes()).await;
            set.map_err(|error| format!("write {key}: {}", told(&error)))
        }
        .boxed()
    }

    fn erase<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let removed = self.remove(key).await;
            removed.map_err(|error| format!("delete {key}: {}", told(&error)))
        }
        .boxed()
    }

    fn below<'a>(
        &'a self,
        root: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, String>> {
        async move {
            let found = nodes(&self.client, &[root.to_owned()], None).await;
            found.map_err(|error| told(&error))
        }
        .boxed()
    }

    fn change(&self) -> BoxFuture<'_, Result<(), String>> {
        async {
            match &mut *self.watcher.lock().await {
                Some(watcher) => drop(watcher.changed().await),
                None => sleep(AGAIN).await,
            }
            Ok(())
        }
        .boxed()
    }
}
