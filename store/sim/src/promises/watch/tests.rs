//! Histories of one watcher of a store whose revisions 2 to 5 are: `a` put, `b` and `c` put, `a` deleted, `d` put.

use std::sync::Arc;

use bytes::Bytes;
use store_machine::command::Command;
use store_machine::request::{PutRequest, RangeEnd, TxnOp, TxnRequest};
use store_machine::revision::LeaseId;
use store_watch::batch::WatchId;

use super::*;
use crate::model::all;
use crate::promises::example::{Expected, canon, compact, delete, expect, put};

fn store(compacted: i64) -> Canon {
    let two = |key: &'static str| {
        TxnOp::Put(PutRequest {
            key: Bytes::from_static(key.as_bytes()),
            value: Bytes::new(),
            lease: LeaseId(0),
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        })
    };
    let both = Command::Txn(TxnRequest {
        compare: Vec::new(),
        success: vec![two("b"), two("c")],
        failure: Vec::new(),
    });
    let mut log = vec![put("a", "1"), both, delete("a"), put("d", "4")];
    if compacted > 0 {
        log.push(compact(compacted));
    }
    canon(&log)
}

fn watcher(keys: KeyRange) -> Shown {
    Shown::new(WatchSpec {
        keys,
        start: Revision(0),
        id: WatchId(0),
        no_put: false,
        no_delete: false,
        prev_kv: false,
        progress_notify: false,
        fragment: false,
    })
}

/// What arrives.
#[derive(Clone, Copy)]
enum Step {
    Created(i64),
    /// The events named by revision and place in it.
    Events(&'static [(i64, usize)]),
    /// As those, under this revision in the header.
    Headed(&'static [(i64, usize)], i64),
    /// An event the log does not have.
    Made,
    Progress(i64),
    Compacted(i64),
    /// All is quiet.
    Finished,
}

fn take(shown: &mut Shown, canon: &Canon, step: Step) -> Check {
    let id = WatchId(0);
    let events = |names: &[(i64, usize)], revision: i64| {
        let named = names
            .iter()
            .map(|(at, place)| &canon.model.events(*at)[*place]);
        Batch::Events {
            id,
            revision: Revision(revision),
            events: named
                .map(|event| Arc::new(SharedEvent::new(event.clone())))
                .collect(),
            prev_kv: false,
            fragment: false,
        }
    };
    let batch = match step {
        Step::Created(at) => Batch::Created {
            id,
            revision: Revision(at),
        },
        Step::Events(names) => events(names, 5),
        Step::Headed(names, revision) => events(names, revision),
        Step::Made => {
            let mut event = canon.model.events(2)[0].clone();
            event.kv.value = Bytes::from_static(b"never written");
            Batch::Events {
                id,
                revision: Revision(5),
                events: vec![Arc::new(SharedEvent::new(event))],
                prev_kv: false,
                fragment: false,
            }
        }
        Step::Progress(at) => Batch::Progress {
            id,
            revision: Revision(at),
        },
        Step::Compacted(at) => Batch::Compacted {
            id,
            compacted: Revision(at),
        },
        Step::Finished => return shown.finished(canon),
    };
    shown.take(canon, &batch)
}

#[test]
fn a_watcher_is_shown_everything_once_in_order_and_whole() {
    use Step::{Created, Events, Finished, Headed, Made, Progress};
    let rows: Vec<(&str, Vec<Step>, Expected)> = vec![
        (
            "revision by revision",
            vec![
                Created(1),
                Events(&[(2, 0)]),
                Events(&[(3, 0), (3, 1)]),
                Events(&[(4, 0), (5, 0)]),
                Finished,
            ],
            None,
        ),
        (
            "from later on",
            vec![
                Created(3),
                Progress(3),
                Events(&[(4, 0)]),
                Progress(4),
                Events(&[(5, 0)]),
                Finished,
            ],
            None,
        ),
        (
            "created anew where it was",
            vec![
                Created(1),
                Events(&[(2, 0)]),
                Created(4),
                Events(&[(3, 0), (3, 1), (4, 0), (5, 0)]),
            ],
            None,
        ),
        (
            "a later one first",
            vec![Created(1), Events(&[(3, 0), (3, 1), (2, 0)])],
            Some(("watch is ordered", "revision 2 after a later one")),
        ),
        (
            "before it was made",
            vec![Created(1), Headed(&[(2, 0), (3, 0), (3, 1)], 2)],
            Some(("watch is ordered", "revision 3 before it was made")),
        ),
        (
            "twice",
            vec![Created(1), Events(&[(2, 0)]), Events(&[(2, 0)])],
            Some(("watch is unique", "revision 2 again")),
        ),
        (
            "one from before it began",
            vec![Created(3), Events(&[(2, 0)])],
            Some(("watch is unique", "revision 2 again")),
        ),
        (
            "one left out",
            vec![Created(1), Events(&[(3, 0), (3, 1)])],
            Some(("watch is reliable", "revision 2 not as the log has it")),
        ),
        (
            "the delete left out",
            vec![Created(2), Events(&[(3, 0), (3, 1)]), Events(&[(5, 0)])],
            Some(("watch is reliable", "revision 4 not as the log has it")),
        ),
        (
            "the last never shown",
            vec![
                Created(1),
                Events(&[(2, 0), (3, 0), (3, 1), (4, 0)]),
                Finished,
            ],
            Some(("watch is reliable", "revision 5 never shown")),
        ),
        (
            "half of a revision",
            vec![Created(2), Events(&[(3, 0)])],
            Some(("watch is atomic", "revision 3")),
        ),
        (
            "another value",
            vec![Created(1), Made],
            Some(("watch is atomic", "revision 2 not as the log has it")),
        ),
        (
            "progress before the event",
            vec![Created(1), Progress(2)],
            Some((
                "watch is bookmarkable",
                "revision 2 left out by progress above it",
            )),
        ),
        (
            "progress into the future",
            vec![Created(5), Progress(6)],
            Some(("watch is bookmarkable", "revision 6 ahead of the store")),
        ),
    ];
    for (row, steps, expected) in rows {
        let canon = store(0);
        let mut shown = watcher(all());
        let mut check = Ok(());
        for step in steps {
            check = check.and_then(|()| take(&mut shown, &canon, step));
        }
        expect(row, check, expected);
    }
}

#[test]
fn who_is_told_that_history_is_gone_had_to_be() {
    use Step::{Compacted, Created, Events, Finished};
    let resumable = "watch is resumable";
    let rows: Vec<(&str, i64, Vec<Step>, Expected)> = vec![
        (
            "it is",
            4,
            vec![
                Created(1),
                Compacted(4),
                Events(&[(4, 0), (5, 0)]),
                Finished,
            ],
            None,
        ),
        (
            "it is not",
            0,
            vec![Created(1), Compacted(4)],
            Some((resumable, "revision 4 refused as compacted")),
        ),
        (
            "the watcher was exactly there",
            4,
            vec![Created(3), Compacted(4)],
            Some((resumable, "the watcher of")),
        ),
        (
            "it had seen more",
            2,
            vec![Created(1), Events(&[(2, 0), (3, 0), (3, 1)]), Compacted(2)],
            Some((resumable, "is at Some(4)")),
        ),
    ];
    for (row, compacted, steps, expected) in rows {
        let canon = store(compacted);
        let mut shown = watcher(all());
        let mut check = Ok(());
        for step in steps {
            check = check.and_then(|()| take(&mut shown, &canon, step));
        }
        expect(row, check, expected);
    }
}

#[test]
fn a_watcher_is_shown_what_it_asked_for_and_nothing_else() {
    use Step::{Created, Events, Finished};
    let canon = store(0);
    let only_b = || KeyRange {
        start: Bytes::from_static(b"b"),
        end: RangeEnd::Before(Bytes::from_static(b"c")),
    };
    let run = |shown: &mut Shown, steps: &[Step]| {
        let mut steps = steps.iter();
        steps.try_for_each(|step| take(shown, &canon, *step))
    };
    let mut shown = watcher(only_b());
    let check = run(&mut shown, &[Created(1), Events(&[(3, 0)]), Finished]);
    expect("its keys", check, None);
    let mut shown = watcher(only_b());
    let check = run(&mut shown, &[Created(1), Events(&[(3, 0), (3, 1)])]);
    let expected = Some(("watch is atomic", "revision 3"));
    expect("others' keys", check, expected);
    let mut shown = watcher(all());
    shown.spec.no_put = true;
    let check = run(&mut shown, &[Created(1), Events(&[(4, 0)]), Finished]);
    expect("deletes only", check, None);
    let mut shown = watcher(all());
    shown.spec.no_delete = true;
    let check = run(&mut shown, &[Created(3), Events(&[(4, 0)])]);
    expect(
        "a delete for who wants none",
        check,
        Some(("watch is atomic", "revision 4")),
    );
}
