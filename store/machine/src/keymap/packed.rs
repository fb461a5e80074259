//! Sorted byte strings side by side in one buffer, so that a search touches few cache lines and a
//! key costs its bytes and a four-byte end.

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
        let (mut low, mut high) = (0, self.len());
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
        }
        self.ends.insert(position, start as u32);
        for end in &mut self.ends[position..] {
            *end += key.len() as u32;
        }
    }

    pub(super) fn remove(&mut self, position: usize) {
        let range = self.start(position)..self.ends[position] as usize;
        let len = range.len() as u32;
        self.bytes.drain(range);
        self.ends.remove(position);
        for end in &mut self.ends[position..] {
            *end -= len;
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
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        Self { bytes, ends }
    }

    /// Adds keys that all sort behind those here.
    pub(super) fn append(&mut self, other: &Self) {
        let base = self.bytes.len() as u32;
        self.bytes.reserve_exact(other.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.reserve_exact(other.ends.len());
        self.ends.extend(other.ends.iter().map(|end| end + base));
    }
}
