//! Which process speaks for a node: a key on the agent's lease that names it. A restarted agent replaces the key of the
//! one before, a second agent finds the key of a living one and stands by, and every write is guarded by the key, so
//! that an agent that was replaced cannot write any more.
//!
//! Whether the other one lives is seen in the process table when both are of one machine and one process namespace, else
//! by whether anybody still keeps its lease alive.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};
use registrator_catalog::agent;
use store_client::failure::{self, Class};
use store_client::lease::LeaseId;
use tokio::time::{sleep, timeout};

use super::CALL_TIMEOUT;
use crate::registry::identity::{Identity, PREFIX};

/// 300 ms between two looks at a lease: its time to live is counted in whole seconds.
const LOOK_PERIOD: Duration = Duration::from_millis(300);

/// The way to the key of one node.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    key: String,
    /// Where the agent says how it is doing.
    said: String,
    own: Identity,
    /// Whether a living agent is replaced, once.
    takeover: bool,
}

/// Why the node could not be spoken for.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Another agent does.
    Taken(String),
    /// The store did not answer, or not as it should.
    Failed(String),
}

impl Presence {
    /// The presence of this process for `node_id`.
    #[must_use]
    pub(crate) fn new(node_id: &str, nonce: u64, takeover: bool) -> Self {
        Self {
            key: format!("{PREFIX}{node_id}"),
            said: agent::registrator_key(node_id),
            own: Identity::own(nonce),
            takeover,
        }
    }

    /// The key.
    #[must_use]
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The key of what the agent says about itself.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// Whether a key on the lease is no registration.
    pub(crate) fn is_own(&self, key: &[u8]) -> bool {
        key == self.key.as_bytes() || key == self.said.as_bytes()
    }

    /// Puts the key on `lease`; returns the revision to guard writes with, or `None` when the store lets this user
    /// write no such key, and there is no guard.
    pub(crate) async fn claim(
        &mut self,
        client: &Client,
        lease: LeaseId,
    ) -> Result<Option<i64>, Refused> {
        loop {
            let mut kv = client.kv_client();
            let answer = match timeout(CALL_TIMEOUT, kv.get(self.key.as_str(), None)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) if failure::classify(&error) == Class::Forbidden => return Ok(None),
                Ok(Err(error)) => return Err(Refused::Failed(failure::describe(&error))),
                Err(_) => return Err(Refused::Failed("no answer to a read".to_owned())),
            };
            let guard = match answer.kvs().first() {
                None => 0,
                Some(kv) => {
                    let other: Option<Identity> = serde_json::from_slice(kv.value()).ok();
                    let ours = kv.lease() == lease && other.as_ref() == Some(&self.own);
                    if ours {
                        return Ok(Some(kv.mod_revision()));
                    }
                    if let Some(other) = other.filter(|other| *other != self.own) {
                        self.await_end(client, &other, kv.lease()).await?;
                    }
                    kv.mod_revision()
                }
            };
            if let Some(revision) = self.put(client, lease, guard).await? {
                return Ok(Some(revision));
            }
        }
    }

    /// Returns once the other agent is known to have ended.
    async fn await_end(
        &mut self,
        client: &Client,
        other: &Identity,
        lease: LeaseId,
    ) -> Result<(), Refused> {
        if std::mem::take(&mut self.takeover) {
            tracing::warn!("taking over from process {} on {}", other.pid, other.host);
            return Ok(());
        }
        let taken = || {
            let node = self.key.trim_start_matches(PREFIX);
            Err(Refused::Taken(format!(
                "another agent speaks for node {node}: process {} on {}",
                other.pid, other.host
            )))
        };
        match other.has_ended(&self.own) {
            Some(true) => return Ok(()),
            Some(false) => return taken(),
            None => {}
        }
        let mut lowest = i64::MAX;
        loop {
            let mut leases = client.lease_client();
            let found = match timeout(CALL_TIMEOUT, leases.time_to_live(lease, None)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => return Err(Refused::Failed(failure::describe(&error))),
                Err(_) => return Err(Refused::Failed("no answer about a lease".to_owned())),
            };
            // A living agent renews its lease when a third of it is over.
            if found.ttl() <= 0 || found.ttl() < found.granted_ttl() / 2 {
                return Ok(());
            }
            if found.ttl() > lowest {
                return taken();
            }
            lowest = found.ttl();
            sleep(LOOK_PERIOD).await;
        }
    }

    /// Writes the key if nobody has since `guard`; returns its revision, or `None` when somebody has.
    async fn put(
        &self,
        client: &Client,
        lease: LeaseId,
        guard: i64,
    ) -> Result<Option<i64>, Refused> {
        // A struct of texts and numbers always has a JSON form.
        let value = serde_json::to_string(&self.own).unwrap_or_default();
        let options = PutOptions::new().with_lease(lease);
        let request = Txn::new().when([self.guard(guard)]).and_then([TxnOp::put(
            self.key.as_str(),
            value,
            Some(options),
        )]);
        match timeout(CALL_TIMEOUT, client.kv_client().txn(request)).await {
            Ok(Ok(answer)) => Ok(answer.succeeded().then(|| {
                answer
                    .header()
                    .map_or(0, etcd_client::ResponseHeader::revision)
            })),
            Ok(Err(error)) => Err(Refused::Failed(failure::describe(&error))),
            Err(_) => Err(Refused::Failed("no answer to a transaction".to_owned())),
        }
    }

    /// What has to hold for a write of this process.
    pub(crate) fn guard(&self, revision: i64) -> Compare {
        Compare::mod_revision(self.key.as_str(), CompareOp::Equal, revision)
    }

    /// Takes the key away, so that the next agent need not find out whether this one lives, and what it said about itself.
    pub(crate) async fn leave(&self, client: &Client, revision: i64) {
        let request = Txn::new().when([self.guard(revision)]).and_then([
            TxnOp::delete(self.key.as_str(), None),
            TxnOp::delete(self.said.as_str(), None),
        ]);
        // Without it the next agent looks for this process, which costs it some seconds at most.
        let _ = timeout(CALL_TIMEOUT, client.kv_client().txn(request)).await;
    }
}
