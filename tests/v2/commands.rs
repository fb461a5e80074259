//! `muster ctl` with `ETCDCTL_API=2` says what the distribution's etcdctl 3.4 says: the same commands on two fresh stores
//! of one kind.

use std::process::Command;

use end_to_end::process::{Process, Signal};
use end_to_end::programs;
use end_to_end::store::Store;
use end_to_end::wait;

use super::{ask, theirs};

fn our_client(store: &Store) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.env_clear().env("ETCDCTL_API", "2").arg("ctl");
    command.args(["--endpoints", &store.endpoint()]);
    command
}

fn their_client(store: &Store) -> Command {
    let mut command = Command::new(programs::etcdctl_of_distribution());
    command.env_clear().env("ETCDCTL_API", "2");
    command.args(["--endpoints", &store.endpoint()]);
    command
}

/// Exit status, output and errors; moments are never the same.
fn said(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("the client runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let out = text(&output.stdout);
    let out = match out.split_once("\"expiration\":\"") {
        Some((before, after)) => {
            let after = after.split_once('"').map_or("", |(_, after)| after);
            format!("{before}\"expiration\":\"{after}")
        }
        None => out,
    };
    (output.status.code(), out, text(&output.stderr))
}

#[test]
fn commands_say_the_same() {
    let lines = "mk /x 1
mk /x 1
set /x 2
set y relative
get /x
get /nope
get y --quorum
update /x 3
update /nope 3
update /x 4 --ttl 500
mkdir /d
mkdir /d
setdir /e
setdir /f --ttl 600
updatedir /nope
set /d/a v
set /d/b v<&>é --ttl 300
ls --sort /d
ls --sort -p /d
ls /x
ls -r --sort /d
get /d
set --swap-with-value q /x c
set /x c --swap-with-value 4
set --swap-with-index 1 /x c
rm --with-index 1 /x
rm --with-value zz /x
rm /d
rmdir /d
rm --dir /x
rm -r /d
rmdir /e
mk --in-order /q v
rm /nope
set
get
rm
mk
watch
exec-watch
ls /x/y";
    for form in ["simple", "extended", "json"] {
        let (first, second) = (theirs(), theirs());
        for line in lines.lines() {
            let with = |mut command: Command| {
                command.args(["-o", form]).args(line.split(' '));
                command
            };
            let told = said(with(our_client(&first)));
            let expected = said(with(their_client(&second)));
            assert_eq!(told, expected, "{form}: {line}");
        }
    }
}

#[test]
fn members_are_told_alike() {
    let store = theirs();
    for line in ["member list", "cluster-health"] {
        let words = |mut command: Command| {
            command.args(line.split(' '));
            said(command)
        };
        assert_eq!(
            words(our_client(&store)),
            words(their_client(&store)),
            "{line}"
        );
    }
}

/// Lines of a client that goes on, up to the last change.
fn shown(mut command: Command, words: &[&str]) -> Vec<String> {
    let mut watch = Process::spawn("watch", command.args(words));
    let lines = wait::until("the last change", wait::LONG, || {
        let lines = watch.lines();
        if lines.iter().any(|line| line.contains("last")) {
            Ok(lines)
        } else {
            Err(format!("{lines:?}"))
        }
    });
    watch.signal(Signal::INT);
    watch.wait_exit(wait::LONG);
    lines
}

#[test]
fn changes_are_shown_alike() {
    let store = theirs();
    let after = super::base(&store).to_string();
    for line in [
        "PUT /w/a value=1",
        "PUT /w/b value=2",
        "DELETE /w/a",
        "PUT /w/c value=last",
    ] {
        assert!([200, 201].contains(&ask(&store, line).status), "{line}");
    }
    let watch = ["watch", "-f", "-r", "--after-index", &after, "/w"];
    assert_eq!(
        shown(our_client(&store), &watch),
        shown(their_client(&store), &watch)
    );
    let print = "echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE";
    let exec = [
        "exec-watch",
        "-r",
        "--after-index",
        &after,
        "/w",
        "--",
        "/bin/sh",
        "-c",
        print,
    ];
    assert_eq!(
        shown(our_client(&store), &exec),
        ["set /w/a 1", "set /w/b 2", "delete /w/a", "set /w/c last"]
    );
}
