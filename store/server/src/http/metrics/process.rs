//! What the system says of the process; left out where it does not say.

use super::super::exposition::{Exposition, Kind};

/// The process's own numbers.
pub(super) fn process(page: &mut Exposition) {
    use Kind::Gauge;
    let page_bytes = rustix::param::page_size() as u64;
    if let Some(pages) = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok())
    {
        page.single(
            "process_resident_memory_bytes",
            Gauge,
            "Resident memory size in bytes.",
            pages * page_bytes,
        );
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        let open = files.count();
        page.single("process_open_fds", Gauge, "Open file descriptors.", open);
        page.single("os_fd_used", Gauge, "Open file descriptors.", open);
    }
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        let help = "Most file descriptors that may be open.";
        page.single("process_max_fds", Gauge, help, limit);
        page.single("os_fd_limit", Gauge, help, limit);
    }
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    if let Some(ticks) = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|text| cpu_ticks(&text))
    {
        page.single(
            "process_cpu_seconds_total",
            Kind::Counter,
            "User and system CPU time in seconds.",
            ticks as f64 / ticks_per_second as f64,
        );
    }
}

/// User and system time from `/proc/self/stat`, whose second field may hold spaces.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a b) c) S 1 1 1 0 -1 4194304 100 0 0 0 17 5 0 0 20 0 4 0 1000 1 1";
        assert_eq!(cpu_ticks(stat), Some(22));
        assert_eq!(cpu_ticks("42 (a"), None);
    }
}
