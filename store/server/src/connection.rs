//! One port for gRPC and plain HTTP: accepts connections and hands every request to its side.
//!
//! The sides are told apart by content type, never by HTTP version: a plain HTTP/2 request is as
//! good as an HTTP/1 one (telling them apart by version broke v2 keys over TLS in etcd 3.5.26).

mod authority;
mod gather;
mod huffman;

use std::future::{Future, ready};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::Either;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use self::authority::Tolerant;
use self::gather::Gathering;
use crate::api::Api;
use crate::body::{Answered, Body};
use crate::config::Config;
use crate::{grpc, http as plain};

/// Bytes a client may have under way on one call before it waits for us: a request of the default
/// largest size fits, so that uploading one takes a single round trip.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// The same for all calls of one connection.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Answers that may wait in memory per call for a slow reader.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;

/// Time an HTTP/1 client has for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after a failed accept, which is nearly always "too many open files": connections that end
/// meanwhile make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How connections are served.
#[derive(Clone)]
pub(crate) struct Settings {
    builder: auto::Builder<TokioExecutor>,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            // Nobody reads the date of a gRPC answer; it would be a clock read and a header each.
            .auto_date_header(false)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(config.concurrent_streams_max)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .keep_alive_interval(
                Some(config.keepalive_interval).filter(|interval| !interval.is_zero()),
            )
            .keep_alive_timeout(config.keepalive_timeout);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT);
        Self { builder }
    }
}

/// Accepts on one listener until the server closes, then lets the connections finish.
///
/// Ends when they have, so the caller bounds the time by dropping the future, which cuts off the rest.
pub(crate) async fn accept(listener: TcpListener, api: Arc<Api>, settings: Settings) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            // Safe to cancel: it stays cancelled.
            () = api.closing.cancelled() => break,
            // Safe to cancel: a connection not returned stays with the system.
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let watcher = graceful.watcher();
                    let connection = serve(stream, Arc::clone(&api), settings.clone(), watcher);
                    connections.spawn(connection);
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Safe to cancel: a task not returned stays in the set. Takes out what has ended, so that
            // the set holds open connections only.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
}

/// The client was gone before it was accepted.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

async fn serve(stream: TcpStream, api: Arc<Api>, settings: Settings, watcher: Watcher) {
    // Answers are written whole; waiting for more to send with them only adds latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let service = service_fn(move |request| answer(Arc::clone(&api), request));
    let connection = settings
        .builder
        .serve_connection(TokioIo::new(Tolerant::new(Gathering::new(stream))), service);
    if let Err(error) = watcher.watch(connection).await {
        // Clients come and go; what they break is theirs.
        tracing::debug!(%error, "connection ended");
    }
}

fn answer(api: Arc<Api>, request: Request<Incoming>) -> impl Future<Output = Answered> {
    if !is_grpc(&request) {
        let plain = Box::pin(plain::serve(api, request));
        return Either::Left(Either::Left(plain.map(Ok)));
    }
    if request.version() < Version::HTTP_2 {
        let mut response = Response::new(Body::from("gRPC requires HTTP/2\n"));
        *response.status_mut() = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        return Either::Left(Either::Right(ready(Ok(response))));
    }
    Either::Right(grpc::serve(api, request).map(Ok))
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_decides() {
        for (kind, wanted) in [
            (None, false),
            (Some("application/json"), false),
            (Some("application/grpc"), true),
            (Some("application/grpc+proto"), true),
        ] {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                let mut request = Request::builder().version(version);
                if let Some(kind) = kind {
                    request = request.header(CONTENT_TYPE, kind);
                }
                assert_eq!(is_grpc(&request.body(()).unwrap()), wanted, "{kind:?}");
            }
        }
    }

    /// Every call's future is moved into a task of its own: 2.5 KiB of it were a copy that showed.
    #[test]
    fn the_future_of_a_call_stays_small() {
        fn bytes<F>(_: impl FnOnce(Arc<Api>, Request<Incoming>) -> F) -> usize {
            size_of::<F>()
        }
        assert!(bytes(answer) <= 1024, "{} bytes", bytes(answer));
    }
}
