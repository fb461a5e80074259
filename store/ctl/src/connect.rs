//! The way to a member: one endpoint after the other until one takes the connection, and the token of the user.

use std::time::Duration;

use store_proto::etcdserverpb::AuthenticateRequest;
use store_proto::etcdserverpb::auth_client::AuthClient;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::failure::Failure;
use crate::flags::Globals;

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
    while Instant::now() < deadline {
        for name in endpoints {
            let endpoint = endpoint(name, globals)?;
            // Safe to cancel: a connection that is not made yet is dropped.
            match tokio::time::timeout_at(deadline, endpoint.connect()).await {
                Ok(Ok(channel)) => return with_token(channel, globals).await,
                Ok(Err(cause)) => reason = format!("{name}: {}", innermost(&cause)),
                Err(_) => reason = format!("{name} does not answer"),
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    Err(Failure::error(LATE).hint(reason))
}

fn endpoint(name: &str, globals: &Globals) -> Result<Endpoint, Failure> {
    let address = name.strip_prefix("http://").unwrap_or(name);
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|cause| Failure::bad_arguments(format!("endpoint {name:?}: {cause}")))?;
    Ok(endpoint
        .connect_timeout(globals.dial_timeout)
        .http2_keep_alive_interval(globals.keepalive_time)
        .keep_alive_timeout(globals.keepalive_timeout)
        .tcp_nodelay(true))
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
