//! The one source of chance in a run.

/// `SplitMix64` (Steele, Lea, Flood 2014): small enough to own, so that a seed means the same run on
/// every machine and with every version of every library.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
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

    /// A number below `bound`; 0 when that is 0.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// A number in `from..=to`.
    pub(crate) const fn between(&mut self, from: u64, to: u64) -> u64 {
        if to <= from {
            return from;
        }
        from + self.below(to - from + 1)
    }

    /// True once in `times`.
    pub(crate) const fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// True with this many per mille.
    pub(crate) const fn per_mille(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// A place in a list of `len`.
    pub(crate) fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// Mostly near `from`, now and then up to `to`: delays have long tails.
    pub(crate) const fn skewed(&mut self, from: u64, to: u64) -> u64 {
        let span = if self.once_in(10) {
            to
        } else {
            from + (to.saturating_sub(from)) / 10
        };
        self.between(from, span)
    }
}
