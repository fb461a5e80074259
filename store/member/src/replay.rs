//! What a member that is stopped holds: its snapshot and all entries behind it, as one machine. For those who copy or
//! read a folder without a member on it; a member that starts knows more, from the others and from its votes.

use store_machine::Machine;
use store_machine::command::Command;
use store_machine::revision::Index;

use crate::apply::clock_term;
use crate::proposals::command_in;
use crate::record::{Entry, EntryKind, Recovered};

/// An entry is none that a member has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read entry {index} of the log: expected {expected}")]
pub struct ReplayError {
    index: u64,
    expected: &'static str,
}

/// Applies to `machine`, which holds the state of `recovered.mark`, all entries behind that.
///
/// Those that nobody may have known to be committed too: every write that was answered is in a log, and of one that was
/// under way nobody can say whether it was done.
///
/// # Errors
/// An entry that cannot be read.
pub fn replay(machine: &mut Machine, recovered: &Recovered) -> Result<(), ReplayError> {
    if let Some(members) = recovered.founders() {
        machine.found(members);
    }
    for entry in &recovered.entries {
        if entry.index <= machine.applied().0 {
            continue;
        }
        let index = Index(entry.index);
        match command_of(entry)? {
            // Decided in another reign than the one whose log it came into: no member believes it.
            Some(command) if clock_term(&command).is_none_or(|term| term == entry.term) => {
                let _ = machine.apply(index, command);
            }
            _ => machine.pass(index),
        }
    }
    Ok(())
}

/// What an entry has the machine do, if anything.
fn command_of(entry: &Entry) -> Result<Option<Command>, ReplayError> {
    let damaged = |expected| ReplayError {
        index: entry.index,
        expected,
    };
    let bytes = match entry.kind {
        EntryKind::Normal if entry.body.is_empty() => return Ok(None),
        EntryKind::Normal => command_in(&entry.body).ok_or_else(|| damaged("a command"))?,
        EntryKind::MembersJoint => match crate::changes::change_in(&entry.body) {
            Some(bytes) => bytes,
            None => return Ok(None),
        },
        EntryKind::Members | EntryKind::Bootstrap => return Ok(None),
    };
    let command = Command::decode(bytes).map_err(|error| damaged(error.expected))?;
    Ok(Some(command))
}
