//! A command that runs only while something holds. When that is lost it is told to end (SIGTERM), and ended (SIGKILL) when
//! it does not. Signals to this program are passed on to it.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;
use crate::prompt;

/// Signals that are passed on.
const PASSED_ON: [Signal; 6] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
];
/// Those of them that a terminal sends to every program in the foreground itself.
const OF_TERMINAL: [Signal; 2] = [Signal::INT, Signal::QUIT];

/// Waits until somebody wants this program to end (SIGINT, SIGTERM). Safe to cancel.
pub(crate) async fn interrupted() {
    let of = |kind| signal(kind).ok();
    let (Some(mut int), Some(mut term)) =
        (of(SignalKind::interrupt()), of(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    // Both are safe to cancel: they only wait.
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}

/// A command to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job<'a> {
    /// The program and its arguments; nothing is run without any.
    pub(crate) words: &'a [String],
    /// Variables beside those of this program.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What it reads; else what this program reads.
    pub(crate) input: Option<Bytes>,
    /// How long it may take to end after it was told to.
    pub(crate) grace: Duration,
    /// Who hears each line that it prints; they are printed all the same.
    pub(crate) lines: Option<mpsc::UnboundedSender<String>>,
}

impl Job<'_> {
    /// Runs it until it ends, or `lost` comes first: then it is told to end, and waited for.
    ///
    /// # Errors
    /// It cannot be started, or ends badly; the exit status is its own then.
    pub(crate) async fn run(self, lost: impl Future<Output = ()>) -> Result<(), Failure> {
        let [program, arguments @ ..] = self.words else {
            return Ok(());
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::inherit()
            });
        if self.lines.is_some() {
            command.stdout(Stdio::piped());
        }
        // What it starts ends with it; but whoever reads from a terminal must stay in its foreground.
        let is_person = prompt::is_person();
        if !is_person {
            command.process_group(0);
        }
        // Heard from now on, so that none falls between the start and the waiting.
        let mut passed_on = Signals::new();
        let mut child = command.spawn().map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => Failure::error(format!(
                "exec: {program:?}: executable file not found in $PATH"
            )),
            _ => Failure::error(format!("exec: {program:?}: {cause}")),
        })?;
        if let (Some(input), Some(mut pipe)) = (self.input, child.stdin.take()) {
            // Not everybody reads all there is.
            tokio::spawn(async move { pipe.write_all(&input).await });
        }
        let copied = copy(&mut child, self.lines);
        let mut lost = std::pin::pin!(lost);
        // When it is ended, once it was told to end; further signals do not put that off.
        let mut end: Option<Instant> = None;
        let status = loop {
            // Each is safe to cancel: waiting for a child again continues, the others hold no state.
            tokio::select! {
                status = child.wait() => break status,
                signal = passed_on.next() => {
                    if !is_person || !OF_TERMINAL.contains(&signal) {
                        send(&child, signal, is_person);
                    }
                }
                () = &mut lost, if end.is_none() => {
                    end = Some(Instant::now() + self.grace);
                    send(&child, Signal::TERM, is_person);
                }
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => {
                    send(&child, Signal::KILL, is_person);
                    break child.wait().await;
                }
            }
        };
        if let Some(copied) = copied {
            let _ = copied.await;
        }
        let status =
            status.map_err(|cause| Failure::error(format!("wait for {program:?}: {cause}")))?;
        match ended(status) {
            None => Ok(()),
            Some((line, code)) => Err(Failure::of_command(line, code)),
        }
    }
}

/// Prints what it prints, and tells each line.
fn copy(
    child: &mut Child,
    lines: Option<mpsc::UnboundedSender<String>>,
) -> Option<tokio::task::JoinHandle<()>> {
    let (lines, pipe) = (lines?, child.stdout.take()?);
    Some(tokio::spawn(async move {
        let mut reader = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            println!("{line}");
            let _ = lines.send(line);
        }
    }))
}

/// The signals that are passed on, as they come.
struct Signals(mpsc::UnboundedReceiver<Signal>);

impl Signals {
    fn new() -> Self {
        let (tell, heard) = mpsc::unbounded_channel();
        for one in PASSED_ON {
            // One that cannot be heard ends this program, as ever.
            let Ok(mut stream) = signal(SignalKind::from_raw(one.as_raw())) else {
                continue;
            };
            let tell = tell.clone();
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        // Both are safe to cancel: they only wait.
                        came = stream.recv() => if came.is_none() || tell.send(one).is_err() {
                            return;
                        },
                        () = tell.closed() => return,
                    }
                }
            });
        }
        Self(heard)
    }

    /// Safe to cancel.
    async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// Signals it, and all it has started where they are a group of their own.
fn send(child: &Child, signal: Signal, alone: bool) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let Some(id) = id.and_then(Pid::from_raw) else {
        return;
    };
    // One that has just ended needs no telling.
    let _ = if alone {
        kill_process(id, signal)
    } else {
        kill_process_group(id, signal)
    };
}

/// How a failure is told, and the exit status it gives.
fn ended(status: ExitStatus) -> Option<(String, u8)> {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some((
            format!("exit status {code}"),
            u8::try_from(code).unwrap_or(u8::MAX),
        )),
        (None, signal) => Some((format!("signal: {}", signal.unwrap_or_default()), u8::MAX)),
    }
}
