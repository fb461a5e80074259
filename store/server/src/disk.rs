//! The disk thread. Takes all appends that are queued, writes them, makes ONE sync,
//! and only then releases what waited for it (group commit). Between syncs it removes old segments
//! and prepares the next one; snapshots have a thread of their own.
//!
//! A failed write or sync ends the process here; it never comes back as a fact.

pub(crate) mod log;
mod snapshot;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use store_member::effects::{Append, Snapshot};
use store_wal::Disk;

use crate::counters::Counters;
use crate::disk::log::Log;
use crate::disk::snapshot::SnapshotTask;
use crate::doze::doze;
use crate::driver::inbox::{Inbox, Knock};
use crate::driver::outbox::Outbox;
use crate::fatal::{Exit, chain};

/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes written after which a busy thread does a slice of the next segment all the same: it is ready
/// long before the present one is full, and costs each sync little.
const BYTES_PER_SLICE: usize = 128 << 10;

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

    /// Whether the end has been ordered.
    fn stopping(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .orders
            .iter()
            .any(|order| matches!(order, Order::Stop))
    }

    /// Swaps all there is into `taken` (which must be empty), waiting for something as long as
    /// `patience` says; `None` waits without end.
    fn take(&self, taken: &mut Vec<Order>, patience: Option<Duration>) {
        let until = patience.map(|patience| Instant::now() + patience);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.orders.is_empty() {
            state.asleep = true;
            let expired;
            (state, expired) = doze(&self.wake, state, until);
            if expired {
                break;
            }
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

/// The thread's own state.
pub(crate) struct DiskThread<D: Disk> {
    log: Arc<Mutex<Log<D>>>,
    queue: Arc<DiskQueue>,
    inbox: Arc<Inbox>,
    outbox: Arc<Outbox>,
    counters: Arc<Counters>,
    reserve: Reserve,
    /// Bytes written since the last slice of work on the next segment.
    since_slice: usize,
    /// The one begun last, finished or not.
    snapshot: Option<SnapshotTask>,
}

impl<D: Disk> DiskThread<D> {
    pub(crate) const fn new(
        log: Arc<Mutex<Log<D>>>,
        queue: Arc<DiskQueue>,
        inbox: Arc<Inbox>,
        outbox: Arc<Outbox>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            log,
            queue,
            inbox,
            outbox,
            counters,
            // If there is none yet, the first try to make one says so.
            reserve: Reserve::Wanted,
            since_slice: 0,
            snapshot: None,
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
            if let Some(index) = purge
                && let Err(error) = lock(&self.log).wal().purge(index)
            {
                Exit::DiskFailed.end(&error, error.hint().as_deref());
            }
            if stop {
                break;
            }
            let time = idle || self.since_slice >= BYTES_PER_SLICE;
            if self.reserve == Reserve::NoRoom || (time && self.reserve == Reserve::Wanted) {
                self.since_slice = 0;
                let log = Arc::clone(&self.log);
                self.prepare_reserve(&mut lock(&log));
            }
        }
        if let Some(task) = self.snapshot.take() {
            task.stop();
        }
        if let Err(error) = lock(&self.log).close() {
            Exit::DiskFailed.end(&error, error.hint().as_deref());
        }
    }

    /// How long to wait for orders before going on with what can wait.
    fn patience(&self) -> Option<Duration> {
        match self.reserve {
            Reserve::Ready => None,
            Reserve::Wanted => Some(Duration::ZERO),
            Reserve::NoRoom => Some(RETRY),
        }
    }

    /// Writes and syncs the appends, then releases what waited for them. While the disk is full,
    /// everything else waits; reads go on.
    fn append(&mut self, appends: Vec<Append>) {
        let shared = Arc::clone(&self.log);
        let mut log = lock(&shared);
        let durable = log.append(appends, |log| {
            self.prepare_reserve(log);
            if self.reserve == Reserve::NoRoom {
                std::thread::sleep(RETRY);
            }
            !self.queue.stopping()
        });
        if self.reserve == Reserve::Ready && !log.wal().has_reserve() {
            self.reserve = Reserve::Wanted;
        }
        drop(log);
        if let Some(durable) = durable {
            self.since_slice += durable.bytes;
            self.inbox.tell(Knock::Synced(durable.number));
            self.outbox.send(durable.released);
        }
    }

    /// Does a slice of the work of making the next segment.
    fn prepare_reserve(&mut self, log: &mut Log<D>) {
        let was = self.reserve;
        self.reserve = match log.wal().prepare_reserve() {
            Ok(true) => Reserve::Ready,
            Ok(false) => Reserve::Wanted,
            Err(error) if error.is_fatal() => Exit::DiskFailed.end(&error, error.hint().as_deref()),
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

    /// Begins a snapshot; one that is still under way, which the member does not expect, ends.
    fn begin_snapshot(&mut self, snapshot: Snapshot) {
        if let Some(task) = self.snapshot.take() {
            task.stop();
        }
        self.snapshot = SnapshotTask::begin(&self.log, &self.inbox, &self.counters, snapshot);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
