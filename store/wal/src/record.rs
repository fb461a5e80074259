//! What the log holds: entries, votes and snapshot marks.

use bytes::Bytes;

/// One numbered entry. A later entry with the same index replaces it and everything after it
/// (Raft 5.3: a follower's log is overwritten from the first conflict on).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the log, from 1.
    pub index: u64,
    /// Term of the leader that made it.
    pub term: u64,
    /// What the body is; the log does not look at it.
    pub kind: u8,
    /// The content.
    pub body: Bytes,
}

/// What a member must not forget besides its entries (Raft figure 2, persistent state), with the
/// commit index as a hint that saves work after a restart. The last one written counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// Latest term seen.
    pub term: u64,
    /// Candidate voted for in that term; 0 = none.
    pub vote: u64,
    /// Highest index known to be committed. Never above the last entry written before it.
    pub commit: u64,
}

/// What [`crate::Wal::append`] takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry.
    Entry(Entry),
    /// A vote. Write it after the entries its commit index counts, never before.
    Vote(Vote),
}
