//! Terms of the entries in the log, remembered as the points where they change.
//!
//! Tells whether a snapshot was taken of this log or replaces it, without keeping entries.

use std::collections::VecDeque;

/// A log of which only the terms are known.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// Where a term begins: (index, term), both ascending.
    begins: VecDeque<(u64, u64)>,
    /// Index of the next entry; `None` while nothing is known and any will do.
    next: Option<u64>,
}

impl Terms {
    /// Index that the next entry has at most; `None` when any will do.
    pub(crate) const fn next_index(&self) -> Option<u64> {
        self.next
    }

    /// Term of an entry, if it is in the log.
    pub(crate) fn of(&self, index: u64) -> Option<u64> {
        if self.next.is_none_or(|next| index >= next) {
            return None;
        }
        let above = self.begins.partition_point(|(begin, _)| *begin <= index);
        Some(self.begins.get(above.checked_sub(1)?)?.1)
    }

    /// An entry is added, in place of all from its index on.
    pub(crate) fn push(&mut self, index: u64, term: u64) {
        while self.begins.back().is_some_and(|(begin, _)| *begin >= index) {
            self.begins.pop_back();
        }
        if self.begins.back().is_none_or(|(_, last)| *last != term) {
            self.begins.push_back((index, term));
        }
        self.next = Some(index + 1);
    }

    /// The log is empty and goes on with this index.
    pub(crate) fn restart(&mut self, index: u64) {
        self.begins.clear();
        self.next = Some(index);
    }

    /// Entries below this index will not be asked for.
    pub(crate) fn forget_below(&mut self, index: u64) {
        while self.begins.get(1).is_some_and(|(begin, _)| *begin <= index) {
            self.begins.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map with every entry in it.
        #[test]
        fn says_what_a_map_says(steps in prop::collection::vec((0..8_u8, 0..6_u64), 0..60)) {
            let mut terms = Terms::default();
            let mut map = BTreeMap::new();
            let (mut next, mut term, mut floor) = (1, 1, 0);
            terms.restart(1);
            for (what, number) in steps {
                match what {
                    0 => {
                        next += number;
                        map.clear();
                        terms.restart(next);
                        floor = next;
                    }
                    1 => {
                        floor = floor.max(next.saturating_sub(number));
                        terms.forget_below(floor);
                    }
                    _ => {
                        term += u64::from(number == 1);
                        let index = (next - number.min(next - 1)).max(floor).max(1);
                        map.split_off(&index);
                        map.insert(index, term);
                        terms.push(index, term);
                        next = index + 1;
                    }
                }
                for index in floor..next + 2 {
                    prop_assert_eq!(terms.of(index), map.get(&index).copied(), "entry {}", index);
                }
                prop_assert_eq!(terms.next_index(), Some(next));
            }
        }
    }
}
