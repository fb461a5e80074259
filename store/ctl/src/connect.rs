//! The way to a member: one endpoint after the other until one takes the connection, and the token of the user.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use store_proto::etcdserverpb::AuthenticateRequest;
use store_proto::etcdserverpb::auth_client::AuthClient;
use store_transport::Stream;
use store_transport::dial::{self, Place};
use store_transport::tls::rustls::ClientConfig;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::failure::Failure;
use crate::flags::Globals;
use crate::secure;

/// 100 ms: soon enough for a member that comes up, rarely enough not to hammer one that is down.
const AGAIN: Duration = Duration::from_millis(100);
/// What every client of etcd prints when time is up.
pub(crate) const LATE: &str = "context deadline exceeded";
/// Answers larger than tonic's 4 MiB are ordinary for a range; the store's own limits are what bounds them.
pub(crate) const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

/// A connection, with the user's token on every call.
pub(crate) type Connection = InterceptedService<Channel, Token>;

/// What a user who has logged in shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

/// Connects to the first endpoint that can be reached before the command's time is up.
///
/// # Errors
/// `context deadline exceeded`, with the last reason as a hint; or what the store says about the user.
pub(crate) async fn connect(globals: &Globals) -> Result<Connection, Failure> {
    to(&globals.endpoints, globals).await
}

/// The same for given endpoints.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn to(endpoints: &[String], globals: &Globals) -> Result<Connection, Failure> {
    let deadline = Instant::now() + globals.command_timeout;
    let mut reason = String::from("no endpoint is given");
    let targets = endpoints
        .iter()
        .map(|name| Target::parse(name, globals).map(|target| (name, target)));
    let targets: Vec<(&String, Target)> = targets.collect::<Result<_, _>>()?;
    let tls = if targets.iter().any(|(_, target)| target.secure) {
        Some(secure::config(globals)?)
    } else {
        None
    };
    while Instant::now() < deadline {
        for (name, target) in &targets {
            let connecting = target.connect(globals, tls.clone());
            // Safe to cancel: a connection that is not made yet is dropped.
            match tokio::time::timeout_at(deadline, connecting).await {
                Ok(Ok(channel)) => return with_token(channel, globals).await,
                Ok(Err(cause)) => reason = format!("{name}: {}", innermost(&cause)),
                Err(_) => reason = format!("{name} does not answer"),
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    Err(Failure::error(LATE).hint(reason))
}

/// Opens a stream to one endpoint, for what is not gRPC. Whoever answers over TLS is believed if `anybody` says so.
///
/// # Errors
/// Why it cannot be opened in the time that dialling may take.
pub(crate) async fn stream(
    endpoint: &str,
    globals: &Globals,
    anybody: bool,
) -> Result<Stream, Failure> {
    let mut globals = globals.clone();
    globals.insecure_skip_tls_verify |= anybody;
    let target = Target::parse(endpoint, &globals)?;
    let opened = async {
        if target.secure {
            let config = secure::config(&globals)?;
            let stream = dial::secure(&target.place, None, config, None).await;
            stream.map_err(|cause| Failure::error(cause.to_string()))
        } else {
            let socket = dial::plain(&target.place, None).await;
            let socket = socket.map_err(|cause| Failure::error(cause.to_string()))?;
            Ok(Stream::Plain(socket))
        }
    };
    // Safe to cancel: a stream that is not open yet is dropped.
    match tokio::time::timeout(globals.dial_timeout, opened).await {
        Ok(opened) => opened,
        Err(_) => Err(Failure::error("it does not answer")),
    }
}

/// Where a member is, and how it is spoken to.
#[derive(Clone, Debug)]
struct Target {
    secure: bool,
    place: Place,
    /// What the connection tells that it wants: host and port.
    endpoint: Endpoint,
}

impl Target {
    /// Reads `host:port`, a URL with http, https, unix or unixs. Without a scheme the flags decide.
    fn parse(name: &str, globals: &Globals) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::bad_arguments(format!("endpoint {name:?}: {why}"));
        let dial::Target {
            secure,
            place,
            authority,
        } = dial::Target::parse(name).map_err(|why| wrong(why.to_string()))?;
        let secure = secure.unwrap_or_else(|| {
            let certificates = [&globals.cacert, &globals.cert, &globals.key];
            !globals.insecure_transport || certificates.iter().any(|file| file.is_some())
        });
        // TLS is spoken below; to the client above all is in the clear.
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))
            .map_err(|cause| wrong(cause.to_string()))?
            .connect_timeout(globals.dial_timeout)
            .http2_keep_alive_interval(globals.keepalive_time)
            .keep_alive_timeout(globals.keepalive_timeout);
        Ok(Self {
            secure,
            place,
            endpoint,
        })
    }

    async fn connect(
        &self,
        globals: &Globals,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Channel, tonic::transport::Error> {
        let place = self.place.clone();
        let config = tls.filter(|_| self.secure);
        let patience = globals.dial_timeout;
        let connector = tower::service_fn(move |_| {
            let (place, config) = (place.clone(), config.clone());
            async move {
                let opened = async {
                    match config {
                        Some(config) => dial::secure(&place, None, config, None).await,
                        None => Ok(Stream::Plain(dial::plain(&place, None).await?)),
                    }
                };
                let opened = tokio::time::timeout(patience, opened).await;
                let stream = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        self.endpoint.connect_with_connector(connector).await
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}

async fn with_token(channel: Channel, globals: &Globals) -> Result<Connection, Failure> {
    let Some(user) = &globals.user else {
        return Ok(InterceptedService::new(channel, Token::default()));
    };
    let (name, password) = match (user.split_once(':'), &globals.password) {
        (_, Some(password)) => (user.as_str(), password.as_str()),
        (Some(parts), None) => parts,
        (None, None) => {
            return Err(Failure::bad_arguments("the password is missing")
                .hint("give --password, or --user name:password"));
        }
    };
    let request = AuthenticateRequest {
        name: name.to_owned(),
        password: password.to_owned(),
    };
    let answer = AuthClient::new(channel.clone())
        .authenticate(request)
        .await?;
    let token = MetadataValue::try_from(answer.into_inner().token)
        .map_err(|cause| Failure::error(format!("token of the store: {cause}")))?;
    Ok(InterceptedService::new(channel, Token(Some(token))))
}
