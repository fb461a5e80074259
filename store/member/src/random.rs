//! A small generator with a seed: all randomness of a member comes from here.

/// `SplitMix64` (Steele, Lea, Flood 2014): one multiplication-xorshift chain per number. Not for
/// secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `from..to`; `from` when the range is empty. The bias of the remainder is far
    /// below what matters for a timeout.
    pub(crate) const fn between(&mut self, from: u64, to: u64) -> u64 {
        if to <= from {
            return from;
        }
        from + self.next() % (to - from)
    }
}
