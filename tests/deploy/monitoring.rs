//! Alerts and dashboards: Prometheus' own tool reads and tests the rules, and whatever they and the dashboards ask for is
//! there in what running parts say. So is what the alerts that etcd ships ask for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::agents::Agent;
use end_to_end::cluster::Cluster;
use end_to_end::confdir::Confdir;
use end_to_end::process::Process;
use end_to_end::{http, port, programs, wait};
use serde_json::Value;

use crate::{MUSTER, PATIENCE, shipped};

/// The parts, each with a file of rules, tests of them, and a dashboard.
const PARTS: [&str; 3] = ["store", "registrator", "confd"];

/// What the alerts of etcd's mixin ask for: series, with the labels they look at.
const MIXIN: &[(&str, &[&str])] = &[
    (
        "etcdMembersDown",
        &["etcd_network_peer_sent_failures_total To"],
    ),
    ("etcdNoLeader", &["etcd_server_has_leader"]),
    (
        "etcdHighNumberOfLeaderChanges",
        &["etcd_server_leader_changes_seen_total"],
    ),
    (
        "etcdHighNumberOfFailedGRPCRequests",
        &["grpc_server_handled_total grpc_type grpc_code grpc_method grpc_service"],
    ),
    (
        "etcdGRPCRequestsSlow",
        &["grpc_server_handling_seconds_bucket grpc_type grpc_method le"],
    ),
    (
        "etcdMemberCommunicationSlow",
        &["etcd_network_peer_round_trip_time_seconds_bucket To le"],
    ),
    (
        "etcdHighNumberOfFailedProposals",
        &["etcd_server_proposals_failed_total"],
    ),
    (
        "etcdHighFsyncDurations",
        &["etcd_disk_wal_fsync_duration_seconds_bucket le"],
    ),
    (
        "etcdHighCommitDurations",
        &["etcd_disk_backend_commit_duration_seconds_bucket le"],
    ),
    (
        "etcdDatabaseQuotaLowSpace, etcdExcessiveDatabaseGrowth",
        &[
            "etcd_mvcc_db_total_size_in_bytes",
            "etcd_server_quota_backend_bytes",
        ],
    ),
    (
        "etcdDatabaseHighFragmentationRatio",
        &["etcd_mvcc_db_total_size_in_use_in_bytes"],
    ),
];

fn promtool(words: &[&str], files: &[PathBuf]) -> (bool, String) {
    let output = Command::new(programs::system("promtool"))
        .args(words)
        .args(files)
        .output()
        .expect("promtool runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let file = |part: &str| shipped(&format!("monitoring/{folder}/{part}.{ending}"));
    PARTS.map(file).to_vec()
}

#[test]
fn the_rules_fire_when_they_should() {
    let config = vec![shipped("monitoring/prometheus.yml")];
    for (words, files) in [
        (&["check", "config", "--lint-fatal"][..], config),
        (&["check", "rules", "--lint-fatal"], files("rules", "yaml")),
        (&["test", "rules"], files("tests", "yaml")),
    ] {
        let (well, said) = promtool(words, &files);
        assert!(well, "{words:?}: {said}");
    }
    // Every alert has a test, and a rule that looks the other way fails its own.
    let copy = tempfile::tempdir().unwrap();
    for folder in ["rules", "tests"] {
        std::fs::create_dir(copy.path().join(folder)).unwrap();
    }
    for part in PARTS {
        let file = |folder: &str| format!("{folder}/{part}.yaml");
        let [rules, tests] = ["rules", "tests"].map(|folder| {
            std::fs::read_to_string(shipped("monitoring").join(file(folder))).unwrap()
        });
        let alerts = rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- alert: "));
        for alert in alerts {
            assert!(tests.contains(&format!("- name: {alert} fires")), "{alert}");
        }
        let spoilt = rules
            .replace(" == ", " != ")
            .replace(" > ", " < ")
            .replace(" >= ", " < ");
        std::fs::write(copy.path().join(file("rules")), spoilt).unwrap();
        std::fs::write(copy.path().join(file("tests")), tests).unwrap();
        assert!(!promtool(&["test", "rules"], &[copy.path().join(file("tests"))]).0);
    }
}

/// All parts at work: two members with TLS among each other, and one agent of each kind.
struct Running {
    cluster: Cluster,
    registrator: (SocketAddr, Process),
    confd: (SocketAddr, Agent),
    _folder: Confdir,
}

impl Running {
    fn start() -> Self {
        let mut cluster = Cluster::prepare(Path::new(MUSTER), 2).over_tls();
        for member in 0..2 {
            let _ = cluster.spawn_with(member, &["--metrics", "extensive", "--peer-auto-tls"]);
        }
        for member in 0..2 {
            cluster.wait_ready(member);
        }
        let endpoint = format!("http://{}", cluster.address(0));
        let folder = Confdir::new();
        folder.add("list", "/services", "{{ services() | length }}", "");
        let services = folder.path().join("services.yaml");
        let text = "services:\n  - {name: web, address: 10.0.0.9, port: 80}\n";
        std::fs::write(&services, text).unwrap();
        let listen: [SocketAddr; 2] = [0, 1].map(|_| ([127, 0, 0, 1], port::free()).into());
        let mut command = Command::new(MUSTER);
        command
            .args(["registrator", "--docker-host", "none", "--node", "n1"])
            .args(["--on-stop", "revoke", "--endpoints", &endpoint])
            .args(["--listen", &listen[0].to_string(), "--services"])
            .arg(services);
        let registrator = Process::spawn("registrator", &mut command);
        let confd = Agent::confd(MUSTER, folder.path(), &endpoint)
            .with(&["--listen", &listen[1].to_string()])
            .started();
        folder.becomes("list", "1");
        Self {
            cluster,
            registrator: (listen[0], registrator),
            confd: (listen[1], confd),
            _folder: folder,
        }
    }

    /// What a part says.
    fn page(&self, part: &str) -> String {
        let address = match part {
            "store" => self.cluster.address(0),
            "registrator" => self.registrator.0,
            _ => self.confd.0,
        };
        wait::until(&format!("metrics of {part}"), PATIENCE, || {
            let answer = http::get(address, "/metrics")?;
            // A round trip is measured when the first message came back.
            let whole = part != "store"
                || has(
                    &answer.body,
                    "etcd_network_peer_round_trip_time_seconds_bucket To",
                );
            if answer.status == 200 && whole {
                Ok(answer.body)
            } else {
                Err(answer.body)
            }
        })
    }
}

/// Whether a page has a series with these labels: name and labels with blanks between.
fn has(page: &str, wanted: &str) -> bool {
    let mut words = wanted.split(' ');
    let name = words.next().unwrap();
    let labels: Vec<String> = words.map(|label| format!("{label}=\"")).collect();
    page.lines().any(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| {
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        })
    })
}

/// Names that a page announces, those of a histogram's parts included.
fn announced(page: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        names.insert(name.to_owned());
        if kind == "histogram" {
            names.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
        }
    }
    names
}

/// Names of metrics in an expression: its words, but those in selectors and behind `by`.
fn asked_for(expression: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let mut rest = expression;
    loop {
        let marks = [rest.find('{'), rest.find('"'), rest.find("by (")];
        let Some(at) = marks.into_iter().flatten().min() else {
            break;
        };
        plain.push_str(&rest[..at]);
        plain.push(' ');
        let end = match rest.as_bytes()[at] {
            b'{' => '}',
            b'"' => '"',
            _ => ')',
        };
        let tail = &rest[at + 1..];
        rest = tail.split_once(end).map_or("", |(_, tail)| tail);
    }
    plain.push_str(rest);
    let words = plain.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let ours = ["etcd_", "muster_", "confd_", "grpc_", "process_", "os_"];
    let named = words.filter(|word| ours.iter().any(|prefix| word.starts_with(prefix)));
    named.map(str::to_owned).collect()
}

/// Every text under the key `expr` in it.
fn expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(text) if key == "expr" => found.push(text),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn words_of_an_expression() {
    let text = r#"sum by (grpc_method, le) (rate(grpc_server_handled_total{grpc_code!="OK"}[5m])) / etcd_a + vector(0)"#;
    let names: Vec<String> = asked_for(text).into_iter().collect();
    assert_eq!(names, ["etcd_a", "grpc_server_handled_total"]);
    let page = "# TYPE a histogram\na_bucket{le=\"1\",To=\"x\"} 0\n";
    assert!(has(page, "a_bucket le To") && !has(page, "a_bucket From") && !has(page, "a"));
    assert!(announced(page).contains("a_count"));
}

#[test]
fn what_is_asked_for_is_there() {
    let running = Running::start();
    let mut faults = Vec::new();
    for part in PARTS {
        let page = running.page(part);
        let there = announced(&page);
        let read =
            |file: &str| std::fs::read_to_string(shipped(&format!("monitoring/{file}"))).unwrap();
        let rules: Value = serde_yaml::from_str(&read(&format!("rules/{part}.yaml"))).unwrap();
        let board: Value = serde_json::from_str(&read(&format!("dashboards/{part}.json"))).unwrap();
        let mut all = Vec::new();
        expressions(&rules, &mut all);
        expressions(&board, &mut all);
        assert!(all.len() > 10, "{part}: {all:?}");
        for expression in all {
            let names = asked_for(expression);
            let is_up = expression.contains("up{");
            if names.is_empty() && !is_up {
                faults.push(format!("{part}: nothing is asked for by {expression}"));
            }
            for name in names.difference(&there) {
                faults.push(format!("{part}: there is no {name}"));
            }
        }
        faults.extend(lint(part, &page));
    }
    let store = running.page("store");
    let metrics = std::fs::read_to_string(programs::source().join("docs/metrics.md")).unwrap();
    for (alert, wanted) in MIXIN {
        for series in *wanted {
            let name = series.split(' ').next().unwrap();
            let bare = name.trim_end_matches("_bucket");
            let excused = metrics.lines().any(|line| {
                line.starts_with("| `")
                    && line
                        .split(" | ")
                        .next()
                        .unwrap()
                        .contains(&format!("`{bare}`"))
            });
            if has(&store, series) == excused {
                faults.push(format!(
                    "{alert}: {series}: excused {excused}, and {}",
                    !excused
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let Running {
        confd: (_, mut confd),
        ..
    } = running;
    confd.stop();
}

/// What promtool has against a page. Names that are etcd's are etcd's: dashboards know them as they are. The life of a
/// certificate is counted in days, by people and by their alerts.
fn lint(part: &str, page: &str) -> Vec<String> {
    use std::io::Write as _;
    let mut child = Command::new(programs::system("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(page.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines()
        .filter(|line| !line.starts_with("etcd_") && !line.trim().is_empty())
        .filter(|line| !line.starts_with("muster_tls_days_to_expiry use base unit"))
        .map(|line| format!("{part}: promtool: {line}"))
        .collect()
}
