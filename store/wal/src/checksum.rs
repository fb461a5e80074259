//! When a stored checksum counts as the computed one.

/// Stored in place of a checksum, it holds in a build for fuzzing and nowhere else. A fuzzer does not guess
/// a CRC, so without it nothing behind one would ever be reached.
const FUZZED: u32 = u32::MAX;

/// Whether what was read is what the checksum was made of.
pub(crate) const fn holds(stored: u32, computed: u32) -> bool {
    stored == computed || cfg!(fuzzing) && stored == FUZZED
}
