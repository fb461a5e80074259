//! The shell around the store: a session is a connection with the agent's lease on it. Inside one,
//! transactions run with deadlines and the lease is kept alive; when anything breaks, the agent is
//! told, and the next session starts from what the lease really holds. Decides nothing.
//! `registry/presence.rs` sees to it that one agent at a time speaks for a node.

mod presence;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, GetOptions, PutOptions, Txn as StoreTxn, TxnOp, TxnOpResponse,
    WatchOptions, WatchStream,
};
use registrator_catalog::overrides::{self, Overrides};
use store_client::backoff::Backoff;
use store_client::connect::{Connection, Connector};
use store_client::failure::{self, Class};
use store_client::lease::{Ended, Lease, LeaseId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::agent::{Input, Token};
use crate::docker::rand_seed;
use crate::plan::{Held, OPS_MAX, Txn};
pub(crate) use presence::Presence;
use presence::Refused;

/// 5 s: a store with a leader answers within milliseconds; etcd itself gives up after 7 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// 100 ms, 2 s: a store that restarts is back within seconds, and what changed meanwhile waits for it.
const RETRY_FLOOR: Duration = Duration::from_millis(100);
const RETRY_CEILING: Duration = Duration::from_secs(2);

/// Something to do in the session it was ordered in.
#[derive(Debug)]
pub(crate) struct Order {
    /// How many [`Input::Leased`] the agent had seen: an order from before the session's first was
    /// made for another session, and its outcome is nobody's any more.
    pub(crate) seen: u64,
    /// What to do.
    pub(crate) task: Task,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Task {
    /// Commit a transaction.
    Commit(Token, Txn),
    /// List the lease's keys.
    Check,
    /// Read the lease's keys with their values again.
    Reload,
}

/// Keeps sessions with the store, one after the other.
pub(crate) struct Registry {
    connector: Connector,
    lease: LeaseId,
    ttl_seconds: i64,
    presence: Presence,
    beats: Beats,
    facts: UnboundedSender<Input>,
    orders: UnboundedReceiver<Order>,
    /// How many [`Input::Leased`] were sent.
    told: u64,
    /// The last session, for a farewell.
    last: Option<Session>,
}

/// Until when the store keeps the lease without hearing from us. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beats(Arc<Mutex<Option<Instant>>>);

impl Beats {
    /// Time left; `None` without a lease.
    pub(crate) fn left(&self) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// What a session is made of.
#[derive(Clone)]
struct Session {
    client: Client,
    lease: Lease,
    presence: Presence,
    /// Revision of the presence's key; `None` without a guard.
    present: Option<i64>,
}

/// Why a session ended.
struct Over {
    why: String,
    /// Time before the next try makes sense.
    wait: Duration,
}

impl From<String> for Over {
    fn from(why: String) -> Self {
        Self {
            why,
            wait: Duration::ZERO,
        }
    }
}

impl Registry {
    /// A registry that takes `orders` and tells `facts`.
    #[must_use]
    pub(crate) fn new(
        connector: Connector,
        (lease, ttl_seconds): (LeaseId, i64),
        presence: Presence,
        beats: Beats,
        facts: UnboundedSender<Input>,
        orders: UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            connector,
            lease,
            ttl_seconds,
            presence,
            beats,
            facts,
            orders,
            told: 0,
            last: None,
        }
    }

    /// Runs sessions for ever. Safe to cancel at any time: what was under way may or may not have
    /// happened, which the next session finds out.
    pub(crate) async fn run(&mut self) {
        let mut backoff = Backoff::new(RETRY_FLOOR, RETRY_CEILING, rand_seed());
        loop {
            let over = match self.connector.connect().await {
                Ok(connection) => {
                    let over = self.session(&connection, &mut backoff).await;
                    self.connector.failed();
                    over
                }
                Err(error) => Over::from(error.to_string()),
            };
            self.last = None;
            self.beats.set(None);
            self.tell(Input::StoreAway { why: over.why });
            tokio::time::sleep(backoff.delay().max(over.wait)).await;
        }
    }

    /// Says good-bye when a session is had. With `revoke` all keys go at once; without, they stay for their time to
    /// live, and the next agent finds that this one is gone.
    ///
    /// # Errors
    /// What the store said.
    pub(crate) async fn leave(&self, revoke: bool) -> Result<(), store_client::lease::LeaseError> {
        let Some(session) = &self.last else {
            return Ok(());
        };
        if revoke {
            return session.lease.revoke(&session.client).await;
        }
        if let Some(revision) = session.present {
            session.presence.leave(&session.client, revision).await;
        }
        Ok(())
    }

    /// One session; returns why it ended.
    async fn session(&mut self, connection: &Connection, backoff: &mut Backoff) -> Over {
        let (session, first) = match self.begin(&connection.client).await {
            Ok(begun) => begun,
            Err(over) => return over,
        };
        self.last = Some(session.clone());
        let mut watching = match self.overrides(&session.client, true).await {
            Ok(stream) => stream,
            Err(why) => return why.into(),
        };
        backoff.reset();
        let began = self.tell_leased(first);
        let beats = self.beats.clone();
        let mut hold = std::pin::pin!(session.lease.hold(&session.client, |left| {
            beats.set(Some(Instant::now() + left));
        }));
        let mut tasks: JoinSet<Outcome> = JoinSet::new();
        loop {
            tokio::select! {
                // Safe to cancel: `recv`, `join_next` and `message` hand out an item or nothing.
                Some(order) = self.orders.recv() => {
                    if order.seen < began {
                        continue;
                    }
                    match order.task {
                        Task::Commit(token, txn) => {
                            tasks.spawn(commit(session.clone(), token, txn));
                        }
                        Task::Check => {
                            tasks.spawn(check(session.clone()));
                        }
                        Task::Reload => match self.read_lease(&session.client).await {
                            Ok((_, fact)) => {
                                self.tell_leased(fact);
                            }
                            Err(why) => return why.into(),
                        },
                    }
                }
                Some(done) = tasks.join_next() => match done {
                    Ok(Outcome::Done(fact)) => self.tell(fact),
                    Ok(Outcome::Over(why)) => return why.into(),
                    Err(error) => return error.to_string().into(),
                },
                Some(said) = next(&mut watching) => {
                    if said.is_err() {
                        return "the watch on overrides broke".to_owned().into();
                    }
                    if let Err(why) = self.overrides(&session.client, false).await {
                        return why.into();
                    }
                }
                // Safe to cancel: it is polled to its end, or dropped with the session.
                ended = &mut hold => return match ended {
                    Ended::Lost => "the lease expired".to_owned().into(),
                    Ended::Broken(why) => why.into(),
                },
            }
        }
    }

    /// Takes the lease, speaks for the node, and reads everything on the lease.
    async fn begin(&mut self, client: &Client) -> Result<(Session, Input), Over> {
        // The lease first: the key that speaks for the node hangs on it. Nothing is kept alive before that key is ours.
        let (lease, _) = self.take(client).await?;
        let present = match self.presence.claim(client, lease.id).await {
            Ok(present) => present,
            Err(Refused::Failed(why)) => return Err(why.into()),
            Err(Refused::Taken(why)) => {
                let wait = lease.ttl / 3;
                return Err(Over { why, wait });
            }
        };
        // While it was waited for, the lease may have ended, and the other agent may have written until now.
        let (lease, fact) = self.read_lease(client).await?;
        let session = Session {
            client: client.clone(),
            lease,
            presence: self.presence.clone(),
            present,
        };
        Ok((session, fact))
    }

    async fn take(&self, client: &Client) -> Result<(Lease, (bool, Vec<Vec<u8>>)), String> {
        let taken = Lease::take(client, self.lease, self.ttl_seconds)
            .await
            .map_err(|error| error.to_string())?;
        let own = self.presence.key().as_bytes();
        let mut keys = taken.keys;
        keys.retain(|key| key != own);
        Ok((taken.lease, (taken.adopted, keys)))
    }

    async fn read_lease(&self, client: &Client) -> Result<(Lease, Input), String> {
        let (lease, (adopted, keys)) = self.take(client).await?;
        let held = read_keys(client, self.lease, &keys).await?;
        let fact = Input::Leased {
            lease: lease.id,
            adopted,
            held,
        };
        Ok((lease, fact))
    }

    /// Reads what people said over the heads of all rules and tells it; with `watch` returns a stream of changes, if
    /// this user may read them.
    async fn overrides(&self, client: &Client, watch: bool) -> Result<Option<WatchStream>, String> {
        let prefix = overrides::PREFIX;
        let options = GetOptions::new().with_prefix();
        let mut kv = client.kv_client();
        let found = match timeout(CALL_TIMEOUT, kv.get(prefix, Some(options))).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) if failure::classify(&error) == Class::Forbidden => return Ok(None),
            Ok(Err(error)) => return Err(failure::describe(&error)),
            Err(_) => return Err(format!("no answer to a read within {CALL_TIMEOUT:?}")),
        };
        let entries = found
            .kvs()
            .iter()
            .filter_map(|kv| Some((kv.key_str().ok()?, kv.value())));
        self.tell(Input::Overrides(Overrides::read(entries)));
        if !watch {
            return Ok(None);
        }
        let revision = found
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(revision + 1);
        let mut watcher = client.watch_client();
        match timeout(CALL_TIMEOUT, watcher.watch(prefix, Some(options))).await {
            Ok(Ok(stream)) => Ok(Some(stream)),
            Ok(Err(error)) => Err(failure::describe(&error)),
            Err(_) => Err(format!("no answer to a watch within {CALL_TIMEOUT:?}")),
        }
    }

    fn tell_leased(&mut self, fact: Input) -> u64 {
        self.told += 1;
        self.tell(fact);
        self.told
    }

    fn tell(&self, fact: Input) {
        // Nobody listens any more only when the agent stops.
        let _ = self.facts.send(fact);
    }
}

impl Session {
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

/// How a transaction ended.
enum Outcome {
    /// The agent is told.
    Done(Input),
    /// So badly that the session is over.
    Over(String),
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

async fn commit(session: Session, token: Token, txn: Txn) -> Outcome {
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

async fn check(session: Session) -> Outcome {
    let own = session.presence.key();
    let text = |key: Vec<u8>| String::from_utf8(key).ok().filter(|key| key != own);
    match session.lease.keys(&session.client).await {
        Ok(Some(keys)) => {
            Outcome::Done(Input::OnLease(keys.into_iter().filter_map(text).collect()))
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
