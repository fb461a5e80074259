//! An entry is applied only when a majority holds it for certain (Raft paper, section 5.3, and figure
//! 2: persistent state is updated on stable storage before responding): a majority of the voters, as the log
//! has them there; who learns does not count. That what was durable is there after a restart is looked at
//! where the restart is (`host/open.rs`).

use crate::host::{Host, Slot};
use crate::promises::{Check, broken};

/// The entry at `index` has been applied somewhere for the first time; one of these voter sets has decided.
pub(crate) fn committed(index: u64, slot: &Slot, deciders: &[Vec<u64>], hosts: &[Host]) -> Check {
    let holders = hosts
        .iter()
        .filter(|host| host.durable.has(index, slot.term));
    let holders: Vec<u64> = holders.map(|host| host.id).collect();
    let decides = |voters: &Vec<u64>| {
        let count = voters.iter().filter(|id| holders.contains(id)).count();
        count * 2 > voters.len()
    };
    if deciders.iter().any(decides) {
        return Ok(());
    }
    broken(
        "durability",
        format!(
            "entry {index} of term {} was applied when members {holders:?} had it on disk, of {deciders:?}",
            slot.term
        ),
    )
}
