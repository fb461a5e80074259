//! Commands that hold something and go on: locks, elections, watches from stdin.

use std::process::Command;

use end_to_end::process::{Process, Signal};
use end_to_end::store::{Maker, Store};
use end_to_end::wait;

use super::{Client, FORMATS, ours, said, theirs};

/// Keys end in a lease, which no two have in common; so do revisions.
fn plain(lines: &[String]) -> Vec<String> {
    // An id has sixteen digits, of which those that lead and are zero are not shown.
    let number =
        |word: &str| word.len() > 11 && word.chars().all(|digit| digit.is_ascii_hexdigit());
    let word = |word: &str| {
        if number(word.trim_end_matches('"')) {
            "<id>".to_owned()
        } else {
            word.to_owned()
        }
    };
    lines
        .iter()
        .filter(|line| !line.contains("evision"))
        .map(|line| line.split_inclusive(['/', '"', ' ']).map(word).collect())
        .collect()
}

#[test]
fn a_lock_is_held_while_a_command_runs() {
    let store = Store::start(Maker::Etcd);
    for (words, input) in [
        (&["lock", "a", "true"][..], ""),
        (&["lock", "a", "--", "sh", "-c", "exit 7"], ""),
        (&["lock", "a", "nosuchprogram"], ""),
        (&["lock", "--ttl", "3", "a", "echo", "under"], ""),
        (
            &[
                "lock",
                "a",
                "--",
                "sh",
                "-c",
                "echo $ETCD_LOCK_KEY | cut -c1-2; test $ETCD_LOCK_REV -gt 1",
            ],
            "",
        ),
    ] {
        let told = [ours as Client, theirs].map(|client| {
            let mut command = client(&store, words);
            command.env("PATH", "/usr/bin:/bin");
            said(command, input)
        });
        assert_eq!(told[0], told[1], "{words:?}");
    }
    let nothing = said(ours(&store, &["get", "--prefix", "a"]), "");
    assert_eq!(nothing.1, b"", "what was held is free");
}

#[test]
fn a_lock_has_one_holder() {
    let store = Store::start(Maker::Etcd);
    let clients = [ours as Client, theirs];
    for first in clients {
        for second in clients {
            let mut holder = Process::spawn("holder", &mut first(&store, &["lock", "one"]));
            holder.wait_line("one/", wait::LONG);
            let words = ["--command-timeout=60s", "lock", "one"];
            let mut waiter = Process::spawn("waiter", &mut second(&store, &words));
            wait::until("two in the queue", wait::LONG, || {
                let queue = said(
                    ours(
                        &store,
                        &["get", "--prefix", "one/", "--count-only", "-w", "fields"],
                    ),
                    "",
                );
                let text = String::from_utf8_lossy(&queue.1).into_owned();
                if text.contains("\"Count\" : 2") {
                    Ok(())
                } else {
                    Err(text)
                }
            });
            assert_eq!(waiter.lines(), Vec::<String>::new());
            holder.signal(Signal::INT);
            assert_eq!(holder.wait_exit(wait::LONG).code(), Some(0));
            waiter.wait_line("one/", wait::LONG);
            waiter.signal(Signal::INT);
            assert_eq!(waiter.wait_exit(wait::LONG).code(), Some(0));
        }
    }
}

#[test]
fn a_command_ends_with_the_lock_it_ran_under() {
    let store = Store::start(Maker::Etcd);
    let script = "trap 'echo told; exit 3' TERM; echo running; while :; do sleep 0.05; done";
    let words = ["lock", "--ttl", "2", "l", "--", "sh", "-c", script];
    let mut holder = Process::spawn("holder", &mut ours(&store, &words));
    holder.wait_line("running", wait::LONG);
    let leases = said(ours(&store, &["lease", "list"]), "").1;
    let lease = String::from_utf8(leases)
        .unwrap()
        .lines()
        .last()
        .unwrap()
        .to_owned();
    assert_eq!(said(ours(&store, &["lease", "revoke", &lease]), "").0, 0);
    holder.wait_line("told", wait::LONG);
    holder.wait_line("Error: session expired", wait::LONG);
    assert_eq!(holder.wait_exit(wait::LONG).code(), Some(1));
}

#[test]
fn an_election_is_held_and_watched() {
    let store = Store::start(Maker::Etcd);
    for format in FORMATS {
        if ["protobuf", "table"].contains(&format) {
            continue;
        }
        let seen = [ours as Client, theirs].map(|client| {
            let mut leader = Process::spawn(
                "leader",
                &mut client(&store, &["-w", format, "elect", "e", "me"]),
            );
            let shown = wait::until("a leader", wait::LONG, || {
                let lines = leader.lines();
                // One line, two, or twelve.
                let whole = lines.last().is_some_and(|line| {
                    line == "me" || line.contains("\"count\"") || line.contains("Count\" : 1")
                });
                if whole {
                    Ok(lines)
                } else {
                    Err(format!("{lines:?}"))
                }
            });
            let listener = Process::spawn(
                "listener",
                &mut client(&store, &["-w", format, "elect", "-l", "e"]),
            );
            let heard = wait::until("what the leader said", wait::LONG, || {
                let lines = listener.lines();
                if lines.len() >= shown.len() {
                    Ok(lines)
                } else {
                    Err(format!("{lines:?}"))
                }
            });
            leader.signal(Signal::INT);
            assert_eq!(leader.wait_exit(wait::LONG).code(), Some(0));
            if format == "json" {
                // Nothing but numbers that differ.
                (Vec::new(), Vec::new())
            } else {
                (plain(&shown), plain(&heard))
            }
        });
        assert_eq!(seen[0], seen[1], "{format}");
    }
}

#[test]
fn watches_come_from_stdin_too() {
    let store = Store::start(Maker::Etcd);
    for (key, value) in [("w1", "v1"), ("w2", "v2")] {
        assert_eq!(said(ours(&store, &["put", key, value]), "").0, 0);
    }
    let errors = "bogus\n\nput x\nwatch\nwatch a b --prefix\n";
    let said_of = |client: Client, input: &str, variables: &[(&str, &str)]| {
        let mut command = client(&store, &["watch", "-i"]);
        command
            .envs(variables.iter().copied())
            .env("PATH", "/usr/bin:/bin");
        // Whole output of the shell that feeds it slowly enough for an answer.
        said(slowly(&command, input), "")
    };
    for (input, variables) in [
        (errors, &[][..]),
        ("watch w1 --rev 1\n", &[]),
        (
            "watch w --prefix --rev 1 -- printenv ETCD_WATCH_REVISION ETCD_WATCH_EVENT_TYPE ETCD_WATCH_KEY ETCD_WATCH_VALUE\n",
            &[],
        ),
        ("watch --rev 1\n", &[("ETCDCTL_WATCH_KEY", "w1")]),
        (
            "watch --rev 1\n",
            &[
                ("ETCDCTL_WATCH_KEY", "w1"),
                ("ETCDCTL_WATCH_RANGE_END", "w3"),
            ],
        ),
    ] {
        let ours = said_of(ours, input, variables);
        assert_eq!(ours, said_of(theirs, input, variables), "{input:?}");
        assert_eq!(ours.0, 3, "{input:?}");
    }
}

/// The command with these lines on stdin, which ends when two seconds have brought nothing more.
fn slowly(command: &Command, input: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .env_clear()
        .args([
            "-c",
            "input=$1; shift; { printf '%s' \"$input\"; sleep 2; } | \"$@\"",
            "sh",
            input,
        ])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell
}
