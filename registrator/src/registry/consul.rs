//! The registry in Consul. `consul/services.rs` keeps services with the agent of this host, `consul/kv.rs` keys on a
//! session; `consul/api.rs` is the HTTP API both speak.

mod api;
mod kv;
mod services;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use futures::future::BoxFuture;
use store_transport::dial::Target;

pub(crate) use kv::ConsulKv;
pub(crate) use services::ConsulServices;

/// How to reach Consul.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Where its HTTP API is.
    pub target: Target,
    /// Token of its access control, if it asks for one.
    pub token: Option<String>,
    /// Certificates that may have signed its own (PEM); `None`: those the system trusts.
    pub authorities: Option<PathBuf>,
    /// Our certificate and its key (PEM), if it asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl std::fmt::Debug for Options {
    /// Never prints the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("target", &self.target)
            .field("token", &self.token.is_some())
            .field("authorities", &self.authorities)
            .field("identity", &self.identity)
            .finish()
    }
}

/// Three signs of life before the time is over: one may be lost and one late.
const SIGNS_OF_LIFE: u32 = 3;
/// 1 s between two tries of a sign of life that had no answer.
const RETRY: Duration = Duration::from_secs(1);

/// Gives signs of life until one is refused, or none was heard for `ttl`; returns why it is over.
async fn stay_alive<'a>(
    ttl: Duration,
    mut heard: impl FnMut(Duration) + Send,
    mut sign: impl FnMut() -> BoxFuture<'a, Result<(), Refusal>> + Send,
) -> String {
    let mut last = tokio::time::Instant::now();
    loop {
        let begun = tokio::time::Instant::now();
        match sign().await {
            Ok(()) => {
                last = begun;
                heard(ttl);
                tokio::time::sleep(ttl / SIGNS_OF_LIFE).await;
            }
            Err(Refusal::Over(why)) => return why,
            Err(Refusal::Unheard(why)) if last.elapsed() >= ttl => return why,
            Err(Refusal::Unheard(_)) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// Why a sign of life was not taken.
enum Refusal {
    /// What was to live is gone.
    Over(String),
    /// Nobody answered.
    Unheard(String),
}
