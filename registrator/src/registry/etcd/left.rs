//! What gliderlabs registrator left in an etcd: keys below the agent's own prefixes with the ids it gave on this host, on
//! no lease. One that hangs on a lease is a living writer's, or goes by itself, and is never touched.

use std::sync::atomic::{AtomicBool, Ordering};

use etcd_client::{Client, GetOptions};
use store_client::failure::{self, Class};
use tokio::time::timeout;

use super::CALL_TIMEOUT;
use crate::plan::Held;
use crate::registry::Upstreams;

/// Which keys those are.
#[derive(Debug)]
pub(super) struct Left {
    by: Upstreams,
    /// What keys of the layout that upstream has begin with.
    roots: Vec<String>,
    /// Whether there were any with the last look: when there were none, nobody makes new ones.
    found: AtomicBool,
}

impl Left {
    /// Keys below `roots` that `by` gave.
    pub(super) fn new(by: Upstreams, roots: Vec<String>) -> Self {
        Self {
            by,
            roots,
            found: AtomicBool::new(true),
        }
    }

    /// Those that are there, as if they were the agent's own.
    pub(super) async fn held(&self, client: &Client) -> Result<Vec<(String, Held)>, String> {
        let mut held = Vec::new();
        for root in &self.roots {
            let options = GetOptions::new().with_prefix();
            let mut kv = client.kv_client();
            let answer = match timeout(CALL_TIMEOUT, kv.get(root.as_str(), Some(options))).await {
                Ok(Ok(answer)) => answer,
                // What may not be read may not be taken away either.
                Ok(Err(error)) if failure::classify(&error) == Class::Forbidden => continue,
                Ok(Err(error)) => return Err(failure::describe(&error)),
                Err(_) => return Err(format!("no answer to a read within {CALL_TIMEOUT:?}")),
            };
            let loose = answer.kvs().iter().filter(|kv| kv.lease() == 0);
            held.extend(loose.filter_map(|kv| {
                let key = kv.key_str().ok()?;
                let by_it = self.by.wrote_key(&self.roots, key, kv.value());
                by_it.then(|| (key.to_owned(), Upstreams::held(kv.mod_revision())))
            }));
        }
        self.found.store(!held.is_empty(), Ordering::Relaxed);
        Ok(held)
    }

    /// Their keys, without a look where there were none.
    pub(super) async fn keys(&self, client: &Client) -> Result<Vec<String>, String> {
        if !self.found.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let held = self.held(client).await?;
        Ok(held.into_iter().map(|(key, _)| key).collect())
    }
}
