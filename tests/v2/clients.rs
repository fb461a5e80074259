//! Clients of version 2 as people have them.

use std::process::Command;

use end_to_end::programs;
use end_to_end::store::Store;

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
