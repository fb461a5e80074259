//! Secrets of Vault over its HTTP API (<https://developer.hashicorp.com/vault/api-docs>). Vault tells nobody of changes, so
//! all is read every few seconds; the token is renewed in time, and had anew when it ended.

mod login;
mod secrets;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use store_client::mirror::KeyRange;
use store_transport::dial::Target;
use tokio::time::Instant;

use self::login::Granted;
pub use self::login::Login;
use self::secrets::{Mount, plant};
use super::follow::{Reader, Trouble, follow};
use super::ledger::Keys;
use super::{Backend, Source, reach};
use crate::web::{Answer, Site, Trust};

/// 10 s: a server that is unsealed answers within milliseconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// 1 min between logins that do not help.
const LOGIN_AGAIN: Duration = Duration::from_secs(60);
/// Levels of folders; what lies deeper is a loop of a proxy or a mistake.
const DEPTH_MAX: usize = 32;
/// What may stand in a path as it is, slashes between its parts included.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// How to reach Vault.
#[derive(Clone)]
pub struct Vault {
    /// Servers; the next is asked when one does not answer. Never empty.
    pub servers: Vec<Target>,
    /// Certificates.
    pub trust: Trust,
    /// Who we say we are.
    pub login: Login,
    /// Where that method is mounted, if not at its usual place.
    pub mount: Option<String>,
    /// How often all is read.
    pub poll: Duration,
}

impl std::fmt::Debug for Vault {
    /// Never prints tokens and passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault")
            .field("servers", &self.servers)
            .field("trust", &self.trust)
            .field("login", &self.login.method())
            .field("mount", &self.mount)
            .field("poll", &self.poll)
            .finish()
    }
}

impl Backend for Vault {
    fn open(&self, ranges: Vec<KeyRange>) -> Box<dyn Source> {
        let roots: BTreeSet<String> = ranges.iter().map(reach::root).collect();
        let reader = VaultReader {
            options: self.clone(),
            roots: roots.into_iter().collect(),
            next: 0,
            open: None,
            read: Instant::now(),
        };
        follow(reader, ranges, 0)
    }
}

struct VaultReader {
    options: Vault,
    /// Paths at and below which all secrets are read.
    roots: Vec<String>,
    next: usize,
    open: Option<Open>,
    /// When all was read last.
    read: Instant,
}

/// A server, and what lets us in.
struct Open {
    site: Site,
    granted: Option<Granted>,
    /// When the token needs care; `None` if it never does.
    care: Option<Instant>,
    /// What is known of mounts.
    mounts: Vec<Mount>,
    /// When the token was had.
    since: Instant,
    /// Whether everything was read with it once.
    proven: bool,
    /// Whether the last reading was refused rather than lost.
    denied: bool,
}

/// Why a question had no good answer.
enum Refused {
    /// The token does not count, or not for this.
    Denied(Trouble),
    Other(Trouble),
}

impl Refused {
    fn trouble(self) -> Trouble {
        match self {
            Self::Denied(trouble) | Self::Other(trouble) => trouble,
        }
    }
}

fn quoted(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

impl Open {
    /// One question; `None` where there is nothing.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Option<Value>, Refused> {
        let name = self.site.name();
        let mut headers = HeaderMap::new();
        // What browsers cannot be made to send; a proxy of Vault's may ask for it.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(granted) = &self.granted {
            let token = HeaderValue::from_str(&granted.token);
            let token = token.map_err(|_| {
                Refused::Other(Trouble::new("Vault: the token is no header's value"))
            })?;
            headers.insert("x-vault-token", token);
        }
        let body = match body {
            Value::Null => Bytes::new(),
            body => Bytes::from(body.to_string()),
        };
        let uri = format!("/v1/{path}");
        let answer = self
            .site
            .ask(method, &uri, &headers, body, CALL_TIMEOUT)
            .await;
        match answer {
            Ok(answer) => judged(&answer, &name, path),
            Err(why) => Err(Refused::Other(Trouble::hinted(
                format!("Vault at {name}: {why}"),
                "no server answers there; --node names others",
            ))),
        }
    }

    async fn get(&self, path: &str) -> Result<Option<Value>, Refused> {
        self.ask(Method::GET, path, &Value::Null).await
    }

    /// The mount that holds a path, asked for once. Who may not know gets one without versions.
    async fn mount(&mut self, path: &str) -> Result<Mount, Refused> {
        if let Some(mount) = self.mounts.iter().find(|mount| mount.holds(path)) {
            return Ok(mount.clone());
        }
        let asked = format!("sys/internal/ui/mounts/{}", quoted(path));
        let mount = match self.get(&asked).await {
            Ok(answer) => answer.as_ref().and_then(Mount::read),
            Err(Refused::Denied(_)) => None,
            Err(other) => return Err(other),
        };
        let mount = mount.unwrap_or_else(|| Mount {
            path: format!("{path}/"),
            versioned: false,
        });
        self.mounts.push(mount.clone());
        Ok(mount)
    }

    /// Everything at and below a path.
    async fn walk(&mut self, root: &str, keys: &mut Keys) -> Result<(), Refused> {
        let root = root.trim_matches('/');
        if root.is_empty() {
            return Err(Refused::Other(Trouble::hinted(
                "Vault: the keys of a resource begin at the root",
                "name at least the mount: keys: [/secret]",
            )));
        }
        let mount = self.mount(root).await?;
        let mut ahead = vec![(root.to_owned(), 0)];
        let mut seen = BTreeSet::new();
        while let Some((path, depth)) = ahead.pop() {
            if depth > DEPTH_MAX || !seen.insert(path.clone()) {
                continue;
            }
            self.secret(&mount, &path, keys).await?;
            let at = quoted(&mount.list(&path));
            let list = match self.ask(method_list(), &at, &Value::Null).await {
                // Who may read may still not list.
                Ok(None) | Err(Refused::Denied(_)) => continue,
                Ok(Some(list)) => list,
                Err(other) => return Err(other),
            };
            let names = list.pointer("/data/keys").and_then(Value::as_array);
            for name in names.into_iter().flatten().filter_map(Value::as_str) {
                let name = name.trim_matches('/');
                if !name.is_empty() {
                    ahead.push((format!("{path}/{name}"), depth + 1));
                }
            }
        }
        Ok(())
    }

    async fn secret(&self, mount: &Mount, path: &str, keys: &mut Keys) -> Result<(), Refused> {
        let (at, versioned) = mount.secret(path);
        if at.ends_with('/') {
            // The mount itself holds no secret.
            return Ok(());
        }
        let Some(answer) = self.get(&quoted(&at)).await? else {
            return Ok(());
        };
        let data = if versioned { "/data/data" } else { "/data" };
        // A version that was deleted has no data.
        if let Some(Value::Object(secret)) = answer.pointer(data) {
            plant(&format!("/{path}"), secret, keys);
        }
        Ok(())
    }

    /// Makes the token live longer.
    async fn renew(&mut self) -> Result<(), Refused> {
        let renewed = self
            .ask(
                Method::POST,
                "auth/token/renew-self",
                &serde_json::json!({}),
            )
            .await?;
        if let Some(granted) = renewed.as_ref().and_then(Granted::read) {
            self.take(granted);
        }
        Ok(())
    }

    fn take(&mut self, granted: Granted) {
        if self.granted.as_ref().map(|held| &held.token) != Some(&granted.token) {
            self.since = Instant::now();
            self.proven = false;
        }
        self.care = granted.care().map(|wait| Instant::now() + wait);
        self.granted = Some(granted);
    }
}

/// Vault's own verb for reading what is below a path.
fn method_list() -> Method {
    Method::from_bytes(b"LIST").unwrap_or(Method::GET)
}

/// What an answer comes to.
fn judged(answer: &Answer, name: &str, path: &str) -> Result<Option<Value>, Refused> {
    let message = || {
        let text = String::from_utf8_lossy(&answer.body);
        let said = serde_json::from_str::<Value>(&text).ok();
        let said = said
            .as_ref()
            .and_then(|said| said.pointer("/errors/0")?.as_str())
            .map_or_else(|| answer.said(), str::to_owned);
        format!("Vault at {name}: {path}: status {}: {said}", answer.status)
    };
    match answer.status {
        204 => Ok(None),
        // Also what was deleted in KV 2.
        404 => Ok(None),
        _ if answer.is_good() => serde_json::from_slice(&answer.body)
            .map(Some)
            .map_err(|error| {
                Refused::Other(Trouble::new(format!(
                    "Vault at {name}: {path}: not the answer its API promises: {error}"
                )))
            }),
        401 | 403 => Err(Refused::Denied(Trouble::hinted(
            message(),
            "the token has ended, or its policy lacks read and list on this path",
        ))),
        503 => Err(Refused::Other(Trouble::hinted(
            message(),
            "vault operator unseal opens a sealed server",
        ))),
        _ => Err(Refused::Other(Trouble::new(message()))),
    }
}

impl VaultReader {
    async fn begin(&mut self) -> Result<(), Trouble> {
        let servers = &self.options.servers;
        let target = servers[self.next % servers.len()].clone();
        self.next += 1;
        let site = Site::new(target, &self.options.trust, HeaderMap::new());
        let site = site.map_err(|why| Trouble::new(format!("Vault: {why}")))?;
        self.open = Some(Open {
            site,
            granted: None,
            care: None,
            mounts: Vec::new(),
            since: Instant::now(),
            proven: false,
            denied: false,
        });
        Ok(())
    }

    /// Has a token that counts.
    async fn log_in(&mut self) -> Result<(), Trouble> {
        let login = &self.options.login;
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if let Login::Token(token) = login {
            open.granted = Some(Granted {
                token: token.clone(),
                lives: None,
                renewable: false,
            });
            // Some policies do not let a token look at itself; then it is used as long as it counts.
            match open.get("auth/token/lookup-self").await {
                Ok(answer) => {
                    let said = answer.as_ref();
                    if let Some(granted) = said.and_then(|said| Granted::looked_up(token, said)) {
                        open.take(granted);
                    }
                }
                Err(Refused::Denied(_)) => {}
                Err(Refused::Other(trouble)) => return Err(trouble),
            }
            return Ok(());
        }
        let account = match login {
            Login::Kubernetes { token, .. } => {
                let text = tokio::fs::read_to_string(token).await;
                text.map_err(|error| {
                    Trouble::hinted(
                        format!("Vault: {}: {error}", token.display()),
                        "auth type kubernetes is for pods with a service account",
                    )
                })?
            }
            _ => String::new(),
        };
        let request = login.request(self.options.mount.as_deref(), account.trim());
        let Some(request) = request else {
            return Ok(());
        };
        open.granted = None;
        let answer = open
            .ask(Method::POST, &quoted(&request.path), &request.body)
            .await;
        let method = login.method();
        let answer = answer.map_err(|refused| {
            let trouble = refused.trouble();
            Trouble::hinted(
                trouble.message,
                format!("the login by auth type {method} was refused"),
            )
        })?;
        match answer.as_ref().and_then(Granted::read) {
            Some(granted) => {
                open.take(granted);
                tracing::info!(method, "logged in to Vault");
                Ok(())
            }
            None => Err(Trouble::new(format!(
                "Vault: the login by auth type {method} gave no token"
            ))),
        }
    }

    /// Whether the token ended or soon will.
    fn needs_care(&self) -> bool {
        let care = self.open.as_ref().and_then(|open| open.care);
        care.is_some_and(|care| care <= Instant::now())
    }

    async fn care(&mut self) -> Result<(), Trouble> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let lives = open.granted.as_ref().and_then(|granted| granted.lives);
        let renewable = open.granted.as_ref().is_some_and(|held| held.renewable);
        if renewable && open.renew().await.is_ok() {
            // One that reached its longest life is renewed for less and less: a new one is had in time.
            let left = open.granted.as_ref().and_then(|granted| granted.lives);
            if left.zip(lives).is_none_or(|(left, lives)| left * 2 > lives) {
                return Ok(());
            }
        }
        match self.options.login {
            // Nobody gives us another; it is used to its end.
            Login::Token(_) => {
                if let Some(open) = &mut self.open {
                    open.care = None;
                }
                Ok(())
            }
            _ => self.log_in().await,
        }
    }

    async fn all(&mut self) -> Result<Keys, Trouble> {
        if self.open.is_none() {
            self.begin().await?;
        }
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.granted.is_none())
        {
            self.log_in().await?;
        } else if self.needs_care() {
            self.care().await?;
        }
        match self.walk().await {
            Err(Refused::Denied(_)) if self.may_log_in() => {
                self.log_in().await?;
                self.walk().await.map_err(Refused::trouble)
            }
            other => other.map_err(Refused::trouble),
        }
    }

    /// Whether another token is worth a try: the last one may have ended or been taken back. One that never was enough is
    /// a policy's fault.
    fn may_log_in(&self) -> bool {
        let worth = self.open.as_ref().is_some_and(|open| {
            let lives = open.granted.as_ref().and_then(|granted| granted.lives);
            let long = LOGIN_AGAIN.min(lives.unwrap_or(LOGIN_AGAIN));
            open.proven || open.since.elapsed() > long
        });
        worth && !matches!(self.options.login, Login::Token(_))
    }

    async fn walk(&mut self) -> Result<Keys, Refused> {
        let mut keys = Keys::new();
        if let Some(open) = &mut self.open {
            for root in &self.roots {
                let walked = open.walk(root, &mut keys).await;
                open.denied = matches!(walked, Err(Refused::Denied(_)));
                walked?;
            }
            open.proven = true;
        }
        Ok(keys)
    }
}

impl Reader for VaultReader {
    fn read(&mut self) -> BoxFuture<'_, Result<Keys, Trouble>> {
        async {
            self.read = Instant::now();
            let keys = self.all().await;
            // A token that was refused something is kept: each new one is the server's to remember.
            if keys.is_err() && self.open.as_ref().is_some_and(|open| !open.denied) {
                self.open = None;
            }
            keys
        }
        .boxed()
    }

    fn moved(&mut self) -> BoxFuture<'_, Result<(), Trouble>> {
        async {
            let mut wake = self.read + self.options.poll;
            if let Some(care) = self.open.as_ref().and_then(|open| open.care) {
                wake = wake.min(care);
            }
            tokio::time::sleep_until(wake).await;
            Ok(())
        }
        .boxed()
    }

    fn endpoint(&self) -> String {
        self.open
            .as_ref()
            .map(|open| open.site.name())
            .unwrap_or_default()
    }
}
