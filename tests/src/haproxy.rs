//! An haproxy of the test's own in master-worker mode: own folder, own configuration, own sockets. The machine's haproxy
//! service is never touched.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, Signal};
use crate::{programs, wait};

/// A running haproxy.
pub struct Haproxy {
    master: PathBuf,
    process: Process,
}

impl Haproxy {
    /// Starts it on this file, its master's socket beside it.
    ///
    /// # Panics
    /// When no worker runs.
    #[track_caller]
    #[must_use]
    pub fn start(file: &Path) -> Self {
        let master = Self::master_socket(file);
        let mut command = Command::new(programs::system("haproxy"));
        command.arg("-W").arg("-S").arg(&master).arg("-f").arg(file);
        let process = Process::spawn("haproxy", &mut command);
        let mut haproxy = Self { master, process };
        wait::until("haproxy to run", wait::LONG, || {
            if let Some(status) = haproxy.process.exited() {
                return Ok(Err(format!("{status}\n{}", haproxy.process.tail())));
            }
            match haproxy.try_worker() {
                Some(_) => Ok(Ok(())),
                None => Err(haproxy.process.tail()),
            }
        })
        .unwrap_or_else(|reason| panic!("haproxy ended: {reason}"));
        haproxy
    }

    /// The socket of the master that runs on this file.
    #[must_use]
    pub fn master_socket(file: &Path) -> PathBuf {
        file.with_extension("master")
    }

    /// Number of the worker that runs on the newest file.
    ///
    /// # Panics
    /// When the master does not tell.
    #[track_caller]
    #[must_use]
    pub fn worker(&self) -> u32 {
        wait::until("haproxy to name its worker", wait::LONG, || {
            self.try_worker().ok_or_else(|| "no answer".to_owned())
        })
    }

    fn try_worker(&self) -> Option<u32> {
        let mut stream = UnixStream::connect(&self.master).ok()?;
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        stream.write_all(b"show proc\n").ok()?;
        // It waits for more until it hears that there is none.
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let workers = answer.split("# workers").nth(1)?;
        workers.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // The master takes its workers with it; killed outright it would leave them.
        self.process.signal(Signal::TERM);
        let _ = wait::try_until("haproxy to end", wait::LONG, || {
            self.process.exited().ok_or_else(String::new)
        });
    }
}
