//! A consistent copy of the state in chunks, while writes go on.
//!
//! The cursor shares the segments of history as they are when it begins; what is written, compacted
//! or scrubbed later does not reach it, so nothing has to be held back for its sake. Everything else
//! (leases, alarms, members) is small and copied at the beginning.
//!
//! ```text
//! "muster-s" | version | frame … | end
//! frame: kind | length (4 bytes, little-endian) | content
//!   1  state     once, first: numbers, leases, alarms, members (snapshot/state.rs)
//!   4  trail     once, second: the running checksum (checksum.rs); version 1 has none
//!   2  records   packed records (mvcc/record.rs) in the order they were written
//!   3  end       once, last: CRC-32C of everything before this frame, little-endian
//! ```

mod parts;
mod restore;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::Machine;
use crate::mvcc::Segment;
use crate::revision::{Index, Revision};
pub use parts::Rebuild;
pub use restore::{Restore, RestoreError};
pub use state::State;

/// First bytes of every snapshot.
const MAGIC: &[u8; 8] = b"muster-s";

/// Written behind the magic; the next layout gets the next number.
const VERSION: u8 = 2;

/// The oldest that is still read.
const VERSION_MIN: u8 = 1;

/// Magic and version.
const OPENING_BYTES: usize = MAGIC.len() + 1;

/// Kind and length of a frame.
const FRAME_HEAD_BYTES: usize = 5;

/// Content of the end frame.
const END_BYTES: usize = 4;

mod kind {
    pub(super) const STATE: u8 = 1;
    pub(super) const RECORDS: u8 = 2;
    pub(super) const END: u8 = 3;
    pub(super) const TRAIL: u8 = 4;
}

/// A snapshot on its way out. Owns all it needs: it may move to another thread, and dropping it
/// ends the snapshot. Until then it keeps alive what has been compacted since it began.
#[derive(Clone, Debug)]
pub struct SnapshotCursor {
    applied: Index,
    revision: Revision,
    /// Content of the state frame.
    state: Bytes,
    /// What comes next, bytes shared with the machine where possible.
    pieces: VecDeque<Bytes>,
    segments: std::vec::IntoIter<Arc<Segment>>,
    /// Of everything handed out so far.
    checksum: u32,
    bytes_left: u64,
    ended: bool,
}

impl Machine {
    /// Begins a snapshot of the state as it is now. Takes time in proportion to leases and
    /// segments (64 KiB of history each), not to keys.
    #[must_use]
    pub fn snapshot_begin(&self) -> SnapshotCursor {
        let segments = self.keyspace.freeze();
        let state = state::encode(self);
        let trail = self.trail.encode();
        let frames = 2 * FRAME_HEAD_BYTES + state.len() + trail.len();
        let mut opening = Vec::with_capacity(OPENING_BYTES + frames);
        opening.extend_from_slice(MAGIC);
        opening.push(VERSION);
        for (kind, content) in [(kind::STATE, &state), (kind::TRAIL, &trail)] {
            opening.extend_from_slice(&frame_head(kind, content.len()));
            opening.extend_from_slice(content);
        }
        let records: usize = segments
            .iter()
            .map(|segment| FRAME_HEAD_BYTES + segment.packed_len())
            .sum();
        SnapshotCursor {
            applied: self.applied,
            revision: self.revision(),
            state: Bytes::from(state),
            bytes_left: (opening.len() + records + FRAME_HEAD_BYTES + END_BYTES) as u64,
            pieces: VecDeque::from([Bytes::from(opening)]),
            segments: segments.into_iter(),
            checksum: 0,
            ended: false,
        }
    }
}

impl SnapshotCursor {
    /// The next chunk, of `bytes_max` bytes but for the last; `None` after that.
    pub fn chunk(&mut self, bytes_max: usize) -> Option<Vec<u8>> {
        let bytes_max = bytes_max.max(1);
        let expected = usize::try_from(self.bytes_left)
            .unwrap_or(usize::MAX)
            .min(bytes_max);
        let mut chunk = Vec::with_capacity(expected);
        while chunk.len() < bytes_max {
            let Some(piece) = self.pieces.front_mut() else {
                if self.next_frame() {
                    continue;
                } else {
                    break;
                };
            };
            let taken = piece.split_to(piece.len().min(bytes_max - chunk.len()));
            if piece.is_empty() {
                self.pieces.pop_front();
            }
            self.checksum = crc32c::crc32c_append(self.checksum, &taken);
            chunk.extend_from_slice(&taken);
        }
        self.bytes_left -= chunk.len() as u64;
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Makes the pieces of the next frame, when all before have been handed out; false at the end.
    fn next_frame(&mut self) -> bool {
        if let Some(segment) = self.segments.next() {
            self.pieces
                .push_back(frame_head(kind::RECORDS, segment.packed_len()));
            self.pieces.extend(segment.packed());
        } else if !self.ended {
            self.ended = true;
            self.pieces.push_back(frame_head(kind::END, END_BYTES));
            self.pieces
                .push_back(Bytes::copy_from_slice(&self.checksum.to_le_bytes()));
        } else {
            return false;
        }
        true
    }

    /// Index of the last entry the snapshot contains.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Revision of the snapshot.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Bytes not yet handed out.
    #[must_use]
    pub fn bytes_left(&self) -> u64 {
        self.bytes_left
    }
}

fn frame_head(kind: u8, len: usize) -> Bytes {
    // A frame is a segment or smaller than what requests may hold, far from four GiB.
    let len = u32::try_from(len).expect("a frame below four GiB");
    let [a, b, c, d] = len.to_le_bytes();
    Bytes::copy_from_slice(&[kind, a, b, c, d])
}
