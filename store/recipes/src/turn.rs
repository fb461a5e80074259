//! Whose turn it is among those that stand in line: each has a key below one prefix, under a lease of its own, and the
//! store's order of their creation is the line. So etcd's `lock` and `elect` do it, and all may stand in one line.

/// Where one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn<'a> {
    /// At the head: nobody came earlier.
    Mine,
    /// Behind this one, the last that came earlier. Waiting for it alone wakes one at a time.
    Behind(&'a [u8]),
    /// No longer in line: the key is gone, or somebody else's.
    Gone,
}

/// Where the one with the key `mine`, created at `created`, stands among all keys with their create revisions, which may
/// come in any order.
#[must_use]
pub fn turn<'a>(
    mine: &[u8],
    created: i64,
    line: impl IntoIterator<Item = (&'a [u8], i64)>,
) -> Turn<'a> {
    let mut standing = false;
    let mut before: Option<(i64, &[u8])> = None;
    for (key, at) in line {
        if key == mine {
            standing = at == created;
        } else if at < created && before.is_none_or(|last| last < (at, key)) {
            before = Some((at, key));
        }
    }
    match before {
        _ if !standing => Turn::Gone,
        None => Turn::Mine,
        Some((_, key)) => Turn::Behind(key),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_earliest_goes_first() {
        let line: [(&[u8], i64); 3] = [(b"l/9", 5), (b"l/1", 7), (b"l/5", 6)];
        for (mine, created, wanted) in [
            (&b"l/9"[..], 5, Turn::Mine),
            (b"l/5", 6, Turn::Behind(b"l/9")),
            (b"l/1", 7, Turn::Behind(b"l/5")),
            (b"l/1", 4, Turn::Gone),
            (b"l/2", 8, Turn::Gone),
        ] {
            assert_eq!(turn(mine, created, line), wanted);
        }
    }

    proptest! {
        /// Sorted and looked up; and exactly one has its turn.
        #[test]
        fn as_a_sorted_line(line in proptest::collection::btree_map("[a-z]{1,4}", 1_i64..100_000, 1..20)) {
            let mut sorted: Vec<(i64, &[u8])> = line.iter().map(|(key, at)| (*at, key.as_bytes())).collect();
            sorted.sort_unstable();
            sorted.dedup_by_key(|(at, _)| *at);
            let standing: Vec<(&[u8], i64)> = sorted.iter().rev().map(|(at, key)| (*key, *at)).collect();
            for (place, (at, key)) in sorted.iter().enumerate() {
                let wanted = match place.checked_sub(1) {
                    None => Turn::Mine,
                    Some(before) => Turn::Behind(sorted[before].1),
                };
                prop_assert_eq!(turn(key, *at, standing.iter().copied()), wanted);
            }
        }
    }
}
