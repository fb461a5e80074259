//! A key that an agent keeps about itself: written seldom, under a lease, so that it goes when the agent does.
//! [`Pace`] says when to write and is pure; [`Announcer`] keeps the key over a connection and a lease of its own.
//! Never knows what the value means.

use std::time::Duration;

use etcd_client::{Client, PutOptions};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::connect::{self, Connector};
use crate::failure::{self, Class};
use crate::lease::{Ended, Lease, lease_id};

/// 500 ms: an agent that starts has seen its keys by then, so that its first word is not "waiting".
const FIRST: Duration = Duration::from_millis(500);
/// 3 s between two writes at least: people see a change soon, and a thousand agents in trouble write a few hundred small
/// values a second at most.
const NEWS: Duration = Duration::from_secs(3);
/// 60 s between two writes that differ only in how far the agent is: each of them moves the store's revision, which must
/// not set every agent writing.
const PROGRESS: Duration = Duration::from_secs(60);
/// 30 s: long enough for a leader to be lost and found, short enough that a dead agent is not taken for a living one.
pub const TTL_SECONDS: i64 = 30;
/// 5 s: a store with a leader answers within milliseconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// 1 s, 30 s: nobody waits for this key.
const RETRY_FLOOR: Duration = Duration::from_secs(1);
const RETRY_CEILING: Duration = Duration::from_secs(30);
/// 10 minutes between two tries of a user who may not write the key: rights change seldom.
const FORBIDDEN_RETRY: Duration = Duration::from_secs(600);
/// 1 s: a farewell that is not answered must not hold up a stop; the lease ends by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The value.
    pub value: String,
    /// The part of it that is news: a value with another one is written soon, else late.
    pub essence: String,
}

/// When a value is due. Times are those of one clock that never goes back.
#[derive(Clone, Debug)]
pub struct Pace {
    began: Duration,
    written: Option<(Duration, Said)>,
}

impl Pace {
    /// Nothing is written yet.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            began: now,
            written: None,
        }
    }

    /// When `said` is to be written; `None` when it stands there already.
    #[must_use]
    pub fn due(&self, said: &Said) -> Option<Duration> {
        match &self.written {
            None => Some(self.began + FIRST),
            Some((_, written)) if written.value == said.value => None,
            Some((at, written)) if written.essence != said.essence => Some(*at + NEWS),
            Some((at, _)) => Some(*at + PROGRESS),
        }
    }

    /// It was written, or is being written.
    pub fn wrote(&mut self, now: Duration, said: Said) {
        self.written = Some((now, said));
    }

    /// Nobody knows what stands there: the lease may have ended.
    pub fn forget(&mut self, now: Duration) {
        *self = Self::new(now);
    }
}

/// What is kept, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to reach the store.
    pub connect: connect::Options,
    /// The key. The lease's id follows from it, so that a restarted agent finds its own.
    pub key: String,
    /// Spreads the retries of many agents.
    pub seed: u64,
}

/// Keeps a key up to date. Dropping it ends it, and the key goes with its lease.
#[derive(Debug)]
pub struct Announcer {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Announcer {
    /// Starts it inside the current runtime. It ends by itself when nobody can change `said` any more.
    #[must_use]
    pub fn start(options: Options, said: watch::Receiver<Said>) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self {
            stop,
            task: tokio::spawn(keep(options, said, stopped)),
        }
    }

    /// Takes the key away and ends; within a second or so, whatever the store does.
    pub async fn stop(self) {
        // Both fail only when it has ended.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Why a session ended.
enum Over {
    Broken(String),
    Forbidden(String),
    Finished,
}

async fn keep(
    options: Options,
    mut said: watch::Receiver<Said>,
    mut stopped: oneshot::Receiver<()>,
) {
    let lease = lease_id(&options.key, TTL_SECONDS);
    let mut backoff = Backoff::new(RETRY_FLOOR, RETRY_CEILING, options.seed);
    let mut connector = Connector::new(options.connect);
    let mut told = false;
    loop {
        let mut client = None;
        let session = async {
            match connector.connect().await {
                Ok(connection) => {
                    let client = client.insert(connection.client);
                    let held = session(client, &options.key, lease, &mut said, &mut backoff);
                    held.await.unwrap_or_else(|over| over)
                }
                Err(error) => Over::Broken(error.to_string()),
            }
        };
        let over = tokio::select! {
            // Safe to cancel: what was under way, the lease ends.
            over = session => over,
            _ = &mut stopped => Over::Finished,
        };
        let wait = match over {
            Over::Finished => {
                if let Some(client) = &client {
                    let ttl = Duration::ZERO;
                    // What is not answered, the lease does by itself.
                    let _ = timeout(FAREWELL, Lease { id: lease, ttl }.revoke(client)).await;
                }
                return;
            }
            Over::Broken(why) => {
                tracing::debug!("status key {}: {why}", options.key);
                connector.failed();
                backoff.delay()
            }
            Over::Forbidden(why) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!("status key {} is not written: {why}", options.key);
                }
                FORBIDDEN_RETRY
            }
        };
        tokio::select! {
            // Both only wait.
            () = sleep(wait) => {}
            _ = &mut stopped => return,
        }
    }
}

/// Keeps the key while connection and lease last.
async fn session(
    client: &Client,
    key: &str,
    lease: i64,
    said: &mut watch::Receiver<Said>,
    backoff: &mut Backoff,
) -> Result<Over, Over> {
    let taken = Lease::take(client, lease, TTL_SECONDS).await;
    let lease = taken.map_err(|error| sorted(error.class(), error.to_string()))?;
    let mut held = std::pin::pin!(lease.lease.hold(client, |_| {}));
    let began = Instant::now();
    let mut pace = Pace::new(Duration::ZERO);
    loop {
        let wanted = said.borrow_and_update().clone();
        let due = pace.due(&wanted);
        let write = async {
            match due {
                Some(due) => sleep_until(began + due).await,
                None => std::future::pending().await,
            }
            put(client, key, lease.lease.id, &wanted.value).await
        };
        tokio::select! {
            // A put that is cancelled may or may not have happened; the next one says the same or something newer.
            written = write => {
                written?;
                pace.wrote(began.elapsed(), wanted);
                backoff.reset();
            }
            // The value stays in the channel.
            changed = said.changed() => if changed.is_err() {
                return Ok(Over::Finished);
            },
            // Safe to cancel: it is dropped with the session.
            ended = &mut held => return Ok(Over::Broken(match ended {
                Ended::Lost => "the lease expired".to_owned(),
                Ended::Broken(why) => why,
            })),
        }
    }
}

async fn put(client: &Client, key: &str, lease: i64, value: &str) -> Result<(), Over> {
    let options = PutOptions::new().with_lease(lease);
    let mut kv = client.kv_client();
    match timeout(CALL_TIMEOUT, kv.put(key, value, Some(options))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(sorted(failure::classify(&error), failure::describe(&error))),
        Err(_) => Err(Over::Broken("no answer to a put".to_owned())),
    }
}

fn sorted(class: Class, why: String) -> Over {
    match class {
        Class::Forbidden => Over::Forbidden(why),
        _ => Over::Broken(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &str, essence: &str) -> Said {
        Said {
            value: value.into(),
            essence: essence.into(),
        }
    }

    #[test]
    fn news_are_written_soon_progress_late_and_nothing_twice() {
        let at = Duration::from_secs;
        let mut pace = Pace::new(at(10));
        let first = said("a1", "a");
        assert_eq!(pace.due(&first), Some(at(10) + FIRST));
        pace.wrote(at(11), first.clone());
        assert_eq!(pace.due(&first), None);
        assert_eq!(pace.due(&said("b1", "b")), Some(at(11) + NEWS));
        assert_eq!(pace.due(&said("a2", "a")), Some(at(11) + PROGRESS));
        pace.wrote(at(20), said("b1", "b"));
        assert_eq!(pace.due(&first), Some(at(20) + NEWS));
        pace.forget(at(30));
        assert_eq!(pace.due(&said("b1", "b")), Some(at(30) + FIRST));
    }
}
