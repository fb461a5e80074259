//! Every request is answered exactly once, unless its member is gone before (`store_member::input::Token`),
//! and what a member says of itself does not go back: the revision and the term in its headers.

use store_member::answer::Header;

use crate::history::{History, Op, OpId};
use crate::promises::{Check, broken};

/// A member answers a request; `told_before` are the revision and the term of its answer before.
pub(crate) fn answered(
    op: &mut Op,
    id: OpId,
    told_before: &mut (i64, u64),
    header: &Header,
) -> Check {
    if std::mem::replace(&mut op.answered, true) {
        return broken(
            "every request is answered once",
            format!("operation {} is answered again: {:?}", id.0, op.what),
        );
    }
    let told = (header.revision.0, header.term);
    if told.0 < told_before.0 || told.1 < told_before.1 {
        return broken(
            "revision and term never go back",
            format!(
                "operation {} is answered at {told:?} after {told_before:?}",
                id.0
            ),
        );
    }
    *told_before = told;
    Ok(())
}

/// All is quiet for longer than a member's patience: nobody waits any more who asked a process that is
/// still there.
pub(crate) fn finished(history: &History, there: impl Fn(usize, u64) -> bool) -> Check {
    let waits =
        history.ops.iter().enumerate().find(|(_, op)| {
            !op.answered && op.asked_of.is_some_and(|(host, life)| there(host, life))
        });
    match waits {
        None => Ok(()),
        Some((id, op)) => broken(
            "every request is answered once",
            format!(
                "operation {id}, asked at {} µs, was never answered: {:?}",
                op.asked, op.what
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
