//! What a call says beside its message: the metadata etcd's server reads.

use std::sync::Arc;

use http::HeaderMap;
use tonic::Status;

use super::errors::{self, ApiError};
use crate::api::Api;

/// The client wants an error rather than an answer from a member without a leader.
const REQUIRE_LEADER: &str = "hasleader";
/// Version of the client; only its form is checked.
const CLIENT_API_VERSION: &str = "client-api-version";

/// What the metadata asks of the server before the request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing.
    Nothing,
    /// That there is a leader.
    Leader,
}

/// Reads the metadata.
///
/// # Errors
/// `invalid client api version` for a version that is not text.
pub(crate) fn wanted(headers: &HeaderMap) -> Result<Wanted, Status> {
    if let Some(version) = headers.get(CLIENT_API_VERSION)
        && std::str::from_utf8(version.as_bytes()).is_err()
    {
        return Err(ApiError::InvalidClientApiVersion.into());
    }
    match headers.get(REQUIRE_LEADER) {
        Some(value) if value == "true" => Ok(Wanted::Leader),
        _ => Ok(Wanted::Nothing),
    }
}

impl Wanted {
    /// Refuses what cannot be had.
    ///
    /// # Errors
    /// `no leader` when one is required and there is none.
    pub(crate) async fn check(self, api: &Arc<Api>) -> Result<(), Status> {
        match self {
            Self::Nothing => Ok(()),
            // In a box: few calls ask for it, and all would be larger.
            Self::Leader => Box::pin(leader(Arc::clone(api))).await,
        }
    }
}

async fn leader(api: Arc<Api>) -> Result<(), Status> {
    let status = api.handle.status().await.map_err(errors::status)?;
    if status.body.leader == 0 {
        return Err(ApiError::NoLeader.into());
    }
    Ok(())
}
