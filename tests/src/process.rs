//! A child process with its output collected line by line. Ends with its owner: dropped means killed, by pid, and
//! waited for. When a test fails, the last lines of each process it had are shown.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, kill_process};

use crate::{programs, wait};

pub use rustix::process::Signal;

/// 60: enough to see how a process came to its end, little enough to read.
const LINES_SHOWN_ON_FAILURE: usize = 60;

/// A running (or ended) child.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    /// It runs under sudo: only root may signal what sudo has started.
    root: bool,
    /// Set once the child was waited for; its pid may belong to somebody else from then on.
    exit: Option<ExitStatus>,
}

/// A command line for the shell, run on a terminal of its own, that of script(1): what it prints there comes out.
///
/// # Panics
/// When script is not there.
#[must_use]
pub fn on_terminal(line: &str) -> Command {
    let mut command = Command::new(programs::system("script"));
    command
        .args(["--quiet", "--flush", "--return", "--command", line])
        .arg("/dev/null")
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh");
    command
}

impl Process {
    /// Starts `command`, stdin closed, stdout and stderr collected into one sequence of lines. A Ctrl-C on the terminal
    /// reaches it as it reaches us.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn spawn(name: impl Into<String>, command: &mut Command) -> Self {
        let name = name.into();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|cause| panic!("start {name} ({command:?}): {cause}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(collect(pipe, &lines));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(collect(pipe, &lines));
        }
        let root = Path::new(command.get_program()).ends_with("sudo");
        Self {
            name,
            child,
            root,
            lines,
            readers,
            exit: None,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory it holds now, in KiB.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Of it, what is no file's: what it has allocated, and no program text.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    #[must_use]
    pub fn anonymous_kib(&self) -> u64 {
        self.status("RssAnon:")
    }

    /// Most memory it has held since [`Process::forget_peak`], in KiB.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    #[must_use]
    pub fn peak_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Lets the peak begin anew (proc(5), `clear_refs`).
    ///
    /// # Panics
    /// When the kernel does not let it.
    #[track_caller]
    pub fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.pid());
        std::fs::write(&path, "5").unwrap_or_else(|cause| panic!("write {path}: {cause}"));
    }

    /// Threads it has.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    #[must_use]
    pub fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    /// Files it has open.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    #[must_use]
    pub fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        let files = std::fs::read_dir(&path);
        files
            .unwrap_or_else(|cause| panic!("list {path}: {cause}"))
            .count()
    }

    /// A number of its status file.
    #[track_caller]
    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} of {}: {status}", self.name))
    }

    /// Everything it has said so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sends a signal; nothing happens once it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.exit.is_some() {
            return;
        }
        let pid = self.child.id();
        if self.root {
            // sudo waits for what it has started, or has become it.
            let children = format!("/proc/{pid}/task/{pid}/children");
            let children = std::fs::read_to_string(children).unwrap_or_default();
            let target = children
                .split(' ')
                .next()
                .and_then(|child| child.parse().ok());
            signal_as_root(target.unwrap_or(pid), signal);
        } else if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        if self.exit.is_none() {
            self.signal(Signal::KILL);
            self.exit = self.child.wait().ok();
        }
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().ok().flatten();
        }
        self.exit
    }

    /// Waits until it ends by itself and all its output is in.
    ///
    /// # Panics
    /// When it does not within `deadline`.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        let status = wait::until(&what, deadline, || {
            self.exited().ok_or_else(|| "still running".to_owned())
        });
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        status
    }

    /// Waits until a line contains `text` and gives the first such line.
    ///
    /// # Panics
    /// When none comes within `deadline`, or the process ends without one.
    #[track_caller]
    pub fn wait_line(&mut self, text: &str, deadline: Duration) -> String {
        let what = format!("a line with `{text}` from {}", self.name);
        let found = wait::until(&what, deadline, || {
            let ended = self.exited();
            match (
                self.lines().into_iter().find(|line| line.contains(text)),
                ended,
            ) {
                (Some(line), _) => Ok(Some(line)),
                (None, Some(_))
                    if self
                        .readers
                        .iter()
                        .all(std::thread::JoinHandle::is_finished) =>
                {
                    Ok(None)
                }
                (None, _) => Err(self.tail()),
            }
        });
        found.unwrap_or_else(|| {
            panic!(
                "{} ended ({:?}) before: {what}\n{}",
                self.name,
                self.exit,
                self.tail()
            )
        })
    }

    /// The last lines, for a diagnosis.
    #[must_use]
    pub fn tail(&self) -> String {
        let lines = self.lines();
        let from = lines.len().saturating_sub(LINES_SHOWN_ON_FAILURE);
        lines[from..].join("\n")
    }
}

/// Kills a process that is not a child of ours, such as a container's.
pub fn kill_stranger(pid: u32) {
    signal_as_root(pid, Signal::KILL);
}

/// A process that is gone already is no fault.
fn signal_as_root(pid: u32, signal: Signal) {
    // The shell's own: not every machine has a program of that name.
    let mut command = programs::as_root("sh");
    command
        .arg("-c")
        .arg(format!("kill -{} {pid}", signal.as_raw()));
    let _ = command.stderr(Stdio::null()).status();
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let state = self
                .exited()
                .map_or_else(|| "running".to_owned(), |status| status.to_string());
            eprintln!(
                "---- {} ({state}) said last ----\n{}\n----",
                self.name,
                self.tail()
            );
        }
        self.kill();
    }
}

fn collect(
    pipe: impl Read + Send + 'static,
    lines: &Arc<Mutex<Vec<String>>>,
) -> std::thread::JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(bytes) if bytes > 0) {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches('\n')
                .to_owned();
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(text);
            line.clear();
        }
    })
}
