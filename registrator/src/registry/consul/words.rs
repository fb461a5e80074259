//! What people say, in Consul's key-value store: keys of no session, with the time at which they end in their value.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::StatusCode;
use registrator_catalog::overrides::{self, Override};

use super::api::{Api, quoted};
use super::kv::{Found, key_of};
use super::{Options, services};
use crate::registry::words::{Words, ending};

/// 300 s, Consul's own default for how long a question may wait for a change.
const WAIT_SECONDS: u64 = 300;

/// Over this way to Consul.
pub(super) struct ConsulWords {
    api: Api,
    /// Whether registrations are services with Consul's agent rather than keys.
    services: bool,
    /// How far the last read was: Consul's index (its API's "Blocking Queries").
    index: AtomicU64,
}

impl ConsulWords {
    /// Those of the Consul that `options` name.
    pub(super) fn new(options: &Options, services: bool) -> Result<Self, String> {
        Ok(Self {
            api: Api::new(options)?,
            services,
            index: AtomicU64::new(0),
        })
    }

    async fn list(&self, prefix: &str) -> Result<(BTreeMap<String, Vec<u8>>, u64), String> {
        let path = format!("/v1/kv/{}?recurse", quoted(key_of(prefix)));
        let answer = self.api.get(&path).await?;
        let index = answer.index;
        // What may not be read says nothing.
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) {
            return Ok((BTreeMap::new(), index));
        }
        let found: Vec<Found> = answer.good(&path)?.json(&path)?;
        let slash = if prefix.starts_with('/') { "/" } else { "" };
        let found = found.into_iter();
        let entry = |found: Found| (format!("{slash}{}", found.key), found.value());
        Ok((found.map(entry).collect(), index))
    }
}

impl Words for ConsulWords {
    fn read(&self) -> BoxFuture<'_, Result<BTreeMap<String, Vec<u8>>, String>> {
        async {
            let (found, index) = self.list(overrides::PREFIX).await?;
            self.index.store(index, Ordering::Relaxed);
            Ok(found)
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a str,
        over: &'a Override,
        lasts: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let path = format!("/v1/kv/{}", quoted(key_of(key)));
            let value = ending(over, lasts).to_json();
            self.api.put(&path, value).await?.good(&path).map(drop)
        }
        .boxed()
    }

    fn erase<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let path = format!("/v1/kv/{}", quoted(key_of(key)));
            self.api.delete(&path).await?.good(&path).map(drop)
        }
        .boxed()
    }

    fn below<'a>(
        &'a self,
        root: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, String>> {
        async move {
            if self.services {
                return services::all(&self.api).await;
            }
            Ok(self.list(root).await?.0)
        }
        .boxed()
    }

    fn change(&self) -> BoxFuture<'_, Result<(), String>> {
        async {
            let index = self.index.load(Ordering::Relaxed).max(1);
            let prefix = quoted(key_of(overrides::PREFIX));
            let path = format!("/v1/kv/{prefix}?recurse&index={index}&wait={WAIT_SECONDS}s");
            // Consul adds up to a sixteenth, so that not all who wait come back at once.
            let limit = Duration::from_secs(WAIT_SECONDS + WAIT_SECONDS / 16 + 10);
            let answer = self.api.wait(&path, limit).await?;
            match answer.status {
                StatusCode::NOT_FOUND => Ok(()),
                _ => answer.good(&path).map(drop),
            }
        }
        .boxed()
    }
}
