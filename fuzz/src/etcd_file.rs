//! A snapshot file of etcd, as anybody may hand it to a restore.
//!
//! It is refused, or it is a machine that can be snapshotted, and written as such a file again is the same machine.

use store_bolt::Tree;
use store_bolt::etcd::{Export, import};
use store_machine::{Limits, Machine};

const LIMITS: Limits = Limits {
    quota_bytes: u64::MAX,
};

/// Reads the bytes as a file.
///
/// # Panics
/// When a promise above is broken.
pub fn run(data: &[u8]) {
    let Some(machine) = machine(data) else {
        return;
    };
    let again = self::machine(&file(&machine));
    assert_eq!(
        again.map(|machine| file(&machine)),
        Some(file(&machine)),
        "written and read again"
    );
}

fn machine(file: &[u8]) -> Option<Machine> {
    let tree = Tree::open(file).ok()?;
    import(&tree, LIMITS, |_| {}).ok().map(|read| read.machine)
}

/// The machine as a file of etcd.
pub(crate) fn file(machine: &Machine) -> Vec<u8> {
    let mut export = Export::new(machine.snapshot_begin(), 1);
    let mut file = Vec::new();
    while let Some(piece) = export.piece(4096) {
        file.extend(piece);
    }
    file
}
