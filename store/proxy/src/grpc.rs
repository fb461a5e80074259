//! `etcd grpc-proxy start`: flags, ports, connections. What becomes of a call stands in `grpc/proxy.rs`.

mod counters;
mod frames;
mod identity;
mod pool;
mod proxy;
mod start;

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use store_transport::authority::Tolerant;
use store_transport::tls::Keeper;
use store_transport::{Remote, Socket, Stream, accept};
use tonic::body::Body;

use self::pool::Pool;
use self::proxy::Proxy;
use self::start::Start;
use crate::clients::Entrance;
use crate::namespace::Namespace;
use crate::outcome::{Outcome, chain, stopped};

/// Time a client has to finish a TLS handshake.
const OPENING_TIMEOUT: Duration = Duration::from_secs(30);
/// As the store's own: a request of the default largest size fits.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Between two looks for answers whose time is up.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(5);

/// The command line of the proxy.
#[derive(Debug, Parser)]
#[command(
    name = "grpc-proxy",
    about = "Serves clients on behalf of a cluster, and asks it for many of them at once",
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the proxy
    Start(Box<Start>),
}

/// Runs the proxy until a signal ends it.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode, Outcome> {
    let Command::Start(start) = cli.command;
    let keeper = start.keeper()?;
    let candidates = start.upstream.candidates().await?;
    let endpoints: Vec<String> = candidates.iter().map(|one| one.url.clone()).collect();
    let proxy = Arc::new(Proxy::new(
        Pool::new(
            start.trust(),
            candidates,
            (start.dial_keepalive_time, start.dial_keepalive_timeout),
        )?,
        Namespace::new(&start.namespace),
        start.advertise_client_url.clone(),
        start.max_recv_bytes,
    ));
    let clients = Door {
        entrance: Entrance::open(&start.listen_addr).await?,
        keeper: keeper.clone(),
        limits: Limits::of(&start),
    };
    let watchers = match &start.metrics_addr {
        Some(url) => {
            let address = ["http://", "https://"]
                .iter()
                .find_map(|scheme| url.strip_prefix(scheme))
                .map_or(url.as_str(), |address| address.trim_end_matches('/'));
            let keeper = keeper.clone().filter(|_| url.starts_with("https"));
            Some(Door {
                entrance: Entrance::open(address).await?,
                keeper,
                limits: Limits::of(&start),
            })
        }
        None => None,
    };
    tracing::info!(
        address = clients.entrance.name,
        ?endpoints,
        namespace = start.namespace,
        "ready to proxy client requests"
    );
    let files = async {
        match keeper {
            Some(keeper) => keeper.follow().await,
            None => std::future::pending().await,
        }
    };
    let watched = async {
        match &watchers {
            Some(door) => door.accept(&proxy).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Safe to cancel, all of them: connections are cut off, as by a member that goes.
        () = clients.accept(&proxy) => {}
        () = watched => {}
        () = files => {}
        () = follow(&start, &proxy) => {}
        () = expire(&proxy) => {}
        () = stopped() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps the endpoints in step with the records.
async fn follow(start: &Start, proxy: &Proxy) {
    let interval = start.endpoints_auto_sync_interval;
    if interval.is_zero() || start.upstream.discovery_srv.is_none() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(interval).await;
        match start.upstream.candidates().await {
            Ok(candidates) => {
                if proxy.pool.with(|all| all.replace(candidates)) {
                    tracing::info!("the endpoints have changed");
                }
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the records are not read, all stays");
            }
        }
    }
}

/// Lets go of answers that were kept long enough, and of the watchers that vouch for them.
async fn expire(proxy: &Proxy) {
    loop {
        tokio::time::sleep(EXPIRE_INTERVAL).await;
        proxy.expire();
    }
}

/// Where clients come in.
struct Door {
    entrance: Entrance,
    keeper: Option<Arc<Keeper>>,
    limits: Limits,
}

/// What one connection may do.
#[derive(Clone, Copy, Debug)]
struct Limits {
    streams_max: u32,
    keep_alive: (Duration, Duration),
}

impl Limits {
    fn of(start: &Start) -> Self {
        Self {
            streams_max: start.max_concurrent_streams,
            keep_alive: (start.grpc_keepalive_interval, start.grpc_keepalive_timeout),
        }
    }
}

impl Door {
    /// Accepts for ever.
    async fn accept(&self, proxy: &Arc<Proxy>) {
        loop {
            let (socket, from) = self.entrance.next().await;
            let (proxy, keeper) = (Arc::clone(proxy), self.keeper.clone());
            let limits = self.limits;
            tokio::spawn(async move {
                let opened = open(socket, from, keeper);
                match tokio::time::timeout(OPENING_TIMEOUT, opened).await {
                    Ok(Ok(stream)) => serve(stream, proxy, limits).await,
                    Ok(Err(error)) => {
                        tracing::info!(%from, error = %chain(&error), "not let in");
                    }
                    Err(_) => tracing::debug!(%from, "said nothing in time"),
                }
            });
        }
    }
}

async fn open(
    socket: Socket,
    remote: Remote,
    keeper: Option<Arc<Keeper>>,
) -> Result<Stream, accept::Rejected> {
    match keeper {
        Some(keeper) => Ok(accept::secure(socket, remote, &keeper).await?.0),
        None => Ok(Stream::Plain(socket)),
    }
}

async fn serve(stream: Stream, proxy: Arc<Proxy>, limits: Limits) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(Some(limits.keep_alive.0).filter(|time| !time.is_zero()))
        .keep_alive_timeout(limits.keep_alive.1)
        .max_concurrent_streams(limits.streams_max);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(OPENING_TIMEOUT);
    let service = service_fn(move |request: Request<Incoming>| {
        let proxy = Arc::clone(&proxy);
        async move {
            let kind = request.headers().get(http::header::CONTENT_TYPE);
            let grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
            Ok::<_, Infallible>(match grpc {
                true => proxy.answer(request.map(Body::new)).await,
                false => plain(&proxy, &request).await,
            })
        }
    });
    if let Err(error) = builder
        .serve_connection(
            TokioIo::new(Tolerant::new(stream, OPENING_TIMEOUT)),
            service,
        )
        .await
    {
        // Clients come and go; what they break is theirs.
        tracing::debug!(%error, "connection ended");
    }
}

/// What is not gRPC: how the proxy is.
async fn plain(proxy: &Proxy, request: &Request<Incoming>) -> Response<Body> {
    let (status, kind, text) = match request.uri().path() {
        "/metrics" | "/proxy/metrics" => {
            let page = proxy.with_cache(|cache| proxy.counters.page(cache));
            (
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                page,
            )
        }
        "/health" | "/proxy/health" => match proxy.health().await {
            Ok(()) => (
                StatusCode::OK,
                "application/json",
                r#"{"health":"true","reason":""}"#.to_owned(),
            ),
            Err(why) => {
                let why = why.replace(['"', '\\'], "'");
                let text = format!(r#"{{"health":"false","reason":"{why}"}}"#);
                (StatusCode::SERVICE_UNAVAILABLE, "application/json", text)
            }
        },
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            "404 page not found\n".to_owned(),
        ),
    };
    let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static(kind);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    response
}
