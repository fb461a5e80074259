//! The shell around the store: a session is a connection with the agent's lease on it. Inside one,
//! transactions run with deadlines and the lease is kept alive; when anything breaks, the agent is
//! told, and the next session starts from what the lease really holds. Decides nothing.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn as StoreTxn, TxnOp, TxnOpResponse};
use store_client::backoff::Backoff;
use store_client::connect::{Connection, Connector};
use store_client::failure::{self, Class};
use store_client::lease::{Ended, Lease, LeaseId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::agent::{Input, Token};
use crate::docker::rand_seed;
use crate::plan::{Held, OPS_MAX, Txn};

/// 5 s: a store with a leader commits within milliseconds; etcd itself gives up after 7 s.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
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
    facts: UnboundedSender<Input>,
    orders: UnboundedReceiver<Order>,
    /// How many [`Input::Leased`] were sent.
    told: u64,
    /// The last session, for a farewell.
    last: Option<(Client, Lease)>,
}

impl Registry {
    /// A registry that takes `orders` and tells `facts`.
    #[must_use]
    pub(crate) fn new(
        connector: Connector,
        lease: LeaseId,
        ttl_seconds: i64,
        facts: UnboundedSender<Input>,
        orders: UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            connector,
            lease,
            ttl_seconds,
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
            let why = match self.connector.connect().await {
                Ok(connection) => {
                    let why = self.session(&connection, &mut backoff).await;
                    self.connector.failed();
                    why
                }
                Err(error) => error.to_string(),
            };
            self.tell(Input::StoreAway { why });
            tokio::time::sleep(backoff.delay()).await;
        }
    }

    /// Revokes the lease, if a session was ever had: all keys go at once.
    ///
    /// # Errors
    /// What the store said.
    pub(crate) async fn revoke(&self) -> Result<(), store_client::lease::LeaseError> {
        match &self.last {
            Some((client, lease)) => lease.revoke(client).await,
            None => Ok(()),
        }
    }

    /// One session; returns why it ended.
    async fn session(&mut self, connection: &Connection, backoff: &mut Backoff) -> String {
        let client = &connection.client;
        let (lease, first) = match self.begin(client).await {
            Ok((lease, fact)) => (lease, fact),
            Err(why) => return why,
        };
        self.last = Some((client.clone(), lease));
        backoff.reset();
        let began = self.tell_leased(first);
        let mut hold = std::pin::pin!(lease.hold(client, |_| {}));
        let mut tasks: JoinSet<Outcome> = JoinSet::new();
        loop {
            tokio::select! {
                // Safe to cancel: `recv` and `join_next` hand out an item or nothing.
                Some(order) = self.orders.recv() => {
                    if order.seen < began {
                        continue;
                    }
                    match order.task {
                        Task::Commit(token, txn) => {
                            tasks.spawn(commit(client.clone(), lease.id, token, txn));
                        }
                        Task::Check => {
                            tasks.spawn(check(client.clone(), lease));
                        }
                        Task::Reload => match self.begin(client).await {
                            Ok((_, fact)) => {
                                self.tell_leased(fact);
                            }
                            Err(why) => return why,
                        },
                    }
                }
                Some(done) = tasks.join_next() => match done {
                    Ok(Outcome::Done(fact)) => self.tell(fact),
                    Ok(Outcome::Over(why)) => return why,
                    Err(error) => return error.to_string(),
                },
                // Safe to cancel: it is polled to its end, or dropped with the session.
                ended = &mut hold => return match ended {
                    Ended::Lost => "the lease expired".to_owned(),
                    Ended::Broken(why) => why,
                },
            }
        }
    }

    /// Takes the lease and reads everything on it.
    async fn begin(&self, client: &Client) -> Result<(Lease, Input), String> {
        let taken = Lease::take(client, self.lease, self.ttl_seconds)
            .await
            .map_err(|error| error.to_string())?;
        let held = read_keys(client, self.lease, &taken.keys).await?;
        let fact = Input::Leased {
            lease: taken.lease.id,
            adopted: taken.adopted,
            held,
        };
        Ok((taken.lease, fact))
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

/// How a transaction ended.
enum Outcome {
    /// The agent is told.
    Done(Input),
    /// So badly that the session is over.
    Over(String),
}

async fn commit(client: Client, lease: LeaseId, token: Token, txn: Txn) -> Outcome {
    let mut compares = Vec::with_capacity(txn.writes.len());
    let mut writes = Vec::with_capacity(txn.writes.len());
    let mut reads = Vec::with_capacity(txn.writes.len());
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
    let request = StoreTxn::new()
        .when(compares)
        .and_then(writes)
        .or_else(reads);
    let mut kv = client.kv_client();
    match timeout(COMMIT_TIMEOUT, kv.txn(request)).await {
        Ok(Ok(answer)) if answer.succeeded() => Outcome::Done(Input::Committed {
            token,
            revision: answer
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision),
        }),
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
            "no answer to a transaction within {COMMIT_TIMEOUT:?}"
        )),
    }
}

async fn check(client: Client, lease: Lease) -> Outcome {
    let text = |key: Vec<u8>| String::from_utf8(key).ok();
    match lease.keys(&client).await {
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
        let answer = match timeout(COMMIT_TIMEOUT, kv.txn(StoreTxn::new().and_then(reads))).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(failure::describe(&error)),
            Err(_) => return Err(format!("no answer to a read within {COMMIT_TIMEOUT:?}")),
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
