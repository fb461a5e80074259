//! The gRPC side of the client port. Which method is served by which function stands in `services.rs`.
//!
//! Knows the wire and the [`Handle`](crate::handle::Handle), never raft or the disk.

pub(crate) mod account;
pub(crate) mod auth;
pub(crate) mod cluster;
mod downgrade;
pub(crate) mod election;
pub(crate) mod errors;
mod health;
pub(crate) mod kv;
pub(crate) mod large;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod maintenance;
pub(crate) mod metadata;
pub(crate) mod method;
mod range_stream;
pub(crate) mod reflection;
pub(crate) mod services;
pub(crate) mod snapshot;
mod stopwatch;
pub(crate) mod stream;
pub(crate) mod translate;
mod turns;
pub(crate) mod txn;
pub(crate) mod unary;
mod watch;

use std::future::{Future, ready};
use std::sync::Arc;

use futures::Stream;
use futures::future::{BoxFuture, Either};
use http::{Request, Response};
use hyper::body::Incoming;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

use self::large::Weighed;
use self::method::Method;
use self::reflection::Reflection;
use self::services::{Answer, Arrival};
use self::stream::{Messages, bidi, refuse, server};
use self::unary::{unary, unary_written, whole};
use crate::api::Api;
use crate::body::Body;
use crate::call::Call;

/// Answers one gRPC request.
///
/// The methods every client calls all the time are served in the future itself, the others in a box,
/// so that the future of a put stays small.
pub(crate) fn serve(
    api: Arc<Api>,
    request: Request<Incoming>,
) -> impl Future<Output = Response<Body>> {
    match Method::of(request.uri().path()) {
        Some(method) if api.handle.learns() && !method.is_for_learners() => {
            let status = errors::ApiError::NotSupportedForLearner.into();
            let refused = refuse(&api, method, &status);
            Either::Right(Either::Right(Either::Left(ready(refused))))
        }
        Some(method @ Method::Range) => {
            let served = unary_written(api, method, request, large::range, range_body);
            Either::Left(Either::Left(served))
        }
        Some(method @ Method::Put) => {
            Either::Left(Either::Right(unary(api, method, request, kv::put)))
        }
        Some(method @ Method::Txn) => {
            let served = unary_written(api, method, request, kv::txn, Weighed::written);
            Either::Right(Either::Left(served))
        }
        Some(method) => {
            let arrival = Arrived {
                api,
                method,
                request,
            };
            let other: BoxFuture<'static, Response<Body>> =
                Box::pin(services::serve(arrival, method));
            Either::Right(Either::Right(Either::Right(other)))
        }
        None if api.reflection.is_some() && Reflection::serves(request.uri().path()) => {
            let reflected: BoxFuture<'static, Response<Body>> = Box::pin(async move {
                match &api.reflection {
                    Some(reflection) => reflection.serve(request).await,
                    None => Status::unimplemented("no reflection").into_http(),
                }
            });
            Either::Right(Either::Right(Either::Right(reflected)))
        }
        None => {
            let path = request.uri().path();
            let unknown = Status::unimplemented(format!("unknown method {path}")).into_http();
            Either::Right(Either::Right(Either::Left(ready(unknown))))
        }
    }
}

/// The body of an answer to a range, with the length of the message.
fn range_body(ranged: large::Ranged) -> Result<(Body, usize), Status> {
    Ok(match ranged.written()? {
        large::Written::Whole(response) => whole(&response),
        large::Written::Pieces(writing, bytes) => (Body::Pieces(writing), bytes),
    })
}

/// A gRPC call.
struct Arrived {
    api: Arc<Api>,
    method: Method,
    request: Request<Incoming>,
}

impl Arrival for Arrived {
    async fn unary<C, M, R, F>(self, serve: impl FnOnce(C, M) -> F + Send) -> Response<Body>
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send,
        R: Message + Serialize,
        F: Future<Output = Result<R, Status>> + Send,
    {
        unary(self.api, self.method, self.request, serve).await
    }

    async fn weighed<C, M, R, F>(self, serve: impl FnOnce(C, M) -> F + Send) -> Response<Body>
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send,
        R: Message + Serialize,
        F: Future<Output = Result<Weighed<R>, Status>> + Send,
    {
        unary_written(self.api, self.method, self.request, serve, Weighed::written).await
    }

    async fn range(self) -> Response<Body> {
        unary_written(
            self.api,
            self.method,
            self.request,
            large::range,
            range_body,
        )
        .await
    }

    async fn server<C, M, A, S, F>(self, open: impl FnOnce(C, M) -> F + Send) -> Response<Body>
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send + 'static,
        A: Answer,
        S: Stream<Item = Result<A, Status>> + Send + 'static,
        F: Future<Output = Result<S, Status>> + Send,
    {
        server(self.api, self.method, self.request, open).await
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
        bidi(self.api, self.method, self.request, open).await
    }
}
