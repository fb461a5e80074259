//! The way to the cluster: one connection to one member at a time, which all calls share; another member when it breaks or
//! says that it cannot serve.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use store_transport::tls::for_http2;
use store_transport::tls::rustls::ClientConfig;
use tonic::Status;
use tonic::body::Body;

use crate::gateway::choice::{Candidate, Endpoints};
use crate::upstream::{self, Trust, UpstreamError};

/// As the store's own: a request of the default largest size fits.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// The longest rest of a member that cannot be reached: clients wait for nothing else.
const REST_MAX: Duration = Duration::from_secs(5);
/// gRPC's code for "not now, not here".
const UNAVAILABLE: &[u8] = b"14";

/// The connection of the moment.
#[derive(Clone)]
struct Connection {
    url: String,
    authority: Authority,
    sender: SendRequest<Body>,
}

/// All members and the connection to one of them.
pub(crate) struct Pool {
    trust: Trust,
    config: Option<Arc<ClientConfig>>,
    endpoints: Mutex<Endpoints>,
    current: tokio::sync::Mutex<Option<Connection>>,
    /// Silence after which a member is asked for a sign of life, and how long that may take.
    keep_alive: (Duration, Duration),
    began: Instant,
}

impl Pool {
    pub(crate) fn new(
        trust: Trust,
        candidates: Vec<Candidate>,
        keep_alive: (Duration, Duration),
    ) -> Result<Self, UpstreamError> {
        let mut secure = false;
        for candidate in &candidates {
            secure |= trust.secures(&upstream::target(&candidate.url)?);
        }
        let config = match secure {
            true => trust.client()?,
            false => None,
        };
        let config = config.map(|config| for_http2(&config));
        Ok(Self {
            trust,
            config,
            endpoints: Mutex::new(Endpoints::new(candidates, REST_MAX)),
            current: tokio::sync::Mutex::new(None),
            keep_alive,
            began: Instant::now(),
        })
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Endpoints) -> T) -> T {
        look(
            &mut self
                .endpoints
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    async fn connection(&self) -> Result<Connection, Status> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &*current
            && !connection.sender.is_closed()
        {
            return Ok(connection.clone());
        }
        let mut tried = BTreeSet::new();
        let mut why = String::from("there is no endpoint");
        while let Some(url) = self.with(|all| all.pick(self.began.elapsed(), &tried)) {
            match self.connect(&url).await {
                Ok(connection) => {
                    self.with(|all| all.worked(&url));
                    tracing::info!(endpoint = url, "connected to a member");
                    return Ok(current.insert(connection).clone());
                }
                Err(error) => {
                    let rest = self.with(|all| all.failed(&url, self.began.elapsed()));
                    tracing::warn!(endpoint = url, %error, ?rest, "a member is not reached, it rests");
                    why = format!("{url}: {error}");
                    tried.insert(url);
                }
            }
        }
        Err(Status::unavailable(format!(
            "no member can be reached: {why}"
        )))
    }

    async fn connect(
        &self,
        url: &str,
    ) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let target = upstream::target(url)?;
        let authority: Authority = target.authority.parse()?;
        let stream = self.trust.open(&target, self.config.clone()).await?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(Some(self.keep_alive.0).filter(|time| !time.is_zero()))
            .keep_alive_timeout(self.keep_alive.1);
        let shaking = builder.handshake(TokioIo::new(stream));
        // Safe to cancel: a connection that is not made yet is dropped.
        let (sender, connection) = tokio::time::timeout(upstream::DIAL_TIMEOUT, shaking).await??;
        let name = url.to_owned();
        // Ends when its last call and this pool have let go of it.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::info!(endpoint = name, %error, "the connection to a member ended");
            }
        });
        Ok(Connection {
            url: url.to_owned(),
            authority,
            sender,
        })
    }

    /// Sends a call to the member of the moment.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let mut connection = self.connection().await?;
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(connection.authority.clone());
        uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        parts.uri = Uri::from_parts(uri).map_err(|error| Status::internal(error.to_string()))?;
        parts.version = http::Version::HTTP_2;
        parts.headers.remove(http::header::HOST);
        let sent = connection
            .sender
            .send_request(Request::from_parts(parts, body));
        let response = match sent.await {
            Ok(response) => response,
            Err(error) => {
                self.distrust(&connection.url).await;
                return Err(Status::unavailable(format!("{}: {error}", connection.url)));
            }
        };
        let status = response.headers().get(Status::GRPC_STATUS);
        if status.is_some_and(|status| status.as_bytes() == UNAVAILABLE) {
            self.distrust(&connection.url).await;
        }
        Ok(response.map(Body::new))
    }

    /// New calls go elsewhere; those under way stay where they are.
    async fn distrust(&self, url: &str) {
        self.with(|all| all.failed(url, self.began.elapsed()));
        let mut current = self.current.lock().await;
        if current
            .as_ref()
            .is_some_and(|connection| connection.url == url)
        {
            *current = None;
        }
    }
}

/// The pool as the library's clients take it.
#[derive(Clone)]
pub(crate) struct Calls(pub(crate) Arc<Pool>);

impl tower::Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let pool = Arc::clone(&self.0);
        Box::pin(async move { pool.send(request).await })
    }
}
