//! Transactions between the wire and the machine: limits, field checks, duplicate keys.
//!
//! The rules are etcd's. Sizes are bounded by the request limit and the depth by the
//! decoders' own recursion limits, so recursion here is safe.

pub(crate) mod crowd;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::{BufMut, Bytes, BytesMut};
use store_machine::reply::{TxnOpReply, TxnReply};
use store_machine::request::{
    Compare, CompareTarget, KeyRange, RangeEnd, Relation, TxnOp, TxnRequest,
};
use store_machine::revision::Revision;
use store_proto::etcdserverpb as pb;

use super::errors::ApiError;
use super::translate;

/// How a transaction must be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// It may write, or holds another transaction: through the log.
    Propose,
    /// It only reads, at least once with the newest state.
    ReadLinearizable,
    /// It only reads, and old data will do.
    ReadSerializable,
}

/// Which way a request goes; decided on the wire form, where `serializable` still stands.
pub(crate) fn route(request: &pb::TxnRequest) -> Route {
    let mut route = Route::ReadSerializable;
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(pb::request_op::Request::RequestRange(range)) => {
                if !range.serializable {
                    route = Route::ReadLinearizable;
                }
            }
            _ => return Route::Propose,
        }
    }
    route
}

/// Checks and translates; `ops_max` is what `--max-txn-ops` says.
pub(crate) fn txn_request(request: pb::TxnRequest, ops_max: usize) -> Result<TxnRequest, ApiError> {
    let request = translated(request, ops_max)?;
    claims(&request.success)?;
    claims(&request.failure)?;
    Ok(request)
}

fn translated(request: pb::TxnRequest, ops_max: usize) -> Result<TxnRequest, ApiError> {
    let ops = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    let Some(ops_left) = ops_max.checked_sub(ops) else {
        return Err(ApiError::TooManyOps);
    };
    let branch = |ops: Vec<pb::RequestOp>| -> Result<Vec<TxnOp>, ApiError> {
        ops.into_iter().map(|op| txn_op(op, ops_left)).collect()
    };
    Ok(TxnRequest {
        compare: request
            .compare
            .into_iter()
            .map(compare)
            .collect::<Result<_, _>>()?,
        success: branch(request.success)?,
        failure: branch(request.failure)?,
    })
}

fn txn_op(op: pb::RequestOp, ops_max: usize) -> Result<TxnOp, ApiError> {
    use pb::request_op::Request;
    Ok(match op.request {
        Some(Request::RequestRange(range)) => TxnOp::Range(translate::range_request(range)?),
        Some(Request::RequestPut(put)) => TxnOp::Put(translate::put_request(put)?),
        Some(Request::RequestDeleteRange(delete)) => {
            TxnOp::Delete(translate::delete_request(delete)?)
        }
        Some(Request::RequestTxn(txn)) => TxnOp::Txn(translated(txn, ops_max)?),
        // An operation that says nothing is answered this way in etcd too.
        None => return Err(ApiError::KeyNotFound),
    })
}

fn compare(compare: pb::Compare) -> Result<Compare, ApiError> {
    use pb::compare::{CompareResult, CompareTarget as Target, TargetUnion};
    if compare.key.is_empty() {
        return Err(ApiError::EmptyKey);
    }
    let relation = match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => Relation::Equal,
        Ok(CompareResult::Greater) => Relation::Greater,
        Ok(CompareResult::Less) => Relation::Less,
        Ok(CompareResult::NotEqual) => Relation::NotEqual,
        Err(_) => return Err(ApiError::InvalidCompare),
    };
    let target = Target::try_from(compare.target).map_err(|_| ApiError::InvalidCompare)?;
    // What is given for another target than the named one counts as not given: zero or empty.
    let target = match (target, compare.target_union) {
        (Target::Version, Some(TargetUnion::Version(given))) => CompareTarget::Version(given),
        (Target::Version, _) => CompareTarget::Version(0),
        (Target::Create, Some(TargetUnion::CreateRevision(given))) => CompareTarget::Create(given),
        (Target::Create, _) => CompareTarget::Create(0),
        (Target::Mod, Some(TargetUnion::ModRevision(given))) => CompareTarget::Mod(given),
        (Target::Mod, _) => CompareTarget::Mod(0),
        (Target::Value, Some(TargetUnion::Value(given))) => CompareTarget::Value(given),
        (Target::Value, _) => CompareTarget::Value(Bytes::new()),
        (Target::Lease, Some(TargetUnion::Lease(given))) => CompareTarget::Lease(given),
        (Target::Lease, _) => CompareTarget::Lease(0),
    };
    Ok(Compare {
        keys: translate::key_range(compare.key, compare.range_end),
        relation,
        target,
    })
}

/// The keys a branch writes, to find a key that would be written twice in one revision.
#[derive(Default)]
struct Claims {
    puts: BTreeSet<Bytes>,
    deletes: Deletes,
}

/// What the operations of one branch claim together.
///
/// # Errors
/// A put of a key that another operation of the branch also puts or deletes; two deletes may overlap,
/// and so may the two branches of an inner transaction, of which only one runs. etcd lets one more
/// pass, by the order of its search: a put inside one inner transaction and a delete of that key
/// inside a later one. Here a revision changes a key once, without exception.
fn claims(ops: &[TxnOp]) -> Result<Claims, ApiError> {
    let mut all = Claims::default();
    for op in ops {
        match op {
            TxnOp::Range(_) => {}
            TxnOp::Put(put) => all.add_put(put.key.clone())?,
            TxnOp::Delete(delete) => {
                if let Some((start, end)) = bounds(&delete.keys) {
                    all.add_delete(start, end)?;
                }
            }
            TxnOp::Txn(txn) => {
                let mut inner = claims(&txn.success)?;
                let failure = claims(&txn.failure)?;
                inner.puts.extend(failure.puts);
                for (start, end) in failure.deletes.0 {
                    inner.deletes.insert(start, end);
                }
                for (start, end) in &inner.deletes.0 {
                    all.check_delete(start, end.as_ref())?;
                }
                for key in inner.puts {
                    all.add_put(key)?;
                }
                for (start, end) in inner.deletes.0 {
                    all.deletes.insert(start, end);
                }
            }
        }
    }
    Ok(all)
}

impl Claims {
    fn add_put(&mut self, key: Bytes) -> Result<(), ApiError> {
        if self.deletes.contains(&key) || !self.puts.insert(key) {
            return Err(ApiError::DuplicateKey);
        }
        Ok(())
    }

    fn check_delete(&self, start: &Bytes, end: Option<&Bytes>) -> Result<(), ApiError> {
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        match self
            .puts
            .range::<Bytes, _>((Bound::Included(start), end))
            .next()
        {
            Some(_) => Err(ApiError::DuplicateKey),
            None => Ok(()),
        }
    }

    fn add_delete(&mut self, start: Bytes, end: Option<Bytes>) -> Result<(), ApiError> {
        self.check_delete(&start, end.as_ref())?;
        self.deletes.insert(start, end);
        Ok(())
    }
}

/// First key and first key no longer in the range, `None` for no end; nothing for an empty range.
fn bounds(keys: &KeyRange) -> Option<(Bytes, Option<Bytes>)> {
    let start = keys.start.clone();
    match &keys.end {
        RangeEnd::Single => {
            let mut end = BytesMut::with_capacity(start.len() + 1);
            end.put_slice(&start);
            end.put_u8(0);
            Some((start, Some(end.freeze())))
        }
        RangeEnd::Open => Some((start, None)),
        RangeEnd::Before(end) if *end > start => Some((start, Some(end.clone()))),
        RangeEnd::Before(_) => None,
    }
}

/// A union of ranges: start to end (`None` = open), never overlapping, so that a look-up is one step
/// in the tree however many operations a hostile transaction holds.
#[derive(Default)]
struct Deletes(BTreeMap<Bytes, Option<Bytes>>);

impl Deletes {
    fn contains(&self, key: &Bytes) -> bool {
        self.0
            .range::<Bytes, _>(..=key)
            .next_back()
            .is_some_and(|(_, end)| end.as_ref().is_none_or(|end| key < end))
    }

    fn insert(&mut self, mut start: Bytes, mut end: Option<Bytes>) {
        // Takes out every range that touches the new one and widens it by them, last first.
        while let Some((from, to)) = self
            .0
            .range::<Bytes, _>((
                Bound::Unbounded,
                end.as_ref().map_or(Bound::Unbounded, Bound::Included),
            ))
            .next_back()
        {
            if to.as_ref().is_some_and(|to| *to < start) {
                break;
            }
            end = match (end, to) {
                (Some(end), Some(to)) => Some(end.max(to.clone())),
                _ => None,
            };
            let from = from.clone();
            self.0.remove(&from);
            start = start.min(from);
        }
        self.0.insert(start, end);
    }
}

pub(crate) fn txn_response(header: pb::ResponseHeader, reply: TxnReply) -> pb::TxnResponse {
    let after = reply.revision;
    let before = if wrote(&reply.replies) {
        Revision(after.0 - 1)
    } else {
        after
    };
    let mut seen = Seen { now: before, after };
    pb::TxnResponse {
        header: Some(header),
        succeeded: reply.succeeded,
        responses: seen.responses(reply.replies),
    }
}

/// Has a transaction with these answers made a revision?
fn wrote(replies: &[TxnOpReply]) -> bool {
    replies.iter().any(|reply| match reply {
        TxnOpReply::Range(_) => false,
        TxnOpReply::Put(_) => true,
        TxnOpReply::Delete(reply) => reply.deleted > 0,
        TxnOpReply::Txn(reply) => wrote(&reply.replies),
    })
}

/// The revision each operation saw, which is all that its header says: the one before the transaction until something is
/// written, then the one it makes. The header of an inner transaction is there and empty, as in etcd.
struct Seen {
    now: Revision,
    after: Revision,
}

impl Seen {
    fn responses(&mut self, replies: Vec<TxnOpReply>) -> Vec<pb::ResponseOp> {
        let response = |reply| pb::ResponseOp {
            response: Some(self.response(reply)),
        };
        replies.into_iter().map(response).collect()
    }

    fn response(&mut self, reply: TxnOpReply) -> pb::response_op::Response {
        use pb::response_op::Response;
        if !matches!(reply, TxnOpReply::Txn(_)) && wrote(std::slice::from_ref(&reply)) {
            self.now = self.after;
        }
        let header = translate::inner_header(self.now);
        match reply {
            TxnOpReply::Range(reply) => {
                Response::ResponseRange(translate::range_response(header, reply))
            }
            TxnOpReply::Put(reply) => Response::ResponsePut(translate::put_response(header, reply)),
            TxnOpReply::Delete(reply) => {
                Response::ResponseDeleteRange(translate::delete_response(header, reply))
            }
            TxnOpReply::Txn(reply) => Response::ResponseTxn(pb::TxnResponse {
                header: Some(pb::ResponseHeader::default()),
                succeeded: reply.succeeded,
                responses: self.responses(reply.replies),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
