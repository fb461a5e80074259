//! Permissions on ranges of keys, and ranges added up: a request may use what several grants cover
//! together.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::request::{KeyRange, RangeEnd};

/// Kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionKind {
    /// Look at.
    Read,
    /// Change.
    Write,
    /// Both.
    ReadWrite,
}

impl PermissionKind {
    pub(super) const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    pub(super) const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }
}

/// What a role may do with a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Kind of access.
    pub kind: PermissionKind,
    /// To which keys.
    pub keys: KeyRange,
}

impl Permission {
    /// Whether it names any key: a first key, and an end above it.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.keys.start.is_empty()
            && match &self.keys.end {
                RangeEnd::Single | RangeEnd::Open => true,
                RangeEnd::Before(end) => self.keys.start < *end,
            }
    }
}

/// A set of keys as ranges that neither meet nor touch, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Span>);

/// Keys from `start` on, those below `end` if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    start: Bytes,
    end: Option<Bytes>,
}

impl Span {
    fn reaches(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_none_or(|end| &end[..] >= key)
    }
}

impl Ranges {
    /// Adds a range.
    pub(super) fn add(&mut self, keys: &KeyRange) {
        let mut span = Span {
            start: keys.start.clone(),
            end: match &keys.end {
                RangeEnd::Single => Some(successor(&keys.start)),
                RangeEnd::Open => None,
                RangeEnd::Before(end) => Some(end.clone()),
            },
        };
        // What it meets or touches becomes one with it.
        let first = self.0.partition_point(|it| !it.reaches(&span.start));
        let last = self.0.partition_point(|it| span.reaches(&it.start));
        if first < last {
            span.start = span.start.min(self.0[first].start.clone());
            span.end = match (span.end.take(), self.0[last - 1].end.clone()) {
                (Some(one), Some(other)) => Some(one.max(other)),
                _ => None,
            };
        }
        self.0.splice(first..last.max(first), [span]);
    }

    /// Whether every key of the range is in the set.
    pub(super) fn contains(&self, start: &[u8], end: &RangeEnd) -> bool {
        let behind = self.0.partition_point(|span| &span.start[..] <= start);
        let Some(span) = behind.checked_sub(1).and_then(|at| self.0.get(at)) else {
            return false;
        };
        let Some(limit) = &span.end else {
            return true;
        };
        start < &limit[..]
            && match end {
                RangeEnd::Single => true,
                RangeEnd::Open => false,
                RangeEnd::Before(end) => end <= limit,
            }
    }
}

/// The key that comes next.
fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
