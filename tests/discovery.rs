//! Members that begin a cluster without a list: by a domain's records, or over another cluster, ours or an etcd. And what
//! is said when they cannot.

use std::path::Path;
use std::process::Command;

use end_to_end::dns::Dns;
use end_to_end::etcdctl::{Etcdctl, Release};
use end_to_end::process::Process;
use end_to_end::store::{Maker, Store};
use end_to_end::{http, port, wait};
use tempfile::TempDir;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

struct Member {
    name: String,
    client: u16,
    peer: u16,
    folder: TempDir,
}

impl Member {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            client: port::free(),
            peer: port::free(),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn spawn(&self, words: &[&str]) -> Process {
        let client = format!("http://127.0.0.1:{}", self.client);
        let peer = format!("http://127.0.0.1:{}", self.peer);
        let mut command = Command::new(MUSTER);
        command
            .env_clear()
            .args(["store", "--name", &self.name, "--data-dir", &self.data()])
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(words);
        Process::spawn(self.name.clone(), &mut command)
    }

    fn client(&self) -> Etcdctl {
        Etcdctl::new(Release::V3_5, &format!("127.0.0.1:{}", self.client))
    }
}

fn three() -> [Member; 3] {
    ["a", "b", "c"].map(Member::new)
}

fn wait_ready(processes: &mut [Process]) {
    for process in processes {
        process.wait_line("ready to serve client requests", wait::LONG);
    }
}

/// The names of the members, as one of them lists them.
fn names(member: &Member) -> Vec<String> {
    let list = member.client().run(&["member", "list"]);
    let mut names: Vec<String> = list
        .lines()
        .filter_map(|line| line.split(", ").nth(2).map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[test]
fn a_domain_s_records_make_a_cluster() {
    let members = three();
    let records: Vec<(&str, u16, u16, u16, &str)> = members
        .iter()
        .map(|member| {
            (
                "_etcd-server._tcp.cluster.test",
                1,
                1,
                member.peer,
                "localhost",
            )
        })
        .chain(members.iter().map(|member| {
            (
                "_etcd-client._tcp.cluster.test",
                1,
                1,
                member.client,
                "localhost",
            )
        }))
        .collect();
    let dns = Dns::start(&records);
    let server = dns.address().to_string();
    let flags = [
        "--discovery-srv=cluster.test",
        "--discovery-dns-server",
        &server,
    ];
    let mut processes: Vec<Process> = members.iter().map(|member| member.spawn(&flags)).collect();
    wait_ready(&mut processes);
    assert_eq!(members[0].client().run(&["put", "k", "v"]), "OK\n");
    wait::until("all names", wait::LONG, || match names(&members[1]) {
        all if all == ["a", "b", "c"] => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // Our own client finds them by the same domain.
    let output = Command::new(MUSTER)
        .env_clear()
        .args(["ctl", "get", "k", "--print-value-only"])
        .args(flags)
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "v\n", "{output:?}");
    // Who is in no record is told so.
    let stranger = Member::new("d");
    let mut process = stranger.spawn(&flags);
    assert_eq!(process.wait_exit(wait::LONG).code(), Some(1));
    let text = process.lines().join("\n");
    assert!(
        text.contains("name no member at http://127.0.0.1:"),
        "{text}"
    );
    assert!(
        text.contains("hint: --initial-advertise-peer-urls"),
        "{text}"
    );
}

#[test]
fn members_find_each_other_over_another_cluster() {
    for maker in [Maker::Muster(MUSTER.into()), Maker::Etcd] {
        let helper = Store::start(maker);
        let (endpoint, registry) = (helper.endpoint(), helper.client());
        let members = three();
        let flags = ["--discovery-token=t1", "--discovery-endpoints", &endpoint];
        let mut refused = members[0].spawn(&flags);
        assert_eq!(refused.wait_exit(wait::LONG).code(), Some(1));
        let text = refused.lines().join("\n");
        assert!(text.contains("size key not found"), "{text}");
        assert!(
            text.contains("hint: say how many members there are to be"),
            "{text}"
        );
        let key = "/_etcd/registry/t1/_config/size";
        assert_eq!(registry.run(&["put", key, "3"]), "OK\n");
        let mut processes = vec![members[0].spawn(&flags)];
        processes[0].wait_line("1 of 3 members are there", wait::LONG);
        processes.extend(members[1..].iter().map(|member| member.spawn(&flags)));
        wait_ready(&mut processes);
        assert_eq!(members[2].client().run(&["put", "k", "v"]), "OK\n");
        wait::until("all names", wait::LONG, || match names(&members[0]) {
            all if all == ["a", "b", "c"] => Ok(()),
            other => Err(format!("{other:?}")),
        });
        // The fourth is one too many; one that comes under another's place is told.
        let mut fourth = Member::new("d").spawn(&flags);
        assert_eq!(fourth.wait_exit(wait::LONG).code(), Some(1));
        assert!(
            fourth
                .lines()
                .join("\n")
                .contains("cluster is full: t1 has its 3 members")
        );
        let other = Member {
            name: "x".to_owned(),
            folder: tempfile::tempdir().expect("a folder"),
            ..Member::new("x")
        };
        let other = Member {
            peer: members[0].peer,
            ..other
        };
        let mut other = other.spawn(&flags);
        assert_eq!(other.wait_exit(wait::LONG).code(), Some(1));
        assert!(
            other
                .lines()
                .join("\n")
                .contains("is already registered as a=http://127.0.0.1")
        );
        // One that has its data needs nobody's help.
        drop(helper);
        processes[1].kill();
        let mut again = members[1].spawn(&flags);
        again.wait_line("ready to serve client requests", wait::LONG);
    }
}

/// Sets a key of version 2.
fn put(store: &Store, path: &str, value: &str) {
    let body = format!("value={value}");
    let text = format!(
        "PUT /v2/keys{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
        body.len()
    );
    let answer = http::request(([127, 0, 0, 1], store.port()).into(), &text);
    let answer = answer.unwrap_or_else(|cause| panic!("PUT {path}: {cause}"));
    assert!([200, 201].contains(&answer.status), "{answer:?}");
}

#[test]
fn members_find_each_other_below_a_url() {
    for maker in [Maker::Muster(MUSTER.into()), Maker::EtcdOfDistribution] {
        let mut helper = Store::prepare(maker).with_option("--enable-v2");
        helper.restart();
        let url = format!("{}/v2/keys/t2", helper.endpoint());
        let flags = ["--discovery", &url];
        let members = ["a", "b"].map(Member::new);
        let mut refused = members[0].spawn(&flags);
        assert_eq!(refused.wait_exit(wait::LONG).code(), Some(1));
        let text = refused.lines().join("\n");
        assert!(text.contains("size key not found"), "{text}");
        let hint =
            format!("hint: say how many members there are to be: curl -X PUT {url}/_config/size");
        assert!(text.contains(&hint), "{text}");
        put(&helper, "/t2/_config/size", "none");
        let mut refused = members[0].spawn(&flags);
        assert_eq!(refused.wait_exit(wait::LONG).code(), Some(1));
        let text = refused.lines().join("\n");
        assert!(text.contains("size key is bad"), "{text}");
        put(&helper, "/t2/_config/size", "2");
        let mut first = members[0].spawn(&flags);
        first.wait_line("1 of 2 members are there", wait::LONG);
        // One that died while it waited is still the same.
        first.kill();
        let mut processes = vec![members[0].spawn(&flags)];
        processes[0].wait_line("1 of 2 members are there", wait::LONG);
        processes.push(members[1].spawn(&flags));
        wait_ready(&mut processes);
        wait::until("all names", wait::LONG, || match names(&members[0]) {
            all if all == ["a", "b"] => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let mut third = Member::new("c").spawn(&flags);
        assert_eq!(third.wait_exit(wait::LONG).code(), Some(1));
        let text = third.lines().join("\n");
        let full = format!("cluster is full: {url} has its 2 members");
        assert!(text.contains(&full), "{text}");
        // One that has its data needs nobody's help.
        drop(helper);
        processes[1].kill();
        let mut again = members[1].spawn(&flags);
        again.wait_line("ready to serve client requests", wait::LONG);
    }
}

#[test]
fn what_cannot_be_is_told_and_what_passes_is_tried_again() {
    let member = Member::new("a");
    for (words, status, said) in [
        (
            &["--discovery-token=t"][..],
            2,
            "--discovery-token needs --discovery-endpoints",
        ),
        (
            &[
                "--discovery-srv=d",
                "--initial-cluster=a=http://127.0.0.1:1",
            ],
            2,
            "--initial-cluster and --discovery-srv both say",
        ),
        (
            &["--discovery=http://127.0.0.1:1"],
            1,
            "no token behind the host",
        ),
        (
            &["--discovery=http://127.0.0.1:1/t", "--discovery-srv=d"],
            2,
            "--discovery-srv and --discovery both say",
        ),
        (
            &["--discovery-token=t", "--discovery-endpoints=ftp://x:1"],
            1,
            "the scheme is not http",
        ),
    ] {
        let mut process = member.spawn(words);
        let text = format!("{words:?}");
        assert_eq!(process.wait_exit(wait::LONG).code(), Some(status), "{text}");
        let lines = process.lines().join("\n");
        assert!(lines.contains(said), "{text}: {lines}");
        assert!(!Path::new(&member.data()).exists(), "{text} made a folder");
    }
    let mut helper = Store::prepare(Maker::Muster(MUSTER.into()));
    let endpoint = helper.endpoint();
    let mut waiting = member.spawn(&["--discovery-token=t", "--discovery-endpoints", &endpoint]);
    waiting.wait_line("cannot be reached", wait::LONG);
    helper.restart();
    let size = "/_etcd/registry/t/_config/size";
    // It may ask before the size is there, and then ends; a person would start it again.
    assert_eq!(helper.client().run(&["put", size, "1"]), "OK\n");
    drop(waiting);
    let mut process = member.spawn(&["--discovery-token=t", "--discovery-endpoints", &endpoint]);
    process.wait_line("ready to serve client requests", wait::LONG);
}
