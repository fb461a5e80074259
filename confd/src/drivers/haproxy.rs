//! Speaks to haproxy's two sockets: the master's, which reloads, and that of the running process, which changes servers
//! without a reload.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::{LOOK_AGAIN, fault, hinted};
use crate::agent::Fault;
use crate::reload::haproxy::{Move, Running, amiss, moves, running};
use crate::reload::master::{Verdict, judged, processes, verdict};
use crate::resource::Resource;

/// Longest answer that is read. 16 MiB: the states of a hundred thousand servers.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Longest a removed server is waited for. 1 s: idle connections to it are closed by then, and what lasts longer keeps
/// it in maintenance, where it takes nothing new.
const REMOVAL: Duration = Duration::from_secs(1);
/// A haproxy that answers at all does so in milliseconds, unless its reload is under way.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// One command and its whole answer.
async fn say(socket: &Path, command: &str) -> Result<String, Fault> {
    let failed = |error: std::io::Error| {
        hinted(
            format!("haproxy at {}: {error}", socket.display()),
            "haproxy does not run, its socket is somewhere else, or confd may not use it",
        )
    };
    let talk = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        // Nothing more will be asked; before 2.7 a master waits for more until it hears that.
        stream.shutdown().await?;
        let mut answer = Vec::new();
        match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await {
            // A master that starts anew hangs up in the middle.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(0),
            other => other,
        }?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, talk).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(failed(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Has the master reload, and waits for its word or for new workers. The resource's time limit ends the wait.
pub(super) async fn master(socket: &Path) -> Result<(), Fault> {
    let before = processes(&say(socket, "show proc").await?);
    let mut found = verdict(&say(socket, "reload").await?);
    loop {
        match found {
            Verdict::Taken => return Ok(()),
            Verdict::Refused(line) => {
                let line = match line.as_str() {
                    "" => String::new(),
                    line => format!(": {line}"),
                };
                return Err(hinted(
                    format!("haproxy refused the reload and goes on with its old file{line}"),
                    "`haproxy -c -f FILE` says what is wrong with it",
                ));
            }
            Verdict::Unsaid => {
                tokio::time::sleep(LOOK_AGAIN).await;
                // While it starts anew nobody answers.
                found = match say(socket, "show proc").await {
                    Ok(answer) => judged(&before, &processes(&answer)),
                    Err(_) => Verdict::Unsaid,
                };
            }
        }
    }
}

/// Brings the running process to what the new file says; the error is the reason to reload instead.
pub(super) async fn runtime(
    resource: &Resource,
    socket: &Path,
    old: Option<&[u8]>,
) -> Result<(), String> {
    let old = old.ok_or("it is not known which file haproxy runs on")?;
    let new = std::fs::read_to_string(&resource.dest).map_err(|error| error.to_string())?;
    let now = states(socket).await.map_err(|fault| fault.message)?;
    let moves = moves(&String::from_utf8_lossy(old), &new, &now)?;
    let steps = moves.len();
    let mut leaving = Vec::new();
    for one in moves {
        for command in one.commands() {
            let answer = say(socket, &command).await.map_err(|fault| fault.message)?;
            // Some commands are answered with what they did; `amiss` sees whether they did it.
            if command.starts_with("add server") && !answer.contains("registered") {
                return Err(format!("{command}: {}", answer.trim()));
            }
        }
        if let Move::Remove { server } = one {
            leaving.push(server);
        }
    }
    remove(socket, &leaving).await?;
    let now = states(socket).await.map_err(|fault| fault.message)?;
    match amiss(&new, &now)?.first() {
        Some(first) => Err(first.clone()),
        None => {
            tracing::info!(resource = resource.name, steps, "changed without a reload");
            Ok(())
        }
    }
}

/// Takes servers away that have no connections left.
async fn remove(socket: &Path, leaving: &[String]) -> Result<(), String> {
    let end = Instant::now() + REMOVAL;
    for server in leaving {
        loop {
            let answer = say(socket, &format!("del server {server}")).await;
            let answer = answer.map_err(|fault| fault.message)?;
            if answer.contains("deleted") || answer.contains("No such server") {
                break;
            }
            if Instant::now() >= end {
                tracing::info!(server, "stays in maintenance: {}", answer.trim());
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    Ok(())
}

async fn states(socket: &Path) -> Result<BTreeMap<String, Running>, Fault> {
    let answer = say(socket, "show servers state").await?;
    let states = running(&answer);
    match states.is_empty() && !answer.starts_with('1') {
        true => Err(fault(format!("haproxy answered {:?}", answer.trim()))),
        false => Ok(states),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Answers commands from a list, one connection each, and hangs up.
    fn answering(
        socket: &Path,
        answers: Vec<(&'static str, &'static str)>,
    ) -> std::thread::JoinHandle<()> {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for (command, answer) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap())
                    .read_line(&mut line)
                    .unwrap();
                assert_eq!(line.trim(), command);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        })
    }

    #[tokio::test]
    async fn the_master_s_word_is_taken() {
        let home = tempfile::tempdir().unwrap();
        for (name, answers, expected) in [
            (
                "taken",
                vec![("show proc", ""), ("reload", "Success=1\n--\n")],
                None,
            ),
            (
                "refused",
                vec![
                    ("show proc", ""),
                    ("reload", "Success=0\n--\n[ALERT] bad word\n"),
                ],
                Some("haproxy refused the reload and goes on with its old file: [ALERT] bad word"),
            ),
            (
                "silent",
                vec![
                    ("show proc", "# workers\n1 worker 0\n"),
                    ("reload", ""),
                    ("show proc", "# workers\n1 worker 0\n"),
                    ("show proc", "# workers\n2 worker 0\n"),
                ],
                None,
            ),
        ] {
            let socket = home.path().join(name);
            let server = answering(&socket, answers);
            let result = master(&socket).await;
            server.join().unwrap();
            assert_eq!(
                result.err().map(|fault| fault.message).as_deref(),
                expected,
                "{name}"
            );
        }
        let missing = master(&home.path().join("none")).await.unwrap_err();
        assert!(missing.hint.unwrap().contains("does not run"));
    }
}
