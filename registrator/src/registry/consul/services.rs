//! Services with the Consul agent of this host. Each one of ours says so in its meta data, which is how the next process
//! finds what an earlier one left, and has a check beside those that were asked for: a time to live that only signs of
//! life keep from running out. When they end, Consul calls the instance critical, and removes it later.
//!
//! Consul's agent has no revisions and no transactions. A guard here says whose the service is, and several services
//! are written one after the other; what was refused in between is found by the next look.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::api::{Api, quoted};
use super::words::ConsulWords;
use super::{Options, Refusal, stay_alive};
use crate::agent::{Input, Token};
use crate::plan::{Held, Txn, Write};
use crate::registry::backend::{Backend, Opened, Outcome, Over, Session};
use crate::registry::words::{self, listening};
use crate::registry::{Beats, Upstreams, Words};

/// Meta data that names the agent a service belongs to.
const OWNER: &str = "muster-agent";
/// Meta data with a hash of the registration, which Consul does not tell in full.
const HASH: &str = "muster-hash";
/// What the check that needs signs of life is called, before the service's id.
const CHECK: &str = "muster:";
/// 1 min: the least Consul takes before it removes a service that is critical.
const REMOVE_AFTER: &str = "1m";

/// A guard's number for a service that is ours, and for one that is not.
const OURS: i64 = 1;
const FOREIGN: i64 = 2;

/// The way to a Consul agent.
pub(crate) struct ConsulServices {
    options: Options,
    owner: Arc<str>,
    ttl: Duration,
    known: Known,
    /// What gliderlabs registrator left, where that is to go.
    upstreams: Option<Upstreams>,
}

/// Registrations as they were last written, by id: what Consul does not tell. Sessions of one process share them.
type Known = Arc<Mutex<BTreeMap<String, String>>>;

impl ConsulServices {
    /// Services of the agent `owner`, which outlive it for `ttl`.
    #[must_use]
    pub(crate) fn new(options: Options, owner: &str, ttl: Duration) -> Self {
        Self {
            options,
            owner: owner.into(),
            ttl,
            known: Known::default(),
            upstreams: None,
        }
    }

    /// Takes these entries for its own.
    #[must_use]
    pub(crate) fn with_upstreams(mut self, upstreams: Option<Upstreams>) -> Self {
        self.upstreams = upstreams;
        self
    }
}

impl ConsulServices {
    fn session(&self) -> Result<ConsulSession, String> {
        Ok(ConsulSession {
            api: Api::new(&self.options)?,
            words: ConsulWords::new(&self.options, true)?,
            owner: Arc::clone(&self.owner),
            ttl: self.ttl,
            known: Arc::clone(&self.known),
            hashes: Mutex::default(),
            upstreams: self.upstreams.clone(),
        })
    }
}

impl Backend for ConsulServices {
    fn open(&mut self) -> BoxFuture<'_, Result<Opened, Over>> {
        async {
            let session = self.session()?;
            let overrides = words::begin(&session.words).await?;
            let held = session.read().await?;
            Ok(Opened {
                session: Arc::new(session),
                overrides: Some(overrides),
                held,
            })
        }
        .boxed()
    }

    fn look<'a>(
        &'a mut self,
        _: &'a [String],
        wanted: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, String>> {
        async {
            let mut listed = self.session()?.listed().await?;
            listed.retain(|_, service| service.says(OWNER) == Some(&self.owner));
            let told = |(id, service): (String, Listed)| {
                let same = |value: &&String| service.says(HASH) == Some(&hash_of(value));
                let value = wanted.get(&id).filter(same).cloned();
                let value = value.unwrap_or_else(|| service.registration(&id));
                (id, value.into_bytes())
            };
            Ok(listed.into_iter().map(told).collect())
        }
        .boxed()
    }

    fn words(&mut self) -> BoxFuture<'_, Result<Box<dyn Words>, String>> {
        let words = ConsulWords::new(&self.options, true);
        let words = words.map(|words| Box::new(words) as Box<dyn Words>);
        std::future::ready(words).boxed()
    }
}

struct ConsulSession {
    api: Api,
    words: ConsulWords,
    owner: Arc<str>,
    ttl: Duration,
    known: Known,
    /// Hash of the registration of every service of ours, as Consul has it.
    hashes: Mutex<BTreeMap<String, String>>,
    upstreams: Option<Upstreams>,
}

/// What of a service the agent's list tells.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    service: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
}

impl Listed {
    /// As it would be registered, but for its checks, which the list does not tell.
    fn registration(&self, id: &str) -> String {
        let value = json!({"ID": id, "Name": self.service, "Address": self.address, "Port": self.port,
            "Tags": self.tags, "Meta": self.meta, "Checks": []});
        value.to_string()
    }

    fn says(&self, key: &str) -> Option<&str> {
        self.meta.as_ref()?.get(key).map(String::as_str)
    }
}

/// Why a service was not written.
enum Unwritten {
    /// It is not as the guard said.
    Guard,
    /// Consul refused it.
    Refused(String),
    /// There was no answer, or none that says anything about this service.
    Away(String),
}

impl ConsulSession {
    /// Everything this Consul agent has.
    async fn listed(&self) -> Result<BTreeMap<String, Listed>, String> {
        listed(&self.api).await
    }

    /// Everything of ours with this Consul agent, with its hash, and what counts as ours.
    async fn ours(&self) -> Result<(BTreeMap<String, String>, Vec<String>), String> {
        let listed = self.listed().await?;
        let (mut ours, mut left) = (BTreeMap::new(), Vec::new());
        for (id, service) in listed {
            match service.says(OWNER) {
                Some(owner) if *owner == *self.owner => {
                    let hash = service.says(HASH).unwrap_or_default().to_owned();
                    ours.insert(id, hash);
                }
                None if self.upstreams.as_ref().is_some_and(|by| by.wrote(&id)) => left.push(id),
                _ => {}
            }
        }
        Ok((ours, left))
    }

    async fn read(&self) -> Result<Input, String> {
        let (ours, left) = self.ours().await?;
        let known = lock(&self.known);
        let left = left.into_iter().map(|id| (id, Upstreams::held(FOREIGN)));
        let held = ours
            .iter()
            .map(|(id, hash)| {
                // What this process has not written has a value nobody knows; the same written again is no change.
                let value = known.get(id).filter(|value| hash_of(value) == *hash);
                let held = Held {
                    value: value.cloned().unwrap_or_default().into_bytes(),
                    mod_revision: OURS,
                    leased: true,
                };
                (id.clone(), held)
            })
            .chain(left)
            .collect();
        let adopted = !ours.is_empty();
        *lock(&self.hashes) = ours;
        Ok(Input::Leased {
            lease: 0,
            adopted,
            held,
        })
    }

    /// Whose a service is, as a guard's number.
    async fn whose(&self, id: &str) -> Result<i64, Unwritten> {
        let path = format!("/v1/agent/service/{}", quoted(id));
        let answer = self.api.get(&path).await.map_err(Unwritten::Away)?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(0),
            _ => {
                let answer = answer.good(&path).map_err(Unwritten::Away)?;
                let listed: Listed = answer.json(&path).map_err(Unwritten::Away)?;
                let ours = listed.says(OWNER) == Some(&self.owner);
                Ok(if ours { OURS } else { FOREIGN })
            }
        }
    }

    async fn write(&self, write: &Write) -> Result<(), Unwritten> {
        let found = self.whose(&write.key).await?;
        if found != write.guard {
            return Err(Unwritten::Guard);
        }
        let Some(value) = &write.value else {
            lock(&self.known).remove(&write.key);
            lock(&self.hashes).remove(&write.key);
            let path = format!("/v1/agent/service/deregister/{}", quoted(&write.key));
            let answer = self.api.put(&path, "").await.map_err(Unwritten::Away)?;
            return match answer.status {
                StatusCode::NOT_FOUND => Ok(()),
                _ => accepted(answer.status, answer.refusal(&path)),
            };
        };
        let hash = hash_of(value);
        let same = lock(&self.hashes).get(&write.key) == Some(&hash);
        if !same || found != OURS {
            let path = "/v1/agent/service/register";
            let body = registration(value, &self.owner, &hash, self.ttl);
            let body = body.map_err(Unwritten::Refused)?;
            let answer = self.api.put(path, body).await.map_err(Unwritten::Away)?;
            accepted(answer.status, answer.refusal(path))?;
        }
        lock(&self.hashes).insert(write.key.clone(), hash);
        lock(&self.known).insert(write.key.clone(), value.clone());
        Ok(())
    }

    async fn commit(&self, token: Token, txn: Txn) -> Outcome {
        for write in &txn.writes {
            match self.write(write).await {
                Ok(()) => {}
                Err(Unwritten::Away(why)) => return Outcome::Over(why),
                Err(Unwritten::Refused(why)) => {
                    return Outcome::Done(Input::CommitFailed { token, why });
                }
                Err(Unwritten::Guard) => return self.conflict(token, &txn).await,
            }
        }
        Outcome::Done(Input::Committed {
            token,
            revision: OURS,
        })
    }

    /// Reads what a refused transaction was about.
    async fn conflict(&self, token: Token, txn: &Txn) -> Outcome {
        let mut actual = Vec::with_capacity(txn.writes.len());
        for write in &txn.writes {
            let found = match self.whose(&write.key).await {
                Ok(0) => None,
                Ok(found) => Some(Held {
                    value: lock(&self.known)
                        .get(&write.key)
                        .cloned()
                        .unwrap_or_default()
                        .into_bytes(),
                    mod_revision: found,
                    leased: found == OURS,
                }),
                Err(Unwritten::Away(why) | Unwritten::Refused(why)) => return Outcome::Over(why),
                Err(Unwritten::Guard) => None,
            };
            actual.push((write.key.clone(), found));
        }
        Outcome::Done(Input::Conflicted { token, actual })
    }

    /// One sign of life of every service.
    async fn sign(&self) -> Result<(), Refusal> {
        let ids: Vec<String> = lock(&self.hashes).keys().cloned().collect();
        for id in ids {
            let path = format!("/v1/agent/check/pass/{CHECK}{}", quoted(&id));
            let answer = self.api.put(&path, "").await.map_err(Refusal::Unheard)?;
            // A service that went meanwhile needs none; any other is one that Consul has lost.
            if !answer.status.is_success() && lock(&self.hashes).contains_key(&id) {
                return Err(Refusal::Over(answer.refusal(&path)));
            }
        }
        Ok(())
    }
}

/// Everything this Consul agent has.
async fn listed(api: &Api) -> Result<BTreeMap<String, Listed>, String> {
    const PATH: &str = "/v1/agent/services";
    let answer = api.get(PATH).await?.good(PATH)?;
    answer.json(PATH)
}

/// Everything this Consul agent has, as it would be registered.
pub(super) async fn all(api: &Api) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let listed = listed(api).await?.into_iter();
    let entry = |(id, service): (String, Listed)| {
        let value = service.registration(&id).into_bytes();
        (id, value)
    };
    Ok(listed.map(entry).collect())
}

/// Whether Consul took a write. What it refuses is about the service, unless it could not decide.
fn accepted(status: StatusCode, refusal: String) -> Result<(), Unwritten> {
    if status.is_success() {
        Ok(())
    } else if status.is_server_error() {
        Err(Unwritten::Away(refusal))
    } else {
        Err(Unwritten::Refused(refusal))
    }
}

/// What Consul is told: what the layout says, whose it is, and the check that needs signs of life.
fn registration(value: &str, owner: &str, hash: &str, ttl: Duration) -> Result<Vec<u8>, String> {
    let said = |error: serde_json::Error| format!("read a registration: {error}");
    let mut service: Value = serde_json::from_str(value).map_err(said)?;
    let id = service["ID"].as_str().unwrap_or_default().to_owned();
    service["Meta"][OWNER] = json!(owner);
    service["Meta"][HASH] = json!(hash);
    if let Some(checks) = service["Checks"].as_array_mut() {
        checks.push(json!({
            "CheckID": format!("{CHECK}{id}"),
            "Name": "kept alive by its registrator",
            "TTL": format!("{}s", ttl.as_secs()),
            "Status": "passing",
            "DeregisterCriticalServiceAfter": REMOVE_AFTER,
        }));
    }
    serde_json::to_vec(&service).map_err(said)
}

/// Tells registrations apart. From one release to the next the numbers may change, which costs each service one more
/// write of what it says already.
fn hash_of(value: &str) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session for ConsulSession {
    fn commit(self: Arc<Self>, token: Token, txn: Txn) -> BoxFuture<'static, Outcome> {
        async move { Self::commit(&self, token, txn).await }.boxed()
    }

    fn check(self: Arc<Self>) -> BoxFuture<'static, Outcome> {
        async move {
            match self.ours().await {
                Ok((ours, left)) => {
                    Outcome::Done(Input::OnLease(ours.into_keys().chain(left).collect()))
                }
                Err(why) => Outcome::Over(why),
            }
        }
        .boxed()
    }

    fn reload(&self) -> BoxFuture<'_, Result<Input, String>> {
        self.read().boxed()
    }

    fn hold<'a>(
        &'a self,
        beats: &'a Beats,
        facts: &'a UnboundedSender<Input>,
    ) -> BoxFuture<'a, String> {
        let alive = stay_alive(self.ttl, |left| beats.hear(left), || self.sign().boxed());
        listening(alive, &self.words, facts).boxed()
    }

    fn leave(&self, revoke: bool) -> BoxFuture<'_, Result<(), String>> {
        async move {
            if !revoke {
                return Ok(());
            }
            for id in self.ours().await?.0.into_keys() {
                let path = format!("/v1/agent/service/deregister/{}", quoted(&id));
                self.api.put(&path, "").await?.good(&path)?;
            }
            Ok(())
        }
        .boxed()
    }
}
