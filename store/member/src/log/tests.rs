//! The log against a list of (index, term), and what it makes of a disk.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn entry(index: u64, term: u64, bytes: usize) -> RaftEntry {
    RaftEntry {
        index,
        term,
        data: Bytes::from(vec![0; bytes]),
        ..RaftEntry::default()
    }
}

fn empty() -> Log {
    let mark = Mark::bootstrap(Voters {
        voters: vec![1],
        ..Voters::default()
    });
    Log::open(Recovered::default(), &mark)
}

#[derive(Clone, Debug)]
enum Step {
    /// So many entries, so far back from the end.
    Append { count: u64, back: u64 },
    /// Up to so far from the end, keeping so many.
    Compact { back: u64, keep: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..5u64, 0..4u64).prop_map(|(count, back)| Step::Append { count, back }),
        (0..6u64, 0..4u64).prop_map(|(back, keep)| Step::Compact { back, keep }),
    ]
}

proptest! {
    #[test]
    fn holds_what_the_twin_holds(steps in prop::collection::vec(step(), 1..40)) {
        let mut log = empty();
        let mut twin: Vec<(u64, u64)> = Vec::new();
        let mut start = (1, 1);
        for (term, step) in (2..).zip(steps) {
            let last = twin.last().unwrap_or(&start).0;
            match step {
                Step::Append { count, back } => {
                    let first = last.saturating_sub(back).max(start.0) + 1;
                    twin.retain(|entry| entry.0 < first);
                    twin.extend((first..first + count).map(|index| (index, term)));
                    log.append((first..first + count).map(|index| entry(index, term, 10)).collect());
                }
                Step::Compact { back, keep } => {
                    let to = last.saturating_sub(back);
                    let gone = |entry: &(u64, u64)| entry.0 + keep <= to;
                    start = twin.iter().copied().rfind(gone).unwrap_or(start);
                    twin.retain(|entry| !gone(entry));
                    log.compact(to, keep, u64::MAX);
                }
            }
            prop_assert_eq!(log.last(), *twin.last().unwrap_or(&start));
            prop_assert_eq!(log.first_index().unwrap(), start.0 + 1);
            prop_assert_eq!(log.term(start.0).unwrap(), start.1);
            prop_assert_eq!(log.bytes(), twin.len() as u64 * (10 + ENTRY_OVERHEAD));
            for &(index, term) in &twin {
                prop_assert_eq!(log.term(index).unwrap(), term);
                let context = || GetEntriesContext::empty(false);
                let rest = log.entries(index, log.last().0 + 1, None, context()).unwrap();
                prop_assert_eq!(rest.len() as u64, log.last().0 + 1 - index);
                let two = log.entries(index, log.last().0 + 1, 50, context()).unwrap();
                prop_assert_eq!(two.len(), rest.len().min(2));
                let one = log.entries(index, log.last().0 + 1, 0, context()).unwrap();
                prop_assert_eq!(one.len(), 1);
            }
            prop_assert!(start.0 == 0 || log.term(start.0 - 1).is_err());
            prop_assert!(log.term(log.last().0 + 1).is_err());
        }
    }
}

#[test]
fn large_entries_are_not_kept_for_those_that_lag() {
    let mut log = empty();
    log.append((2..12).map(|index| entry(index, 2, 100)).collect());
    log.compact(10, 8, 500);
    assert_eq!(log.bytes(), 4 * 112);
    assert_eq!(log.first_index().unwrap(), 8);
}

#[test]
fn a_vote_torn_off_its_entries_leaves_the_term() {
    let mark = Mark::bootstrap(Voters {
        voters: vec![1, 2, 3],
        ..Voters::default()
    });
    let record = |index, term| Entry {
        index,
        term,
        kind: EntryKind::Normal,
        body: Bytes::new(),
    };
    let recovered = Recovered {
        vote: Vote {
            term: 4,
            voted_for: 2,
            commit: 9,
        },
        entries: vec![record(2, 4), record(3, 6)],
        ..Recovered::default()
    };
    let state = Log::open(recovered, &mark).initial_state().unwrap();
    assert_eq!(state.hard_state.term, 6);
    assert_eq!(state.hard_state.vote, 0, "the vote was of term 4");
    assert_eq!(state.hard_state.commit, 3, "no further than the log goes");
    assert_eq!(state.conf_state.voters, [1, 2, 3]);
}

#[test]
fn voters_are_read_back_as_written() {
    let voters = Voters {
        voters: vec![1, u64::MAX],
        learners: vec![3],
        voters_outgoing: vec![],
        learners_next: vec![9, 10],
        auto_leave: true,
    };
    let bytes = voters.encode();
    assert_eq!(Voters::decode(&bytes), Some(voters));
    for cut in 0..bytes.len() {
        assert_eq!(Voters::decode(&bytes[..cut]), None, "cut at {cut}");
    }
}
