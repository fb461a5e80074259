//! What a process has used so far, as the kernel counts it (proc(5)).

use std::path::PathBuf;
use std::time::Duration;

/// Ticks per second in `/proc/<pid>/stat`: USER_HZ, 100 on every architecture this builds for.
const TICKS_PER_SECOND: u64 = 100;

/// What one process, or several together, have used since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time, user and system, all threads.
    pub(crate) cpu: Duration,
    /// Bytes resident now.
    pub(crate) resident_bytes: u64,
    /// Most bytes that were ever resident.
    pub(crate) peak_bytes: u64,
}

/// Why a process could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("read {path}")]
pub(crate) struct ProcessError {
    path: PathBuf,
    source: std::io::Error,
}

impl Usage {
    /// The sum over the processes `ids`.
    pub(crate) fn of(ids: &[u32]) -> Result<Usage, ProcessError> {
        let mut sum = Usage::default();
        for id in ids {
            let stat = read(*id, "stat")?;
            let status = read(*id, "status")?;
            sum.cpu += cpu(&stat);
            sum.resident_bytes += line(&status, "VmRSS:") * 1024;
            sum.peak_bytes += line(&status, "VmHWM:") * 1024;
        }
        Ok(sum)
    }

    /// This process.
    pub(crate) fn own() -> Result<Usage, ProcessError> {
        Usage::of(&[std::process::id()])
    }
}

/// CPU time that everything on this machine has used since it was started.
pub(crate) fn machine_busy() -> Result<Duration, ProcessError> {
    let path = PathBuf::from("/proc/stat");
    match std::fs::read_to_string(&path) {
        Ok(stat) => Ok(busy(&stat)),
        Err(source) => Err(ProcessError { path, source }),
    }
}

/// All of the first line but `idle` and `iowait`, fields 4 and 5, and what is counted twice behind
/// `steal`, field 8.
fn busy(stat: &str) -> Duration {
    let first = stat.lines().next().unwrap_or_default();
    let fields = first.split_whitespace().skip(1).take(8);
    let used = fields
        .enumerate()
        .filter(|(place, _)| *place != 3 && *place != 4);
    ticks(
        used.filter_map(|(_, field)| field.parse::<u64>().ok())
            .sum(),
    )
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / TICKS_PER_SECOND)
}

fn read(id: u32, file: &str) -> Result<String, ProcessError> {
    let path = PathBuf::from(format!("/proc/{id}/{file}"));
    std::fs::read_to_string(&path).map_err(|source| ProcessError { path, source })
}

/// `utime` and `stime`, fields 14 and 15. The name in field 2 may hold blanks and parentheses, so
/// counting starts behind the last parenthesis.
fn cpu(stat: &str) -> Duration {
    let behind_name = stat.rfind(')').map_or("", |at| &stat[at + 1..]);
    let fields = behind_name.split_whitespace().skip(11).take(2);
    ticks(fields.filter_map(|field| field.parse::<u64>().ok()).sum())
}

/// The number behind `name` in a file of `name value` lines; 0 where there is none.
fn line(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_behind_any_name() {
        for name in ["etcd", "a b", "x) S 1 2 (y"] {
            let stat = format!("7 ({name}) S 1 7 7 0 -1 4194560 2000 0 1 0 150 25 0 0 20 0 9 0 1");
            assert_eq!(cpu(&stat), Duration::from_millis(1750), "{name}");
        }
        assert_eq!(cpu("nonsense"), Duration::ZERO);
    }

    #[test]
    fn the_machine_is_busy_when_it_is_not_idle() {
        let stat = "cpu  100 10 20 5000 300 3 4 2 50 5\ncpu0 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(busy(stat), Duration::from_millis(1390));
        assert!(machine_busy().unwrap() > Duration::ZERO);
    }

    #[test]
    fn lines_are_found_by_their_whole_name() {
        let text = "VmHWMore: 1 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 7 kB\n";
        assert_eq!(line(text, "VmHWM:"), 2048);
        assert_eq!(line(text, "VmSwap:"), 0);
    }

    #[test]
    fn this_process_has_memory() {
        let usage = Usage::own().unwrap();
        assert!(usage.resident_bytes > 0 && usage.peak_bytes >= usage.resident_bytes / 2);
    }
}
