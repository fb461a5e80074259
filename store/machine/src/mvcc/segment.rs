//! A run of history: records in the order they were written, packed into one shared buffer.
//!
//! Readers get slices of the buffer and copy nothing. Dropping a record only notes it; once half of
//! the bytes are dropped, the others move to a new buffer, and the old one goes when the last reader
//! lets go of it. A record keeps the address it was first given:
//!
//! ```text
//! address        0         40        90   130            0         90
//!                | a       | b (dropped)  | c        ->  | a       | c
//! offset now     0         40        90                  0         40     moved: [(0,0), (90,40)]
//! ```

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;

use super::record::{Head, Record};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Packed records; of a large one all but the value.
    bytes: Bytes,
    /// The value of the only record, when it was too large to pack.
    large: Option<Bytes>,
    /// Address to offset, ascending in both; `None` while they are the same.
    moved: Option<Box<[(u32, u32)]>>,
    /// Addresses of dropped records that still are in `bytes`; in the order they were dropped.
    dropped: Vec<u32>,
    dropped_bytes: usize,
    /// Revision of the first record it was made of.
    pub(super) first: i64,
    /// Place in the order of segments; with `first` the key in the history's directory.
    pub(super) serial: u64,
}

/// What became of a segment that gave up a record.
pub(super) enum Dropped {
    /// It was the last one.
    Last,
    /// There are others.
    Kept {
        /// How many of them were moved for that.
        moved: usize,
    },
}

impl Segment {
    /// Packs records, each with the address it has. `dropped` ones are left out.
    pub(super) fn pack(records: &[(u32, Record)], dropped: &BTreeSet<u32>, serial: u64) -> Self {
        let kept = || records.iter().filter(|(at, _)| !dropped.contains(at));
        let mut bytes = Vec::with_capacity(kept().map(|(_, record)| record.packed_len()).sum());
        let mut moved = Vec::new();
        for (at, record) in kept() {
            if !dropped.is_empty() {
                moved.push((*at, bytes.len() as u32));
            }
            record.pack_head(&mut bytes);
            bytes.extend_from_slice(&record.value);
        }
        Self {
            bytes: Bytes::from(bytes),
            large: None,
            moved: (!dropped.is_empty()).then(|| moved.into_boxed_slice()),
            dropped: Vec::new(),
            dropped_bytes: 0,
            first: records.first().map_or(0, |(_, record)| record.modified),
            serial,
        }
    }

    /// A segment of one record that keeps its value where it is.
    pub(super) fn large(record: Record, serial: u64) -> Self {
        let mut bytes = Vec::with_capacity(record.packed_len() - record.value.len());
        record.pack_head(&mut bytes);
        Self {
            bytes: Bytes::from(bytes),
            large: Some(record.value),
            moved: None,
            dropped: Vec::new(),
            dropped_bytes: 0,
            first: record.modified,
            serial,
        }
    }

    /// The record at an address.
    pub(super) fn read(&self, at: u32) -> Record {
        let offset = match &self.moved {
            None => at as usize,
            Some(moved) => match moved.binary_search_by_key(&at, |(at, _)| *at) {
                Ok(position) => moved[position].1 as usize,
                Err(_) => panic!("no record at {at} of segment {}", self.serial),
            },
        };
        self.record(&self.head(offset))
    }

    /// Visits address, numbers and extent of each record that was not dropped.
    fn heads(&self, mut visit: impl FnMut(u32, &Head, Range<usize>) -> ControlFlow<()>) {
        let mut dropped = self.dropped.clone();
        dropped.sort_unstable();
        let (mut offset, mut position) = (0, 0);
        while offset < self.bytes.len() {
            let head = self.head(offset);
            let end = match self.large {
                Some(_) => self.bytes.len(),
                None => head.value + head.value_len,
            };
            let at = self
                .moved
                .as_ref()
                .map_or(offset as u32, |moved| moved[position].0);
            if dropped.binary_search(&at).is_err() && visit(at, &head, offset..end).is_break() {
                return;
            }
            offset = end;
            position += 1;
        }
    }

    /// Visits address and record of each record that was not dropped and is not older than `from`.
    pub(crate) fn walk(&self, from: i64, mut visit: impl FnMut(u32, Record) -> ControlFlow<()>) {
        self.heads(|at, head, _| {
            if head.modified < from {
                return ControlFlow::Continue(());
            }
            visit(at, self.record(head))
        });
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.packed_len() + self.dropped_bytes
    }

    /// Length of [`Segment::packed`].
    pub(crate) fn packed_len(&self) -> usize {
        let large = self.large.as_ref().map_or(0, Bytes::len);
        self.bytes.len() - self.dropped_bytes + large
    }

    /// The packed records that were not dropped: runs of bytes which, one after the other, are
    /// records in their packed form.
    pub(crate) fn packed(&self) -> Vec<Bytes> {
        if let Some(large) = &self.large {
            return vec![self.bytes.clone(), large.clone()];
        }
        if self.dropped.is_empty() {
            return vec![self.bytes.clone()];
        }
        let mut runs: Vec<Range<usize>> = Vec::new();
        self.heads(|_, _, extent| {
            match runs.last_mut() {
                Some(run) if run.end == extent.start => run.end = extent.end,
                _ => runs.push(extent),
            }
            ControlFlow::Continue(())
        });
        runs.into_iter().map(|run| self.bytes.slice(run)).collect()
    }

    /// Gives up the record at `at`.
    pub(super) fn drop_record(&mut self, at: u32) -> Dropped {
        if self.large.is_some() {
            return Dropped::Last;
        }
        self.dropped_bytes += self.read(at).packed_len();
        self.dropped.push(at);
        if self.dropped_bytes == self.bytes.len() {
            return Dropped::Last;
        }
        // Half: rewriting then costs at most a byte moved per byte dropped.
        let moved = if self.dropped_bytes * 2 >= self.bytes.len() {
            self.rewrite()
        } else {
            0
        };
        Dropped::Kept { moved }
    }

    /// Moves what was not dropped to a new buffer; returns how many records that were.
    fn rewrite(&mut self) -> usize {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.dropped_bytes);
        let mut moved = Vec::new();
        self.heads(|at, _, extent| {
            moved.push((at, bytes.len() as u32));
            bytes.extend_from_slice(&self.bytes[extent]);
            ControlFlow::Continue(())
        });
        let count = moved.len();
        self.bytes = Bytes::from(bytes);
        self.moved = Some(moved.into_boxed_slice());
        self.dropped = Vec::new();
        self.dropped_bytes = 0;
        count
    }

    fn head(&self, offset: usize) -> Head {
        match Head::parse(&self.bytes, offset) {
            Some(head) => head,
            None => panic!("no packed record at {offset} of segment {}", self.serial),
        }
    }

    fn record(&self, head: &Head) -> Record {
        let value = match &self.large {
            Some(large) => large.clone(),
            None => self.bytes.slice(head.value..head.value + head.value_len),
        };
        Record::new(head, self.bytes.slice(head.key..head.value), value)
    }
}
