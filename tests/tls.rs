//! TLS as users meet it: official clients, real files, members that speak it with each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::authority::{Authority, Holder, Pair};
use end_to_end::cluster::Cluster;
use end_to_end::etcdctl::{Etcdctl, RELEASES};
use end_to_end::process::Process;
use end_to_end::{port, programs, wait};
use tempfile::TempDir;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

const READY: &str = "ready to serve client requests";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A store that serves clients over TLS and demands certificates.
struct Secured {
    folder: TempDir,
    authority: Authority,
    port: u16,
    process: Process,
}

impl Secured {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut authority = Authority::new(folder.path(), "authority");
        let shown = authority.issue("server", Holder::default());
        let port = port::free();
        let url = format!("https://127.0.0.1:{port}");
        let mut command = Command::new(MUSTER);
        command
            .args(["store", "--data-dir", text(&folder.path().join("data"))])
            .args(["--listen-client-urls", &url])
            .args(["--advertise-client-urls", &url])
            .args(["--cert-file", text(&shown.certificate)])
            .args(["--key-file", text(&shown.key)])
            .args([
                "--trusted-ca-file",
                text(&folder.path().join("authority.pem")),
            ])
            .arg("--client-cert-auth");
        let mut process = Process::spawn("muster store over TLS", &mut command);
        process.wait_line(READY, wait::LONG);
        Self {
            folder,
            authority,
            port,
            process,
        }
    }

    fn authority_file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// etcdctl's words for trusting the authority and showing a certificate.
    fn words(&self, shown: &Pair) -> Vec<String> {
        [
            ("--cacert", text(&self.authority_file())),
            ("--cert", text(&shown.certificate)),
            ("--key", text(&shown.key)),
        ]
        .map(|(flag, file)| format!("{flag}={file}"))
        .to_vec()
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

fn with<'w>(words: &'w [String], command: &[&'w str]) -> Vec<&'w str> {
    let words = words.iter().map(String::as_str);
    words.chain(command.iter().copied()).collect()
}

#[test]
fn official_clients_are_served_over_tls() {
    let mut secured = Secured::start();
    let client = secured.authority.issue("client", Holder::default());
    let words = secured.words(&client);
    for release in RELEASES {
        let etcdctl = Etcdctl::new(release, &secured.url());
        assert_eq!(etcdctl.run(&with(&words, &["put", "k", "v"])), "OK\n");
        assert_eq!(etcdctl.run(&with(&words, &["get", "k"])), "k\nv\n");
    }
    // curl speaks HTTP/2 or HTTP/1, as it likes and as it is told.
    for version in ["--http2", "--http1.1"] {
        let said = Command::new(programs::system("curl"))
            .args(["-sS", version, "-d", r#"{"key":"aw=="}"#])
            .args(["--cacert", text(&secured.authority_file())])
            .args(["--cert", text(&client.certificate)])
            .args(["--key", text(&client.key)])
            .arg(format!("{}/v3/kv/range", secured.url()))
            .output()
            .expect("curl runs");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains(r#""value":"dg==""#), "{version}: {said}");
    }
    // Ours, with the same words, and with the bare address.
    for endpoint in [secured.url(), format!("127.0.0.1:{}", secured.port)] {
        let said = Command::new(MUSTER)
            .args(["ctl", "--endpoints", &endpoint])
            .args(&words)
            .args(["get", "k"])
            .output()
            .expect("muster runs");
        assert_eq!(String::from_utf8_lossy(&said.stdout), "k\nv\n", "{said:?}");
    }
    // Who is not believed is named, unless nobody needs to be.
    let stranger = |more: &[&str]| {
        Command::new(MUSTER)
            .args(["ctl", "--endpoints", &secured.url(), "--command-timeout=1s"])
            .args(&words[1..])
            .args(more)
            .args(["get", "k"])
            .output()
            .expect("muster runs")
    };
    let said = stranger(&[]);
    assert!(!said.status.success());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("UnknownIssuer"), "{said}");
    assert!(stranger(&["--insecure-skip-tls-verify"]).status.success());
    // Without a certificate nobody is; the store says who came and why not.
    let etcdctl = Etcdctl::new(RELEASES[1], &secured.url());
    let nobody = format!("--cacert={}", text(&secured.authority_file()));
    // Long enough for a second line: of strangers there is one a second.
    let refused = etcdctl.try_run(&[&nobody, "--command-timeout=4s", "get", "k"]);
    assert!(refused.is_err());
    secured
        .process
        .wait_line("peer sent no certificates", wait::LONG);
}

#[test]
fn members_speak_tls_with_each_other() {
    let mut cluster = Cluster::prepare(Path::new(MUSTER), 3).over_tls();
    let folder = cluster.folder().to_owned();
    let mut authority = Authority::new(&folder, "authority");
    let shown = authority.issue("peer", Holder::default());
    let flags = [
        format!("--peer-cert-file={}", text(&shown.certificate)),
        format!("--peer-key-file={}", text(&shown.key)),
        format!(
            "--peer-trusted-ca-file={}",
            text(&folder.join("authority.pem"))
        ),
        "--peer-client-cert-auth".to_owned(),
        "--peer-cert-allowed-cn=somebody".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    for member in cluster.all() {
        cluster.spawn_with(member, &flags);
    }
    serve_each_other(&mut cluster);
    // A new certificate is taken up without a restart: a member that comes back is let in with it.
    authority.issue("peer", Holder::default());
    for member in [0, 1] {
        let changed = "TLS files have changed and are in use";
        cluster.process(member).wait_line(changed, wait::LONG);
    }
    cluster.kill(2);
    cluster.spawn_with(2, &flags);
    cluster.wait_ready(2);
    assert_eq!(cluster.client(2).run(&["put", "k", "again"]), "OK\n");
}

#[test]
fn members_make_certificates_of_their_own_when_asked() {
    let mut cluster = Cluster::prepare(Path::new(MUSTER), 3).over_tls();
    for member in cluster.all() {
        cluster.spawn_with(member, &["--peer-auto-tls"]);
    }
    serve_each_other(&mut cluster);
    let made = cluster.data(0).join("fixtures/peer/cert.pem");
    assert!(
        fs::read_to_string(made)
            .expect("the certificate")
            .contains("BEGIN CERTIFICATE")
    );
}

fn serve_each_other(cluster: &mut Cluster) {
    for member in cluster.all() {
        cluster.wait_ready(member);
    }
    for member in cluster.all() {
        let value = format!("v{member}");
        assert_eq!(cluster.client(member).run(&["put", "k", &value]), "OK\n");
        let reader = (member + 1) % cluster.all().len();
        assert_eq!(cluster.client(reader).value("k"), Ok(Some(value)));
    }
}

#[test]
fn what_cannot_be_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut authority = Authority::new(folder.path(), "authority");
    let one = authority.issue("one", Holder::default());
    let other = authority.issue("other", Holder::default());
    let https = "--listen-client-urls=https://127.0.0.1:0";
    let cert = format!("--cert-file={}", text(&one.certificate));
    let key = format!("--key-file={}", text(&one.key));
    let wrong_key = format!("--key-file={}", text(&other.key));
    let missing = "--trusted-ca-file=/nowhere/ca.pem";
    for (flags, line, hint) in [
        (vec![https], "no certificate is given", "--auto-tls"),
        (
            vec![https, &cert, &wrong_key],
            "the key is not that of the certificate",
            "same request",
        ),
        (
            vec![https, &cert, &cert.replace("cert", "key")],
            "holds no private key",
            "PEM",
        ),
        (
            vec![https, &cert, &key, missing],
            "read trusted authorities /nowhere/ca.pem",
            "path",
        ),
    ] {
        let output = Command::new(MUSTER)
            .args(["store", "--data-dir", text(&folder.path().join("data"))])
            .args(&flags)
            .output()
            .expect("muster runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(
            said.contains(line) && said.contains(hint),
            "{flags:?}: {said}"
        );
        assert!(!said.contains("PRIVATE KEY"));
    }
}

/// Keys of version 2 over TLS, by HTTP/1.1 and by HTTP/2, beside gRPC on the same port.
#[test]
fn version_2_is_told_apart_by_content() {
    let mut secured = Secured::start();
    let shown = secured.authority.issue("client", Holder::default());
    let (ca, url) = (secured.authority_file(), secured.url());
    let files = [
        ("--ca-file", text(&ca)),
        ("--cert-file", text(&shown.certificate)),
        ("--key-file", text(&shown.key)),
    ];
    let said = |mut command: Command, words: &[&str]| {
        let output = command.args(words).output().expect("it runs");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {err}");
        String::from_utf8(output.stdout).expect("text")
    };
    let clients = || {
        let mut ours = Command::new(MUSTER);
        ours.env_clear().arg("ctl");
        let mut theirs = Command::new(programs::etcdctl_of_distribution());
        theirs.env_clear();
        [ours, theirs].map(|mut command| {
            command.env("ETCDCTL_API", "2").args(["--endpoints", &url]);
            command.args(["--timeout=20s", "--total-timeout=60s"]);
            command.args(files.map(|(flag, file)| format!("{flag}={file}")));
            command
        })
    };
    for client in clients() {
        assert_eq!(said(client, &["set", "/a", "1"]), "1\n");
    }
    for version in ["--http1.1", "--http2"] {
        let mut curl = Command::new(programs::system("curl"));
        curl.args(["-sS", "--max-time", "20", version])
            .args(["--cacert", text(&ca), "--cert", text(&shown.certificate)])
            .args(["--key", text(&shown.key)]);
        let value = format!("value={version}");
        let put = said(
            curl,
            &["-X", "PUT", &format!("{url}/v2/keys/a"), "-d", &value],
        );
        assert!(put.contains(&format!("\"value\":\"{version}\"")), "{put}");
        for client in clients() {
            assert_eq!(said(client, &["get", "/a"]), format!("{version}\n"));
        }
        let client = Etcdctl::new(RELEASES[1], &url);
        let words = secured.words(&shown);
        let got = client.run(&with(&words, &["get", "/a", "--print-value-only"]));
        assert_eq!(got, format!("{version}\n"));
    }
}
