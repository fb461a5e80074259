//! The JSON gateway (reference B.1): every unary method also as `POST /v3/…` with a JSON body.
//!
//! A request takes the same functions as over gRPC; only its clothes differ. Streams are not served
//! here yet, except that one renewal of a lease is one answer.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::{Method as Verb, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Code, Status};

use super::{json, not_found, problem};
use crate::api::Api;
use crate::body::Body;
use crate::grpc::method::Method;
use crate::grpc::{auth, cluster, errors, kv, lease, maintenance, metadata};

/// A line of a streamed answer.
#[derive(Serialize)]
struct Line<R> {
    result: R,
}

/// Answers `POST /v3/<rpc>`.
pub(super) async fn serve(api: Arc<Api>, rpc: &str, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Verb::POST {
        return refused(&Status::unimplemented("Method Not Allowed"));
    }
    let for_learners = matches!(
        rpc,
        "kv/range" | "maintenance/status" | "maintenance/snapshot"
    );
    if !for_learners && api.handle.learns() {
        return refused(&errors::ApiError::NotSupportedForLearner.into());
    }
    match rpc {
        "kv/range" => unary(api, request, kv::range).await,
        "kv/put" => unary(api, request, kv::put).await,
        "kv/deleterange" => unary(api, request, kv::delete_range).await,
        "kv/txn" => unary(api, request, kv::txn).await,
        "kv/compaction" => unary(api, request, kv::compact).await,
        "lease/grant" => unary(api, request, lease::grant).await,
        "lease/revoke" | "kv/lease/revoke" => unary(api, request, lease::revoke).await,
        "lease/timetolive" | "kv/lease/timetolive" => {
            unary(api, request, lease::time_to_live).await
        }
        "lease/leases" | "kv/lease/leases" => unary(api, request, lease::leases).await,
        "lease/keepalive" => {
            let line = |api, request| async move {
                let result = lease::keep_alive_once(api, request).await?;
                Ok(Line { result })
            };
            unary(api, request, line).await
        }
        "maintenance/alarm" => unary(api, request, maintenance::alarm).await,
        "maintenance/status" => unary(api, request, maintenance::member_status).await,
        "maintenance/defragment" => unary(api, request, maintenance::defragment).await,
        "maintenance/hash" => unary(api, request, maintenance::hash).await,
        "maintenance/hashkv" => unary(api, request, maintenance::hash_kv).await,
        "auth/status" => unary(api, request, auth::auth_status).await,
        "auth/authenticate" => unary(api, request, auth::authenticate).await,
        other => match other.strip_prefix("cluster/member/") {
            Some(change) => members(api, change, request).await,
            None => not_here(other),
        },
    }
}

async fn members(api: Arc<Api>, rpc: &str, request: Request<Incoming>) -> Response<Body> {
    match rpc {
        "add" => unary(api, request, cluster::add).await,
        "remove" => unary(api, request, cluster::remove).await,
        "update" => unary(api, request, cluster::update).await,
        "promote" => unary(api, request, cluster::promote).await,
        "list" => unary(api, request, cluster::list).await,
        _ => not_found(),
    }
}

/// What this version does not serve yet, and what does not exist.
fn not_here(rpc: &str) -> Response<Body> {
    match later(rpc) {
        Some(method) => refused(&errors::not_served(method.name())),
        None => not_found(),
    }
}

/// The methods of the contract that are not served here yet.
fn later(rpc: &str) -> Option<Method> {
    Some(match rpc {
        "watch" => Method::Watch,
        "maintenance/snapshot" => Method::Snapshot,
        "maintenance/transfer-leadership" => Method::MoveLeader,
        "maintenance/downgrade" => Method::Downgrade,
        "auth/enable" => Method::AuthEnable,
        "auth/disable" => Method::AuthDisable,
        "auth/user/add" => Method::UserAdd,
        "auth/user/get" => Method::UserGet,
        "auth/user/list" => Method::UserList,
        "auth/user/delete" => Method::UserDelete,
        "auth/user/changepw" => Method::UserChangePassword,
        "auth/user/grant" => Method::UserGrantRole,
        "auth/user/revoke" => Method::UserRevokeRole,
        "auth/role/add" => Method::RoleAdd,
        "auth/role/get" => Method::RoleGet,
        "auth/role/list" => Method::RoleList,
        "auth/role/delete" => Method::RoleDelete,
        "auth/role/grant" => Method::RoleGrantPermission,
        "auth/role/revoke" => Method::RoleRevokePermission,
        "lock/lock" => Method::Lock,
        "lock/unlock" => Method::Unlock,
        "election/campaign" => Method::Campaign,
        "election/proclaim" => Method::Proclaim,
        "election/leader" => Method::Leader,
        "election/observe" => Method::Observe,
        "election/resign" => Method::Resign,
        _ => return None,
    })
}

async fn unary<M, R, F>(
    api: Arc<Api>,
    request: Request<Incoming>,
    serve: impl FnOnce(Arc<Api>, M) -> F,
) -> Response<Body>
where
    M: DeserializeOwned + Default,
    R: Serialize,
    F: Future<Output = Result<R, Status>>,
{
    api.accounts.gateway_requests.fetch_add(1, Relaxed);
    match answer(api, request, serve).await {
        Ok(answer) => json(StatusCode::OK, &answer),
        Err(status) => refused(&status),
    }
}

async fn answer<M, R, F>(
    api: Arc<Api>,
    request: Request<Incoming>,
    serve: impl FnOnce(Arc<Api>, M) -> F,
) -> Result<R, Status>
where
    M: DeserializeOwned + Default,
    F: Future<Output = Result<R, Status>>,
{
    let (parts, body) = request.into_parts();
    metadata::wanted(&parts.headers)?.check(&api).await?;
    let body = whole(body, json_bytes_max(api.limits.receive_bytes_max)).await?;
    let message = if body.is_empty() {
        // An empty body stands for an empty message.
        M::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| Status::invalid_argument(error.to_string()))?
    };
    serve(api, message).await
}

/// Base64 makes bytes a third longer, and names and quotes come on top.
const fn json_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max.saturating_mul(2)
}

async fn whole(body: Incoming, bytes_max: usize) -> Result<Bytes, Status> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(errors::ApiError::RequestTooLarge.into())
        }
        Err(error) => Err(Status::invalid_argument(format!(
            "the request was not read to its end: {error}"
        ))),
    }
}

fn refused(status: &Status) -> Response<Body> {
    problem(http_status(status.code()), status.code(), status.message())
}

/// The status codes of the gateway (reference B.1).
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_the_statuses_of_the_reference() {
        for (code, wanted) in [
            (Code::InvalidArgument, 400),
            (Code::Unauthenticated, 401),
            (Code::PermissionDenied, 403),
            (Code::NotFound, 404),
            (Code::FailedPrecondition, 400),
            (Code::OutOfRange, 400),
            (Code::ResourceExhausted, 429),
            (Code::Unavailable, 503),
            (Code::DeadlineExceeded, 504),
            (Code::Unimplemented, 501),
            (Code::Unknown, 500),
            (Code::DataLoss, 500),
        ] {
            assert_eq!(http_status(code).as_u16(), wanted, "{code:?}");
        }
    }
}
