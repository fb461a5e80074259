//! Runs `check_cmd` and `reload_cmd` by `/bin/sh -c`, in a process group of their own: with a time limit after which the
//! whole group is told to end and then made to, and with output kept up to a limit whatever floods out.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::engine::shell_quote;

/// Output kept for messages and logs: the end, where programs say what is wrong. The rest is read and dropped, so that
/// nobody blocks on a full pipe.
const OUTPUT_BYTES_MAX: usize = 16 << 10;
/// Time between telling a group to end and making it: what cleans up after itself needs milliseconds.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// After the shell has ended, a process it left behind may hold the pipe open; what it still says is not waited for.
const DRAIN: Duration = Duration::from_millis(50);

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("{what} could not be started")]
    Start {
        /// `check_cmd` or `reload_cmd`.
        what: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It ended with another status than 0.
    #[error("{what} failed ({status}){}", said(output))]
    Failed {
        /// `check_cmd` or `reload_cmd`.
        what: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        output: String,
    },
    /// It did not end in time and was killed with all its children.
    #[error("{what} was killed after {after:?}{}", said(output))]
    TimedOut {
        /// `check_cmd` or `reload_cmd`.
        what: &'static str,
        /// The time limit.
        after: Duration,
        /// The end of what it said.
        output: String,
    },
}

impl CommandError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Start { .. } => "commands are run by /bin/sh".to_owned(),
            Self::Failed { status, .. } if status.code() == Some(127) => {
                "the shell did not find the program; name it with its full path".to_owned()
            }
            Self::Failed {
                what: "check_cmd", ..
            } => "the old file stays in force".to_owned(),
            Self::Failed { .. } => "the new file is in place; the reload is tried again".to_owned(),
            Self::TimedOut { what, .. } => format!("it hangs, or needs a larger {what}_timeout"),
        })
    }

    /// The end of what the command said.
    pub fn output(&self) -> &str {
        match self {
            Self::Start { .. } => "",
            Self::Failed { output, .. } | Self::TimedOut { output, .. } => output,
        }
    }
}

/// The line that says most: the first that speaks of an error, else the last.
fn said(output: &str) -> String {
    let lines = || {
        output
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let telling = |line: &&str| {
        let line = line.to_ascii_lowercase();
        ["emerg", "alert", "error", "fatal"]
            .iter()
            .any(|word| line.contains(word))
    };
    match lines().find(telling).or_else(|| lines().next_back()) {
        Some(line) => format!(": {line}"),
        None => String::new(),
    }
}

/// Puts paths into a command: `{{src}}` (the staged file) and `{{dest}}`, also in confd's spelling `{{.src}}`.
pub fn expand(command: &str, src: &Path, dest: &Path) -> String {
    expand_for_set(command, src, dest, None)
}

/// As [`expand`], and `{{set}}` is the folder in which the files of a set stand as they will below the root.
pub fn expand_for_set(command: &str, src: &Path, dest: &Path, set: Option<&Path>) -> String {
    let mut out = String::with_capacity(command.len());
    let mut rest = command;
    while let Some(open) = rest.find("{{") {
        let (head, tail) = rest.split_at(open);
        out.push_str(head);
        let inner = tail
            .find("}}")
            .map(|close| (tail[2..close].trim(), &tail[close + 2..]));
        let path = inner.and_then(|(name, behind)| match name.trim_start_matches('.') {
            "src" => Some((src, behind)),
            "dest" => Some((dest, behind)),
            "set" => set.map(|set| (set, behind)),
            _ => None,
        });
        match path {
            Some((path, behind)) => {
                // A path cannot hold the NUL that quoting refuses.
                out.push_str(&shell_quote(&path.to_string_lossy()).unwrap_or_default());
                rest = behind;
            }
            None => {
                out.push_str("{{");
                rest = &tail[2..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Kills the group if the command is dropped half way (the agent stops).
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Fails only if nobody is left to kill.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The end of what a command says.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    dropped: usize,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Cut in large steps: each byte is moved at most once.
        if self.bytes.len() > 2 * OUTPUT_BYTES_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let excess = self.bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
        self.bytes.drain(..excess);
        self.dropped += excess;
    }

    fn text(mut self) -> String {
        self.cut();
        let text = String::from_utf8_lossy(&self.bytes);
        match self.dropped {
            0 => text.into_owned(),
            dropped => format!("[{dropped} bytes left out]\n{text}"),
        }
    }
}

/// Runs a command to its end or its time limit.
///
/// # Errors
/// See [`CommandError`]. After a time-out no process of the group is left.
pub async fn run(what: &'static str, command: &str, timeout: Duration) -> Result<(), CommandError> {
    let start = |source| CommandError::Start { what, source };
    let (mut child, mut output) = spawn(command).map_err(start)?;
    let mut group = Group(
        child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw),
    );
    let mut tail = Tail::default();
    let deadline = Instant::now() + timeout;
    let Some(status) = wait(&mut child, &mut output, &mut tail, deadline)
        .await
        .map_err(start)?
    else {
        group.signal(Signal::TERM);
        let ended = wait(
            &mut child,
            &mut output,
            &mut tail,
            Instant::now() + KILL_GRACE,
        )
        .await
        .map_err(start)?;
        // Also when the shell obeyed: its children may not have.
        group.signal(Signal::KILL);
        if ended.is_none() {
            let _ = child.wait().await;
        }
        group.0 = None;
        drain(&mut output, &mut tail).await;
        return Err(CommandError::TimedOut {
            what,
            after: timeout,
            output: tail.text(),
        });
    };
    // What the command has started on purpose (a daemon) lives on.
    group.0 = None;
    drain(&mut output, &mut tail).await;
    match status.success() {
        true => Ok(()),
        false => Err(CommandError::Failed {
            what,
            status,
            output: tail.text(),
        }),
    }
}

fn spawn(command: &str) -> io::Result<(Child, pipe::Receiver)> {
    // One pipe for both, so that lines stay in their order.
    let (reader, writer) = io::pipe()?;
    let child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    Ok((child, pipe::Receiver::from_owned_fd(reader.into())?))
}

/// Waits for the end while reading; `None` at the deadline.
async fn wait(
    child: &mut Child,
    output: &mut pipe::Receiver,
    tail: &mut Tail,
    deadline: Instant,
) -> io::Result<Option<ExitStatus>> {
    let mut buffer = vec![0; 4096];
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            // Can be asked again until it has answered.
            status = child.wait() => return status.map(Some),
            // Holds no state.
            () = tokio::time::sleep_until(deadline) => return Ok(None),
            // A read that did not complete has taken nothing.
            read = output.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(count) => tail.push(&buffer[..count]),
            },
        }
    }
}

/// Reads what is left in the pipe.
async fn drain(output: &mut pipe::Receiver, tail: &mut Tail) {
    let mut buffer = vec![0; 4096];
    let end = Instant::now() + DRAIN;
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout_at(end, output.read(&mut buffer)).await {
        tail.push(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn status_and_output() {
        run("check_cmd", "true", LONG).await.unwrap();
        let error = run("check_cmd", "echo one; echo two >&2; exit 3", LONG)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "check_cmd failed (exit status: 3): two");
        assert_eq!(error.output(), "one\ntwo\n");
        let error = run(
            "check_cmd",
            "echo 'nginx: [emerg] bad'; echo test failed; exit 1",
            LONG,
        )
        .await
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "check_cmd failed (exit status: 1): nginx: [emerg] bad"
        );
        let error = run("reload_cmd", "no-such-program-anywhere", LONG)
            .await
            .unwrap_err();
        assert!(
            error.hint().unwrap().contains("did not find the program"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_flood_neither_blocks_nor_grows() {
        let error = run(
            "check_cmd",
            "head -c 3000000 /dev/zero; echo end; exit 1",
            LONG,
        )
        .await
        .unwrap_err();
        assert!(error.output().len() < OUTPUT_BYTES_MAX + 100);
        assert!(error.output().starts_with('[') && error.output().ends_with("end\n"));
    }

    fn alive(pid: &str) -> bool {
        // A killed process whose parent is gone may wait for init; it is a zombie then.
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => !stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .trim_start()
                .starts_with('Z'),
            Err(_) => false,
        }
    }

    #[tokio::test]
    async fn what_hangs_is_killed_with_its_children() {
        // The shell and one child ignore the polite signal.
        let command = "trap '' TERM; sleep 100 & echo $!; sleep 100";
        let started = Instant::now();
        let error = run("reload_cmd", command, Duration::from_millis(100))
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("reload_cmd was killed after 100ms"),
            "{error}"
        );
        assert!(started.elapsed() < Duration::from_secs(10));
        let child = error.output().trim().to_owned();
        while alive(&child) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_polite_command_ends_at_the_first_signal() {
        let command = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done";
        let started = Instant::now();
        let error = run("reload_cmd", command, Duration::from_secs(1))
            .await
            .unwrap_err();
        assert!(error.output().contains("bye"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(1) + KILL_GRACE);
    }

    #[tokio::test]
    async fn a_daemon_left_behind_is_neither_waited_for_nor_killed() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("pid");
        let started = Instant::now();
        run(
            "reload_cmd",
            &format!("sleep 100 & echo $! > {}", file.display()),
            LONG,
        )
        .await
        .unwrap();
        assert!(started.elapsed() < Duration::from_secs(5));
        let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        assert!(alive(&pid));
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn a_dropped_command_is_killed() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("pid");
        let command = format!("echo $$ > {}; sleep 100", file.display());
        let task = tokio::spawn(async move { run("check_cmd", &command, LONG).await });
        let pid = loop {
            let pid = std::fs::read_to_string(&file).unwrap_or_default();
            if pid.ends_with('\n') {
                break pid.trim().to_owned();
            }
            tokio::task::yield_now().await;
        };
        task.abort();
        while alive(&pid) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn paths_are_put_in_quoted() {
        let expand = |command| {
            expand(
                command,
                Path::new("/a b/.x.staged"),
                Path::new("/etc/x.conf"),
            )
        };
        for (command, wanted) in [
            ("check {{src}}", "check '/a b/.x.staged'"),
            (
                "check {{ .src }} {{.dest}}",
                "check '/a b/.x.staged' /etc/x.conf",
            ),
            ("echo {{other}} {{", "echo {{other}} {{"),
            ("awk '{print $1}' {{dest}}", "awk '{print $1}' /etc/x.conf"),
        ] {
            assert_eq!(expand(command), wanted);
        }
    }
}
