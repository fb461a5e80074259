//! Where and when figures were taken.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A machine, as far as it matters to figures.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Processor.
    pub(crate) processor: String,
    /// Cores this process may use.
    pub(crate) cores: usize,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Type of the file system the data lay on.
    pub(crate) file_system: String,
}

impl Machine {
    /// This one, with data under `folder`. What cannot be found out is "unknown".
    pub(crate) fn this(folder: &Path) -> Machine {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Machine {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: field(&read("/proc/meminfo"), "MemTotal")
                .split_whitespace()
                .next()
                .and_then(|kibibytes| kibibytes.parse::<u64>().ok())
                .unwrap_or(0)
                / 1024,
            kernel: known(read("/proc/sys/kernel/osrelease").trim()),
            file_system: known(file_system(&read("/proc/mounts"), &folder)),
        }
    }
}

/// Value of the first `name : value` line.
fn field(text: &str, name: &str) -> String {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    known(
        values
            .into_iter()
            .find(|(key, _)| key.trim() == name)
            .map_or("", |(_, value)| value.trim()),
    )
}

fn known(text: &str) -> String {
    if text.is_empty() {
        "unknown".to_owned()
    } else {
        text.to_owned()
    }
}

/// Type of the file system that `folder` lies on: the mount with the longest path above it.
fn file_system<'a>(mounts: &'a str, folder: &Path) -> &'a str {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(place, _)| folder.starts_with(place))
        .max_by_key(|(place, _)| place.len())
        .map_or("", |(_, kind)| kind)
}

/// Today's date, UTC, as 2026-01-31.
pub(crate) fn today() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    date(seconds / 86_400)
}

/// The day that lies `days` after 1970-01-01, in the Gregorian calendar.
fn date(days: u64) -> String {
    let mut days = days;
    let mut year = 1970;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let year_days = |year| if leap(year) { 366 } else { 365 };
    while days >= year_days(year) {
        days -= year_days(year);
        year += 1;
    }
    let mut month = 1;
    for month_days in [
        31,
        if leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
    ] {
        if days < month_days {
            break;
        }
        days -= month_days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (20_818, "2026-12-31"),
            (20_819, "2027-01-01"),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/deep xfs rw 0 0\n";
        for (folder, kind) in [
            ("/tmp/deep/er", "xfs"),
            ("/tmp/deeper", "tmpfs"),
            ("/var", "ext4"),
        ] {
            assert_eq!(file_system(mounts, Path::new(folder)), kind);
        }
        assert_eq!(file_system("", Path::new("/")), "");
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::this(Path::new("."));
        assert!(machine.cores >= 1 && machine.memory_mib > 0);
        assert_ne!(machine.kernel, "unknown");
    }
}
