//! Histories of one lease of ten seconds: who is told what, and when it ends.

use super::*;
use crate::promises::example::{Expected, canon, expect, grant};

const EARLY: &str = "a lease never ends early";
const ID: LeaseId = LeaseId(1);

#[test]
fn a_lease_lives_its_time_from_the_last_renewal_on() {
    struct Row {
        history: &'static str,
        /// When the renewals were asked for that were answered, in seconds.
        told: &'static [u64],
        /// When its leader decided that it has ended, in seconds.
        ended: u64,
        /// Clocks are too fast by so many per thousand at most.
        skew: u64,
        expected: Expected,
    }
    let rows = [
        Row {
            history: "after its time",
            told: &[1],
            ended: 11,
            skew: 0,
            expected: None,
        },
        Row {
            history: "renewed once more, and after that",
            told: &[1, 8],
            ended: 18,
            skew: 0,
            expected: None,
        },
        Row {
            history: "answers that overtake each other",
            told: &[8, 1],
            ended: 18,
            skew: 0,
            expected: None,
        },
        Row {
            history: "earlier, by a clock that is too fast",
            told: &[1],
            ended: 10,
            skew: 250,
            expected: None,
        },
        Row {
            history: "its holder was never told of it",
            told: &[],
            ended: 0,
            skew: 0,
            expected: None,
        },
        Row {
            history: "a second too early",
            told: &[1],
            ended: 10,
            skew: 0,
            expected: Some((
                EARLY,
                "kept alive by a request at 1000000 µs, was ended at 10000000 µs",
            )),
        },
        Row {
            history: "as if it had not been renewed",
            told: &[1, 8],
            ended: 12,
            skew: 0,
            expected: Some((EARLY, "kept alive by a request at 8000000 µs")),
        },
        Row {
            history: "earlier than the fastest clock allows",
            told: &[1],
            ended: 8,
            skew: 250,
            expected: Some((EARLY, "1 of 10 s")),
        },
    ];
    for row in rows {
        let mut promises = Promises::default();
        for told in row.told {
            promises.told(ID, 10, told * SECOND);
        }
        let check = promises.ended(row.skew, ID, row.ended * SECOND);
        assert_eq!(promises.expired, 1, "{}", row.history);
        expect(row.history, check, row.expected);
    }
}

#[test]
fn a_holder_is_not_told_that_a_living_lease_is_gone() {
    let living = canon(&[grant(1, 10)]);
    let gone = canon(&[]);
    for (row, canon, granted_at, floor, expected) in [
        ("it is gone", &gone, 2, 5, None),
        ("not yet known to be granted", &living, 6, 5, None),
        (
            "it lives",
            &living,
            2,
            5,
            Some((EARLY, "its holder is told")),
        ),
    ] {
        let mut promises = Promises::default();
        promises.granted(ID, granted_at);
        expect(row, promises.missed(canon, ID, floor), expected);
    }
}

#[test]
fn what_nobody_keeps_alive_ends() {
    let late = "a lease ends late by at most a bound";
    let nobody = |_| false;
    expect("none is left", finished(&canon(&[]), nobody), None);
    let kept = |lease: LeaseId| lease.0 == 1;
    expect("kept alive", finished(&canon(&[grant(1, 10)]), kept), None);
    let check = finished(&canon(&[grant(1, 10)]), nobody);
    expect("one is left", check, Some((late, "1 lives")));
}
