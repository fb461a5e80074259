//! The gRPC side of the client port: which method is served by which function.
//!
//! Knows the wire and the [`Handle`](crate::handle::Handle), never raft or the disk.

pub(crate) mod account;
pub(crate) mod auth;
pub(crate) mod cluster;
pub(crate) mod election;
pub(crate) mod errors;
mod health;
pub(crate) mod kv;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod maintenance;
pub(crate) mod metadata;
pub(crate) mod method;
mod range_stream;
pub(crate) mod snapshot;
mod stopwatch;
mod stream;
mod translate;
mod turns;
mod txn;
mod unary;
mod watch;

use std::future::{Future, ready};
use std::sync::Arc;

use futures::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;

use self::method::Method;
use self::stream::{Answers, bidi, refuse, server, unserved};
use self::unary::unary;
use crate::api::Api;
use crate::body::Body;

/// Answers one gRPC request.
///
/// The methods every client calls all the time are served in the future itself, the others in a box,
/// so that the future of a put stays small.
pub(crate) fn serve(
    api: Arc<Api>,
    request: Request<Incoming>,
) -> impl Future<Output = Response<Body>> {
    match Method::of(request.uri().path()) {
        Some(method) if api.handle.learns() && !method.is_for_learners() => {
            let status = errors::ApiError::NotSupportedForLearner.into();
            let refused = refuse(&api, method, &status);
            Either::Right(Either::Right(Either::Left(ready(refused))))
        }
        Some(method @ Method::Range) => {
            Either::Left(Either::Left(unary(api, method, request, kv::range)))
        }
        Some(method @ Method::Put) => {
            Either::Left(Either::Right(unary(api, method, request, kv::put)))
        }
        Some(method @ Method::Txn) => {
            Either::Right(Either::Left(unary(api, method, request, kv::txn)))
        }
        method => {
            let other = Box::pin(serve_other(api, method, request));
            Either::Right(Either::Right(Either::Right(other)))
        }
    }
}

async fn serve_other(
    api: Arc<Api>,
    method: Option<Method>,
    request: Request<Incoming>,
) -> Response<Body> {
    use Method as M;
    let Some(method) = method else {
        let path = request.uri().path();
        return Status::unimplemented(format!("unknown method {path}")).into_http();
    };
    match method {
        M::Range => unary(api, method, request, kv::range).await,
        M::Put => unary(api, method, request, kv::put).await,
        M::Txn => unary(api, method, request, kv::txn).await,
        M::DeleteRange => unary(api, method, request, kv::delete_range).await,
        M::RangeStream => server(api, method, request, range_stream::range_stream).await,
        M::Compact => unary(api, method, request, kv::compact).await,
        M::Watch => {
            bidi::<_, _, watch::codec::WatchAnswers, _, _>(api, method, request, watch::watch).await
        }
        M::LeaseGrant => unary(api, method, request, lease::grant).await,
        M::LeaseRevoke => unary(api, method, request, lease::revoke).await,
        M::LeaseKeepAlive => {
            bidi::<_, _, Answers<_>, _, _>(api, method, request, lease::keep_alive).await
        }
        M::LeaseTimeToLive => unary(api, method, request, lease::time_to_live).await,
        M::LeaseLeases => unary(api, method, request, lease::leases).await,
        M::MemberAdd | M::MemberRemove | M::MemberUpdate | M::MemberPromote | M::MemberList => {
            serve_cluster(api, method, request).await
        }
        M::Alarm
        | M::Status
        | M::Defragment
        | M::Hash
        | M::HashKv
        | M::Snapshot
        | M::MoveLeader => serve_maintenance(api, method, request).await,
        M::HealthCheck => unary(api, method, request, health::check).await,
        M::HealthWatch => server(api, method, request, health::watch).await,
        M::AuthEnable
        | M::AuthDisable
        | M::AuthStatus
        | M::Authenticate
        | M::UserAdd
        | M::UserGet
        | M::UserList
        | M::UserDelete
        | M::UserChangePassword
        | M::UserGrantRole
        | M::UserRevokeRole
        | M::RoleAdd
        | M::RoleGet
        | M::RoleList
        | M::RoleDelete
        | M::RoleGrantPermission
        | M::RoleRevokePermission => serve_users(api, method, request).await,
        M::Lock | M::Unlock | M::Campaign | M::Proclaim | M::Leader | M::Observe | M::Resign => {
            serve_turns(api, method, request).await
        }
        M::Downgrade => unserved(&api, method, &request).await,
    }
}

/// Serves the methods about users and roles.
async fn serve_users(api: Arc<Api>, method: Method, request: Request<Incoming>) -> Response<Body> {
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
        // Sent here by mistake.
        other => unserved(&api, other, &request).await,
    }
}

async fn serve_cluster(
    api: Arc<Api>,
    method: Method,
    request: Request<Incoming>,
) -> Response<Body> {
    use Method as M;
    match method {
        M::MemberAdd => unary(api, method, request, cluster::add).await,
        M::MemberRemove => unary(api, method, request, cluster::remove).await,
        M::MemberUpdate => unary(api, method, request, cluster::update).await,
        M::MemberPromote => unary(api, method, request, cluster::promote).await,
        _ => unary(api, method, request, cluster::list).await,
    }
}

/// The part of [`serve_other`] that an operator asks for.
async fn serve_maintenance(
    api: Arc<Api>,
    method: Method,
    request: Request<Incoming>,
) -> Response<Body> {
    use Method as M;
    match method {
        M::Alarm => unary(api, method, request, maintenance::alarm).await,
        M::Status => unary(api, method, request, maintenance::member_status).await,
        M::Defragment => unary(api, method, request, maintenance::defragment).await,
        M::Hash => unary(api, method, request, maintenance::hash).await,
        M::HashKv => unary(api, method, request, maintenance::hash_kv).await,
        M::Snapshot => server(api, method, request, snapshot::snapshot).await,
        M::MoveLeader => unary(api, method, request, maintenance::move_leader).await,
        _ => unserved(&api, method, &request).await,
    }
}

/// Serves locks and elections.
async fn serve_turns(api: Arc<Api>, method: Method, request: Request<Incoming>) -> Response<Body> {
    use Method as M;
    match method {
        M::Lock => unary(api, method, request, lock::lock).await,
        M::Unlock => unary(api, method, request, lock::unlock).await,
        M::Campaign => unary(api, method, request, election::campaign).await,
        M::Proclaim => unary(api, method, request, election::proclaim).await,
        M::Leader => unary(api, method, request, election::leader).await,
        M::Observe => server(api, method, request, election::observe).await,
        M::Resign => unary(api, method, request, election::resign).await,
        // Sent here by mistake.
        other => unserved(&api, other, &request).await,
    }
}
