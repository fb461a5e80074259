//! What is under a range as it changes: read once at one revision, watched from the next, resumed without a gap after a
//! break, and read again when history is gone. What is to be asked when is the mirror's, the one the agents use.

use std::time::Duration;

use bytes::Bytes;
use store_client::mirror::{Effect, Entry, Event, Header, Input, KeyEvent, KeyRange, Mirror};
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::watch_client::WatchClient;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{
    ResponseHeader, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use store_proto::mvccpb::KeyValue;
use store_proto::mvccpb::event::EventType;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status, Streaming};

use super::ask::read;
use super::link::{Link, backoff, may_pass};
use crate::connect::{ANSWER_BYTES_MAX, Connection};
use crate::failure::Failure;

/// 16: whoever runs a command for each falls behind by a few; then the stream waits.
const EVENTS_MAX: usize = 16;

/// A range that is followed; ends with its owner.
#[derive(Debug)]
pub(crate) struct Follow {
    events: mpsc::Receiver<Result<Event, Failure>>,
    task: JoinHandle<()>,
}

impl Follow {
    /// Begins at once.
    pub(crate) fn new(link: &Link, range: KeyRange) -> Self {
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let runner = Runner {
            link: link.clone(),
            mirror: Mirror::new(vec![range]),
            started: Instant::now(),
            tell,
        };
        Self {
            events,
            task: tokio::spawn(runner.run()),
        }
    }

    /// The next event: the first is what is there. Safe to cancel.
    ///
    /// # Errors
    /// What the store refuses; a store that does not answer is waited for.
    pub(crate) async fn next(&mut self) -> Result<Event, Failure> {
        let event = self.events.recv().await;
        event.unwrap_or_else(|| Err(Failure::bad_connection("the watch has ended")))
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until there is no such key.
///
/// # Errors
/// What the store refuses.
pub(crate) async fn gone(link: &Link, key: &[u8]) -> Result<(), Failure> {
    let mut follow = Follow::new(link, KeyRange::key(key));
    loop {
        let (Event::Listed { snapshot, .. } | Event::Advanced { snapshot, .. }) =
            follow.next().await?;
        if snapshot.get(key).is_none() {
            return Ok(());
        }
    }
}

/// Waits until the key created at that revision is gone, even if another one of its name is there.
///
/// # Errors
/// What the store refuses.
pub(crate) async fn ended(link: &Link, key: &[u8], created: i64) -> Result<(), Failure> {
    let mut follow = Follow::new(link, KeyRange::key(key));
    loop {
        let (Event::Listed { snapshot, .. } | Event::Advanced { snapshot, .. }) =
            follow.next().await?;
        if snapshot.get(key).map(|entry| entry.create_revision) != Some(created) {
            return Ok(());
        }
    }
}

/// Why a stream is given up.
enum Broken {
    /// Another one may do better.
    Passing,
    /// The store refuses.
    Refused(Failure),
    /// Nobody listens.
    Unheard,
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        if may_pass(&status) {
            Self::Passing
        } else {
            Self::Refused(status.into())
        }
    }
}

struct Runner {
    link: Link,
    mirror: Mirror,
    started: Instant,
    tell: mpsc::Sender<Result<Event, Failure>>,
}

/// An open stream, and what keeps it open.
struct Stream {
    requests: mpsc::UnboundedSender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Runner {
    async fn run(mut self) {
        let mut backoff = backoff();
        loop {
            let (connection, number) = self.link.connection();
            let before = self.mirror.snapshot().map(|snapshot| snapshot.revision());
            match self.drive(connection).await {
                Broken::Unheard => return,
                Broken::Refused(failure) => {
                    let _ = self.tell.send(Err(failure)).await;
                    return;
                }
                Broken::Passing => {}
            }
            self.step(Input::Lost);
            if self.mirror.snapshot().map(|snapshot| snapshot.revision()) != before {
                backoff.reset();
            }
            sleep(backoff.delay()).await;
            self.link.replace(number).await;
        }
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.mirror
            .step(self.started.elapsed(), input, &mut effects);
        effects
    }

    /// Serves one connection until it breaks.
    async fn drive(&mut self, connection: Connection) -> Broken {
        let mut stream = None;
        let mut effects = self.step(Input::Connected);
        loop {
            while !effects.is_empty() {
                let mut more = Vec::new();
                for effect in effects {
                    match self.perform(&connection, &mut stream, effect).await {
                        Ok(Some(input)) => more.extend(self.step(input)),
                        Ok(None) => {}
                        Err(broken) => return broken,
                    }
                }
                effects = more;
            }
            let Some(stream) = &mut stream else {
                return Broken::Passing;
            };
            let due = self.mirror.next_deadline().map(|due| self.started + due);
            let input = tokio::select! {
                // Safe to cancel: a half-read message stays in the stream.
                message = stream.answers.message() => match message {
                    Ok(Some(message)) => translated(message),
                    Ok(None) => return Broken::Passing,
                    Err(status) => return status.into(),
                },
                // These hold no state.
                () = at(due) => Ok(Some(Input::Tick)),
                () = self.tell.closed() => return Broken::Unheard,
            };
            effects = match input {
                Ok(Some(input)) => self.step(input),
                Ok(None) => Vec::new(),
                Err(broken) => return broken,
            };
        }
    }

    async fn perform(
        &self,
        connection: &Connection,
        stream: &mut Option<Stream>,
        effect: Effect,
    ) -> Result<Option<Input>, Broken> {
        match effect {
            Effect::Read { range, at, limit } => {
                let mut request = read(&range);
                request.revision = at.unwrap_or(0);
                request.limit = limit;
                let mut client =
                    KvClient::new(connection.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
                let answer = timeout(self.patience(), client.range(request)).await;
                match answer.map_err(|_| Broken::Passing)? {
                    Ok(page) => {
                        let page = page.into_inner();
                        Ok(Some(Input::Page {
                            header: header(page.header),
                            entries: page.kvs.into_iter().map(entry).collect(),
                            more: page.more,
                        }))
                    }
                    Err(status) if status.message().contains("has been compacted") => {
                        Ok(Some(Input::PageCompacted))
                    }
                    Err(status) => Err(status.into()),
                }
            }
            Effect::Watch { watch, range, from } => {
                let (key, range_end) = range.to_wire();
                let create = WatchCreateRequest {
                    key: key.into(),
                    range_end: range_end.into(),
                    start_revision: from,
                    progress_notify: true,
                    fragment: true,
                    // 0 asks the server to choose.
                    watch_id: i64::try_from(watch).map_or(i64::MAX, |watch| watch + 1),
                    ..WatchCreateRequest::default()
                };
                let create = RequestUnion::CreateRequest(create);
                match stream {
                    Some(stream) => send(stream, create)?,
                    None => *stream = Some(self.open(connection, create).await?),
                }
                Ok(None)
            }
            Effect::AskProgress => {
                if let Some(stream) = stream {
                    send(
                        stream,
                        RequestUnion::ProgressRequest(WatchProgressRequest {}),
                    )?;
                }
                Ok(None)
            }
            Effect::CloseStream => {
                *stream = None;
                Ok(None)
            }
            Effect::Tell(event) => {
                let told = self.tell.send(Ok(event)).await;
                told.map(|()| None).map_err(|_| Broken::Unheard)
            }
        }
    }

    /// A stream with its first request: etcd answers nothing before it has read one.
    async fn open(&self, connection: &Connection, first: RequestUnion) -> Result<Stream, Broken> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let _ = requests.send(WatchRequest {
            request_union: Some(first),
        });
        let mut request = Request::new(UnboundedReceiverStream::new(receiver));
        // A member that is cut off from the others has nothing to tell, and is to say so.
        let yes = MetadataValue::from_static("true");
        request.metadata_mut().insert("hasleader", yes);
        let mut client =
            WatchClient::new(connection.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        // Safe to cancel: a stream that is not open yet is dropped.
        let answers = timeout(self.patience(), client.watch(request)).await;
        let answers = answers.map_err(|_| Broken::Passing)??.into_inner();
        Ok(Stream { requests, answers })
    }

    fn patience(&self) -> Duration {
        self.link.globals().command_timeout
    }
}

fn send(stream: &Stream, request: RequestUnion) -> Result<(), Broken> {
    let request = WatchRequest {
        request_union: Some(request),
    };
    stream.requests.send(request).map_err(|_| Broken::Passing)
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn header(header: Option<ResponseHeader>) -> Header {
    let header = header.unwrap_or_default();
    Header {
        cluster: header.cluster_id,
        revision: header.revision,
    }
}

fn entry(kv: KeyValue) -> (Bytes, Entry) {
    let entry = Entry {
        value: kv.value,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
    };
    (kv.key, entry)
}

/// What a message of the stream says; `None` for what needs no reaction.
fn translated(message: WatchResponse) -> Result<Option<Input>, Broken> {
    let revision = message.header.unwrap_or_default().revision;
    if message.canceled {
        return match message.compact_revision {
            0 if message.cancel_reason.contains("permission denied") => {
                Err(Broken::Refused(Failure::error(message.cancel_reason)))
            }
            0 => Err(Broken::Passing),
            _ => Ok(Some(Input::WatchCompacted)),
        };
    }
    let watch = usize::try_from(message.watch_id - 1).ok();
    let Some(watch) = watch else {
        // Only a progress answer speaks of the whole stream.
        return Ok(Some(Input::Progress {
            watch: None,
            revision,
        }));
    };
    if message.created {
        let header = header(message.header);
        return Ok(Some(Input::Created { watch, header }));
    }
    if message.events.is_empty() {
        return Ok(Some(Input::Progress {
            watch: Some(watch),
            revision,
        }));
    }
    let events = message.events.into_iter().filter_map(|event| {
        let kind = event.r#type();
        let (key, entry) = entry(event.kv?);
        Some(KeyEvent {
            key,
            revision: entry.mod_revision,
            entry: (kind == EventType::Put).then_some(entry),
        })
    });
    Ok(Some(Input::Events {
        watch,
        may_continue: message.fragment,
        events: events.collect(),
    }))
}
