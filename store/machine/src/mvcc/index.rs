//! The versions of one key: which revision left which record.
//!
//! Most keys have one version, which lies in the entry itself; only overwritten keys have a queue.

use std::collections::VecDeque;

use super::history::Place;
use crate::keymap::Weigh;

/// One put or delete of the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    /// Its revision.
    pub(super) modified: i64,
    pub(super) place: Place,
}

/// All kept versions of one key, by revision; at least one.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    last: Version,
    /// What came before, oldest first; `None` when empty. Boxed, because a queue is four words and
    /// a box one.
    #[expect(clippy::box_collection)]
    older: Option<Box<VecDeque<Version>>>,
}

/// A key weighs if it exists now.
impl Weigh for Versions {
    fn weight(&self) -> u64 {
        u64::from(!self.last.place.is_delete())
    }
}

impl Versions {
    pub(super) fn new(first: Version) -> Self {
        Self {
            last: first,
            older: None,
        }
    }

    pub(super) fn last(&self) -> Version {
        self.last
    }

    pub(super) fn push(&mut self, version: Version) {
        let former = std::mem::replace(&mut self.last, version);
        // Room for one: many keys are overwritten once between two compactions.
        self.older
            .get_or_insert_with(|| Box::new(VecDeque::with_capacity(1)))
            .push_back(former);
    }

    fn len(&self) -> usize {
        self.older.as_ref().map_or(0, |older| older.len()) + 1
    }

    fn get(&self, position: usize) -> Version {
        let older = self.older.as_ref().and_then(|older| older.get(position));
        older.copied().unwrap_or(self.last)
    }

    /// Versions, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Version> {
        let older = self.older.iter().flat_map(|older| older.iter());
        older.copied().chain([self.last])
    }

    /// Versions from the one at `position` on, oldest first.
    pub(super) fn from(&self, position: usize) -> impl Iterator<Item = Version> {
        (position..self.len()).map(|position| self.get(position))
    }

    /// How many versions lie below `revision`.
    fn below(&self, revision: i64) -> usize {
        if self.last.modified < revision {
            return self.len();
        }
        self.older.as_ref().map_or(0, |older| {
            older.partition_point(|version| version.modified < revision)
        })
    }

    /// The last version at or below `revision`.
    pub(super) fn at(&self, revision: i64) -> Option<Version> {
        self.below(revision.saturating_add(1))
            .checked_sub(1)
            .map(|position| self.get(position))
    }

    /// The version before the one at `place`.
    pub(super) fn before(&self, version: Version) -> Option<Version> {
        let first = self.below(version.modified);
        let position = (first..self.len()).find(|&position| self.get(position) == version)?;
        position.checked_sub(1).map(|position| self.get(position))
    }

    /// How many of the oldest versions nobody can ask for once `compacted` is the last compaction:
    /// those below it, but for the one that is the value at `compacted`. What happened exactly at
    /// `compacted`, a delete too, is kept: a watch may start there (etcd issues 18089, 19179).
    pub(super) fn superseded(&self, compacted: i64) -> usize {
        let below = self.below(compacted);
        let at_compacted = below < self.len() && self.get(below).modified == compacted;
        if below == 0 || at_compacted || self.get(below - 1).place.is_delete() {
            below
        } else {
            below - 1
        }
    }

    /// Gives up the oldest `count` versions; false when none is left.
    pub(super) fn trim(&mut self, count: usize, mut dropped: impl FnMut(Version)) -> bool {
        if count == 0 {
            return true;
        }
        for position in 0..count {
            dropped(self.get(position));
        }
        if count == self.len() {
            return false;
        }
        if let Some(older) = &mut self.older {
            older.drain(..count);
            if older.is_empty() {
                self.older = None;
            } else if older.capacity() > 4 * older.len() {
                older.shrink_to(2 * older.len());
            }
        }
        true
    }
}
