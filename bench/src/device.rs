//! The block device below a folder, and what was written to it.
//!
//! The kernel also counts writes per process (`write_bytes` in `/proc/<pid>/io`), but in whole
//! folios: where a file was filled in pieces of 1 MiB, Linux 6.18 on ext4 counts 1 MiB for each synced
//! record of 400 bytes, of which the device sees 5 KB. So the device is asked. It cannot tell whose a
//! write was: on a disturbed machine the figure is an upper bound.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of a sector in the kernel's statistics, whatever the device calls one.
const SECTOR_BYTES: u64 = 512;

/// A block device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// Its statistics (Documentation/block/stat.rst of the kernel); `None` where the file system has
    /// no device of its own.
    stat: Option<PathBuf>,
}

impl Device {
    /// The one that `folder` lies on.
    pub(crate) fn below(folder: &Path) -> Device {
        let stat = std::fs::metadata(folder).ok().map(|metadata| {
            let device = metadata.dev();
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"))
        });
        Device {
            stat: stat.filter(|stat| stat.exists()),
        }
    }

    /// No device: nothing is written.
    pub(crate) fn none() -> Device {
        Device { stat: None }
    }

    /// Bytes written to it since the machine was started; 0 where nobody knows.
    pub(crate) fn written_bytes(&self) -> u64 {
        let stat = self
            .stat
            .as_ref()
            .and_then(|stat| std::fs::read_to_string(stat).ok());
        stat.as_deref().map_or(0, sectors_written) * SECTOR_BYTES
    }
}

/// The seventh number.
fn sectors_written(stat: &str) -> u64 {
    stat.split_whitespace()
        .nth(6)
        .and_then(|sectors| sectors.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_the_seventh_number() {
        assert_eq!(sectors_written("  1 2 3 4 5 6 77 8 9 10 11\n"), 77);
        assert_eq!(sectors_written("1 2 3"), 0);
        assert_eq!(Device::none().written_bytes(), 0);
    }

    #[test]
    fn a_folder_in_memory_has_no_device() {
        assert_eq!(Device::below(Path::new("/proc")).written_bytes(), 0);
    }
}
