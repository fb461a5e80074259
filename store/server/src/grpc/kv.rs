//! Writes of pairs and transactions (etcd's documentation of `KV`). Ranges are in `large.rs`.

use prost::Message;
use store_machine::command::Command;
use store_machine::reply::{Reply, TxnReply};
use store_machine::request::{TxnOp, TxnRequest};
use store_machine::revision::Revision;
use store_proto::etcdserverpb as pb;
use tonic::Status;

use super::errors::{ApiError, status};
use super::large::{self, Weighed};
use super::{translate, txn};
use crate::api::Api;
use crate::call::Call;
use crate::handle::{Answer, Consistency};

pub(crate) async fn put(call: Call, request: pb::PutRequest) -> Result<pb::PutResponse, Status> {
    let bytes = request.encoded_len();
    let request = translate::put_request(request)?;
    let answer = propose(&call, bytes, Command::Put(request)).await?;
    let header = translate::header(answer.header);
    match answer.body {
        Reply::Put(reply) => Ok(translate::put_response(header, reply)),
        other => Err(mismatch("put", &other)),
    }
}

pub(crate) async fn delete_range(
    call: Call,
    request: pb::DeleteRangeRequest,
) -> Result<Weighed<pb::DeleteRangeResponse>, Status> {
    let bytes = request.encoded_len();
    let request = translate::delete_request(request)?;
    let part = if request.prev_kv {
        let alone = TxnRequest {
            success: vec![TxnOp::Delete(request.clone())],
            ..TxnRequest::default()
        };
        large::admit(&call, &alone).await?
    } else {
        None
    };
    let answer = propose(&call, bytes, Command::Delete(request)).await?;
    let header = translate::header(answer.header);
    match answer.body {
        Reply::Delete(reply) => {
            let response = translate::delete_response(header, reply);
            Ok(Weighed::new(response, part))
        }
        other => Err(mismatch("delete", &other)),
    }
}

pub(crate) async fn txn(
    call: Call,
    request: pb::TxnRequest,
) -> Result<Weighed<pb::TxnResponse>, Status> {
    let bytes = request.encoded_len();
    let route = txn::route(&request);
    let request = txn::txn_request(request, call.limits.txn_ops_max)?;
    let part = large::admit(&call, &request).await?;
    let (header, reply): (_, TxnReply) = match route {
        txn::Route::Propose => {
            let answer = propose(&call, bytes, Command::Txn(request)).await?;
            match answer.body {
                Reply::Txn(reply) => (answer.header, reply),
                other => return Err(mismatch("txn", &other)),
            }
        }
        txn::Route::ReadLinearizable | txn::Route::ReadSerializable => {
            let consistency = consistency(route == txn::Route::ReadSerializable);
            let read = call.handle().read_txn(request, consistency);
            let answer = read.await.map_err(status)?;
            (answer.header, answer.body)
        }
    };
    let response = txn::txn_response(translate::header(header), reply);
    Ok(Weighed::new(response, part))
}

/// `physical` asks to wait until the space is free. Here a compaction is complete for every reader
/// once it is recorded, and memory is freed in the background, so there is nothing to wait for.
pub(crate) async fn compact(
    call: Call,
    request: pb::CompactionRequest,
) -> Result<pb::CompactionResponse, Status> {
    let revision = Revision(request.revision);
    let answer = propose(&call, request.encoded_len(), Command::Compact { revision }).await?;
    Ok(pb::CompactionResponse {
        header: Some(translate::header(answer.header)),
    })
}

/// How fresh a range must be; a member that learns has only what it has.
pub(crate) fn range_consistency(api: &Api, serializable: bool) -> Result<Consistency, ApiError> {
    if !serializable && api.handle.learns() {
        return Err(ApiError::NotSupportedForLearner);
    }
    Ok(consistency(serializable))
}

/// How fresh a read must be, in the handle's words.
pub(crate) fn consistency(serializable: bool) -> Consistency {
    if serializable {
        Consistency::Serializable
    } else {
        Consistency::Linearizable
    }
}

/// Proposes what came in as a message of `bytes`.
pub(crate) async fn propose(
    call: &Call,
    bytes: usize,
    command: Command,
) -> Result<Answer<Reply>, Status> {
    if bytes > call.limits.request_bytes_max {
        return Err(ApiError::RequestTooLarge.into());
    }
    call.handle().propose(command).await.map_err(status)
}

/// The driver answered a command with another command's reply: a bug, told apart from all refusals.
pub(crate) fn mismatch(command: &str, reply: &Reply) -> Status {
    tracing::error!(command, ?reply, "a command got the reply of another");
    Status::internal("muster: a command got the reply of another")
}
