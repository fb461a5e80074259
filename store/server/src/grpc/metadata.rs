//! What a call says beside its message: the metadata etcd's server reads (reference A.0).

use http::HeaderMap;
use tonic::Status;

use super::errors::{self, ApiError};
use crate::api::Api;

/// The client wants an error rather than an answer from a member without a leader.
const REQUIRE_LEADER: &str = "hasleader";
/// Version of the client; only its form is checked.
const CLIENT_API_VERSION: &str = "client-api-version";

/// Refuses what the metadata alone can rule out.
///
/// # Errors
/// `no leader` when one is required and there is none; `invalid client api version` for a version
/// that is not text.
pub(crate) async fn check(api: &Api, headers: &HeaderMap) -> Result<(), Status> {
    if let Some(version) = headers.get(CLIENT_API_VERSION)
        && std::str::from_utf8(version.as_bytes()).is_err()
    {
        return Err(ApiError::InvalidClientApiVersion.into());
    }
    if headers
        .get(REQUIRE_LEADER)
        .is_some_and(|value| value == "true")
    {
        let status = api.handle.status().await.map_err(errors::status)?;
        if status.body.leader == 0 {
            return Err(ApiError::NoLeader.into());
        }
    }
    Ok(())
}
