//! `muster ctl` with `ETCDCTL_API=2` says what the distribution's etcdctl 3.4 says: the same commands on two fresh stores
//! of one kind.

use std::process::Command;

use end_to_end::process::{Process, Signal};
use end_to_end::programs;
use end_to_end::store::Store;
use end_to_end::wait;

use super::{ask, ours, theirs};

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
    for line in [
        "member list",
        "cluster-health",
        "member add",
        "member add x not-a-url",
        "member remove",
        "member remove 123abc",
        "member update 123abc",
        "member update 123abc http://127.0.0.1:9",
        "member",
        "member frob",
    ] {
        let words = |mut command: Command| {
            command.args(line.split(' '));
            let (status, out, err) = said(command);
            // What a program says about itself differs.
            let out = if line == "member" { String::new() } else { out };
            (status, out, err)
        };
        assert_eq!(
            words(our_client(&store)),
            words(their_client(&store)),
            "{line}"
        );
    }
}

/// The same of users and roles, and what ends them: three pairs of client and store, one of them ours throughout.
#[test]
fn users_and_roles_are_changed_alike() {
    let lines = "user list
user list x
user add
user add a b
user add u:pw
user add u:pw
user add w
user get u
user get nobody
user get
user passwd nobody
user grant u
role list
role list x
role add
role add r
role add r
role get r
role get nope
role grant r
role grant --path a r
role grant --path /a/../b/ r
role grant --path /a r
role grant --path /a --read --write r
role grant --path /a --read nope
role grant --path /a --read
role grant --path /a/* --read r
role grant --path /a/* --read r
role grant --path /a/* --write r
role grant --path /b --readwrite r
role get r
role revoke --path /a/* --write r
role revoke --path /zz --write r
role revoke --path /b --rw r
role get r
user grant --roles r u
user grant --roles r u
user grant --roles r --roles guest u
user get u
user revoke --roles r u
user revoke --roles r u
user get u
user remove u
user remove u
user add v:pw
user list
role remove r
role remove r
role remove root
auth enable x
auth enable
user add root:secret
auth enable
auth enable
user list
-u root:secret user list
-u root:secret role list
-u root:bad user list
-u v:pw user add x:y
-u v:pw role add x
-u root:secret user get root
-u root:secret set /x 1
-u v:pw get /x
-u root:secret auth disable x
-u root:secret auth disable
-u root:secret auth disable
user
role
auth
user frob
role frob
auth frob
frob";
    let pairs = [
        (our_client as fn(&Store) -> Command, ours()),
        (our_client, theirs()),
        (their_client, theirs()),
    ];
    for line in lines.lines() {
        let told = pairs.each_ref().map(|(client, store)| {
            let mut command = client(store);
            command.stdin(std::process::Stdio::null());
            command.args(line.split(' '));
            let (status, out, err) = said(command);
            // What a program says about itself differs; of its refusals the first line counts.
            let out = match out.contains("USAGE") || out.contains("Usage") {
                true => String::new(),
                false => out,
            };
            (status, out, err)
        });
        // A password that nobody types: etcdctl takes it from terminals alone, and says more.
        if line == "user add w" || line.starts_with("user passwd") {
            assert_eq!(told[1].0, told[2].0, "{line}");
            continue;
        }
        assert_eq!(told[1], told[2], "the clients differ: {line}");
        let [ours, theirs, _] = &told;
        assert_eq!(
            (ours.0, &ours.1),
            (theirs.0, &theirs.1),
            "the stores differ: {line}: {told:?}"
        );
    }
}

/// Nobody there: what is said depends on the client, the status does not.
#[test]
fn a_cluster_that_is_not_there_is_told_alike() {
    let nowhere = "http://127.0.0.1:9";
    for line in [
        "get /x",
        "set /x 1",
        "ls",
        "member list",
        "cluster-health",
        "user list",
        "role add r",
        "auth enable",
        "--no-sync get /x",
    ] {
        let status = |mut command: Command| {
            command.env_clear().env("ETCDCTL_API", "2");
            command.args(line.split(' '));
            said(command).0
        };
        let mut ours = Command::new(env!("CARGO_BIN_EXE_muster"));
        ours.args(["ctl", "--endpoints", nowhere]);
        let mut theirs = Command::new(programs::etcdctl_of_distribution());
        theirs.args(["--endpoints", nowhere]);
        assert_eq!(status(ours), status(theirs), "{line}");
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
