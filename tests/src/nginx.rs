//! An nginx of the test's own: own prefix, own configuration, one port on the loopback address. The machine's nginx
//! service is never touched.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Process, Signal};
use crate::{programs, wait};

/// A running nginx in a folder.
pub struct Nginx {
    prefix: PathBuf,
    address: SocketAddr,
    process: Process,
}

impl Nginx {
    /// Writes the main configuration `main` as `<prefix>/nginx.conf`, with `PORT` replaced, and starts nginx on it.
    ///
    /// # Panics
    /// When it does not listen.
    #[track_caller]
    #[must_use]
    pub fn start(prefix: &Path, main: &str, port: u16) -> Self {
        Self::start_with(prefix, main, port, |command| command)
    }

    /// [`Nginx::start`] with the command changed before it runs.
    ///
    /// # Panics
    /// When it does not listen.
    #[track_caller]
    #[must_use]
    pub fn start_with(
        prefix: &Path,
        main: &str,
        port: u16,
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let conf = prefix.join("nginx.conf");
        std::fs::write(&conf, main.replace("PORT", &port.to_string()))
            .unwrap_or_else(|cause| panic!("write {}: {cause}", conf.display()));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = Self::command(prefix);
        change(command.args(["-g", "daemon off;"]));
        let mut process = Process::spawn(format!("nginx on {port}"), &mut command);
        wait::until("nginx to listen", wait::LONG, || match process.exited() {
            Some(status) => Ok(Err(format!("nginx ended: {status}\n{}", process.tail()))),
            None => std::net::TcpStream::connect(address)
                .map(|_| Ok(()))
                .map_err(|cause| cause.to_string()),
        })
        .unwrap_or_else(|reason: String| panic!("{reason}"));
        Self {
            prefix: prefix.to_owned(),
            address,
            process,
        }
    }

    fn command(prefix: &Path) -> Command {
        let mut command = Command::new(programs::system("nginx"));
        // The error log on the command line: before the configuration is read, nginx would open the system's.
        command
            .arg("-e")
            .arg("stderr")
            .arg("-p")
            .arg(prefix)
            .arg("-c")
            .arg(prefix.join("nginx.conf"));
        command
    }

    /// The shell command that calls it as it was started.
    #[must_use]
    pub fn call(prefix: &Path) -> String {
        shell(&Self::command(prefix))
    }

    /// The shell command that checks its configuration, for `check_cmd`.
    #[must_use]
    pub fn check_command(prefix: &Path) -> String {
        shell(Self::command(prefix).arg("-t"))
    }

    /// The shell command that reloads it, for `reload_cmd`.
    #[must_use]
    pub fn reload_command(prefix: &Path) -> String {
        shell(Self::command(prefix).args(["-s", "reload"]))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Has it ended by itself?
    pub fn exited(&mut self) -> bool {
        self.process.exited().is_some()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master takes its workers with it; killed outright it would leave them.
        self.process.signal(Signal::TERM);
        let _ = wait::try_until("nginx to end", wait::LONG, || {
            self.process.exited().ok_or_else(String::new)
        });
    }
}

/// The words of a command in one line; none of them has a quote in it.
fn shell(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}
