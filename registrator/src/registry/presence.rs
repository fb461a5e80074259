//! Which process speaks for a node: a key on the agent's lease that names it. A restarted agent replaces the key of the
//! one before, a second agent finds the key of a living one and stands by, and every write is guarded by the key, so
//! that an agent that was replaced cannot write any more.
//!
//! Whether the other one lives is seen in the process table when both are of one machine and one process namespace, else
//! by whether anybody still keeps its lease alive.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};
use serde::{Deserialize, Serialize};
use store_client::failure::{self, Class};
use store_client::lease::LeaseId;
use tokio::time::{sleep, timeout};

use super::CALL_TIMEOUT;

/// Where the keys stand.
const PREFIX: &str = "/muster/agents/";
/// 300 ms between two looks at a lease: its time to live is counted in whole seconds.
const LOOK_PERIOD: Duration = Duration::from_millis(300);

/// A process, as others can tell whether it still runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Name of its machine, for people.
    host: String,
    /// Its number.
    pid: u32,
    /// The kernel's number for this boot of the machine.
    boot: String,
    /// Its process namespace: the same number means another process in another one.
    namespace: String,
    /// When it started, in the kernel's ticks since boot; a number that is used again has another time.
    ticks: u64,
    /// Tells two agents of one process apart.
    nonce: u64,
}

impl Identity {
    /// This process.
    #[must_use]
    pub(crate) fn own(nonce: u64) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let pid = std::process::id();
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: read("/proc/sys/kernel/hostname").trim().to_owned(),
            pid,
            boot: read("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            namespace: namespace.display().to_string(),
            ticks: started_at(pid).unwrap_or(0),
            nonce,
        }
    }

    /// Whether it has ended, as far as this process can see; `None` when it cannot.
    fn has_ended(&self, own: &Self) -> Option<bool> {
        let visible =
            !self.boot.is_empty() && self.boot == own.boot && self.namespace == own.namespace;
        // A process has one agent for one node, so an earlier one of this process is gone.
        visible.then(|| self.pid == own.pid || started_at(self.pid) != Some(self.ticks))
    }
}

/// When a process started: field 22 of its `stat` (proc(5)), counted behind the name, which may hold blanks.
fn started_at(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let state = rest.split_whitespace().next()?;
    // A zombie has ended; only its parent has not noticed.
    (state != "Z" && state != "X").then_some(())?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// The way to the key of one node.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    key: String,
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
            own: Identity::own(nonce),
            takeover,
        }
    }

    /// The key.
    #[must_use]
    pub(crate) fn key(&self) -> &str {
        &self.key
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

    /// Takes the key away, so that the next agent need not find out whether this one lives.
    pub(crate) async fn leave(&self, client: &Client, revision: i64) {
        let request = Txn::new()
            .when([self.guard(revision)])
            .and_then([TxnOp::delete(self.key.as_str(), None)]);
        // Without it the next agent looks for this process, which costs it some seconds at most.
        let _ = timeout(CALL_TIMEOUT, client.kv_client().txn(request)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_ended() {
        let own = Identity::own(1);
        assert!(
            own.ticks > 0 && !own.boot.is_empty() && !own.namespace.is_empty(),
            "{own:?}"
        );
        let mut other = own.clone();
        other.nonce = 2;
        assert_eq!(
            other.has_ended(&own),
            Some(true),
            "an earlier agent of this process"
        );
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        other.pid = child.id();
        other.ticks = started_at(other.pid).unwrap();
        assert_eq!(other.has_ended(&own), Some(false));
        let mut reused = other.clone();
        reused.ticks += 1;
        assert_eq!(
            reused.has_ended(&own),
            Some(true),
            "the number belongs to another process"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(other.has_ended(&own), Some(true));
        other.boot = "another".into();
        assert_eq!(other.has_ended(&own), None);
    }
}
