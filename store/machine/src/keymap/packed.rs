//! Sorted byte strings side by side in one buffer, searched by the four bytes in which they differ
//! first, so that a search touches few cache lines and a key costs its bytes and eight more.
//!
//! ```text
//! /services/api/1   /services/api/2   /services/web/1      skip 10: "/services/" is common to all
//!           api/              api/              web/       heads
//! ```

use std::cmp::Ordering;

/// Spare room taken when the offsets are full: small enough that a half-full node wastes little,
/// large enough that growing is rare.
const ENDS_STEP: usize = 16;

/// A sorted run of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct PackedKeys {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`; it starts where the one before ends.
    ends: Vec<u32>,
    /// Of each key the bytes behind the first `skip`, see [`head`]. Ascending, but not strictly.
    heads: Vec<u32>,
    /// Bytes that all keys begin with; not necessarily all of them.
    skip: usize,
}

/// Four bytes of the key behind the first `skip`, zeros behind its end, as a number: keys that
/// share the first `skip` bytes sort as their heads do, unless those are equal.
fn head(key: &[u8], skip: usize) -> u32 {
    let rest = key.get(skip..).unwrap_or_default();
    match rest.first_chunk() {
        Some(four) => u32::from_be_bytes(*four),
        None => rest.iter().enumerate().fold(0, |head, (position, byte)| {
            head | u32::from(*byte) << (24 - 8 * position)
        }),
    }
}

/// Length of the longest common beginning.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl PackedKeys {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, position: usize) -> &[u8] {
        &self.bytes[self.start(position)..self.ends[position] as usize]
    }

    fn start(&self, position: usize) -> usize {
        position
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize)
    }

    /// Position of `key`, or where it belongs.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        // The first key stands at the beginning of the buffer, and with it what all begin with.
        let prefix = &self.bytes[..self.skip];
        match key[..key.len().min(self.skip)].cmp(prefix) {
            Ordering::Less => return Err(0),
            Ordering::Greater => return Err(self.len()),
            Ordering::Equal => {}
        }
        let head = head(key, self.skip);
        let low = self.heads.partition_point(|other| *other < head);
        if self.heads.get(low) != Some(&head) {
            return Err(low);
        }
        self.search_equal_heads(key, low, head)
    }

    /// The rest of a search, among the keys from `low` on that have the same head.
    fn search_equal_heads(&self, key: &[u8], mut low: usize, head: u32) -> Result<usize, usize> {
        let mut high = low + self.heads[low..].partition_point(|other| *other == head);
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    pub(super) fn insert(&mut self, position: usize, key: &[u8]) {
        let start = self.start(position);
        let len = self.bytes.len();
        if self.bytes.capacity() < len + key.len() {
            // An eighth: doubling would leave a quarter of all key memory unused.
            self.bytes.reserve_exact((len / 8).max(key.len() * 4));
        }
        self.bytes.extend_from_slice(key);
        if start < len {
            self.bytes.copy_within(start..len, start + key.len());
            self.bytes[start..start + key.len()].copy_from_slice(key);
        }
        if self.ends.len() == self.ends.capacity() {
            self.ends.reserve_exact(ENDS_STEP);
            self.heads.reserve_exact(ENDS_STEP);
        }
        self.ends.insert(position, start as u32);
        for end in &mut self.ends[position..] {
            *end += key.len() as u32;
        }
        self.heads.insert(position, head(key, self.skip));
        // Any other key still begins with the former prefix.
        let other = if position == 0 { self.len() - 1 } else { 0 };
        if self.len() == 1 || common(key, self.get(other)) < self.skip {
            self.find_heads();
        }
    }

    /// Finds out anew what all keys begin with: what the first and the last have in common.
    fn find_heads(&mut self) {
        let Some(last) = self.len().checked_sub(1) else {
            self.skip = 0;
            return;
        };
        self.skip = common(self.get(0), self.get(last));
        for position in 0..=last {
            self.heads[position] = head(self.get(position), self.skip);
        }
    }

    pub(super) fn remove(&mut self, position: usize) {
        let range = self.start(position)..self.ends[position] as usize;
        let len = range.len() as u32;
        self.bytes.drain(range);
        self.ends.remove(position);
        self.heads.remove(position);
        for end in &mut self.ends[position..] {
            *end -= len;
        }
        if self.ends.is_empty() {
            self.skip = 0;
        }
    }

    /// Keeps the keys before `position` and returns the others; both without spare room.
    pub(super) fn split_off(&mut self, position: usize) -> Self {
        let start = self.start(position);
        let bytes = self.bytes.split_off(start);
        let mut ends = self.ends.split_off(position);
        for end in &mut ends {
            *end -= start as u32;
        }
        let heads = self.heads.split_off(position);
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.heads.shrink_to_fit();
        let mut other = Self {
            bytes,
            ends,
            heads,
            skip: 0,
        };
        self.find_heads();
        other.find_heads();
        other
    }

    /// Adds keys that all sort behind those here.
    pub(super) fn append(&mut self, other: &Self) {
        let base = self.bytes.len() as u32;
        self.bytes.reserve_exact(other.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.reserve_exact(other.ends.len());
        self.ends.extend(other.ends.iter().map(|end| end + base));
        self.heads.resize(self.ends.len(), 0);
        self.find_heads();
    }
}
