//! Which prefixes take the most room: sums over keys in their order, in memory that does not grow with the store.

use super::finding::bytes;

/// What separates levels.
const SEPARATOR: u8 = b'/';
/// 8: deeper levels count for the one above.
const DEPTH_MAX: usize = 8;
/// 5: what a person looks at.
const SHOWN: usize = 5;

/// What lies below a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) keys: u64,
    /// Of keys and values.
    pub(super) bytes: u64,
    /// Puts since the keys were made.
    pub(super) versions: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.keys += other.keys;
        self.bytes += other.bytes;
        self.versions += other.versions;
    }
}

/// A prefix that is still being added to.
#[derive(Debug, Default)]
struct Open {
    /// Its length in bytes.
    length: usize,
    sum: Sum,
    /// The most any prefix (or key) right below it has.
    below: Sum,
}

/// The largest by one measure, largest first.
#[derive(Debug)]
struct Largest {
    measure: fn(&Sum) -> u64,
    found: Vec<(Vec<u8>, Sum)>,
}

impl Largest {
    fn new(measure: fn(&Sum) -> u64) -> Self {
        Self {
            measure,
            found: Vec::new(),
        }
    }

    /// Takes in a prefix, unless most of it is a single thing below it, which stands for it.
    fn take(&mut self, prefix: &[u8], sum: Sum, below: &Sum) {
        let (size, inside) = ((self.measure)(&sum), (self.measure)(below));
        // Nine tenths.
        if size == 0 || u128::from(inside) * 10 > u128::from(size) * 9 {
            return;
        }
        let at = self
            .found
            .partition_point(|(_, other)| (self.measure)(other) >= size);
        if at < SHOWN {
            self.found.insert(at, (prefix.to_vec(), sum));
            self.found.truncate(SHOWN);
        }
    }
}

/// Sums up keys that come in ascending order.
#[derive(Debug)]
pub(super) struct Prefixes {
    /// The prefixes of the last key, shortest first. The first is everything.
    open: Vec<Open>,
    last: Vec<u8>,
    by_bytes: Largest,
    by_versions: Largest,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) all: Sum,
    pub(super) by_bytes: Vec<(Vec<u8>, Sum)>,
    pub(super) by_versions: Vec<(Vec<u8>, Sum)>,
}

impl Prefixes {
    pub(super) fn new() -> Self {
        Self {
            open: vec![Open::default()],
            last: Vec::new(),
            by_bytes: Largest::new(|sum| sum.bytes),
            by_versions: Largest::new(|sum| sum.versions),
        }
    }

    /// Adds the next key.
    pub(super) fn add(&mut self, key: &[u8], value_bytes: usize, versions: u64) {
        let same = key
            .iter()
            .zip(&self.last)
            .take_while(|(ours, theirs)| ours == theirs)
            .count();
        while self.open.last().is_some_and(|open| open.length > same) {
            self.close();
        }
        let begun = self.open.last().map_or(0, |open| open.length);
        let ends = key.iter().enumerate().skip(begun);
        for (at, _) in ends.filter(|(at, byte)| **byte == SEPARATOR && at + 1 < key.len()) {
            if self.open.len() > DEPTH_MAX {
                break;
            }
            self.open.push(Open {
                length: at + 1,
                ..Open::default()
            });
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        let sum = Sum {
            keys: 1,
            bytes: (key.len() + value_bytes) as u64,
            versions,
        };
        self.note(key, sum, &Sum::default());
    }

    /// Ends the longest open prefix: what it has belongs to the one above, too.
    fn close(&mut self) {
        if let Some(ended) = self.open.pop() {
            let prefix = self.last[..ended.length].to_vec();
            self.note(&prefix, ended.sum, &ended.below);
        }
    }

    fn note(&mut self, prefix: &[u8], sum: Sum, below: &Sum) {
        self.by_bytes.take(prefix, sum, below);
        self.by_versions.take(prefix, sum, below);
        if let Some(above) = self.open.last_mut() {
            above.sum.add(sum);
            above.below.bytes = above.below.bytes.max(sum.bytes);
            above.below.versions = above.below.versions.max(sum.versions);
        }
    }

    /// The end of the keys.
    pub(super) fn finish(mut self) -> Summary {
        while self.open.len() > 1 {
            self.close();
        }
        Summary {
            all: self.open[0].sum,
            by_bytes: self.by_bytes.found,
            by_versions: self.by_versions.found,
        }
    }
}

impl Summary {
    /// The largest, for people: by bytes, by versions.
    pub(super) fn lines(&self) -> (String, String) {
        let list = |found: &[(Vec<u8>, Sum)], size: fn(&Sum) -> String| {
            let lines: Vec<String> = found
                .iter()
                .map(|(prefix, sum)| {
                    let keys = if sum.keys == 1 { "key" } else { "keys" };
                    let prefix = prefix.escape_ascii();
                    format!("{prefix} {} in {} {keys}", size(sum), sum.keys)
                })
                .collect();
            lines.join(", ")
        };
        (
            list(&self.by_bytes, |sum| bytes(sum.bytes)),
            list(&self.by_versions, |sum| {
                format!("{} versions", sum.versions)
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// The dumb twin: every prefix in a map, the rule applied at the end.
    fn twin(keys: &BTreeMap<String, (usize, u64)>, measure: fn(&Sum) -> u64) -> Vec<u64> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        let mut parents: BTreeSet<(String, String)> = BTreeSet::new();
        for (key, (value_bytes, versions)) in keys {
            let mut chain = vec![key.clone()];
            let ends = key.match_indices('/').map(|(at, _)| at + 1);
            let prefixes = ends.filter(|end| *end < key.len()).take(DEPTH_MAX);
            chain.extend(prefixes.map(|end| key[..end].to_owned()));
            chain.sort_by_key(String::len);
            for prefix in &chain {
                // A key that ends with a separator is a thing of its own beside the prefix of that name.
                let name = if prefix == key {
                    format!("{key}\0")
                } else {
                    prefix.clone()
                };
                sums.entry(name).or_default().add(Sum {
                    keys: 1,
                    bytes: (key.len() + value_bytes) as u64,
                    versions: *versions,
                });
            }
            for pair in chain.windows(2) {
                let child = if &pair[1] == key {
                    format!("{key}\0")
                } else {
                    pair[1].clone()
                };
                parents.insert((pair[0].clone(), child));
            }
        }
        let mut sizes: Vec<u64> = sums
            .iter()
            .filter(|(name, sum)| {
                let inside = parents
                    .iter()
                    .filter(|(parent, _)| parent == *name)
                    .map(|(_, child)| measure(&sums[child]))
                    .max()
                    .unwrap_or(0);
                measure(sum) > 0 && inside * 10 <= measure(sum) * 9
            })
            .map(|(_, sum)| measure(sum))
            .collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.truncate(SHOWN);
        sizes
    }

    proptest! {
        #[test]
        fn the_largest_are_those_of_the_dumb_twin(
            keys in prop::collection::btree_map("[ab/]{1,12}", (0_usize..50, 0_u64..9), 0..40)
        ) {
            let mut prefixes = Prefixes::new();
            for (key, (value_bytes, versions)) in &keys {
                prefixes.add(key.as_bytes(), *value_bytes, *versions);
            }
            let summary = prefixes.finish();
            let sizes = |found: &[(Vec<u8>, Sum)], measure: fn(&Sum) -> u64| -> Vec<u64> {
                found.iter().map(|(_, sum)| measure(sum)).collect()
            };
            prop_assert_eq!(summary.all.keys, keys.len() as u64);
            prop_assert_eq!(sizes(&summary.by_bytes, |sum| sum.bytes), twin(&keys, |sum| sum.bytes));
            prop_assert_eq!(sizes(&summary.by_versions, |sum| sum.versions), twin(&keys, |sum| sum.versions));
        }
    }

    #[test]
    fn a_prefix_that_is_all_one_key_is_that_key() {
        let mut prefixes = Prefixes::new();
        prefixes.add(b"/a/b/big", 10_000, 1);
        prefixes.add(b"/c/1", 10, 500);
        prefixes.add(b"/c/2", 10, 500);
        let (by_bytes, by_versions) = prefixes.finish().lines();
        assert!(
            by_bytes.starts_with("/a/b/big 9.8 KiB in 1 key"),
            "{by_bytes}"
        );
        assert!(
            by_versions.starts_with("/c/ 1000 versions in 2 keys"),
            "{by_versions}"
        );
    }
}
