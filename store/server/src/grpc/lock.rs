//! Locks, held by a key for as long as its lease lives.

use store_machine::command::Command;
use store_machine::request::{KeyRange, RangeRequest, TxnOp, TxnRequest};
use store_proto::v3lockpb as pb;
use tonic::Status;

use super::errors::{ApiError, status};
use super::{translate, turns};
use crate::call::Call;

/// Answers once the caller holds the lock. A caller that leaves meanwhile leaves the queue.
pub(crate) async fn lock(call: Call, request: pb::LockRequest) -> Result<pb::LockResponse, Status> {
    let lease = turns::lease(&call, request.lease).await?;
    let prefix = turns::prefix(&request.name);
    let key = turns::key(&prefix, lease);
    let owner = || TxnOp::Range(turns::first(&prefix));
    let claim = turns::Claim::new(&call, &key);
    let txn = TxnRequest {
        compare: vec![turns::created_at(&key, 0)],
        success: vec![turns::put(&key, bytes::Bytes::new(), lease), owner()],
        failure: vec![turns::get(&key), owner()],
    };
    let (header, reply) = match turns::txn(&call, txn).await {
        Ok(claimed) => claimed,
        Err(refused) => {
            // There is no key of this caller's.
            claim.keep();
            return Err(refused);
        }
    };
    let own = if reply.succeeded {
        header.revision.0
    } else {
        turns::pair(&reply, 0).map_or(0, |pair| pair.create_revision.0)
    };
    let holds = turns::pair(&reply, 1).is_none_or(|owner| owner.create_revision.0 == own);
    let header = if holds {
        header
    } else {
        turns::wait(&call, &prefix, own - 1).await?;
        // The lease may have ended while it waited.
        let still = RangeRequest::latest(KeyRange::single(key.clone()));
        let answer = turns::read(&call, still).await?;
        if answer.body.kvs.is_empty() {
            return Err(ApiError::SessionExpired.into());
        }
        answer.header
    };
    claim.keep();
    Ok(pb::LockResponse {
        header: Some(translate::header(header)),
        key,
    })
}

/// Deletes the key; whose it is, is not asked, as in etcd.
pub(crate) async fn unlock(
    call: Call,
    request: pb::UnlockRequest,
) -> Result<pb::UnlockResponse, Status> {
    if request.key.is_empty() {
        return Err(ApiError::EmptyKey.into());
    }
    let delete = Command::Delete(turns::delete(&request.key));
    let answer = call.handle().propose(delete).await.map_err(status)?;
    Ok(pb::UnlockResponse {
        header: Some(translate::header(answer.header)),
    })
}
