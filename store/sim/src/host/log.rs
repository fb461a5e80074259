//! What the disk thread of `store/server` does, cut into moments: write all that is queued, sync
//! once, release what waited; between that purge and prepare the next segment.

use std::collections::VecDeque;

use store_machine::snapshot::SnapshotCursor;
use store_member::Input;
use store_member::effects::{Append, Envelope, Snapshot};
use store_member::record::{EntryKind, Vote};
use store_wal::sim::SimDisk;
use store_wal::{Entry, Record, SnapshotWriter, Wal, WalError};

use crate::bugs::Bug;
use crate::clock::Time;
use crate::host::Durable;
use crate::plan::{MS, SECOND};

/// How often a full disk is tried again; the server's.
const RETRY: Time = SECOND;
/// Bytes of a snapshot written at once. Small, so that snapshots take several steps here, too.
const CHUNK_BYTES: usize = 2 << 10;

/// What a moment of the disk comes to.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing to do.
    Idle,
    /// A sync has begun.
    Syncs,
    /// Look again after this long.
    Again(Time),
    /// The process ends.
    Fails,
}

/// Appends on their way to the disk.
#[derive(Default)]
struct Batch {
    number: u64,
    /// One list per write.
    unwritten: VecDeque<Vec<Record>>,
    then: Vec<Envelope>,
    /// Index and term of each entry, and the last vote: durable after the sync.
    entries: Vec<(u64, u64)>,
    vote: Option<Vote>,
}

struct Writing {
    writer: SnapshotWriter<SimDisk>,
    content: SnapshotCursor,
    index: u64,
    term: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reserve {
    Ready,
    Wanted,
    NoRoom,
}

/// The log of one life and what is on its way to it.
pub(crate) struct Log {
    wal: Wal<SimDisk>,
    appends: Vec<Append>,
    /// Index of the last entry ordered.
    last: u64,
    purge: Option<u64>,
    batch: Option<Batch>,
    /// A sync is under way.
    pub(crate) syncing: bool,
    /// A look at the queue is on its way.
    pub(crate) due: bool,
    snapshot: Option<Writing>,
    /// The last snapshot ordered could not be begun.
    snapshot_refused: bool,
    reserve: Reserve,
    full: bool,
    write_bytes_max: usize,
}

impl Log {
    pub(crate) fn new(wal: Wal<SimDisk>) -> Self {
        Self {
            write_bytes_max: usize::try_from(wal.reserve_bytes() / 4).unwrap_or(usize::MAX),
            wal,
            appends: Vec::new(),
            last: 0,
            purge: None,
            batch: None,
            syncing: false,
            due: false,
            snapshot: None,
            snapshot_refused: false,
            reserve: Reserve::Wanted,
            full: false,
        }
    }

    /// Queues appends.
    pub(crate) fn order(&mut self, bug: Option<Bug>, appends: &mut Vec<Append>) {
        for append in appends.iter_mut() {
            if bug == Some(Bug::ConflictNotOverwritten) {
                append.entries.retain(|entry| entry.index > self.last);
            }
            self.last = append.entries.last().map_or(self.last, |entry| entry.index);
        }
        self.appends.append(appends);
    }

    pub(crate) const fn order_purge(&mut self, index: u64) {
        self.purge = Some(index);
    }

    /// Begins a snapshot; false when that failed for good.
    pub(crate) fn order_snapshot(&mut self, bug: Option<Bug>, snapshot: Snapshot) -> bool {
        self.snapshot = None;
        let Snapshot { mut mark, content } = snapshot;
        if bug == Some(Bug::VotersForgotten) {
            mark.voters.voters.truncate(1);
        }
        let voters = mark.voters.encode();
        match self.wal.snapshot_begin(mark.index, mark.term, &voters) {
            Ok(writer) => {
                self.snapshot = Some(Writing {
                    writer,
                    content,
                    index: mark.index,
                    term: mark.term,
                });
                true
            }
            Err(error) => {
                self.snapshot_refused = true;
                !error.is_fatal()
            }
        }
    }

    /// One step of the snapshot; what to tell the member, and whether there is more to do. `Err`: the
    /// process ends.
    pub(crate) fn snapshot_step(
        &mut self,
        bug: Option<Bug>,
        durable: &mut Durable,
    ) -> Result<(Option<Input>, bool), WalError> {
        if std::mem::take(&mut self.snapshot_refused) {
            return Ok((Some(Input::SnapshotFailed), false));
        }
        if self.syncing {
            // The log is taken.
            return Ok((None, self.snapshot.is_some()));
        }
        let Some(mut writing) = self.snapshot.take() else {
            return Ok((None, false));
        };
        let (index, term) = (writing.index, writing.term);
        let (done, finished) = match writing.content.chunk(CHUNK_BYTES) {
            Some(chunk) => {
                let left_out = bug == Some(Bug::SnapshotChunkSkipped) && chunk.len() < CHUNK_BYTES;
                let written = if left_out {
                    Ok(())
                } else {
                    writing.writer.write(&chunk)
                };
                self.snapshot = Some(writing);
                (written, false)
            }
            None => (self.wal.snapshot_finish(writing.writer), true),
        };
        match done {
            Ok(()) if finished => {
                durable.snapshot(index, term);
                Ok((Some(Input::SnapshotSynced), false))
            }
            Ok(()) => Ok((None, true)),
            Err(error) if error.is_fatal() => Err(error),
            Err(_) => {
                self.snapshot = None;
                Ok((Some(Input::SnapshotFailed), false))
            }
        }
    }

    /// Takes what is queued and writes it. Inputs for the member are added to `inbox`.
    pub(crate) fn begin(&mut self, bug: Option<Bug>, inbox: &mut Vec<Input>) -> Next {
        if self.batch.is_none() && !self.appends.is_empty() {
            self.batch = Some(self.gather(bug));
        }
        let Some(batch) = &mut self.batch else {
            return self.idle(inbox);
        };
        while let Some(records) = batch.unwritten.front() {
            match self.wal.append(records) {
                Ok(()) => {
                    batch.unwritten.pop_front();
                }
                // Nothing of it was written.
                Err(WalError::NoSpace { .. }) => return self.prepare_reserve(inbox, RETRY),
                Err(_) => return Next::Fails,
            }
        }
        self.syncing = true;
        Next::Syncs
    }

    /// The sync is through. Returns what it releases.
    pub(crate) fn end(
        &mut self,
        bug: Option<Bug>,
        durable: &mut Durable,
        inbox: &mut Vec<Input>,
    ) -> Result<Vec<Envelope>, WalError> {
        self.syncing = false;
        self.wal.sync()?;
        let Some(batch) = self.batch.take() else {
            return Ok(Vec::new());
        };
        for (index, term) in batch.entries {
            durable.push(index, term);
        }
        if let Some(vote) = batch.vote {
            durable.vote = vote;
        }
        let mut number = batch.number;
        let mut then = batch.then;
        if bug == Some(Bug::SyncCoversLater) {
            for append in &mut self.appends {
                number = append.number;
                then.append(&mut append.then);
            }
        }
        inbox.push(Input::Synced { number });
        if self.reserve == Reserve::Ready && !self.wal.has_reserve() {
            self.reserve = Reserve::Wanted;
        }
        Ok(then)
    }

    /// Bugs that answer too early: what they release before the sync.
    pub(crate) fn early(&mut self, bug: Option<Bug>, inbox: &mut Vec<Input>) -> Vec<Envelope> {
        let Some(batch) = &mut self.batch else {
            return Vec::new();
        };
        match bug {
            Some(Bug::AckBeforeDurable) => {
                inbox.push(Input::Synced {
                    number: batch.number,
                });
                std::mem::take(&mut batch.then)
            }
            Some(Bug::ThenBeforeSync) => std::mem::take(&mut batch.then),
            _ => Vec::new(),
        }
    }

    /// Lets go of the folder in order.
    pub(crate) fn close(self) -> Result<(), WalError> {
        self.wal.close()
    }

    /// Makes one batch of the appends that are queued.
    fn gather(&mut self, bug: Option<Bug>) -> Batch {
        let mut batch = Batch::default();
        let mut records = Vec::new();
        let mut unwritten = 0;
        for append in self.appends.drain(..) {
            batch.number = append.number;
            batch.then.extend(append.then);
            for entry in append.entries {
                batch.entries.push((entry.index, entry.term));
                unwritten += entry.body.len() + ENTRY_BYTES;
                records.push(Record::Entry(Entry {
                    index: entry.index,
                    term: entry.term,
                    kind: kind(entry.kind),
                    body: entry.body,
                }));
                if unwritten >= self.write_bytes_max {
                    batch.unwritten.push_back(std::mem::take(&mut records));
                    unwritten = 0;
                }
            }
            if let Some(vote) = append.vote {
                batch.vote = Some(vote);
                if bug != Some(Bug::LostVote) {
                    records.push(Record::Vote(store_wal::Vote {
                        term: vote.term,
                        vote: vote.voted_for,
                        commit: vote.commit,
                    }));
                }
            }
        }
        batch.unwritten.push_back(records);
        batch
    }

    fn idle(&mut self, inbox: &mut Vec<Input>) -> Next {
        if let Some(index) = self.purge.take()
            && self.wal.purge(index).is_err()
        {
            return Next::Fails;
        }
        if self.reserve == Reserve::Ready && !self.wal.has_reserve() {
            self.reserve = Reserve::Wanted;
        }
        match self.reserve {
            Reserve::Ready => Next::Idle,
            Reserve::Wanted | Reserve::NoRoom => self.prepare_reserve(inbox, MS),
        }
    }

    /// Does a slice of the work of making the next segment.
    fn prepare_reserve(&mut self, inbox: &mut Vec<Input>, pause: Time) -> Next {
        match self.wal.prepare_reserve() {
            Ok(true) => {
                self.reserve = Reserve::Ready;
                if std::mem::take(&mut self.full) {
                    inbox.push(Input::DiskFree);
                }
                Next::Again(1)
            }
            Ok(false) => {
                self.reserve = Reserve::Wanted;
                Next::Again(pause.min(MS))
            }
            Err(error) if error.is_fatal() => Next::Fails,
            Err(_) => {
                self.reserve = Reserve::NoRoom;
                if !std::mem::replace(&mut self.full, true) {
                    inbox.push(Input::DiskFull);
                }
                Next::Again(RETRY)
            }
        }
    }
}

/// What an entry takes in the log besides its body, about.
const ENTRY_BYTES: usize = 32;

/// How the log numbers what a body means, as `store/server` does.
pub(crate) const fn kind(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Normal => 0,
        EntryKind::Members => 1,
        EntryKind::MembersJoint => 2,
        EntryKind::Bootstrap => 3,
    }
}
