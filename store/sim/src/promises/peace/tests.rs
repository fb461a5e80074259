use super::*;
use crate::promises::example::{expect, member};

#[test]
fn peace_is_told_apart_from_what_is_none() {
    let service = "peace brings service";
    let rows = [
        (
            "no write",
            unserved(Some(2)),
            Some((service, "leader: Some(2)")),
        ),
        (
            "no leader either",
            unserved(None),
            Some((service, "leader: None")),
        ),
        ("a stream", watched(true), None),
        (
            "no stream",
            watched(false),
            Some((service, "without a stream")),
        ),
        ("at the end of the log", agreed(1, Some(9), 9), None),
        (
            "behind",
            agreed(1, Some(8), 9),
            Some(("peace brings agreement", "has applied Some(8) of 9")),
        ),
        (
            "not there",
            agreed(1, None, 9),
            Some(("peace brings agreement", "has applied None of 9")),
        ),
        ("one leader", undisturbed(3, 3), None),
        (
            "another election",
            undisturbed(3, 4),
            Some(("nobody disturbs", "term 3 became 4")),
        ),
    ];
    for (row, check, expected) in rows {
        expect(row, check, expected);
    }
}

#[test]
fn who_was_removed_and_can_know_it_ends() {
    let known = [member(1, false), member(2, true)];
    let promise = "a removed member stops";
    for (row, id, removed, expected) in [
        (
            "a voter somebody knows to be removed",
            1,
            true,
            Some((promise, "member 1")),
        ),
        ("one that nobody knows to be", 1, false, None),
        ("a learner", 2, true, None),
        ("who never was one", 3, true, None),
    ] {
        expect(row, gone(id, &known, removed), expected);
    }
}
