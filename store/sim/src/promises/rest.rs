//! A member sleeps when it has nothing to do (`Member::next_deadline`): its driver would otherwise take a
//! whole core for nothing.

use crate::promises::{Check, broken};

/// Turns without facts and without orders in a row. Work in slices (scrubbing, catching up watchers)
/// takes some, but ends.
const IDLE_TURNS_MAX: u64 = 2_000;

/// A member has had a turn.
pub(crate) fn turned(member: u64, idle_turns: u64) -> Check {
    if idle_turns <= IDLE_TURNS_MAX {
        return Ok(());
    }
    broken(
        "a member sleeps when it has nothing to do",
        format!("member {member} has asked for {idle_turns} turns in a row for nothing"),
    )
}

#[cfg(test)]
mod tests;
