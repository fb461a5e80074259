//! The registry in etcd and in our own store: keys on the agent's lease, writes in guarded transactions, overrides from
//! a watch. `etcd/presence.rs` sees to it that one agent at a time speaks for a node.

mod left;
mod presence;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, GetOptions, PutOptions, Txn as StoreTxn, TxnOp, TxnOpResponse,
    WatchOptions, WatchStream,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use registrator_catalog::overrides::{self, Overrides};
use store_client::connect::Connector;
use store_client::failure::{self, Class};
use store_client::lease::{Ended, Lease, LeaseId};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use super::backend::{Backend, Opened, Outcome, Over, Session};
use super::{Beats, CALL_TIMEOUT, Upstreams, Words};
use crate::agent::{Input, Token};
use crate::plan::{Held, OPS_MAX, Txn};
use left::Left;
pub(crate) use presence::Presence;
use presence::Refused;
use words::EtcdWords;

/// The way to a store.
pub(crate) struct Etcd {
    connector: Connector,
    lease: LeaseId,
    ttl_seconds: i64,
    presence: Presence,
    /// What is taken for its own beside what hangs on the lease.
    left: Option<Arc<Left>>,
    /// Whether the connector's last connection was used and is so no more.
    used: bool,
}

impl Etcd {
    /// A store that `connector` reaches, with keys on `lease`.
    #[must_use]
    pub(crate) fn new(
        connector: Connector,
        (lease, ttl_seconds): (LeaseId, i64),
        presence: Presence,
    ) -> Self {
        Self {
            connector,
            lease,
            ttl_seconds,
            presence,
            left: None,
            used: false,
        }
    }

    /// Takes these entries below `roots` for its own.
    #[must_use]
    pub(crate) fn with_upstreams(
        mut self,
        upstreams: Option<Upstreams>,
        roots: Vec<String>,
    ) -> Self {
        self.left = upstreams.map(|by| Arc::new(Left::new(by, roots)));
        self
    }

    async fn begin(&mut self) -> Result<Opened, Over> {
        if std::mem::take(&mut self.used) {
            self.connector.failed();
        }
        let connection = self
            .connector
            .connect()
            .await
            .map_err(|error| error.to_string())?;
        self.used = true;
        let client = connection.client;
        let terms = Terms {
            lease: self.lease,
            ttl_seconds: self.ttl_seconds,
            left: self.left.clone(),
        };
        // The lease first: the key that speaks for the node hangs on it. Nothing is kept alive before that key is ours.
        let (lease, _) = terms.take(&client, &self.presence).await?;
        let present = match self.presence.claim(&client, lease.id).await {
            Ok(present) => present,
            Err(Refused::Failed(why)) => return Err(why.into()),
            Err(Refused::Taken(why)) => {
                let wait = lease.ttl / 3;
                return Err(Over { why, wait });
            }
        };
        // While it was waited for, the lease may have ended, and the other agent may have written until now.
        let (lease, held) = terms.read(&client, &self.presence).await?;
        let (overrides, seen) = overrides_of(&client).await?.unzip();
        let session = EtcdSession {
            client,
            lease,
            terms,
            presence: self.presence.clone(),
            present,
            overrides: seen,
        };
        Ok(Opened {
            session: Arc::new(session),
            overrides,
            held,
        })
    }
}

impl Backend for Etcd {
    fn open(&mut self) -> BoxFuture<'_, Result<Opened, Over>> {
        self.begin().boxed()
    }

    fn look<'a>(
        &'a mut self,
        roots: &'a [String],
        wanted: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, String>> {
        async {
            let connection = self.connector.connect().await;
            let client = connection.map_err(|error| error.to_string())?.client;
            let lease = Lease {
                id: self.lease,
                ttl: Duration::ZERO,
            };
            let on_lease = lease
                .keys(&client)
                .await
                .map_err(|error| error.to_string())?;
            let mut keys = on_lease.unwrap_or_default();
            keys.retain(|key| roots.iter().any(|root| key.starts_with(root.as_bytes())));
            keys.extend(wanted.keys().map(|key| key.clone().into_bytes()));
            keys.sort();
            keys.dedup();
            let held = read_keys(&client, self.lease, &keys).await?;
            Ok(held
                .into_iter()
                .map(|(key, held)| (key, held.value))
                .collect())
        }
        .boxed()
    }

    fn words(&mut self) -> BoxFuture<'_, Result<Box<dyn Words>, String>> {
        async {
            let connection = self.connector.connect().await;
            let client = connection.map_err(|error| error.to_string())?.client;
            let words: Box<dyn Words> = Box::new(EtcdWords(client));
            Ok(words)
        }
        .boxed()
    }
}

/// Which lease, and for how long.
#[derive(Clone, Debug)]
struct Terms {
    lease: LeaseId,
    ttl_seconds: i64,
    left: Option<Arc<Left>>,
}

impl Terms {
    async fn take(
        &self,
        client: &Client,
        presence: &Presence,
    ) -> Result<(Lease, (bool, Vec<Vec<u8>>)), String> {
        let taken = Lease::take(client, self.lease, self.ttl_seconds)
            .await
            .map_err(|error| error.to_string())?;
        let mut keys = taken.keys;
        keys.retain(|key| !presence.is_own(key));
        Ok((taken.lease, (taken.adopted, keys)))
    }

    async fn read(&self, client: &Client, presence: &Presence) -> Result<(Lease, Input), String> {
        let (lease, (adopted, keys)) = self.take(client, presence).await?;
        let mut held = read_keys(client, self.lease, &keys).await?;
        if let Some(left) = &self.left {
            held.extend(left.held(client).await?);
        }
        let fact = Input::Leased {
            lease: lease.id,
            adopted,
            held,
        };
        Ok((lease, fact))
    }
}

/// What a session with a store is made of.
struct EtcdSession {
    client: Client,
    lease: Lease,
    terms: Terms,
    presence: Presence,
    /// Revision of the presence's key; `None` without a guard.
    present: Option<i64>,
    /// Revision at which the overrides were read; `None` when this user may not read them.
    overrides: Option<i64>,
}

impl Session for EtcdSession {
    fn commit(self: Arc<Self>, token: Token, txn: Txn) -> BoxFuture<'static, Outcome> {
        commit(self, token, txn).boxed()
    }

    fn check(self: Arc<Self>) -> BoxFuture<'static, Outcome> {
        check(self).boxed()
    }

    fn say(self: Arc<Self>, value: String) -> BoxFuture<'static, Outcome> {
        say(self, value).boxed()
    }

    fn reload(&self) -> BoxFuture<'_, Result<Input, String>> {
        async {
            let (_, fact) = self.terms.read(&self.client, &self.presence).await?;
            Ok(fact)
        }
        .boxed()
    }

    fn hold<'a>(
        &'a self,
        beats: &'a Beats,
        facts: &'a UnboundedSender<Input>,
    ) -> BoxFuture<'a, String> {
        async {
            let mut watching = match self.overrides {
                None => None,
                Some(revision) => match watch(&self.client, revision).await {
                    Ok(stream) => Some(stream),
                    Err(why) => return why,
                },
            };
            let mut hold = std::pin::pin!(self.lease.hold(&self.client, |left| beats.hear(left)));
            loop {
                tokio::select! {
                    // Safe to cancel: `message` hands out an item or nothing.
                    Some(said) = next(&mut watching) => {
                        if said.is_err() {
                            return "the watch on overrides broke".to_owned();
                        }
                        match overrides_of(&self.client).await {
                            // Nobody listens any more only when the agent stops.
                            Ok(found) => drop(found.map(|(fact, _)| facts.send(fact))),
                            Err(why) => return why,
                        }
                    }
                    // Safe to cancel: it is polled to its end, or dropped with the session.
                    ended = &mut hold => return match ended {
                        Ended::Lost => "the lease expired".to_owned(),
                        Ended::Broken(why) => why,
                    },
                }
            }
        }
        .boxed()
    }

    fn leave(&self, revoke: bool) -> BoxFuture<'_, Result<(), String>> {
        async move {
            if revoke {
                let revoked = self.lease.revoke(&self.client).await;
                return revoked.map_err(|error| error.to_string());
            }
            if let Some(revision) = self.present {
                self.presence.leave(&self.client, revision).await;
            }
            Ok(())
        }
        .boxed()
    }
}

/// What people said over the heads of all rules, and the revision it was read at; `None` when this user may not read it.
async fn overrides_of(client: &Client) -> Result<Option<(Input, i64)>, String> {
    let options = GetOptions::new().with_prefix();
    let mut kv = client.kv_client();
    let found = match timeout(CALL_TIMEOUT, kv.get(overrides::PREFIX, Some(options))).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) if failure::classify(&error) == Class::Forbidden => return Ok(None),
        Ok(Err(error)) => return Err(failure::describe(&error)),
        Err(_) => return Err(format!("no answer to a read within {CALL_TIMEOUT:?}")),
    };
    let entries = found
        .kvs()
        .iter()
        .filter_map(|kv| Some((kv.key_str().ok()?, kv.value())));
    let fact = Input::Overrides(Overrides::read(entries));
    let revision = found
        .header()
        .map_or(0, etcd_client::ResponseHeader::revision);
    Ok(Some((fact, revision)))
}

/// Changes of the overrides after `revision`.
async fn watch(client: &Client, revision: i64) -> Result<WatchStream, String> {
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(revision + 1);
    let mut watcher = client.watch_client();
    match timeout(
        CALL_TIMEOUT,
        watcher.watch(overrides::PREFIX, Some(options)),
    )
    .await
    {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failure::describe(&error)),
        Err(_) => Err(format!("no answer to a watch within {CALL_TIMEOUT:?}")),
    }
}

impl EtcdSession {
    /// Whether the last of the answers to a refused transaction says that another agent speaks for the node.
    fn is_replaced(&self, answers: &[TxnOpResponse]) -> bool {
        let Some(revision) = self.present else {
            return false;
        };
        let Some(TxnOpResponse::Get(found)) = answers.last() else {
            return false;
        };
        found
            .kvs()
            .first()
            .is_none_or(|kv| kv.mod_revision() != revision)
    }
}

/// The next change of the overrides, or never without a stream.
async fn next(watching: &mut Option<WatchStream>) -> Option<Result<(), ()>> {
    match watching {
        None => None,
        Some(stream) => Some(match stream.message().await {
            Ok(Some(answer)) if !answer.canceled() => Ok(()),
            _ => Err(()),
        }),
    }
}

async fn commit(session: Arc<EtcdSession>, token: Token, txn: Txn) -> Outcome {
    let lease = session.lease.id;
    let mut compares = Vec::with_capacity(txn.writes.len() + 1);
    let mut writes = Vec::with_capacity(txn.writes.len());
    let mut reads = Vec::with_capacity(txn.writes.len() + 1);
    for write in &txn.writes {
        let key = write.key.as_bytes();
        compares.push(Compare::mod_revision(key, CompareOp::Equal, write.guard));
        writes.push(match &write.value {
            Some(value) => {
                let options = PutOptions::new().with_lease(lease);
                TxnOp::put(key, value.as_bytes(), Some(options))
            }
            None => TxnOp::delete(key, None),
        });
        reads.push(TxnOp::get(key, None));
    }
    if let Some(revision) = session.present {
        compares.push(session.presence.guard(revision));
        reads.push(TxnOp::get(session.presence.key(), None));
    }
    let request = StoreTxn::new()
        .when(compares)
        .and_then(writes)
        .or_else(reads);
    let mut kv = session.client.kv_client();
    match timeout(CALL_TIMEOUT, kv.txn(request)).await {
        Ok(Ok(answer)) if answer.succeeded() => Outcome::Done(Input::Committed {
            token,
            revision: answer
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision),
        }),
        Ok(Ok(answer)) if session.is_replaced(&answer.op_responses()) => {
            Outcome::Over("another agent has taken over this node".to_owned())
        }
        Ok(Ok(answer)) => {
            let keys = txn.writes.into_iter().map(|write| write.key);
            let actual = keys
                .zip(answer.op_responses())
                .map(|(key, response)| (key, held(&response, lease)))
                .collect();
            Outcome::Done(Input::Conflicted { token, actual })
        }
        Ok(Err(error)) => {
            let why = failure::describe(&error);
            match failure::classify(&error) {
                Class::Unreachable | Class::LeaseGone => Outcome::Over(why),
                Class::Busy | Class::Forbidden | Class::Refused => {
                    Outcome::Done(Input::CommitFailed { token, why })
                }
            }
        }
        Err(_) => Outcome::Over(format!(
            "no answer to a transaction within {CALL_TIMEOUT:?}"
        )),
    }
}

/// Writes what the agent says about itself, for as long as it speaks for the node.
async fn say(session: Arc<EtcdSession>, value: String) -> Outcome {
    let guard = session
        .present
        .map(|revision| session.presence.guard(revision));
    let options = PutOptions::new().with_lease(session.lease.id);
    let request = StoreTxn::new()
        .when(guard.into_iter().collect::<Vec<_>>())
        .and_then([TxnOp::put(session.presence.said(), value, Some(options))]);
    let mut kv = session.client.kv_client();
    match timeout(CALL_TIMEOUT, kv.txn(request)).await {
        // A guard that does not hold is found by the next commit or look, which says so.
        Ok(Ok(_)) => Outcome::Said,
        Ok(Err(error)) => {
            let why = failure::describe(&error);
            match failure::classify(&error) {
                Class::Unreachable | Class::LeaseGone => Outcome::Over(why),
                // Said again with the next change.
                Class::Busy => Outcome::Said,
                Class::Forbidden | Class::Refused => Outcome::Unsaid(why),
            }
        }
        Err(_) => Outcome::Over(format!("no answer to a put within {CALL_TIMEOUT:?}")),
    }
}

async fn check(session: Arc<EtcdSession>) -> Outcome {
    let own = |key: &String| session.presence.is_own(key.as_bytes());
    let text = |key: Vec<u8>| String::from_utf8(key).ok().filter(|key| !own(key));
    let left = match &session.terms.left {
        Some(left) => left.keys(&session.client).await,
        None => Ok(Vec::new()),
    };
    let left = match left {
        Ok(left) => left,
        Err(why) => return Outcome::Over(why),
    };
    match session.lease.keys(&session.client).await {
        Ok(Some(keys)) => {
            let keys = keys.into_iter().filter_map(text);
            Outcome::Done(Input::OnLease(keys.chain(left).collect()))
        }
        Ok(None) => Outcome::Over("the lease expired".to_owned()),
        Err(error) => Outcome::Over(error.to_string()),
    }
}

/// Values of the keys on a lease, in key order. Keys that are no text are not ours and left alone.
async fn read_keys(
    client: &Client,
    lease: LeaseId,
    keys: &[Vec<u8>],
) -> Result<Vec<(String, Held)>, String> {
    let mut names: Vec<&str> = keys
        .iter()
        .filter_map(|key| std::str::from_utf8(key).ok())
        .collect();
    names.sort_unstable();
    let mut found = Vec::with_capacity(names.len());
    let mut kv = client.kv_client();
    for chunk in names.chunks(OPS_MAX) {
        let reads: Vec<TxnOp> = chunk.iter().map(|key| TxnOp::get(*key, None)).collect();
        let answer = match timeout(CALL_TIMEOUT, kv.txn(StoreTxn::new().and_then(reads))).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(failure::describe(&error)),
            Err(_) => return Err(format!("no answer to a read within {CALL_TIMEOUT:?}")),
        };
        for (key, response) in chunk.iter().zip(answer.op_responses()) {
            if let Some(held) = held(&response, lease) {
                found.push(((*key).to_owned(), held));
            }
        }
    }
    Ok(found)
}

fn held(response: &TxnOpResponse, lease: LeaseId) -> Option<Held> {
    let TxnOpResponse::Get(response) = response else {
        return None;
    };
    let kv = response.kvs().first()?;
    Some(Held {
        value: kv.value().to_vec(),
        mod_revision: kv.mod_revision(),
        leased: kv.lease() == lease,
    })
}
