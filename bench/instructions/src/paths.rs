//! What is counted.

mod agents;
mod disk;
mod leases;
mod reads;
mod watches;
mod writes;

/// One hot path.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// What one of its counts stands for.
    pub(crate) about: &'static str,
    /// How many of these a run does: enough that what a run costs beside them does not show.
    pub(crate) times: u64,
    /// Makes what it needs; the result does the path `times` times.
    pub(crate) prepare: fn(times: u64) -> Box<dyn FnOnce()>,
}

impl Path {
    /// Prepares, and does it if wanted.
    pub(crate) fn go(&self, prepare_only: bool) {
        let run = (self.prepare)(self.times);
        if prepare_only {
            // What is to be taken down costs the same in both runs: nothing.
            std::mem::forget(run);
        } else {
            run();
        }
    }
}

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them.
pub(crate) const PATHS: &[Path] = &[
    writes::PUT,
    writes::PUT_ALONE,
    writes::TXN,
    reads::RANGE,
    reads::RANGE_1000,
    watches::EVENT,
    watches::CREATE,
    leases::KEEP_ALIVE,
    disk::LOG,
    disk::RECOVER_LOG,
    disk::RECOVER,
    agents::RENDER,
];

/// Requests that come in one turn of a driver with a thousand clients at work (seen: 6 to 100).
const TURN: u64 = 64;

/// Keys the store holds, of 16 bytes with values of 256.
const KEYS: u64 = 20_000;

/// Neighbours in number are far apart in order, as keys of many writers are.
fn key(number: u64) -> bytes::Bytes {
    // The multiplier is odd, so that no two numbers below 2^32 meet.
    let spread = (number as u32).wrapping_mul(2_654_435_761);
    format!("/keys/{spread:010}").into()
}

fn value() -> bytes::Bytes {
    vec![b'v'; 256].into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_path_can_be_prepared_and_done() {
        for path in PATHS {
            (path.prepare)(TURN)();
        }
    }

    #[test]
    fn keys_differ_and_have_sixteen_bytes() {
        let keys: HashSet<_> = (0..KEYS).map(key).collect();
        assert_eq!(keys.len() as u64, KEYS);
        assert!(keys.iter().all(|key| key.len() == 16));
    }
}
