//! Peace brings service and agreement (liveness: Raft paper, section 5.6 "timing and availability"; thesis, 4.2.3
//! on servers that disturb; etcd's documentation on failures: "once the network partition clears, the minority side
//! automatically recognizes the leader and recovers its state"). When faults have ended and a bound has passed,
//! writes are served, all members are at the same entry, nobody takes the lead from who has it, and who was
//! removed and could know it has ended.
//!
//! When the world looks at it is in `world/peace.rs`.

use store_machine::MemberRecord;

use crate::promises::{Check, broken};

/// No write was served within the bound.
pub(crate) fn unserved(leader: Option<usize>) -> Check {
    broken(
        "peace brings service",
        format!("no write has succeeded since the faults ended; leader: {leader:?}"),
    )
}

/// A watcher has a stream, and its watch has been created.
pub(crate) fn watched(there: bool) -> Check {
    if there {
        return Ok(());
    }
    broken(
        "peace brings service",
        String::from("a watcher is without a stream"),
    )
}

/// What a member has applied of the log; `None` where no process runs.
pub(crate) fn agreed(member: u64, applied: Option<u64>, last: u64) -> Check {
    if applied == Some(last) {
        return Ok(());
    }
    broken(
        "peace brings agreement",
        format!("member {member} has applied {applied:?} of {last}"),
    )
}

/// The highest term of any member, at the beginning of the quiet and at its end.
pub(crate) fn undisturbed(before: u64, now: u64) -> Check {
    if before == now {
        return Ok(());
    }
    broken(
        "nobody disturbs",
        format!("in peace term {before} became {now}"),
    )
}

/// A process of no member runs, and knows these; `removed`: one of them knows that it was removed. Who only
/// learns is told when it asks.
pub(crate) fn gone(member: u64, known: &[MemberRecord], removed: bool) -> Check {
    let votes = known.iter().any(|it| it.id == member && !it.learner);
    if !votes || !removed {
        return Ok(());
    }
    broken(
        "a removed member stops",
        format!("member {member} was removed and runs on"),
    )
}

#[cfg(test)]
mod tests;
