//! What is going to happen, in order: by time, and among equals by who came first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use store_member::answer::{Body, Failure, Header};
use store_member::effects::PeerMessage;
use store_member::input::StreamEvent;
use store_watch::batch::{Batch, StreamId};

use crate::agents::Happening;
use crate::clock::Time;
use crate::history::OpId;

/// Something that happens. `life` names the process it is meant for: a later one is not told.
#[derive(Debug)]
pub(crate) enum Event {
    /// The driver of a member takes what has arrived.
    Turn { host: usize, life: u64 },
    /// A member asked to be woken.
    Wake { host: usize, life: u64 },
    /// A disk thread looks at its queue.
    Disk { host: usize, life: u64 },
    /// A sync is through.
    SyncEnd { host: usize, life: u64 },
    /// A snapshot thread writes its next chunk.
    Snapshot { host: usize, life: u64 },
    /// A message arrives at whatever process is there.
    Deliver {
        from: u64,
        host: usize,
        message: PeerMessage,
    },
    /// A request arrives.
    Request { host: usize, op: OpId },
    /// An answer arrives at its client.
    Answer {
        op: OpId,
        header: Header,
        outcome: Result<Body, Failure>,
    },
    /// A client thinks of something to do.
    Client { client: usize },
    /// A client has waited long enough.
    Timeout { client: usize, op: OpId },
    /// A stream event arrives at the process the stream is to.
    Stream {
        host: usize,
        life: u64,
        stream: StreamId,
        event: StreamEvent,
    },
    /// A batch arrives at its watcher.
    Shown {
        watcher: usize,
        stream: StreamId,
        batch: Batch,
    },
    /// A watcher's connection is gone.
    StreamEnd { watcher: usize, stream: StreamId },
    /// A watcher thinks of something to do.
    Watcher { watcher: usize },
    /// The operator thinks of something to do.
    Operator,
    /// What it wishes arrives.
    Wish { host: usize, order: usize },
    /// A host is set up for a member to be.
    Joins { host: usize },
    /// The next fault.
    Fault,
    /// A process starts.
    Start { host: usize },
    /// A paused process goes on.
    Resume { host: usize, life: u64 },
    /// A disk is well again.
    DiskWell { host: usize },
    /// A cut network is whole again.
    Heal,
    /// An agent's request arrives at a member.
    Ask { host: usize, ask: usize },
    /// Something happens to an agent or around it.
    Agents(Happening),
}

struct Entry {
    at: Time,
    /// What was pushed ahead comes before what was not.
    queued: bool,
    sequence: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The heap gives the largest first: the earliest is to be the largest.
    fn cmp(&self, other: &Self) -> Ordering {
        let order = |entry: &Self| (entry.at, entry.queued, entry.sequence);
        order(other).cmp(&order(self))
    }
}

/// All that is going to happen.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    sequence: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Time, event: Event) {
        self.insert(at, true, event);
    }

    /// Before everything else that happens at that time and was not pushed so.
    pub(crate) fn push_ahead(&mut self, at: Time, event: Event) {
        self.insert(at, false, event);
    }

    fn insert(&mut self, at: Time, queued: bool, event: Event) {
        self.sequence += 1;
        self.heap.push(Entry {
            at,
            queued,
            sequence: self.sequence,
            event,
        });
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}
