//! The streams of all clients that show the same token, on one stream upstream for watches and one for renewals. What is on
//! them is decided by `watch.rs` and `keep_alive.rs`; here it is carried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use prost::Message as _;
use store_proto::etcdserverpb::lease_client::LeaseClient;
use store_proto::etcdserverpb::watch_client::WatchClient;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, WatchCancelRequest, WatchCreateRequest,
    WatchRequest, WatchResponse,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

use super::pool::Calls;
use super::proxy::Proxy;
use crate::keep_alive::{self, KeepAlives};
use crate::watch::{self, Coalescer};

/// 4 MiB: what may wait in memory for a client that does not read.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Before the stream upstream is opened again; doubles up to the second one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The cache, as a client of the coalescer.
const CACHE: u64 = 0;
/// Metadata that decides what a call may do and when it ends.
pub(crate) const SHOWN: [&str; 3] = ["token", "authorization", "hasleader"];

/// Who calls: the metadata that the cluster looks at, as it came.
pub(crate) type Identity = Bytes;

/// The identity of a call.
pub(crate) fn identity(headers: &http::HeaderMap) -> Identity {
    let mut shown = Vec::new();
    for name in SHOWN {
        for value in headers.get_all(name) {
            shown.extend_from_slice(name.as_bytes());
            shown.push(0);
            shown.extend_from_slice(value.as_bytes());
            shown.push(0);
        }
    }
    shown.into()
}

/// What happens to an identity.
pub(crate) enum Input {
    /// A watch stream of a client.
    Watches(u64, Outbox),
    /// A message on it.
    Said(u64, WatchRequest),
    /// It has taken what waited for it.
    Drained(u64),
    /// It ended.
    Left(u64),
    /// The cache wants to know when this range changes.
    Follow(u64, Bytes, Bytes, i64),
    /// It does not any more.
    Unfollow(u64),
    /// A renewal stream of a client.
    Renews(u64, UnboundedSender<Result<LeaseKeepAliveResponse, Status>>),
    /// A message on it.
    Renew(u64, i64),
    /// It ended.
    Renewed(u64),
}

/// What waits for a client.
#[derive(Clone)]
pub(crate) struct Outbox {
    sender: UnboundedSender<Result<WatchResponse, Status>>,
    waiting: Arc<AtomicUsize>,
    slow: Arc<AtomicBool>,
}

impl Outbox {
    pub(crate) fn new() -> (Self, UnboundedReceiver<Result<WatchResponse, Status>>) {
        let (sender, receiver) = unbounded_channel();
        let outbox = Self {
            sender,
            waiting: Arc::default(),
            slow: Arc::default(),
        };
        (outbox, receiver)
    }

    /// Says whether too much waits.
    fn push(&self, response: WatchResponse) -> bool {
        let bytes = response.encoded_len();
        let waiting = self.waiting.fetch_add(bytes, SeqCst) + bytes;
        // A client that is gone says so itself.
        let _ = self.sender.send(Ok(response));
        waiting > WAITING_BYTES_MAX && !self.slow.swap(true, SeqCst)
    }

    /// A message was taken; says whether the client was too slow and is not any more.
    pub(crate) fn taken(&self, response: &WatchResponse) -> bool {
        let bytes = response.encoded_len();
        let before = self.waiting.fetch_sub(bytes, SeqCst);
        before == bytes && self.slow.swap(false, SeqCst)
    }
}

/// A stream upstream.
enum Line<T> {
    Closed,
    /// Its first answer is waited for: a server says nothing before.
    Opening(BoxFuture<'static, Result<Response<Streaming<T>>, Status>>),
    Open(Box<Streaming<T>>),
}

impl<T> Line<T> {
    /// The next message. Safe to cancel: what is under way is kept.
    async fn next(&mut self) -> Result<T, Status> {
        loop {
            let ended = match self {
                Self::Closed => std::future::pending().await,
                Self::Opening(opening) => match opening.await {
                    Ok(response) => {
                        *self = Self::Open(Box::new(response.into_inner()));
                        continue;
                    }
                    Err(status) => status,
                },
                Self::Open(stream) => match stream.message().await {
                    Ok(Some(message)) => return Ok(message),
                    Ok(None) => Status::unavailable("the member ended the stream"),
                    Err(status) => status,
                },
            };
            *self = Self::Closed;
            return Err(ended);
        }
    }
}

/// When a stream upstream is opened again, and how it is written to.
struct Retry<Q> {
    requests: Option<UnboundedSender<Q>>,
    at: Option<Instant>,
    pause: Duration,
}

impl<Q> Retry<Q> {
    const fn new() -> Self {
        Self {
            requests: None,
            at: None,
            pause: FIRST_PAUSE,
        }
    }

    fn lost(&mut self) {
        self.requests = None;
        self.at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    async fn due(&self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// The streams of one identity.
pub(crate) struct Streams {
    proxy: Arc<Proxy>,
    identity: Identity,
    metadata: MetadataMap,
    coalescer: Coalescer,
    outboxes: BTreeMap<u64, Outbox>,
    followed: std::collections::BTreeSet<u64>,
    watching: Line<WatchResponse>,
    watch_again: Retry<WatchRequest>,
    leases: KeepAlives,
    renewers: BTreeMap<u64, UnboundedSender<Result<LeaseKeepAliveResponse, Status>>>,
    renewing: Line<LeaseKeepAliveResponse>,
    renew_again: Retry<LeaseKeepAliveRequest>,
    /// What was told to the counters.
    told: (u64, u64, usize, usize),
}

impl Streams {
    pub(crate) fn new(proxy: Arc<Proxy>, identity: Identity, metadata: MetadataMap) -> Self {
        Self {
            proxy,
            identity,
            metadata,
            coalescer: Coalescer::default(),
            outboxes: BTreeMap::new(),
            followed: std::collections::BTreeSet::new(),
            watching: Line::Closed,
            watch_again: Retry::new(),
            leases: KeepAlives::default(),
            renewers: BTreeMap::new(),
            renewing: Line::Closed,
            renew_again: Retry::new(),
            told: (0, 0, 0, 0),
        }
    }

    /// Carries until nobody is left.
    pub(crate) async fn run(mut self, mut inbox: UnboundedReceiver<Input>) {
        loop {
            tokio::select! {
                // Safe to cancel: an input not returned stays in the inbox.
                input = inbox.recv() => match input {
                    Some(input) => self.input(input),
                    None => return,
                },
                // Safe to cancel: see `Line::next`, both.
                message = self.watching.next() => match message {
                    Ok(response) => {
                        self.watch_again.pause = FIRST_PAUSE;
                        self.coalescer.upstream_said(&response);
                    }
                    Err(status) => self.watch_lost(&status),
                },
                message = self.renewing.next() => match message {
                    Ok(response) => {
                        self.renew_again.pause = FIRST_PAUSE;
                        self.leases.upstream_said(&response);
                    }
                    Err(status) => self.renew_lost(&status),
                },
                // Safe to cancel: it only waits, both.
                () = self.watch_again.due() => {
                    self.watch_again.at = None;
                    self.open_watch();
                    self.coalescer.upstream_came();
                }
                () = self.renew_again.due() => {
                    self.renew_again.at = None;
                    self.open_renewal();
                    self.leases.upstream_came();
                }
            }
            self.perform();
            self.count();
            let nobody = self.outboxes.is_empty() && self.renewers.is_empty();
            if nobody && self.followed.is_empty() && self.proxy.retire(&self.identity, &inbox) {
                return;
            }
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Watches(client, outbox) => {
                self.outboxes.insert(client, outbox);
            }
            Input::Said(client, request) => self.coalescer.client_said(client, request),
            Input::Drained(client) => self.coalescer.client_is_fast(client),
            Input::Left(client) => {
                self.outboxes.remove(&client);
                self.coalescer.client_left(client);
            }
            Input::Follow(number, key, range_end, start_revision) => {
                self.followed.insert(number);
                let create = WatchCreateRequest {
                    key,
                    range_end,
                    start_revision,
                    watch_id: i64::try_from(number).unwrap_or(i64::MAX),
                    ..WatchCreateRequest::default()
                };
                let request_union = Some(RequestUnion::CreateRequest(create));
                self.coalescer
                    .client_said(CACHE, WatchRequest { request_union });
            }
            Input::Unfollow(number) => self.unfollow(number),
            Input::Renews(client, outbox) => {
                self.renewers.insert(client, outbox);
            }
            Input::Renew(client, lease) => self.leases.client_said(client, lease),
            Input::Renewed(client) => {
                self.renewers.remove(&client);
                self.leases.client_left(client);
            }
        }
    }

    fn unfollow(&mut self, number: u64) {
        if self.followed.remove(&number) {
            let watch_id = i64::try_from(number).unwrap_or(i64::MAX);
            let cancel = RequestUnion::CancelRequest(WatchCancelRequest { watch_id });
            let request_union = Some(cancel);
            self.coalescer
                .client_said(CACHE, WatchRequest { request_union });
        }
    }

    /// Does what the machines say until they say nothing more.
    fn perform(&mut self) {
        loop {
            let effects = self.coalescer.take();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    watch::Effect::Upstream(request) => self.ask_watch(request),
                    watch::Effect::Client(CACHE, response) => self.cache_told(&response),
                    watch::Effect::Client(client, response) => {
                        self.proxy.counters.events(response.events.len());
                        let outbox = self.outboxes.get(&client);
                        if outbox.is_some_and(|outbox| outbox.push(response)) {
                            self.coalescer.client_is_slow(client);
                        }
                    }
                }
            }
        }
        for effect in self.leases.take() {
            match effect {
                keep_alive::Effect::Upstream(lease) => self.ask_renewal(lease),
                keep_alive::Effect::Client(client, response) => {
                    if let Some(outbox) = self.renewers.get(&client) {
                        // A client that is gone says so itself.
                        let _ = outbox.send(Ok(response));
                    }
                }
            }
        }
        if self.coalescer.is_idle() {
            self.watching = Line::Closed;
            self.watch_again = Retry::new();
        }
        if self.leases.is_idle() && self.renewers.is_empty() {
            self.renewing = Line::Closed;
            self.renew_again = Retry::new();
        }
    }

    /// While the stream upstream is away nothing is lost: it is asked for again when there is a new one.
    fn ask_watch(&mut self, request: WatchRequest) {
        if self.watch_again.requests.is_none() && self.watch_again.at.is_none() {
            self.open_watch();
        }
        if let Some(requests) = &self.watch_again.requests {
            let _ = requests.send(request);
        }
    }

    fn ask_renewal(&mut self, id: i64) {
        if self.renew_again.requests.is_none() && self.renew_again.at.is_none() {
            self.open_renewal();
        }
        if let Some(requests) = &self.renew_again.requests {
            let _ = requests.send(LeaseKeepAliveRequest { id });
        }
    }

    fn request<Q>(&self, requests: UnboundedReceiver<Q>) -> Request<UnboundedReceiverStream<Q>> {
        let mut request = Request::new(UnboundedReceiverStream::new(requests));
        *request.metadata_mut() = self.metadata.clone();
        request
    }

    fn open_watch(&mut self) {
        let (sender, receiver) = unbounded_channel();
        let request = self.request(receiver);
        let mut client = WatchClient::new(Calls(Arc::clone(&self.proxy.pool)))
            .max_decoding_message_size(usize::MAX);
        self.watch_again.requests = Some(sender);
        self.watching = Line::Opening(Box::pin(async move { client.watch(request).await }));
    }

    fn open_renewal(&mut self) {
        let (sender, receiver) = unbounded_channel();
        let request = self.request(receiver);
        let mut client = LeaseClient::new(Calls(Arc::clone(&self.proxy.pool)));
        self.renew_again.requests = Some(sender);
        self.renewing = Line::Opening(Box::pin(
            async move { client.lease_keep_alive(request).await },
        ));
    }

    fn watch_lost(&mut self, status: &Status) {
        // What changed meanwhile nobody heard.
        for number in std::mem::take(&mut self.followed) {
            self.proxy.with_cache(|cache| cache.drop_number(number));
        }
        self.coalescer.client_left(CACHE);
        self.coalescer.upstream_lost();
        if self.is_for_good(status) {
            for (client, outbox) in std::mem::take(&mut self.outboxes) {
                let _ = outbox.sender.send(Err(status.clone()));
                self.coalescer.client_left(client);
            }
            self.watch_again = Retry::new();
            return;
        }
        tracing::info!(%status, "a watch stream to a member ended, it is opened again");
        self.watch_again.lost();
    }

    fn renew_lost(&mut self, status: &Status) {
        if self.is_for_good(status) {
            for (client, outbox) in std::mem::take(&mut self.renewers) {
                let _ = outbox.send(Err(status.clone()));
                self.leases.client_left(client);
            }
            self.renew_again = Retry::new();
            return;
        }
        tracing::info!(%status, "a renewal stream to a member ended, it is opened again");
        self.renew_again.lost();
    }

    /// The clients themselves have to hear it: another stream would end the same way, or they asked to be told.
    fn is_for_good(&self, status: &Status) -> bool {
        match status.code() {
            Code::Unavailable => {
                self.metadata.contains_key("hasleader") && status.message().contains("no leader")
            }
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::Unimplemented => true,
            _ => false,
        }
    }

    fn cache_told(&mut self, response: &WatchResponse) {
        let Ok(number) = u64::try_from(response.watch_id) else {
            return;
        };
        if response.created && !response.canceled {
            self.proxy.with_cache(|cache| cache.vouch(number));
        } else if response.canceled {
            self.followed.remove(&number);
            self.proxy.with_cache(|cache| cache.drop_number(number));
        } else if !response.events.is_empty() {
            self.proxy.with_cache(|cache| cache.drop_number(number));
            self.unfollow(number);
        }
    }

    /// Tells the counters what has changed.
    fn count(&mut self) {
        let now = (
            self.coalescer.coalesced(),
            self.leases.coalesced(),
            self.coalescer.feeds(),
            self.coalescer.riders() - self.followed.len().min(self.coalescer.riders()),
        );
        if now != self.told {
            self.proxy.counters.moved(self.told, now);
            self.told = now;
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let (coalesced, renewals, ..) = self.told;
        self.proxy
            .counters
            .moved(self.told, (coalesced, renewals, 0, 0));
    }
}
