//! Time as the member sees it: a number the shell passes in. Nothing here reads a clock.

/// Milliseconds since a fixed point of the shell's choice (its start, the simulation's start).
/// Comparable only within one life of a member; never stored, never sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than anything: a deadline that does not come.
    pub const NEVER: Self = Self(u64::MAX);

    /// This moment plus `ms` milliseconds.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; 0 when `earlier` lies ahead (a clock that stepped back).
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
