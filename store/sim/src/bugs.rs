//! Known bugs, to be put back on purpose: the net is only as good as what it has been seen to catch.
//!
//! Each is a mistake of the shell around the member (`host.rs`), so that the member, the machine, the
//! hub and the log stay as they are. `README.md` says which was found how fast.

/// A bug put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Appends are reported durable when they are written (etcd issue 14370: a write acknowledged
    /// before it was durable).
    AckBeforeDurable,
    /// What waits for a sync is sent when the append is written (Raft paper, figure 2: "updated on
    /// stable storage before responding").
    ThenBeforeSync,
    /// A sync is taken to cover appends that were queued while it ran (a slip of group commit).
    SyncCoversLater,
    /// Votes are not written.
    LostVote,
    /// Entries that a leader replaced are not overwritten on disk.
    ConflictNotOverwritten,
    /// A leader answers linearizable reads without asking anybody (stale read after a pause or behind a
    /// partition; etcd issue 20418 is a late relative of it).
    ReadWithoutRound,
    /// An answer to an earlier heartbeat confirms the round of reads that is out now (etcd issue 20418,
    /// etcd-io/raft pull request 397).
    RoundConfirmedByOldAnswer,
    /// A follower answers linearizable reads by itself.
    ReadFromFollower,
    /// An outcome that is unknown is reported as "not proposed".
    UnknownAsAbsent,
    /// The shell proposes again what has no certain outcome: it may be applied twice.
    ProposedAgain,
    /// A delete exactly at the compacted revision is not shown to watchers (etcd issues 18089, 19179).
    DeleteLostAtCompaction,
    /// Progress overtakes the events of its stream (etcd issue 15220).
    ProgressAhead,
    /// A watcher that resumes is started one revision too late.
    ResumeSkipsOne,
    /// A batch is dropped when its stream is starved (etcd issue 17529).
    StarvedStreamLoses,
    /// A leader that was paused revokes leases it believes ended, through whoever leads now (etcd issue
    /// 15247).
    OldLeaderRevokes,
    /// A restart begins from the snapshot and forgets the log behind it (revision goes back, etcd issue
    /// 17780).
    LogForgottenAtRestart,
    /// A member that joins is started as one of a new cluster.
    JoinsAsFounder,
    /// What a learner has on disk is counted for the majority.
    LearnerCounted,
    /// A member that was removed while it was away is not told.
    RemovedNotTold,
    /// A member whose disk was wiped comes back under its id (etcd issue 13196).
    WipedComesBack,
    /// A chunk of a snapshot is left out on its way to the disk.
    SnapshotChunkSkipped,
    /// A snapshot is kept with one voter alone in place of all there are.
    VotersForgotten,
    /// Only part of a revision is shown, and the rest never (etcd API guarantees, watch: atomic).
    HalfRevisionShown,
    /// A registrator's engine replays old events as if they had just happened.
    ReplaysLookNew,
    /// An engine that does not answer is taken for one that has no such container.
    SilenceIsAbsence,
    /// A registrator that finds its lease alive does not read what hangs on it.
    LeaseNotRead,
    /// A registrator puts its keys without its lease.
    PutWithoutLease,
    /// A mirror reads its keys and then watches from now on, not from what it has read.
    WatchFromNow,
    /// A mirror reads each page of a listing at another revision.
    PagesOfManyRevisions,
}

impl Bug {
    /// Whether it is a mistake of an agent's shell.
    pub(crate) const fn is_of_agents(self) -> bool {
        matches!(
            self,
            Self::ReplaysLookNew
                | Self::SilenceIsAbsence
                | Self::LeaseNotRead
                | Self::PutWithoutLease
                | Self::WatchFromNow
                | Self::PagesOfManyRevisions
        )
    }
}

/// All of them.
pub const ALL: [Bug; 29] = [
    Bug::AckBeforeDurable,
    Bug::ThenBeforeSync,
    Bug::SyncCoversLater,
    Bug::LostVote,
    Bug::ConflictNotOverwritten,
    Bug::ReadWithoutRound,
    Bug::RoundConfirmedByOldAnswer,
    Bug::ReadFromFollower,
    Bug::UnknownAsAbsent,
    Bug::ProposedAgain,
    Bug::DeleteLostAtCompaction,
    Bug::ProgressAhead,
    Bug::ResumeSkipsOne,
    Bug::StarvedStreamLoses,
    Bug::OldLeaderRevokes,
    Bug::LogForgottenAtRestart,
    Bug::JoinsAsFounder,
    Bug::LearnerCounted,
    Bug::RemovedNotTold,
    Bug::WipedComesBack,
    Bug::SnapshotChunkSkipped,
    Bug::VotersForgotten,
    Bug::HalfRevisionShown,
    Bug::ReplaysLookNew,
    Bug::SilenceIsAbsence,
    Bug::LeaseNotRead,
    Bug::PutWithoutLease,
    Bug::WatchFromNow,
    Bug::PagesOfManyRevisions,
];
