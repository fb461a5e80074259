//! Between the wire's messages and the machine's nouns: pairs, ranges, puts, deletes and headers.
//!
//! Requests are checked on the way in; what comes out is fit to be proposed.
//! Transactions are in `txn.rs`, watches in `watch.rs`.

use bytes::Bytes;
use store_machine::reply::{DeleteReply, KeyValue, PutReply, RangeReply};
use store_machine::request::{
    DeleteRequest, KeyRange, PutRequest, RangeEnd, RangeRequest, SortOrder, SortTarget,
};
use store_machine::revision::{LeaseId, Revision};
use store_proto::etcdserverpb as pb;
use store_proto::mvccpb;

use super::errors::ApiError;
use crate::handle::Header;

pub(crate) fn header(header: Header) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: header.cluster,
        member_id: header.member,
        revision: header.revision.0,
        raft_term: header.term,
    }
}

/// The header of member answers and of a few others, which carries no revision.
pub(crate) fn header_without_revision(of: Header) -> pb::ResponseHeader {
    pb::ResponseHeader {
        revision: 0,
        ..header(of)
    }
}

/// The header inside a transaction's answers: the revision alone.
pub(crate) fn inner_header(revision: Revision) -> pb::ResponseHeader {
    pb::ResponseHeader {
        revision: revision.0,
        ..Default::default()
    }
}

/// On the wire an empty end means one key, one zero byte means all that follow.
pub(crate) fn key_range(start: Bytes, end: Bytes) -> KeyRange {
    let end = match &end[..] {
        [] => RangeEnd::Single,
        [0] => RangeEnd::Open,
        _ => RangeEnd::Before(end),
    };
    KeyRange { start, end }
}

pub(crate) fn range_request(request: pb::RangeRequest) -> Result<RangeRequest, ApiError> {
    if request.key.is_empty() {
        return Err(ApiError::EmptyKey);
    }
    let sort_order = match pb::range_request::SortOrder::try_from(request.sort_order) {
        Ok(pb::range_request::SortOrder::None) => SortOrder::None,
        Ok(pb::range_request::SortOrder::Ascend) => SortOrder::Ascend,
        Ok(pb::range_request::SortOrder::Descend) => SortOrder::Descend,
        Err(_) => return Err(ApiError::InvalidSortOption),
    };
    let sort_target = match pb::range_request::SortTarget::try_from(request.sort_target) {
        Ok(pb::range_request::SortTarget::Key) => SortTarget::Key,
        Ok(pb::range_request::SortTarget::Version) => SortTarget::Version,
        Ok(pb::range_request::SortTarget::Create) => SortTarget::Create,
        Ok(pb::range_request::SortTarget::Mod) => SortTarget::Mod,
        Ok(pb::range_request::SortTarget::Value) => SortTarget::Value,
        Err(_) => return Err(ApiError::InvalidSortOption),
    };
    Ok(RangeRequest {
        keys: key_range(request.key, request.range_end),
        // A negative limit is no limit, as in etcd.
        limit: u64::try_from(request.limit).unwrap_or(0),
        revision: Revision(request.revision),
        sort_order,
        sort_target,
        keys_only: request.keys_only,
        count_only: request.count_only,
        mod_revision_min: request.min_mod_revision,
        mod_revision_max: request.max_mod_revision,
        create_revision_min: request.min_create_revision,
        create_revision_max: request.max_create_revision,
        uncounted: false,
    })
}

pub(crate) fn put_request(request: pb::PutRequest) -> Result<PutRequest, ApiError> {
    if request.key.is_empty() {
        return Err(ApiError::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(ApiError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(ApiError::LeaseProvided);
    }
    Ok(PutRequest {
        key: request.key,
        value: request.value,
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    })
}

pub(crate) fn delete_request(request: pb::DeleteRangeRequest) -> Result<DeleteRequest, ApiError> {
    if request.key.is_empty() {
        return Err(ApiError::EmptyKey);
    }
    Ok(DeleteRequest {
        keys: key_range(request.key, request.range_end),
        prev_kv: request.prev_kv,
    })
}

pub(crate) fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision.0,
        mod_revision: kv.mod_revision.0,
        version: kv.version,
        value: kv.value,
        lease: kv.lease.0,
    }
}

fn key_values(kvs: Vec<KeyValue>) -> Vec<mvccpb::KeyValue> {
    kvs.into_iter().map(key_value).collect()
}

/// A number of keys as the wire has it; the store never holds more than fit.
fn count(keys: u64) -> i64 {
    i64::try_from(keys).unwrap_or(i64::MAX)
}

pub(crate) fn range_response(header: pb::ResponseHeader, reply: RangeReply) -> pb::RangeResponse {
    pb::RangeResponse {
        header: Some(header),
        kvs: key_values(reply.kvs),
        more: reply.more,
        count: count(reply.count),
    }
}

pub(crate) fn put_response(header: pb::ResponseHeader, reply: PutReply) -> pb::PutResponse {
    pb::PutResponse {
        header: Some(header),
        prev_kv: reply.prev.map(key_value),
    }
}

pub(crate) fn delete_response(
    header: pb::ResponseHeader,
    reply: DeleteReply,
) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header: Some(header),
        deleted: count(reply.deleted),
        prev_kvs: key_values(reply.prev),
    }
}

#[cfg(test)]
mod tests;
