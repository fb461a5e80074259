//! The registry in ZooKeeper: ephemeral nodes of the agent's session, written all at once or not at all. One more such
//! node says which process speaks for this host's node, and guards every write.
//!
//! A session ends with its process: nobody else can go on with it. Its nodes stay until the servers have not heard of it
//! for its time to live, and a restarted agent meanwhile replaces them one by one with its own, each in one step, so
//! that readers never see them missing. A connection that is lost is not the session's end.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;
use zookeeper_client::{
    Acl, Acls, Client, CreateMode, Error, MultiWriteError, MultiWriteResult, Permission,
    SessionState, Stat,
};

use super::backend::{Backend, Opened, Outcome, Over, Session};
use super::identity::{Identity, PREFIX};
use super::{Beats, CALL_TIMEOUT, Words};
use crate::agent::{Input, Token};
use crate::plan::{Held, Txn, Write};
use crate::registry::words::{begin, listening};
use words::ZooKeeperWords;

/// 3 tries for nodes whose parent somebody removed in between; each makes it anew.
const PARENT_TRIES: usize = 3;
/// Everybody may read what somebody with a name wrote, and nobody else change it.
static OWNED: [Acl; 2] = [
    Acl::new_const(Permission::READ, "world", "anyone"),
    Acl::new_const(Permission::ALL, "auth", ""),
];

/// How to reach `ZooKeeper`.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Its servers, as its clients take them: `host:port`, with commas.
    pub servers: String,
    /// Name and password that are shown to it (its scheme `digest`). Nodes are then for this user to change; without one
    /// they are everybody's, as upstream writes them.
    pub user: Option<(String, String)>,
}

impl std::fmt::Debug for Options {
    /// Never prints the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("servers", &self.servers)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish()
    }
}

/// The way to `ZooKeeper`.
pub(crate) struct ZooKeeper {
    options: Options,
    node_id: String,
    own: Identity,
    /// Whether a living agent is replaced, once.
    takeover: bool,
    ttl: Duration,
}

impl ZooKeeper {
    /// Nodes of the agent for `node_id`, which outlive it for `ttl` or as near to it as the servers allow.
    #[must_use]
    pub(crate) fn new(
        options: Options,
        (node_id, nonce, takeover): (&str, u64, bool),
        ttl: Duration,
    ) -> Self {
        Self {
            options,
            node_id: node_id.to_owned(),
            own: Identity::own(nonce),
            takeover,
            ttl,
        }
    }

    /// A client; with `detached`, what its session made outlives it.
    async fn connect(&self, detached: bool) -> Result<Client, String> {
        let mut connector = Client::connector()
            .with_session_timeout(self.ttl)
            .with_fail_eagerly();
        if detached {
            connector = connector.with_detached();
        }
        if let Some((name, password)) = &self.options.user {
            connector = connector.with_auth("digest", format!("{name}:{password}").as_bytes());
        }
        let connected = timeout(CALL_TIMEOUT, connector.connect(&self.options.servers));
        match connected.await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err(format!("ZooKeeper: no session within {CALL_TIMEOUT:?}")),
        }
    }

    async fn begin(&mut self) -> Result<Opened, Over> {
        // Dropping the last client would take the nodes away, whatever the policy for that.
        let client = self.connect(true).await?;
        let presence = format!("{PREFIX}{}", self.node_id);
        let words = ZooKeeperWords::new(client.clone(), self.acls());
        let mut session = ZooKeeperSession {
            client,
            words,
            acls: self.acls(),
            presence,
            present: 0,
            nodes: Mutex::default(),
        };
        session.present = self.speak(&session).await?;
        let overrides = begin(&session.words).await?;
        let held = session.leased(false, Vec::new());
        Ok(Opened {
            session: Arc::new(session),
            overrides: Some(overrides),
            held,
        })
    }

    /// Who may do what with the nodes it makes.
    fn acls(&self) -> Acls<'static> {
        match self.options.user {
            Some(_) => Acls::new(&OWNED),
            None => Acls::anyone_all(),
        }
    }

    /// Makes the node that names this process; returns its version.
    async fn speak(&mut self, session: &ZooKeeperSession) -> Result<i32, Over> {
        let key = session.presence.clone();
        let found = match session.client.get_data(&key).await {
            Ok((value, stat)) => {
                let other: Option<Identity> = serde_json::from_slice(&value).ok();
                if let Some(other) = other.filter(|other| *other != self.own) {
                    let own = &self.own;
                    own.follow(&other, &self.node_id, &mut self.takeover)
                        .map_err(|why| Over {
                            why,
                            wait: session.client.session_timeout() / 3,
                        })?;
                }
                Some(stat)
            }
            Err(Error::NoNode) => None,
            Err(error) => return Err(told(&error).into()),
        };
        let write = Write {
            key,
            // A struct of texts and numbers always has a JSON form.
            value: Some(serde_json::to_string(&self.own).unwrap_or_default()),
            guard: found.map_or(0, |stat| stat.mzxid),
        };
        match session.transact(std::slice::from_ref(&write), None).await {
            Ok(Ended::Done(_)) => {}
            Ok(Ended::Guard) => {
                return Err("another agent came at the same time".to_owned().into());
            }
            Err(error) => return Err(told(&error).into()),
        }
        match session.client.check_stat(&write.key).await {
            Ok(Some(stat)) if session.owns(&stat) => Ok(stat.version),
            Ok(_) => Err("another agent came at the same time".to_owned().into()),
            Err(error) => Err(told(&error).into()),
        }
    }
}

impl Backend for ZooKeeper {
    fn open(&mut self) -> BoxFuture<'_, Result<Opened, Over>> {
        self.begin().boxed()
    }

    fn look<'a>(
        &'a mut self,
        roots: &'a [String],
        _: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, String>> {
        async {
            let client = self.connect(false).await?;
            let presence = format!("{PREFIX}{}", self.node_id);
            let found = nodes_of_owner(&client, &presence, roots).await;
            found.map_err(|error| told(&error))
        }
        .boxed()
    }

    fn words(&mut self) -> BoxFuture<'_, Result<Box<dyn Words>, String>> {
        async {
            let client = self.connect(false).await?;
            let words: Box<dyn Words> = Box::new(ZooKeeperWords::new(client, self.acls()));
            Ok(words)
        }
        .boxed()
    }
}

/// Nodes two levels below `roots` that are of the same session as `presence`.
async fn nodes_of_owner(
    client: &Client,
    presence: &str,
    roots: &[String],
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    match client.check_stat(presence).await? {
        None => Ok(BTreeMap::new()),
        Some(speaks) => nodes(client, roots, Some(speaks.ephemeral_owner)).await,
    }
}

/// Nodes two levels below `roots`: those of one session, or of all.
async fn nodes(
    client: &Client,
    roots: &[String],
    owner: Option<i64>,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut found = BTreeMap::new();
    for root in roots.iter().map(|root| root.trim_end_matches('/')) {
        for service in children(client, root).await? {
            let service = format!("{root}/{service}");
            for node in children(client, &service).await? {
                let path = format!("{service}/{node}");
                match client.get_data(&path).await {
                    Ok((value, stat))
                        if owner.is_none_or(|owner| stat.ephemeral_owner == owner) =>
                    {
                        found.insert(path, value);
                    }
                    Ok(_) | Err(Error::NoNode) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(found)
}

/// Names of the nodes below one, which need not be there.
async fn children(client: &Client, path: &str) -> Result<Vec<String>, Error> {
    let path = if path.is_empty() { "/" } else { path };
    match client.list_children(path).await {
        Err(Error::NoNode) => Ok(Vec::new()),
        found => found,
    }
}

struct ZooKeeperSession {
    client: Client,
    words: ZooKeeperWords,
    /// Who may do what with the nodes it makes.
    acls: Acls<'static>,
    /// The node that names the process.
    presence: String,
    /// Its version as this process wrote it.
    present: i32,
    /// What this session has made. Nobody else can make nodes of this session.
    nodes: Mutex<BTreeSet<String>>,
}

/// How a transaction ended that had an answer.
enum Ended {
    /// The number of the change.
    Done(i64),
    /// Something was not as it should be.
    Guard,
}

fn told(error: &Error) -> String {
    format!("ZooKeeper: {error}")
}

/// Whether the session is over, rather than a connection or a request.
fn is_over(error: &Error) -> bool {
    matches!(
        error,
        Error::SessionExpired | Error::SessionMoved | Error::ClientClosed | Error::AuthFailed
    )
}

/// The node above.
fn parent(key: &str) -> Option<&str> {
    let (parent, _) = key.rsplit_once('/')?;
    (!parent.is_empty()).then_some(parent)
}

impl ZooKeeperSession {
    fn owns(&self, stat: &Stat) -> bool {
        stat.ephemeral_owner == self.client.session_id().0
    }

    fn leased(&self, adopted: bool, held: Vec<(String, Held)>) -> Input {
        Input::Leased {
            lease: self.client.session_id().0,
            adopted,
            held,
        }
    }

    fn nodes(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All writes or none. With `present`, only while that is the version of the node that names the process.
    async fn transact(&self, writes: &[Write], present: Option<i32>) -> Result<Ended, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.attempt(writes, present).await {
                Err(MultiWriteError::OperationFailed {
                    source: Error::NoNode,
                    ..
                }) if tries <= PARENT_TRIES => self.make_parents(writes).await?,
                Err(MultiWriteError::OperationFailed {
                    source: Error::NoNode | Error::NodeExists | Error::BadVersion,
                    ..
                }) => return Ok(Ended::Guard),
                Err(error) => return Err(error.into()),
                Ok(ended) => return Ok(ended),
            }
        }
    }

    async fn attempt(
        &self,
        writes: &[Write],
        present: Option<i32>,
    ) -> Result<Ended, MultiWriteError> {
        let mut multi = self.client.new_multi_writer();
        if let Some(version) = present {
            multi.add_check_version(&self.presence, version)?;
        }
        for write in writes {
            let stat = self.client.check_stat(&write.key).await?;
            if stat.map_or(0, |stat| stat.mzxid) != write.guard {
                return Ok(Ended::Guard);
            }
            match (&write.value, stat) {
                (Some(value), Some(stat)) if self.owns(&stat) => {
                    multi.add_set_data(&write.key, value.as_bytes(), Some(stat.version))?;
                }
                (Some(value), found) => {
                    // A node's session cannot be changed, only the node be made anew.
                    if let Some(stat) = found {
                        multi.add_delete(&write.key, Some(stat.version))?;
                    }
                    let options = CreateMode::Ephemeral.with_acls(self.acls);
                    multi.add_create(&write.key, value.as_bytes(), &options)?;
                }
                (None, Some(stat)) => multi.add_delete(&write.key, Some(stat.version))?,
                (None, None) => {}
            }
        }
        let done = multi.commit().await?;
        let number = done.iter().filter_map(|result| match result {
            MultiWriteResult::Create { stat, .. } | MultiWriteResult::SetData { stat } => {
                Some(stat.mzxid)
            }
            _ => None,
        });
        let mut number = number.max().unwrap_or(0);
        // Servers before 3.7 forget to say what they made (ZOOKEEPER-4026).
        if number <= 0
            && let Some(put) = writes.iter().find(|write| write.value.is_some())
        {
            let stat = self.client.check_stat(&put.key).await?;
            number = stat.map_or(0, |stat| stat.mzxid);
        }
        Ok(Ended::Done(number))
    }

    async fn make_parents(&self, writes: &[Write]) -> Result<(), Error> {
        let puts = writes.iter().filter(|write| write.value.is_some());
        let parents: BTreeSet<&str> = puts.filter_map(|write| parent(&write.key)).collect();
        let options = CreateMode::Persistent.with_acls(self.acls);
        for path in parents {
            match self.client.mkdir(path, &options).await {
                Ok(()) | Err(Error::NodeExists) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes what became empty, as upstream does.
    async fn remove_parents(&self, writes: &[Write]) {
        let gone = writes.iter().filter(|write| write.value.is_none());
        let parents: BTreeSet<&str> = gone.filter_map(|write| parent(&write.key)).collect();
        for path in parents {
            // One that is not empty stays; one that stays for another reason harms nobody.
            let _ = self.client.delete(path, None).await;
        }
    }

    async fn commit(&self, token: Token, txn: Txn) -> Outcome {
        match self.transact(&txn.writes, Some(self.present)).await {
            Ok(Ended::Done(revision)) => {
                for write in &txn.writes {
                    match write.value {
                        Some(_) => self.nodes().insert(write.key.clone()),
                        None => self.nodes().remove(&write.key),
                    };
                }
                self.remove_parents(&txn.writes).await;
                Outcome::Done(Input::Committed { token, revision })
            }
            Ok(Ended::Guard) => self.conflict(token, &txn).await,
            Err(error) if is_over(&error) => Outcome::Over(told(&error)),
            // The session may live on behind a lost connection, and with it everything that hangs on it.
            Err(error) => Outcome::Done(Input::CommitFailed {
                token,
                why: told(&error),
            }),
        }
    }

    /// Reads what a refused transaction was about.
    async fn conflict(&self, token: Token, txn: &Txn) -> Outcome {
        match self.client.check_stat(&self.presence).await {
            Ok(Some(stat)) if self.owns(&stat) && stat.version == self.present => {}
            Ok(_) => return Outcome::Over("another agent has taken over this node".to_owned()),
            Err(error) => return self.failed(token, &error),
        }
        let mut actual = Vec::with_capacity(txn.writes.len());
        for write in &txn.writes {
            match self.held(&write.key).await {
                Ok(held) => actual.push((write.key.clone(), held)),
                Err(error) => return self.failed(token, &error),
            }
        }
        Outcome::Done(Input::Conflicted { token, actual })
    }

    fn failed(&self, token: Token, error: &Error) -> Outcome {
        let why = told(error);
        if is_over(error) {
            Outcome::Over(why)
        } else {
            Outcome::Done(Input::CommitFailed { token, why })
        }
    }

    async fn held(&self, key: &str) -> Result<Option<Held>, Error> {
        match self.client.get_data(key).await {
            Ok((value, stat)) => Ok(Some(Held {
                value,
                mod_revision: stat.mzxid,
                leased: self.owns(&stat),
            })),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those of the session's nodes that still are, with their values.
    async fn ours(&self) -> Result<Vec<(String, Held)>, Error> {
        let nodes = self.nodes().clone();
        let mut found = Vec::with_capacity(nodes.len());
        for key in nodes {
            if let Some(held) = self.held(&key).await?.filter(|held| held.leased) {
                found.push((key, held));
            }
        }
        Ok(found)
    }

    async fn keep(&self, beats: &Beats) -> String {
        let ttl = self.client.session_timeout();
        let mut states = self.client.state_watcher();
        loop {
            match states.state() {
                SessionState::SyncConnected | SessionState::ConnectedReadOnly => {
                    // The client talks to its server more often than this.
                    beats.hear(ttl);
                }
                SessionState::Disconnected => {}
                ended => return format!("ZooKeeper: the session is over: {ended:?}"),
            }
            // Safe to cancel: it waits for a change and takes nothing.
            let _ = timeout(ttl / 3, states.changed()).await;
            if let Some(ended) = Some(states.peek_state()).filter(|state| state.is_terminated()) {
                return format!("ZooKeeper: the session is over: {ended:?}");
            }
        }
    }

    async fn remove_all(&self) -> Result<(), Error> {
        for (key, _) in self.ours().await? {
            match self.client.delete(&key, None).await {
                Ok(()) | Err(Error::NoNode) => {}
                Err(error) => return Err(error),
            }
            let gone = Write {
                key,
                value: None,
                guard: 0,
            };
            self.remove_parents(&[gone]).await;
        }
        Ok(())
    }
}

impl Session for ZooKeeperSession {
    fn commit(self: Arc<Self>, token: Token, txn: Txn) -> BoxFuture<'static, Outcome> {
        async move { Self::commit(&self, token, txn).await }.boxed()
    }

    fn check(self: Arc<Self>) -> BoxFuture<'static, Outcome> {
        async move {
            match self.ours().await {
                Ok(held) => Outcome::Done(Input::OnLease(
                    held.into_iter().map(|(key, _)| key).collect(),
                )),
                Err(error) => Outcome::Over(told(&error)),
            }
        }
        .boxed()
    }

    fn reload(&self) -> BoxFuture<'_, Result<Input, String>> {
        async {
            let held = self.ours().await.map_err(|error| told(&error))?;
            Ok(self.leased(true, held))
        }
        .boxed()
    }

    fn hold<'a>(
        &'a self,
        beats: &'a Beats,
        facts: &'a UnboundedSender<Input>,
    ) -> BoxFuture<'a, String> {
        listening(self.keep(beats), &self.words, facts).boxed()
    }

    fn leave(&self, revoke: bool) -> BoxFuture<'_, Result<(), String>> {
        async move {
            if revoke {
                self.remove_all().await.map_err(|error| told(&error))?;
            }
            match self.client.delete(&self.presence, Some(self.present)).await {
                Ok(()) | Err(Error::NoNode | Error::BadVersion) => Ok(()),
                Err(error) => Err(told(&error)),
            }
        }
        .boxed()
    }
}
