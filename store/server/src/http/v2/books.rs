//! What `/v2/stats/store` tells.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::{Map, Value};

/// Kinds of requests, by the names etcd counts them under.
const KINDS: [&str; 7] = [
    "gets",
    "sets",
    "delete",
    "update",
    "create",
    "compareAndSwap",
    "compareAndDelete",
];

/// Requests this process has answered since it started.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Done and refused, for each kind.
    kinds: [[AtomicU64; 2]; KINDS.len()],
    pub(super) watchers: AtomicU64,
}

impl Books {
    /// Counts one request by its action: `set`, `get`, ….
    pub(super) fn count(&self, action: &str, done: bool) {
        let kind = KINDS.iter().position(|kind| {
            *kind == action || kind.strip_suffix('s').is_some_and(|kind| kind == action)
        });
        if let Some(kind) = kind {
            self.kinds[kind][usize::from(!done)].fetch_add(1, Relaxed);
        }
    }

    /// As etcd prints it.
    pub(super) fn json(&self, expired: u64) -> Value {
        let mut map = Map::new();
        for (name, [done, failed]) in KINDS.iter().zip(&self.kinds) {
            map.insert(format!("{name}Success"), done.load(Relaxed).into());
            map.insert(format!("{name}Fail"), failed.load(Relaxed).into());
        }
        map.insert("expireCount".into(), expired.into());
        map.insert("watchers".into(), self.watchers.load(Relaxed).into());
        Value::Object(map)
    }
}
