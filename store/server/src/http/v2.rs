//! The HTTP API of etcd 2, on the same keys as version 3: what requests mean is `store-v2`'s affair, here they are
//! performed. `keys.rs` reads and writes, `watch.rs` waits, `cluster.rs` is members and figures, `books.rs` counts.

mod books;
mod cluster;
mod keys;
mod watch;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ALLOW, AUTHORIZATION};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use store_machine::auth::{Actor, Need};
use store_v2::{Code, Error};

pub(crate) use self::books::Books;
use super::{JSON, response, text};
use crate::api::Api;
use crate::auth::Credentials;
use crate::body::Body;
use crate::handle::{Failure, Handle};

const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
const INDEX: HeaderName = HeaderName::from_static("x-etcd-index");
const RAFT_INDEX: HeaderName = HeaderName::from_static("x-raft-index");
const RAFT_TERM: HeaderName = HeaderName::from_static("x-raft-term");

/// Answers a request whose path is `/v2/…`.
pub(super) async fn serve(api: Arc<Api>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let mut answer = match path.strip_prefix("/v2").unwrap_or_default() {
        "/keys" => keys::serve(&api, "/", request).await,
        rest if rest.starts_with("/keys/") => {
            keys::serve(&api, &rest["/keys".len()..], request).await
        }
        rest => cluster::serve(&api, rest, request).await,
    };
    let id = format!("{:x}", api.handle.cluster_id());
    if let Ok(id) = HeaderValue::try_from(id) {
        answer.headers_mut().insert(CLUSTER_ID, id);
    }
    answer
}

/// Who calls: by name and password with each request, as clients of version 2 do, or by what clients of version 3 show.
struct Guest {
    /// `None` = nobody asks.
    actor: Option<Actor>,
}

impl Guest {
    /// # Errors
    /// It is not who it says.
    async fn of(api: &Api, request: &Request<Incoming>) -> Result<Self, Error> {
        if !api.handle.auth_view().enabled() {
            return Ok(Self { actor: None });
        }
        let auth = api.handle.auth_view().current();
        let headers = request.headers();
        let Some((name, password)) = headers.get(AUTHORIZATION).and_then(basic) else {
            let credentials = Credentials::of(headers, request.extensions());
            let actor = api.guard.actor(&auth, &credentials).ok().flatten();
            return actor.map_or_else(
                || Err(unauthorized()),
                |actor| Ok(Self { actor: Some(actor) }),
            );
        };
        let hash = auth.user(&name).and_then(|user| user.password.clone());
        let fits = api.guard.passwords.verify(password, hash).await;
        if !fits.is_ok_and(|fits| fits) {
            return Err(unauthorized());
        }
        let revision = auth.revision();
        let name = Arc::from(name);
        Ok(Self {
            actor: Some(Actor::User { name, revision }),
        })
    }

    /// # Errors
    /// It may not.
    fn require(&self, api: &Api, need: &Need<'_>) -> Result<(), Error> {
        if self.actor.is_none() {
            return Ok(());
        }
        let auth = api.handle.auth_view().current();
        auth.check(self.actor.as_ref(), need)
            .map_err(|_| unauthorized())
    }
}

/// The way to the driver for what was permitted: deciding a request reads more than it shows, such as whether there are
/// directories above.
fn handle(api: &Api) -> Handle {
    api.handle.by(Actor::Store)
}

fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let text = header.to_str().ok()?.strip_prefix("Basic ")?;
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

fn unauthorized() -> Error {
    Error::early(Code::Unauthorized, "Insufficient credentials")
}

/// A failure of the store, as version 2 tells it.
fn failed(failure: Failure) -> Error {
    let status = crate::grpc::errors::status(failure);
    Error::early(Code::RaftInternal, status.message())
}

fn refused(error: &Error) -> Response<Body> {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = response(status, JSON, error.json());
    answer.headers_mut().insert(INDEX, error.index.into());
    answer
}

/// Index and raft's place, as every answer about keys shows them.
fn with_index(api: &Api, answer: &mut Response<Body>, index: i64) {
    let counters = api.handle.counters();
    let headers = answer.headers_mut();
    headers.insert(INDEX, index.into());
    headers.insert(RAFT_INDEX, counters.proposals_applied.get().into());
    headers.insert(RAFT_TERM, counters.term.get().into());
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
