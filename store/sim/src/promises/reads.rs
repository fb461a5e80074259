//! Reads are linearizable: each shows the store at one revision of the log order, whole, and not an
//! older one than any client had been told of when the read was asked (etcd API guarantees, "strict
//! serializability"; Raft thesis, section 6.4). Serializable reads show one revision, whole.
//!
//! This is a complete check, not a search: a revision names its state, so that the only question left
//! is whether it was too old.

use store_machine::error::Refusal;
use store_machine::request::RangeRequest;
use store_member::answer::{Body, Consistency, Failure, Header};

use crate::history::{Op, OpId, What};
use crate::promises::{Canon, Check, broken};

/// What is known about the turn a read was answered in: the member's compaction before and after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) compacted_before: i64,
    pub(crate) compacted_after: i64,
}

/// A member answers a read.
pub(crate) fn answered(
    canon: &Canon,
    op: &Op,
    id: OpId,
    header: &Header,
    outcome: &Result<Body, Failure>,
    seen: Seen,
) -> Check {
    let consistency = match &op.what {
        What::Range(_, consistency) | What::Txn(_, consistency) => *consistency,
        _ => return Ok(()),
    };
    let revision = header.revision.0;
    let answered = matches!(outcome, Ok(_) | Err(Failure::Refused(_)));
    if answered && consistency == Consistency::Linearizable && revision < op.floor {
        return broken(
            "linearizable reads",
            format!(
                "read {} is answered at revision {revision}, but {} was known when it was asked",
                id.0, op.floor
            ),
        );
    }
    match (&op.what, outcome) {
        (What::Range(range, _), Ok(Body::Range(_)) | Err(Failure::Refused(_))) => {
            range_answered(canon, range, id, revision, outcome, seen)
        }
        (What::Txn(txn, _), Ok(Body::Txn(reply))) => {
            let expected = canon.model.read_txn(txn, revision);
            if *reply == expected {
                return Ok(());
            }
            broken(
                "reads follow the log",
                format!(
                    "read {} at {revision} shows {reply:?}, the model {expected:?}",
                    id.0
                ),
            )
        }
        (_, Err(Failure::Refused(refusal))) => broken(
            "reads follow the log",
            format!("read {} is refused: {refusal}", id.0),
        ),
        (_, Ok(other)) => broken(
            "reads follow the log",
            format!("read {} is answered with {other:?}", id.0),
        ),
        (_, Err(_)) => Ok(()),
    }
}

fn range_answered(
    canon: &Canon,
    range: &RangeRequest,
    id: OpId,
    revision: i64,
    outcome: &Result<Body, Failure>,
    seen: Seen,
) -> Check {
    let expect = |compacted| match canon.model.range(range, revision, compacted) {
        Ok(reply) => Ok(Body::Range(reply)),
        Err(refusal) => Err(Failure::Refused(refusal)),
    };
    let refused = Err(Failure::Refused(Refusal::Compacted));
    // A compaction may have come before or after the read within the turn.
    let before = expect(seen.compacted_before);
    if *outcome == before || (*outcome == refused && expect(seen.compacted_after) == refused) {
        return Ok(());
    }
    broken(
        "reads follow the log",
        format!(
            "read {} of {range:?} at {revision} shows {outcome:?}, the model {before:?}",
            id.0
        ),
    )
}

#[cfg(test)]
mod tests;
