//! The gRPC health protocol: the server as a whole is one service, `""`.

use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use store_proto::health::{HealthCheckRequest, HealthCheckResponse, health_check_response};
use tonic::Status;

use self::health_check_response::ServingStatus;
use super::errors::ApiError;
use crate::api::Api;

/// The answer for a service of that name while the server runs.
fn serving(service: &str) -> ServingStatus {
    match service {
        "" => ServingStatus::Serving,
        _ => ServingStatus::ServiceUnknown,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

pub(crate) async fn check(
    _api: Arc<Api>,
    request: HealthCheckRequest,
) -> Result<HealthCheckResponse, Status> {
    match serving(&request.service) {
        ServingStatus::ServiceUnknown => Err(Status::not_found("unknown service")),
        status => Ok(response(status)),
    }
}

/// Says how it is, and that it ends when it does.
pub(crate) async fn watch(
    api: Arc<Api>,
    request: HealthCheckRequest,
) -> Result<impl Stream<Item = Result<HealthCheckResponse, Status>> + Send, Status> {
    let now = response(serving(&request.service));
    let closing = api.closing.clone().cancelled_owned();
    let end = futures::stream::once(async move {
        closing.await;
        Ok(response(ServingStatus::NotServing))
    });
    let status = futures::stream::once(async { Err(ApiError::Stopped.into()) });
    Ok(futures::stream::iter([Ok(now)]).chain(end).chain(status))
}
