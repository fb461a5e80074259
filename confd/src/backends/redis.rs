//! Keys of Redis: strings, and hashes as folders of their fields. Changes are told by keyspace notifications
//! (<https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/>), and where the server sends none all is read
//! every few seconds.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Client, RedisError, cmd, pipe};
use store_client::mirror::KeyRange;
use tokio::time::{Instant, timeout};

use self::names::Names;
use super::follow::{Reader, Trouble, follow};
use super::ledger::Keys;
use super::{Backend, Source, reach};

/// 5 s: a server on the same network answers within a millisecond.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Everything is read this often even if nothing was told: a message that a dead connection swallowed is made up for.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Names asked for at once.
const SCAN_COUNT: usize = 1000;

/// How to reach Redis.
#[derive(Clone)]
pub struct Redis {
    /// Servers; the next is asked when one does not answer. Never empty.
    pub servers: Vec<Client>,
    /// What stands between the names of a path in a key.
    pub separator: String,
    /// How often everything is read where the server tells nothing.
    pub poll: Duration,
}

impl std::fmt::Debug for Redis {
    /// Never prints the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field(
                "servers",
                &self.servers.iter().map(shown).collect::<Vec<_>>(),
            )
            .field("separator", &self.separator)
            .field("poll", &self.poll)
            .finish()
    }
}

/// Where a server is, for people.
fn shown(server: &Client) -> String {
    let info = server.get_connection_info();
    format!("{}/{}", info.addr(), info.redis_settings().db())
}

impl Backend for Redis {
    fn open(&self, ranges: Vec<KeyRange>) -> Box<dyn Source> {
        let names = Names::new(&self.separator);
        let reader = RedisReader {
            beginnings: ranges
                .iter()
                .map(|range| names.beginning(&reach::beginning(range)))
                .collect(),
            names,
            options: self.clone(),
            next: 0,
            open: None,
        };
        follow(reader, ranges, 0)
    }
}

struct RedisReader {
    options: Redis,
    names: Names,
    /// What the keys of the ranges begin with, as the server has them.
    beginnings: Vec<String>,
    next: usize,
    open: Option<Open>,
}

/// A connection, and what was read over it.
struct Open {
    server: String,
    connection: MultiplexedConnection,
    /// Names of keys that something was done to.
    told: PubSubStream,
    /// Whether the server tells of everything.
    tells: bool,
    held: BTreeMap<Vec<u8>, Held>,
    /// Keys to be read again.
    dirty: BTreeSet<Vec<u8>>,
    /// When all keys were read last; `None` if they are to be.
    complete: Option<Instant>,
}

/// What stands under a key.
enum Held {
    Text(Vec<u8>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
}

fn trouble(server: &str, error: &RedisError) -> Trouble {
    let message = format!("Redis at {server}: {error}");
    match error.code() {
        Some("NOAUTH" | "WRONGPASS") => Trouble::hinted(
            message,
            "give the password with --password, or as the original takes it with -client-key",
        ),
        Some("NOPERM") => Trouble::hinted(
            message,
            "the user needs SCAN, TYPE, GET, HGETALL and PSUBSCRIBE on these keys",
        ),
        _ if error.is_io_error() || error.is_timeout() => {
            Trouble::hinted(message, "no server answers there; --node names others")
        }
        _ => Trouble::new(message),
    }
}

impl RedisReader {
    async fn connect(&mut self) -> Result<Open, Trouble> {
        let servers = &self.options.servers;
        let server = servers[self.next % servers.len()].clone();
        self.next += 1;
        let name = shown(&server);
        let bounds = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CALL_TIMEOUT))
            .set_response_timeout(Some(CALL_TIMEOUT));
        let failed = |error: RedisError| trouble(&name, &error);
        let mut connection = server
            .get_multiplexed_async_connection_with_config(&bounds)
            .await
            .map_err(failed)?;
        let listening = async {
            let mut listening = server.get_async_pubsub().await?;
            let database = server.get_connection_info().redis_settings().db();
            for beginning in &self.beginnings {
                listening
                    .psubscribe(names::notices(database, beginning))
                    .await?;
            }
            Ok(listening.into_on_message())
        };
        let told = match timeout(CALL_TIMEOUT, listening).await {
            Ok(told) => told.map_err(failed)?,
            Err(_) => return Err(Trouble::new(format!("Redis at {name}: no answer"))),
        };
        let tells = tells(&mut connection).await;
        if !tells {
            tracing::warn!(
                server = name,
                hint = "CONFIG SET notify-keyspace-events KA tells of changes at once",
                "Redis does not say that it tells of all changes: keys are read every {:?}",
                self.options.poll
            );
        }
        Ok(Open {
            server: name,
            connection,
            told,
            tells,
            held: BTreeMap::new(),
            dirty: BTreeSet::new(),
            complete: None,
        })
    }

    async fn all(&mut self) -> Result<Keys, Trouble> {
        if self.open.is_none() {
            self.open = Some(self.connect().await?);
        }
        let Some(open) = &mut self.open else {
            return Ok(Keys::new());
        };
        open.refresh(&self.beginnings)
            .await
            .map_err(|error| trouble(&open.server, &error))?;
        let mut keys = Keys::new();
        for (key, held) in &open.held {
            match held {
                Held::Hash(fields) => {
                    for (field, value) in fields {
                        let path = self.names.path_of_field(key, field);
                        keys.insert(Bytes::from(path), Bytes::copy_from_slice(value));
                    }
                }
                Held::Text(value) => {
                    let path = self.names.path(key);
                    keys.insert(Bytes::from(path), Bytes::copy_from_slice(value));
                }
            }
        }
        Ok(keys)
    }

    async fn change(&mut self) -> Result<(), Trouble> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let wait = if open.tells {
            LOOK_AGAIN
        } else {
            self.options.poll.min(LOOK_AGAIN)
        };
        let read = open.complete.unwrap_or_else(Instant::now);
        match tokio::time::timeout_at(read + wait, open.told.next()).await {
            Ok(Some(message)) => {
                let mut next = Some(message);
                // All that is there already is one change.
                while let Some(message) = next {
                    let channel = message.get_channel_name();
                    open.dirty.extend(names::noticed(channel));
                    next = open.told.next().now_or_never().flatten();
                }
                Ok(())
            }
            Ok(None) => Err(Trouble::new(format!(
                "Redis at {}: the connection ended",
                open.server
            ))),
            Err(_) => {
                open.complete = None;
                Ok(())
            }
        }
    }
}

/// Whether the server tells of all that can happen to keys.
async fn tells(connection: &mut MultiplexedConnection) -> bool {
    let asked = cmd("CONFIG")
        .arg("GET")
        .arg("notify-keyspace-events")
        .query_async::<Vec<String>>(connection)
        .await;
    // A server that does not say may still tell.
    asked.is_ok_and(|answer| answer.get(1).is_some_and(|classes| names::are_all(classes)))
}

impl Open {
    /// Reads what is not known, all of it at one moment.
    async fn refresh(&mut self, beginnings: &[String]) -> Result<(), RedisError> {
        let now = Instant::now();
        let whole = self.complete.is_none();
        let mut keys = std::mem::take(&mut self.dirty);
        if whole {
            for beginning in beginnings {
                keys.extend(self.scan(beginning).await?);
            }
        }
        let keys: Vec<Vec<u8>> = keys.into_iter().collect();
        let found = if keys.is_empty() {
            Vec::new()
        } else {
            self.values(&keys).await?
        };
        if whole {
            self.held.clear();
            self.complete = Some(now);
        }
        for (key, held) in keys.into_iter().zip(found) {
            match held {
                Some(held) => self.held.insert(key, held),
                None => self.held.remove(&key),
            };
        }
        Ok(())
    }

    async fn scan(&mut self, beginning: &str) -> Result<Vec<Vec<u8>>, RedisError> {
        let mut found = Vec::new();
        let mut cursor = 0_u64;
        loop {
            let (next, names): (u64, Vec<Vec<u8>>) = cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(names::pattern(beginning))
                .arg("COUNT")
                .arg(SCAN_COUNT)
                .query_async(&mut self.connection)
                .await?;
            found.extend(names);
            if next == 0 {
                return Ok(found);
            }
            cursor = next;
        }
    }

    /// What stands under these keys; `None` for nothing, or for what is neither a text nor a hash. A key whose kind
    /// changes between the two questions is an error, and asked for again.
    async fn values(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Option<Held>>, RedisError> {
        let mut kinds = pipe();
        for key in keys {
            kinds.cmd("TYPE").arg(key);
        }
        let kinds: Vec<String> = kinds.query_async(&mut self.connection).await?;
        let mut values = pipe();
        values.atomic();
        let mut asked = 0;
        for (key, kind) in keys.iter().zip(&kinds) {
            match kind.as_str() {
                "string" => values.cmd("GET").arg(key),
                "hash" => values.cmd("HGETALL").arg(key),
                _ => continue,
            };
            asked += 1;
        }
        let values: Vec<redis::Value> = match asked {
            0 => Vec::new(),
            _ => values.query_async(&mut self.connection).await?,
        };
        let mut values = values.into_iter();
        let mut found = Vec::with_capacity(keys.len());
        for kind in &kinds {
            found.push(match kind.as_str() {
                "string" => {
                    let value = values.next().unwrap_or_default();
                    redis::from_redis_value::<Option<Vec<u8>>>(value)?.map(Held::Text)
                }
                "hash" => {
                    let value = values.next().unwrap_or_default();
                    let fields: BTreeMap<Vec<u8>, Vec<u8>> = redis::from_redis_value(value)?;
                    Some(Held::Hash(fields.into_iter().collect()))
                }
                _ => None,
            });
        }
        Ok(found)
    }
}

impl Reader for RedisReader {
    fn read(&mut self) -> BoxFuture<'_, Result<Keys, Trouble>> {
        async {
            let keys = self.all().await;
            if keys.is_err() {
                self.open = None;
            }
            keys
        }
        .boxed()
    }

    fn moved(&mut self) -> BoxFuture<'_, Result<(), Trouble>> {
        async {
            let moved = self.change().await;
            if moved.is_err() {
                self.open = None;
            }
            moved
        }
        .boxed()
    }

    fn endpoint(&self) -> String {
        self.open
            .as_ref()
            .map(|open| open.server.clone())
            .unwrap_or_default()
    }
}
