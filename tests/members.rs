//! Members of a cluster of real processes come and go while it serves.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use end_to_end::cluster::Cluster;
use end_to_end::etcdctl::Etcdctl;
use end_to_end::load::under_load;
use end_to_end::process::Process;
use end_to_end::{http, wait};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// The exit status of a member that has been removed.
const REMOVED: i32 = 69;

fn keys(client: &Etcdctl) -> BTreeSet<String> {
    wait::until("a linearizable read", wait::LONG, || client.keys(""))
        .into_iter()
        .collect()
}

/// Runs a client's command until it succeeds: a change has to wait for the one before, and for members
/// to be heard of.
#[track_caller]
fn until_done(client: &Etcdctl, words: &[&str]) -> String {
    wait::until(&format!("{words:?}"), wait::LONG, || client.try_run(words))
}

/// Waits until a member ends because it has been removed.
#[track_caller]
fn ends_as_removed(cluster: &mut Cluster, member: usize) {
    let process = cluster.process(member);
    let ended = process.wait_exit(wait::LONG);
    assert_eq!(ended.code(), Some(REMOVED), "{}", process.tail());
    let said = process.lines().join("\n");
    assert!(said.contains("has been removed from the cluster"), "{said}");
    assert!(said.contains("empty data folder"), "{said}");
}

/// Places for five, of which the first is a cluster by itself.
fn one_of_five() -> Cluster {
    let mut cluster = Cluster::prepare(Path::new(MUSTER), 5);
    for member in 1..5 {
        cluster.list(member, false);
    }
    cluster.restart(0);
    cluster
}

#[test]
fn one_grows_to_five_and_shrinks_to_one_under_load() {
    let mut cluster = one_of_five();
    // Whoever writes knows the first member and the last, which stays.
    let writers = [[0, 4], [0, 4]].map(|members| cluster.client_of(&members));
    let mut members = vec![0];
    let written = under_load(&writers, || {
        for joins in 1..5 {
            let as_learner = joins % 2 == 0;
            cluster.join(joins, 0, if as_learner { &["--learner"] } else { &[] });
            if as_learner {
                let id = wait::until("its id", wait::LONG, || cluster.id_of(joins, 0));
                until_done(&cluster.client(0), &["member", "promote", &id]);
            }
            cluster.wait_ready(joins);
            members.push(joins);
            let _ = cluster.leader_among(&members);
        }
        while members.len() > 1 {
            // Whoever leads goes first.
            let leader = cluster.leader_among(&members);
            let goes = if leader == 4 { members[0] } else { leader };
            let id = wait::until("its id", wait::LONG, || cluster.id_of(goes, 4));
            until_done(&cluster.client(4), &["member", "remove", &id]);
            ends_as_removed(&mut cluster, goes);
            members.retain(|member| *member != goes);
        }
    });
    let kept = keys(&cluster.client(4));
    let written = written.acknowledged;
    let lost: Vec<_> = written.difference(&kept).collect();
    assert!(lost.is_empty(), "of {} lost {lost:?}", written.len());
    let list = cluster.client(4).run(&["member", "list"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    // It goes on alone, with flags that still name all the others.
    cluster.kill(4);
    cluster.spawn_with(4, &["--initial-cluster-state", "existing"]);
    cluster.wait_ready(4);
    assert_eq!(keys(&cluster.client(4)), kept);
    let id = cluster.id_of(4, 4).unwrap();
    let refused = cluster.client(4).try_run(&["member", "remove", &id]);
    let said = refused.unwrap_err();
    assert!(said.contains("not enough started members"), "{said}");
}

#[test]
fn too_many_members_are_not_removed_and_why_is_said_in_numbers() {
    let mut cluster = Cluster::prepare(Path::new(MUSTER), 3);
    // The third is named in the list, and nobody has heard of it.
    for member in 0..2 {
        cluster.spawn(member);
    }
    for member in 0..2 {
        cluster.wait_ready(member);
    }
    let leader = cluster.leader_among(&[0, 1]);
    let id = cluster.id_of(1 - leader, leader).unwrap();
    let remove = || {
        let endpoint = cluster.address(leader).to_string();
        let words = ["ctl", "--endpoints", &endpoint, "member", "remove", &id];
        let output = Command::new(MUSTER).env_clear().args(words).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = remove();
    for part in [
        "Error: etcdserver: unhealthy cluster\n",
        "hint: without it there would be 2 voters, 2 of them needed; 2 have started, 1 answer",
        "start or first remove: m2 (",
    ] {
        assert!(said.contains(part), "{said}");
    }
    cluster.process(leader).wait_line(
        "refuses a change of members: of 2 voters after it 2 would be started and 1 heard of, 2 are needed",
        wait::LONG,
    );
    assert_eq!(cluster.client(leader).run(&["put", "k", "v"]), "OK\n");
}

#[test]
fn a_dead_member_is_replaced_and_told_when_it_comes_back() {
    let mut cluster = Cluster::prepare(Path::new(MUSTER), 4);
    cluster.list(3, false);
    for member in 0..3 {
        cluster.spawn(member);
    }
    for member in 0..3 {
        cluster.wait_ready(member);
    }
    let leader = cluster.leader_among(&[0, 1, 2]);
    let (dead, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let client = cluster.client(other);
    assert_eq!(client.run(&["put", "before", "x"]), "OK\n");
    let id = cluster.id_of(dead, other).unwrap();
    cluster.kill(dead);
    until_done(&client, &["member", "remove", &id]);
    cluster.list(dead, false);
    cluster.join(3, other, &[]);
    cluster.wait_ready(3);
    assert!(keys(&cluster.client(3)).contains("before"));
    let again = client.try_run(&["member", "remove", &id]).unwrap_err();
    assert!(again.contains("member not found"), "{again}");
    // The dead one comes back, and goes.
    cluster.list(dead, true);
    cluster.list(3, false);
    cluster.spawn(dead);
    ends_as_removed(&mut cluster, dead);
    assert_eq!(client.run(&["put", "after", "x"]), "OK\n");
    assert_eq!(cluster.client(3).value("after"), Ok(Some("x".to_owned())));
}

/// `muster ctl` for a member.
fn ctl(cluster: &Cluster, member: usize, words: &[&str]) -> Command {
    let mut command = Command::new(MUSTER);
    let endpoint = cluster.address(member).to_string();
    command.args(["ctl", "--endpoints", &endpoint]).args(words);
    command
}

#[test]
fn the_safe_way_is_through_a_learner_and_back_when_it_never_comes() {
    let mut cluster = one_of_five();
    let url = format!("--peer-urls={}", cluster.peer_url(1));
    let add = ["member", "add", "m1", &url, "--safe"];
    let client = cluster.client(0);
    let members = |client: &Etcdctl| client.run(&["member", "list"]).lines().count();
    let never = ctl(&cluster, 0, &[&add[..], &["--undo-after=200ms"]].concat())
        .output()
        .unwrap();
    let said = String::from_utf8(never.stderr).unwrap();
    assert_eq!(never.status.code(), Some(1), "{said}");
    assert!(said.contains("has not been started yet"), "{said}");
    assert!(
        said.contains("was removed again") && said.contains("hint: "),
        "{said}"
    );
    assert_eq!(members(&client), 1);
    assert_eq!(client.run(&["put", "a", "1"]), "OK\n");

    let mut adds = Process::spawn("member add --safe", &mut ctl(&cluster, 0, &add));
    adds.wait_line("has not been started yet", wait::LONG);
    let settings = adds.lines().join("\n");
    cluster.list(1, true);
    for entry in cluster.initial_cluster().split(',') {
        assert!(settings.contains(entry), "{settings}");
    }
    cluster.spawn_with(1, &["--initial-cluster-state", "existing"]);
    let ended = adds.wait_exit(wait::LONG);
    assert!(ended.success(), "{}", adds.tail());
    adds.wait_line("promoted in cluster", wait::LONG);
    let list = client.run(&["member", "list"]);
    assert!(
        list.contains("started, m1, ") && !list.contains("true"),
        "{list}"
    );
}

#[test]
fn a_learner_serves_what_it_has_and_nothing_else() {
    let mut cluster = one_of_five();
    let client = cluster.client(0);
    assert_eq!(client.run(&["put", "a", "1"]), "OK\n");
    cluster.join(1, 0, &["--learner"]);
    let learner = cluster.client(1);
    let local = ["get", "--consistency=s", "--print-value-only", "a"];
    wait::until("the learner to have it", wait::LONG, || {
        let value = learner.try_run(&local)?;
        if value == "1\n" { Ok(()) } else { Err(value) }
    });
    let id = cluster.id_of(1, 0).unwrap();
    const NOT_FOR_LEARNERS: &str = "etcdserver: rpc not supported for learner";
    for refused in [
        &["get", "a"][..],
        &["put", "a", "2"],
        &["del", "a"],
        &["watch", "a"],
        &["lease", "grant", "60"],
        &["member", "list"],
        &["member", "promote", &id],
        &["alarm", "list"],
    ] {
        let said = learner.try_run(refused).unwrap_err();
        assert!(said.contains(NOT_FOR_LEARNERS), "{said}");
    }
    assert!(
        learner
            .run(&["endpoint", "status", "-w", "table"])
            .contains("true")
    );
    let address = cluster.address(1);
    for (path, wanted) in [
        ("kv/put", 400),
        ("maintenance/status", 200),
        ("kv/range", 400),
    ] {
        let body = r#"{"key":"YQ=="}"#;
        let body = if path.starts_with("kv") { body } else { "{}" };
        let request = format!(
            "POST /v3/{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let response = http::request(address, &request).unwrap();
        assert_eq!(response.status, wanted, "{path}: {}", response.body);
    }

    let another = format!("--peer-urls={}", cluster.peer_url(2));
    let many = client.try_run(&["member", "add", "m2", &another, "--learner"]);
    assert!(
        many.unwrap_err()
            .contains("too many learner members in cluster")
    );
    let leads = client.try_run(&["move-leader", &id]).unwrap_err();
    assert!(leads.contains("bad leader transferee"), "{leads}");
    assert!(until_done(&client, &["member", "promote", &id]).contains("promoted in"));
    let again = client.try_run(&["member", "promote", &id]).unwrap_err();
    assert!(
        again.contains("can only promote a learner member"),
        "{again}"
    );
    assert_eq!(
        wait::until("a read", wait::LONG, || learner.value("a")),
        Some("1".to_owned())
    );
    // One that is not there yet has nothing to be promoted for.
    let early = until_done(&client, &["member", "add", "m2", &another, "--learner"]);
    let early = early.split(' ').nth(1).unwrap();
    let refused = client.try_run(&["member", "promote", early]).unwrap_err();
    assert!(refused.contains("in sync with leader"), "{refused}");
}

#[test]
fn who_does_not_belong_does_not_join_and_nothing_is_touched() {
    let mut cluster = one_of_five();
    let existing = ["--initial-cluster-state", "existing"];
    let complaint = |cluster: &Cluster, member: usize, more: &[&str]| {
        let mut command = cluster.command(member);
        let output = command.args(existing).args(more).output().unwrap();
        assert!(!output.status.success(), "{more:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    // Nobody has added it.
    cluster.list(1, true);
    let said = complaint(&cluster, 1, &[]);
    assert!(said.contains("expects no member at"), "{said}");
    assert!(said.contains("hint: add it first: member add m1"), "{said}");
    assert!(!cluster.data(1).exists());
    // Its list leaves another out.
    let url = |member| format!("--peer-urls={}", cluster.peer_url(member));
    let _ = until_done(
        &cluster.client(0),
        &["member", "add", "m1", &url(1), "--learner"],
    );
    cluster.list(2, true);
    let said = complaint(&cluster, 1, &[]);
    assert!(
        said.contains("--initial-cluster is") && said.contains("hint: "),
        "{said}"
    );
    assert!(!cluster.data(1).exists());
    cluster.list(2, false);
    cluster.spawn_with(1, &existing);
    let id = cluster.id_of(1, 0).unwrap();
    assert!(until_done(&cluster.client(0), &["member", "promote", &id]).contains("promoted"));
    cluster.wait_ready(1);
    // Its data is lost: it would forget what it has acknowledged.
    cluster.kill(1);
    let kept = cluster.data(1).with_extension("kept");
    std::fs::rename(cluster.data(1), &kept).unwrap();
    let said = complaint(&cluster, 1, &[]);
    assert!(said.contains("started before, as m1"), "{said}");
    assert!(said.contains(&format!("member remove {id}")), "{said}");
    assert!(!cluster.data(1).exists());
    std::fs::rename(&kept, cluster.data(1)).unwrap();
    // Each other's folders.
    cluster.kill(0);
    for (member, other) in [(0, 1), (1, 0)] {
        let data = cluster.data(other).into_os_string().into_string().unwrap();
        let said = complaint(&cluster, member, &["--data-dir", &data]);
        // Its name is not known before its log is applied.
        let owners = [
            format!("m{other}"),
            format!("at {}", cluster.peer_url(other)),
        ];
        let owner = |name: &String| said.contains(&format!("is that of member {name}"));
        assert!(
            owners.iter().any(owner) && said.contains("hint: "),
            "{said}"
        );
    }
    for member in [0, 1] {
        cluster.spawn_with(member, &existing);
    }
    for member in [0, 1] {
        cluster.wait_ready(member);
    }
}

/// Asks a member over JSON to hand the lead over; gives status and text.
fn move_leader(cluster: &Cluster, asked: usize, target: &str) -> (u16, String) {
    let address = cluster.address(asked);
    let body = format!(r#"{{"targetID":"{target}"}}"#);
    let request = format!(
        "POST /v3/maintenance/transfer-leadership HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http::request(address, &request).unwrap_or_else(|cause| panic!("{cause}"));
    (answer.status, answer.body)
}

#[test]
fn the_lead_goes_to_whom_it_is_given() {
    let cluster = Cluster::start(Path::new(MUSTER), 3);
    let leader = cluster.leader_among(&cluster.all());
    let target = cluster.others(leader)[0];
    let id = wait::until("its id", wait::LONG, || cluster.id_of(target, leader));
    let id = u64::from_str_radix(&id, 16)
        .expect("ids are hexadecimal")
        .to_string();
    for (asked, target, why) in [
        (target, id.as_str(), "etcdserver: not leader"),
        (leader, "7", "etcdserver: bad leader transferee"),
    ] {
        let (status, said) = move_leader(&cluster, asked, target);
        assert!(status == 400 && said.contains(why), "{status} {said}");
    }
    let (status, said) = move_leader(&cluster, leader, &id);
    assert_eq!(status, 200, "{said}");
    wait::until("the other to lead", wait::LONG, || {
        match cluster.leader_among(&cluster.all()) {
            leads if leads == target => Ok(()),
            leads => Err(format!("member {leads} leads")),
        }
    });
    assert_eq!(cluster.client(leader).run(&["put", "k", "v"]), "OK\n");
}

/// Two of three are gone for good: the last one goes on alone with everything it has under its old ids, and grows again.
/// What the lost ones would bring back, should they return, counts no more.
#[test]
fn the_last_member_goes_on_without_the_others() {
    let mut cluster = Cluster::start(Path::new(MUSTER), 3);
    let id = wait::until("its id", wait::LONG, || cluster.id_of(0, 1));
    for number in 0..20 {
        until_done(&cluster.client(1), &["put", &format!("/{number}"), "v"]);
    }
    // The last one has read it, so it has it all.
    let expected = keys(&cluster.client(0));
    assert_eq!(expected.len(), 20);
    for member in cluster.all() {
        cluster.kill(member);
    }
    cluster.spawn_with(0, &["--force-new-cluster"]);
    cluster.wait_ready(0);
    assert_eq!(keys(&cluster.client(0)), expected);
    until_done(&cluster.client(0), &["put", "/20", "v"]);
    let list = cluster.client(0).run(&["member", "list"]);
    assert!(list.lines().count() == 1 && list.contains(&id), "{list}");

    // Killed at once, and again without the flag, and with it, it stays as it is.
    for flags in [&[][..], &["--force-new-cluster"], &[]] {
        cluster.kill(0);
        cluster.spawn_with(0, flags);
        cluster.wait_ready(0);
        assert_eq!(keys(&cluster.client(0)).len(), 21);
    }
    // A lost one that comes back hears that it is a member no more.
    cluster.spawn(1);
    ends_as_removed(&mut cluster, 1);
    // And an empty one may take its place.
    std::fs::remove_dir_all(cluster.data(1)).expect("its folder");
    cluster.list(1, false);
    cluster.list(2, false);
    cluster.join(1, 0, &[]);
    cluster.wait_ready(1);
    assert_eq!(keys(&cluster.client(1)).len(), 21);
}
