//! What members say, and what is made of it.

use std::time::SystemTime;

use super::*;
use crate::doctor::finding::State;

pub(crate) fn examined(id: u64, version: &str) -> Examined {
    let now = SystemTime::now();
    Examined {
        name: format!("m{id}"),
        endpoint: format!("http://m{id}:2379"),
        id,
        learner: false,
        status: Ok(StatusResponse {
            version: version.to_owned(),
            leader: 1,
            raft_index: 5000,
            raft_applied_index: 5000,
            db_size: 10,
            db_size_quota: 100,
            ..StatusResponse::default()
        }),
        read: Ok(Duration::from_millis(1)),
        metrics: Some(Page {
            text: "process_open_fds 10\nprocess_max_fds 65536\n".to_owned(),
            date: None,
            asked: now,
            answered: now,
        }),
    }
}

fn three() -> Vec<Examined> {
    (1..=3).map(|id| examined(id, "3.5.1")).collect()
}

fn state_of(all: &[Examined], what: &str) -> State {
    let found = judge(all);
    let found = found.iter().filter(|one| one.what == what);
    found.map(|one| one.state).max().unwrap()
}

#[test]
fn three_that_agree_are_fine() {
    let found = judge(&three());
    assert!(
        found.iter().all(|one| one.state == State::Fine),
        "{found:?}"
    );
}

/// A change to three members that are well, which finding shows it, and how.
type Case = (fn(&mut Vec<Examined>), &'static str, State);

#[test]
fn each_trouble_is_named() {
    fn status(one: &mut Examined) -> &mut StatusResponse {
        one.status.as_mut().unwrap()
    }
    let cases: &[Case] = &[
        (
            |all| all[1].status = Err("gone".into()),
            "member",
            State::Wrong,
        ),
        (
            |all| all[1].status = Err("gone".into()),
            "quorum",
            State::Warning,
        ),
        (
            |all| all[1].read = Err("no leader".into()),
            "member",
            State::Wrong,
        ),
        (
            |all| status(&mut all[1]).errors = vec!["alarm".into()],
            "member",
            State::Wrong,
        ),
        (
            |all| status(&mut all[1]).raft_applied_index = 3999,
            "member",
            State::Warning,
        ),
        (
            |all| all[1].read = Ok(Duration::from_secs(1)),
            "member",
            State::Warning,
        ),
        (
            |all| status(&mut all[1]).leader = 2,
            "quorum",
            State::Warning,
        ),
        (|all| all.truncate(2), "quorum", State::Warning),
        (
            |all| all.iter_mut().for_each(|one| status(one).leader = 0),
            "quorum",
            State::Wrong,
        ),
        (
            |all| status(&mut all[2]).version = "3.6.0".into(),
            "version",
            State::Warning,
        ),
        (
            |all| status(&mut all[2]).version = "3.7.0".into(),
            "version",
            State::Wrong,
        ),
        (
            |all| status(&mut all[2]).version = "4.5.0".into(),
            "version",
            State::Wrong,
        ),
        (
            |all| status(&mut all[0]).db_size = 80,
            "quota",
            State::Warning,
        ),
        (
            |all| status(&mut all[0]).db_size = 95,
            "quota",
            State::Wrong,
        ),
        (
            |all| status(&mut all[0]).db_size_quota = 0,
            "quota",
            State::Skipped,
        ),
        (|all| all[0].metrics = None, "files", State::Skipped),
        (
            |all| {
                all[0].metrics.as_mut().unwrap().text =
                    "process_open_fds 10\nprocess_max_fds 1024\n".into();
            },
            "files",
            State::Warning,
        ),
    ];
    for (at, (change, what, state)) in cases.iter().enumerate() {
        let mut all = three();
        change(&mut all);
        assert_eq!(state_of(&all, what), *state, "case {at}: {:?}", judge(&all));
    }
}

#[test]
fn a_learner_is_no_voter_and_answers_no_read() {
    let mut all = three();
    all.push(examined(4, "3.5.1"));
    all[3].learner = true;
    all[3].read = Err("rpc not supported for learner".into());
    assert_eq!(state_of(&all, "member"), State::Fine);
    assert_eq!(state_of(&all, "quorum"), State::Fine);
}

#[test]
fn an_etcd_that_tells_its_quota_in_its_metrics_alone_is_understood() {
    let mut one = examined(1, "3.5.1");
    one.status.as_mut().unwrap().db_size_quota = 0;
    one.metrics.as_mut().unwrap().text = "etcd_server_quota_backend_bytes 2.147483648e+09\n".into();
    let found = quota(&one).unwrap();
    assert_eq!(found.state, State::Fine);
    assert!(found.detail.contains("of 2.0 GiB (0 %)"), "{found}");
}
