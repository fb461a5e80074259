//! `etcd gateway start` in front of real clusters: it goes on when a member ends, learns of members nobody told it of, takes
//! its endpoints from a domain, and lets in so many at a time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use end_to_end::cluster::Cluster;
use end_to_end::dns::Dns;
use end_to_end::etcdctl::{Etcdctl, RELEASES, Release};
use end_to_end::process::Process;
use end_to_end::store::{Maker, Store};
use end_to_end::{port, wait};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A gateway that runs, and where.
fn gateway(words: &[&str]) -> (Process, String) {
    let folder = tempfile::tempdir().expect("a folder");
    // Started as etcd, as the scripts of those who use one do.
    let etcd = folder.path().join("etcd");
    std::os::unix::fs::symlink(MUSTER, &etcd).expect("a link");
    let address = format!("127.0.0.1:{}", port::free());
    let mut command = Command::new(etcd);
    command
        .env_clear()
        .args(["gateway", "start", "--listen-addr", &address])
        .args(words);
    let mut process = Process::spawn("etcd gateway", &mut command);
    process.wait_line("ready to proxy client requests", wait::LONG);
    (process, address)
}

#[test]
fn clients_reach_the_cluster_while_members_come_and_go() {
    let mut cluster = Cluster::start(Path::new(MUSTER), 3);
    let first = cluster.address(0).to_string();
    // It is told of one member and learns of the others.
    let (mut gateway, address) = gateway(&["--endpoints", &first]);
    for release in RELEASES {
        let client = Etcdctl::new(release, &address);
        assert_eq!(client.run(&["put", "k", "v"]), "OK\n");
        assert_eq!(client.value("k"), Ok(Some("v".to_owned())));
    }
    gateway.wait_line("the endpoints have changed", wait::LONG);
    cluster.kill(0);
    let client = Etcdctl::new(Release::V3_5, &address);
    wait::until("a write past the dead member", wait::LONG, || {
        client.try_run(&["put", "k", "w"])
    });
    let rests = gateway
        .lines()
        .into_iter()
        .filter(|line| line.contains("it rests"));
    assert!(rests.count() >= 1);
    gateway.signal(end_to_end::process::Signal::TERM);
    assert!(gateway.wait_exit(wait::LONG).success());
}

#[test]
fn an_etcd_is_served_and_a_domain_s_records_name_it() {
    let store = Store::start(Maker::Etcd);
    let dns = Dns::start(&[
        (
            "_etcd-client._tcp.cluster.test",
            1,
            1,
            store.port(),
            "localhost",
        ),
        (
            "_etcd-client-x._tcp.cluster.test",
            1,
            1,
            store.port(),
            "localhost",
        ),
    ]);
    let server = dns.address().to_string();
    let flags = [
        "--discovery-srv=cluster.test",
        "--discovery-dns-server",
        &server,
    ];
    let (_gateway, address) = gateway(&[&flags[..], &["--insecure-discovery"]].concat());
    let client = Etcdctl::new(Release::V3_5, &address);
    assert_eq!(client.run(&["put", "k", "v"]), "OK\n");
    let (_named, address) = gateway(
        &[
            &flags[..],
            &["--insecure-discovery=true", "--discovery-srv-name=x"],
        ]
        .concat(),
    );
    let client = Etcdctl::new(Release::V3_5, &address);
    assert_eq!(client.value("k"), Ok(Some("v".to_owned())));
    // What is in the clear is taken only when that is said.
    let refused = Command::new(MUSTER)
        .args(["gateway", "start"])
        .args(flags)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text.contains("take endpoints in the clear") && text.contains("hint: "),
        "{text}"
    );
}

#[test]
fn as_many_as_may_be_are_served_and_the_others_wait() {
    let store = Store::start(Maker::Muster(MUSTER.into()));
    let endpoint = store.endpoint();
    let (_gateway, address) = gateway(&["--endpoints", &endpoint, "--max-connections=1"]);
    let ask =
        |stream: &mut TcpStream| stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n");
    let open = || {
        let stream = TcpStream::connect(&address).expect("it listens");
        let patience = Some(Duration::from_millis(300));
        stream.set_read_timeout(patience).expect("a time");
        stream
    };
    let mut answer = [0; 12];
    let (mut first, mut second) = (open(), open());
    ask(&mut first).expect("sent");
    wait::until("the first answer", wait::LONG, || {
        first
            .read_exact(&mut answer)
            .map_err(|cause| cause.to_string())
    });
    ask(&mut second).expect("sent");
    assert!(
        second.read_exact(&mut answer).is_err(),
        "the second is served beside the first"
    );
    drop(first);
    wait::until("the second answer", wait::LONG, || {
        second
            .read_exact(&mut answer)
            .map_err(|cause| cause.to_string())
    });
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn wrong_words_are_told() {
    for (words, status, said) in [
        (&["gateway"][..], 2, "start"),
        (
            &["gateway", "start", "--endpoints", "ftp://x:1"],
            1,
            "the scheme is not",
        ),
        (
            &["gateway", "start", "--listen-addr", "192.0.2.1:1"],
            1,
            "failed to listen",
        ),
        (&["gateway", "start", "--no-such"], 2, "--no-such"),
    ] {
        let output = Command::new(MUSTER).args(words).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {text}");
        assert!(text.contains(said), "{words:?}: {text}");
    }
}
