//! Members of a cluster of real processes come and go while it serves.

use std::collections::BTreeSet;
use std::path::Path;

use end_to_end::cluster::Cluster;
use end_to_end::etcdctl::Etcdctl;
use end_to_end::load::under_load;
use end_to_end::wait;

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
