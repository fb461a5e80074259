//! The JSON gateway: every method also as `POST /v3/…` with JSON in the body, as etcd's.
//!
//! A request takes the same functions as over gRPC, by the same table; only its clothes differ (`gateway/call.rs`).
//! A method with a stream answers a line for each message, and takes one object after the other.

mod call;
mod objects;
mod pieces;
mod text;

use std::fmt::Display;
use std::sync::Arc;

use http::{Method as Verb, Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::{Code, Status};

use self::call::Arrived;
use super::{not_found, problem};
use crate::api::Api;
use crate::body::Body;
use crate::caller::Caller;
use crate::grpc::errors::ApiError;
use crate::grpc::method::Method;
use crate::grpc::services;

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
    if api.handle.learns() && !method.is_for_learners() {
        return refused(&ApiError::NotSupportedForLearner.into());
    }
    let arrival = Arrived {
        api,
        method,
        request,
    };
    services::serve(arrival, method).await
}

/// The method a path behind `/v3/` stands for.
pub(crate) fn method(rpc: &str) -> Option<Method> {
    let row = PATHS.iter().find(|(path, _)| *path == rpc);
    row.map(|(_, method)| *method)
}

/// The paths behind `/v3/`: those of etcd's protos. Those of leases have two, streams of pairs and health checks
/// none.
const PATHS: &[(&str, Method)] = &[
    ("kv/range", Method::Range),
    ("kv/put", Method::Put),
    ("kv/deleterange", Method::DeleteRange),
    ("kv/txn", Method::Txn),
    ("kv/compaction", Method::Compact),
    ("watch", Method::Watch),
    ("lease/grant", Method::LeaseGrant),
    ("lease/revoke", Method::LeaseRevoke),
    ("kv/lease/revoke", Method::LeaseRevoke),
    ("lease/keepalive", Method::LeaseKeepAlive),
    ("lease/timetolive", Method::LeaseTimeToLive),
    ("kv/lease/timetolive", Method::LeaseTimeToLive),
    ("lease/leases", Method::LeaseLeases),
    ("kv/lease/leases", Method::LeaseLeases),
    ("cluster/member/add", Method::MemberAdd),
    ("cluster/member/remove", Method::MemberRemove),
    ("cluster/member/update", Method::MemberUpdate),
    ("cluster/member/list", Method::MemberList),
    ("cluster/member/promote", Method::MemberPromote),
    ("maintenance/alarm", Method::Alarm),
    ("maintenance/status", Method::Status),
    ("maintenance/defragment", Method::Defragment),
    ("maintenance/hash", Method::Hash),
    ("maintenance/hashkv", Method::HashKv),
    ("maintenance/snapshot", Method::Snapshot),
    ("maintenance/transfer-leadership", Method::MoveLeader),
    ("maintenance/downgrade", Method::Downgrade),
    ("auth/enable", Method::AuthEnable),
    ("auth/disable", Method::AuthDisable),
    ("auth/status", Method::AuthStatus),
    ("auth/authenticate", Method::Authenticate),
    ("auth/user/add", Method::UserAdd),
    ("auth/user/get", Method::UserGet),
    ("auth/user/list", Method::UserList),
    ("auth/user/delete", Method::UserDelete),
    ("auth/user/changepw", Method::UserChangePassword),
    ("auth/user/grant", Method::UserGrantRole),
    ("auth/user/revoke", Method::UserRevokeRole),
    ("auth/role/add", Method::RoleAdd),
    ("auth/role/get", Method::RoleGet),
    ("auth/role/list", Method::RoleList),
    ("auth/role/delete", Method::RoleDelete),
    ("auth/role/grant", Method::RoleGrantPermission),
    ("auth/role/revoke", Method::RoleRevokePermission),
    ("lock/lock", Method::Lock),
    ("lock/unlock", Method::Unlock),
    ("election/campaign", Method::Campaign),
    ("election/proclaim", Method::Proclaim),
    ("election/leader", Method::Leader),
    ("election/observe", Method::Observe),
    ("election/resign", Method::Resign),
];

/// Refuses a certificate that names somebody, while anybody asks who calls: over the gateway names in
/// certificates do not count, and nobody is to believe they did.
fn certificate(api: &Api, request: &Request<Incoming>) -> Option<Response<Body>> {
    let caller = Caller::of_request(request.extensions());
    let named = caller.is_some_and(|caller| caller.common_name.is_some());
    (named && api.handle.auth_view().enabled()).then(|| {
        super::text(
            StatusCode::BAD_REQUEST,
            "CommonName of client sending a request against gateway will be ignored and not used as expected\n",
        )
    })
}

fn refused(status: &Status) -> Response<Body> {
    problem(http_status(status.code()), status.code(), status.message())
}

/// A request that is not what it should be.
fn malformed(why: impl Display) -> Status {
    Status::invalid_argument(why.to_string())
}

/// The status codes of the gateway, those of the grpc-gateway project.
pub(super) fn http_status(code: Code) -> StatusCode {
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
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Methods without a path, in etcd as well.
    const GRPC_ONLY: [Method; 3] = [
        Method::RangeStream,
        Method::HealthCheck,
        Method::HealthWatch,
    ];

    #[test]
    fn every_method_of_the_protos_has_a_path() {
        let set = FileDescriptorSet::decode(store_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut methods = 0;
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let name = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let found = Method::of(&name).unwrap();
                    let has_path = PATHS.iter().any(|(_, method)| *method == found);
                    assert_ne!(has_path, GRPC_ONLY.contains(&found), "{name}");
                    methods += 1;
                }
            }
        }
        assert_eq!(methods, Method::ALL.len());
        for (at, (path, _)) in PATHS.iter().enumerate() {
            assert!(PATHS[..at].iter().all(|(other, _)| other != path), "{path}");
        }
    }

    #[test]
    fn codes_become_the_statuses_of_grpc_gateway() {
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
