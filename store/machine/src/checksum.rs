//! The trail: a running checksum of everything watchers have ever been shown, revision by revision.
//!
//! Two members that applied the same changes have the same digest after the same revision, and once
//! they differ they differ for good. Which revision was the first is told by what is kept of the
//! past: each of the last revisions, and every so many before that. It costs one pass over the bytes
//! of a change. What lies in memory may rot all the same; that is for `audit.rs` to find.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::reply::{Event, EventKind};
use crate::revision::Revision;
use crate::varint::{Reader, put_i64, put_u64};

/// Revisions of which each is kept, counted from the last: 32 KiB, and a second of writes or more
/// under most loads.
const RECENT_MAX: usize = if cfg!(test) { 8 } else { 4_096 };

/// Below them, one revision in so many is kept.
const STRIDE: i64 = if cfg!(test) { 4 } else { 4_096 };

/// So many of those: 8 KiB for four million revisions.
const SPARSE_MAX: usize = if cfg!(test) { 4 } else { 1_024 };

/// Digest at the origin.
const SEED: u64 = 0;

/// Where a trail stands; what members compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailPoint {
    /// Revision at which the trail began: the first, or that of a snapshot that knew none. Trails of
    /// different origins say nothing about each other.
    pub origin: Revision,
    /// Revision it has come to.
    pub revision: Revision,
    /// Checksum of all changes in between.
    pub digest: u64,
}

/// The digest after one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailMark {
    /// The revision.
    pub revision: Revision,
    /// The digest after it.
    pub digest: u64,
}

/// Revisions among which the first differing one is: above `after`, at most `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Last one known to be the same.
    pub after: Revision,
    /// First one known to differ.
    pub until: Revision,
}

impl Span {
    /// The first differing revision, when it is known.
    #[must_use]
    pub const fn exact(self) -> Option<Revision> {
        if self.after.0 + 1 == self.until.0 {
            Some(self.until)
        } else {
            None
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trail {
    point: TrailPoint,
    /// Digests after the last revisions; the last is that of `point`.
    recent: VecDeque<u64>,
    /// Digests after multiples of [`STRIDE`], ascending, all older than `recent`.
    sparse: VecDeque<TrailMark>,
}

impl Trail {
    pub(crate) const fn new(origin: Revision) -> Self {
        Self {
            point: TrailPoint {
                origin,
                revision: origin,
                digest: SEED,
            },
            recent: VecDeque::new(),
            sparse: VecDeque::new(),
        }
    }

    pub(crate) const fn point(&self) -> TrailPoint {
        self.point
    }

    /// Takes the events of the next revision.
    pub(crate) fn note(&mut self, revision: Revision, events: &[Event]) {
        let digest = events.iter().fold(self.point.digest, fold);
        let digest = mix(digest ^ revision.0.cast_unsigned());
        self.push(revision, digest);
    }

    fn push(&mut self, revision: Revision, digest: u64) {
        self.point.revision = revision;
        self.point.digest = digest;
        self.recent.push_back(digest);
        if self.recent.len() > RECENT_MAX
            && let Some(digest) = self.recent.pop_front()
        {
            let revision = Revision(revision.0 - RECENT_MAX as i64);
            if revision.0 % STRIDE == 0 {
                self.sparse.push_back(TrailMark { revision, digest });
                if self.sparse.len() > SPARSE_MAX {
                    self.sparse.pop_front();
                }
            }
        }
    }

    /// What is kept of the past, ascending.
    pub(crate) fn marks(&self) -> Vec<TrailMark> {
        let first = self.point.revision.0 - self.recent.len() as i64 + 1;
        let recent = (first..).zip(&self.recent);
        let recent = recent.map(|(revision, &digest)| TrailMark {
            revision: Revision(revision),
            digest,
        });
        self.sparse.iter().copied().chain(recent).collect()
    }

    /// The byte form in snapshots: origin, revision, digest, then the marks with each revision
    /// counted from the one before.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let marks = self.marks();
        let mut out = Vec::with_capacity(32 + 12 * marks.len());
        put_i64(&mut out, self.point.origin.0);
        put_i64(&mut out, self.point.revision.0);
        out.extend_from_slice(&self.point.digest.to_le_bytes());
        put_u64(&mut out, self.recent.len() as u64);
        put_u64(&mut out, self.sparse.len() as u64);
        for mark in &self.sparse {
            put_i64(&mut out, mark.revision.0);
        }
        for mark in marks {
            out.extend_from_slice(&mark.digest.to_le_bytes());
        }
        out
    }

    /// Reads the byte form; `None` when these bytes are none.
    pub(crate) fn decode(bytes: Bytes) -> Option<Self> {
        let reader = &mut Reader::new(bytes);
        let origin = Revision(reader.i64()?);
        let revision = Revision(reader.i64()?);
        let digest = read_digest(reader)?;
        let (recent, sparse) = (reader.u64()?, reader.u64()?);
        // Counts are believed only as far as the bytes go.
        let revisions = (0..sparse).map(|_| reader.i64().map(Revision));
        let revisions: Vec<Revision> = revisions.collect::<Option<_>>()?;
        let marks = revisions.into_iter().map(|revision| {
            let digest = read_digest(reader)?;
            Some(TrailMark { revision, digest })
        });
        let sparse: VecDeque<TrailMark> = marks.collect::<Option<_>>()?;
        let recent = (0..recent).map(|_| read_digest(reader));
        let recent: VecDeque<u64> = recent.collect::<Option<_>>()?;
        let first = revision.0.checked_sub(i64::try_from(recent.len()).ok()?)?;
        let sane = reader.left() == 0
            && Revision::FIRST <= origin
            && origin.0 <= first
            && recent.len() <= RECENT_MAX
            && sparse.len() <= SPARSE_MAX
            && recent.back().copied().unwrap_or(SEED) == digest
            && (recent.is_empty() == (revision == origin))
            && sparse.iter().all(|mark| mark.revision.0 <= first)
            && sparse.iter().is_sorted_by_key(|mark| mark.revision);
        sane.then_some(Self {
            point: TrailPoint {
                origin,
                revision,
                digest,
            },
            recent,
            sparse,
        })
    }
}

fn read_digest(reader: &mut Reader) -> Option<u64> {
    let bytes = reader.take(8)?;
    bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Where two trails of the same origin part, by what is kept of both; `None` when nothing kept says
/// that they do.
#[must_use]
pub fn first_difference(origin: Revision, one: &[TrailMark], other: &[TrailMark]) -> Option<Span> {
    let mut after = origin;
    let mut others = other.iter().peekable();
    for mark in one {
        while others
            .next_if(|other| other.revision < mark.revision)
            .is_some()
        {}
        match others.peek() {
            Some(other) if other.revision == mark.revision => {
                if other.digest != mark.digest {
                    let until = mark.revision;
                    return Some(Span { after, until });
                }
                after = mark.revision;
            }
            _ => {}
        }
    }
    None
}

/// A checksum of numbers in their order.
#[derive(Debug, Default)]
pub(crate) struct Checksum(u64);

impl Checksum {
    pub(crate) const fn add(&mut self, number: u64) {
        self.0 = mix(mix(self.0).wrapping_add(number));
    }

    pub(crate) const fn value(&self) -> u64 {
        self.0
    }
}

/// Adds an event. The numbers are part of it: they follow from what this member holds of the key.
fn fold(digest: u64, event: &Event) -> u64 {
    let kv = &event.kv;
    let mut head = [0; 33];
    let numbers = [
        kv.create_revision.0,
        kv.version,
        kv.lease.0,
        (kv.key.len() as i64) << 32 | kv.value.len() as i64,
    ];
    for (place, number) in head.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    head[32] = u8::from(event.kind == EventKind::Delete);
    let crc = crc32c::crc32c(&head);
    let crc = crc32c::crc32c_append(crc, &kv.key);
    let crc = crc32c::crc32c_append(crc, &kv.value);
    mix(digest.wrapping_add(u64::from(crc) + 1))
}

/// Spreads a number over all bits, one to one (the finisher of `SplitMix64`; Steele, Lea, Flood
/// 2014): different digests stay different.
pub(crate) const fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trail of digests that say nothing, with the revision from which they differ.
    fn trail(revisions: i64, differs_from: i64) -> Trail {
        let mut trail = Trail::new(Revision::FIRST);
        for revision in 2..=revisions {
            let other = u64::from(revision >= differs_from) << 40;
            trail.push(Revision(revision), revision.cast_unsigned() | other);
        }
        trail
    }

    #[test]
    fn the_first_difference_is_exact_in_the_window_and_a_range_below() {
        // Of 60 revisions 53..=60 are kept each, and 40, 44, 48 and 52 below.
        for (differs_from, after, until) in [
            (60, 59, 60),
            (54, 53, 54),
            (53, 52, 53),
            (52, 48, 52),
            (49, 48, 52),
            (41, 40, 44),
            (40, 1, 40),
            (2, 1, 40),
        ] {
            let span = first_difference(
                Revision::FIRST,
                &trail(60, 1_000).marks(),
                &trail(60, differs_from).marks(),
            );
            let expected = Span {
                after: Revision(after),
                until: Revision(until),
            };
            assert_eq!(span, Some(expected), "{differs_from}");
            assert_eq!(expected.exact().is_some(), until == after + 1);
        }
        let same = trail(60, 1_000).marks();
        assert_eq!(first_difference(Revision::FIRST, &same, &same), None);
        // The other one has not come as far.
        let behind = trail(55, 54).marks();
        let span = first_difference(Revision::FIRST, &same, &behind);
        assert_eq!(span.and_then(Span::exact), Some(Revision(54)));
    }

    #[test]
    fn what_is_kept_is_bounded_and_comes_back() {
        for revisions in 1..100 {
            let trail = trail(revisions, 1_000);
            assert!(trail.marks().len() <= RECENT_MAX + SPARSE_MAX);
            assert!(trail.marks().is_sorted_by_key(|mark| mark.revision));
            let bytes = Bytes::from(trail.encode());
            for length in 0..bytes.len() {
                assert_eq!(Trail::decode(bytes.slice(..length)), None);
            }
            assert_eq!(Trail::decode(bytes), Some(trail));
        }
    }
}
