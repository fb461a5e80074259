//! `etcd grpc-proxy start` in front of real stores, ours and an etcd: official clients see no difference, a hundred watchers
//! are one upstream, serializable reads are kept until what they saw changes, and members may go and come back.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use end_to_end::authority::{Authority, Holder};
use end_to_end::cluster::Cluster;
use end_to_end::etcdctl::{Etcdctl, RELEASES, Release};
use end_to_end::process::Process;
use end_to_end::store::{Maker, Store};
use end_to_end::{http, port, wait};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

struct Proxy {
    process: Process,
    address: SocketAddr,
}

impl Proxy {
    fn start(endpoints: &str, words: &[&str]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port::free()));
        let mut command = Command::new(MUSTER);
        command
            .env_clear()
            .args(["grpc-proxy", "start", "--endpoints", endpoints])
            .args(["--listen-addr", &address.to_string()])
            .args(words);
        let mut process = Process::spawn("grpc-proxy", &mut command);
        process.wait_line("ready to proxy client requests", wait::LONG);
        Self { process, address }
    }

    fn client(&self, release: Release) -> Etcdctl {
        Etcdctl::new(release, &self.address.to_string())
    }

    fn metric(&self, name: &str) -> f64 {
        let page = http::get(self.address, "/proxy/metrics").expect("a page");
        let line = page
            .body
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {name}: {}", page.body));
        value.parse().expect("a number")
    }

    #[track_caller]
    fn wait_metric(&self, name: &str, wanted: f64) {
        wait::until(&format!("{name} = {wanted}"), wait::LONG, || {
            let seen = self.metric(name);
            if (seen - wanted).abs() < 0.5 {
                Ok(())
            } else {
                Err(seen.to_string())
            }
        });
    }
}

fn makers() -> [Maker; 2] {
    [Maker::Muster(MUSTER.into()), Maker::Etcd]
}

/// `muster ctl`, as a person runs it.
fn ours(proxy: &Proxy, words: &[&str]) -> String {
    let output = Command::new(MUSTER)
        .env_clear()
        .args(["ctl", "--endpoints", &proxy.address.to_string()])
        .args(words)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn official_clients_and_our_own_see_no_difference() {
    for maker in makers() {
        let store = Store::start(maker);
        let proxy = Proxy::start(&store.endpoint(), &[]);
        for release in RELEASES {
            let client = proxy.client(release);
            assert_eq!(client.run(&["put", "a", "1"]), "OK\n");
            assert_eq!(client.value("a"), Ok(Some("1".to_owned())));
            let granted = client.run(&["lease", "grant", "60"]);
            let lease = granted.split(' ').nth(1).expect("a lease");
            assert_eq!(client.run(&["put", "b", "2", "--lease", lease]), "OK\n");
            let kept = client.run(&["lease", "keep-alive", "--once", lease]);
            assert!(kept.contains("keepalived with TTL(60)"), "{kept}");
            let txn = client.output_with_input(&["txn"], "value(\"a\") = \"1\"\n\nput c 3\n\n\n");
            assert_eq!((txn.0, txn.1.as_str()), (0, "SUCCESS\n\nOK\n"), "{}", txn.2);
            assert_eq!(client.run(&["del", "", "--prefix"]), "3\n");
            let list = client.run(&["member", "list"]);
            assert!(list.contains(&store.endpoint()), "{list}");
            let refused = client.try_run(&["get", "a", "--rev", "99999"]);
            assert!(
                refused.is_err_and(|text| text.contains("required revision is a future revision"))
            );
        }
        assert_eq!(ours(&proxy, &["put", "k", "v"]), "OK\n");
        assert_eq!(ours(&proxy, &["get", "k"]), "k\nv\n");
        let health = http::get(proxy.address, "/proxy/health").expect("an answer");
        assert_eq!(health.status, 200);
    }
}

#[test]
fn a_hundred_watchers_are_one_upstream() {
    for maker in makers() {
        let store = Store::start(maker);
        let proxy = Proxy::start(&store.endpoint(), &[]);
        // Interactive mode: many watchers on a stream, and several streams.
        let mut watchers = Vec::new();
        for _ in 0..4 {
            let mut command = proxy.client(Release::V3_5).command(&["watch", "-i"]);
            command
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            let mut child = command.spawn().expect("it runs");
            let mut words = child.stdin.take().expect("its input");
            for _ in 0..25 {
                std::io::Write::write_all(&mut words, b"watch --prefix /w/\n").expect("it reads");
            }
            watchers.push((child, words));
        }
        proxy.wait_metric("muster_grpc_proxy_watchers", 100.0);
        proxy.wait_metric("muster_grpc_proxy_upstream_watchers", 1.0);
        if let Ok(page) = http::get(SocketAddr::from(([127, 0, 0, 1], store.port())), "/metrics") {
            let line = page
                .body
                .lines()
                .find(|line| line.starts_with("etcd_debugging_mvcc_watcher_total "));
            assert!(line.is_none_or(|line| line.ends_with(" 1")), "{line:?}");
        }
        assert_eq!(store.client().run(&["put", "/w/k", "v"]), "OK\n");
        proxy.wait_metric("etcd_grpc_proxy_events_coalescing_total", 100.0);
        for (mut child, words) in watchers {
            drop(words);
            let _ = child.kill();
            let _ = child.wait();
        }
        proxy.wait_metric("muster_grpc_proxy_upstream_watchers", 0.0);
    }
}

#[test]
fn watchers_see_what_they_asked_for_across_a_restart_of_the_member() {
    for maker in makers() {
        let mut store = Store::start(maker);
        let proxy = Proxy::start(&store.endpoint(), &[]);
        let direct = store.client();
        for value in ["1", "2", "3"] {
            assert_eq!(direct.run(&["put", "k", value]), "OK\n");
        }
        let client = proxy.client(Release::V3_5);
        let mut from_now = client.spawn(&["watch", "k"]);
        let mut from_two = client.spawn(&["watch", "k", "--rev=3", "--prev-kv"]);
        from_two.wait_line("3", wait::LONG);
        proxy.wait_metric("muster_grpc_proxy_watchers", 2.0);
        store.kill();
        store.restart();
        let direct = store.client();
        wait::until("a put after the restart", wait::LONG, || {
            direct.try_run(&["put", "k", "4"])
        });
        assert_eq!(direct.run(&["del", "k"]), "1\n");
        from_now.wait_line("DELETE", wait::LONG);
        from_two.wait_line("DELETE", wait::LONG);
        assert_eq!(from_now.lines(), ["PUT", "k", "4", "DELETE", "k", ""]);
        let text = from_two.lines().join(" ");
        assert!(
            text.starts_with("PUT k 1 k 2 PUT k 2 k 3 PUT k 3 k 4 DELETE k 4 k"),
            "{text}"
        );
    }
}

#[test]
fn a_compacted_start_is_said() {
    for maker in makers() {
        let store = Store::start(maker);
        let proxy = Proxy::start(&store.endpoint(), &[]);
        let direct = store.client();
        for value in ["1", "2", "3", "4"] {
            assert_eq!(direct.run(&["put", "k", value]), "OK\n");
        }
        let _ = direct.run(&["compaction", "4"]);
        let refused = proxy
            .client(Release::V3_5)
            .output(&["watch", "k", "--rev=2"]);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned()
            + &String::from_utf8_lossy(&refused.stdout);
        assert!(
            text.contains("required revision has been compacted"),
            "{text}"
        );
    }
}

#[test]
fn serializable_reads_are_kept_until_what_they_saw_changes() {
    for maker in makers() {
        let store = Store::start(maker);
        let proxy = Proxy::start(&store.endpoint(), &[]);
        let (direct, client) = (store.client(), proxy.client(Release::V3_5));
        assert_eq!(direct.run(&["put", "k", "1"]), "OK\n");
        let read = || client.run(&["get", "k", "--consistency=s", "--print-value-only"]);
        wait::until("a hit", wait::LONG, || {
            assert_eq!(read(), "1\n");
            match proxy.metric("etcd_grpc_proxy_cache_hits_total") {
                0.0 => Err("none".to_owned()),
                _ => Ok(()),
            }
        });
        // A change that does not come by the proxy is heard of.
        assert_eq!(direct.run(&["put", "k", "2"]), "OK\n");
        wait::until("the new value", wait::LONG, || match read().as_str() {
            "2\n" => Ok(()),
            other => Err(other.to_owned()),
        });
        // One that does is there at once.
        for value in ["3", "4", "5", "6"] {
            assert_eq!(client.run(&["put", "k", value]), "OK\n");
            assert_eq!(read(), format!("{value}\n"));
        }
        assert!(proxy.metric("etcd_grpc_proxy_cache_misses_total") >= 5.0);
    }
}

#[test]
fn a_namespace_is_all_its_clients_see() {
    for maker in makers() {
        let store = Store::start(maker);
        let proxy = Proxy::start(&store.endpoint(), &["--namespace=/n/"]);
        let (direct, client) = (store.client(), proxy.client(Release::V3_5));
        assert_eq!(direct.run(&["put", "/o/secret", "x"]), "OK\n");
        let mut watcher = client.spawn(&["watch", "", "--prefix"]);
        proxy.wait_metric("muster_grpc_proxy_watchers", 1.0);
        assert_eq!(client.run(&["put", "k", "v"]), "OK\n");
        assert_eq!(direct.value("/n/k"), Ok(Some("v".to_owned())));
        watcher.wait_line("v", wait::LONG);
        assert_eq!(watcher.lines(), ["PUT", "k", "v"]);
        assert_eq!(client.keys(""), Ok(vec!["k".to_owned()]));
        let txn = client.output_with_input(&["txn"], "value(\"k\") = \"v\"\n\nget k\n\n\n");
        assert_eq!(txn.1, "SUCCESS\n\nk\nv\n", "{}", txn.2);
        assert_eq!(client.run(&["del", "", "--from-key"]), "1\n");
        assert_eq!(direct.value("/o/secret"), Ok(Some("x".to_owned())));
    }
}

#[test]
fn tokens_are_passed_through_and_answers_are_their_owners() {
    for maker in makers() {
        let store = Store::start(maker);
        let proxy = Proxy::start(&store.endpoint(), &[]);
        let (direct, client) = (store.client(), proxy.client(Release::V3_5));
        assert_eq!(direct.run(&["put", "k", "v"]), "OK\n");
        for words in [
            &["user", "add", "root:r"][..],
            &["user", "grant-role", "root", "root"],
            &["user", "add", "u:u"],
            &["auth", "enable"],
        ] {
            let _ = direct.run(words);
        }
        let read = |user: &str| {
            client.try_run(&[
                "get",
                "k",
                "--consistency=s",
                "--print-value-only",
                "--user",
                user,
            ])
        };
        for _ in 0..3 {
            assert_eq!(read("root:r"), Ok("v\n".to_owned()));
            assert!(read("u:u").is_err_and(|text| text.contains("permission denied")));
        }
        let unnamed = client.try_run(&["get", "k", "--consistency=s"]);
        assert!(unnamed.is_err_and(|text| text.contains("user name is empty")));
        let mut watcher = client.spawn(&["watch", "k", "--user", "root:r"]);
        proxy.wait_metric("muster_grpc_proxy_watchers", 1.0);
        assert_eq!(client.run(&["put", "k", "w", "--user", "root:r"]), "OK\n");
        watcher.wait_line("w", wait::LONG);
        let refused = client.output(&["watch", "k", "--user", "u:u"]);
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(text.contains("permission denied"), "{text}");
    }
}

#[test]
fn another_member_takes_over_from_one_that_ends() {
    let mut cluster = Cluster::start(Path::new(MUSTER), 3);
    let endpoints: Vec<String> = cluster
        .all()
        .iter()
        .map(|at| cluster.address(*at).to_string())
        .collect();
    let mut proxy = Proxy::start(&endpoints.join(","), &[]);
    let client = proxy.client(Release::V3_5);
    let mut watcher = client.spawn(&["watch", "k"]);
    proxy.wait_metric("muster_grpc_proxy_watchers", 1.0);
    assert_eq!(client.run(&["put", "k", "first"]), "OK\n");
    watcher.wait_line("first", wait::LONG);
    // The proxy is connected to the first it was told of.
    cluster.kill(0);
    wait::until("a write past the dead member", wait::LONG, || {
        client.try_run(&["put", "k", "second"])
    });
    watcher.wait_line("second", wait::LONG);
    proxy.process.signal(end_to_end::process::Signal::TERM);
    assert!(proxy.process.wait_exit(wait::LONG).success());
}

#[test]
fn tls_is_spoken_on_both_sides() {
    for maker in makers() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut authority = Authority::new(folder.path(), "ca");
        let pair = authority.issue("both", Holder::default());
        let (certificate, key) = (pair.certificate.display(), pair.key.display());
        let store = Store::prepare(maker);
        let url = format!("https://127.0.0.1:{}", store.port());
        let mut store = store
            .with_option(format!("--listen-client-urls={url}"))
            .with_option(format!("--advertise-client-urls={url}"))
            .with_option(format!("--cert-file={certificate}"))
            .with_option(format!("--key-file={key}"));
        store.restart();
        let trusted = folder.path().join("ca.pem").display().to_string();
        let proxy = Proxy::start(
            &url,
            &[
                "--cacert",
                &trusted,
                &format!("--cert-file={certificate}"),
                &format!("--key-file={key}"),
            ],
        );
        let client = Etcdctl::new(Release::V3_5, &format!("https://{}", proxy.address));
        let flags = ["--cacert", &trusted];
        let mut watcher = client.spawn(&[&flags[..], &["watch", "k"]].concat());
        wait::until("the watcher is shown a put", wait::LONG, || {
            client.try_run(&[&flags[..], &["put", "k", "v"]].concat())?;
            match watcher.lines().iter().any(|line| line == "v") {
                true => Ok(()),
                false => Err(watcher.tail()),
            }
        });
        watcher.kill();
        let direct = Command::new(MUSTER)
            .env_clear()
            .args(["ctl", "--endpoints", &url, "--cacert", &trusted, "get", "k"])
            .output()
            .expect("it runs");
        assert_eq!(
            String::from_utf8_lossy(&direct.stdout),
            "k\nv\n",
            "{direct:?}"
        );
    }
}

#[test]
fn all_the_way_goes_over_socket_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = |name: &str| format!("unix://{}", folder.path().join(name).display());
    let store = Store::prepare(Maker::Muster(MUSTER.into()));
    let mut store = store
        .with_option(format!("--listen-client-urls={}", url("store")))
        .with_option(format!("--advertise-client-urls={}", url("store")));
    store.restart();
    let start = |what: &str, upstream: &str, own: &str| {
        let mut command = Command::new(MUSTER);
        command
            .env_clear()
            .args([what, "start", "--endpoints", &url(upstream)])
            .args(["--listen-addr", &url(own)]);
        let mut process = Process::spawn(what, &mut command);
        process.wait_line("ready to proxy client requests", wait::LONG);
        process
    };
    let mut gateway = start("gateway", "store", "gateway");
    let mut proxy = start("grpc-proxy", "gateway", "proxy");
    let client = Etcdctl::new(Release::V3_5, &url("proxy"));
    assert_eq!(client.run(&["put", "k", "v"]), "OK\n");
    assert_eq!(client.value("k"), Ok(Some("v".to_owned())));
    // A second one is told that the file is taken; an end takes its own away.
    let mut second = Command::new(MUSTER);
    second.args(["gateway", "start", "--listen-addr", &url("gateway")]);
    let second = second.output().expect("it runs");
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{text}");
    assert!(text.contains("failed to listen on unix://"), "{text}");
    for (process, file) in [(&mut proxy, "proxy"), (&mut gateway, "gateway")] {
        process.signal(end_to_end::process::Signal::TERM);
        assert!(process.wait_exit(wait::LONG).success());
        assert!(!folder.path().join(file).exists(), "{file} is left behind");
    }
}
