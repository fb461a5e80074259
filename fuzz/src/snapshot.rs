//! A snapshot of the state on its way in, in pieces of any size.
//!
//! What is accepted is a machine that can be asked, written to and snapshotted again; all else is refused, and
//! stays so.

use bytes::Bytes;
use store_machine::command::Command;
use store_machine::request::{KeyRange, PutRequest, RangeEnd, RangeRequest};
use store_machine::revision::{Index, LeaseId};
use store_machine::snapshot::Restore;
use store_machine::{Limits, Machine};

const LIMITS: Limits = Limits {
    quota_bytes: u64::MAX,
};

/// Feeds pieces of a size that the first byte says.
///
/// # Panics
/// When a promise above is broken.
pub fn run(data: &[u8]) {
    let Some((&piece, rest)) = data.split_first() else {
        return;
    };
    let mut restore = Restore::new(LIMITS);
    for piece in rest.chunks(usize::from(piece) + 1) {
        if restore.feed(piece).is_err() {
            assert!(restore.feed(piece).is_err(), "once refused, always refused");
            assert!(restore.finish().is_err());
            return;
        }
    }
    let Ok(mut machine) = restore.finish() else {
        return;
    };
    let written = written(&machine);
    let mut again = Restore::new(LIMITS);
    assert_eq!(
        again.feed(&written),
        Ok(()),
        "what a machine writes is read"
    );
    let again = again.finish().map(|machine| self::written(&machine));
    assert_eq!(again, Ok(written));
    use_it(&mut machine);
}

fn written(machine: &Machine) -> Vec<u8> {
    let mut cursor = machine.snapshot_begin();
    let mut bytes = Vec::new();
    while let Some(chunk) = cursor.chunk(64) {
        bytes.extend(chunk);
    }
    bytes
}

/// Answers may be anything, as long as there is one.
fn use_it(machine: &mut Machine) {
    let all = KeyRange {
        start: Bytes::new(),
        end: RangeEnd::Open,
    };
    drop(machine.range(&RangeRequest::latest(all)));
    let _ = machine.hash_kv(machine.revision());
    let Some(index) = machine.applied().0.checked_add(1) else {
        return;
    };
    let put = PutRequest {
        key: Bytes::from_static(b"k"),
        value: Bytes::from_static(b"v"),
        lease: LeaseId::NONE,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: false,
    };
    machine.apply(Index(index), Command::Put(put));
}
