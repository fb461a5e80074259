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

use super::{json, not_found, problem, text};
use crate::api::Api;
use crate::auth::Admission;
use crate::body::Body;
use crate::call::Call;
use crate::caller::Caller;
use crate::grpc::method::Method;
use crate::grpc::{auth, cluster, election, errors, kv, lease, lock, maintenance, metadata};

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
    let Some(method) = method(rpc) else {
        return not_found();
    };
    if let Some(refused) = certificate(&api, &request) {
        return refused;
    }
    use Method as M;
    if api.handle.learns() && !method.is_for_learners() {
        return refused(&errors::ApiError::NotSupportedForLearner.into());
    }
    match method {
        M::Range => unary(api, method, request, kv::range).await,
        M::Put => unary(api, method, request, kv::put).await,
        M::DeleteRange => unary(api, method, request, kv::delete_range).await,
        M::Txn => unary(api, method, request, kv::txn).await,
        M::Compact => unary(api, method, request, kv::compact).await,
        M::LeaseGrant => unary(api, method, request, lease::grant).await,
        M::LeaseRevoke => unary(api, method, request, lease::revoke).await,
        M::LeaseTimeToLive => unary(api, method, request, lease::time_to_live).await,
        M::LeaseLeases => unary(api, method, request, lease::leases).await,
        M::LeaseKeepAlive => {
            let line = |call, request| async move {
                let result = lease::keep_alive_once(call, request).await?;
                Ok(Line { result })
            };
            unary(api, method, request, line).await
        }
        M::MemberAdd => unary(api, method, request, cluster::add).await,
        M::MemberRemove => unary(api, method, request, cluster::remove).await,
        M::MemberUpdate => unary(api, method, request, cluster::update).await,
        M::MemberPromote => unary(api, method, request, cluster::promote).await,
        M::MemberList => unary(api, method, request, cluster::list).await,
        M::Alarm => unary(api, method, request, maintenance::alarm).await,
        M::Status => unary(api, method, request, maintenance::member_status).await,
        M::Defragment => unary(api, method, request, maintenance::defragment).await,
        M::Hash => unary(api, method, request, maintenance::hash).await,
        M::HashKv => unary(api, method, request, maintenance::hash_kv).await,
        method => users(api, method, request).await,
    }
}

/// Answers what is about users and roles, locks and elections, and what is not served yet.
async fn users(api: Arc<Api>, method: Method, request: Request<Incoming>) -> Response<Body> {
    use Method as M;
    match method {
        M::AuthEnable => unary(api, method, request, auth::enable).await,
        M::AuthDisable => unary(api, method, request, auth::disable).await,
        M::AuthStatus => unary(api, method, request, auth::status).await,
        M::Authenticate => unary(api, method, request, auth::authenticate).await,
        M::UserAdd => unary(api, method, request, auth::user_add).await,
        M::UserGet => unary(api, method, request, auth::user_get).await,
        M::UserList => unary(api, method, request, auth::user_list).await,
        M::UserDelete => unary(api, method, request, auth::user_delete).await,
        M::UserChangePassword => unary(api, method, request, auth::user_change_password).await,
        M::UserGrantRole => unary(api, method, request, auth::user_grant_role).await,
        M::UserRevokeRole => unary(api, method, request, auth::user_revoke_role).await,
        M::RoleAdd => unary(api, method, request, auth::role_add).await,
        M::RoleGet => unary(api, method, request, auth::role_get).await,
        M::RoleList => unary(api, method, request, auth::role_list).await,
        M::RoleDelete => unary(api, method, request, auth::role_delete).await,
        M::RoleGrantPermission => unary(api, method, request, auth::role_grant_permission).await,
        M::RoleRevokePermission => unary(api, method, request, auth::role_revoke_permission).await,
        M::Lock => unary(api, method, request, lock::lock).await,
        M::Unlock => unary(api, method, request, lock::unlock).await,
        M::Campaign => unary(api, method, request, election::campaign).await,
        M::Proclaim => unary(api, method, request, election::proclaim).await,
        M::Leader => unary(api, method, request, election::leader).await,
        M::Resign => unary(api, method, request, election::resign).await,
        later => refused(&errors::not_served(later.name())),
    }
}

/// The method a path behind `/v3/` stands for; those of leases have two.
fn method(rpc: &str) -> Option<Method> {
    use Method as M;
    Some(match rpc {
        "kv/range" => M::Range,
        "kv/put" => M::Put,
        "kv/deleterange" => M::DeleteRange,
        "kv/txn" => M::Txn,
        "kv/compaction" => M::Compact,
        "watch" => M::Watch,
        "lease/grant" => M::LeaseGrant,
        "lease/revoke" | "kv/lease/revoke" => M::LeaseRevoke,
        "lease/keepalive" => M::LeaseKeepAlive,
        "lease/timetolive" | "kv/lease/timetolive" => M::LeaseTimeToLive,
        "lease/leases" | "kv/lease/leases" => M::LeaseLeases,
        "cluster/member/add" => M::MemberAdd,
        "cluster/member/remove" => M::MemberRemove,
        "cluster/member/update" => M::MemberUpdate,
        "cluster/member/list" => M::MemberList,
        "cluster/member/promote" => M::MemberPromote,
        "maintenance/alarm" => M::Alarm,
        "maintenance/status" => M::Status,
        "maintenance/defragment" => M::Defragment,
        "maintenance/hash" => M::Hash,
        "maintenance/hashkv" => M::HashKv,
        "maintenance/snapshot" => M::Snapshot,
        "maintenance/transfer-leadership" => M::MoveLeader,
        "maintenance/downgrade" => M::Downgrade,
        "auth/enable" => M::AuthEnable,
        "auth/disable" => M::AuthDisable,
        "auth/status" => M::AuthStatus,
        "auth/authenticate" => M::Authenticate,
        "auth/user/add" => M::UserAdd,
        "auth/user/get" => M::UserGet,
        "auth/user/list" => M::UserList,
        "auth/user/delete" => M::UserDelete,
        "auth/user/changepw" => M::UserChangePassword,
        "auth/user/grant" => M::UserGrantRole,
        "auth/user/revoke" => M::UserRevokeRole,
        "auth/role/add" => M::RoleAdd,
        "auth/role/get" => M::RoleGet,
        "auth/role/list" => M::RoleList,
        "auth/role/delete" => M::RoleDelete,
        "auth/role/grant" => M::RoleGrantPermission,
        "auth/role/revoke" => M::RoleRevokePermission,
        "lock/lock" => M::Lock,
        "lock/unlock" => M::Unlock,
        "election/campaign" => M::Campaign,
        "election/proclaim" => M::Proclaim,
        "election/leader" => M::Leader,
        "election/observe" => M::Observe,
        "election/resign" => M::Resign,
        _ => return None,
    })
}

/// Refuses a certificate that names somebody, while anybody asks who calls: over the gateway names in
/// certificates do not count, and nobody is to believe they did.
fn certificate(api: &Api, request: &Request<Incoming>) -> Option<Response<Body>> {
    let caller = Caller::of_request(request.extensions());
    let named = caller.is_some_and(|caller| caller.common_name.is_some());
    (named && api.handle.auth_view().enabled()).then(|| {
        text(
            StatusCode::BAD_REQUEST,
            "CommonName of client sending a request against gateway will be ignored and not used as expected\n",
        )
    })
}

async fn unary<C, M, R, F>(
    api: Arc<Api>,
    method: Method,
    request: Request<Incoming>,
    serve: impl FnOnce(C, M) -> F,
) -> Response<Body>
where
    C: From<Call>,
    M: DeserializeOwned + Default,
    R: Serialize,
    F: Future<Output = Result<R, Status>>,
{
    api.accounts.gateway_requests.fetch_add(1, Relaxed);
    match answer(api, method, request, serve).await {
        Ok(answer) => json(StatusCode::OK, &answer),
        Err(status) => refused(&status),
    }
}

async fn answer<C, M, R, F>(
    api: Arc<Api>,
    method: Method,
    request: Request<Incoming>,
    serve: impl FnOnce(C, M) -> F,
) -> Result<R, Status>
where
    C: From<Call>,
    M: DeserializeOwned + Default,
    F: Future<Output = Result<R, Status>>,
{
    let (parts, body) = request.into_parts();
    metadata::wanted(&parts.headers)?.check(&api).await?;
    let admission = Admission::of(&api, method, &parts.headers, &parts.extensions);
    let call = admission.call(&api, method).await?;
    let body = whole(body, json_bytes_max(api.limits.receive_bytes_max)).await?;
    let message = if body.is_empty() {
        // An empty body stands for an empty message.
        M::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| Status::invalid_argument(error.to_string()))?
    };
    serve(call.into(), message).await
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
