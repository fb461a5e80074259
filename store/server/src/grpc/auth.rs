//! Users, roles and tokens (reference A.10): for now authorization is always off.

use std::sync::Arc;

use store_proto::etcdserverpb as pb;
use tonic::Status;

use super::errors::{ApiError, status};
use super::translate;
use crate::api::Api;

pub(crate) async fn auth_status(
    api: Arc<Api>,
    _request: pb::AuthStatusRequest,
) -> Result<pb::AuthStatusResponse, Status> {
    let answer = api.handle.status().await.map_err(status)?;
    Ok(pb::AuthStatusResponse {
        header: Some(translate::header(answer.header)),
        enabled: false,
        // The revision of a store whose users never changed.
        auth_revision: 1,
    })
}

pub(crate) async fn authenticate(
    _api: Arc<Api>,
    _request: pb::AuthenticateRequest,
) -> Result<pb::AuthenticateResponse, Status> {
    Err(ApiError::AuthNotEnabled.into())
}
