//! Every request is answered exactly once, unless its member is gone before (`store_member::input::Token`),
//! and what a member says of itself does not go back: the revision and the term in its headers.

use store_member::answer::Header;

use crate::history::{History, Op, OpId};
use crate::host::{Host, Life};
use crate::promises::{Check, broken};

/// A member answers a request.
pub(crate) fn answered(op: &mut Op, id: OpId, life: &mut Life, header: &Header) -> Check {
    if std::mem::replace(&mut op.answered, true) {
        return broken(
            "every request is answered once",
            format!("operation {} is answered again: {:?}", id.0, op.what),
        );
    }
    let told = (header.revision.0, header.term);
    if told.0 < life.told.0 || told.1 < life.told.1 {
        return broken(
            "revision and term never go back",
            format!(
                "operation {} is answered at {told:?} after {:?}",
                id.0, life.told
            ),
        );
    }
    life.told = told;
    Ok(())
}

/// All is quiet for longer than a member's patience: nobody waits any more.
pub(crate) fn finished(history: &History, hosts: &[Host]) -> Check {
    let waits = history.ops.iter().enumerate().find(|(_, op)| {
        let up =
            |(place, life): (usize, u64)| hosts[place].up.is_some() && hosts[place].life == life;
        !op.answered && op.asked_of.is_some_and(up)
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
