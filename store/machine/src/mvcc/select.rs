//! What a range does with the pairs it found: filters, sort, limit (etcd's documentation of `RangeRequest`).
//!
//! Whoever reads a range piece by piece does the same to all of the pieces.

use std::cmp::Ordering;

use crate::reply::KeyValue;
use crate::request::{RangeRequest, SortOrder, SortTarget};

impl RangeRequest {
    /// Most pairs a walk over the keys needs to bring: none when only the count is asked for,
    /// everything when filters or a sort come before the limit. One more than the limit tells whether
    /// there are more. Walks over a past revision go upwards only.
    ///
    /// Without an order the limit counts before the sort, whatever the target is: etcd takes a target alone for no wish to
    /// sort when it limits the read (`rangeLimit`), and for ascending when it sorts.
    #[must_use]
    pub fn walk_limit(&self, past: bool) -> usize {
        if self.count_only {
            return 0;
        }
        let natural = self.sort_order == SortOrder::None
            || self.sort_target == SortTarget::Key && !(past && self.descends());
        if self.limit == 0 || !natural || self.filters() {
            return usize::MAX;
        }
        usize::try_from(self.limit)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
    }

    /// Whether the walk should go from the last key to the first.
    #[must_use]
    pub fn descends(&self) -> bool {
        self.sort_target == SortTarget::Key && self.sort_order == SortOrder::Descend
    }

    /// Whether pairs have to be put into another order than that of their keys.
    #[must_use]
    pub fn sorts(&self) -> bool {
        self.sort_target != SortTarget::Key || self.sort_order == SortOrder::Descend
    }

    /// Filters, sorts and cuts pairs that are in key order, or already in the asked one; true when the
    /// limit cut something.
    pub fn finish(&self, kvs: &mut Vec<KeyValue>) -> bool {
        if self.filters() {
            kvs.retain(|kv| self.passes(kv));
        }
        let more = self.sort_and_cut(kvs);
        if self.keys_only {
            for kv in kvs {
                kv.value = bytes::Bytes::new();
            }
        }
        more
    }

    /// Sorts pairs in key order and cuts them to the limit; true when there were more.
    ///
    /// May be done on the way, so that no more than the limit has to be kept: as the sort is stable, what it leaves and
    /// the pairs behind that give the same when they are sorted and cut together.
    pub fn sort_and_cut(&self, kvs: &mut Vec<KeyValue>) -> bool {
        sort(self, kvs);
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        more
    }

    /// Whether it asks for pairs by their revisions.
    #[must_use]
    pub const fn filters(&self) -> bool {
        self.mod_revision_min != 0
            || self.mod_revision_max != 0
            || self.create_revision_min != 0
            || self.create_revision_max != 0
    }

    /// Whether the revisions of the pair are among those asked for.
    #[must_use]
    pub fn passes(&self, kv: &KeyValue) -> bool {
        let within = |number: i64, min: i64, max: i64| {
            (min == 0 || number >= min) && (max == 0 || number <= max)
        };
        within(
            kv.mod_revision.0,
            self.mod_revision_min,
            self.mod_revision_max,
        ) && within(
            kv.create_revision.0,
            self.create_revision_min,
            self.create_revision_max,
        )
    }
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
