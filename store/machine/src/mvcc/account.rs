//! How many bytes the kept versions account for, independent of how far the scrub has come.
//!
//! Quota decisions are part of applying, so the size must follow from the log alone. Therefore a
//! version is taken off when a compaction makes it unreachable, not when the scrub drops it; which
//! bytes become unreachable at which compaction is known when the version is overwritten.

use std::collections::VecDeque;

/// What a version costs beside key and value: its numbers, its place in the index, its share of
/// the nodes' spare room.
const VERSION_BYTES: u64 = 64;

/// Cost of a version with a key and a value of this length.
pub(super) fn cost(key_len: usize, value_len: usize) -> u64 {
    VERSION_BYTES + (key_len + value_len) as u64
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Account {
    /// All versions a reader or watcher can still ask for.
    kept: u64,
    /// Those that are the current pairs.
    current: u64,
    /// (revision, bytes) given up by a compaction at or above that revision, ascending.
    superseded: VecDeque<(i64, u64)>,
    /// (revision, bytes) given up by a compaction above that revision, ascending: deletes, which
    /// are kept for watchers that start exactly there.
    deletes: VecDeque<(i64, u64)>,
}

impl Account {
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    pub(super) fn current(&self) -> u64 {
        self.current
    }

    /// A pair was written at `revision`.
    pub(super) fn put(&mut self, bytes: u64) {
        self.kept += bytes;
        self.current += bytes;
    }

    /// A pair ceased to be current at `revision`, where it had been written at `modified`.
    pub(super) fn supersede(&mut self, bytes: u64, modified: i64, revision: i64) {
        self.current -= bytes;
        // Overwritten by the very transaction that wrote it: kept as long as a delete would be.
        let queue = if modified == revision {
            &mut self.deletes
        } else {
            &mut self.superseded
        };
        add(queue, revision, bytes);
    }

    /// A delete was recorded at `revision`.
    pub(super) fn delete(&mut self, bytes: u64, revision: i64) {
        self.kept += bytes;
        add(&mut self.deletes, revision, bytes);
    }

    pub(super) fn compact(&mut self, revision: i64) {
        while let Some((_, bytes)) = self.superseded.pop_front_if(|(at, _)| *at <= revision) {
            self.kept -= bytes;
        }
        while let Some((_, bytes)) = self.deletes.pop_front_if(|(at, _)| *at < revision) {
            self.kept -= bytes;
        }
        for queue in [&mut self.superseded, &mut self.deletes] {
            // Room for as much again, but not for all that ever was.
            queue.shrink_to(2 * queue.len());
        }
    }
}

fn add(queue: &mut VecDeque<(i64, u64)>, revision: i64, bytes: u64) {
    match queue.back_mut() {
        Some((at, sum)) if *at == revision => *sum += bytes,
        _ => queue.push_back((revision, bytes)),
    }
}
