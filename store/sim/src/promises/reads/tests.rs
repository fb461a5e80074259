//! Histories of one read of a store with three writes: which revision it shows, and all of that.

use bytes::Bytes;
use store_machine::reply::RangeReply;
use store_machine::request::{Compare, CompareTarget, KeyRange, Relation, TxnOp, TxnRequest};
use store_machine::revision::Revision;

use super::*;
use crate::history::History;
use crate::model::all;
use crate::promises::example::{Expected, canon, delete, expect, header, put};

const FRESH: &str = "linearizable reads";
const WHOLE: &str = "reads follow the log";
const SEEN: Seen = Seen {
    compacted_before: 0,
    compacted_after: 0,
};

/// Revision 2 writes `a`, 3 writes `b`, 4 deletes `a`.
fn store() -> Canon {
    canon(&[put("a", "1"), put("b", "2"), delete("a")])
}

fn answer_to(
    what: What,
    floor: i64,
    revision: i64,
    outcome: &Result<Body, Failure>,
    seen: Seen,
) -> Check {
    let mut history = History::default();
    history.see(floor);
    let id = history.ask(0, 0, what);
    answered(
        &store(),
        &history.ops[id.0],
        id,
        &header(revision, 1),
        outcome,
        seen,
    )
}

/// What the store holds at a revision.
fn shown(at: i64) -> Result<Body, Failure> {
    let kvs = store().model.everything(at);
    Ok(Body::Range(RangeReply {
        count: kvs.len() as u64,
        kvs,
        more: false,
    }))
}

#[test]
fn a_read_shows_one_revision_and_not_an_old_one() {
    struct Row {
        history: &'static str,
        consistency: Consistency,
        /// The client knew of revision 3.
        revision: i64,
        outcome: Result<Body, Failure>,
        expected: Expected,
    }
    use Consistency::{Linearizable, Serializable};
    let rows = [
        Row {
            history: "at what was known",
            consistency: Linearizable,
            revision: 3,
            outcome: shown(3),
            expected: None,
        },
        Row {
            history: "at something newer",
            consistency: Linearizable,
            revision: 4,
            outcome: shown(4),
            expected: None,
        },
        Row {
            history: "an old state for who does not mind",
            consistency: Serializable,
            revision: 2,
            outcome: shown(2),
            expected: None,
        },
        Row {
            history: "no answer",
            consistency: Linearizable,
            revision: 2,
            outcome: Err(Failure::TimedOut),
            expected: None,
        },
        Row {
            history: "an old state",
            consistency: Linearizable,
            revision: 2,
            outcome: shown(2),
            expected: Some((FRESH, "answered at revision 2, but 3 was known")),
        },
        Row {
            history: "an old state under a new revision",
            consistency: Linearizable,
            revision: 4,
            outcome: shown(3),
            expected: Some((WHOLE, "at 4 shows")),
        },
        Row {
            history: "half of a state, even for who does not mind",
            consistency: Serializable,
            revision: 3,
            outcome: shown(2),
            expected: Some((WHOLE, "at 3 shows")),
        },
        Row {
            history: "a refusal nothing explains",
            consistency: Linearizable,
            revision: 4,
            outcome: Err(Failure::Refused(Refusal::Compacted)),
            expected: Some((WHOLE, "Compacted")),
        },
        Row {
            history: "an answer to something else",
            consistency: Linearizable,
            revision: 4,
            outcome: Ok(Body::KeepAlive(3)),
            expected: Some((WHOLE, "KeepAlive(3)")),
        },
    ];
    for row in rows {
        let what = What::Range(RangeRequest::latest(all()), row.consistency);
        let check = answer_to(what, 3, row.revision, &row.outcome, SEEN);
        expect(row.history, check, row.expected);
    }
}

#[test]
fn a_compaction_in_the_same_turn_may_come_before_the_read_or_after() {
    let mut range = RangeRequest::latest(all());
    range.revision = Revision(2);
    let what = || What::Range(range.clone(), Consistency::Linearizable);
    let refused = Err(Failure::Refused(Refusal::Compacted));
    let expected = Some((WHOLE, "Compacted"));
    for (row, outcome, before, after, expected) in [
        ("before it", shown(2), 0, 3, None),
        ("after it", refused.clone(), 0, 3, None),
        ("long before", refused.clone(), 3, 3, None),
        ("never", refused, 0, 0, expected),
        (
            "refused to others",
            shown(2),
            3,
            3,
            Some((WHOLE, "the model Err")),
        ),
    ] {
        let seen = Seen {
            compacted_before: before,
            compacted_after: after,
        };
        expect(row, answer_to(what(), 3, 4, &outcome, seen), expected);
    }
}

#[test]
fn a_transaction_that_reads_shows_one_revision_too() {
    let key = || KeyRange::single(Bytes::from_static(b"a"));
    let txn = TxnRequest {
        compare: vec![Compare {
            keys: key(),
            relation: Relation::Equal,
            target: CompareTarget::Version(1),
        }],
        success: vec![TxnOp::Range(RangeRequest::latest(all()))],
        failure: Vec::new(),
    };
    let model = store().model;
    let at = |revision| Ok(Body::Txn(model.read_txn(&txn, revision)));
    let what = || What::Txn(txn.clone(), Consistency::Linearizable);
    for (row, outcome, expected) in [
        ("at its revision", at(4), None),
        ("another branch", at(3), Some((WHOLE, "at 4 shows"))),
    ] {
        expect(row, answer_to(what(), 3, 4, &outcome, SEEN), expected);
    }
}
