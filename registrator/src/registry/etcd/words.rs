//! What people say, in etcd and our own store: keys, which hang on a lease of their own where they end by themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{Client, GetOptions, PutOptions};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use registrator_catalog::overrides::{self, Override};

use crate::registry::words::Words;

/// Over this connection.
pub(super) struct EtcdWords(pub(super) Client);

impl EtcdWords {
    async fn prefix(&self, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let options = GetOptions::new().with_prefix();
        let answer = self.0.kv_client().get(prefix, Some(options)).await;
        let answer = answer.map_err(|error| format!("read {prefix}: {error}"))?;
        let text =
            |kv: &etcd_client::KeyValue| Some((kv.key_str().ok()?.to_owned(), kv.value().to_vec()));
        Ok(answer.kvs().iter().filter_map(text).collect())
    }

    async fn put(&self, key: &str, over: &Override, lasts: Option<Duration>) -> Result<(), String> {
        let mut options = PutOptions::new();
        if let Some(lasts) = lasts {
            let seconds = i64::try_from(lasts.as_secs().max(1)).unwrap_or(i64::MAX);
            let lease = self.0.lease_client().grant(seconds, None).await;
            let lease = lease.map_err(|error| format!("grant lease: {error}"))?;
            options = options.with_lease(lease.id());
        }
        let over = Override {
            until: None,
            ..over.clone()
        };
        let mut kv = self.0.kv_client();
        let put = kv.put(key, over.to_json(), Some(options)).await;
        put.map(drop)
            .map_err(|error| format!("write {key}: {error}"))
    }
}

impl Words for EtcdWords {
    fn read(&self) -> BoxFuture<'_, Result<BTreeMap<String, Vec<u8>>, String>> {
        self.prefix(overrides::PREFIX).boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a str,
        over: &'a Override,
        lasts: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.put(key, over, lasts).boxed()
    }

    fn erase<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let deleted = self.0.kv_client().delete(key, None).await;
            deleted
                .map(drop)
                .map_err(|error| format!("delete {key}: {error}"))
        }
        .boxed()
    }

    fn below<'a>(
        &'a self,
        root: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, String>> {
        self.prefix(root).boxed()
    }

    /// Never: the agent's session watches by itself.
    fn change(&self) -> BoxFuture<'_, Result<(), String>> {
        std::future::pending().boxed()
    }
}
