//! The HTTP API of etcd 2, on the same keys as version 3: what requests mean is `store-v2`'s affair, here they are
//! performed. `keys.rs` reads and writes, `watch.rs` waits, `cluster.rs` is members and figures, `auth.rs` users and roles, `books.rs` counts, `guest.rs` is
//! who calls.

mod auth;
mod books;
mod cluster;
mod guest;
mod keys;
mod watch;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::ALLOW;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use store_machine::error::Refusal;
use store_v2::{Code, Error};

pub(crate) use self::books::Books;
use self::guest::{Guest, unauthorized};
use super::{JSON, response, text};
use crate::api::Api;
use crate::body::Body;
use crate::handle::Failure;

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
        rest if rest.starts_with("/auth/") => {
            auth::serve(&api, &rest["/auth".len()..], request).await
        }
        rest => cluster::serve(&api, rest, request).await,
    };
    let id = format!("{:x}", api.handle.cluster_id());
    if let Ok(id) = HeaderValue::try_from(id) {
        answer.headers_mut().insert(CLUSTER_ID, id);
    }
    answer
}

/// A failure of the store, as version 2 tells it.
fn failed(failure: Failure) -> Error {
    // What was permitted when it was asked is not any more, or nobody asked then.
    let judged_by_old = [Refusal::AuthOldRevision, Refusal::UserEmpty].map(Failure::Refused);
    if judged_by_old.contains(&failure) {
        return unauthorized();
    }
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
