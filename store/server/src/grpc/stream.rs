//! gRPC calls with a stream on one side or both, on tonic's machinery.

mod inward;

use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures::future::{Either, FutureExt as _};
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use http::{Request, Response};
use hyper::body::Incoming;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};

use self::inward::Says;
use super::account::StreamAccount;
use super::errors::ApiError;
use super::metadata::{self, Wanted};
use super::method::Method;
use super::services::Answer;
use crate::absence::Absence;
use crate::api::Api;
use crate::auth::Admission;
use crate::body::Body;
use crate::call::Call;

/// What a stream's buffers start with. tonic's own 8 KiB each way would be most of what an idle
/// watch stream costs; requests are small, and an answer's buffer grows to what it needs.
const BUFFER_BYTES: usize = 256;

/// How much of what is ready goes out in one frame: tonic's own default.
const FRAME_BYTES: usize = 32 * 1024;

pub(crate) fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, FRAME_BYTES)
}

/// Decodes requests with prost.
pub(crate) struct Requests<M>(std::marker::PhantomData<M>);

impl<M> Default for Requests<M> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<M: Message + Default + 'static> Decoder for Requests<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        let message = M::decode(src).map_err(|error| {
            Status::internal(format!(
                "grpc: failed to unmarshal the received message: {error}"
            ))
        })?;
        Ok(Some(message))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// Encodes answers with prost.
pub(crate) struct Answers<R>(std::marker::PhantomData<R>);

impl<R> Default for Answers<R> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<R: Message + 'static> Encoder for Answers<R> {
    type Item = R;
    type Error = Status;

    fn encode(&mut self, answer: R, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        answer.encode(dst).map_err(|error| {
            // The buffer grows as needed; this is out of memory or a bug.
            Status::internal(format!("grpc: failed to marshal the answer: {error}"))
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// A decoder for requests and an encoder for answers.
pub(crate) struct Pair<M, E> {
    encoder: std::marker::PhantomData<fn() -> (M, E)>,
}

impl<M, E> Default for Pair<M, E> {
    fn default() -> Self {
        Self {
            encoder: std::marker::PhantomData,
        }
    }
}

impl<M, E> Codec for Pair<M, E>
where
    M: Message + Default + Send + 'static,
    E: Encoder<Error = Status> + Default + Send + 'static,
    E::Item: Send + 'static,
{
    type Encode = E::Item;
    type Decode = M;
    type Encoder = E;
    type Decoder = Requests<M>;

    fn encoder(&mut self) -> E {
        E::default()
    }

    fn decoder(&mut self) -> Requests<M> {
        Requests::default()
    }
}

/// The requests on a stream, however they are written.
pub(crate) type Messages<M> = BoxStream<'static, Result<M, Status>>;

/// Serves a call with a stream both ways; `open` gets the requests.
pub(crate) async fn bidi<C, M, A, S, F>(
    api: Arc<Api>,
    method: Method,
    request: Request<Incoming>,
    open: impl FnOnce(C, Messages<M>) -> F + Send,
) -> Response<Body>
where
    C: From<Call> + Send,
    M: Message + Default + Send + 'static,
    A: Answer,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
    F: Future<Output = S> + Send,
{
    let (account, wanted, call) = match begin(&api, method, &request).await {
        Ok(begun) => begun,
        Err(refused) => return *refused,
    };
    let request =
        request.map(|body| inward::bounded(body, Arc::clone(&api), account.inward(), Says::Many));
    let mut open = Some((open, call));
    let service = tower::service_fn(|request: tonic::Request<Streaming<M>>| {
        let open = open.take();
        let api = Arc::clone(&api);
        async move {
            match open {
                Some((open, call)) => {
                    let absence = api.absence.clone();
                    let answers = open(call.into(), request.into_inner().boxed()).await;
                    Ok(tonic::Response::new(led(wanted, absence, answers)))
                }
                None => Err(Status::internal("the stream was opened twice")),
            }
        }
    });
    let response = tonic::server::Grpc::new(Pair::<M, A::Encoder>::default())
        .max_decoding_message_size(api.limits.receive_bytes_max)
        .streaming(service, request)
        .await;
    booked(response, account)
}

/// Serves a call with one request and a stream of answers.
pub(crate) async fn server<C, M, A, S, F>(
    api: Arc<Api>,
    method: Method,
    request: Request<Incoming>,
    open: impl FnOnce(C, M) -> F + Send,
) -> Response<Body>
where
    C: From<Call> + Send,
    M: Message + Default + Send + 'static,
    A: Answer,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
    F: Future<Output = Result<S, Status>> + Send,
{
    let (account, wanted, call) = match begin(&api, method, &request).await {
        Ok(begun) => begun,
        Err(refused) => return *refused,
    };
    let request =
        request.map(|body| inward::bounded(body, Arc::clone(&api), account.inward(), Says::One));
    let mut open = Some((open, call));
    let service = tower::service_fn(|request: tonic::Request<M>| {
        let open = open.take();
        let api = Arc::clone(&api);
        async move {
            match open {
                Some((open, call)) => {
                    let absence = api.absence.clone();
                    let answers = open(call.into(), request.into_inner()).await?;
                    Ok(tonic::Response::new(led(wanted, absence, answers)))
                }
                None => Err(Status::internal("the stream was opened twice")),
            }
        }
    });
    let response = tonic::server::Grpc::new(Pair::<M, A::Encoder>::default())
        .max_decoding_message_size(api.limits.receive_bytes_max)
        .server_streaming(service, request)
        .await;
    booked(response, account)
}

/// The answers, until the leader is missed for too long by a client that wants one.
pub(crate) fn led<T, S>(
    wanted: Wanted,
    absence: Absence,
    answers: S,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static
where
    T: Send + 'static,
    S: Stream<Item = Result<T, Status>> + Send + 'static,
{
    match wanted {
        Wanted::Nothing => Either::Left(answers),
        Wanted::Leader => {
            let missed = Box::pin(absence.long()).into_stream();
            let missed = missed.map(|()| Err(Status::from(ApiError::NoLeader)));
            // Ends with the first end of either.
            let mut ended = false;
            let both = stream::select(
                answers.map(Some).chain(stream::iter([None])),
                missed.map(Some).chain(stream::iter([None])),
            );
            Either::Right(
                both.take_while(move |answer| {
                    let go_on = !ended && answer.is_some();
                    ended |= !matches!(answer, Some(Ok(_)));
                    ready(go_on)
                })
                .filter_map(ready),
            )
        }
    }
}

fn booked(response: Response<tonic::body::Body>, mut account: StreamAccount) -> Response<Body> {
    account.opened(response.headers());
    response.map(|body| Body::Stream(body, account))
}

/// Counts the call and checks its metadata; a refusal is the whole answer.
async fn begin(
    api: &Arc<Api>,
    method: Method,
    request: &Request<Incoming>,
) -> Result<(StreamAccount, Wanted, Call), Box<Response<Body>>> {
    let mut account = StreamAccount::new(&api.accounts, method);
    let checked = match metadata::wanted(request.headers()) {
        Ok(wanted) => wanted.check(api).await.map(|()| wanted),
        Err(status) => Err(status),
    };
    let admission = Admission::of(api, method, request.headers(), request.extensions());
    let admitted = match checked {
        Ok(wanted) => match admission.call(api, method).await {
            Ok(call) => Ok((wanted, call)),
            Err(refused) => Err(refused.into()),
        },
        Err(status) => Err(status),
    };
    match admitted {
        Ok((wanted, call)) => Ok((account, wanted, call)),
        Err(status) => {
            account.ended(status.code());
            Err(Box::new(status.into_http()))
        }
    }
}

/// A stream that ends at once with this status.
pub(crate) fn refuse(api: &Api, method: Method, status: &Status) -> Response<Body> {
    let counters = api.accounts.of(method);
    counters.started.fetch_add(1, Relaxed);
    counters.handled[status.code() as usize].fetch_add(1, Relaxed);
    debug_assert_ne!(status.code(), tonic::Code::Ok);
    status.clone().into_http()
}
