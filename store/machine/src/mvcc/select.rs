//! What a range does with the pairs it found: filters, sort, limit (reference A.2).

use std::cmp::Ordering;

use crate::reply::KeyValue;
use crate::request::{RangeRequest, SortOrder, SortTarget};

/// Most pairs the walk over the keys needs to bring: none when only the count is asked for,
/// everything when filters or a sort come before the limit. One more than the limit tells whether
/// there are more. Walks over a past revision go upwards only.
///
/// Without an order the limit counts before the sort, whatever the target is: etcd takes a target alone for no wish to
/// sort when it limits the read (`rangeLimit`), and for ascending when it sorts.
pub(super) fn walk_limit(request: &RangeRequest, past: bool) -> usize {
    if request.count_only {
        return 0;
    }
    let natural = request.sort_order == SortOrder::None
        || request.sort_target == SortTarget::Key && !(past && descends(request));
    if request.limit == 0 || !natural || filters(request) {
        return usize::MAX;
    }
    usize::try_from(request.limit)
        .unwrap_or(usize::MAX)
        .saturating_add(1)
}

/// Whether the walk should go from the last key to the first.
pub(super) fn descends(request: &RangeRequest) -> bool {
    request.sort_target == SortTarget::Key && request.sort_order == SortOrder::Descend
}

/// Filters, sorts and cuts pairs that are in key order, or already in the asked one; true when the
/// limit cut something.
pub(super) fn finish(request: &RangeRequest, kvs: &mut Vec<KeyValue>) -> bool {
    if filters(request) {
        kvs.retain(|kv| passes(request, kv));
    }
    sort(request, kvs);
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let more = limit > 0 && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    if request.keys_only {
        for kv in kvs {
            kv.value = bytes::Bytes::new();
        }
    }
    more
}

fn filters(request: &RangeRequest) -> bool {
    request.mod_revision_min != 0
        || request.mod_revision_max != 0
        || request.create_revision_min != 0
        || request.create_revision_max != 0
}

fn passes(request: &RangeRequest, kv: &KeyValue) -> bool {
    let within = |number: i64, min: i64, max: i64| {
        (min == 0 || number >= min) && (max == 0 || number <= max)
    };
    within(
        kv.mod_revision.0,
        request.mod_revision_min,
        request.mod_revision_max,
    ) && within(
        kv.create_revision.0,
        request.create_revision_min,
        request.create_revision_max,
    )
}

fn sort(request: &RangeRequest, kvs: &mut [KeyValue]) {
    let by: fn(&KeyValue, &KeyValue) -> Ordering = match request.sort_target {
        SortTarget::Key => |a, b| a.key.cmp(&b.key),
        SortTarget::Version => |a, b| a.version.cmp(&b.version),
        SortTarget::Create => |a, b| a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => |a, b| a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => |a, b| a.value.cmp(&b.value),
    };
    // Stable, so that ties stay in key order whatever member answers.
    match (request.sort_target, request.sort_order) {
        (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => {}
        (_, SortOrder::None | SortOrder::Ascend) => kvs.sort_by(by),
        (_, SortOrder::Descend) => kvs.sort_by(|a, b| by(b, a)),
    }
}
