//! A cluster of real processes: what it survives, what it never answers, and what it refuses.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use end_to_end::cluster::Cluster;
use end_to_end::etcdctl::Etcdctl;
use end_to_end::load::under_load;
use end_to_end::process::Signal;
use end_to_end::{http, wait};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

fn start(members: usize) -> Cluster {
    Cluster::start(Path::new(MUSTER), members)
}

/// Puts a key through whichever member takes it.
fn put(cluster: &Cluster, members: &[usize], key: &str, value: &str) {
    wait::until(&format!("put {key}"), wait::LONG, || {
        let tries = members.iter().map(|&member| {
            let client = cluster.client(member);
            client.try_run(&["put", "--command-timeout=2s", key, value])
        });
        let mut refused = String::new();
        for tried in tries {
            match tried {
                Ok(_) => return Ok(()),
                Err(reason) => refused = reason,
            }
        }
        Err(refused)
    });
}

fn keys(client: &Etcdctl) -> BTreeSet<String> {
    wait::until("a linearizable read", wait::LONG, || client.keys(""))
        .into_iter()
        .collect()
}

fn status_of(cluster: &Cluster, member: usize, path: &str) -> u16 {
    let response = http::get(cluster.address(member), path);
    response
        .unwrap_or_else(|reason| panic!("{path}: {reason}"))
        .status
}

#[test]
fn members_elect_one_leader_and_each_serves_everything() {
    let cluster = start(3);
    let leader = cluster.leader_among(&cluster.all());
    for member in cluster.all() {
        let client = cluster.client(member);
        let value = format!("v{member}");
        assert_eq!(client.run(&["put", "k", &value]), "OK\n");
        for reader in cluster.all() {
            let read = cluster.client(reader).value("k");
            assert_eq!(read, Ok(Some(value.clone())), "at {reader} after {member}");
        }
        wait::until("all members with their addresses", wait::LONG, || {
            let list = client.try_run(&["member", "list"])?;
            let known = |at: usize| list.contains(&cluster.address(at).to_string());
            if list.lines().count() == 3 && cluster.all().into_iter().all(known) {
                Ok(())
            } else {
                Err(list)
            }
        });
        for path in ["/health", "/readyz"] {
            assert_eq!(status_of(&cluster, member, path), 200, "{path} of {member}");
        }
        let metrics = http::get(cluster.address(member), "/metrics").unwrap().body;
        let leads = format!("etcd_server_is_leader {}", u8::from(member == leader));
        let links = metrics.matches("etcd_network_active_peers{").count();
        assert!(metrics.contains(&leads) && links == 2, "{metrics}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_leaders_are_killed() {
    let mut cluster = start(3);
    let acknowledged = Mutex::new(BTreeSet::new());
    let mut leader = cluster.leader_among(&cluster.all());
    for round in 0..3 {
        let stop = AtomicBool::new(false);
        let clients: Vec<Etcdctl> = cluster
            .all()
            .into_iter()
            .map(|m| cluster.client(m))
            .collect();
        std::thread::scope(|scope| {
            for (writer, client) in clients.iter().enumerate() {
                let (acknowledged, stop) = (&acknowledged, &stop);
                scope.spawn(move || {
                    for number in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let key = format!("{round}/{writer}/{number:04}");
                        // What happened to a write that failed is unknown, and stays so.
                        if client
                            .try_run(&["put", "--command-timeout=1s", &key, "x"])
                            .is_ok()
                        {
                            acknowledged.lock().unwrap().insert(key);
                        }
                    }
                });
            }
            let more = |count: usize| {
                let before = acknowledged.lock().unwrap().len();
                wait::until("more acknowledged writes", wait::LONG, || {
                    let now = acknowledged.lock().unwrap().len();
                    if now >= before + count {
                        Ok(())
                    } else {
                        Err(format!("{now}"))
                    }
                });
            };
            more(30);
            cluster.kill(leader);
            more(30);
            stop.store(true, Ordering::Relaxed);
        });
        let others = cluster.others(leader);
        let next = cluster.leader_among(&others);
        cluster.restart(leader);
        let acknowledged = acknowledged.lock().unwrap();
        for member in cluster.all() {
            let kept = keys(&cluster.client(member));
            let lost: Vec<_> = acknowledged.difference(&kept).collect();
            assert!(
                lost.is_empty(),
                "round {round}, member {member}: lost {lost:?}"
            );
        }
        leader = next;
    }
}

#[test]
fn members_may_be_restarted_in_turn() {
    let mut cluster = start(3);
    let mut written = BTreeSet::new();
    for member in cluster.all() {
        let led = cluster.leader_among(&cluster.all()) == member;
        cluster.process(member).signal(Signal::TERM);
        let ended = cluster.process(member).wait_exit(wait::LONG);
        assert!(
            ended.success(),
            "{ended}: {}",
            cluster.process(member).tail()
        );
        if led {
            let lines = cluster.process(member).lines();
            let said = lines
                .iter()
                .any(|line| line.contains("handed the lead over"));
            assert!(said, "{lines:?}");
        }
        let key = format!("without-{member}");
        put(&cluster, &cluster.others(member), &key, "x");
        written.insert(key);
        cluster.restart(member);
        assert_eq!(keys(&cluster.client(member)), written);
    }
    for member in cluster.all() {
        cluster.kill(member);
    }
    cluster.start_all();
    for member in cluster.all() {
        assert_eq!(
            keys(&cluster.client(member)),
            written,
            "after all were killed"
        );
    }
}

#[test]
fn the_lead_goes_where_it_is_told_to() {
    let cluster = start(3);
    let leader = cluster.leader_among(&cluster.all());
    let next = cluster.others(leader)[0];
    let id = format!("{:x}", cluster.status(next).unwrap().member);
    let moved = cluster.client(leader).run(&["move-leader", &id]);
    assert!(moved.contains("Leadership transferred"), "{moved}");
    assert_eq!(cluster.leader_among(&cluster.all()), next);
    let refused = cluster.client(next).try_run(&["move-leader", "1234"]);
    assert!(refused.is_err_and(|said| said.contains("bad leader transferee")));
}

#[test]
fn no_write_fails_while_the_lead_moves_or_its_holder_is_killed() {
    let mut cluster = start(3);
    let clients: Vec<Etcdctl> = cluster
        .all()
        .into_iter()
        .map(|m| cluster.client(m))
        .collect();
    let moved = under_load(&clients, || {
        for _ in 0..4 {
            let leader = cluster.leader_among(&cluster.all());
            let next = cluster.others(leader)[0];
            let id = format!("{:x}", cluster.status(next).unwrap().member);
            let moved = cluster.client(leader).run(&["move-leader", &id]);
            assert!(moved.contains("Leadership transferred"), "{moved}");
        }
    });
    assert!(moved.failed.is_empty(), "{:?}", moved.failed);
    let leader = cluster.leader_among(&cluster.all());
    let others = cluster.others(leader);
    let clients: Vec<Etcdctl> = others.iter().map(|&m| cluster.client(m)).collect();
    let killed = under_load(&clients, || {
        cluster.kill(leader);
        let _ = cluster.leader_among(&others);
    });
    assert!(killed.failed.is_empty(), "{:?}", killed.failed);
    let kept = keys(&clients[0]);
    assert!(kept.is_superset(&moved.acknowledged) && kept.is_superset(&killed.acknowledged));
}

#[test]
fn a_member_that_missed_more_than_is_kept_catches_up() {
    /// More than a leader keeps of its log for members that lag: 32 MiB.
    const MISSED: usize = 40;
    let mut cluster = start(3);
    let late = cluster.others(cluster.leader_among(&cluster.all()))[0];
    let others = cluster.others(late);
    cluster.kill(late);
    let value = "x".repeat(1 << 20);
    let writer = cluster.client(others[0]);
    let mut written = BTreeSet::new();
    for number in 0..MISSED {
        let key = format!("{number:04}");
        let (status, _, said) = writer.output_with_input(&["put", &key], &value);
        assert_eq!(status, 0, "{said}");
        written.insert(key);
    }
    cluster.restart(late);
    assert_eq!(keys(&cluster.client(late)), written);
    let metrics = http::get(cluster.address(late), "/metrics").unwrap().body;
    let saved = "etcd_debugging_snap_save_total_duration_seconds_count 1\n";
    assert!(metrics.contains(saved), "it came by a snapshot: {metrics}");
    // What it was given is its own now.
    cluster.kill(late);
    cluster.restart(late);
    put(&cluster, &[late], "after", "x");
    written.insert("after".to_owned());
    for member in cluster.all() {
        assert_eq!(keys(&cluster.client(member)), written);
    }
}

#[test]
fn a_leader_that_was_paused_answers_nothing_stale() {
    let mut cluster = start(3);
    for round in 0..3 {
        let paused = cluster.leader_among(&cluster.all());
        let others = cluster.others(paused);
        put(&cluster, &others, "k", &format!("old{round}"));
        cluster.process(paused).signal(Signal::STOP);
        let _ = cluster.leader_among(&others);
        let new = format!("new{round}");
        put(&cluster, &others, "k", &new);
        // Asked while it cannot answer, so these are the first things it looks at.
        let client = cluster.client(paused);
        let reads: Vec<_> = (0..5)
            .map(|_| client.spawn(&["get", "--print-value-only", "--command-timeout=10s", "k"]))
            .collect();
        cluster.process(paused).signal(Signal::CONT);
        for mut read in reads {
            // An error is an answer too, if not a good one; the old value is none.
            read.wait_exit(wait::LONG);
            let lines = read.lines();
            assert!(
                !lines.iter().any(|line| line.starts_with("old")),
                "{lines:?}"
            );
        }
        let read = wait::until("a read", wait::LONG, || client.value("k"));
        assert_eq!(read, Some(new));
    }
}

#[test]
fn five_members_live_without_two_and_a_minority_says_so() {
    let mut cluster = start(5);
    let leader = cluster.leader_among(&cluster.all());
    let others = cluster.others(leader);
    put(&cluster, &others, "a", "1");
    cluster.kill(leader);
    cluster.kill(others[0]);
    put(&cluster, &others[1..], "b", "2");
    assert_eq!(
        cluster.client(others[1]).value("b"),
        Ok(Some("2".to_owned()))
    );

    let left = others[2];
    // etcdctl wants a leader while it watches.
    let mut watch = cluster.client(left).spawn(&["watch", "--prefix", "seen"]);
    let mut number = 0;
    wait::until("the watch", wait::LONG, || {
        put(&cluster, &[left], &format!("seen{number}"), "x");
        number += 1;
        let lines = watch.lines();
        if lines.is_empty() {
            Err("no event".to_owned())
        } else {
            Ok(())
        }
    });
    cluster.kill(others[1]);
    wait::until("the loss to be noticed", wait::LONG, || {
        match cluster.status(left)?.leader {
            0 => Ok(()),
            leader => Err(format!("it follows {leader:x}")),
        }
    });
    watch.wait_line("no leader", wait::LONG);
    assert_eq!(status_of(&cluster, left, "/health"), 503);
    let client = cluster.client(left);
    let local = client.run(&["get", "--consistency=s", "--print-value-only", "b"]);
    assert_eq!(local, "2\n");
    let refused = client.try_run(&["get", "--command-timeout=500ms", "b"]);
    assert!(refused.is_err(), "{refused:?}");

    cluster.restart(leader);
    assert!(keys(&client).contains("b"));
}

#[test]
fn what_does_not_fit_together_is_refused_and_nothing_touched() {
    let cluster = Cluster::prepare(Path::new(MUSTER), 3);
    let list = cluster.initial_cluster();
    let complaint = |member: usize, arguments: &[&str]| {
        let output = cluster.command(member).args(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let twice = list.replace("m2=", "m1=");
    let same_url = format!("{list},m3={}", &list[3..list.find(',').unwrap()]);
    for (arguments, said) in [
        (["--name", "m9"], "does not list a member m9"),
        (["--name", "m1"], "lists m1 as"),
        (["--initial-cluster", &twice[..]], "m2"),
        (["--initial-cluster", &same_url], "is given to m0 and to m3"),
        (["--initial-cluster", "m0"], "form name=url"),
        (
            ["--initial-cluster-state", "existing"],
            "tells who is in it",
        ),
    ] {
        let member = if said == "m2" { 2 } else { 0 };
        let text = complaint(member, &arguments);
        assert!(text.contains(said) && text.contains("hint: "), "{text}");
        assert!(!cluster.data(member).exists(), "{arguments:?}");
    }

    // Folders are made by members that wait for the others.
    let mut cluster = cluster;
    for member in [0, 1] {
        cluster.spawn(member);
        cluster.wait_ready_to_elect(member);
    }
    for member in [0, 1] {
        cluster.kill(member);
    }
    let complaint = |arguments: &[&str]| {
        let before = snapshot(&cluster.data(1));
        let output = cluster.command(0).args(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert_eq!(snapshot(&cluster.data(1)), before, "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let data = cluster.data(1).into_os_string().into_string().unwrap();
    for (arguments, said) in [
        (&["--data-dir", &data][..], "is that of member m1"),
        (
            &["--data-dir", &data, "--initial-cluster-token", "other"],
            "belongs to cluster",
        ),
    ] {
        let text = complaint(arguments);
        assert!(text.contains(said) && text.contains("hint: "), "{text}");
    }
}

/// Names, sizes and times of the files of a folder.
fn snapshot(folder: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder).expect("the folder is there");
    files
        .map(|file| {
            let file = file.expect("the folder can be read");
            let meta = file.metadata().expect("the file is there");
            let changed = meta.modified().ok();
            format!("{:?} {} {changed:?}", file.file_name(), meta.len())
        })
        .collect()
}

#[test]
fn members_of_two_clusters_do_not_mix_and_both_say_why() {
    let mut cluster = Cluster::prepare(Path::new(MUSTER), 3);
    cluster.spawn(0);
    cluster.spawn(1);
    cluster.spawn_with(2, &["--initial-cluster-token", "another"]);
    cluster.wait_ready(0);
    cluster.wait_ready(1);
    let ours = cluster
        .process(0)
        .wait_line("it belongs to cluster", wait::LONG);
    assert!(ours.contains("hint="), "{ours}");
    let theirs = cluster
        .process(2)
        .wait_line("it belongs to cluster", wait::LONG);
    assert!(theirs.contains("--initial-cluster-token"), "{theirs}");
    put(&cluster, &[0, 1], "k", "v");
    let strange = cluster.status(2).unwrap();
    assert_eq!(strange.leader, 0);
}
