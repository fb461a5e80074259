//! What waits for one peer's stream: two lanes, so that a heartbeat does not stand behind megabytes
//! of entries.
//!
//! The driver and the disk thread put in, the link takes out. When there is no stream, or more waits
//! than may, messages are dropped: raft sends again what matters, once it knows.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use store_member::peer::PeerMessage;
use tokio::sync::Notify;

use super::frame::Frame;
use super::message;

/// Small messages that may wait: a heartbeat and an answer to each of as many appends as may be under
/// way ([`store_member::limits::MESSAGES_IN_FLIGHT_MAX`]), four times over.
const URGENT_MAX: usize = 1_024;

/// Those kept while there is no stream: what is newest is of use to a member that has just come
/// back, above all the call for a vote.
const URGENT_UNCONNECTED_MAX: usize = 16;

/// Large messages that may wait: as many as raft has under way to one peer, and others beside them.
const BULK_MAX: usize = 2 * store_member::limits::MESSAGES_IN_FLIGHT_MAX;

/// Bytes of them: twice what is admitted from clients, so that a peer that pauses for a moment loses
/// nothing.
const BULK_BYTES_MAX: usize = 64 << 20;

/// Bytes taken at once from the bulk lane: what a heartbeat may have to wait for. 2 ms at 1 Gbit/s.
const CHUNK_BYTES: usize = 256 << 10;

/// The lanes to one peer.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    urgent: VecDeque<Frame>,
    bulk: VecDeque<(usize, PeerMessage)>,
    /// Of the messages in `bulk`.
    bulk_bytes: usize,
    connected: bool,
    /// The link waits and must be woken.
    asleep: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Waits,
    /// It, or another, was dropped that raft counts on.
    Dropped,
}

impl Lanes {
    /// Adds a message. [`Lanes::wake`] must follow; once for many.
    pub(crate) fn put(&self, message: PeerMessage) -> Put {
        let bytes = message::bytes(&message);
        let mut state = self.lock();
        if message::is_urgent(&message, bytes) {
            state.put_urgent(Frame::Message(message));
            return Put::Waits;
        }
        if !state.connected {
            return Put::Dropped;
        }
        if state.bulk.len() >= BULK_MAX || state.bulk_bytes + bytes > BULK_BYTES_MAX {
            // Behind a gap none of them is of use: better that the stream runs empty.
            state.drop_bulk();
            return Put::Dropped;
        }
        state.bulk_bytes += bytes;
        state.bulk.push_back((bytes, message));
        Put::Waits
    }

    /// Answers a ping.
    pub(super) fn pong(&self, number: u64) {
        let mut state = self.lock();
        if state.connected {
            state.put_urgent(Frame::Pong(number));
        }
        drop(state);
        self.wake();
    }

    /// Wakes the link if there is something for it.
    pub(crate) fn wake(&self) {
        let mut state = self.lock();
        if state.asleep && !(state.urgent.is_empty() && state.bulk.is_empty()) {
            state.asleep = false;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// The peer has been heard of: a link that pauses between two tries need not wait.
    pub(super) fn nudge(&self) {
        if !self.lock().connected {
            self.wake.notify_one();
        }
    }

    /// Waits for something to send. Safe to cancel.
    pub(super) async fn wait(&self) {
        loop {
            {
                let mut state = self.lock();
                if !(state.urgent.is_empty() && state.bulk.is_empty()) {
                    return;
                }
                state.asleep = true;
            }
            self.wake.notified().await;
        }
    }

    /// Waits for a nudge. Safe to cancel.
    pub(super) async fn nudged(&self) {
        self.wake.notified().await;
    }

    /// Writes all urgent messages and a chunk of the others to `out`; nothing when nothing waits.
    pub(super) fn take(&self, out: &mut Vec<u8>) {
        let mut state = self.lock();
        let urgent = std::mem::take(&mut state.urgent);
        let mut bulk = Vec::new();
        let mut bytes = 0;
        while bytes < CHUNK_BYTES
            && let Some((size, message)) = state.bulk.pop_front()
        {
            bytes += size;
            bulk.push(message);
        }
        state.bulk_bytes -= bytes;
        drop(state);
        for frame in urgent {
            frame.write(out);
        }
        for message in bulk {
            Frame::Message(message).write(out);
        }
    }

    /// There is a stream, or none any more. What waited for the old one is gone with it.
    pub(super) fn set_connected(&self, connected: bool) {
        let mut state = self.lock();
        state.connected = connected;
        state.drop_bulk();
        while state.urgent.len() > URGENT_UNCONNECTED_MAX {
            state.urgent.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops the oldest where there are too many: a newer one of its kind says more.
    fn put_urgent(&mut self, frame: Frame) {
        let max = if self.connected {
            URGENT_MAX
        } else {
            URGENT_UNCONNECTED_MAX
        };
        if self.urgent.len() >= max {
            self.urgent.pop_front();
        }
        self.urgent.push_back(frame);
    }

    fn drop_bulk(&mut self) {
        self.bulk.clear();
        self.bulk_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::peers::message::samples::{append, heartbeat};

    fn taken(lanes: &Lanes) -> Vec<Frame> {
        let mut out = Vec::new();
        lanes.take(&mut out);
        let mut buffer = BytesMut::from(&out[..]);
        std::iter::from_fn(|| Frame::take(&mut buffer).unwrap()).collect()
    }

    #[test]
    fn small_messages_overtake_and_entries_keep_their_order() {
        let lanes = Lanes::default();
        lanes.set_connected(true);
        for message in [
            append(1, 2, 10),
            append(1, 2, CHUNK_BYTES),
            append(1, 2, 20),
            heartbeat(1, 2),
        ] {
            assert_eq!(lanes.put(message), Put::Waits);
        }
        lanes.pong(5);
        let first = vec![
            Frame::Message(heartbeat(1, 2)),
            Frame::Pong(5),
            Frame::Message(append(1, 2, 10)),
            Frame::Message(append(1, 2, CHUNK_BYTES)),
        ];
        assert_eq!(taken(&lanes), first);
        lanes.put(heartbeat(1, 2));
        let second = vec![
            Frame::Message(heartbeat(1, 2)),
            Frame::Message(append(1, 2, 20)),
        ];
        assert_eq!(taken(&lanes), second);
        assert_eq!(taken(&lanes), []);
    }

    #[test]
    fn without_a_stream_only_the_newest_small_ones_are_kept() {
        let lanes = Lanes::default();
        assert_eq!(lanes.put(append(1, 2, 10)), Put::Dropped);
        lanes.pong(1);
        for to in 0..100 {
            assert_eq!(lanes.put(heartbeat(to, 2)), Put::Waits);
        }
        lanes.set_connected(true);
        let kept = taken(&lanes);
        assert_eq!(kept.len(), URGENT_UNCONNECTED_MAX);
        assert_eq!(kept.last(), Some(&Frame::Message(heartbeat(99, 2))));
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_bytes() {
        let lanes = Lanes::default();
        lanes.set_connected(true);
        for _ in 0..BULK_MAX {
            assert_eq!(lanes.put(append(1, 2, 1)), Put::Waits);
        }
        assert_eq!(lanes.put(append(1, 2, 1)), Put::Dropped);
        assert_eq!(lanes.put(append(1, 2, 1)), Put::Waits, "it is empty again");
        assert_eq!(lanes.put(append(1, 2, BULK_BYTES_MAX)), Put::Dropped);
        assert_eq!(taken(&lanes), []);
        for _ in 0..2 * URGENT_MAX {
            lanes.put(heartbeat(1, 2));
        }
        assert_eq!(taken(&lanes).len(), URGENT_MAX);
    }

    #[tokio::test]
    async fn a_link_that_waits_is_woken() {
        let lanes = std::sync::Arc::new(Lanes::default());
        lanes.set_connected(true);
        let link = tokio::spawn({
            let lanes = std::sync::Arc::clone(&lanes);
            async move { lanes.wait().await }
        });
        // On the one thread of this test, the link runs up to its wait.
        tokio::task::yield_now().await;
        assert!(lanes.lock().asleep && !link.is_finished());
        lanes.wake();
        assert!(lanes.lock().asleep, "there is nothing to wake it for");
        lanes.put(heartbeat(1, 2));
        lanes.wake();
        link.await.unwrap();
    }
}
