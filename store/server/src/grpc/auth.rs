//! Users, roles and tokens. Passwords are hashed here, before anything is proposed: the log holds
//! hashes only, and applying them takes no time.

use store_machine::auth::{Auth, AuthChange, Need, Permission, PermissionKind, ROOT};
use store_machine::command::Command;
use store_machine::reply::Reply;
use store_machine::request::{KeyRange, RangeEnd};
use store_proto::{authpb, etcdserverpb as pb};
use tonic::Status;

use super::errors::{ApiError, status as refused};
use super::{kv, translate};
use crate::auth::HashError;
use crate::call::Call;
use crate::handle::{Answer, Consistency};

impl From<HashError> for ApiError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::TooLong => Self::PasswordTooLong,
            HashError::Busy => Self::TooManyRequests,
            // The thread is gone: the server is stopping.
            HashError::Failed => Self::Stopped,
        }
    }
}

/// Proposes a change; its answer is a header and nothing else.
async fn change(call: &Call, change: AuthChange) -> Result<Option<pb::ResponseHeader>, Status> {
    let answer = call.handle().propose(Command::Auth(change)).await;
    let answer = answer.map_err(refused)?;
    match answer.body {
        Reply::Auth => Ok(Some(translate::header(answer.header))),
        other => Err(kv::mismatch("change of users or roles", &other)),
    }
}

/// Users and roles as they are now, wherever they were changed.
async fn now(call: &Call) -> Result<Answer<std::sync::Arc<Auth>>, Status> {
    let answer = call.handle().auth(Consistency::Linearizable).await;
    answer.map_err(refused)
}

/// The same, for whoever has what is needed.
async fn look(
    call: &Call,
    need: Need<'_>,
) -> Result<(Option<pb::ResponseHeader>, std::sync::Arc<Auth>), Status> {
    let answer = now(call).await?;
    let checked = answer.body.check(call.handle().actor(), &need);
    checked.map_err(ApiError::from)?;
    Ok((Some(translate::header(answer.header)), answer.body))
}

pub(crate) async fn enable(
    call: Call,
    _request: pb::AuthEnableRequest,
) -> Result<pb::AuthEnableResponse, Status> {
    let token_key = rand::random();
    let header = change(&call, AuthChange::Enable { token_key }).await?;
    Ok(pb::AuthEnableResponse { header })
}

pub(crate) async fn disable(
    call: Call,
    _request: pb::AuthDisableRequest,
) -> Result<pb::AuthDisableResponse, Status> {
    let header = change(&call, AuthChange::Disable).await?;
    Ok(pb::AuthDisableResponse { header })
}

pub(crate) async fn status(
    call: Call,
    _request: pb::AuthStatusRequest,
) -> Result<pb::AuthStatusResponse, Status> {
    let answer = now(&call).await?;
    Ok(pb::AuthStatusResponse {
        header: Some(translate::header(answer.header)),
        enabled: answer.body.enabled(),
        auth_revision: answer.body.revision(),
    })
}

/// Gives out a token for a name and its password.
///
/// The password is compared outside of everything, so users may change meanwhile: then once more.
pub(crate) async fn authenticate(
    call: Call,
    request: pb::AuthenticateRequest,
) -> Result<pb::AuthenticateResponse, Status> {
    let mut answer = now(&call).await?;
    loop {
        let auth = answer.body;
        if !auth.enabled() {
            return Err(ApiError::AuthNotEnabled.into());
        }
        let user = auth.user(&request.name);
        let generation = user.map(|user| user.generation);
        let hash = user.and_then(|user| user.password.clone());
        let without = user.is_some_and(|user| user.password.is_none());
        let fits = call.guard.passwords.verify(request.password.clone(), hash);
        if !fits.await.map_err(ApiError::from)? {
            call.guard.refused_password(&request.name);
            return Err(if without {
                ApiError::NoPasswordUser
            } else {
                ApiError::AuthFailed
            }
            .into());
        }
        answer = now(&call).await?;
        let now = answer.body.user(&request.name).map(|user| user.generation);
        if now == generation && answer.body.enabled() {
            break;
        }
    }
    let token = call.guard.issue(&answer.body, &request.name);
    Ok(pb::AuthenticateResponse {
        header: Some(translate::header(answer.header)),
        // Only a store that was given the public key alone has none to give out.
        token: token.ok_or(ApiError::VerifyOnly)?,
    })
}

pub(crate) async fn user_add(
    call: Call,
    request: pb::AuthUserAddRequest,
) -> Result<pb::AuthUserAddResponse, Status> {
    let password = if request.options.is_some_and(|options| options.no_password) {
        None
    } else {
        Some(hash(&call, request.password).await?)
    };
    let name = request.name;
    let header = change(&call, AuthChange::UserAdd { name, password }).await?;
    Ok(pb::AuthUserAddResponse { header })
}

async fn hash(call: &Call, password: String) -> Result<String, ApiError> {
    call.guard
        .passwords
        .hash(password)
        .await
        .map_err(ApiError::from)
}

pub(crate) async fn user_get(
    call: Call,
    request: pb::AuthUserGetRequest,
) -> Result<pb::AuthUserGetResponse, Status> {
    let (header, auth) = look(&call, Need::Oneself(&request.name)).await?;
    let user = auth.user(&request.name).ok_or(ApiError::UserNotFound)?;
    Ok(pb::AuthUserGetResponse {
        header,
        roles: user.roles.iter().cloned().collect(),
    })
}

pub(crate) async fn user_list(
    call: Call,
    _request: pb::AuthUserListRequest,
) -> Result<pb::AuthUserListResponse, Status> {
    let (header, auth) = look(&call, Need::Root).await?;
    Ok(pb::AuthUserListResponse {
        header,
        users: auth.users().map(|(name, _)| name.to_owned()).collect(),
    })
}

pub(crate) async fn user_delete(
    call: Call,
    request: pb::AuthUserDeleteRequest,
) -> Result<pb::AuthUserDeleteResponse, Status> {
    let name = request.name;
    let header = change(&call, AuthChange::UserDelete { name }).await?;
    Ok(pb::AuthUserDeleteResponse { header })
}

pub(crate) async fn user_change_password(
    call: Call,
    request: pb::AuthUserChangePasswordRequest,
) -> Result<pb::AuthUserChangePasswordResponse, Status> {
    let name = request.name;
    // An empty one is a password that fits nothing, as in etcd.
    let password = if request.password.is_empty() {
        String::new()
    } else {
        hash(&call, request.password).await?
    };
    let header = change(&call, AuthChange::UserPassword { name, password }).await?;
    Ok(pb::AuthUserChangePasswordResponse { header })
}

pub(crate) async fn user_grant_role(
    call: Call,
    request: pb::AuthUserGrantRoleRequest,
) -> Result<pb::AuthUserGrantRoleResponse, Status> {
    let (user, role) = (request.user, request.role);
    let header = change(&call, AuthChange::UserGrant { user, role }).await?;
    Ok(pb::AuthUserGrantRoleResponse { header })
}

pub(crate) async fn user_revoke_role(
    call: Call,
    request: pb::AuthUserRevokeRoleRequest,
) -> Result<pb::AuthUserRevokeRoleResponse, Status> {
    let (user, role) = (request.name, request.role);
    let header = change(&call, AuthChange::UserRevoke { user, role }).await?;
    Ok(pb::AuthUserRevokeRoleResponse { header })
}

pub(crate) async fn role_add(
    call: Call,
    request: pb::AuthRoleAddRequest,
) -> Result<pb::AuthRoleAddResponse, Status> {
    let name = request.name;
    let header = change(&call, AuthChange::RoleAdd { name }).await?;
    Ok(pb::AuthRoleAddResponse { header })
}

pub(crate) async fn role_get(
    call: Call,
    request: pb::AuthRoleGetRequest,
) -> Result<pb::AuthRoleGetResponse, Status> {
    let (header, auth) = look(&call, Need::OwnRole(&request.role)).await?;
    let permissions = auth.role(&request.role).ok_or(ApiError::RoleNotFound)?;
    let perm = if request.role == ROOT {
        vec![everything()]
    } else {
        permissions.iter().map(permission).collect()
    };
    Ok(pb::AuthRoleGetResponse { header, perm })
}

pub(crate) async fn role_list(
    call: Call,
    _request: pb::AuthRoleListRequest,
) -> Result<pb::AuthRoleListResponse, Status> {
    let (header, auth) = look(&call, Need::Root).await?;
    Ok(pb::AuthRoleListResponse {
        header,
        roles: auth.roles().map(str::to_owned).collect(),
    })
}

pub(crate) async fn role_delete(
    call: Call,
    request: pb::AuthRoleDeleteRequest,
) -> Result<pb::AuthRoleDeleteResponse, Status> {
    let name = request.role;
    let header = change(&call, AuthChange::RoleDelete { name }).await?;
    Ok(pb::AuthRoleDeleteResponse { header })
}

pub(crate) async fn role_grant_permission(
    call: Call,
    request: pb::AuthRoleGrantPermissionRequest,
) -> Result<pb::AuthRoleGrantPermissionResponse, Status> {
    let perm = request.perm.ok_or(ApiError::PermissionNotGiven)?;
    let kind = match authpb::permission::Type::try_from(perm.perm_type) {
        Ok(authpb::permission::Type::Read) => PermissionKind::Read,
        Ok(authpb::permission::Type::Write) => PermissionKind::Write,
        Ok(authpb::permission::Type::Readwrite) => PermissionKind::ReadWrite,
        Err(_) => return Err(ApiError::InvalidAuthManagement.into()),
    };
    let keys = translate::key_range(perm.key, perm.range_end);
    let grant = AuthChange::RoleGrant {
        role: request.name,
        permission: Permission { kind, keys },
    };
    let header = change(&call, grant).await?;
    Ok(pb::AuthRoleGrantPermissionResponse { header })
}

pub(crate) async fn role_revoke_permission(
    call: Call,
    request: pb::AuthRoleRevokePermissionRequest,
) -> Result<pb::AuthRoleRevokePermissionResponse, Status> {
    let revoke = AuthChange::RoleRevoke {
        role: request.role,
        keys: translate::key_range(request.key, request.range_end),
    };
    let header = change(&call, revoke).await?;
    Ok(pb::AuthRoleRevokePermissionResponse { header })
}

/// What the role root may: etcd names every key by an empty first one.
fn everything() -> authpb::Permission {
    authpb::Permission {
        perm_type: authpb::permission::Type::Readwrite.into(),
        key: bytes::Bytes::new(),
        range_end: bytes::Bytes::from_static(&[0]),
    }
}

fn permission(permission: &Permission) -> authpb::Permission {
    let KeyRange { start, end } = &permission.keys;
    authpb::Permission {
        perm_type: match permission.kind {
            PermissionKind::Read => authpb::permission::Type::Read,
            PermissionKind::Write => authpb::permission::Type::Write,
            PermissionKind::ReadWrite => authpb::permission::Type::Readwrite,
        }
        .into(),
        key: start.clone(),
        range_end: match end {
            RangeEnd::Single => bytes::Bytes::new(),
            RangeEnd::Open => bytes::Bytes::from_static(&[0]),
            RangeEnd::Before(end) => end.clone(),
        },
    }
}
