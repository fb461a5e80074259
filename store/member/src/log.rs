//! The entries since the last snapshot, in memory, as raft reads them. What is here has been
//! handed to the disk; whether it is durable is known to raft (`on_persist_ready`), not here.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use raft::eraftpb::{ConfState, Entry as RaftEntry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::record::{Entry, EntryKind, Mark, Recovered, Vote, Voters};

/// Bytes an entry costs beside its body, as raft estimates it.
const ENTRY_OVERHEAD: u64 = 12;

/// The log as raft sees it.
pub(crate) struct Log {
    /// Consecutive, from `start.0 + 1` on.
    entries: VecDeque<RaftEntry>,
    /// Index and term of the entry before the first one held. Moves only in `compact`.
    start: (u64, u64),
    /// Bytes of the bodies held.
    bytes: u64,
    /// What raft asks once, when it starts.
    initial: RaftState,
    /// Members that need entries which are not held any more. Raft asks through a shared reference.
    asked: RefCell<BTreeSet<u64>>,
}

impl Log {
    /// The log as found on disk, from `start` on.
    pub(crate) fn open(recovered: Recovered, start: &Mark) -> Self {
        let mut log = Self {
            entries: VecDeque::new(),
            start: (start.index, start.term),
            bytes: 0,
            initial: RaftState::default(),
            asked: RefCell::default(),
        };
        let tail = recovered
            .entries
            .into_iter()
            .skip_while(|entry| entry.index <= start.index)
            .map(to_raft)
            .collect();
        log.append(tail);
        let vote = recovered.vote;
        let (last, last_term) = log.last();
        // An append may be torn between its entries and its vote: then nobody has been told of
        // the vote, but the term has been seen.
        let term = vote.term.max(last_term);
        let hard = HardState {
            term,
            vote: if term == vote.term { vote.voted_for } else { 0 },
            commit: vote.commit.clamp(start.index, last),
            ..HardState::default()
        };
        log.initial = RaftState::new(hard, conf_state(&start.voters));
        log
    }

    /// Index and term of the last entry.
    pub(crate) fn last(&self) -> (u64, u64) {
        self.entries
            .back()
            .map_or(self.start, |entry| (entry.index, entry.term))
    }

    /// Bytes of the bodies held.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds entries and returns how many bytes they hold; one at a position already held replaces
    /// it and all after it.
    pub(crate) fn append(&mut self, entries: Vec<RaftEntry>) -> u64 {
        let Some(first) = entries.first().map(|entry| entry.index) else {
            return 0;
        };
        while self.last().0 >= first && !self.entries.is_empty() {
            let dropped = self.entries.pop_back();
            self.bytes -= dropped.as_ref().map_or(0, cost);
        }
        assert_eq!(
            first,
            self.last().0 + 1,
            "entries must follow the log without a gap"
        );
        let bytes = entries.iter().map(cost).sum();
        self.bytes += bytes;
        self.entries.extend(entries);
        bytes
    }

    /// Members that need a snapshot, since the last call.
    pub(crate) fn take_asked(&mut self) -> BTreeSet<u64> {
        std::mem::take(self.asked.get_mut())
    }

    /// Forgets everything: the log goes on after this entry.
    pub(crate) fn restart(&mut self, index: u64, term: u64) {
        self.entries.clear();
        self.bytes = 0;
        self.start = (index, term);
    }

    /// Index of the entry before the first one held.
    pub(crate) const fn start(&self) -> u64 {
        self.start.0
    }

    /// Forgets entries up to `index`, which must be applied, but for the last `keep_entries` of them,
    /// and fewer where they and what follows hold more than `keep_bytes`.
    pub(crate) fn compact(&mut self, index: u64, keep_entries: u64, keep_bytes: u64) {
        while let Some(front) = self.entries.front() {
            let wanted = front.index + keep_entries > index && self.bytes <= keep_bytes;
            if front.index > index || wanted {
                break;
            }
            self.start = (front.index, front.term);
            self.bytes -= cost(front);
            self.entries.pop_front();
        }
    }

    /// Position of an index in `entries`; it must be held.
    fn position(&self, index: u64) -> usize {
        usize::try_from(index - self.start.0 - 1).unwrap_or(usize::MAX)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<RaftEntry>> {
        if low <= self.start.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last().0 + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let wanted = self.entries.range(self.position(low)..self.position(high));
        let Some(max) = max_size.into() else {
            return Ok(wanted.cloned().collect());
        };
        let mut bytes = 0;
        Ok(wanted
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += cost(entry);
                first || bytes <= max
            })
            .cloned()
            .collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.start.0 {
            return Ok(self.start.1);
        }
        if index < self.start.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        self.entries
            .get(self.position(index))
            .map(|entry| entry.term)
            .ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().0)
    }

    /// Snapshots travel beside raft's messages (`transfer.rs`), so raft is always told to come back
    /// later; by then the member has what it needs, and says so as to an append.
    fn snapshot(&self, _request_index: u64, to: u64) -> raft::Result<Snapshot> {
        self.asked.borrow_mut().insert(to);
        Err(raft::Error::Store(
            StorageError::SnapshotTemporarilyUnavailable,
        ))
    }
}

fn cost(entry: &RaftEntry) -> u64 {
    entry.data.len() as u64 + ENTRY_OVERHEAD
}

fn to_raft(entry: Entry) -> RaftEntry {
    let mut raft_entry = RaftEntry::default();
    raft_entry.set_entry_type(match entry.kind {
        // The first entry lies before what raft sees.
        EntryKind::Normal | EntryKind::Bootstrap => EntryType::EntryNormal,
        EntryKind::Members => EntryType::EntryConfChange,
        EntryKind::MembersJoint => EntryType::EntryConfChangeV2,
    });
    raft_entry.term = entry.term;
    raft_entry.index = entry.index;
    raft_entry.data = entry.body;
    raft_entry
}

/// The record of a raft entry; the body is shared.
pub(crate) fn to_record(entry: &RaftEntry) -> Entry {
    Entry {
        index: entry.index,
        term: entry.term,
        kind: match entry.get_entry_type() {
            EntryType::EntryNormal => EntryKind::Normal,
            EntryType::EntryConfChange => EntryKind::Members,
            EntryType::EntryConfChangeV2 => EntryKind::MembersJoint,
        },
        body: entry.data.clone(),
    }
}

/// The record of raft's hard state.
pub(crate) fn vote(hard: &HardState) -> Vote {
    Vote {
        term: hard.term,
        voted_for: hard.vote,
        commit: hard.commit,
    }
}

pub(crate) fn conf_state(voters: &Voters) -> ConfState {
    let mut state = ConfState::default();
    state.set_voters(voters.voters.clone());
    state.set_learners(voters.learners.clone());
    state.set_voters_outgoing(voters.voters_outgoing.clone());
    state.set_learners_next(voters.learners_next.clone());
    state.set_auto_leave(voters.auto_leave);
    state
}

/// The voter set of a raft configuration, ordered.
pub(crate) fn voters(state: &ConfState) -> Voters {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    Voters {
        voters: sorted(state.get_voters()),
        learners: sorted(state.get_learners()),
        voters_outgoing: sorted(state.get_voters_outgoing()),
        learners_next: sorted(state.get_learners_next()),
        auto_leave: state.get_auto_leave(),
    }
}

#[cfg(test)]
mod tests;
