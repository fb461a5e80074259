//! Histories of logs: what stands at the same index and term is the same, down to the beginning.

use bytes::Bytes;
use store_member::record::EntryKind;

use super::*;
use crate::promises::example::{Expected, expect};

fn entry(index: u64, term: u64, word: &'static str) -> Entry {
    Entry {
        index,
        term,
        kind: EntryKind::Normal,
        body: Bytes::from_static(word.as_bytes()),
    }
}

/// Who takes which entry (index, term, body), behind one of which term.
type Taken = (u64, (u64, u64, &'static str), Option<u64>);

#[test]
fn logs_that_share_an_entry_share_all_before_it() {
    struct Row {
        history: &'static str,
        taken: &'static [Taken],
        expected: Expected,
    }
    let rows = [
        Row {
            history: "the same in both",
            taken: &[
                (1, (2, 1, "a"), Some(1)),
                (2, (2, 1, "a"), Some(1)),
                (2, (3, 1, "b"), Some(1)),
            ],
            expected: None,
        },
        Row {
            history: "entries of two terms at one index",
            taken: &[(1, (2, 1, "a"), Some(1)), (2, (2, 2, "b"), Some(1))],
            expected: None,
        },
        Row {
            history: "another body",
            taken: &[(1, (2, 1, "a"), Some(1)), (2, (2, 1, "b"), Some(1))],
            expected: Some(("log matching", "entry 2 of term 1 of member 2")),
        },
        Row {
            history: "behind an entry of another term",
            taken: &[(1, (3, 2, "a"), Some(1)), (2, (3, 2, "a"), Some(2))],
            expected: Some((
                "log matching",
                "follows term 2 and differs from one that followed term 1",
            )),
        },
        Row {
            history: "behind nothing",
            taken: &[(1, (5, 1, "a"), None)],
            expected: Some(("log matching", "member 1 leaves a gap before entry 5")),
        },
    ];
    for row in rows {
        let mut logs = Logs::default();
        let mut check = Ok(());
        for (member, (index, term, body), before) in row.taken {
            let entry = entry(*index, *term, body);
            check = check.and_then(|()| logs.appended(0, *member, &entry, *before));
        }
        expect(row.history, check, row.expected);
    }
}

#[test]
fn what_nobody_heard_of_may_be_made_anew() {
    let again = |forgotten: bool| {
        let mut logs = Logs::default();
        logs.appended(0, 1, &entry(2, 3, "a"), Some(1))
            .expect("new");
        if forgotten {
            logs.forget(1, |_| false);
        }
        logs.appended(9, 1, &entry(2, 3, "b"), Some(1))
    };
    expect("forgotten with the power", again(true), None);
    expect(
        "not forgotten",
        again(false),
        Some(("log matching", "entry 2")),
    );
}

#[test]
fn an_entry_is_as_old_as_its_first_copy() {
    let mut logs = Logs::default();
    logs.appended(5, 1, &entry(2, 1, "a"), Some(1))
        .expect("new");
    logs.appended(9, 2, &entry(2, 1, "a"), Some(1))
        .expect("the same");
    assert_eq!(logs.since(2, 1), Some(5));
    assert_eq!(logs.since(2, 2), None);
}
