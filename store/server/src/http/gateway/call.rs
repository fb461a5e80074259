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
use super::{http_status, malformed, refused, text};
use crate::api::Api;
use crate::auth::Admission;
use crate::body::Body;
use crate::call::Call;
use crate::grpc::metadata::{self, Wanted};
use crate::grpc::method::Method;
use crate::grpc::services::{Answer, Arrival};
use crate::grpc::stream::{Messages, led};
use crate::grpc::txn::crowd;
use crate::grpc::unary::PREFIX_BYTES;
use crate::http::{JSON, json, response};

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

impl Arrival for Arrived {
    async fn unary<C, M, R, F>(self, serve: impl FnOnce(C, M) -> F + Send) -> Response<Body>
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send,
        R: Message + Serialize,
        F: Future<Output = Result<R, Status>> + Send,
    {
        let began = Instant::now();
        let (accounts, method) = (Arc::clone(&self.api.accounts), self.method);
        accounts.gateway_requests.fetch_add(1, Relaxed);
        let call = self.admitted().await;
        let message: M = match &call {
            Ok(_) => match self.message().await {
                Ok(message) => message,
                // What is no request counts as none, as in etcd.
                Err(status) => return refused(&status),
            },
            Err(_) => M::default(),
        };
        accounts.of(method).started.fetch_add(1, Relaxed);
        accounts.unary_received(method, message.encoded_len() + PREFIX_BYTES);
        let answer = match call {
            Ok((_, call)) => serve(call.into(), message).await,
            Err(status) => Err(status),
        };
        let (code, bytes) = match &answer {
            Ok(answer) => (Code::Ok, answer.encoded_len() + PREFIX_BYTES),
            Err(status) => (status.code(), 0),
        };
        accounts.unary_answered(method, code, bytes, began.elapsed());
        match answer {
            Ok(answer) => {
                let mut response = json(StatusCode::OK, &answer);
                response.headers_mut().insert(OF_GRPC, grpc());
                response
            }
            Err(status) => refused(&status),
        }
    }

    async fn server<C, M, A, S, F>(self, open: impl FnOnce(C, M) -> F + Send) -> Response<Body>
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send + 'static,
        A: Answer,
        S: Stream<Item = Result<A, Status>> + Send + 'static,
        F: Future<Output = Result<S, Status>> + Send,
    {
        self.api.accounts.gateway_requests.fetch_add(1, Relaxed);
        let absence = self.api.absence.clone();
        let opened = async {
            let (wanted, call) = self.admitted().await?;
            let message = self.message().await?;
            let answers = open(call.into(), message).await?;
            Ok(led(wanted, absence, answers))
        };
        match opened.await {
            Ok(answers) => lines(answers).await,
            Err(status) => refused(&status),
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
        match self.admitted().await {
            Ok((wanted, call)) => {
                let absence = self.api.absence.clone();
                let bytes_max = json_bytes_max(self.api.limits.receive_bytes_max);
                let requests = Objects::new(self.request.into_body(), bytes_max).stream();
                let answers = open(call.into(), requests.boxed()).await;
                lines(led(wanted, absence, answers)).await
            }
            Err(status) => refused(&status),
        }
    }
}

/// Answers with a line for each message. An error before the first decides the status, one behind it is the last
/// line.
async fn lines<A, S>(answers: S) -> Response<Body>
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
        .map(|answer| match answer {
            Ok(answer) => line(&Line::Result(answer.into_message())),
            Err(error) => line(&Line::<()>::Error(Broken::new(&error))),
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
