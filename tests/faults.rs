//! Three real members in network namespaces, under traffic, while they are killed, paused, cut off from each other, run out
//! of disk and are restarted. All that clients ask and are told is recorded and held against the store's promises by the
//! simulator's checker: nothing acknowledged is lost, nothing stale is read, no watcher misses anything.
//!
//! Needs root, as itself or through sudo. `make torture MINUTES=10` repeats each scenario for so long. Packets are lost by
//! rules and delayed by a token bucket, not by the kernel's netem, which not every kernel has. Power cannot be cut here: what
//! a killed process has written is there afterwards. The simulator cuts it. What a confd makes of such a store is in
//! `faults/files.rs`.

#[path = "faults/files.rs"]
mod files;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use end_to_end::cluster::Cluster;
use end_to_end::net::Net;
use end_to_end::process::Signal;
use end_to_end::small_disk::SmallDisk;
use end_to_end::traffic::{LEASE_SECONDS, Traffic};
use end_to_end::{http, wait};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// Longer than a lease lives and an election takes.
const LONG_PAUSE: Duration = Duration::from_secs(LEASE_SECONDS.unsigned_abs() + 1);

/// Acknowledged writes between two faults: about a second of traffic.
const ENOUGH: usize = 60;

/// Room for the log, its next segment and a snapshot, 64 MiB each.
const DISK_MEBIBYTES: u64 = 256;

/// A cluster and its traffic.
struct Trial {
    cluster: Cluster,
    traffic: Traffic,
    /// Those that should be up when all is well.
    members: Vec<usize>,
    /// Unmounted when the members are gone.
    disk: Option<SmallDisk>,
}

impl Trial {
    fn start(cluster: Cluster) -> Self {
        let members = cluster.all();
        Self::start_of(cluster, &members)
    }

    /// Starts some of the members; clients know these only.
    fn start_of(mut cluster: Cluster, members: &[usize]) -> Self {
        cluster.start_some(members);
        let endpoints: Vec<SocketAddr> = members
            .iter()
            .map(|&member| cluster.address(member))
            .collect();
        let traffic = Traffic::start(&endpoints);
        traffic.more(ENOUGH);
        let disk = None;
        Self {
            cluster,
            traffic,
            members: members.to_vec(),
            disk,
        }
    }

    fn keep(mut self, disk: SmallDisk) -> Self {
        self.disk = Some(disk);
        self
    }

    /// Makes a member lead, or another.
    fn lead(&self, member: usize, leads: bool) {
        wait::until("the lead where it is wanted", wait::LONG, || {
            let leader = self.leader();
            if (leader == member) == leads {
                return Ok(());
            }
            let wanted = if leads {
                member
            } else {
                self.cluster.others(member)[0]
            };
            let id = format!("{:x}", self.cluster.status(wanted)?.member);
            self.cluster.client(leader).try_run(&["move-leader", &id])?;
            Err(format!("member {leader} led"))
        });
    }

    fn leader(&self) -> usize {
        self.cluster.leader_among(&self.members)
    }

    /// A fault that the others are to live with: they elect a leader, and writes go on.
    fn others_go_on(&self, without: usize) -> usize {
        let leader = self.cluster.leader_among(&self.cluster.others(without));
        self.traffic.more(ENOUGH);
        leader
    }

    /// Everything is repaired: all members serve.
    fn all_go_on(&self) {
        let _ = self.leader();
        for member in 0..self.traffic.members() {
            self.traffic.more_of(member, 20);
        }
        self.traffic.more(ENOUGH);
    }

    fn judge(self, scenario: &str) {
        let gap = self.traffic.history().longest_gap();
        let account = self.traffic.judge();
        eprintln!("{scenario}: longest time without an acknowledged write {gap:?}; {account:?}");
        assert!(account.acknowledged > 0 && account.reads > 0 && account.shown > 0);
    }
}

/// Runs a scenario once, or again and again for `FAULT_MINUTES`.
fn scenario(name: &str, run: impl Fn() -> Trial) {
    let minutes = std::env::var("FAULT_MINUTES")
        .map_or(0, |text| text.parse().expect("FAULT_MINUTES is a number"));
    let (began, long) = (Instant::now(), Duration::from_secs(60 * minutes));
    loop {
        run().judge(name);
        if began.elapsed() >= long {
            return;
        }
    }
}

fn three() -> Cluster {
    Cluster::prepare_in(Net::new(3), Path::new(MUSTER))
}

fn hold(span: Duration) {
    wait::stays("the fault", span, || Ok(()));
}

#[test]
fn members_that_are_killed() {
    scenario("killed", || {
        let mut trial = Trial::start(three());
        for _ in 0..2 {
            let leader = trial.leader();
            trial.cluster.kill(leader);
            let next = trial.others_go_on(leader);
            trial.cluster.restart(leader);
            // A follower, and then all of them at once.
            let follower = trial.cluster.others(next)[0];
            trial.cluster.kill(follower);
            trial.others_go_on(follower);
            trial.cluster.restart(follower);
            for member in trial.cluster.all() {
                trial.cluster.kill(member);
            }
            trial.cluster.start_all();
            trial.all_go_on();
        }
        trial
    });
}

#[test]
fn members_that_are_paused() {
    scenario("paused", || {
        let mut trial = Trial::start(three());
        for _ in 0..2 {
            let leader = trial.leader();
            trial.cluster.process(leader).signal(Signal::STOP);
            let next = trial.others_go_on(leader);
            hold(LONG_PAUSE);
            trial.cluster.process(leader).signal(Signal::CONT);
            trial.all_go_on();
            let follower = trial.cluster.others(next)[0];
            trial.cluster.process(follower).signal(Signal::STOP);
            trial.traffic.more(ENOUGH);
            trial.cluster.process(follower).signal(Signal::CONT);
            trial.all_go_on();
        }
        // All at once: no clock may be taken for granted.
        for signal in [Signal::STOP, Signal::CONT] {
            for member in trial.cluster.all() {
                trial.cluster.process(member).signal(signal);
            }
            if signal == Signal::STOP {
                hold(LONG_PAUSE);
            }
        }
        trial.all_go_on();
        trial
    });
}

#[test]
fn members_that_are_cut_off() {
    scenario("cut off", || {
        let trial = Trial::start(three());
        let net = trial.cluster.net();
        let leader = trial.leader();
        // Clients still reach it.
        net.isolate(leader);
        let next = trial.others_go_on(leader);
        hold(LONG_PAUSE);
        net.heal();
        trial.all_go_on();
        // It is heard and hears nothing; it hears and is not heard.
        for heard in [true, false] {
            let leader = trial.leader();
            for other in trial.cluster.others(leader) {
                if heard {
                    net.cut(other, leader);
                } else {
                    net.cut(leader, other);
                }
            }
            trial.others_go_on(leader);
            net.heal();
            trial.all_go_on();
        }
        // Two of three that do not hear each other.
        let leader = trial.leader();
        let followers = trial.cluster.others(leader);
        net.cut(followers[0], followers[1]);
        net.cut(followers[1], followers[0]);
        trial.traffic.more(ENOUGH);
        net.heal();
        net.unplug(next);
        trial.others_go_on(next);
        net.heal();
        trial.all_go_on();
        trial
    });
}

#[test]
fn links_that_lose_and_delay() {
    scenario("lossy", || {
        let trial = Trial::start(three());
        let net = trial.cluster.net();
        net.lose(10);
        trial.traffic.more(ENOUGH);
        trial.traffic.more(ENOUGH);
        net.heal();
        trial.all_go_on();
        for member in trial.cluster.all() {
            net.slow(member, 500);
        }
        trial.traffic.more(ENOUGH);
        net.heal();
        trial.all_go_on();
        trial
    });
}

/// Whether a member says that its disk is full.
fn says_full(cluster: &Cluster, member: usize) -> Result<bool, String> {
    let metrics = http::get(cluster.address(member), "/metrics")?.body;
    Ok(metrics.lines().any(|line| line == "muster_disk_full 1"))
}

/// Writes until a member says that its disk is full, and takes whatever room it makes.
fn until_full(trial: &Trial, member: usize, disk: &SmallDisk) {
    wait::until("a full disk", wait::LONG * 3, || {
        disk.fill();
        trial.traffic.burn(8);
        match says_full(&trial.cluster, member)? {
            true => Ok(()),
            false => Err("room".to_owned()),
        }
    });
}

#[test]
fn a_member_whose_disk_is_full() {
    const SMALL: usize = 0;
    scenario("full disk", || {
        let disk = SmallDisk::new(DISK_MEBIBYTES);
        let mut cluster = three();
        cluster.put_data(SMALL, disk.mount().join("data"));
        let mut trial = Trial::start(cluster);
        for leads in [false, true] {
            trial.lead(SMALL, leads);
            until_full(&trial, SMALL, &disk);
            trial.others_go_on(SMALL);
            // What it has is on disk, full or not.
            trial.cluster.kill(SMALL);
            trial.others_go_on(SMALL);
            disk.empty();
            trial.cluster.restart(SMALL);
            trial.all_go_on();
        }
        until_full(&trial, SMALL, &disk);
        disk.empty();
        trial.all_go_on();
        trial.keep(disk)
    });
}

/// Adds a member as a learner, and promotes it when it has caught up.
fn join(trial: &mut Trial, member: usize, at: usize) {
    let cluster = &mut trial.cluster;
    cluster.join(member, at, &["--learner"]);
    let id = wait::until("its id", wait::LONG, || cluster.id_of(member, at));
    ask(trial, at, &["member", "promote", &id]);
    trial.cluster.wait_ready(member);
    trial.members.push(member);
}

fn remove(trial: &mut Trial, member: usize, at: usize) {
    trial.members.retain(|other| *other != member);
    let id = wait::until("its id", wait::LONG, || trial.cluster.id_of(member, at));
    ask(trial, at, &["member", "remove", &id]);
    trial.cluster.list(member, false);
}

/// Asks until it is done: a change waits for the one before, and for members to be heard of.
fn ask(trial: &Trial, at: usize, words: &[&str]) {
    let client = trial.cluster.client(at);
    wait::until(&format!("{words:?}"), wait::LONG, || client.try_run(words));
}

#[test]
fn members_that_come_and_go() {
    let [first, second, third, fourth, fifth] = [0, 1, 2, 3, 4];
    scenario("come and go", || {
        let mut cluster = Cluster::prepare_in(Net::new(5), Path::new(MUSTER));
        cluster.list(fourth, false);
        cluster.list(fifth, false);
        let mut trial = Trial::start_of(cluster, &[first, second, third]);
        join(&mut trial, fourth, first);
        trial.traffic.more(ENOUGH);
        join(&mut trial, fifth, second);
        trial.all_go_on();
        // The leader goes, then one that is dead.
        trial.lead(fourth, true);
        remove(&mut trial, fourth, first);
        trial.cluster.process(fourth).wait_exit(wait::LONG);
        trial.all_go_on();
        trial.cluster.kill(fifth);
        trial.traffic.more(ENOUGH);
        remove(&mut trial, fifth, third);
        trial.all_go_on();
        // A dead one is replaced by one without data, in its place.
        trial.cluster.kill(first);
        remove(&mut trial, first, second);
        std::fs::remove_dir_all(trial.cluster.data(first)).expect("remove its data");
        join(&mut trial, first, second);
        trial.all_go_on();
        trial
    });
}

#[test]
fn members_that_are_restarted_in_turn() {
    scenario("restarted", || {
        let mut trial = Trial::start(three());
        for member in [0, 1, 2, 0] {
            trial.cluster.process(member).signal(Signal::TERM);
            let ended = trial.cluster.process(member).wait_exit(wait::LONG);
            assert!(ended.success(), "{ended}");
            trial.traffic.more(ENOUGH);
            trial.cluster.restart(member);
            trial.all_go_on();
        }
        trial
    });
}
