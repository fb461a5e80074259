//! How records lie in a segment file, and how a torn tail is told from damage.
//!
//! A log is a row of segment files, `<number as 16 hex digits>.wal`, of equal size, written from the
//! front. A segment holds frames back to back, the first at offset 0, each on a multiple of 8 bytes.
//! One [`crate::Wal::append`] is one frame, so a batch is recovered whole or not at all.
//!
//! ```text
//! frame   0  magic "MWF1"                       all integers little-endian
//!         4  CRC32C of the head: seed, offset of the frame, bytes 8..32
//!         8  sequence: 1 on the first frame of the log, one more on each, across segments
//!        16  window: sequence - (sequence of the last frame known durable when this was written)
//!        20  length of the body
//!        24  number of records in the body
//!        28  CRC32C of the body: seed, body, padding
//!        32  body: records back to back, then zeros up to a multiple of 8
//! record  0  tag   1  kind   2  zero   4  length of the content   8  three or two u64 by tag, content
//! ```
//!
//! The seed is the CRC32C of cluster, member and segment number. Numbers that differ only in their low
//! 32 bits never give the same seed (a CRC tells all bursts of up to 32 bits apart), and with different
//! seeds the same bytes never have the same CRC. So a frame left over in a file that is used again, under a
//! higher number, is never taken for a new one, and the rest of a spare file need not be zero.
//!
//! The first frame of a segment carries what must outlive the removal of older segments: the newest
//! snapshot mark and the last vote, and also where the segment before it ended. A segment gets its
//! name only when that frame, and everything in the segment before it, is durable.
//!
//! # Torn or damaged
//! Writes that were under way at a power cut may be on disk in any part, in any order:
//!
//! ```text
//!   sequence    1      2      3   |   4      5      6
//!             [ok]   [ok]   [ok]  |  [~~]   [ok]   [--]      3 was synced, 4 5 6 were not
//!   window      1      1      1   |   1      2      3        5 says: durable up to 3 (5 - 2)
//! ```
//! Reading stops at the first frame that is not valid, 4. **Rule: if any frame head after it says that 4
//! was durable (sequence - window >= 4), the log is damaged and refused; otherwise 4 and all after it
//! belong to the one batch that was never synced, were never acknowledged, and are cut off** (overwritten
//! with zeros, synced, before anything else is written). In a segment that has a successor every byte was durable,
//! so anything but the exact end its successor names is damage.
//!
//! What a log cannot know: damage to frames after which nothing was written looks like a torn tail. To keep
//! that window small, opening and closing each write an empty frame after a sync: whatever was there before
//! the last start or clean stop is never cut.
//!
//! Assumed of the disk: overwriting part of a sector leaves its other bytes as they were
//! ("powersafe overwrite" in SQLite's words).

use crate::checksum;
use crate::record::{Entry, Record, Vote};
use crate::wal::Identity;

/// Bytes of a frame before its body.
pub(crate) const HEAD_BYTES: usize = 32;
/// Frames and the scan for them step by this.
pub(crate) const ALIGN: usize = 8;
/// Bytes of a record before its content: the lead of 8 and at most three integers.
const RECORD_BYTES: usize = 32;
/// Bytes of an entry's record besides its body.
pub(crate) const ENTRY_BYTES: usize = 24;
/// The longest first frame: start, mark and vote.
pub(crate) const CARRY_BYTES: usize = HEAD_BYTES + 3 * RECORD_BYTES;
/// `MWF1`: the digit is the frame format; the folder's version goes up with it.
const MAGIC: [u8; 4] = *b"MWF1";

const TAG_ENTRY: u8 = 1;
const TAG_VOTE: u8 = 2;
const TAG_START: u8 = 3;
const TAG_MARK: u8 = 4;

/// The newest snapshot that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

/// What a mark says of the entries before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkKind {
    /// The snapshot was taken of this log.
    Continues = 0,
    /// It came from another member and replaces the log: no entry before the mark counts.
    Replaces = 1,
}

/// First record of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Its number, as in its name.
    pub(crate) number: u64,
    /// Where the segment before it ended; 0 in the very first.
    pub(crate) previous_end: u64,
    /// The file held an older segment: what lies beyond the end need not be zero.
    pub(crate) recycled: bool,
}

/// A record as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Entry {
        index: u64,
        term: u64,
        kind: u8,
        body: &'a [u8],
    },
    Vote(Vote),
    Start(Start),
    Mark(Mark, MarkKind),
}

impl<'a> From<&'a Record> for Item<'a> {
    fn from(record: &'a Record) -> Self {
        match record {
            Record::Entry(Entry {
                index,
                term,
                kind,
                body,
            }) => Item::Entry {
                index: *index,
                term: *term,
                kind: *kind,
                body,
            },
            Record::Vote(vote) => Item::Vote(*vote),
        }
    }
}

impl Item<'_> {
    /// Bytes it takes in a body.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Item::Entry { body, .. } => ENTRY_BYTES + body.len(),
            Item::Mark(..) => RECORD_BYTES - 8,
            Item::Vote(_) | Item::Start(_) => RECORD_BYTES,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut lead = |tag: u8, kind: u8, length: u32, fields: &[u64]| {
            out.extend_from_slice(&[tag, kind, 0, 0]);
            out.extend_from_slice(&length.to_le_bytes());
            for field in fields {
                out.extend_from_slice(&field.to_le_bytes());
            }
        };
        match *self {
            Item::Entry {
                index,
                term,
                kind,
                body,
            } => {
                lead(TAG_ENTRY, kind, length_u32(body.len()), &[index, term]);
                out.extend_from_slice(body);
            }
            Item::Vote(Vote { term, vote, commit }) => lead(TAG_VOTE, 0, 0, &[term, vote, commit]),
            Item::Start(Start {
                number,
                previous_end,
                recycled,
            }) => {
                lead(
                    TAG_START,
                    0,
                    0,
                    &[number, previous_end, u64::from(recycled)],
                );
            }
            Item::Mark(Mark { index, term }, kind) => lead(TAG_MARK, kind as u8, 0, &[index, term]),
        }
    }
}

/// Reads the records of a body, in order.
pub(crate) struct Items<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Items<'a> {
    /// The next record. `Err`: the body is not what this program writes, although its CRC holds.
    pub(crate) fn next(&mut self) -> Result<Option<Item<'a>>, &'static str> {
        if self.left == 0 {
            // Padding only.
            return if self.rest.len() < ALIGN {
                Ok(None)
            } else {
                Err("bytes after the last record")
            };
        }
        self.left -= 1;
        let lead = self.take(8)?;
        let (tag, kind, length) = (lead[0], lead[1], read_u32(lead, 4) as usize);
        let item = match tag {
            TAG_ENTRY => {
                let fields = self.take(16)?;
                let body = self.take(length)?;
                Item::Entry {
                    index: read_u64(fields, 0),
                    term: read_u64(fields, 8),
                    kind,
                    body,
                }
            }
            TAG_VOTE => {
                let fields = self.take(24)?;
                Item::Vote(Vote {
                    term: read_u64(fields, 0),
                    vote: read_u64(fields, 8),
                    commit: read_u64(fields, 16),
                })
            }
            TAG_START => {
                let fields = self.take(24)?;
                Item::Start(Start {
                    number: read_u64(fields, 0),
                    previous_end: read_u64(fields, 8),
                    recycled: read_u64(fields, 16) != 0,
                })
            }
            TAG_MARK => {
                let fields = self.take(16)?;
                let mark = Mark {
                    index: read_u64(fields, 0),
                    term: read_u64(fields, 8),
                };
                let kind = if kind == 0 {
                    MarkKind::Continues
                } else {
                    MarkKind::Replaces
                };
                Item::Mark(mark, kind)
            }
            _ => return Err("a record of an unknown kind"),
        };
        Ok(Some(item))
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], &'static str> {
        let (head, rest) = self
            .rest
            .split_at_checked(bytes)
            .ok_or("a record longer than its frame")?;
        self.rest = rest;
        Ok(head)
    }
}

/// What the CRCs of one segment start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(identity: Identity, number: u64) -> Self {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&identity.cluster.to_le_bytes());
        bytes[8..16].copy_from_slice(&identity.member.to_le_bytes());
        bytes[16..].copy_from_slice(&number.to_le_bytes());
        Self(crc32c::crc32c(&bytes))
    }

    fn head(self, offset: u64, head: &[u8]) -> u32 {
        crc32c::crc32c_append(
            crc32c::crc32c_append(self.0, &offset.to_le_bytes()),
            &head[8..],
        )
    }

    fn body(self, body: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, body)
    }
}

/// Position of a frame in the row of all frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its sequence.
    pub(crate) sequence: u64,
    /// Sequence of the last frame that was durable when it was written; below `sequence`.
    pub(crate) durable: u64,
}

/// Size on disk of a frame with so many bytes of records.
pub(crate) const fn frame_bytes(records_bytes: usize) -> usize {
    (HEAD_BYTES + records_bytes).next_multiple_of(ALIGN)
}

/// Replaces `out` with one frame.
pub(crate) fn encode_frame<'a>(
    out: &mut Vec<u8>,
    seed: Seed,
    offset: u64,
    place: Place,
    items: impl Iterator<Item = Item<'a>>,
) {
    out.clear();
    out.resize(HEAD_BYTES, 0);
    let mut records = 0_u32;
    for item in items {
        item.encode(out);
        records += 1;
    }
    let length = length_u32(out.len() - HEAD_BYTES);
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    let window = u32::try_from(place.sequence - place.durable).unwrap_or(u32::MAX);
    let body_crc = seed.body(&out[HEAD_BYTES..]);
    out[..4].copy_from_slice(&MAGIC);
    out[8..16].copy_from_slice(&place.sequence.to_le_bytes());
    out[16..20].copy_from_slice(&window.to_le_bytes());
    out[20..24].copy_from_slice(&length.to_le_bytes());
    out[24..28].copy_from_slice(&records.to_le_bytes());
    out[28..32].copy_from_slice(&body_crc.to_le_bytes());
    let head_crc = seed.head(offset, &out[..HEAD_BYTES]);
    out[4..8].copy_from_slice(&head_crc.to_le_bytes());
}

/// A frame head that was written for just this offset of just this segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) place: Place,
    length: usize,
    records: u32,
    body_crc: u32,
}

impl Head {
    /// The head at `offset` of the segment `bytes`.
    pub(crate) fn at(bytes: &[u8], seed: Seed, offset: usize) -> Option<Self> {
        let head = bytes.get(offset..offset.checked_add(HEAD_BYTES)?)?;
        let whole = || checksum::holds(read_u32(head, 4), seed.head(offset as u64, head));
        if head[..4] != MAGIC || !whole() {
            return None;
        }
        let (sequence, window) = (read_u64(head, 8), u64::from(read_u32(head, 16)));
        Some(Self {
            place: Place {
                sequence,
                durable: sequence.checked_sub(window)?,
            },
            length: read_u32(head, 20) as usize,
            records: read_u32(head, 24),
            body_crc: read_u32(head, 28),
        })
    }

    /// Size of the whole frame.
    pub(crate) const fn frame_bytes(&self) -> usize {
        frame_bytes(self.length)
    }

    /// The records, if the body at `offset` is whole.
    pub(crate) fn items<'a>(
        &self,
        bytes: &'a [u8],
        seed: Seed,
        offset: usize,
    ) -> Option<Items<'a>> {
        let body = bytes.get(offset + HEAD_BYTES..offset.checked_add(self.frame_bytes())?)?;
        if !checksum::holds(self.body_crc, seed.body(body)) {
            return None;
        }
        // The padding stays in: its length is checked when the records are through.
        Some(Items {
            rest: body,
            left: self.records,
        })
    }
}

/// A length that was bounded by the segment size before.
fn length_u32(bytes: usize) -> u32 {
    u32::try_from(bytes)
        .unwrap_or_else(|_| unreachable!("frames are bounded by segments, segments by 1 GiB"))
}

pub(crate) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

pub(crate) fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests;
