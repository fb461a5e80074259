//! The disk thread: owns the log. Takes all appends that are queued, writes them, makes ONE sync,
//! and only then releases what waited for it (group commit). Between syncs it writes snapshot
//! chunks, removes old segments, and prepares the next segment.
//!
//! A failed write or sync ends the process here; it never comes back as a fact.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store_machine::snapshot::SnapshotCursor;
use store_member::effects::{Append, Snapshot};
use store_member::record::EntryKind;
use store_wal::{Disk, Entry, Record, SnapshotWriter, Vote, Wal, WalError};

use crate::counters::Counters;
use crate::driver::inbox::{Inbox, Knock};
use crate::driver::outbox::Outbox;
use crate::fatal::{Exit, chain};

/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes of entries written with one call: half of what a segment of the smallest sensible size
/// holds.
const WRITE_BYTES_MAX: usize = 8 << 20;

/// Bytes of a snapshot written between two looks at the queue: about 100 µs to copy and check.
const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;

/// Work for the disk thread.
#[derive(Debug)]
pub(crate) enum Order {
    Append(Append),
    Snapshot(Snapshot),
    /// The log at and below this index is not needed any more.
    Purge(u64),
    Stop,
}

#[derive(Default)]
struct State {
    orders: Vec<Order>,
    asleep: bool,
}

/// What waits for the disk thread. Not bounded here: the member bounds what it has in flight.
#[derive(Default)]
pub(crate) struct DiskQueue {
    state: Mutex<State>,
    wake: Condvar,
}

impl DiskQueue {
    /// Queues the orders; wakes the thread once, if it sleeps.
    pub(crate) fn order(&self, orders: impl IntoIterator<Item = Order>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.orders.extend(orders);
        if state.orders.is_empty() {
            return;
        }
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.wake.notify_one();
        }
    }

    /// Swaps all there is into `taken` (which must be empty), waiting for something as long as
    /// `patience` says; `None` waits without end.
    fn take(&self, taken: &mut Vec<Order>, patience: Option<Duration>) {
        let until = patience.map(|patience| Instant::now() + patience);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.orders.is_empty() {
            state.asleep = true;
            let Some(until) = until else {
                state = self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self
                .wake
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.asleep = false;
        std::mem::swap(&mut state.orders, taken);
    }
}

/// What the next segment needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reserve {
    Ready,
    /// To be worked on when there is nothing else to do.
    Wanted,
    /// The disk had no room for it at the last try.
    NoRoom,
}

/// A snapshot under way.
struct Writing<D: Disk> {
    writer: SnapshotWriter<D>,
    content: SnapshotCursor,
    began: Instant,
}

/// The thread's own state.
pub(crate) struct DiskThread<D: Disk> {
    wal: Wal<D>,
    queue: Arc<DiskQueue>,
    inbox: Arc<Inbox>,
    outbox: Arc<Outbox>,
    counters: Arc<Counters>,
    reserve: Reserve,
    snapshot: Option<Writing<D>>,
    /// Kept for its memory.
    records: Vec<Record>,
}

impl<D: Disk> DiskThread<D> {
    pub(crate) fn new(
        wal: Wal<D>,
        queue: Arc<DiskQueue>,
        inbox: Arc<Inbox>,
        outbox: Arc<Outbox>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            reserve: if wal.has_reserve() {
                Reserve::Ready
            } else {
                Reserve::Wanted
            },
            wal,
            queue,
            inbox,
            outbox,
            counters,
            snapshot: None,
            records: Vec::new(),
        }
    }

    /// Runs until told to stop, then closes the log.
    pub(crate) fn run(mut self) {
        let mut orders = Vec::new();
        loop {
            self.queue.take(&mut orders, self.patience());
            let mut appends = Vec::new();
            let mut purge = None;
            let mut stop = false;
            for order in orders.drain(..) {
                match order {
                    Order::Append(append) => appends.push(append),
                    Order::Snapshot(snapshot) => self.begin_snapshot(snapshot),
                    Order::Purge(index) => purge = Some(index),
                    Order::Stop => stop = true,
                }
            }
            let idle = appends.is_empty();
            if !idle {
                self.append(appends);
            }
            self.write_snapshot();
            if let Some(index) = purge {
                let purged = self.wal.purge(index);
                self.must(purged);
            }
            if stop {
                break;
            }
            if self.reserve == Reserve::NoRoom || (idle && self.reserve == Reserve::Wanted) {
                self.prepare_reserve();
            }
        }
        self.drop_snapshot();
        if let Err(error) = self.wal.close() {
            Exit::DiskFailed.end(&error, error.hint());
        }
    }

    /// How long to wait for orders before going on with what can wait.
    fn patience(&self) -> Option<Duration> {
        if self.snapshot.is_some() {
            return Some(Duration::ZERO);
        }
        match self.reserve {
            Reserve::Ready => None,
            Reserve::Wanted => Some(Duration::ZERO),
            Reserve::NoRoom => Some(RETRY),
        }
    }

    /// Writes and syncs the appends, then releases what waited for them.
    fn append(&mut self, appends: Vec<Append>) {
        let began = Instant::now();
        let mut released = Vec::new();
        let mut number = 0;
        let (mut bytes, mut entries, mut unwritten) = (0, 0, 0);
        for append in appends {
            number = append.number;
            released.extend(append.then);
            entries += append.entries.len();
            for entry in append.entries {
                bytes += entry.body.len();
                unwritten += entry.body.len();
                self.records.push(Record::Entry(Entry {
                    index: entry.index,
                    term: entry.term,
                    kind: kind(entry.kind),
                    body: entry.body,
                }));
                if unwritten >= WRITE_BYTES_MAX {
                    self.write();
                    unwritten = 0;
                }
            }
            if let Some(vote) = append.vote {
                self.records.push(Record::Vote(Vote {
                    term: vote.term,
                    vote: vote.voted_for,
                    commit: vote.commit,
                }));
            }
        }
        self.write();
        let written = Instant::now();
        let synced = self.wal.sync();
        self.must(synced);
        self.inbox.tell(Knock::Synced(number));
        self.outbox.send(released);
        self.counters.wal_write.observe(written - began);
        self.counters.wal_sync.observe(written.elapsed());
        self.counters.wal_bytes.add(bytes as u64);
        self.counters.wal_entries.add(entries as u64);
        if self.reserve == Reserve::Ready && !self.wal.has_reserve() {
            self.reserve = Reserve::Wanted;
        }
    }

    /// Writes the collected records; waits while the disk is full.
    fn write(&mut self) {
        loop {
            match self.wal.append(&self.records) {
                Ok(()) => break,
                // Nothing was written. Everything else waits until there is room again; reads go on.
                Err(WalError::NoSpace { .. }) => {
                    self.prepare_reserve();
                    if self.reserve == Reserve::NoRoom {
                        std::thread::sleep(RETRY);
                    }
                }
                Err(error) => Exit::DiskFailed.end(&error, error.hint()),
            }
        }
        self.records.clear();
    }

    fn prepare_reserve(&mut self) {
        let was = self.reserve;
        self.reserve = match self.wal.prepare_reserve() {
            Ok(true) => Reserve::Ready,
            Ok(false) => Reserve::Wanted,
            Err(error) if error.is_fatal() => Exit::DiskFailed.end(&error, error.hint()),
            Err(error) => {
                if was != Reserve::NoRoom {
                    tracing::warn!(
                        hint = error.hint(),
                        "writes are refused: failed to {}",
                        chain(&error)
                    );
                    self.counters.disk_full.set(1);
                    self.inbox.tell(Knock::DiskFull);
                }
                Reserve::NoRoom
            }
        };
        if self.counters.disk_full.get() == 1 && self.reserve == Reserve::Ready {
            tracing::info!("the disk has room again: writes are accepted");
            self.counters.disk_full.set(0);
            self.inbox.tell(Knock::DiskFree);
        }
    }

    fn begin_snapshot(&mut self, snapshot: Snapshot) {
        self.drop_snapshot();
        let Snapshot { mark, content } = snapshot;
        let voters = mark.voters.encode();
        match self.wal.snapshot_begin(mark.index, mark.term, &voters) {
            Ok(writer) => {
                self.snapshot = Some(Writing {
                    writer,
                    content,
                    began: Instant::now(),
                });
            }
            Err(error) => self.give_up_snapshot(&error),
        }
    }

    /// Writes one chunk of the snapshot under way, or completes it.
    fn write_snapshot(&mut self) {
        let Some(mut writing) = self.snapshot.take() else {
            return;
        };
        let written = match writing.content.chunk(SNAPSHOT_CHUNK_BYTES) {
            Some(chunk) => {
                let written = writing.writer.write(&chunk);
                self.snapshot = Some(writing);
                written
            }
            None => self.wal.snapshot_finish(writing.writer).map(|()| {
                self.counters.snapshot.observe(writing.began.elapsed());
                self.inbox.tell(Knock::SnapshotSynced);
            }),
        };
        if let Err(error) = written {
            self.give_up_snapshot(&error);
        }
    }

    /// A snapshot that cannot be written is tried again later: it only spares log.
    fn give_up_snapshot(&mut self, error: &WalError) {
        if matches!(error, WalError::Poisoned) {
            Exit::DiskFailed.end(error, error.hint());
        }
        tracing::warn!(
            hint = error.hint(),
            "the snapshot is given up: failed to {}",
            chain(error)
        );
        self.drop_snapshot();
        self.inbox.tell(Knock::SnapshotFailed);
    }

    fn drop_snapshot(&mut self) {
        if let Some(writing) = self.snapshot.take() {
            writing.writer.abort();
        }
    }

    fn must<T>(&self, result: Result<T, WalError>) {
        if let Err(error) = result {
            Exit::DiskFailed.end(&error, error.hint());
        }
    }
}

/// How the log numbers what a body means. Written to disk: never renumber.
pub(crate) const fn kind(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Normal => 0,
        EntryKind::Members => 1,
        EntryKind::MembersJoint => 2,
        EntryKind::Bootstrap => 3,
    }
}
