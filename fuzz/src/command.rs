//! Bodies of log entries.
//!
//! Whatever decodes survives its own encoding, and no row of commands that decode brings a machine down or
//! two machines apart.

use bytes::Bytes;
use store_machine::command::Command;
use store_machine::revision::Index;
use store_machine::{Limits, Machine};

/// Small enough for a fuzzer to reach.
const QUOTA_BYTES: u64 = 4096;

/// Applies a row of commands, each behind its length in one byte; 255 stands for all that is left.
///
/// # Panics
/// When a promise above is broken.
pub fn run(data: &[u8]) {
    let limits = Limits {
        quota_bytes: QUOTA_BYTES,
    };
    let (mut eager, mut lazy) = (Machine::new(limits), Machine::new(limits));
    let mut rest = Bytes::copy_from_slice(data);
    let mut index = 0;
    while !rest.is_empty() {
        let length = usize::from(rest.split_to(1)[0]);
        let length = if length == 255 { rest.len() } else { length };
        let Ok(command) = Command::decode(rest.split_to(length.min(rest.len()))) else {
            continue;
        };
        let mut encoded = Vec::new();
        command.encode(&mut encoded);
        let again = Command::decode(Bytes::from(encoded));
        assert_eq!(again.as_ref(), Ok(&command), "encoded and decoded");
        index += 1;
        let applied = eager.apply(Index(index), command.clone());
        let same = lazy.apply(Index(index), command);
        assert_eq!(format!("{applied:?}"), format!("{same:?}"));
        // When memory is given back must not show.
        eager.scrub(usize::MAX);
    }
    assert_eq!(eager.size_bytes(), lazy.size_bytes());
    assert_eq!(
        eager.hash_kv(eager.revision()),
        lazy.hash_kv(lazy.revision())
    );
}
