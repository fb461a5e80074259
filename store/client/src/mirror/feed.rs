//! The task that drives a [`Mirror`] over real connections: performs its effects, hands its events on.
//!
//! Decides nothing about revisions; that is `machine.rs`. Owns reconnecting (next member, backoff with jitter) and the
//! translation of the wire's answers into facts.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Client, GetOptions, ResponseHeader, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::effect::{Effect, Event};
use super::input::{Header, Input, KeyEvent};
use super::machine::{Mirror, Stats};
use super::ranges::KeyRange;
use super::snapshot::Entry;
use crate::backoff::Backoff;
use crate::connect::{self, Connector};
use crate::failure;

/// Events between the task and the consumer. 16: a consumer that renders falls behind by a few, and beyond that the
/// stream itself waits (the store buffers and batches better than we would).
const EVENTS_MAX: usize = 16;
/// First wait after a lost connection. 50 ms: a member that restarts or a leader that changes is back within a few.
const RETRY_FLOOR: Duration = Duration::from_millis(50);
/// Longest wait: an agent is at most this late when the store comes back.
const RETRY_CEILING: Duration = Duration::from_secs(5);
/// A page of 1,000 small keys takes milliseconds; who needs ten seconds for it is treated as lost.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer taken. 64 MiB: a whole transaction (128 operations by default) of values of the default request
/// limit (1.5 MiB) comes in pieces; servers that do not cut pieces stay below this.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The client crate hides the fragment mark, so a message of at least this size is taken as possibly cut. Servers cut at
/// their request limit plus 512 KiB and one event is at most the request limit, so a cut piece holds at least 512 KiB;
/// half of that leaves room for framing. A message taken wrongly as cut costs one progress request.
const PIECE_BYTES_MIN: usize = 256 << 10;

/// What to mirror and from where.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// How to reach the store.
    pub connect: connect::Options,
    /// The keys to mirror, in any form.
    pub ranges: Vec<KeyRange>,
    /// Spreads the retries of many agents; the same seed gives the same waits.
    pub seed: u64,
}

/// What the consumer receives.
pub type Update = Event;

/// How the connection is doing, for status pages and readiness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedStatus {
    /// The member in use; `None` while there is no connection.
    pub endpoint: Option<String>,
    /// Why there is none, or why the last one ended: one line.
    pub error: Option<String>,
    /// What a person can do about it.
    pub hint: Option<String>,
    /// Revision up to which the mirror is known complete; 0 before the first listing.
    pub revision: i64,
    /// Counters of the mirror.
    pub stats: Stats,
}

/// A running mirror. Dropping it ends the task.
#[derive(Debug)]
pub struct Feed {
    events: mpsc::Receiver<Update>,
    status: watch::Receiver<FeedStatus>,
    task: JoinHandle<()>,
}

impl Feed {
    /// Starts the task at once; the first event comes when a member could be reached and listed.
    /// Must be called inside a tokio runtime.
    pub fn start(options: FeedOptions) -> Self {
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let (report, status) = watch::channel(FeedStatus::default());
        let runner = Runner {
            empty: options.ranges.is_empty(),
            connector: Connector::new(options.connect),
            backoff: Backoff::new(RETRY_FLOOR, RETRY_CEILING, options.seed),
            mirror: Mirror::new(options.ranges),
            started: Instant::now(),
            page_keys_max: i64::MAX,
            tell,
            report,
        };
        Self {
            events,
            status,
            task: tokio::spawn(runner.run()),
        }
    }

    /// The next event; `None` only when the task ended. Safe to cancel.
    pub async fn next(&mut self) -> Option<Update> {
        self.events.recv().await
    }

    /// The next event as a poll, for streams and `select`.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Update>> {
        self.events.poll_recv(context)
    }

    /// The connection's state, updated as it changes.
    pub fn status(&self) -> watch::Receiver<FeedStatus> {
        self.status.clone()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a connection is given up. All are retried.
#[derive(Debug)]
enum Lost {
    /// The client crate's error.
    Call(Box<etcd_client::Error>),
    /// The store ended a watch for a reason other than compaction.
    Refused(String),
    /// No answer within [`REQUEST_TIMEOUT`].
    Silent(&'static str),
    /// The stream ended without an error.
    Ended,
    /// Nobody listens any more.
    Unheard,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Call(error) => f.write_str(&failure::describe(error)),
            Self::Refused(reason) => write!(f, "watch refused: {reason}"),
            Self::Silent(call) => write!(f, "{call}: no answer within {REQUEST_TIMEOUT:?}"),
            Self::Ended => f.write_str("the store ended the watch stream"),
            Self::Unheard => f.write_str("nobody listens"),
        }
    }
}

impl From<etcd_client::Error> for Lost {
    fn from(error: etcd_client::Error) -> Self {
        Self::Call(Box::new(error))
    }
}

struct Runner {
    connector: Connector,
    backoff: Backoff,
    mirror: Mirror,
    started: Instant,
    /// There is nothing to watch, so that no stream is no loss.
    empty: bool,
    /// Shrinks when a page was too large for one message; values can be far larger than usual.
    page_keys_max: i64,
    tell: mpsc::Sender<Update>,
    report: watch::Sender<FeedStatus>,
}

impl Runner {
    async fn run(mut self) {
        while !self.tell.is_closed() {
            match self.connector.connect().await {
                Ok(connection) => {
                    let endpoint = connection.endpoint.to_string();
                    tracing::info!(%endpoint, "store connected");
                    self.report.send_modify(|status| {
                        status.endpoint = Some(endpoint);
                        status.error = None;
                        status.hint = None;
                    });
                    let Err(lost) = self.drive(connection.client).await;
                    self.mirror
                        .step(self.started.elapsed(), Input::Lost, &mut Vec::new());
                    self.connector.failed();
                    tracing::warn!(reason = %lost, "store connection lost; the last known state stays in force");
                    self.disconnected(lost.to_string(), None);
                }
                Err(error) => self.disconnected(error.to_string(), error.hint()),
            }
            let delay = self.backoff.delay();
            tokio::select! {
                // Both arms hold no state.
                () = tokio::time::sleep(delay) => {}
                () = self.tell.closed() => {}
            }
        }
    }

    fn disconnected(&self, error: String, hint: Option<String>) {
        let repeated = self.report.borrow().error.as_ref() == Some(&error);
        if !repeated {
            tracing::warn!(%error, "store not reachable");
        }
        self.report.send_modify(|status| {
            status.endpoint = None;
            status.error = Some(error);
            status.hint = hint;
        });
    }

    /// Serves one connection until it is lost.
    async fn drive(&mut self, client: Client) -> Result<std::convert::Infallible, Lost> {
        let mut stream = None;
        let mut effects = Vec::new();
        self.step(Input::Connected, &mut effects);
        loop {
            while !effects.is_empty() {
                for effect in std::mem::take(&mut effects) {
                    if let Some(answer) = self.perform(&client, &mut stream, effect).await? {
                        self.step(answer, &mut effects);
                    }
                }
            }
            let deadline = self
                .mirror
                .next_deadline()
                .map(|deadline| self.started + deadline);
            let input = match &mut stream {
                None if self.empty => {
                    self.tell.closed().await;
                    return Err(Lost::Unheard);
                }
                None => return Err(Lost::Ended),
                Some(stream) => tokio::select! {
                    // `message` keeps a half-read message inside the stream, so dropping the future loses nothing.
                    message = stream.message() => translate(&message?.ok_or(Lost::Ended)?)?,
                    // Holds no state.
                    () = sleep_until(deadline) => Some(Input::Tick),
                    // Holds no state.
                    () = self.tell.closed() => return Err(Lost::Unheard),
                },
            };
            if let Some(input) = input {
                self.step(input, &mut effects);
            }
        }
    }

    fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        self.mirror.step(self.started.elapsed(), input, effects);
    }

    async fn perform(
        &mut self,
        client: &Client,
        stream: &mut Option<WatchStream>,
        effect: Effect,
    ) -> Result<Option<Input>, Lost> {
        match effect {
            Effect::Read { range, at, limit } => {
                self.read(client, &range, at, limit).await.map(Some)
            }
            Effect::Watch { watch, range, from } => {
                let (key, range_end) = range.to_wire();
                let mut options = WatchOptions::new()
                    .with_start_revision(from)
                    .with_watch_id(watch_id(watch))
                    .with_progress_notify()
                    .with_fragment();
                if !range_end.is_empty() {
                    options = options.with_range(range_end);
                }
                match stream {
                    Some(stream) => stream.watch(key, Some(options)).await?,
                    None => {
                        let mut watches = client
                            .watch_client()
                            .max_decoding_message_size(MESSAGE_BYTES_MAX);
                        *stream = Some(
                            within("open watch stream", watches.watch(key, Some(options))).await?,
                        );
                    }
                }
                Ok(None)
            }
            Effect::AskProgress => {
                if let Some(stream) = stream {
                    stream.request_progress().await?;
                }
                Ok(None)
            }
            Effect::CloseStream => {
                *stream = None;
                Ok(None)
            }
            Effect::Tell(event) => {
                self.backoff.reset();
                let (Event::Listed { snapshot, .. } | Event::Advanced { snapshot, .. }) = &event;
                let revision = snapshot.revision();
                if let Event::Listed { cause, changes, .. } = &event {
                    tracing::info!(revision, ?cause, changes = changes.len(), "keys read");
                }
                self.tell.send(event).await.map_err(|_| Lost::Unheard)?;
                self.report.send_modify(|status| {
                    status.revision = revision;
                    if status.stats != *self.mirror.stats() {
                        status.stats = self.mirror.stats().clone();
                    }
                });
                Ok(None)
            }
        }
    }

    async fn read(
        &mut self,
        client: &Client,
        range: &KeyRange,
        at: Option<i64>,
        limit: i64,
    ) -> Result<Input, Lost> {
        let (key, range_end) = range.to_wire();
        let mut reads = client
            .kv_client()
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        loop {
            let limit = limit.min(self.page_keys_max);
            let mut options = GetOptions::new()
                .with_limit(limit)
                .with_revision(at.unwrap_or_default());
            if !range_end.is_empty() {
                options = options.with_range(range_end.clone());
            }
            match within("read keys", reads.get(key.clone(), Some(options))).await {
                Ok(mut answer) => {
                    let header = answer.header().map(header_of).ok_or(Lost::Ended)?;
                    let more = answer.more();
                    let entries = answer.take_kvs().into_iter().map(entry_of).collect();
                    return Ok(Input::Page {
                        header,
                        entries,
                        more,
                    });
                }
                Err(Lost::Call(error))
                    if failure::describe(&error).contains("has been compacted") =>
                {
                    return Ok(Input::PageCompacted);
                }
                Err(Lost::Call(error))
                    if limit > 1 && failure::describe(&error).contains("length too large") =>
                {
                    self.page_keys_max = limit / 2;
                }
                Err(lost) => return Err(lost),
            }
        }
    }
}

/// Watch ids start at 1: 0 asks the server to choose.
fn watch_id(watch: usize) -> i64 {
    i64::try_from(watch).map_or(i64::MAX, |watch| watch + 1)
}

async fn within<T>(
    call: &'static str,
    future: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, Lost> {
    match tokio::time::timeout(REQUEST_TIMEOUT, future).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Lost::Silent(call)),
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn header_of(header: &ResponseHeader) -> Header {
    Header {
        cluster: header.cluster_id(),
        revision: header.revision(),
    }
}

fn entry_of(kv: etcd_client::KeyValue) -> (Bytes, Entry) {
    let (create_revision, mod_revision) = (kv.create_revision(), kv.mod_revision());
    let (key, value) = kv.into_key_value();
    (
        key.into(),
        Entry {
            value: value.into(),
            create_revision,
            mod_revision,
        },
    )
}

/// What a message of the watch stream says; `None` for what needs no reaction.
fn translate(message: &WatchResponse) -> Result<Option<Input>, Lost> {
    let header = message.header().map(header_of).ok_or(Lost::Ended)?;
    let watch = usize::try_from(message.watch_id() - 1).ok();
    if message.canceled() {
        return match message.compact_revision() {
            0 => Err(Lost::Refused(message.cancel_reason().to_owned())),
            _ => Ok(Some(Input::WatchCompacted)),
        };
    }
    let Some(watch) = watch else {
        // Only a progress answer speaks of the whole stream.
        return Ok(Some(Input::Progress {
            watch: None,
            revision: header.revision,
        }));
    };
    if message.created() {
        return Ok(Some(Input::Created { watch, header }));
    }
    if message.events().is_empty() {
        return Ok(Some(Input::Progress {
            watch: Some(watch),
            revision: header.revision,
        }));
    }
    let mut bytes = 0;
    let events = message.events().iter().filter_map(|event| {
        let kv = event.kv()?;
        bytes += kv.key().len() + kv.value().len();
        // A delete carries key and revision only, so its version is 0; a put's is at least 1. (Asking the client crate
        // for the event type would panic on a type it does not know.)
        let entry = (kv.version() > 0).then(|| Entry {
            value: Bytes::copy_from_slice(kv.value()),
            create_revision: kv.create_revision(),
            mod_revision: kv.mod_revision(),
        });
        Some(KeyEvent {
            key: Bytes::copy_from_slice(kv.key()),
            revision: kv.mod_revision(),
            entry,
        })
    });
    let events = events.collect();
    let may_continue = bytes >= PIECE_BYTES_MIN;
    Ok(Some(Input::Events {
        watch,
        may_continue,
        events,
    }))
}
