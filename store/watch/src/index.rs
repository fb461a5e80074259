//! From a key to the watchers that watch it.
//!
//! Watchers of the same keys share a group, so an event finds 10,000 watchers of one key with one look-up, and
//! 10,000 watchers of different prefixes cost it one walk of about 15 nodes.

use std::collections::BTreeMap;

use bytes::Bytes;
use store_machine::request::{KeyRange, RangeEnd};

use crate::interval::{End, Intervals};

/// Where a watcher stands in the index; needed to take it out without a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    group: u32,
    position: u32,
}

#[derive(Debug)]
struct Group {
    keys: KeyRange,
    /// In no particular order: a removal moves the last one into the gap.
    watchers: Vec<u32>,
}

/// All watchers by what they watch.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Groups of single keys.
    single: BTreeMap<Bytes, u32>,
    /// Groups of ranges.
    ranges: Intervals,
    groups: Vec<Group>,
    free: Vec<u32>,
}

impl Index {
    pub(crate) fn insert(&mut self, keys: &KeyRange, watcher: u32) -> Spot {
        let there = match end(keys) {
            None => self.single.get(&keys.start).copied(),
            Some(end) => self.ranges.get(&keys.start, &end),
        };
        let group = there.unwrap_or_else(|| self.add_group(keys));
        let watchers = &mut self.groups[group as usize].watchers;
        watchers.push(watcher);
        Spot {
            group,
            position: as_u32(watchers.len() - 1),
        }
    }

    /// Takes a watcher out. Another may move: its number and new spot are returned.
    pub(crate) fn remove(&mut self, spot: Spot) -> Option<(u32, Spot)> {
        let group = &mut self.groups[spot.group as usize];
        group.watchers.swap_remove(spot.position as usize);
        if let Some(moved) = group.watchers.get(spot.position as usize) {
            return Some((*moved, spot));
        }
        if group.watchers.is_empty() {
            match end(&group.keys) {
                None => {
                    self.single.remove(&group.keys.start);
                }
                Some(end) => self.ranges.remove(&group.keys.start, &end),
            }
            group.keys = KeyRange {
                start: Bytes::new(),
                end: RangeEnd::Single,
            };
            self.free.push(spot.group);
        }
        None
    }

    /// Calls `found` with every watcher of the key: of the key itself first, then of ranges by start.
    pub(crate) fn watchers(&self, key: &[u8], mut found: impl FnMut(u32)) {
        let mut all = |group: u32| {
            for watcher in &self.groups[group as usize].watchers {
                found(*watcher);
            }
        };
        if let Some(group) = self.single.get(key) {
            all(*group);
        }
        self.ranges.containing(key, &mut all);
    }

    fn add_group(&mut self, keys: &KeyRange) -> u32 {
        let group = Group {
            keys: keys.clone(),
            watchers: Vec::new(),
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.groups[at as usize] = group;
                at
            }
            None => {
                self.groups.push(group);
                as_u32(self.groups.len() - 1)
            }
        };
        match end(keys) {
            None => {
                self.single.insert(keys.start.clone(), at);
            }
            Some(end) => self.ranges.insert(keys.start.clone(), end, at),
        }
        at
    }
}

/// `None`: a single key.
fn end(keys: &KeyRange) -> Option<End> {
    match &keys.end {
        RangeEnd::Single => None,
        RangeEnd::Open => Some(End::Open),
        RangeEnd::Before(end) => Some(End::Key(end.clone())),
    }
}

/// Numbers of watchers and groups; 4 billion of them do not fit into memory.
pub(crate) fn as_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
