//! Histories of reigns: at most one leader in a term, each with every committed entry.

use super::*;
use crate::promises::example::{Expected, canon, expect, log, put};

/// Who leads with which log, one after the other; entries 2 and 3 were committed in term 1.
struct Row {
    history: &'static str,
    /// Term, member and life, terms of its log.
    reigns: &'static [(u64, (u64, u64), &'static [u64])],
    expected: Expected,
}

#[test]
fn one_leader_in_a_term_who_has_what_is_committed() {
    let rows = [
        Row {
            history: "one after the other",
            reigns: &[
                (1, (1, 1), &[1, 1, 1]),
                (2, (2, 1), &[1, 1, 1]),
                (4, (1, 2), &[1, 1, 1, 2]),
            ],
            expected: None,
        },
        Row {
            history: "the same says it again",
            reigns: &[(2, (2, 1), &[1, 1, 1]), (2, (2, 1), &[1, 1, 1])],
            expected: None,
        },
        Row {
            history: "who won before it was committed learns of it late",
            reigns: &[(1, (3, 1), &[1])],
            expected: None,
        },
        Row {
            history: "two in one term",
            reigns: &[(2, (2, 1), &[1, 1, 1]), (2, (3, 1), &[1, 1, 1])],
            expected: Some(("election safety", "member 3 (life 1) and (2, 1) both led")),
        },
        Row {
            history: "a former life in the same term",
            reigns: &[(2, (2, 1), &[1, 1, 1]), (2, (2, 2), &[1, 1, 1])],
            expected: Some(("election safety", "member 2 (life 2)")),
        },
        Row {
            history: "a committed entry is missing",
            reigns: &[(2, (2, 1), &[1, 1])],
            expected: Some((
                "leader completeness",
                "without entry 3 of term 1: it has None",
            )),
        },
        Row {
            history: "another entry is in its place",
            reigns: &[(3, (2, 1), &[1, 1, 2])],
            expected: Some(("leader completeness", "it has Some(2)")),
        },
    ];
    for row in rows {
        let canon = canon(&[put("a", "1"), put("b", "2")]);
        let mut elections = Elections::default();
        let mut check = Ok(());
        for (term, who, terms) in row.reigns {
            check = check.and_then(|()| elections.leads(*term, *who, &log(terms), &canon));
        }
        expect(row.history, check, row.expected);
    }
}

#[test]
fn a_snapshot_stands_for_what_it_covers() {
    let canon = canon(&[put("a", "1"), put("b", "2")]);
    let mut log = Shadow::default();
    log.restart(9, 1);
    let check = Elections::default().leads(2, (1, 1), &log, &canon);
    expect("a snapshot above all that is committed", check, None);
}

#[test]
fn nothing_is_said_in_a_term_that_is_not_on_disk() {
    let promise = "nothing is said before it is on disk";
    for (term, durable, expected) in [
        (3, 3, None),
        (2, 3, None),
        (
            4,
            3,
            Some((promise, "member 1 speaks in term 4 and has 3 on disk")),
        ),
    ] {
        expect("a word", said(1, term, durable), expected);
    }
}
