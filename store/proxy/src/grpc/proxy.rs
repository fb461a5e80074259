//! What all connections share, and what becomes of each call: kept (`cache.rs`), joined with others (`identity.rs`), or
//! passed through as it is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Request, Response};
use prost::Message as _;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{
    DeleteRangeRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, Member, MemberListResponse,
    PutRequest, RangeRequest, RangeResponse, TxnRequest, WatchRequest, WatchResponse, request_op,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::counters::Counters;
use super::frames::{self, Mapped};
use super::identity::{self, Identity, Input, Outbox, SHOWN, Streams};
use super::pool::{Calls, Pool};
use crate::cache::{Cache, Question};
use crate::namespace::{Damaged, Namespace};

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const DELETE: &str = "/etcdserverpb.KV/DeleteRange";
const TXN: &str = "/etcdserverpb.KV/Txn";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const MEMBERS: &str = "/etcdserverpb.Cluster/MemberList";

/// How long a question about health may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Proxy {
    pub(crate) pool: Arc<Pool>,
    pub(crate) counters: Counters,
    namespace: Namespace,
    /// What members are told to be at: this proxy.
    advertised: Option<String>,
    /// Largest message that is read whole.
    message_bytes_max: usize,
    cache: Mutex<Cache>,
    identities: Mutex<BTreeMap<Identity, UnboundedSender<Input>>>,
    next_client: AtomicU64,
    began: Instant,
}

impl Proxy {
    pub(crate) fn new(
        pool: Pool,
        namespace: Namespace,
        advertised: Option<String>,
        message_bytes_max: usize,
    ) -> Self {
        Self {
            pool: Arc::new(pool),
            counters: Counters::default(),
            namespace,
            advertised,
            message_bytes_max,
            cache: Mutex::default(),
            identities: Mutex::default(),
            // The first is the cache.
            next_client: AtomicU64::new(1),
            began: Instant::now(),
        }
    }

    pub(crate) fn with_cache<T>(&self, look: impl FnOnce(&mut Cache) -> T) -> T {
        look(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says something to the streams of an identity, which are begun where there are none.
    fn tell(
        self: &Arc<Self>,
        identity: &Identity,
        headers: &HeaderMap,
        input: Input,
    ) -> UnboundedSender<Input> {
        let mut identities = self
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sender = identities.entry(identity.clone()).or_insert_with(|| {
            let mut shown = HeaderMap::new();
            for name in SHOWN {
                for value in headers.get_all(name) {
                    shown.append(name, value.clone());
                }
            }
            let (sender, inbox) = unbounded_channel();
            let metadata = MetadataMap::from_headers(shown);
            let streams = Streams::new(Arc::clone(self), identity.clone(), metadata);
            tokio::spawn(streams.run(inbox));
            sender
        });
        // It is retired under the same lock, so somebody takes it.
        let _ = sender.send(input);
        sender.clone()
    }

    /// Nobody is left of an identity: it goes, unless somebody has come meanwhile.
    pub(crate) fn retire(&self, identity: &Identity, inbox: &UnboundedReceiver<Input>) -> bool {
        let mut identities = self
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let goes = inbox.is_empty();
        if goes {
            identities.remove(identity);
        }
        goes
    }

    /// Answers one call.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let answered = match path.as_str() {
            WATCH => return self.watch(request).await,
            KEEP_ALIVE => return self.keep_alive(request).await,
            RANGE => self.range(request).await,
            PUT | DELETE | TXN => self.write(&path, request).await,
            MEMBERS if self.advertised.is_some() => Ok(self.members()),
            _ => self.forward(&path, request).await,
        };
        answered.unwrap_or_else(|status| status.into_http())
    }

    /// As it is, but for the namespace.
    async fn forward(&self, path: &str, request: Request<Body>) -> Result<Response<Body>, Status> {
        if !self.namespace.concerns(path) {
            return self.pool.send(request).await;
        }
        let (namespace, way) = (self.namespace.clone(), path.to_owned());
        let inside = move |message: &Bytes| {
            namespace
                .request(&way, message)
                .map_err(|error| damaged(&error))
        };
        let request = request.map(|body| Mapped::body(body, inside));
        Ok(self.outside(path, self.pool.send(request).await?))
    }

    fn outside(&self, path: &str, response: Response<Body>) -> Response<Body> {
        if !self.namespace.concerns(path) {
            return response;
        }
        let (namespace, way) = (self.namespace.clone(), path.to_owned());
        let outside = move |message: &Bytes| {
            namespace
                .response(&way, message)
                .map_err(|error| damaged(&error))
        };
        response.map(|body| Mapped::body(body, outside))
    }

    /// Serializable ranges of the newest state may be answered from the cache.
    async fn range(self: &Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let (message, _) = frames::collect(body, self.message_bytes_max).await?;
        let message = message.unwrap_or_default();
        let message = match self.namespace.concerns(RANGE) {
            true => self
                .namespace
                .request(RANGE, &message)
                .map_err(|error| damaged(&error))?,
            false => message,
        };
        let asked = RangeRequest::decode(message.clone()).map_err(|error| damaged(&error))?;
        let request = Request::from_parts(parts, frames::one(&message));
        if !asked.serializable || asked.revision > 0 || asked.key.is_empty() {
            return Ok(self.outside(RANGE, self.pool.send(request).await?));
        }
        let question = Question {
            identity: identity::identity(request.headers()),
            request: message,
        };
        let now = self.began.elapsed();
        if let Some(answer) = self.with_cache(|cache| cache.get(now, &question)) {
            return Ok(frames::answer(answer));
        }
        let when = (now, self.with_cache(|cache| cache.asked()));
        let headers = request.headers().clone();
        let response = self.pool.send(request).await?;
        let (parts, body) = self.outside(RANGE, response).into_parts();
        if parts.headers.contains_key(Status::GRPC_STATUS) {
            return Ok(Response::from_parts(parts, body));
        }
        let (message, trailers) = frames::collect(body, usize::MAX).await?;
        let status = trailers.as_ref().and_then(Status::from_header_map);
        let message = match (message, status) {
            (_, Some(status)) if status.code() != tonic::Code::Ok => return Err(status),
            (Some(message), Some(_)) => message,
            _ => return Err(Status::unavailable("the member broke off its answer")),
        };
        let frame = frames::framed(&message);
        if let Ok(answer) = RangeResponse::decode(message)
            && let Some(header) = answer.header
        {
            let about = (when, &asked);
            self.keep(&headers, question, about, frame.clone(), header.revision);
        }
        Ok(frames::answer(frame))
    }

    /// Keeps an answer, and watches its range from then on.
    fn keep(
        self: &Arc<Self>,
        headers: &HeaderMap,
        question: Question,
        (when, asked): ((Duration, u64), &RangeRequest),
        frame: Bytes,
        revision: i64,
    ) {
        let who = question.identity.clone();
        let range = (asked.key.clone(), asked.range_end.clone());
        let (kept, gone) = self.with_cache(|cache| cache.keep(when, question, range, frame));
        if let Some(number) = kept {
            let (key, end) = (asked.key.clone(), asked.range_end.clone());
            self.tell(&who, headers, Input::Follow(number, key, end, revision + 1));
        }
        self.unfollow(&gone);
    }

    /// Lets go of answers whose time is up.
    pub(crate) fn expire(&self) {
        let now = self.began.elapsed();
        let gone = self.with_cache(|cache| cache.expire(now));
        self.unfollow(&gone);
    }

    /// Nobody needs to follow these any more; whoever does, stops.
    fn unfollow(&self, numbers: &[u64]) {
        if numbers.is_empty() {
            return;
        }
        let identities = self
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for sender in identities.values() {
            for number in numbers {
                let _ = sender.send(Input::Unfollow(*number));
            }
        }
    }

    /// Who writes here reads here what was written: answers about it go before the writer hears that it is done.
    async fn write(&self, path: &str, request: Request<Body>) -> Result<Response<Body>, Status> {
        if self.with_cache(|cache| cache.len()) == 0 {
            let answer = self.forward(path, request).await;
            self.with_cache(Cache::wrote);
            return answer;
        }
        let (parts, body) = request.into_parts();
        let (message, _) = frames::collect(body, self.message_bytes_max).await?;
        let message = message.unwrap_or_default();
        let message = match self.namespace.concerns(path) {
            true => self
                .namespace
                .request(path, &message)
                .map_err(|error| damaged(&error))?,
            false => message,
        };
        let written = written(path, &message).map_err(|error| damaged(&error))?;
        let request = Request::from_parts(parts, frames::one(&message));
        let response = self.pool.send(request).await;
        let gone: Vec<u64> = self.with_cache(|cache| {
            let gone = written.iter().map(|(key, end)| cache.written(key, end));
            gone.flatten().collect()
        });
        self.unfollow(&gone);
        Ok(self.outside(path, response?))
    }

    /// The one member clients are to know of.
    fn members(&self) -> Response<Body> {
        let member = Member {
            name: "proxy".to_owned(),
            client_ur_ls: self.advertised.iter().cloned().collect(),
            ..Member::default()
        };
        let list = MemberListResponse {
            members: vec![member],
            ..MemberListResponse::default()
        };
        frames::answer(frames::framed(&list.encode_to_vec()))
    }

    async fn watch(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let headers = request.headers().clone();
        let proxy = Arc::clone(&self);
        let serve = tower::service_fn(move |request: tonic::Request<Streaming<WatchRequest>>| {
            let stream = proxy.watch_stream(&headers, request.into_inner());
            std::future::ready(Ok::<_, Status>(tonic::Response::new(stream)))
        });
        let codec = ProstCodec::<WatchResponse, WatchRequest>::default();
        Grpc::new(codec).streaming(serve, request).await
    }

    fn watch_stream(
        self: &Arc<Self>,
        headers: &HeaderMap,
        mut requests: Streaming<WatchRequest>,
    ) -> impl stream::Stream<Item = Result<WatchResponse, Status>> + Send + use<> {
        let client = self.next_client.fetch_add(1, Relaxed);
        let who = identity::identity(headers);
        let (outbox, responses) = Outbox::new();
        let sender = self.tell(&who, headers, Input::Watches(client, outbox.clone()));
        let stay = Stay(sender.clone(), Some(Input::Left(client)));
        let (namespace, saying) = (self.namespace.clone(), sender.clone());
        tokio::spawn(async move {
            // Half closed or broken, the client says no more; it leaves when its answers end.
            while let Ok(Some(mut request)) = requests.message().await {
                if let Some(RequestUnion::CreateRequest(create)) = &mut request.request_union
                    && !namespace.is_none()
                {
                    if create.key.is_empty() {
                        create.key = Bytes::from_static(b"\0");
                    }
                    namespace.range(&mut create.key, &mut create.range_end);
                }
                if saying.send(Input::Said(client, request)).is_err() {
                    return;
                }
            }
        });
        let namespace = self.namespace.clone();
        let state = (responses, outbox, sender, stay);
        stream::unfold(state, move |mut state| {
            let namespace = namespace.clone();
            async move {
                let mut response = state.0.recv().await?;
                if let Ok(response) = &mut response {
                    if state.1.taken(response) {
                        let _ = state.2.send(Input::Drained(client));
                    }
                    if !namespace.is_none() {
                        let events = response.events.iter_mut();
                        let pairs =
                            events.flat_map(|event| event.kv.iter_mut().chain(&mut event.prev_kv));
                        pairs.for_each(|pair| namespace.pair(pair));
                    }
                }
                Some((response, state))
            }
        })
    }

    async fn keep_alive(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let headers = request.headers().clone();
        let proxy = Arc::clone(&self);
        let serve = tower::service_fn(
            move |request: tonic::Request<Streaming<LeaseKeepAliveRequest>>| {
                let stream = proxy.renewal_stream(&headers, request.into_inner());
                std::future::ready(Ok::<_, Status>(tonic::Response::new(stream)))
            },
        );
        let codec = ProstCodec::<LeaseKeepAliveResponse, LeaseKeepAliveRequest>::default();
        Grpc::new(codec).streaming(serve, request).await
    }

    fn renewal_stream(
        self: &Arc<Self>,
        headers: &HeaderMap,
        mut requests: Streaming<LeaseKeepAliveRequest>,
    ) -> impl stream::Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send + use<> {
        let client = self.next_client.fetch_add(1, Relaxed);
        let who = identity::identity(headers);
        let (sender, responses) = unbounded_channel();
        let saying = self.tell(&who, headers, Input::Renews(client, sender));
        let stay = Stay(saying.clone(), Some(Input::Renewed(client)));
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if saying.send(Input::Renew(client, request.id)).is_err() {
                    return;
                }
            }
        });
        stream::unfold((responses, stay), |mut state| async move {
            let response = state.0.recv().await?;
            Some((response, state))
        })
    }

    /// Whether a read goes through, with a majority behind it.
    pub(crate) async fn health(&self) -> Result<(), String> {
        let mut client = KvClient::new(Calls(Arc::clone(&self.pool)));
        let request = RangeRequest {
            key: "health".into(),
            ..RangeRequest::default()
        };
        // Safe to cancel: nothing but reading.
        match tokio::time::timeout(HEALTH_TIMEOUT, client.range(request)).await {
            Ok(Ok(_)) => Ok(()),
            // The cluster is well, and does not know who asks.
            Ok(Err(status)) if status.message().contains("user name is empty") => Ok(()),
            Ok(Err(status)) if status.code() == tonic::Code::PermissionDenied => Ok(()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err("no member answers in time".to_owned()),
        }
    }
}

/// Says that a client has left when its answers are dropped.
struct Stay(UnboundedSender<Input>, Option<Input>);

impl Drop for Stay {
    fn drop(&mut self) {
        if let Some(left) = self.1.take() {
            let _ = self.0.send(left);
        }
    }
}

fn damaged(error: &Damaged) -> Status {
    Status::internal(format!(
        "grpc: failed to unmarshal the received message: {error}"
    ))
}

/// The ranges a request writes to.
fn written(path: &str, message: &Bytes) -> Result<Vec<(Bytes, Bytes)>, Damaged> {
    Ok(match path {
        PUT => vec![(PutRequest::decode(message.clone())?.key, Bytes::new())],
        DELETE => {
            let request = DeleteRangeRequest::decode(message.clone())?;
            vec![(request.key, request.range_end)]
        }
        _ => {
            let mut all = Vec::new();
            of_txn(TxnRequest::decode(message.clone())?, &mut all);
            all
        }
    })
}

/// Of both branches: which ran is for the cluster to know.
fn of_txn(txn: TxnRequest, all: &mut Vec<(Bytes, Bytes)>) {
    for operation in txn.success.into_iter().chain(txn.failure) {
        match operation.request {
            Some(request_op::Request::RequestPut(put)) => all.push((put.key, Bytes::new())),
            Some(request_op::Request::RequestDeleteRange(delete)) => {
                all.push((delete.key, delete.range_end));
            }
            Some(request_op::Request::RequestTxn(txn)) => of_txn(txn, all),
            _ => {}
        }
    }
}
