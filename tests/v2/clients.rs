//! Clients of version 2 as people have them.

use std::path::PathBuf;
use std::process::Command;

use end_to_end::cluster::Cluster;
use end_to_end::store::Store;
use end_to_end::{programs, wait};

use super::{ours, theirs};

/// What the distribution's etcdctl says with `ETCDCTL_API=2`, its exit status first.
fn etcdctl(store: &Store, line: &str) -> String {
    let output = Command::new(programs::etcdctl_of_distribution())
        .env_clear()
        .env("ETCDCTL_API", "2")
        .args(["--endpoints", &store.endpoint()])
        // By itself it gives a request two seconds and a command five: less than a busy disk takes now and then.
        .args(["--timeout=20s", "--total-timeout=60s"])
        .args(line.split(' '))
        .output()
        .expect("etcdctl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let indexes = |text: String| {
        let text = text.replace(&store.endpoint(), "<endpoint>");
        let kept = |line: &&str| !line.contains("-Index:") && !line.starts_with("Index:");
        let lines = text.lines().filter(kept);
        // `Error:  100: Key not found (/a) [7]`
        lines
            .map(|line| line.split(" [").next().unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n")
    };
    format!(
        "{:?}\n{}\n{}",
        output.status.code(),
        indexes(text(&output.stdout)),
        indexes(text(&output.stderr))
    )
}

#[test]
fn etcdctl_of_version_2_is_answered_alike() {
    let (ours, theirs) = (ours(), theirs());
    for line in "ls
mk /a 1
mk /a 2
set /a 3
get /a
-o extended get /a
set /a 4 --swap-with-value 3
set /a 5 --swap-with-value 3
update /a 6
update /none 6
mkdir /d
mkdir /d
set /d/e/f x --ttl 100
ls --sort
ls -r --sort
ls -r -p --sort /d
ls --sort /d
get /d
rm /d
rmdir /d
rm -r /d
rm /a --with-value nope
rm /a
rm /a
setdir /s
mk --in-order /queue one
ls /queue --quorum
cluster-health"
        .lines()
    {
        let mut told = [etcdctl(&ours, line), etcdctl(&theirs, line)];
        if line.contains("queue") || line == "cluster-health" {
            // Names made by index, and ids of members.
            told = told.map(|text| text.lines().next().unwrap_or_default().to_owned());
        }
        assert_eq!(told[0], told[1], "{line}");
    }
}

/// By the distribution's etcdctl and by ours: a member comes, moves and goes, and version 3 sees it.
#[test]
fn members_are_added_changed_and_removed() {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_muster"));
    let cluster = Cluster::start(&binary, 3);
    let endpoint = format!("http://{}", cluster.address(0));
    let run = |ours: bool, words: &[&str]| {
        let mut command = match ours {
            true => {
                let mut command = Command::new(&binary);
                command.env_clear().arg("ctl");
                command
            }
            false => {
                let mut command = Command::new(programs::etcdctl_of_distribution());
                command.env_clear();
                command
            }
        };
        let output = command
            .env("ETCDCTL_API", "2")
            .args(["--endpoints", &endpoint])
            .args(["--timeout=20s", "--total-timeout=60s"])
            .args(words)
            .output()
            .expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        (output.status.code(), out, err)
    };
    for ours in [false, true] {
        // Right after its start a member may not have seen all the others for as long as a change wants.
        let (out, id) = wait::until("a member added", wait::LONG, || {
            let (status, out, err) = run(ours, &["member", "add", "d", "http://127.0.0.1:1"]);
            if status != Some(0) {
                return Err(format!("{out}{err}"));
            }
            let id = out.split(' ').nth(6).unwrap_or_default().to_owned();
            Ok((out, id))
        });
        let said = format!("Added member named d with ID {id} to cluster\n\nETCD_NAME=\"d\"\n");
        assert!(out.starts_with(&said), "{out}");
        assert!(out.contains("d=http://127.0.0.1:1"), "{out}");
        assert!(
            out.ends_with("ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n"),
            "{out}"
        );
        let listed = || cluster.client(1).run(&["member", "list"]);
        wait::until("it in the list of version 3", wait::LONG, || {
            let list = listed();
            let there = list.lines().any(|line| {
                line.starts_with(&format!("{id}, unstarted"))
                    && line.contains("http://127.0.0.1:1,")
            });
            if there { Ok(()) } else { Err(list) }
        });
        let again = run(ours, &["member", "add", "d", "http://127.0.0.1:1"]);
        assert_eq!(again.0, Some(1), "{again:?}");
        let changed = run(ours, &["member", "update", &id, "http://127.0.0.1:2"]);
        let said = format!("Updated member with ID {id} in cluster\n");
        assert_eq!(changed, (Some(0), said, String::new()));
        let list = run(ours, &["member", "list"]).1;
        assert!(
            list.contains(&format!("{id}[unstarted]: peerURLs=http://127.0.0.1:2")),
            "{list}"
        );
        // It was never started.
        let health = [false, true].map(|ours| run(ours, &["cluster-health"]));
        assert_eq!(health[0], health[1]);
        assert_eq!(health[0].0, Some(5), "{:?}", health[0]);
        let removed = run(ours, &["member", "remove", &id]);
        let said = format!("Removed member {id} from cluster\n");
        assert_eq!(removed, (Some(0), said, String::new()));
        wait::until("it gone from the list of version 3", wait::LONG, || {
            let list = listed();
            if list.contains(&id) {
                Err(list)
            } else {
                Ok(())
            }
        });
        let again = run(ours, &["member", "remove", &id]);
        assert_eq!(again.0, Some(1), "{again:?}");
    }
}
