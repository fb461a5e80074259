//! Locks and elections: one holds, the others wait, and what is lost is given up.

use std::path::Path;
use std::time::{Duration, Instant};

use end_to_end::cluster::Cluster;
use end_to_end::process::{Process, Signal};
use end_to_end::wait;

use super::{MORTAL, MUSTER, Scene, WHILE_HELD, ctl_at, ends_well, lines, number, on_both};

/// Both kinds of lock.
const KINDS: [&[&str]; 2] = [&["lock"], &["lock", "--exclusive"]];

fn lock(scene: &Scene, kind: &[&str], more: &[&str]) -> Process {
    let mut words = kind.to_vec();
    words.extend(["--ttl", MORTAL]);
    words.extend(more);
    scene.spawn(&words)
}

#[test]
fn one_at_a_time() {
    on_both(|scene| {
        for (round, kind) in KINDS.iter().enumerate() {
            let log = scene.file(&format!("log{round}"));
            let script = "echo in $MUSTER_FENCING_TOKEN >> \"$0\"; sleep 0.02; echo out >> \"$0\"";
            let more = ["critical", "--", "sh", "-c", script, log.to_str().unwrap()];
            let mut all: Vec<Process> = (0..5).map(|_| lock(scene, kind, &more)).collect();
            for one in &mut all {
                assert_eq!(one.wait_exit(wait::LONG).code(), Some(0));
            }
            let lines = lines(&log);
            assert_eq!(lines.len(), 10);
            let mut last = 0;
            for pair in lines.chunks(2) {
                let token: i64 = pair[0].trim_start_matches("in ").parse().unwrap();
                assert!(token > last && pair[1] == "out", "{lines:?}");
                last = token;
            }
        }
    });
}

#[test]
fn a_lock_outlives_its_holder_by_its_lease_only() {
    on_both(|scene| {
        for kind in KINDS {
            let more = ["mortal", "--", "sh", "-c", WHILE_HELD];
            let mut holder = lock(scene, kind, &more);
            let first = number(&mut holder, "holding");
            let mut waiter = lock(scene, kind, &more);
            let mut refused = lock(scene, kind, &["--try", "mortal", "true"]);
            assert_eq!(refused.wait_exit(wait::LONG).code(), Some(1));
            assert!(refused.lines()[0].starts_with("Error: somebody else holds it: "));
            holder.kill();
            let second = number(&mut waiter, "holding");
            assert!(second > first, "{second} fences off {first}");
            waiter.kill();
        }
    });
}

#[test]
fn a_lock_is_held_through_a_restart() {
    on_both(|scene| {
        for kind in KINDS {
            let words = ["--ttl", "20", "lasting", "--", "sh", "-c", WHILE_HELD];
            let mut holder = scene.spawn(&[kind, &words[..]].concat());
            number(&mut holder, "holding");
            let mut waiter =
                scene.spawn(&[kind, &["--ttl", "20", "lasting", "echo", "mine"]].concat());
            wait::until("two leases", wait::LONG, || {
                let leases = scene.run(&["lease", "list"]);
                (leases.lines().count() > 2).then_some(()).ok_or(leases)
            });
            scene.restart();
            assert_eq!(holder.exited(), None);
            assert_eq!(waiter.lines(), Vec::<String>::new());
            holder.signal(Signal::TERM);
            holder.wait_exit(wait::LONG);
            waiter.wait_line("mine", wait::LONG);
            assert_eq!(waiter.wait_exit(wait::LONG).code(), Some(0));
        }
    });
}

#[test]
fn who_loses_a_lock_is_told_and_then_ended() {
    on_both(|scene| {
        for kind in KINDS {
            // It tells that it was told, and goes on.
            let script = "trap 'echo told' TERM; echo holding; while :; do sleep 0.05; done";
            let words = [
                "--ttl", "30", "--grace", "300ms", "lost", "--", "sh", "-c", script,
            ];
            let mut holder = scene.spawn(&[kind, &words[..]].concat());
            holder.wait_line("holding", wait::LONG);
            scene.end_leases();
            holder.wait_line("told", wait::LONG);
            holder.wait_line("Error: session expired", wait::LONG);
            assert_eq!(holder.wait_exit(wait::LONG).code(), Some(1));
        }
    });
}

#[test]
fn a_command_ends_before_its_lease_does() {
    on_both(|scene| {
        let script =
            "trap '' TERM; echo holding; while :; do date +%s.%N > \"$0\"; sleep 0.02; done";
        let file = scene.file("alive");
        let words = [
            "lock",
            "--ttl",
            "3",
            "alone",
            "--",
            "sh",
            "-c",
            script,
            file.to_str().unwrap(),
        ];
        let mut holder = scene.spawn(&words);
        holder.wait_line("holding", wait::LONG);
        scene.store.kill();
        // At most a whole lease from the last renewal on, whatever the command does about it.
        let cut = Instant::now();
        let status = holder.wait_exit(wait::LONG);
        assert_eq!(status.code(), Some(1), "{}", holder.tail());
        assert!(
            cut.elapsed() < Duration::from_secs(6),
            "{:?}",
            cut.elapsed()
        );
        assert!(file_rests(&file), "what it ran has ended");
    });
}

fn file_rests(path: &Path) -> bool {
    let before = lines(path);
    wait::stays("nobody writes", Duration::from_millis(200), || {
        let now = lines(path);
        (now == before).then_some(()).ok_or(format!("{now:?}"))
    });
    true
}

#[test]
fn a_leader_leads_until_it_resigns_or_dies() {
    on_both(|scene| {
        let campaign = |name: &str| {
            let script = format!("echo {name} leads; {WHILE_HELD}");
            scene.spawn(&[
                "elect", "--ttl", MORTAL, "job", name, "--", "sh", "-c", &script,
            ])
        };
        let mut observer = scene.spawn(&["elect", "-l", "job"]);
        let mut first = campaign("first");
        let token = number(&mut first, "holding");
        let mut second = campaign("second");
        observer.wait_line("first", wait::LONG);
        wait::until("two in line", wait::LONG, || {
            let line = scene.run(&["get", "--prefix", "job/"]);
            line.contains("second").then_some(()).ok_or(line)
        });
        assert_eq!(second.lines(), Vec::<String>::new());
        assert_eq!(scene.run(&["elect", "--resign", "job"]), "first\n");
        let next = number(&mut second, "holding");
        assert!(next > token);
        observer.wait_line("second", wait::LONG);
        first.wait_line("Error: session expired", wait::LONG);
        assert_eq!(first.wait_exit(wait::LONG).code(), Some(1));
        let mut third = campaign("third");
        second.kill();
        number(&mut third, "holding");
        third.kill();
        scene.becomes(&["get", "--prefix", "job/"], "");
        let (status, _, err) = scene.said(&["elect", "--resign", "job"]);
        assert_eq!((status, err.as_str()), (1, "Error: nobody leads job\n"));
    });
}

#[test]
fn a_lock_is_held_while_there_is_no_leader() {
    let mut cluster = Cluster::start(Path::new(MUSTER), 3);
    let endpoints: Vec<String> = cluster
        .all()
        .iter()
        .map(|&member| cluster.address(member).to_string())
        .collect();
    let words = ["lock", "--ttl", "30", "l", "--", "sh", "-c", WHILE_HELD];
    let mut holder = Process::spawn("holder", &mut ctl_at(&endpoints.join(","), &words));
    number(&mut holder, "holding");
    let mut waiter = Process::spawn(
        "waiter",
        &mut ctl_at(
            &endpoints.join(","),
            &["lock", "--ttl", "30", "l", "echo", "mine"],
        ),
    );
    wait::until("two in line", wait::LONG, || {
        let keys = cluster.client(2).keys("l/")?;
        (keys.len() == 2).then_some(()).ok_or(format!("{keys:?}"))
    });
    // The one they talk to, and the majority with it.
    cluster.kill(0);
    cluster.kill(1);
    wait::until("no leader", wait::LONG, || match cluster.status(2) {
        Ok(status) if status.leader == 0 => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    cluster.restart(1);
    let _ = cluster.leader_among(&[1, 2]);
    assert_eq!(holder.exited(), None, "{}", holder.tail());
    assert_eq!(waiter.lines(), Vec::<String>::new());
    holder.signal(Signal::TERM);
    waiter.wait_line("mine", wait::LONG);
    assert_eq!(waiter.wait_exit(wait::LONG).code(), Some(0));
}

#[test]
fn what_a_plain_lock_says() {
    on_both(|scene| {
        let mut holder = scene.spawn(&["lock", "--exclusive", "said"]);
        let lines = wait::until("key and token", wait::LONG, || {
            let lines = holder.lines();
            (lines.len() == 2)
                .then_some(lines.clone())
                .ok_or(format!("{lines:?}"))
        });
        let found = scene.run(&["get", "said", "-w", "fields"]);
        assert_eq!(lines[0], "said");
        assert!(
            found.contains(&format!("\"CreateRevision\" : {}\n", lines[1])),
            "{found}"
        );
        ends_well(&mut holder);
        assert_eq!(scene.run(&["get", "said"]), "");
    });
}
