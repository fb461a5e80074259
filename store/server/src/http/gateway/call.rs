//! One call over the gateway: JSON in, JSON out, and in between the functions that serve gRPC.

use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Code, Status};

use super::objects::Objects;
use super::{http_status, malformed, pieces, refused, text};
use crate::api::Api;
use crate::auth::Admission;
use crate::body::Body;
use crate::call::Call;
use crate::grpc::account::{StreamAccount, Tally};
use crate::grpc::large::{self, Ranged, Weighed};
use crate::grpc::metadata::{self, Wanted};
use crate::grpc::method::Method;
use crate::grpc::services::{Answer, Arrival};
use crate::grpc::stream::{Messages, led};
use crate::grpc::txn::crowd;
use crate::http::{JSON, json, json_held, response};

/// Headers of the gRPC answer that the gateway passes on come under this name.
const OF_GRPC: HeaderName = HeaderName::from_static("grpc-metadata-content-type");

/// A call over the gateway.
pub(super) struct Arrived {
    pub(super) api: Arc<Api>,
    pub(super) method: Method,
    pub(super) request: Request<Incoming>,
}

/// A line of a stream: a message, or why there are no more.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'t, R> {
    Result(R),
    Error(Broken<'t>),
}

/// Why a stream ends. etcd up to 3.5 said it in `grpc_code`, `http_code` and `http_status`, and clients of that time
/// look there alone.
#[derive(Serialize)]
struct Broken<'t> {
    code: i32,
    message: &'t str,
    details: [(); 0],
    grpc_code: i32,
    http_code: u16,
    http_status: &'static str,
}

impl<'t> Broken<'t> {
    fn new(error: &'t Status) -> Self {
        let status = http_status(error.code());
        Self {
            code: error.code() as i32,
            message: error.message(),
            details: [],
            grpc_code: error.code() as i32,
            http_code: status.as_u16(),
            http_status: status.canonical_reason().unwrap_or_default(),
        }
    }
}

impl Arrived {
    /// Who calls, and whether the method is for them.
    async fn admitted(&self) -> Result<(Wanted, Call), Status> {
        let headers = self.request.headers();
        let wanted = metadata::wanted(headers)?;
        let admission = Admission::of(&self.api, self.method, headers, self.request.extensions());
        wanted.check(&self.api).await?;
        let call = admission.call(&self.api, self.method).await?;
        Ok((wanted, call))
    }

    /// The one message of a request.
    async fn message<M: DeserializeOwned + Default>(self) -> Result<M, Status> {
        let bytes_max = json_bytes_max(self.api.limits.receive_bytes_max);
        let body = self
            .api
            .intake
            .whole(self.request.into_body(), bytes_max)
            .await?;
        if body.is_empty() {
            // An empty body stands for an empty message.
            return Ok(M::default());
        }
        if self.method == Method::Txn {
            crowd::check_json(&body, self.api.limits.txn_ops_max)?;
        }
        text::message(&body).map_err(malformed)
    }
}

impl Arrived {
    /// One message each way, and an answer that `write` makes of the message, with the length that has over gRPC.
    async fn unary_written<C, M, R, F>(
        self,
        serve: impl FnOnce(C, M) -> F + Send,
        write: impl FnOnce(R) -> Result<(Response<Body>, usize), Status> + Send,
    ) -> Response<Body>
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send,
        F: Future<Output = Result<R, Status>> + Send,
    {
        let began = Instant::now();
        let (accounts, method) = (Arc::clone(&self.api.accounts), self.method);
        accounts.gateway_requests.fetch_add(1, Relaxed);
        let (call, message) = match self.asked::<M>().await {
            Ok(asked) => asked,
            Err(status) => return refused(&status),
        };
        accounts.of(method).started.fetch_add(1, Relaxed);
        accounts.unary_received(method, message.encoded_len());
        let answer = match call {
            Ok((_, call)) => serve(call.into(), message).await,
            Err(status) => Err(status),
        };
        let answer = answer.and_then(write);
        let (code, bytes) = match &answer {
            Ok((_, bytes)) => (Code::Ok, *bytes),
            Err(status) => (status.code(), 0),
        };
        accounts.unary_answered(method, code, bytes, began.elapsed());
        match answer {
            Ok((mut response, _)) => {
                response.headers_mut().insert(OF_GRPC, grpc());
                response
            }
            Err(status) => refused(&status),
        }
    }

    /// Who calls, or why not, and the one message of a request; what is no request is an error, and counts as none, as
    /// in etcd.
    async fn asked<M>(self) -> Result<(Result<(Wanted, Call), Status>, M), Status>
    where
        M: DeserializeOwned + Default,
    {
        let call = self.admitted().await;
        let message = match &call {
            Ok(_) => self.message().await?,
            Err(_) => M::default(),
        };
        Ok((call, message))
    }
}

impl Arrival for Arrived {
    async fn unary<C, M, R, F>(self, serve: impl FnOnce(C, M) -> F + Send) -> Response<Body>
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send,
        R: Message + Serialize,
        F: Future<Output = Result<R, Status>> + Send,
    {
        let written = |answer: R| Ok((json(StatusCode::OK, &answer), answer.encoded_len()));
        self.unary_written(serve, written).await
    }

    async fn weighed<C, M, R, F>(self, serve: impl FnOnce(C, M) -> F + Send) -> Response<Body>
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send,
        R: Message + Serialize,
        F: Future<Output = Result<Weighed<R>, Status>> + Send,
    {
        let written = |weighed: Weighed<R>| {
            let (answer, part) = weighed.into_parts();
            let bytes = answer.encoded_len();
            // Base64 makes bytes a third longer; a buffer that grows is there twice meanwhile.
            let text = bytes + bytes / 2;
            Ok((json_held(StatusCode::OK, &answer, text, part), bytes))
        };
        self.unary_written(serve, written).await
    }

    async fn range(self) -> Response<Body> {
        let written = |ranged: Ranged| {
            let bytes = ranged.bytes()?;
            if !Ranged::is_large(bytes) {
                let (answer, _) = ranged.into_parts();
                return Ok((json(StatusCode::OK, &answer), bytes));
            }
            let body = pieces::body(ranged)
                .map_err(|error| Status::internal(format!("write an answer as JSON: {error}")))?;
            Ok((response(StatusCode::OK, JSON, body), bytes))
        };
        self.unary_written(large::range, written).await
    }

    async fn server<C, M, A, S, F>(self, open: impl FnOnce(C, M) -> F + Send) -> Response<Body>
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send + 'static,
        A: Answer,
        S: Stream<Item = Result<A, Status>> + Send + 'static,
        F: Future<Output = Result<S, Status>> + Send,
    {
        let (api, method) = (Arc::clone(&self.api), self.method);
        api.accounts.gateway_requests.fetch_add(1, Relaxed);
        let (call, message) = match self.asked::<M>().await {
            Ok(asked) => asked,
            Err(status) => return refused(&status),
        };
        let mut account = StreamAccount::new(&api.accounts, method);
        account.inward().received(Tally::one(message.encoded_len()));
        let opened = match call {
            Ok((wanted, call)) => open(call.into(), message)
                .await
                .map(|answers| led(wanted, api.absence.clone(), answers)),
            Err(status) => Err(status),
        };
        match opened {
            Ok(answers) => lines(answers, account).await,
            Err(status) => {
                account.ended(status.code());
                refused(&status)
            }
        }
    }

    async fn bidi<C, M, A, S, F>(
        self,
        open: impl FnOnce(C, Messages<M>) -> F + Send,
    ) -> Response<Body>
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send + 'static,
        A: Answer,
        S: Stream<Item = Result<A, Status>> + Send + 'static,
        F: Future<Output = S> + Send,
    {
        self.api.accounts.gateway_requests.fetch_add(1, Relaxed);
        let mut account = StreamAccount::new(&self.api.accounts, self.method);
        match self.admitted().await {
            Ok((wanted, call)) => {
                let absence = self.api.absence.clone();
                let bytes_max = json_bytes_max(self.api.limits.receive_bytes_max);
                let requests = Objects::new(self.api, self.request.into_body(), bytes_max);
                let inward = account.inward();
                let requests = requests
                    .stream()
                    .inspect(move |request: &Result<M, Status>| {
                        if let Ok(request) = request {
                            inward.received(Tally::one(request.encoded_len()));
                        }
                    });
                let answers = open(call.into(), requests.boxed()).await;
                lines(led(wanted, absence, answers), account).await
            }
            Err(status) => {
                account.ended(status.code());
                refused(&status)
            }
        }
    }
}

/// Answers with a line for each message. An error before the first decides the status, one behind it is the last
/// line.
async fn lines<A, S>(answers: S, mut account: StreamAccount) -> Response<Body>
where
    A: Answer,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
{
    let mut answers = answers.fuse().boxed();
    let first = answers.next().await;
    let status = match &first {
        Some(Err(error)) => http_status(error.code()),
        Some(Ok(_)) | None => StatusCode::OK,
    };
    let lines = stream::iter(first)
        .chain(answers)
        .map(Some)
        .chain(stream::iter([None]))
        .map(move |answer| match answer {
            Some(Ok(answer)) => {
                let message = answer.into_message();
                account.sent(Tally::one(message.encoded_len()));
                line(&Line::Result(message))
            }
            Some(Err(error)) => {
                account.ended(error.code());
                line(&Line::<()>::Error(Broken::new(&error)))
            }
            None => {
                account.ended(Code::Ok);
                None
            }
        });
    let mut response = response(status, JSON, Body::Lines(lines.filter_map(ready).boxed()));
    if status == StatusCode::OK {
        response.headers_mut().insert(OF_GRPC, grpc());
    }
    response
}

fn line(line: &impl Serialize) -> Option<Bytes> {
    let mut out = BytesMut::new().writer();
    if let Err(error) = serde_json::to_writer(&mut out, line) {
        // Only a map with keys that are no strings could do this; there is none.
        tracing::error!(%error, "an answer could not be written as JSON");
        return None;
    }
    let mut out = out.into_inner();
    out.put_u8(b'\n');
    Some(out.freeze())
}

const fn grpc() -> HeaderValue {
    HeaderValue::from_static("application/grpc")
}

/// Base64 makes bytes a third longer, and names and quotes come on top.
const fn json_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max.saturating_mul(2)
}
