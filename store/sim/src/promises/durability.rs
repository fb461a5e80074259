//! An entry is applied only when a majority holds it for certain (Raft paper, section 5.3, and figure
//! 2: persistent state is updated on stable storage before responding): a majority of the voters, as the log
//! has them there; who learns does not count. What was durable is there after a restart, the vote included
//! (figure 2: `currentTerm`, `votedFor` and `log[]` are persistent).

use crate::host::{Durable, Slot};
use crate::promises::{Check, broken};

/// The entry at `index` has been applied somewhere for the first time; one of these voter sets has decided,
/// and this is what each member has on disk.
pub(crate) fn committed<'a>(
    index: u64,
    slot: &Slot,
    deciders: &[Vec<u64>],
    disks: impl Iterator<Item = (u64, &'a Durable)>,
) -> Check {
    let holders = disks.filter(|(_, durable)| durable.has(index, slot.term));
    let holders: Vec<u64> = holders.map(|(id, _)| id).collect();
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

/// What was durable before a restart and is not there any more, in words. An entry may have been replaced by one
/// of a later term: an append that was written, not synced, and survived.
pub(crate) fn lost(before: &Durable, now: &Durable) -> Option<String> {
    let (old, new) = (before.vote, now.vote);
    let changed = old.voted_for != 0 && new.voted_for != old.voted_for;
    if new.term < old.term || (new.term == old.term && changed) {
        return Some(format!(
            "the durable vote for {} in term {} became one for {} in term {}",
            old.voted_for, old.term, new.voted_for, new.term
        ));
    }
    if now.snapshot < before.snapshot && now.terms.first_key_value().is_none_or(|f| *f.0 != 1) {
        return Some(format!(
            "the durable snapshot at {} became one at {}",
            before.snapshot, now.snapshot
        ));
    }
    let mut replaced = 0;
    for (index, term) in before.terms.range(now.snapshot + 1..) {
        match now.terms.get(index) {
            Some(found) if found == term => {}
            Some(found) if found > term => replaced = *found,
            // Cut by what replaced an entry before it.
            None if replaced > 0 => {}
            found => {
                return Some(format!(
                    "the durable entry {index} of term {term} became {found:?}"
                ));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
