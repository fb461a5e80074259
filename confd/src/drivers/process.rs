//! Services as processes: signals by number, units of systemd, and nginx with the proof that it took its configuration.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::{LOOK_AGAIN, fault, hinted};
use crate::agent::Fault;
use crate::command;
use crate::engine::shell_quote;
use crate::reload::NginxSettings;
use crate::reload::nginx::{Child, took_over};
use crate::resource::Resource;

/// The signal of a name without `SIG`.
pub(crate) fn signal_number(name: &str) -> Option<Signal> {
    Some(match name {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "TERM" => Signal::TERM,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "WINCH" => Signal::WINCH,
        "ALRM" => Signal::ALARM,
        "CONT" => Signal::CONT,
        _ => return None,
    })
}

/// Sends a signal to the process whose number stands in the file.
pub(super) fn signal(pid_file: &Path, signal: &str) -> Result<Pid, Fault> {
    let pid = read_pid(pid_file)?;
    let signal =
        signal_number(signal).ok_or_else(|| fault(format!("signal {signal} is not known")))?;
    kill_process(pid, signal).map_err(|error| {
        hinted(
            format!(
                "signal process {} of {}: {error}",
                pid.as_raw_nonzero(),
                pid_file.display()
            ),
            "the service does not run, or confd may not signal it",
        )
    })?;
    Ok(pid)
}

/// Whether a file is not there or has nothing in it: `nginx -t` makes an empty one when there is none.
pub(super) fn is_blank(pid_file: &Path) -> bool {
    !pid_file.exists() || std::fs::metadata(pid_file).is_ok_and(|file| file.len() == 0)
}

fn read_pid(pid_file: &Path) -> Result<Pid, Fault> {
    let text = std::fs::read_to_string(pid_file).map_err(|error| {
        hinted(
            format!("read {}: {error}", pid_file.display()),
            "the service does not run, or keeps its number somewhere else",
        )
    })?;
    // 0 and less are groups of processes, and 1 is no service.
    let number = text.trim().parse().ok().filter(|pid: &i32| *pid > 1);
    let pid = number.and_then(Pid::from_raw);
    pid.ok_or_else(|| fault(format!("{} holds no process number", pid_file.display())))
}

/// Asks systemd, which waits for the unit, and looks whether the unit lives.
pub(super) async fn systemd(unit: &str, action: &str, resource: &Resource) -> Result<(), Fault> {
    // A unit's name holds no NUL.
    let unit = shell_quote(unit).unwrap_or_default();
    let limit = resource.reload_cmd_timeout;
    command::run("systemctl", &format!("systemctl {action} {unit}"), limit).await?;
    let look = format!("systemctl is-active {unit}");
    Ok(command::run("systemctl", &look, limit).await?)
}

/// nginx's own check, its signal, and the proof that workers of a new generation are there.
pub(super) async fn nginx(settings: &NginxSettings, resource: &Resource) -> Result<(), Fault> {
    let check = format!("{} -t", settings.command);
    let limit = resource.check_cmd_timeout;
    if !settings.command.is_empty() {
        command::run("nginx -t", &check, limit).await?;
    }
    let master = read_pid(&settings.pid_file)?;
    let before = children(master).await;
    signal(&settings.pid_file, "HUP")?;
    let end = Instant::now() + settings.proof_timeout;
    loop {
        if took_over(&before, &children(master).await) {
            return Ok(());
        }
        if Instant::now() >= end {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(hinted(
        format!(
            "nginx started no new workers within {:?}: it goes on with its old configuration",
            settings.proof_timeout
        ),
        "nginx refuses a reload silently; its error log says why",
    ))
}

/// The children of a process.
async fn children(parent: Pid) -> Vec<Child> {
    let parent = parent.as_raw_nonzero().get();
    let look = move || {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        names.filter_map(|pid| child(pid, parent)).collect()
    };
    // Fails only when the agent ends.
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// The process if it is a child of that one.
fn child(pid: u32, parent: i32) -> Option<Child> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything; behind it: state, parent, …, and the start as field 22 of all.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.nth(1)?.parse() != Ok(parent) {
        return None;
    }
    let started = fields.nth(17)?.parse().ok()?;
    let title = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(Child {
        pid,
        started,
        title: String::from_utf8_lossy(&title)
            .trim_end_matches('\0')
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_does_not_run_has_no_file_or_an_empty_one() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("pid");
        assert!(is_blank(&file));
        std::fs::write(&file, "").unwrap();
        assert!(is_blank(&file));
        std::fs::write(&file, "x").unwrap();
        assert!(!is_blank(&file));
    }

    #[test]
    fn a_file_without_a_number_and_a_process_that_is_gone_are_told_of() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("pid");
        let message = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            signal(&file, "HUP").unwrap_err().message
        };
        assert!(message(None).contains("No such file"));
        for text in ["", "x", "0", "-1", "1"] {
            assert!(
                message(Some(text)).contains("holds no process number"),
                "{text}"
            );
        }
        // Above the largest number the kernel gives out.
        assert!(message(Some("4194305\n")).contains("No such process"));
    }

    #[tokio::test]
    async fn a_signal_comes_through_and_children_are_known() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("pid");
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("100")
            .spawn()
            .unwrap();
        std::fs::write(&file, format!("{}\n", child.id())).unwrap();
        let me = Pid::from_raw(i32::try_from(std::process::id()).unwrap()).unwrap();
        let known = children(me).await;
        assert!(known.iter().any(|one| one.pid == child.id()), "{known:?}");
        signal(&file, "TERM").unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(child.wait().unwrap().signal(), Some(15));
    }
}
