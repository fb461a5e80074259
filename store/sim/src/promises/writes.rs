//! Acknowledged writes are kept, happen once, in real-time order, and are answered as the log has
//! them; an outcome that is not known is reported as not known, never as "absent" (etcd API
//! guarantees: atomicity, durability, strict serializability; Raft paper, section 8).
//!
//! Since every write has its place in the log, linearizability of writes is a comparison of places: a
//! write asked after another was known to be done must stand behind it.

use store_machine::error::Refusal;
use store_machine::reply::Reply;
use store_member::answer::{Body, Failure, Header};

use crate::history::{History, Op, OpId, Place, State};
use crate::promises::{Check, broken};

/// A write has come to its place in the log.
pub(crate) fn placed(history: &mut History, id: OpId, place: Place) -> Check {
    let op = &mut history.ops[id.0];
    if let Some(before) = &op.place {
        return broken(
            "a write happens once",
            format!(
                "operation {} was applied at entries {} and {}: {:?}",
                id.0, before.index, place.index, op.what
            ),
        );
    }
    if op.state == State::Absent {
        return broken(
            "unknown is not absent",
            format!(
                "operation {} was answered as not proposed and applied at entry {}: {:?}",
                id.0, place.index, op.what
            ),
        );
    }
    if place.index <= op.floor_index {
        return broken(
            "real-time order",
            format!(
                "operation {} stands at entry {}, but {} was known to be done when it was asked",
                id.0, place.index, op.floor_index
            ),
        );
    }
    op.place = Some(place);
    Ok(())
}

/// A member answers a write.
pub(crate) fn answered(
    op: &mut Op,
    id: OpId,
    header: &Header,
    outcome: &Result<Body, Failure>,
) -> Check {
    let found: Result<&Reply, Refusal> = match outcome {
        Ok(Body::Applied(reply)) => Ok(reply),
        Err(Failure::Refused(refusal)) => Err(*refusal),
        Err(Failure::NoLeader | Failure::TooManyRequests | Failure::Forbidden(_)) => {
            if let Some(place) = &op.place {
                return broken(
                    "unknown is not absent",
                    format!(
                        "operation {} at entry {} is answered with {outcome:?}: {:?}",
                        id.0, place.index, op.what
                    ),
                );
            }
            op.state = State::Absent;
            return Ok(());
        }
        Err(Failure::LeaderChanged | Failure::TimedOut | Failure::Stopped) => return Ok(()),
        Ok(other) => {
            return broken(
                "acknowledged writes are kept",
                format!("operation {} is answered with {other:?}", id.0),
            );
        }
    };
    op.state = if found.is_ok() {
        State::Done
    } else {
        State::Refused
    };
    let Some(place) = &op.place else {
        // A full disk refuses before it proposes.
        if found == Err(Refusal::NoSpace) {
            op.state = State::Absent;
            return Ok(());
        }
        return broken(
            "acknowledged writes are kept",
            format!(
                "operation {} is answered and nobody has applied it: {:?}",
                id.0, op.what
            ),
        );
    };
    if found != place.reply.as_ref().map_err(|refusal| *refusal) {
        return broken(
            "answers follow the log",
            format!(
                "operation {} at entry {} is answered with {found:?}, the model says {:?}",
                id.0, place.index, place.reply
            ),
        );
    }
    if header.revision.0 != place.revision {
        return broken(
            "answers follow the log",
            format!(
                "operation {} is answered at revision {} and stands at {}",
                id.0, header.revision, place.revision
            ),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
