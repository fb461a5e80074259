//! Histories of one process: each request is answered once, and its revision and term only rise.

use store_machine::request::RangeRequest;
use store_member::answer::Consistency;

use super::*;
use crate::history::What;
use crate::model::all;
use crate::promises::example::{Expected, expect, header};

const ONCE: &str = "every request is answered once";
const RISE: &str = "revision and term never go back";

fn asked(history: &mut History) -> OpId {
    let read = What::Range(RangeRequest::latest(all()), Consistency::Linearizable);
    history.ask(0, 0, read)
}

#[test]
fn answers_come_once_and_do_not_go_back() {
    /// Which request, and revision and term of the answer.
    type Answer = (usize, i64, u64);
    let rows: [(&str, &[Answer], Expected); 5] = [
        ("ascending", &[(0, 3, 1), (1, 3, 1), (2, 5, 2)], None),
        ("in any order of asking", &[(2, 3, 1), (0, 3, 1)], None),
        (
            "one twice",
            &[(1, 3, 1), (1, 3, 1)],
            Some((ONCE, "operation 1 is answered again")),
        ),
        (
            "the revision goes back",
            &[(0, 3, 1), (1, 2, 1)],
            Some((RISE, "at (2, 1) after (3, 1)")),
        ),
        (
            "the term goes back",
            &[(0, 3, 2), (1, 4, 1)],
            Some((RISE, "at (4, 1) after (3, 2)")),
        ),
    ];
    for (row, answers, expected) in rows {
        let mut history = History::default();
        let ids: Vec<OpId> = (0..3).map(|_| asked(&mut history)).collect();
        let mut told = (0, 0);
        let mut check = Ok(());
        for (number, revision, term) in answers {
            let op = &mut history.ops[*number];
            let header = header(*revision, *term);
            check = check.and_then(|()| answered(op, ids[*number], &mut told, &header));
        }
        expect(row, check, expected);
    }
}

#[test]
fn nobody_is_left_waiting() {
    let waits = Some((ONCE, "operation 0, asked at 0 µs, was never answered"));
    for (row, asked_of, answered, expected) in [
        ("answered", Some((0, 1)), true, None),
        ("never arrived", None, false, None),
        ("its process is gone", Some((0, 7)), false, None),
        ("its process is there", Some((0, 1)), false, waits),
    ] {
        let mut history = History::default();
        let id = asked(&mut history);
        history.ops[id.0].asked_of = asked_of;
        history.ops[id.0].answered = answered;
        let there = |host: usize, life: u64| (host, life) == (0, 1);
        expect(row, finished(&history, there), expected);
    }
}
