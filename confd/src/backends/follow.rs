//! Sources that read all their keys and then wait until something may have changed: one loop for every store that has no
//! revisions. Whatever fails is tried again, with growing waits, for as long as the source lives; the keys stay as they
//! were meanwhile.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use store_client::backoff::Backoff;
use store_client::mirror::{Event, FeedStatus, KeyRange};
use tokio::sync::{mpsc, watch};

use super::Source;
use super::ledger::{Keys, Ledger};

/// 100 ms, 5 s: a store that restarts is back within seconds, and nobody minds being asked every few.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Why keys could not be read.
#[derive(Debug)]
pub(super) struct Trouble {
    /// One line.
    pub(super) message: String,
    /// What a person can do about it.
    pub(super) hint: Option<String>,
}

impl Trouble {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

/// One store, read as a whole.
pub(super) trait Reader: Send + 'static {
    /// All keys. What changes after the call began is told by the next [`Reader::moved`].
    fn read(&mut self) -> BoxFuture<'_, Result<Keys, Trouble>>;

    /// Waits until something may have changed since the last reading began.
    fn moved(&mut self) -> BoxFuture<'_, Result<(), Trouble>>;

    /// Where it reads, for people.
    fn endpoint(&self) -> String;
}

/// Follows a store, in a task of its own.
pub(super) fn follow(reader: impl Reader, ranges: Vec<KeyRange>, seed: u64) -> Box<dyn Source> {
    // One event: who does not take it does not need the next.
    let (tell_event, events) = mpsc::channel(1);
    let (tell_status, status) = watch::channel(FeedStatus::default());
    let follower = Follower {
        reader,
        ledger: Ledger::new(ranges),
        backoff: Backoff::new(RETRY.0, RETRY.1, seed),
        tell_event,
        tell_status,
    };
    running(events, status, tokio::spawn(follower.run()))
}

/// A source that ends its task when it is dropped.
pub(super) fn running(
    events: mpsc::Receiver<Event>,
    status: watch::Receiver<FeedStatus>,
    task: tokio::task::JoinHandle<()>,
) -> Box<dyn Source> {
    Box::new(Running {
        events,
        status,
        task,
    })
}

struct Running {
    events: mpsc::Receiver<Event>,
    status: watch::Receiver<FeedStatus>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source for Running {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(context)
    }

    fn status(&self) -> watch::Receiver<FeedStatus> {
        self.status.clone()
    }
}

struct Follower<R> {
    reader: R,
    ledger: Ledger,
    backoff: Backoff,
    tell_event: mpsc::Sender<Event>,
    tell_status: watch::Sender<FeedStatus>,
}

impl<R: Reader> Follower<R> {
    async fn run(mut self) {
        loop {
            let went = match self.reader.read().await {
                Ok(keys) => {
                    let event = self.ledger.advance(keys);
                    self.backoff.reset();
                    self.settled();
                    if let Some(event) = event
                        && self.tell_event.send(event).await.is_err()
                    {
                        return;
                    }
                    self.reader.moved().await
                }
                Err(trouble) => Err(trouble),
            };
            if let Err(trouble) = went {
                self.failed(trouble);
                tokio::time::sleep(self.backoff.delay()).await;
            }
        }
    }

    fn settled(&self) {
        let (endpoint, revision) = (self.reader.endpoint(), self.ledger.revision());
        self.tell_status.send_if_modified(|status| {
            let same = status.error.is_none()
                && status.revision == revision
                && status.endpoint.as_deref() == Some(endpoint.as_str());
            status.endpoint = Some(endpoint);
            status.revision = revision;
            status.error = None;
            status.hint = None;
            !same
        });
    }

    fn failed(&self, trouble: Trouble) {
        // Told once: a store that stays away is no news.
        if self.tell_status.borrow().error.as_ref() != Some(&trouble.message) {
            tracing::warn!(hint = trouble.hint.as_deref(), "{}", trouble.message);
        }
        self.tell_status.send_modify(|status| {
            status.error = Some(trouble.message);
            status.hint = trouble.hint;
        });
    }
}
