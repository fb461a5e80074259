//! Leases over gRPC, as etcd's service has them.

use std::pin::pin;

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use store_machine::command::Command;
use store_machine::reply::Reply;
use store_machine::revision::LeaseId;
use store_proto::etcdserverpb as pb;
use tonic::Status;

use super::errors::{ApiError, status};
use super::stream::Messages;
use super::{kv, translate};
use crate::call::Call;

/// Longest time to live, in seconds: etcd's own bound, some 285 years.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// Renewals of one stream that may be under way at once; answers keep the order of the requests.
/// 64: enough to fill a turn of the driver from one stream, little enough to hold back a flood.
const RENEWALS_MAX: usize = 64;

pub(crate) async fn grant(
    call: Call,
    request: pb::LeaseGrantRequest,
) -> Result<pb::LeaseGrantResponse, Status> {
    if request.ttl > TTL_SECONDS_MAX {
        return Err(ApiError::LeaseTtlTooLarge.into());
    }
    let grant = call.handle().lease_grant(LeaseId(request.id), request.ttl);
    let answer = grant.await.map_err(status)?;
    match answer.body {
        Reply::LeaseGrant { id, ttl_seconds } => Ok(pb::LeaseGrantResponse {
            header: Some(translate::header(answer.header)),
            id: id.0,
            ttl: ttl_seconds,
            error: String::new(),
        }),
        other => Err(kv::mismatch("lease grant", &other)),
    }
}

pub(crate) async fn revoke(
    call: Call,
    request: pb::LeaseRevokeRequest,
) -> Result<pb::LeaseRevokeResponse, Status> {
    let command = Command::LeaseRevoke {
        id: LeaseId(request.id),
        // A client decided, not a leader's clock.
        term: 0,
    };
    let answer = kv::propose(&call, request.encoded_len(), command).await?;
    Ok(pb::LeaseRevokeResponse {
        header: Some(translate::header(answer.header)),
    })
}

/// One renewal; a lease that is gone is answered with a time to live of 0, not with an error.
async fn keep_alive_once(
    call: Call,
    request: pb::LeaseKeepAliveRequest,
) -> Result<pb::LeaseKeepAliveResponse, Status> {
    let call = call.message().await?;
    let renewal = call.handle().lease_keep_alive(LeaseId(request.id));
    let answer = renewal.await.map_err(status)?;
    Ok(pb::LeaseKeepAliveResponse {
        header: Some(translate::header(answer.header)),
        id: request.id,
        ttl: answer.body,
    })
}

pub(crate) async fn keep_alive(
    call: Call,
    requests: Messages<pb::LeaseKeepAliveRequest>,
) -> impl Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send {
    let closing = call.closing.clone().cancelled_owned();
    let renewals = {
        requests
            .map(move |request| {
                let call = call.clone();
                async move {
                    let request = request?;
                    keep_alive_once(call, request).await
                }
            })
            .buffered(RENEWALS_MAX)
            .boxed()
    };
    let state = (renewals, Box::pin(closing), false);
    futures::stream::unfold(state, async |(mut renewals, mut closing, ended)| {
        if ended {
            return None;
        }
        let answer = {
            let next = pin!(renewals.next());
            tokio::select! {
                biased;
                // Safe to cancel: it stays cancelled.
                () = &mut closing => Err(ApiError::Stopped.into()),
                // Safe to cancel: renewals under way stay in `renewals`.
                answer = next => answer?,
            }
        };
        let ended = answer.is_err();
        Some((answer, (renewals, closing, ended)))
    })
}

pub(crate) async fn time_to_live(
    call: Call,
    request: pb::LeaseTimeToLiveRequest,
) -> Result<pb::LeaseTimeToLiveResponse, Status> {
    let id = LeaseId(request.id);
    let question = call.handle().lease_time_to_live(id, request.keys);
    let answer = question.await.map_err(status)?;
    let header = Some(translate::header(answer.header));
    Ok(match answer.body {
        Some(life) => pb::LeaseTimeToLiveResponse {
            header,
            id: request.id,
            ttl: life.remaining_seconds,
            granted_ttl: life.granted_seconds,
            keys: life.keys,
        },
        None => pb::LeaseTimeToLiveResponse {
            header,
            id: request.id,
            ttl: -1,
            ..Default::default()
        },
    })
}

pub(crate) async fn leases(
    call: Call,
    _request: pb::LeaseLeasesRequest,
) -> Result<pb::LeaseLeasesResponse, Status> {
    let answer = call.handle().leases().await.map_err(status)?;
    Ok(pb::LeaseLeasesResponse {
        header: Some(translate::header(answer.header)),
        leases: answer
            .body
            .into_iter()
            .map(|id| pb::LeaseStatus { id: id.0 })
            .collect(),
    })
}
