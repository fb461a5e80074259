//! A member that goes on without the others, who are lost: what its log must say for that.
//!
//! The entries stand behind all there is, so what no majority may have known to be committed becomes committed too: every
//! write that was answered is in some log, and the one log that is left is all there is to go by.

use bytes::Bytes;
use raft::eraftpb::ConfChangeType;
use store_machine::Machine;
use store_machine::command::{Command, MemberChange};

use crate::changes::conf_body;
use crate::proposals;
use crate::record::{Entry, EntryKind, Recovered, Vote};

/// The log as it has to be written so that `own` is the only voter: entries behind the last one, and the vote that commits
/// them. `last` is the machine after all entries of `recovered`, see [`crate::replay`]. Nothing when it is alone already;
/// `None` when it is no member at all.
#[must_use]
pub fn survivor(own: u64, last: &Machine, recovered: &Recovered) -> Option<(Vec<Entry>, Vote)> {
    let record = last.member(own)?;
    let promoted = record
        .learner
        .then_some((ConfChangeType::AddNode, MemberChange::Promote { id: own }));
    let others = last.members().into_iter().map(|member| member.id);
    let removed = others
        .filter(|id| *id != own)
        .map(|id| (ConfChangeType::RemoveNode, MemberChange::Remove { id }));
    let term = recovered.vote.term;
    let entries: Vec<Entry> = promoted
        .into_iter()
        .chain(removed)
        .zip(last.applied().0 + 1..)
        .map(|((kind, change), index)| {
            let id = match &change {
                MemberChange::Remove { id } => *id,
                _ => own,
            };
            let context = proposals::body(None, &Command::Members(change));
            Entry {
                index,
                term,
                kind: EntryKind::MembersJoint,
                body: Bytes::from(conf_body(kind, id, context)),
            }
        })
        .collect();
    let vote = Vote {
        commit: last.applied().0 + entries.len() as u64,
        ..recovered.vote
    };
    Some((entries, vote))
}

#[cfg(test)]
mod tests {
    use store_machine::revision::Index;
    use store_machine::{Limits, MemberRecord};

    use super::*;
    use crate::replay;

    fn machine(learner: bool) -> Machine {
        let mut machine = Machine::new(Limits::NONE);
        let member = |id| MemberRecord {
            id,
            learner: learner && id == 2,
            ..MemberRecord::default()
        };
        machine.found([1, 2, 3].map(member).into());
        machine.pass(Index(7));
        machine
    }

    #[test]
    fn what_is_written_leaves_one_voter() {
        for learner in [false, true] {
            let recovered = Recovered {
                vote: Vote {
                    term: 4,
                    voted_for: 3,
                    commit: 2,
                },
                ..Recovered::default()
            };
            let mut last = machine(learner);
            let (entries, vote) = survivor(2, &last, &recovered).unwrap();
            let indices: Vec<_> = entries.iter().map(|entry| entry.index).collect();
            let expected: &[u64] = if learner { &[8, 9, 10] } else { &[8, 9] };
            assert_eq!(indices, expected);
            assert!(entries.iter().all(|entry| entry.term == 4));
            assert_eq!((vote.term, vote.voted_for), (4, 3));
            assert_eq!(Some(&vote.commit), expected.last());

            replay(
                &mut last,
                &Recovered {
                    entries,
                    ..recovered
                },
            )
            .unwrap();
            let left: Vec<_> = last
                .members()
                .into_iter()
                .map(|member| (member.id, member.learner))
                .collect();
            assert_eq!(left, [(2, false)]);
            let (none, _) = survivor(2, &last, &Recovered::default()).unwrap();
            assert_eq!(none, []);
            assert!(
                survivor(1, &last, &Recovered::default()).is_none(),
                "it was removed"
            );
        }
    }
}
