//! A connection that shows who calls. It logs in once, and again when the store no longer believes the token: after
//! a change to users or roles, or when it has expired. What a stream shows is asked for only when it is opened.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use store_proto::etcdserverpb::AuthenticateRequest;
use store_proto::etcdserverpb::auth_client::AuthClient;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::codegen::{BoxFuture, StdError};
use tonic::transport::Channel;
use tower::Service;

use crate::connect::LATE;
use crate::failure::Failure;

/// Answered to a login while nobody needs one; etcd's clients go on without a token then.
const NOT_ENABLED: &str = "etcdserver: authentication is not enabled";
/// Answered to a token that is not, or no longer, believed.
const DISBELIEVED: [&str; 2] = ["invalid auth token", "revision of auth store is old"];
/// Their requests have no end that could be waited for.
const STREAMS: [&str; 2] = ["/Watch", "/LeaseKeepAlive"];

/// A connection to a member.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    channel: Channel,
    login: Option<Arc<Login>>,
}

/// Who calls.
struct Login {
    name: String,
    password: String,
    /// What the store gave for both; `None` while it asks nobody.
    token: Mutex<Option<HeaderValue>>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Login")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// On nobody's behalf.
    pub(crate) const fn anonymous(channel: Channel) -> Self {
        Self {
            channel,
            login: None,
        }
    }

    /// On behalf of a user; the store has so long to say whether it is one.
    ///
    /// # Errors
    /// What the store says of name and password.
    pub(crate) async fn of_user(
        channel: Channel,
        name: &str,
        password: &str,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let login = Login {
            name: name.to_owned(),
            password: password.to_owned(),
            token: Mutex::default(),
        };
        // Safe to cancel: a token nobody took is forgotten.
        match tokio::time::timeout(patience, login.renew(&channel)).await {
            Ok(renewed) => renewed?,
            Err(_) => {
                return Err(Failure::bad_connection(LATE).hint("nobody there answers a login"));
            }
        }
        Ok(Self {
            channel,
            login: Some(Arc::new(login)),
        })
    }

    /// With a token that somebody else got.
    ///
    /// # Errors
    /// A token that no header can hold.
    pub(crate) fn of_token(channel: Channel, token: &str) -> Result<Self, Failure> {
        let token = HeaderValue::try_from(token)
            .map_err(|_| Failure::bad_arguments("the token holds bytes no token can hold"))?;
        Ok(Self {
            channel,
            login: Some(Arc::new(Login {
                name: String::new(),
                password: String::new(),
                token: Mutex::new(Some(token)),
            })),
        })
    }
}

impl Login {
    fn show(&self, headers: &mut HeaderMap) {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*token {
            headers.insert("token", token.clone());
        }
    }

    async fn renew(&self, channel: &Channel) -> Result<(), Failure> {
        let request = AuthenticateRequest {
            name: self.name.clone(),
            password: self.password.clone(),
        };
        let answer = AuthClient::new(channel.clone()).authenticate(request).await;
        let token = match answer {
            Ok(answer) => Some(answer.into_inner().token),
            Err(status) if status.message() == NOT_ENABLED => None,
            Err(status) => return Err(Failure::bad_connection(status.message())),
        };
        let token = token.map(HeaderValue::try_from).transpose();
        let token =
            token.map_err(|cause| Failure::error(format!("token of the store: {cause}")))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
        Ok(())
    }

    /// Whether another token may help.
    fn is_disbelieved(&self, answer: &HeaderMap) -> bool {
        let message = answer.get("grpc-message").map(HeaderValue::as_bytes);
        let message = String::from_utf8_lossy(message.unwrap_or_default()).replace("%20", " ");
        !self.name.is_empty() && DISBELIEVED.iter().any(|text| message.ends_with(text))
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let spare = self.channel.clone();
        // The one that was found ready makes the call.
        let mut channel = std::mem::replace(&mut self.channel, spare.clone());
        let Some(login) = self.login.clone() else {
            return Box::pin(async move { Ok(channel.call(request).await?) });
        };
        login.show(request.headers_mut());
        let path = request.uri().path();
        if STREAMS.iter().any(|end| path.ends_with(end)) {
            return Box::pin(async move { Ok(channel.call(request).await?) });
        }
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let made = |parts| Request::from_parts(parts, Body::new(Full::new(body.clone())));
            let answer = channel.call(made(parts.clone())).await?;
            if !login.is_disbelieved(answer.headers()) || login.renew(&spare).await.is_err() {
                return Ok(answer);
            }
            let mut again = made(parts);
            login.show(again.headers_mut());
            std::future::poll_fn(|context| channel.poll_ready(context)).await?;
            Ok(channel.call(again).await?)
        })
    }
}
