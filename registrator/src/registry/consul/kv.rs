//! Keys in Consul's key-value store, held by a session of the agent's: when its signs of life end, Consul deletes what it
//! holds. One more key on the session says which process speaks for the node, and guards every write.
//!
//! A restarted agent finds the session of the one before by that key, or by the session's name, and goes on with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
use crate::registry::identity::{Identity, PREFIX};
use crate::registry::words::{self, listening};
use crate::registry::{Beats, Upstreams, Words};

/// Consul takes at most 64 operations in a transaction: two for each write, one for the key that speaks for the node.
const WRITES_MAX: usize = 31;
/// Consul takes times to live from 10 s to 24 h, and ends a session up to twice as late.
const TTL_MIN: Duration = Duration::from_secs(10);
/// What sessions are called, before the node's id.
const NAME: &str = "muster-registrator/";

/// The way to Consul's keys.
pub(crate) struct ConsulKv {
    options: Options,
    node_id: String,
    own: Identity,
    /// Whether a living agent is replaced, once.
    takeover: bool,
    ttl: Duration,
    /// What keys of ours begin with.
    roots: Vec<String>,
    /// What gliderlabs registrator left, where that is to go.
    upstreams: Option<Upstreams>,
}

impl ConsulKv {
    /// Keys below `roots` of the agent for `node_id`, which outlive it for `ttl`.
    #[must_use]
    pub(crate) fn new(
        options: Options,
        (node_id, nonce, takeover): (&str, u64, bool),
        ttl: Duration,
        roots: Vec<String>,
    ) -> Self {
        Self {
            options,
            node_id: node_id.to_owned(),
            own: Identity::own(nonce),
            takeover,
            ttl: ttl.max(TTL_MIN),
            roots,
            upstreams: None,
        }
    }

    /// Takes these entries for its own.
    #[must_use]
    pub(crate) fn with_upstreams(mut self, upstreams: Option<Upstreams>) -> Self {
        self.upstreams = upstreams;
        self
    }

    async fn begin(&mut self) -> Result<Opened, Over> {
        let api = Api::new(&self.options)?;
        let words = ConsulWords::new(&self.options, false)?;
        let presence = key_of(&format!("{PREFIX}{}", self.node_id)).to_owned();
        let found = read(&api, &presence).await?;
        let (earlier, guard) = match &found {
            None => (None, 0),
            Some(found) => {
                let other: Option<Identity> = serde_json::from_slice(&found.value()).ok();
                if let Some(other) = other.filter(|other| *other != self.own) {
                    let own = &self.own;
                    own.follow(&other, &self.node_id, &mut self.takeover)
                        .map_err(|why| Over {
                            why,
                            wait: self.ttl / 3,
                        })?;
                }
                (found.session.clone(), found.modify_index)
            }
        };
        let (id, adopted) = self.take(&api, earlier).await?;
        let session = self.session(api, words, id, presence);
        let present = session.speak(&self.own, guard).await?;
        let session = KvSession { present, ..session };
        let overrides = words::begin(&session.words).await?;
        let mut held = session.read().await?;
        if let Input::Leased { adopted: found, .. } = &mut held {
            *found = adopted;
        }
        Ok(Opened {
            session: Arc::new(session),
            overrides: Some(overrides),
            held,
        })
    }

    fn session(&self, api: Api, words: ConsulWords, id: String, presence: String) -> KvSession {
        KvSession {
            api,
            words,
            id,
            ttl: self.ttl,
            roots: self.roots.clone(),
            upstreams: self.upstreams.clone(),
            presence,
            present: 0,
        }
    }

    /// What the sessions of this node's agents are called.
    fn name(&self) -> String {
        format!("{NAME}{}", self.node_id)
    }

    /// The session that is called so.
    async fn named(&self, api: &Api) -> Result<Option<String>, String> {
        const PATH: &str = "/v1/session/list";
        let answer = api.get(PATH).await?.good(PATH)?;
        let all: Vec<Listed> = answer.json(PATH)?;
        let name = self.name();
        let found = all.into_iter().find(|session| session.name == name);
        Ok(found.map(|session| session.id))
    }

    /// The session of an earlier agent if it still lives, else a new one; says which.
    async fn take(&self, api: &Api, earlier: Option<String>) -> Result<(String, bool), String> {
        let earlier = match earlier {
            Some(id) => Some(id),
            None => self.named(api).await?,
        };
        if let Some(id) = earlier {
            let path = format!("/v1/session/renew/{id}");
            let answer = api.put(&path, "").await?;
            if answer.status != StatusCode::NOT_FOUND {
                answer.good(&path)?;
                return Ok((id, true));
            }
        }
        const PATH: &str = "/v1/session/create";
        let wish = json!({
            "Name": self.name(),
            "TTL": format!("{}s", self.ttl.as_secs()),
            "Behavior": "delete",
            // What the session held may be written again at once.
            "LockDelay": "0s",
        });
        let answer = api.put(PATH, wish.to_string()).await?.good(PATH)?;
        let created: Created = answer.json(PATH)?;
        Ok((created.id, false))
    }
}

impl Backend for ConsulKv {
    fn open(&mut self) -> BoxFuture<'_, Result<Opened, Over>> {
        self.begin().boxed()
    }

    fn look<'a>(
        &'a mut self,
        _: &'a [String],
        _: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, String>> {
        async {
            let api = Api::new(&self.options)?;
            let Some(id) = self.named(&api).await? else {
                return Ok(BTreeMap::new());
            };
            let presence = key_of(&format!("{PREFIX}{}", self.node_id)).to_owned();
            let words = ConsulWords::new(&self.options, false)?;
            let held = self.session(api, words, id, presence).ours().await?;
            Ok(held
                .into_iter()
                .map(|(key, held)| (key, held.value))
                .collect())
        }
        .boxed()
    }

    fn words(&mut self) -> BoxFuture<'_, Result<Box<dyn Words>, String>> {
        let words = ConsulWords::new(&self.options, false);
        let words = words.map(|words| Box::new(words) as Box<dyn Words>);
        std::future::ready(words).boxed()
    }
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Name", default)]
    name: String,
}

/// A key as Consul tells of it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Found {
    pub(super) key: String,
    /// Base64.
    #[serde(default)]
    value: Option<String>,
    modify_index: i64,
    #[serde(default)]
    session: Option<String>,
}

impl Found {
    pub(super) fn value(&self) -> Vec<u8> {
        let text = self.value.as_deref().unwrap_or_default();
        // Consul writes it; what is no base64 is no value of ours.
        STANDARD.decode(text).unwrap_or_default()
    }
}

/// What a transaction is answered with.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answered {
    #[serde(default)]
    results: Option<Vec<Written>>,
    #[serde(default)]
    errors: Option<Vec<Complaint>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct Written {
    kv: Option<Found>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Complaint {
    what: String,
}

/// A key of the agent's as Consul writes it: without the slash in front.
pub(super) fn key_of(key: &str) -> &str {
    key.strip_prefix('/').unwrap_or(key)
}

async fn read(api: &Api, key: &str) -> Result<Option<Found>, String> {
    let path = format!("/v1/kv/{}", quoted(key));
    let answer = api.get(&path).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let found: Vec<Found> = answer.good(&path)?.json(&path)?;
    Ok(found.into_iter().next())
}

struct KvSession {
    api: Api,
    words: ConsulWords,
    id: String,
    ttl: Duration,
    roots: Vec<String>,
    upstreams: Option<Upstreams>,
    /// The key that names the process.
    presence: String,
    /// The index at which this process wrote it.
    present: i64,
}

/// How a transaction ended that had an answer.
enum Ended {
    /// The index of what it wrote; 0 when it only deleted.
    Done(i64),
    /// Something was not as it should be.
    Guard,
    Refused(String),
}

impl KvSession {
    /// Writes who speaks for the node if nobody has since `guard`; returns its index.
    async fn speak(&self, own: &Identity, guard: i64) -> Result<i64, String> {
        // A struct of texts and numbers always has a JSON form.
        let value = serde_json::to_string(own).unwrap_or_default();
        let write = Write {
            key: self.presence.clone(),
            value: Some(value),
            guard,
        };
        match self.transact(self.operations(&write)).await? {
            Ended::Done(index) => Ok(index),
            Ended::Guard => Err("another agent came at the same time".to_owned()),
            Ended::Refused(why) => Err(why),
        }
    }

    fn operations(&self, write: &Write) -> Vec<Value> {
        let key = key_of(&write.key);
        let mut operations = vec![match write.guard {
            0 => json!({"KV": {"Verb": "check-not-exists", "Key": key}}),
            // A key that another session holds cannot be taken from it, only be made anew.
            guard => json!({"KV": {"Verb": "delete-cas", "Key": key, "Index": guard}}),
        }];
        if let Some(value) = &write.value {
            let value = STANDARD.encode(value);
            operations.push(
                json!({"KV": {"Verb": "lock", "Key": key, "Value": value, "Session": self.id}}),
            );
        }
        operations
    }

    /// All operations or none; an error is one of the way or of the session.
    async fn transact(&self, operations: Vec<Value>) -> Result<Ended, String> {
        const PATH: &str = "/v1/txn";
        let answer = self
            .api
            .put(PATH, Value::from(operations).to_string())
            .await?;
        match answer.status {
            StatusCode::OK | StatusCode::CONFLICT => {}
            status if status.is_server_error() => return Err(answer.refusal(PATH)),
            _ => return Ok(Ended::Refused(answer.refusal(PATH))),
        }
        let answered: Answered = answer.json(PATH)?;
        let complaints = answered.errors.unwrap_or_default();
        if let Some(complaint) = complaints
            .iter()
            .find(|c| c.what.contains("invalid session"))
        {
            return Err(format!("the session expired: {}", complaint.what));
        }
        if !complaints.is_empty() {
            return Ok(Ended::Guard);
        }
        let results = answered.results.unwrap_or_default();
        let written = results.iter().filter_map(|result| result.kv.as_ref());
        Ok(Ended::Done(
            written.map(|kv| kv.modify_index).max().unwrap_or(0),
        ))
    }

    /// Everything below our roots that the session holds, the key of the process aside, and what counts as ours.
    async fn ours(&self) -> Result<Vec<(String, Held)>, String> {
        let mut held = Vec::new();
        for root in &self.roots {
            let path = format!("/v1/kv/{}?recurse", quoted(key_of(root)));
            let answer = self.api.get(&path).await?;
            if answer.status == StatusCode::NOT_FOUND {
                continue;
            }
            let found: Vec<Found> = answer.good(&path)?.json(&path)?;
            let slash = if root.starts_with('/') { "/" } else { "" };
            for found in found {
                let key = format!("{slash}{}", found.key);
                if found.session.as_deref() == Some(self.id.as_str()) {
                    if found.key != self.presence {
                        held.push((key, self.held(&found)));
                    }
                } else if found.session.is_none() && self.left(&key, &found.value()) {
                    held.push((key, Upstreams::held(found.modify_index)));
                }
            }
        }
        held.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(held)
    }

    /// Whether gliderlabs registrator left this, and it is to go.
    fn left(&self, key: &str, value: &[u8]) -> bool {
        let by = self.upstreams.as_ref();
        by.is_some_and(|by| by.wrote_key(&self.roots, key, value))
    }

    fn held(&self, found: &Found) -> Held {
        Held {
            value: found.value(),
            mod_revision: found.modify_index,
            leased: found.session.as_deref() == Some(self.id.as_str()),
        }
    }

    async fn read(&self) -> Result<Input, String> {
        let held = self.ours().await?;
        // For people: the first part of the session's id.
        let lease = self.id.get(..8).map(|id| i64::from_str_radix(id, 16));
        Ok(Input::Leased {
            lease: lease.and_then(Result::ok).unwrap_or_default(),
            adopted: true,
            held,
        })
    }

    async fn commit(&self, token: Token, txn: Txn) -> Outcome {
        let guard =
            json!({"KV": {"Verb": "check-index", "Key": self.presence, "Index": self.present}});
        let mut revision = 0;
        for writes in txn.writes.chunks(WRITES_MAX) {
            let mut operations: Vec<Value> = writes
                .iter()
                .flat_map(|write| self.operations(write))
                .collect();
            operations.push(guard.clone());
            match self.transact(operations).await {
                Ok(Ended::Done(index)) => revision = index.max(revision),
                Ok(Ended::Guard) => return self.conflict(token, &txn).await,
                Ok(Ended::Refused(why)) => {
                    return Outcome::Done(Input::CommitFailed { token, why });
                }
                Err(why) => return Outcome::Over(why),
            }
        }
        Outcome::Done(Input::Committed { token, revision })
    }

    /// Reads what a refused transaction was about.
    async fn conflict(&self, token: Token, txn: &Txn) -> Outcome {
        match read(&self.api, &self.presence).await {
            Ok(Some(found)) if found.modify_index == self.present => {}
            Ok(_) => return Outcome::Over("another agent has taken over this node".to_owned()),
            Err(why) => return Outcome::Over(why),
        }
        let mut actual = Vec::with_capacity(txn.writes.len());
        for write in &txn.writes {
            match read(&self.api, key_of(&write.key)).await {
                Ok(found) => {
                    let held = found.map(|found| self.held(&found));
                    actual.push((write.key.clone(), held));
                }
                Err(why) => return Outcome::Over(why),
            }
        }
        Outcome::Done(Input::Conflicted { token, actual })
    }

    /// One sign of life.
    async fn sign(&self) -> Result<(), Refusal> {
        let path = format!("/v1/session/renew/{}", self.id);
        let answer = self.api.put(&path, "").await.map_err(Refusal::Unheard)?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(Refusal::Over("the session expired".to_owned())),
            status if status.is_success() => Ok(()),
            _ => Err(Refusal::Unheard(answer.refusal(&path))),
        }
    }
}

impl Session for KvSession {
    fn commit(self: Arc<Self>, token: Token, txn: Txn) -> BoxFuture<'static, Outcome> {
        async move { Self::commit(&self, token, txn).await }.boxed()
    }

    fn check(self: Arc<Self>) -> BoxFuture<'static, Outcome> {
        async move {
            match self.ours().await {
                Ok(held) => Outcome::Done(Input::OnLease(
                    held.into_iter().map(|(key, _)| key).collect(),
                )),
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
            if revoke {
                let path = format!("/v1/session/destroy/{}", self.id);
                self.api.put(&path, "").await?.good(&path)?;
            } else {
                let gone = Write {
                    key: self.presence.clone(),
                    value: None,
                    guard: self.present,
                };
                self.transact(self.operations(&gone)).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
