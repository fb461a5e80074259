//! A server that keeps the contract of Vault's HTTP API as its documents publish it (mounts, KV 1 and 2, tokens, logins):
//! Vault itself is in no distribution. It serves one thread for each connection and forgets everything when it ends.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The token that may do everything and never ends.
pub const ROOT: &str = "root";
/// What logs in, by each method.
pub const ROLE: (&str, &str) = ("the-role", "the-secret");
/// Name and password.
pub const PERSON: (&str, &str) = ("nora", "letmein");
/// An application and who it runs for.
pub const APPLICATION: (&str, &str) = ("the-app", "the-user");

/// The server. `kv/` keeps one version of a secret, `secret/` many.
pub struct Vault {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    secrets: BTreeMap<String, Value>,
    /// Tokens and when they end.
    tokens: BTreeMap<String, Option<Instant>>,
    /// How long a token lives that a login gives.
    ttl: Duration,
    sealed: bool,
    logins: usize,
    renewals: usize,
}

impl Vault {
    /// A started server whose logins give tokens that live so long.
    ///
    /// # Panics
    /// When no port is to be had.
    #[must_use]
    pub fn start(ttl: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State {
            tokens: BTreeMap::from([(ROOT.to_owned(), None)]),
            ttl,
            ..State::default()
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (held, stopped) = (state.clone(), stop.clone());
        let server = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let state = held.clone();
                // Ends when the other side closes the connection.
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self {
            address,
            state,
            stop,
            server: Some(server),
        }
    }

    /// Where it is asked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Writes a secret, `kv/…` or `secret/…`.
    pub fn put(&self, path: &str, secret: Value) {
        self.state().secrets.insert(path.to_owned(), secret);
    }

    /// Removes a secret.
    pub fn delete(&self, path: &str) {
        self.state().secrets.remove(path);
    }

    /// Takes all tokens back that logins gave.
    pub fn revoke(&self) {
        self.state().tokens.retain(|token, _| token == ROOT);
    }

    /// Has it answer nothing but that it is sealed.
    pub fn seal(&self, sealed: bool) {
        self.state().sealed = sealed;
    }

    /// How many logins it gave tokens for.
    #[must_use]
    pub fn logins(&self) -> usize {
        self.state().logins
    }

    /// How many tokens it renewed.
    #[must_use]
    pub fn renewals(&self) -> usize {
        self.state().renewals
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A connection has it look.
        let told = TcpStream::connect(self.address);
        if let (Ok(_), Some(server)) = (told, self.server.take()) {
            let _ = server.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request after the other on one connection.
fn serve(stream: TcpStream, state: &Mutex<State>) {
    let Ok(mut writer) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader) {
        let (status, body) = lock(state).answer(&request);
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

struct Request {
    method: String,
    path: String,
    token: String,
    body: Value,
}

impl Request {
    fn read(reader: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (mut token, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
            let Some((name, value)) = line.trim().split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "x-vault-token" => value.trim().clone_into(&mut token),
                "content-length" => length = value.trim().parse().ok()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self {
            method,
            path: path.strip_prefix("/v1/")?.to_owned(),
            token,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }
}

type Answer = (u16, Value);

fn refused(status: u16, why: &str) -> Answer {
    (status, json!({"errors": [why]}))
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        if self.sealed {
            return refused(503, "Vault is sealed");
        }
        if let Some(rest) = request.path.strip_prefix("auth/")
            && let Some((mount, login)) = rest.split_once("/login")
        {
            return self.login(mount, login.trim_matches('/'), &request.body);
        }
        let now = Instant::now();
        let ends = match self.tokens.get(&request.token) {
            Some(ends) if ends.is_none_or(|ends| ends > now) => *ends,
            _ => return refused(403, "permission denied"),
        };
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "auth/token/lookup-self") => {
                let ttl = ends.map_or(0, |ends| (ends - now).as_secs());
                (
                    200,
                    json!({"data": {"ttl": ttl, "renewable": ends.is_some()}}),
                )
            }
            ("POST" | "PUT", "auth/token/renew-self") => {
                self.renewals += 1;
                self.granted(request.token.clone())
            }
            ("GET", path) if path.starts_with("sys/internal/ui/mounts/") => {
                let path = path.trim_start_matches("sys/internal/ui/mounts/");
                let mount = path.split('/').next().unwrap_or_default();
                match mount {
                    "kv" => (200, json!({"data": {"path": "kv/", "options": null}})),
                    "secret" => (
                        200,
                        json!({"data": {"path": "secret/", "options": {"version": "2"}}}),
                    ),
                    // As Vault does, so that nobody learns which mounts there are.
                    _ => refused(403, "preflight capability check returned 403"),
                }
            }
            ("GET", path) => self.secret(path),
            ("LIST", path) => self.list(path),
            _ => refused(405, "unsupported operation"),
        }
    }

    fn login(&mut self, mount: &str, rest: &str, body: &Value) -> Answer {
        let says = |name: &str, text: &str| body[name].as_str() == Some(text);
        let good = match mount {
            "approle" | "team/approle" => says("role_id", ROLE.0) && says("secret_id", ROLE.1),
            "userpass" => rest == PERSON.0 && says("password", PERSON.1),
            "app-id" => rest == APPLICATION.0 && says("user_id", APPLICATION.1),
            _ => return refused(403, "permission denied"),
        };
        if !good {
            return refused(400, "invalid role or secret ID");
        }
        self.logins += 1;
        self.granted(format!("token-{}", self.logins))
    }

    fn granted(&mut self, token: String) -> Answer {
        let auth = json!({
            "client_token": token,
            "lease_duration": self.ttl.as_secs(),
            "renewable": true,
        });
        self.tokens.insert(token, Some(Instant::now() + self.ttl));
        (200, json!({"auth": auth}))
    }

    fn secret(&self, path: &str) -> Answer {
        let (path, versioned) = match path.strip_prefix("secret/data/") {
            Some(rest) => (format!("secret/{rest}"), true),
            None => (path.to_owned(), false),
        };
        match self.secrets.get(&path) {
            Some(secret) if versioned => (
                200,
                json!({"data": {"data": secret, "metadata": {"version": 1}}}),
            ),
            Some(secret) if path.starts_with("kv/") => (200, json!({"data": secret})),
            _ => (404, json!({"errors": []})),
        }
    }

    fn list(&self, path: &str) -> Answer {
        let folder = match path.strip_prefix("secret/metadata") {
            Some(rest) => format!("secret{}", rest.trim_end_matches('/')),
            None if path.starts_with("kv") => path.trim_end_matches('/').to_owned(),
            None => return refused(405, "unsupported operation"),
        };
        let folder = format!("{folder}/");
        let mut names: Vec<String> = self
            .secrets
            .keys()
            .filter_map(|path| path.strip_prefix(&folder))
            .map(|rest| match rest.split_once('/') {
                Some((name, _)) => format!("{name}/"),
                None => rest.to_owned(),
            })
            .collect();
        names.dedup();
        match names.is_empty() {
            true => (404, json!({"errors": []})),
            false => (200, json!({"data": {"keys": names}})),
        }
    }
}
