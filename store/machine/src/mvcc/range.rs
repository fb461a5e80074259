//! Reading the keyspace at one revision.

use std::ops::ControlFlow;

use super::Keyspace;
use super::index::Version;
use crate::error::Refusal;
use crate::reply::{KeyValue, RangeReply};
use crate::request::{KeyRange, RangeEnd, RangeRequest};
use crate::revision::Revision;
use crate::weigh::Scale;

/// What a walk brings.
struct Collected {
    /// No more than it was limited to.
    kvs: Vec<KeyValue>,
    /// All keys of the range.
    count: u64,
}

impl Keyspace {
    /// Whether a read at `revision` has an answer; 0 and below mean the latest.
    pub(crate) fn check(&self, revision: Revision) -> Result<(), Refusal> {
        if revision.0 <= 0 {
            Ok(())
        } else if revision > self.revision {
            Err(Refusal::FutureRevision)
        } else if revision.0 < self.compacted {
            Err(Refusal::Compacted)
        } else {
            Ok(())
        }
    }

    /// Whether a read within a transaction has an answer. Only 0 means the latest here: what is negative lies below the
    /// compaction like any other revision, as in etcd's `checkRange`, where the compaction of a store never compacted
    /// is -1.
    pub(crate) fn check_within(&self, revision: Revision) -> Result<(), Refusal> {
        if revision.0 < 0 && revision.0 < self.compacted {
            return Err(Refusal::Compacted);
        }
        self.check(revision)
    }

    /// The pair as it is now, writes of an unfinished revision included.
    pub(crate) fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.pair(self.index.get(key)?.last())
    }

    /// Visits the pairs as they are now in key order, until told to stop.
    pub(crate) fn walk(&self, keys: &KeyRange, mut visit: impl FnMut(KeyValue) -> ControlFlow<()>) {
        self.index.walk(&keys.start, |key, versions| {
            if !keys.contains(key) {
                return ControlFlow::Break(());
            }
            self.pair(versions.last())
                .map_or(ControlFlow::Continue(()), &mut visit)
        });
    }

    /// Answers a range request.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeReply, Refusal> {
        self.check(request.revision)?;
        // The current revision asked for by number is the latest state, unless a transaction has
        // begun to write the next one.
        let past = request.revision.0 > 0 && (request.revision < self.revision || self.dirty);
        let limit = request.walk_limit(past);
        let Collected { mut kvs, count } = if past {
            self.collect_past(request, limit)
        } else {
            self.collect_latest(request, limit)
        };
        let more = request.finish(&mut kvs);
        Ok(RangeReply { kvs, more, count })
    }

    /// Counts by weights and walks only as far as the limit.
    fn collect_latest(&self, request: &RangeRequest, limit: usize) -> Collected {
        let mut collected = Collected {
            kvs: Vec::new(),
            count: self.count(&request.keys),
        };
        if limit == 0 || collected.count == 0 {
            return collected;
        }
        let known = usize::try_from(collected.count).unwrap_or(usize::MAX);
        collected.kvs.reserve_exact(known.min(limit));
        self.walk_latest(request, |version| {
            if let Some(kv) = self.pair(version) {
                collected.kvs.push(kv);
            }
            if collected.kvs.len() == limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        collected
    }

    /// Visits the last version of each key of the range, deleted ones among them, from the side the request wants.
    fn walk_latest(
        &self,
        request: &RangeRequest,
        mut visit: impl FnMut(Version) -> ControlFlow<()>,
    ) {
        let keys = &request.keys;
        if let RangeEnd::Single = keys.end {
            let _ = self
                .index
                .get(&keys.start)
                .map(|versions| visit(versions.last()));
        } else if request.descends() {
            self.index.walk_back(keys.end_key(), |key, versions| {
                if key < &keys.start[..] {
                    return ControlFlow::Break(());
                }
                visit(versions.last())
            });
        } else {
            self.index.walk(&keys.start, |key, versions| {
                if !keys.contains(key) {
                    return ControlFlow::Break(());
                }
                visit(versions.last())
            });
        }
    }

    /// Walks over all keys of the range, because what existed then is not counted anywhere; no further than to the
    /// limit if nobody wants the count.
    fn collect_past(&self, request: &RangeRequest, limit: usize) -> Collected {
        let mut collected = Collected {
            kvs: Vec::new(),
            count: 0,
        };
        self.walk_past(request, |version| {
            collected.count += 1;
            if collected.kvs.len() < limit {
                collected.kvs.extend(self.pair(version));
            } else if request.uncounted {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        collected
    }

    /// Visits what existed of the range at the revision of the request, in key order.
    fn walk_past(&self, request: &RangeRequest, mut visit: impl FnMut(Version) -> ControlFlow<()>) {
        let (keys, revision) = (&request.keys, request.revision.0);
        self.index.walk(&keys.start, |key, versions| {
            if !keys.contains(key) {
                return ControlFlow::Break(());
            }
            match versions.at(revision) {
                Some(version) if !version.place.is_delete() => visit(version),
                _ => ControlFlow::Continue(()),
            }
        });
    }

    /// Weighs the pairs that a range would collect; nothing if it would be refused.
    pub(crate) fn weigh(&self, request: &RangeRequest, scale: &mut Scale) {
        if self.check(request.revision).is_err() {
            return;
        }
        let past = request.revision.0 > 0 && request.revision < self.revision;
        let mut left = request.walk_limit(past);
        if left == 0 {
            return;
        }
        let visit = |version| {
            if let Some(kv) = self.pair(version) {
                left -= 1;
                scale.add(&kv)?;
            }
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        if past {
            self.walk_past(request, visit);
        } else {
            self.walk_latest(request, visit);
        }
    }

    /// Keys of the range that exist now.
    fn count(&self, keys: &KeyRange) -> u64 {
        let end = match &keys.end {
            RangeEnd::Single => return u64::from(self.exists(&keys.start)),
            RangeEnd::Open => self.index.weight(),
            RangeEnd::Before(end) => self.index.weight_below(end),
        };
        end.saturating_sub(self.index.weight_below(&keys.start))
    }

    /// Whether the key exists now.
    pub(crate) fn exists(&self, key: &[u8]) -> bool {
        self.index
            .get(key)
            .is_some_and(|versions| !versions.last().place.is_delete())
    }

    /// The pair a version left, if it left one.
    pub(super) fn pair(&self, version: Version) -> Option<KeyValue> {
        (!version.place.is_delete()).then(|| self.history.read(version.place).into_pair())
    }
}

impl KeyRange {
    /// First key behind the set, if there is one; not for a single key.
    fn end_key(&self) -> Option<&[u8]> {
        match &self.end {
            RangeEnd::Before(end) => Some(end),
            RangeEnd::Single | RangeEnd::Open => None,
        }
    }
}
