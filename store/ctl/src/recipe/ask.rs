//! Requests in the words of the recipes: what must be so, and what is to be done then.

use bytes::Bytes;
use store_client::mirror::KeyRange;
use store_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use store_proto::etcdserverpb::request_op::Request;
use store_proto::etcdserverpb::response_op::Response;
use store_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
    TxnResponse,
};
use store_proto::mvccpb::KeyValue;

/// Something that must be so.
pub(crate) type If = Compare;
/// Something to be done.
pub(crate) type Do = RequestOp;

/// The key is not there.
pub(crate) fn absent(key: &str) -> If {
    created(key, 0)
}

/// The key was created at that revision and not deleted since.
pub(crate) fn created(key: &str, revision: i64) -> If {
    compare(
        &KeyRange::key(key.as_bytes()),
        CompareTarget::Create,
        TargetUnion::CreateRevision(revision),
    )
}

/// The key was last changed at that revision; 0 for a key that is not there.
pub(crate) fn changed(key: &str, revision: i64) -> If {
    compare(
        &KeyRange::key(key.as_bytes()),
        CompareTarget::Mod,
        TargetUnion::ModRevision(revision),
    )
}

/// There is no key in the range.
pub(crate) fn empty(range: &KeyRange) -> If {
    compare(range, CompareTarget::Create, TargetUnion::CreateRevision(0))
}

fn compare(range: &KeyRange, target: CompareTarget, than: TargetUnion) -> If {
    let (key, range_end) = range.to_wire();
    Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.into(),
        range_end: range_end.into(),
        target_union: Some(than),
    }
}

/// Puts a key, on a lease unless that is 0.
pub(crate) fn put(key: &str, value: impl Into<Bytes>, lease: i64) -> Do {
    done(Request::RequestPut(PutRequest {
        key: key.to_owned().into(),
        value: value.into(),
        lease,
        ..PutRequest::default()
    }))
}

/// Deletes a key.
pub(crate) fn delete(key: &str) -> Do {
    done(Request::RequestDeleteRange(DeleteRangeRequest {
        key: key.to_owned().into(),
        ..DeleteRangeRequest::default()
    }))
}

/// Reads keys.
pub(crate) fn get(range: &KeyRange) -> Do {
    done(Request::RequestRange(read(range)))
}

/// Reads keys without their values, so many at most; 0 for all.
pub(crate) fn get_keys(range: &KeyRange, limit: i64) -> Do {
    done(Request::RequestRange(RangeRequest {
        keys_only: true,
        limit,
        ..read(range)
    }))
}

/// Reads a key.
pub(crate) fn get_key(key: &str) -> Do {
    get(&KeyRange::key(key.as_bytes()))
}

const fn done(request: Request) -> Do {
    Do {
        request: Some(request),
    }
}

/// The request that reads a range.
pub(crate) fn read(range: &KeyRange) -> RangeRequest {
    let (key, range_end) = range.to_wire();
    RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        ..RangeRequest::default()
    }
}

/// The transaction: if all of these are so, do those, else others.
pub(crate) fn txn(
    conditions: impl Into<Vec<If>>,
    then: impl Into<Vec<Do>>,
    otherwise: impl Into<Vec<Do>>,
) -> TxnRequest {
    TxnRequest {
        compare: conditions.into(),
        success: then.into(),
        failure: otherwise.into(),
    }
}

/// What a transaction read: the answer to its `at`-th operation.
pub(crate) fn range_of(answer: &TxnResponse, at: usize) -> Option<&RangeResponse> {
    match answer.responses.get(at)?.response.as_ref()? {
        Response::ResponseRange(range) => Some(range),
        _ => None,
    }
}

/// The keys a transaction read.
pub(crate) fn found(answer: &TxnResponse, at: usize) -> &[KeyValue] {
    range_of(answer, at).map_or(&[], |range| &range.kvs)
}

/// The one key a transaction read.
pub(crate) fn key_of(answer: &TxnResponse, at: usize) -> Option<&KeyValue> {
    range_of(answer, at)?.kvs.first()
}

/// The store's revision when it answered.
pub(crate) fn revision_of(answer: &TxnResponse) -> i64 {
    answer.header.unwrap_or_default().revision
}
