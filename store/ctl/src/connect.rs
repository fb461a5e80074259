//! The way to a member: one endpoint after the other until one takes the connection, and the token of the user.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use store_transport::Stream;
use store_transport::dial::{self, Place};
use store_transport::tls::for_http2;
use store_transport::tls::rustls::ClientConfig;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::failure::Failure;
use crate::flags::Globals;
pub(crate) use crate::login::Connection;
use crate::secure;

/// 100 ms: soon enough for a member that comes up, rarely enough not to hammer one that is down.
const AGAIN: Duration = Duration::from_millis(100);
/// What every client of etcd prints when time is up.
pub(crate) const LATE: &str = "context deadline exceeded";
/// Answers larger than tonic's 4 MiB are ordinary for a range; the store's own limits are what bounds them.
pub(crate) const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

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
        Some(for_http2(secure::config(globals)?.as_ref()))
    } else {
        None
    };
    while Instant::now() < deadline {
        for (name, target) in &targets {
            let connecting = target.connect(globals, tls.clone());
            // Safe to cancel: a connection that is not made yet is dropped.
            match tokio::time::timeout_at(deadline, connecting).await {
                Ok(Ok(channel)) => return logged_in(channel, globals).await,
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
pub(crate) struct Target {
    secure: bool,
    place: Place,
    /// Host and port, as they stand in a URL.
    authority: String,
    /// What the connection tells that it wants: host and port.
    endpoint: Endpoint,
}

impl Target {
    /// Reads `host:port`, a URL with http, https, unix or unixs. Without a scheme the flags decide.
    pub(crate) fn parse(name: &str, globals: &Globals) -> Result<Self, Failure> {
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
            authority: authority.to_owned(),
            endpoint,
        })
    }

    /// Where it is.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Host and port, as they stand in a URL.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// A stream to it, for other protocols than gRPC.
    ///
    /// # Errors
    /// Files that do not fit, or the system's; late after the time connecting may take.
    pub(crate) async fn open(&self, globals: &Globals) -> Result<Stream, Failure> {
        let config = if self.secure {
            Some(secure::config(globals)?)
        } else {
            None
        };
        let opened = open(&self.place, config, globals.dial_timeout).await;
        opened.map_err(|cause| Failure::error(cause.to_string()))
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
                let stream = open(&place, config, patience).await?;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        self.endpoint.connect_with_connector(connector).await
    }
}

async fn open(
    place: &Place,
    config: Option<Arc<ClientConfig>>,
    patience: Duration,
) -> io::Result<Stream> {
    let opened = async {
        match config {
            Some(config) => dial::secure(place, None, config, None).await,
            None => Ok(Stream::Plain(dial::plain(place, None).await?)),
        }
    };
    // Safe to cancel: a connection that is not made yet is dropped.
    let opened = tokio::time::timeout(patience, opened).await;
    opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}

async fn logged_in(channel: Channel, globals: &Globals) -> Result<Connection, Failure> {
    if let Some(token) = &globals.auth_jwt_token {
        return Connection::of_token(channel, token);
    }
    match globals.credentials()? {
        Some((name, password)) => {
            Connection::of_user(channel, name, password, globals.command_timeout).await
        }
        None => Ok(Connection::anonymous(channel)),
    }
}
