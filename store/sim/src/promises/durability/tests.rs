//! Histories of disks: who must have an entry before it counts, and what a restart must find again.

use std::collections::BTreeMap;

use store_member::record::Vote;

use super::*;
use crate::promises::broken;
use crate::promises::example::{Expected, expect, slot};

/// A disk with entries of these terms from index 1 on.
fn disk(terms: &[u64]) -> Durable {
    Durable {
        terms: (1..).zip(terms.iter().copied()).collect(),
        ..Durable::default()
    }
}

#[test]
fn an_entry_counts_when_a_majority_of_the_voters_has_it_on_disk() {
    struct Row {
        history: &'static str,
        /// Terms on the disks of members 1, 2, …; entry 2 of term 2 is looked at.
        disks: &'static [&'static [u64]],
        voters: &'static [&'static [u64]],
        expected: Expected,
    }
    let rows = [
        Row {
            history: "two of three",
            disks: &[&[1, 2], &[1, 2], &[1]],
            voters: &[&[1, 2, 3]],
            expected: None,
        },
        Row {
            history: "the only one",
            disks: &[&[1, 2]],
            voters: &[&[1]],
            expected: None,
        },
        Row {
            history: "enough for the voters before a change, which may decide yet",
            disks: &[&[1, 2], &[1, 2], &[1], &[1]],
            voters: &[&[1, 2, 3, 4], &[1, 2, 3]],
            expected: None,
        },
        Row {
            history: "one of three",
            disks: &[&[1, 2], &[1], &[1]],
            voters: &[&[1, 2, 3]],
            expected: Some((
                "durability",
                "when members [1] had it on disk, of [[1, 2, 3]]",
            )),
        },
        Row {
            history: "half of four",
            disks: &[&[1, 2], &[1, 2], &[1], &[1]],
            voters: &[&[1, 2, 3, 4]],
            expected: Some(("durability", "members [1, 2] had it")),
        },
        Row {
            history: "another entry in its place",
            disks: &[&[1, 2], &[1, 1], &[1, 3]],
            voters: &[&[1, 2, 3]],
            expected: Some(("durability", "members [1] had it")),
        },
        Row {
            history: "a learner makes no majority",
            disks: &[&[1, 2], &[1], &[1], &[1, 2]],
            voters: &[&[1, 2, 3]],
            expected: Some((
                "durability",
                "members [1, 4] had it on disk, of [[1, 2, 3]]",
            )),
        },
    ];
    for row in rows {
        let disks: Vec<Durable> = row.disks.iter().map(|terms| disk(terms)).collect();
        let voters: Vec<Vec<u64>> = row.voters.iter().map(|ids| ids.to_vec()).collect();
        let entry = slot(2, "x");
        let check = committed(2, &entry, &voters, (1..).zip(&disks));
        expect(row.history, check, row.expected);
    }
}

#[test]
fn a_snapshot_holds_what_it_covers() {
    let mut with = disk(&[1]);
    with.snapshot(5, 3);
    let check = committed(2, &slot(2, "x"), &[vec![1]], [(1, &with)].into_iter());
    expect("under a snapshot", check, None);
    with.push(6, 3);
    let check = committed(6, &slot(2, "x"), &[vec![1]], [(1, &with)].into_iter());
    let expected = Some(("durability", "entry 6 of term 2"));
    expect("above it, of another term", check, expected);
}

#[test]
fn what_was_synced_is_there_after_a_restart() {
    struct Row {
        history: &'static str,
        /// Entries (index, term), vote (term, for whom), snapshot.
        before: (&'static [(u64, u64)], (u64, u64), u64),
        now: (&'static [(u64, u64)], (u64, u64), u64),
        expected: Expected,
    }
    const PROMISE: &str = "what was synced is there after a restart";
    let rows = [
        Row {
            history: "as it was",
            before: (&[(1, 1), (2, 2)], (2, 3), 0),
            now: (&[(1, 1), (2, 2)], (2, 3), 0),
            expected: None,
        },
        Row {
            history: "more than was known to be synced, in a later term",
            before: (&[(1, 1)], (2, 3), 0),
            now: (&[(1, 1), (2, 3)], (3, 0), 0),
            expected: None,
        },
        Row {
            history: "replaced by a later term, and what stood behind it cut",
            before: (&[(1, 1), (2, 2), (3, 2)], (2, 0), 0),
            now: (&[(1, 1), (2, 3)], (3, 0), 0),
            expected: None,
        },
        Row {
            history: "covered by a snapshot",
            before: (&[(1, 1), (2, 2)], (2, 0), 0),
            now: (&[], (2, 0), 2),
            expected: None,
        },
        Row {
            history: "an older snapshot, and the log from the first entry on",
            before: (&[(3, 2)], (2, 0), 2),
            now: (&[(1, 1), (2, 2), (3, 2)], (2, 0), 0),
            expected: None,
        },
        Row {
            history: "the last entry is gone",
            before: (&[(1, 1), (2, 2)], (2, 0), 0),
            now: (&[(1, 1)], (2, 0), 0),
            expected: Some((PROMISE, "durable entry 2 of term 2 became None")),
        },
        Row {
            history: "an entry of an earlier term is in its place",
            before: (&[(1, 1), (2, 2)], (2, 0), 0),
            now: (&[(1, 1), (2, 1)], (2, 0), 0),
            expected: Some((PROMISE, "durable entry 2 of term 2 became Some(1)")),
        },
        Row {
            history: "the vote went to another",
            before: (&[], (2, 3), 0),
            now: (&[], (2, 1), 0),
            expected: Some((PROMISE, "vote for 3 in term 2 became one for 1 in term 2")),
        },
        Row {
            history: "the term went back",
            before: (&[], (2, 0), 0),
            now: (&[], (1, 0), 0),
            expected: Some((PROMISE, "vote for 0 in term 2 became one for 0 in term 1")),
        },
        Row {
            history: "the snapshot went back, and what it covered is nowhere",
            before: (&[], (2, 0), 9),
            now: (&[(5, 1)], (2, 0), 4),
            expected: Some((PROMISE, "durable snapshot at 9 became one at 4")),
        },
    ];
    for row in rows {
        let made = |(entries, (term, voted_for), snapshot): (&[(u64, u64)], (u64, u64), u64)| {
            let terms: BTreeMap<u64, u64> = entries.iter().copied().collect();
            let vote = Vote {
                term,
                voted_for,
                commit: 0,
            };
            Durable {
                terms,
                vote,
                snapshot,
            }
        };
        let check = match lost(&made(row.before), &made(row.now)) {
            None => Ok(()),
            Some(what) => broken(PROMISE, what),
        };
        expect(row.history, check, row.expected);
    }
}
