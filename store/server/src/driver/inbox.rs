//! What waits for the driver: one queue for requests, stream events, messages of peers and reports of
//! the disk.
//!
//! The driver takes all there is in one go. A sender wakes it only when it sleeps, so that under
//! load neither side makes a system call per message. Bounded by requests and their bytes; what
//! reports facts (disk, closed streams) is always let in.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use store_machine::auth::Actor;
use store_machine::command::Command;
use store_machine::revision::LeaseId;
use store_member::answer::{Body, Consistency, Failure, Header};
use store_member::input::{Read, StreamEvent};
use store_member::peer::PeerMessage;
use store_watch::batch::{Batch, StreamId};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::doze::doze;

/// Requests that may wait for the driver's next turn: ten turns of its largest batch, some 100 ms
/// of work.
const REQUESTS_MAX: usize = 40_960;

/// Bytes of commands that may wait for the driver's next turn: as many as may be in flight behind it.
const REQUEST_BYTES_MAX: u64 = 24 << 20;

/// Bytes of messages of peers that may wait for the driver's next turn before their streams are read
/// on: some turns' worth of what a follower takes.
const PEER_BYTES_MAX: u64 = 16 << 20;

/// Messages in one turn from which on many clients are taken to be at work. A single client with its watchers leaves
/// three or four; a thousand leave dozens.
const CROWD: usize = 8;

/// What a request gets.
pub(crate) type Outcome = (Header, Result<Body, Failure>);

/// A request.
#[derive(Debug)]
pub(crate) enum Ask {
    Propose(Command),
    LeaseGrant {
        id: LeaseId,
        ttl_seconds: i64,
        actor: Option<Actor>,
    },
    Read(Read, Consistency),
    /// To this member, or to whoever has most of the log.
    TransferLeadership(Option<u64>),
}

/// A message for the driver.
#[derive(Debug)]
pub(crate) enum Knock {
    Ask {
        ask: Ask,
        answer: oneshot::Sender<Outcome>,
    },
    OpenStream {
        stream: StreamId,
        credit: usize,
        batches: mpsc::UnboundedSender<(Header, Batch)>,
    },
    Stream {
        stream: StreamId,
        event: StreamEvent,
    },
    /// A peer has said something.
    Peer {
        from: u64,
        message: PeerMessage,
    },
    /// Messages to this member were lost.
    PeerUnreachable(u64),
    /// Appends up to this number are durable.
    Synced(u64),
    SnapshotSynced,
    SnapshotFailed,
    DiskFull,
    DiskFree,
    Stop,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<Knock>,
    requests: usize,
    bytes: u64,
    /// Of messages of peers.
    peer_bytes: u64,
    /// A stream waits for the driver to have taken them.
    peers_wait: bool,
    /// The driver's thread sleeps and must be woken.
    asleep: bool,
    /// Until when it sleeps at most; `None` without end.
    until: Option<Instant>,
    /// Messages of the last turn; of a larger one before it, half after each turn since.
    crowd: usize,
    /// Nothing is taken any more.
    closed: bool,
}

/// The queue; shared by handles, disk thread and driver.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    /// The last turns found one message each: what the crowd says, to be read without the lock.
    lone: AtomicBool,
    peer_room: Notify,
}

impl Inbox {
    /// Leaves a message that is always let in. Dropped when the driver has stopped.
    pub(crate) fn tell(&self, knock: Knock) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return;
        }
        state.queue.push(knock);
        self.wake_driver(state);
    }

    /// Leaves a request of about `bytes`.
    pub(crate) fn ask(
        &self,
        ask: Ask,
        bytes: u64,
        answer: oneshot::Sender<Outcome>,
    ) -> Result<(), Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(Failure::Stopped);
        }
        if state.requests >= REQUESTS_MAX || state.bytes >= REQUEST_BYTES_MAX {
            return Err(Failure::TooManyRequests);
        }
        state.requests += 1;
        state.bytes += bytes;
        state.queue.push(Knock::Ask { ask, answer });
        self.wake_driver(state);
        Ok(())
    }

    /// Leaves what a peer said in `bytes` of its stream.
    pub(crate) fn tell_from_peer(&self, from: u64, messages: &mut Vec<PeerMessage>, bytes: u64) {
        if messages.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let knocks = messages
            .drain(..)
            .map(|message| Knock::Peer { from, message });
        if state.closed {
            return;
        }
        state.queue.extend(knocks);
        state.peer_bytes += bytes;
        self.wake_driver(state);
    }

    /// Waits until more messages of peers may be left. Safe to cancel.
    pub(crate) async fn peer_room(&self) {
        loop {
            let room = self.peer_room.notified();
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if state.peer_bytes < PEER_BYTES_MAX || state.closed {
                    return;
                }
                state.peers_wait = true;
            }
            room.await;
        }
    }

    fn wake_driver(&self, mut state: std::sync::MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.wake.notify_one();
        }
    }

    /// Sleeps while there is nothing to take, at most until `until`; `None` waits without end.
    ///
    /// A driver that is woken takes the core away from whoever woke it, who has read one request and was about to read
    /// the next ones: turns become small, and each costs a switch there and back. So with many clients at work it first
    /// lets the others go on. With few it does not: what one client asks for would wait for strangers on a busy machine.
    pub(crate) fn wait(&self, until: Option<Instant>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.queue.is_empty() {
            return;
        }
        state.asleep = true;
        state.until = until;
        while state.asleep {
            let expired;
            (state, expired) = doze(&self.wake, state, until);
            if expired {
                state.asleep = false;
            }
        }
        if state.crowd >= CROWD {
            drop(state);
            std::thread::yield_now();
        }
    }

    /// Swaps all there is into `taken`, which must be empty.
    pub(crate) fn take(&self, taken: &mut Vec<Knock>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.crowd = state.queue.len().max(state.crowd / 2);
        self.lone.store(state.crowd <= 1, Ordering::Relaxed);
        state.requests = 0;
        state.bytes = 0;
        state.peer_bytes = 0;
        std::mem::swap(&mut state.queue, taken);
        let peers_wait = std::mem::take(&mut state.peers_wait);
        drop(state);
        if peers_wait {
            self.peer_room.notify_waiters();
        }
    }

    /// Whether the driver's thread sleeps, nothing waits for it, and messages come one by one.
    pub(crate) fn is_quiet(&self) -> bool {
        if !self.lone.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asleep && !state.closed
    }

    /// Wakes the driver's thread if it means to sleep for longer.
    pub(crate) fn wake_by(&self, wanted: Option<Instant>) {
        let Some(wanted) = wanted else {
            return;
        };
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.asleep && state.until.is_none_or(|until| wanted < until) {
            self.wake_driver(state);
        }
    }

    /// Takes nothing any more; returns what was left.
    pub(crate) fn close(&self) -> Vec<Knock> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        self.peer_room.notify_waiters();
        std::mem::take(&mut state.queue)
    }
}

#[cfg(test)]
mod tests;
