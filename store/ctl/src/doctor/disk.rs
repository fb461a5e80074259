//! How long the disk takes to make a write durable: measured in the data folder's own file system, with a file that has no
//! name and so is gone with the process, whatever ends it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{fdatasync, fstatfs, fstatvfs};

use super::finding::{Finding, bytes};

const WHAT: &str = "disk";

/// 2 KiB: a batch of a few small puts, which is what a store syncs most of the time.
const WRITE_BYTES: usize = 2 * 1024;
/// 200: enough for two to stand above the 99th percentile.
const SYNCS_MAX: usize = 200;
/// 2 s: on a disk that is slow enough to reach it a few syncs tell everything.
const TIME_MAX: Duration = Duration::from_secs(2);
/// etcd's own advice (hardware, "disks"): 99 % of syncs below this.
const SLOW: Duration = Duration::from_millis(10);
/// The heartbeat interval: a leader whose disk takes as long holds up every heartbeat's worth of writes.
const TOO_SLOW: Duration = Duration::from_millis(100);
/// 1 GiB: some log segments and a snapshot of a small store.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of the kernel's `magic.h`.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// What was measured.
#[derive(Clone, Debug)]
struct Measured {
    /// Sorted.
    took: Vec<Duration>,
    free_bytes: u64,
    in_memory: bool,
}

/// Measures, blocking, in the folder of that name.
pub(super) fn look(folder: &Path) -> Finding {
    match measure(folder) {
        Ok(measured) => judge(folder, &measured),
        Err(cause) => Finding::wrong(
            WHAT,
            format!(
                "write in {}: {cause}{}",
                folder.display(),
                owner(folder, &cause)
            ),
            advice(&cause),
        ),
    }
}

/// Who may write there, where this user may not.
fn owner(folder: &Path, cause: &io::Error) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::geteuid().as_raw();
    match std::fs::metadata(folder) {
        Ok(found) if cause.kind() == io::ErrorKind::PermissionDenied => {
            format!(
                " (it belongs to user {}, and this is user {user})",
                found.uid()
            )
        }
        _ => String::new(),
    }
}

fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            "run this as the user the store runs as; if that is the one: chown -R the folder, or the volume, to it"
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount it for writing, or a volume there",
        _ => "name the store's --data-dir, which is there and is a folder",
    }
}

fn measure(folder: &Path) -> io::Result<Measured> {
    let mut file = tempfile::tempfile_in(folder)?;
    // Blocks that exist are what the store's own log syncs: it fills its segments ahead of need.
    file.write_all(&vec![0; WRITE_BYTES * SYNCS_MAX])?;
    file.sync_all()?;
    let took = sync_again_and_again(&file)?;
    let room = fstatvfs(&file)?;
    let kind = fstatfs(&file)?.f_type;
    Ok(Measured {
        took,
        free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        in_memory: IN_MEMORY.contains(&kind),
    })
}

fn sync_again_and_again(file: &File) -> io::Result<Vec<Duration>> {
    use std::os::unix::fs::FileExt as _;
    let block = [0x5a; WRITE_BYTES];
    let began = Instant::now();
    let mut took = Vec::with_capacity(SYNCS_MAX);
    for at in 0..SYNCS_MAX {
        let before = Instant::now();
        file.write_all_at(&block, (at * WRITE_BYTES) as u64)?;
        fdatasync(file)?;
        took.push(before.elapsed());
        if began.elapsed() > TIME_MAX {
            break;
        }
    }
    took.sort_unstable();
    Ok(took)
}

fn judge(folder: &Path, measured: &Measured) -> Finding {
    let (median, slowest) = (
        percentile(&measured.took, 50),
        percentile(&measured.took, 99),
    );
    let detail = format!(
        "{} syncs in {}: median {}, 99th percentile {}; {} free",
        measured.took.len(),
        folder.display(),
        millis(median),
        millis(slowest),
        bytes(measured.free_bytes)
    );
    if measured.in_memory {
        return Finding::warning(
            WHAT,
            detail,
            "this file system is in memory: nothing of it survives a restart of the machine",
        );
    }
    if slowest >= TOO_SLOW {
        return Finding::wrong(
            WHAT,
            detail,
            "every write waits for a sync: use a local SSD, and nothing else that syncs on it",
        );
    }
    if measured.free_bytes < FREE_BYTES_MIN {
        let advice = "make room: a store whose log finds none refuses writes";
        return Finding::warning(WHAT, detail, advice);
    }
    if slowest >= SLOW {
        return Finding::warning(
            WHAT,
            detail,
            "99 of 100 syncs should take less than 10 ms; look for what else uses this disk, or take a faster one",
        );
    }
    Finding::fine(WHAT, detail)
}

/// Of a sorted list; zero of an empty one.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn percentiles_are_members_of_the_list() {
        let list: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&list, 50), Duration::from_millis(100));
        assert_eq!(percentile(&list, 99), Duration::from_millis(198));
        assert_eq!(percentile(&list[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn slow_full_and_forgetful_disks_are_told_apart() {
        let room = FREE_BYTES_MIN;
        for (ms, free_bytes, in_memory, state) in [
            (1, room, false, State::Fine),
            (10, room, false, State::Warning),
            (100, room, false, State::Wrong),
            (1, room - 1, false, State::Warning),
            (1, room, true, State::Warning),
        ] {
            let measured = Measured {
                took: vec![Duration::from_millis(ms)],
                free_bytes,
                in_memory,
            };
            let found = judge(Path::new("d"), &measured);
            assert_eq!(found.state, state, "{found}");
        }
    }

    #[test]
    fn nothing_is_left_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let measured = measure(folder.path()).unwrap();
        assert!(!measured.took.is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_said() {
        let found = look(Path::new("/does/not/exist"));
        assert_eq!(found.state, State::Wrong);
        assert!(found.detail.contains("/does/not/exist"), "{found}");
    }
}
