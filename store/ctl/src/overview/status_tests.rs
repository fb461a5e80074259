//! Golden pages of `muster status`.

use super::*;

fn picture() -> Picture {
    let said = |applied| Said {
        version: "3.7.0".into(),
        size: 3 << 20,
        quota: 2 << 30,
        applied,
        errors: vec![],
    };
    let member = |id, name: &str, said| Member {
        id,
        name: name.into(),
        endpoint: format!("http://{name}:2379"),
        learner: false,
        said,
    };
    Picture {
        cluster: 0xc1,
        revision: 812,
        term: 4,
        leader: 0xa1,
        compacted: Ok(100),
        members: vec![
            member(0xa1, "n1", Ok(said(900))),
            member(0xa2, "n2", Ok(said(897))),
            member(0xa3, "n3", Err("connection refused".into())),
        ],
        alarms: Ok(vec![]),
        leases: Ok(Leases {
            count: 12,
            looked_at: 12,
            ending: vec![Lease {
                id: 0x70,
                left: 4,
                granted: 30,
                keys: 2,
                key: "/services/web/a".into(),
            }],
        }),
    }
}

#[test]
fn a_page_of_the_store() {
    assert_eq!(
        picture().page(Style::default()),
        "\
cluster  c1, 2 of 3 members answer, leader n1, term 4
history  revision 812, kept from 101 on (712 revisions)
size     3.0 MiB of 2.0 GiB (0 %)
alarms   none
leases   12, 1 near their end

MEMBER  ID  ROLE      VERSION  SIZE     APPLIED  BEHIND  ENDPOINT        ERROR
n1      a1  leader    3.7.0    3.0 MiB  900      0       http://n1:2379
n2      a2  follower  3.7.0    3.0 MiB  897      3       http://n2:2379
n3      a3  away                                         http://n3:2379  connection refused

LEASE  LEFT  OF   KEYS  FIRST KEY
70     4s    30s  2     /services/web/a
"
    );
    assert!(!picture().is_well());
}

#[test]
fn what_is_not_known_is_said() {
    let mut picture = picture();
    picture.members.truncate(1);
    picture.leases = Err("etcdserver: permission denied".into());
    picture.compacted = Err("not known".into());
    assert!(picture.is_well());
    picture.alarms = Ok(vec![("NOSPACE".into(), 0xa1)]);
    picture.leader = 0;
    let page = picture.page(Style { colours: true });
    for line in [
        "cluster  \x1b[31mc1, 1 of 1 members answer, NO LEADER, term 4\x1b[0m",
        "history  revision 812, kept since: not known",
        "alarms   \x1b[31mNOSPACE on n1\x1b[0m",
        "leases   \x1b[33mnot known: etcdserver: permission denied\x1b[0m",
    ] {
        assert!(page.lines().any(|have| have == line), "{line}\n{page}");
    }
    assert!(!picture.is_well());
}

#[test]
fn objects_and_news() {
    let before = picture();
    let json = before.json();
    assert_eq!(
        (&json["well"], &json["leader"], &json["members"][2]["error"]),
        (&json!(false), &json!("n1"), &json!("connection refused"))
    );
    assert_eq!(json["leases"]["ending"][0]["left_seconds"], 4);
    let mut after = before.clone();
    after.leader = 0xa2;
    after.revision += 1;
    after.leases = Ok(Leases::default());
    let told: Vec<String> = news(&before.facts(), &after.facts())
        .into_iter()
        .map(|(what, was, is)| format!("{what}: {was:?} -> {is:?}"))
        .collect();
    assert_eq!(
        told,
        [
            r#"lease 70: Some("near its end (/services/web/a)") -> None"#,
            r#"member n1: Some("leader 3.7.0") -> Some("follower 3.7.0")"#,
            r#"member n2: Some("follower 3.7.0") -> Some("leader 3.7.0")"#,
        ]
    );
}
