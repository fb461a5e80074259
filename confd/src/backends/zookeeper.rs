//! Keys of ZooKeeper: the nodes that have none below them, as the original reads them. One recursive watch for each tree
//! (ZooKeeper 3.6) tells which nodes to read again; before 3.6 all are read every few seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, try_join_all};
use store_client::mirror::KeyRange;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use zookeeper_client::{AddWatchMode, Client, Error, EventType, PersistentWatcher};

use super::follow::{Reader, Trouble, follow};
use super::ledger::Keys;
use super::{Backend, Source, reach};

/// 10 s: how long a session outlives its connection; nothing hangs on ours but watches.
const SESSION: Duration = Duration::from_secs(10);
/// 10 s: servers with a leader answer within milliseconds, and an election takes seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Everything is read this often even if nothing was told.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Questions under way at once.
const ASKED_MAX: usize = 64;

/// How to reach `ZooKeeper`.
#[derive(Debug, Clone)]
pub struct ZooKeeper {
    /// Servers, `host:port` with commas between, a path below which all is at the end.
    pub servers: String,
    /// How often everything is read where the server tells nothing.
    pub poll: Duration,
}

impl Backend for ZooKeeper {
    fn open(&self, ranges: Vec<KeyRange>) -> Box<dyn Source> {
        let roots: BTreeSet<String> = ranges.iter().map(reach::root).collect();
        let reader = ZooKeeperReader {
            options: self.clone(),
            roots: roots.into_iter().collect(),
            open: None,
        };
        follow(reader, ranges, 0)
    }
}

struct ZooKeeperReader {
    options: ZooKeeper,
    /// Nodes at and below which everything is read.
    roots: Vec<String>,
    open: Option<Open>,
}

/// A session, and what was read in it.
struct Open {
    client: Client,
    told: UnboundedReceiver<Told>,
    /// Hand on what the watches tell; end with the session.
    _watches: JoinSet<()>,
    /// Whether the server tells of everything.
    tells: bool,
    nodes: BTreeMap<String, Vec<u8>>,
    /// Nodes to be read again.
    dirty: BTreeSet<String>,
    /// When all nodes were read last; `None` if they are to be.
    complete: Option<Instant>,
}

/// What a watch tells.
#[derive(Debug)]
enum Told {
    /// Something was done to this node.
    Node(String),
    /// The connection is lost. Watches may lose what is told until it is back (ZOOKEEPER-4698), so that all is read anew in
    /// a new session.
    Over,
}

fn trouble(error: &Error) -> Trouble {
    let message = format!("ZooKeeper: {error}");
    match error {
        Error::NoAuth => Trouble::hinted(message, "everybody must be allowed to read these nodes"),
        Error::ConnectionLoss | Error::SessionExpired | Error::Timeout => {
            Trouble::hinted(message, "no server answers; --node names others")
        }
        _ => Trouble::new(message),
    }
}

async fn answered<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Timeout),
    }
}

impl ZooKeeperReader {
    async fn connect(&self) -> Result<Open, Error> {
        let connector = Client::connector()
            .with_session_timeout(SESSION)
            .with_fail_eagerly();
        let client = answered(connector.connect(&self.options.servers)).await?;
        let (tell, told) = unbounded_channel();
        let mut watches = JoinSet::new();
        let mut tells = true;
        for root in &self.roots {
            match answered(client.watch(root, AddWatchMode::PersistentRecursive)).await {
                Ok(watcher) => {
                    watches.spawn(hand_on(watcher, tell.clone()));
                }
                Err(Error::Unimplemented | Error::UnexpectedError(_)) => {
                    tells = false;
                    tracing::warn!(
                        "ZooKeeper before 3.6 does not tell of whole trees: nodes are read every {:?}",
                        self.options.poll
                    );
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if !tells {
            watches.abort_all();
            // Whoever listens waits for the next reading rather than for an end.
            watches.spawn(async move {
                let _kept = tell;
                std::future::pending::<()>().await;
            });
        }
        Ok(Open {
            client,
            told,
            _watches: watches,
            tells,
            nodes: BTreeMap::new(),
            dirty: BTreeSet::new(),
            complete: None,
        })
    }

    async fn all(&mut self) -> Result<Keys, Error> {
        if self.open.is_none() {
            self.open = Some(self.connect().await?);
        }
        let Some(open) = &mut self.open else {
            return Ok(Keys::new());
        };
        if open.complete.is_none() {
            let now = Instant::now();
            open.dirty.clear();
            open.nodes = walk(&open.client, &self.roots).await?;
            open.complete = Some(now);
        } else {
            open.refresh().await?;
        }
        Ok(leaves(&open.nodes))
    }

    async fn change(&mut self) -> Result<(), Trouble> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let wait = if open.tells {
            LOOK_AGAIN
        } else {
            self.options.poll.min(LOOK_AGAIN)
        };
        let read = open.complete.unwrap_or_else(Instant::now);
        let mut told = match timeout_at(read + wait, open.told.recv()).await {
            Ok(told) => Some(told.unwrap_or(Told::Over)),
            Err(_) => {
                open.complete = None;
                None
            }
        };
        // All that is there already is one change.
        while let Some(one) = told {
            match one {
                Told::Node(path) => {
                    open.dirty.insert(path);
                }
                Told::Over => return Err(trouble(&Error::ConnectionLoss)),
            }
            told = open.told.try_recv().ok();
        }
        Ok(())
    }
}

impl Open {
    /// Reads the nodes again that something was done to.
    async fn refresh(&mut self) -> Result<(), Error> {
        let paths: Vec<String> = std::mem::take(&mut self.dirty).into_iter().collect();
        for some in paths.chunks(ASKED_MAX) {
            let values = some.iter().map(|path| value(&self.client, path));
            let values = try_join_all(values).await?;
            for (path, value) in some.iter().zip(values) {
                match value {
                    Some((value, _)) => self.nodes.insert(path.clone(), value),
                    None => self.nodes.remove(path),
                };
            }
        }
        Ok(())
    }
}

/// Tells what a watch tells until the session is over.
async fn hand_on(mut watcher: PersistentWatcher, tell: tokio::sync::mpsc::UnboundedSender<Told>) {
    loop {
        let event = watcher.changed().await;
        let told = match event.event_type {
            EventType::Session => Told::Over,
            _ => Told::Node(event.path),
        };
        let over = matches!(told, Told::Over);
        // Fails only if the session was given up.
        if tell.send(told).is_err() || over {
            return;
        }
    }
}

/// The value of a node and how many are below it; `None` if there is none.
async fn value(client: &Client, path: &str) -> Result<Option<(Vec<u8>, i32)>, Error> {
    match answered(client.get_data(path)).await {
        Ok((value, stat)) => Ok(Some((value, stat.num_children))),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All nodes at and below these.
async fn walk(client: &Client, roots: &[String]) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut nodes = BTreeMap::new();
    let mut ahead: Vec<String> = roots.to_vec();
    while !ahead.is_empty() {
        let some = ahead.split_off(ahead.len().saturating_sub(ASKED_MAX));
        let values = try_join_all(some.iter().map(|path| value(client, path))).await?;
        let mut folders = Vec::new();
        for (path, value) in some.into_iter().zip(values) {
            if let Some((value, below)) = value {
                if below > 0 {
                    folders.push(path.clone());
                }
                nodes.insert(path, value);
            }
        }
        let below = folders.iter().map(|path| children(client, path));
        for (path, names) in folders.iter().zip(try_join_all(below).await?) {
            let path = path.trim_end_matches('/');
            ahead.extend(names.iter().map(|name| format!("{path}/{name}")));
        }
    }
    Ok(nodes)
}

async fn children(client: &Client, path: &str) -> Result<Vec<String>, Error> {
    match answered(client.list_children(path)).await {
        // It went meanwhile; the watch tells.
        Err(Error::NoNode) => Ok(Vec::new()),
        other => other,
    }
}

/// The nodes that have none below them.
fn leaves(nodes: &BTreeMap<String, Vec<u8>>) -> Keys {
    let folders: BTreeSet<&str> = nodes
        .keys()
        .filter(|path| path.as_str() != "/")
        .filter_map(|path| path.rsplit_once('/'))
        .map(|(folder, _)| if folder.is_empty() { "/" } else { folder })
        .collect();
    nodes
        .iter()
        .filter(|(path, _)| !folders.contains(path.as_str()))
        // What the servers keep about themselves.
        .filter(|(path, _)| !path.starts_with("/zookeeper/"))
        .map(|(path, value)| (Bytes::from(path.clone()), Bytes::copy_from_slice(value)))
        .collect()
}

impl Reader for ZooKeeperReader {
    fn read(&mut self) -> BoxFuture<'_, Result<Keys, Trouble>> {
        async {
            let keys = self.all().await.map_err(|error| trouble(&error));
            if keys.is_err() {
                self.open = None;
            }
            keys
        }
        .boxed()
    }

    fn moved(&mut self) -> BoxFuture<'_, Result<(), Trouble>> {
        async {
            let moved = self.change().await;
            if moved.is_err() {
                self.open = None;
            }
            moved
        }
        .boxed()
    }

    fn endpoint(&self) -> String {
        self.options.servers.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_with_none_below_are_keys() {
        let nodes = [
            "/",
            "/a",
            "/a/b",
            "/a/b/c",
            "/a-b",
            "/d",
            "/zookeeper/config",
        ];
        let nodes = nodes
            .iter()
            .map(|path| ((*path).to_owned(), b"x".to_vec()))
            .collect();
        let keys: Vec<Bytes> = leaves(&nodes).into_keys().collect();
        assert_eq!(keys, ["/a-b", "/a/b/c", "/d"]);
        let alone = BTreeMap::from([("/a/b".to_owned(), Vec::new())]);
        assert_eq!(leaves(&alone).len(), 1);
    }
}
