//! Elections: who leads announces a value, for as long as its lease lives.

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use store_machine::reply::EventKind;
use store_machine::request::{KeyRange, TxnOp, TxnRequest};
use store_machine::revision::{LeaseId, Revision};
use store_proto::etcdserverpb::ResponseHeader;
use store_proto::v3electionpb as pb;
use store_watch::batch::SharedEvent;
use tonic::Status;

use super::errors::ApiError;
use super::{translate, turns};
use crate::call::Call;
use crate::handle::Header;

/// Answers once the caller leads. A caller that leaves meanwhile is a candidate no more.
pub(crate) async fn campaign(
    call: Call,
    request: pb::CampaignRequest,
) -> Result<pb::CampaignResponse, Status> {
    let lease = turns::lease(&call, request.lease).await?;
    let prefix = turns::prefix(&request.name);
    let key = turns::key(&prefix, lease);
    let claim = turns::Claim::new(&call, &key);
    let txn = TxnRequest {
        compare: vec![turns::created_at(&key, 0)],
        success: vec![turns::put(&key, request.value.clone(), lease)],
        failure: vec![turns::get(&key)],
    };
    let (header, reply) = match turns::txn(&call, txn).await {
        Ok(claimed) => claimed,
        Err(refused) => {
            // There is no key of this caller's.
            claim.keep();
            return Err(refused);
        }
    };
    let mut rev = header.revision.0;
    if let Some(pair) = turns::pair(&reply, 0) {
        rev = pair.create_revision.0;
        if pair.value != request.value {
            announce(&call, &key, rev, request.value, lease).await?;
        }
    }
    turns::wait(&call, &prefix, rev - 1).await?;
    claim.keep();
    Ok(pb::CampaignResponse {
        header: Some(translate::header(header)),
        leader: Some(pb::LeaderKey {
            name: request.name,
            key,
            rev,
            lease: lease.0,
        }),
    })
}

/// Announces another value.
pub(crate) async fn proclaim(
    call: Call,
    request: pb::ProclaimRequest,
) -> Result<pb::ProclaimResponse, Status> {
    let leader = request.leader.ok_or(ApiError::LeaderMissing)?;
    let lease = turns::lease(&call, leader.lease).await?;
    let header = announce(&call, &leader.key, leader.rev, request.value, lease).await?;
    Ok(pb::ProclaimResponse { header })
}

async fn announce(
    call: &Call,
    key: &Bytes,
    rev: i64,
    value: Bytes,
    lease: LeaseId,
) -> Result<Option<ResponseHeader>, Status> {
    let announced = if_leading(call, key, rev, turns::put(key, value, lease)).await?;
    let (header, leads) = announced;
    if leads {
        Ok(Some(header))
    } else {
        Err(ApiError::NotElected.into())
    }
}

/// Runs an operation if the key is still the one that was created then.
async fn if_leading(
    call: &Call,
    key: &Bytes,
    rev: i64,
    op: TxnOp,
) -> Result<(ResponseHeader, bool), Status> {
    if key.is_empty() {
        return Err(ApiError::EmptyKey.into());
    }
    let txn = TxnRequest {
        compare: vec![turns::created_at(key, rev)],
        success: vec![op],
        failure: Vec::new(),
    };
    let (header, reply) = turns::txn(call, txn).await?;
    Ok((translate::header(header), reply.succeeded))
}

/// Gives the leadership up; one that is not held any more is no error.
pub(crate) async fn resign(
    call: Call,
    request: pb::ResignRequest,
) -> Result<pb::ResignResponse, Status> {
    let leader = request.leader.ok_or(ApiError::LeaderMissing)?;
    let delete = TxnOp::Delete(turns::delete(&leader.key));
    let (header, _) = if_leading(&call, &leader.key, leader.rev, delete).await?;
    Ok(pb::ResignResponse {
        header: Some(header),
    })
}

/// Who leads.
pub(crate) async fn leader(
    call: Call,
    request: pb::LeaderRequest,
) -> Result<pb::LeaderResponse, Status> {
    let first = turns::first(&turns::prefix(&request.name));
    let answer = turns::read(&call, first).await?;
    let pair = answer.body.kvs.into_iter().next();
    Ok(pb::LeaderResponse {
        header: Some(translate::header(answer.header)),
        kv: Some(translate::key_value(pair.ok_or(ApiError::NobodyElected)?)),
    })
}

/// Who is being observed.
struct Observing {
    call: Call,
    prefix: Bytes,
    watched: Watched,
    ended: bool,
}

enum Watched {
    /// Nobody yet: it is to be seen who leads.
    Look,
    /// Nobody leads: the first to come will.
    Empty(turns::Watched),
    /// The leader's key.
    Leader(turns::Watched),
}

/// Tells who leads and what they announce, now and from now on.
pub(crate) async fn observe(
    call: Call,
    request: pb::LeaderRequest,
) -> Result<impl Stream<Item = Result<pb::LeaderResponse, Status>> + Send, Status> {
    let mut observing = Observing {
        prefix: turns::prefix(&request.name),
        call,
        watched: Watched::Look,
        ended: false,
    };
    // Whoever may not look hears it at once.
    let first = observing.look().await?;
    let state = (observing, first);
    Ok(futures::stream::unfold(
        state,
        async |(mut observing, first)| {
            if observing.ended {
                return None;
            }
            let told = match first {
                Some(first) => Ok(first),
                None => observing.next().await,
            };
            observing.ended = told.is_err();
            Some((told, (observing, None)))
        },
    ))
}

impl Observing {
    /// Sees who leads, and watches on from there.
    async fn look(&mut self) -> Result<Option<pb::LeaderResponse>, Status> {
        let answer = turns::read(&self.call, turns::first(&self.prefix)).await?;
        let next = Revision(answer.header.revision.0 + 1);
        let Some(pair) = answer.body.kvs.into_iter().next() else {
            let keys = turns::below(&self.prefix);
            self.watched = Watched::Empty(turns::Watched::new(&self.call, keys, next));
            return Ok(None);
        };
        let keys = KeyRange::single(pair.key.clone());
        self.watched = Watched::Leader(turns::Watched::new(&self.call, keys, next));
        Ok(Some(pb::LeaderResponse {
            header: Some(translate::header(answer.header)),
            kv: Some(translate::key_value(pair)),
        }))
    }

    async fn next(&mut self) -> Result<pb::LeaderResponse, Status> {
        loop {
            let (leader, (header, event)) = match &mut self.watched {
                Watched::Look => {
                    if let Some(told) = self.look().await? {
                        return Ok(told);
                    }
                    continue;
                }
                Watched::Empty(watched) => (false, watched.next(&self.call).await?),
                Watched::Leader(watched) => (true, watched.next(&self.call).await?),
            };
            match (leader, event.event.kind) {
                (true, EventKind::Put) => return Ok(told(header, &event)),
                // Somebody has come, or the leader has gone.
                (false, EventKind::Put) | (true, EventKind::Delete) => self.watched = Watched::Look,
                (false, EventKind::Delete) => {}
            }
        }
    }
}

fn told(header: Header, event: &Arc<SharedEvent>) -> pb::LeaderResponse {
    pb::LeaderResponse {
        header: Some(translate::header(header)),
        kv: Some(translate::key_value(event.event.kv.clone())),
    }
}
