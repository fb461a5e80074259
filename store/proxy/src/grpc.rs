//! `etcd grpc-proxy start`: flags, ports, connections. What becomes of a call stands in `grpc/proxy.rs`.

mod counters;
mod frames;
mod identity;
mod pool;
mod proxy;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use store_transport::tls::{CertificateFiles, Keeper, Settings, TlsError};
use store_transport::{Remote, Socket, Stream, accept};
use tokio::net::TcpListener;
use tonic::body::Body;

use self::pool::Pool;
use self::proxy::Proxy;
use crate::namespace::Namespace;
use crate::outcome::{Outcome, chain, go_duration, stopped};
use crate::upstream::{Trust, UpstreamArgs};

/// Time a client has to finish a TLS handshake.
const OPENING_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a failed accept, which is nearly always "too many open files": connections that end meanwhile make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// As the store's own: a request of the default largest size fits.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// 2 MiB: the store's default for a request, with what the call itself needs.
const MESSAGE_BYTES_MAX: usize = 2 << 20;

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

#[derive(Clone, Debug, clap::Args)]
struct Start {
    #[command(flatten)]
    upstream: UpstreamArgs,
    /// Where to listen for clients
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:23790")]
    listen_addr: String,
    /// Where to listen for those who watch over the proxy, too; /proxy/metrics and /proxy/health
    #[arg(long, value_name = "URL")]
    metrics_addr: Option<String>,
    /// What clients are told as the only member: the URL of this proxy
    #[arg(long, value_name = "URL")]
    advertise_client_url: Option<String>,
    /// Prefix of all keys: clients see what is below it, and nothing else
    #[arg(long, value_name = "PREFIX", default_value = "")]
    namespace: String,
    /// Between two looks at the records; 0 = the endpoints stay as they are
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = go_duration)]
    endpoints_auto_sync_interval: Duration,
    /// Largest message of a client, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = MESSAGE_BYTES_MAX)]
    max_recv_bytes: usize,
    /// Calls one connection may have open
    #[arg(long, value_name = "COUNT", default_value_t = u32::MAX)]
    max_concurrent_streams: u32,
    /// Certificate to show to members; its name must be nobody's, as all clients come with it
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Authorities that the members' certificates must be signed by
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Believe whoever answers (only for tests)
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set)]
    insecure_skip_tls_verify: bool,
    /// Certificate to show to clients
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Authorities that clients' certificates must be signed by; with it they must show one
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    trusted_ca_file: Option<PathBuf>,
    /// Certificates of clients that do not count any more
    #[arg(long, value_name = "FILE", requires = "trusted_ca_file")]
    client_crl_file: Option<PathBuf>,
    /// Accepted; the proxy keeps no data
    #[arg(long, value_name = "FOLDER", default_value = "default.proxy")]
    data_dir: String,
}

/// Runs the proxy until a signal ends it.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode, Outcome> {
    let Command::Start(start) = cli.command;
    let trust = Trust {
        authorities: start.cacert.clone(),
        certificate: pair(start.cert.as_ref(), start.key.as_ref()),
        anybody: start.insecure_skip_tls_verify,
    };
    let keeper = keeper(&start)?;
    let candidates = start.upstream.candidates().await?;
    let endpoints: Vec<String> = candidates.iter().map(|one| one.url.clone()).collect();
    let proxy = Arc::new(Proxy::new(
        Pool::new(trust, candidates)?,
        Namespace::new(&start.namespace),
        start.advertise_client_url.clone(),
        start.max_recv_bytes,
    ));
    let clients = Door {
        listener: listen(&start.listen_addr).await?,
        keeper: keeper.clone(),
        streams_max: start.max_concurrent_streams,
    };
    let watchers = match &start.metrics_addr {
        Some(url) => {
            let address = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
            let keeper = keeper.clone().filter(|_| url.starts_with("https"));
            Some(Door {
                listener: listen(address.trim_end_matches('/')).await?,
                keeper,
                streams_max: start.max_concurrent_streams,
            })
        }
        None => None,
    };
    let address = clients.address()?;
    tracing::info!(%address, ?endpoints, namespace = start.namespace, "ready to proxy client requests");
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
        () = stopped() => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn pair(certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Option<CertificateFiles> {
    Some(CertificateFiles {
        certificate: certificate?.clone(),
        key: key?.clone(),
    })
}

/// The certificates shown to clients, if TLS is spoken to them.
fn keeper(start: &Start) -> Result<Option<Arc<Keeper>>, Outcome> {
    let Some(own) = pair(start.cert_file.as_ref(), start.key_file.as_ref()) else {
        return Ok(None);
    };
    let settings = Settings {
        own: Some(own),
        authorities: start.trusted_ca_file.clone(),
        revoked: start.client_crl_file.clone(),
        ..Settings::default()
    };
    let failed = |error: TlsError| {
        Outcome::failed(format!("failed to {}", chain(&error))).hint(error.hint())
    };
    Keeper::new("client", settings, None)
        .map(Some)
        .map_err(failed)
}

async fn listen(address: &str) -> Result<TcpListener, Outcome> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|cause| Outcome::listen(address, &cause))
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

/// Where clients come in.
struct Door {
    listener: TcpListener,
    keeper: Option<Arc<Keeper>>,
    streams_max: u32,
}

impl Door {
    fn address(&self) -> Result<SocketAddr, Outcome> {
        let address = self.listener.local_addr();
        address.map_err(|cause| Outcome::listen("its port", &cause))
    }

    /// Accepts for ever.
    async fn accept(&self, proxy: &Arc<Proxy>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    // Whoever fails to set it only waits a little longer.
                    let _ = stream.set_nodelay(true);
                    let (proxy, keeper) = (Arc::clone(proxy), self.keeper.clone());
                    let streams_max = self.streams_max;
                    tokio::spawn(async move {
                        let socket = Socket::Tcp(stream);
                        let opened = open(socket, Remote::Machine(from), keeper);
                        match tokio::time::timeout(OPENING_TIMEOUT, opened).await {
                            Ok(Ok(stream)) => serve(stream, proxy, streams_max).await,
                            Ok(Err(error)) => {
                                tracing::info!(%from, error = %chain(&error), "not let in");
                            }
                            Err(_) => tracing::debug!(%from, "said nothing in time"),
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
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

async fn serve(stream: Stream, proxy: Arc<Proxy>, streams_max: u32) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(streams_max);
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
        .serve_connection(TokioIo::new(stream), service)
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
