//! One port for gRPC and plain HTTP: accepts connections and hands every request to its side.
//!
//! The sides are told apart by content type, never by HTTP version: a plain HTTP/2 request is as
//! good as an HTTP/1 one (telling them apart by version broke v2 keys over TLS in etcd 3.5.26).

mod doormen;
mod gather;

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
use store_transport::accept::{self, Opening, Rejected};
use store_transport::authority::Tolerant;
use store_transport::tls::Keeper;
use store_transport::{Listener, Remote, Socket, Stream};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use self::doormen::Doormen;
use self::gather::Gathering;
use crate::api::Api;
use crate::body::{Answered, Body};
use crate::caller::Caller;
use crate::config::{Config, Serves};
use crate::{grpc, http as plain};

/// Bytes a client may have under way on one call before it waits for us: a request of the default
/// largest size fits, so that uploading one takes a single round trip.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// The same for all calls of one connection.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Answers that may wait in memory per call for a slow reader.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;

/// Pause after a failed accept, which is nearly always "too many open files": connections that end
/// meanwhile make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time a client has to take a word of refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// To whoever speaks HTTP/1 in the clear to a port for TLS; Go's servers say the same.
const NEEDS_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// The same over HTTP/2 (RFC 9113, 6.8): no settings, then the end, with INADEQUATE_SECURITY (0xc).
const NEEDS_TLS_HTTP2: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x37\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0c\
    Client sent an HTTP request to an HTTPS server.";

/// To whoever speaks TLS to a port in the clear. No client of TLS can read it, but Go's name it.
const NEEDS_NO_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Client began a TLS handshake with an HTTP server.\n";

/// Where clients come in.
pub(crate) struct Door {
    pub(crate) listener: Listener,
    /// As it was configured, for people.
    pub(crate) url: String,
    /// Over TLS only, with these certificates.
    pub(crate) tls: Option<Arc<Keeper>>,
    /// What is served there.
    pub(crate) serves: Serves,
}

/// How connections are served.
#[derive(Clone)]
pub(crate) struct Settings {
    builder: auto::Builder<TokioExecutor>,
    /// One for each connection there may be, over all doors.
    places: Arc<Semaphore>,
    /// Time a client has to say its first word and finish a TLS handshake, and again to say which protocol it speaks:
    /// whoever only connects does not use up files.
    patience: Duration,
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
            // As etcd writes them: scripts look for "X-Etcd-Index" in what curl prints.
            .title_case_headers(true)
            .header_read_timeout(config.patience);
        Self {
            builder,
            places: Arc::new(Semaphore::new(config.connections_max)),
            patience: config.patience,
        }
    }
}

/// Accepts at one door until the server closes, then lets the connections finish.
///
/// Ends when they have, so the caller bounds the time by dropping the future, which cuts off the rest.
pub(crate) async fn accept(door: Door, api: Arc<Api>, settings: Settings) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            // Safe to cancel: it stays cancelled.
            () = api.closing.cancelled() => break,
            // Safe to cancel: a connection not returned stays with the system, a place not used is free.
            accepted = next(&door.listener, &settings, &api.doormen) => match accepted {
                Ok((socket, remote, place)) => {
                    let visit = Visit { socket, remote, tls: door.tls.clone(), serves: door.serves };
                    let connection = visit.serve(Arc::clone(&api), settings.clone(), graceful.watcher());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
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
    tracing::debug!(url = door.url, "no more connections are accepted");
    drop(door);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is a place for it: above the limit clients wait in the system's
/// queue, as with etcd.
async fn next(
    listener: &Listener,
    settings: &Settings,
    doormen: &Doormen,
) -> io::Result<(Socket, Remote, OwnedSemaphorePermit)> {
    let places = Arc::clone(&settings.places);
    if places.available_permits() == 0 {
        doormen.full();
    }
    let place = places.acquire_owned().await;
    let place = place.map_err(|_| io::Error::from(io::ErrorKind::Interrupted))?;
    let (socket, remote) = listener.accept().await?;
    Ok((socket, remote, place))
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

/// A connection that was accepted.
struct Visit {
    socket: Socket,
    remote: Remote,
    tls: Option<Arc<Keeper>>,
    serves: Serves,
}

impl Visit {
    async fn serve(self, api: Arc<Api>, settings: Settings, watcher: Watcher) {
        // Answers are written whole; waiting for more to send with them only adds latency.
        if let Err(error) = self.socket.set_nodelay() {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let way = Way {
            serves: self.serves,
            secure: self.tls.is_some(),
        };
        let doormen = Arc::clone(&api.doormen);
        let _stay = doormen.enter();
        let Some((stream, caller)) = self.open(&api, settings.patience).await else {
            return;
        };
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(caller) = &caller {
                request.extensions_mut().insert(Arc::clone(caller));
            }
            answer(Arc::clone(&api), way, request)
        });
        let stream = Tolerant::new(Gathering::new(stream), settings.patience);
        let connection = settings
            .builder
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            // Clients come and go; what they break is theirs.
            tracing::debug!(%error, "connection ended");
        }
    }

    /// Waits for the first word, and shakes hands where that is asked for. Ends early when the server
    /// closes.
    async fn open(self, api: &Api, patience: Duration) -> Option<(Stream, Option<Arc<Caller>>)> {
        let remote = self.remote;
        let opened = timeout(patience, self.handshake());
        // Safe to cancel: the connection is closed.
        let opened = api.closing.run_until_cancelled(opened).await?;
        match opened {
            Ok(Ok(opened)) => Some(opened),
            Ok(Err(rejected)) => {
                api.doormen.turn_away(remote, &rejected);
                if let Rejected::Plain {
                    opening,
                    mut socket,
                } = rejected
                {
                    let words = match opening {
                        Opening::Http2 => NEEDS_TLS_HTTP2,
                        Opening::Tls => NEEDS_NO_TLS,
                        Opening::Other | Opening::Nothing => NEEDS_TLS,
                    };
                    let said = timeout(REFUSAL_TIMEOUT, socket.write_all(words)).await;
                    if said.is_ok_and(|said| said.is_ok()) {
                        accept::part(socket).await;
                    }
                }
                None
            }
            Err(_) => {
                tracing::debug!(%remote, "a client said nothing in time");
                None
            }
        }
    }

    async fn handshake(self) -> Result<(Stream, Option<Arc<Caller>>), Rejected> {
        let Some(keeper) = &self.tls else {
            let opening = Opening::of(&self.socket).await;
            return match opening.map_err(Rejected::Handshake)? {
                Opening::Nothing => Err(Rejected::Gone),
                Opening::Tls => Err(Rejected::Plain {
                    opening: Opening::Tls,
                    socket: self.socket,
                }),
                Opening::Http2 | Opening::Other => Ok((Stream::Plain(self.socket), None)),
            };
        };
        let (stream, shown) = accept::secure(self.socket, self.remote, keeper).await?;
        let caller = shown.map(|certificate| Arc::new(Caller::of_certificate(&certificate)));
        Ok((stream, caller))
    }
}

/// By which way a request came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// What is served at that door.
    pub(crate) serves: Serves,
    /// Over TLS.
    pub(crate) secure: bool,
}

fn answer(api: Arc<Api>, way: Way, request: Request<Incoming>) -> impl Future<Output = Answered> {
    if !is_grpc(&request) || matches!(way.serves, Serves::Http | Serves::Metrics) {
        let plain = Box::pin(plain::serve(api, way, request));
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
        fn bytes<F>(_: impl FnOnce(Arc<Api>, Way, Request<Incoming>) -> F) -> usize {
            size_of::<F>()
        }
        assert!(bytes(answer) <= 1160, "{} bytes", bytes(answer));
    }
}
