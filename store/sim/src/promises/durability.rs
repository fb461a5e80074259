//! An entry is applied only when a majority holds it for certain (Raft paper, section 5.3, and figure
//! 2: persistent state is updated on stable storage before responding). That what was durable is
//! there after a restart is looked at where the restart is (`host/open.rs`).

use crate::host::{Host, Slot};
use crate::promises::{Check, broken};

/// The entry at `index` has been applied somewhere for the first time.
pub(crate) fn committed(index: u64, slot: &Slot, hosts: &[Host]) -> Check {
    let holders = hosts
        .iter()
        .filter(|host| host.durable.has(index, slot.term));
    let count = holders.count();
    if count * 2 <= hosts.len() {
        return broken(
            "durability",
            format!(
                "entry {index} of term {} was applied when {count} of {} members had it on disk",
                slot.term,
                hosts.len()
            ),
        );
    }
    Ok(())
}
