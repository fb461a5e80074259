//! The snapshot file beside a log.
//!
//! As for the log: refused or passed over, or read twice as the same.

use crate::log;

/// Puts the bytes in place of the snapshot.
///
/// # Panics
/// When a promise of [`log::check`] is broken.
pub fn run(data: &[u8]) {
    let disk = log::folder();
    for path in disk.files() {
        if path
            .extension()
            .is_some_and(|extension| extension == "snap")
        {
            disk.damage(&path, |bytes| *bytes = data.to_vec());
        }
    }
    log::check(&disk);
}
