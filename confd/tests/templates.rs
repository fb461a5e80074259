//! The shipped templates as golden tests: each case gives keys, the text must come out, and the real program must accept
//! it. `REWRITE=1` writes what comes out; the difference is reviewed like code.

#![expect(clippy::unwrap_used, reason = "a fault in a test ends it")]

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use confd::engine::{self, CompileOptions, Globals, Rendered, Sources};
use confd::resource::{self, Resource};
use confd::tree::{Reader, Scope};
use registrator_catalog::record::{
    PRIORITY_DEFAULT, Proto, Record, State, VERSION, WEIGHT_DEFAULT,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use store_client::mirror::{Entry, Snapshot};

/// Debian's user and group `nobody`.
const NOBODY: u32 = 65534;

/// What a case file holds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    /// Over the resource's own.
    vars: Map<String, Value>,
    /// Keys as they are.
    keys: BTreeMap<String, String>,
    /// Records in short.
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    name: String,
    instance: String,
    address: IpAddr,
    port: u16,
    proto: Option<Proto>,
    state: Option<State>,
    weight: Option<u32>,
    priority: Option<u32>,
}

impl Service {
    fn record(&self) -> Record {
        Record {
            version: VERSION,
            id: format!("host:{}", self.instance),
            instance: self.instance.clone(),
            name: self.name.clone(),
            node: "host".to_owned(),
            address: self.address,
            addresses: vec![self.address.into()],
            port: self.port,
            proto: self.proto.unwrap_or(Proto::Tcp),
            port_name: self.port.to_string(),
            weight: self.weight.unwrap_or(WEIGHT_DEFAULT),
            priority: self.priority.unwrap_or(PRIORITY_DEFAULT),
            state: self.state.unwrap_or(State::Up),
            health: None,
            tags: Vec::new(),
            meta: BTreeMap::new(),
            container: None,
            updated_at: "2026-01-01T00:00:00.000Z".to_owned(),
        }
    }
}

impl Case {
    fn read(text: &str) -> Self {
        serde_yaml::from_str(text).unwrap()
    }

    fn snapshot(&self) -> Snapshot {
        let records = self.services.iter().map(|service| {
            (
                format!("/services/{}/{}", service.name, service.instance),
                service.record().to_json(),
            )
        });
        let entries = self
            .keys
            .clone()
            .into_iter()
            .chain(records)
            .map(|(key, value)| {
                let entry = Entry {
                    value: Bytes::from(value),
                    create_revision: 1,
                    mod_revision: 1,
                };
                (Bytes::from(key), entry)
            });
        Snapshot::from_entries(1, entries.collect())
    }
}

/// One folder of `templates/`.
struct Shipped {
    folder: PathBuf,
    resource: Resource,
    sources: Sources,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../templates")
        .join(name)
}

fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    files.sort();
    files
}

impl Shipped {
    fn read(name: &str) -> Self {
        let folder = folder(name);
        let file = format!("{name}.yaml");
        let text = std::fs::read_to_string(folder.join(&file)).unwrap();
        let resource =
            resource::parse(&file, &text, &confd::defaults::Defaults::default()).unwrap();
        assert_eq!(resource.warnings, Vec::<String>::new());
        let sources = files(&folder, ".tera")
            .into_iter()
            .map(|path| {
                (
                    path.file_name().unwrap().to_str().unwrap().to_owned(),
                    std::fs::read_to_string(&path).unwrap(),
                )
            })
            .collect();
        Self {
            folder,
            resource,
            sources,
        }
    }

    fn render(&self, case: &Case) -> Rendered {
        let mut vars = self.resource.vars.clone();
        vars.extend(case.vars.clone());
        let globals = Globals {
            vars,
            ..Globals::default()
        };
        let scope = Scope::new(&self.resource.prefix, &self.resource.keys);
        let options = CompileOptions {
            trim_blocks: self.resource.trim_blocks,
        };
        let engine = engine::for_file(&self.resource.src, self.resource.engine);
        let template = engine
            .compile(&self.resource.src, &self.sources, &options)
            .unwrap();
        template.render(Reader::new(case.snapshot(), scope), &globals)
    }

    fn text(&self, case: &Case) -> String {
        self.render(case)
            .result
            .unwrap_or_else(|error| panic!("{error} {:?}", error.hint()))
    }
}

#[test]
fn every_case_gives_its_text() {
    let mut cases = 0;
    let folders = files(&folder(""), "");
    for folder in folders.into_iter().filter(|path| path.is_dir()) {
        let shipped = Shipped::read(folder.file_name().unwrap().to_str().unwrap());
        for path in files(&shipped.folder.join("cases"), ".yaml") {
            let case = Case::read(&std::fs::read_to_string(&path).unwrap());
            let text = shipped.text(&case);
            let golden = path.with_extension("txt");
            if std::env::var_os("REWRITE").is_some() {
                std::fs::write(&golden, &text).unwrap();
            }
            assert_eq!(
                text,
                shipped.text(&case),
                "the same keys give the same text"
            );
            assert_eq!(
                text,
                std::fs::read_to_string(&golden).unwrap_or_default(),
                "{}",
                golden.display()
            );
            cases += 1;
        }
    }
    assert!(cases >= 15, "cases are missing");
}

/// Runs a program that must say yes.
fn accepts(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error} (make deps installs it)"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}\n{said}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Nothing of the machine's own nginx is touched; `-t` opens no port.
fn nginx_accepts(name: &str, vars: &[(&str, &str)]) {
    let shipped = Shipped::read(name);
    for path in files(&shipped.folder.join("cases"), ".yaml") {
        let home = tempfile::tempdir().unwrap();
        let mut case = Case::read(&std::fs::read_to_string(&path).unwrap());
        let folder = home.path().display().to_string();
        for (name, value) in [("pid", "HOME/pid"), ("error_log", "stderr")]
            .iter()
            .chain(vars)
        {
            let value = Value::from(value.replace("HOME", &folder));
            case.vars.insert((*name).to_owned(), value);
        }
        let file = home.path().join("nginx.conf");
        std::fs::write(&file, shipped.text(&case)).unwrap();
        accepts(
            Command::new("nginx")
                .args(["-t", "-q", "-e", "stderr", "-p"])
                .arg(home.path())
                .arg("-c")
                .arg(&file),
        );
    }
}

#[test]
fn nginx_accepts_every_case() {
    let vars = [
        ("access_log", "off"),
        ("temp_dir", "HOME"),
        ("listen", "127.0.0.1:21301"),
    ];
    nginx_accepts("nginx", &vars);
}

#[test]
fn nginx_accepts_every_case_of_its_stream_module() {
    nginx_accepts("nginx-stream", &[]);
}

#[test]
fn haproxy_accepts_every_case() {
    let shipped = Shipped::read("haproxy");
    for path in files(&shipped.folder.join("cases"), ".yaml") {
        let home = tempfile::tempdir().unwrap();
        let mut case = Case::read(&std::fs::read_to_string(&path).unwrap());
        let socket = home.path().join("admin.sock").display().to_string();
        case.vars
            .insert("stats_socket".to_owned(), Value::from(socket));
        let file = home.path().join("haproxy.cfg");
        std::fs::write(&file, shipped.text(&case)).unwrap();
        accepts(Command::new("haproxy").args(["-c", "-q", "-f"]).arg(&file));
    }
}

#[test]
fn promtool_accepts_every_case() {
    let shipped = Shipped::read("prometheus");
    for path in files(&shipped.folder.join("cases"), ".yaml") {
        let home = tempfile::tempdir().unwrap();
        let case = Case::read(&std::fs::read_to_string(&path).unwrap());
        std::fs::write(home.path().join("muster.json"), shipped.text(&case)).unwrap();
        let config = home.path().join("prometheus.yml");
        let text =
            "scrape_configs: [{job_name: muster, file_sd_configs: [{files: [muster.json]}]}]";
        std::fs::write(&config, text).unwrap();
        accepts(
            Command::new("promtool")
                .args(["check", "config"])
                .arg(&config),
        );
    }
}

/// JSON and YAML whose programs Debian does not have: they parse, and say what their readers' documentation asks for.
#[test]
fn files_for_envoy_and_traefik_have_their_shape() {
    let read = |name: &str, case: &str| -> Value {
        let shipped = Shipped::read(name);
        let path = shipped.folder.join("cases").join(case);
        let case = Case::read(&std::fs::read_to_string(path).unwrap());
        serde_yaml::from_str(&shipped.text(&case)).unwrap()
    };
    let eds = read("envoy", "priorities.yaml");
    let web = &eds["resources"][0];
    assert_eq!(web["cluster_name"], "web");
    let priorities: Vec<_> = web["endpoints"].as_array().unwrap().iter().collect();
    assert_eq!(priorities[0]["priority"], 0);
    assert_eq!(priorities[1]["priority"], 1, "no gaps");
    assert_eq!(
        priorities[0]["lb_endpoints"][1]["health_status"],
        "DRAINING"
    );
    assert_eq!(eds["resources"][2]["endpoints"], Value::Array(Vec::new()));

    let traefik = read("traefik", "routes.yaml");
    let servers = &traefik["http"]["services"]["shop"]["loadBalancer"]["servers"];
    assert_eq!(
        *servers,
        serde_json::json!([{"url": "http://10.0.0.1:8080"}, {"url": "http://[fd00::5]:8080"}])
    );
    assert_eq!(traefik["http"]["routers"]["api-old"]["service"], "api");
}

/// A real dnsmasq answers from the file.
#[test]
fn dnsmasq_answers_from_the_hosts_file() {
    let shipped = Shipped::read("hosts");
    let path = shipped.folder.join("cases/services.yaml");
    let case = Case::read(&std::fs::read_to_string(path).unwrap());
    let home = tempfile::tempdir().unwrap();
    let hosts = home.path().join("hosts");
    std::fs::write(&hosts, shipped.text(&case)).unwrap();
    // Below the ephemeral ones: the asking socket could be given its port otherwise, and talk to itself.
    let port = 21306;
    let mut dnsmasq = Command::new("dnsmasq")
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
        ])
        .args(["--no-hosts", "--user=root", "--pid-file="])
        .args(["--listen-address=127.0.0.1", "--bind-interfaces"])
        .arg(format!("--port={port}"))
        .arg(format!("--addn-hosts={}", hosts.display()))
        .spawn()
        .unwrap_or_else(|error| panic!("dnsmasq: {error} (make deps installs it)"));
    let ask = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        // RFC 1035: id, recursion desired, one question; the name in labels; type A, class IN.
        let mut question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        for label in ["web", "service", "muster"] {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label.as_bytes());
        }
        question.extend([0, 0, 1, 0, 1]);
        socket.send(&question).ok()?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).ok()?;
        Some(answer[..length].to_vec())
    };
    let until = Instant::now() + Duration::from_secs(60);
    let answer = loop {
        match ask() {
            Some(answer) => break answer,
            None => assert!(Instant::now() < until, "dnsmasq does not answer"),
        }
    };
    dnsmasq.kill().unwrap();
    dnsmasq.wait().unwrap();
    assert_eq!(
        &answer[6..8],
        [0, 1],
        "one address of version 4: {answer:?}"
    );
    assert!(answer.ends_with(&[10, 0, 0, 1]), "{answer:?}");
}

/// A real PgBouncer reads the file and comes up.
#[test]
fn pgbouncer_comes_up_with_the_databases() {
    let shipped = Shipped::read("pgbouncer");
    let path = shipped.folder.join("cases/databases.yaml");
    let case = Case::read(&std::fs::read_to_string(path).unwrap());
    let home = tempfile::tempdir().unwrap();
    let databases = home.path().join("databases.ini");
    std::fs::write(&databases, shipped.text(&case)).unwrap();
    let log = home.path().join("log");
    std::fs::write(&log, "").unwrap();
    // It refuses to run as root, so it runs as somebody else then, who gets the folder.
    let mut user = "";
    if std::fs::metadata(home.path()).unwrap().uid() == 0 {
        user = "user = nobody\n";
        for path in [home.path(), &databases, &log] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let config = home.path().join("pgbouncer.ini");
    let text = format!(
        "%include {}\n[pgbouncer]\nlisten_port = 0\nunix_socket_dir = {}\nlogfile = {}\nauth_type = any\n{user}",
        databases.display(),
        home.path().display(),
        log.display(),
    );
    std::fs::write(&config, text).unwrap();
    let mut pgbouncer = Command::new("pgbouncer")
        .args(["-q"])
        .arg(&config)
        .spawn()
        .unwrap_or_else(|error| panic!("pgbouncer: {error} (make deps installs it)"));
    let until = Instant::now() + Duration::from_secs(60);
    let said = loop {
        let said = std::fs::read_to_string(&log).unwrap();
        let ended = pgbouncer.try_wait().unwrap();
        if said.contains("process up") || ended.is_some() || Instant::now() > until {
            break said;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let _ = pgbouncer.kill();
    pgbouncer.wait().unwrap();
    assert!(said.contains("process up"), "{said}");
    assert!(!said.contains("ERROR") && !said.contains("FATAL"), "{said}");
}

/// Whatever stands in a record that anybody may write, it stays a value.
#[test]
fn hostile_records_inject_nothing() {
    let evil = "x; } server { listen 666; } #\n    server 6.6.6.6:666;\n\"'$host";
    for name in [
        "nginx",
        "nginx-stream",
        "haproxy",
        "traefik",
        "envoy",
        "pgbouncer",
    ] {
        let shipped = Shipped::read(name);
        let good = Service {
            name: "web".to_owned(),
            instance: "a".to_owned(),
            address: [10, 0, 0, 1].into(),
            port: 80,
            proto: None,
            state: None,
            weight: None,
            priority: None,
        };
        let clean = shipped.text(&Case {
            keys: BTreeMap::from([("/services/web/x".to_owned(), good.record().to_json())]),
            ..Case::default()
        });
        let mut record = good.record();
        for field in [
            &mut record.id,
            &mut record.instance,
            &mut record.name,
            &mut record.node,
            &mut record.port_name,
        ] {
            *field = evil.to_owned();
        }
        record.tags.push(evil.to_owned());
        record.meta.insert(evil.to_owned(), evil.to_owned());
        let hostile = shipped.text(&Case {
            keys: BTreeMap::from([("/services/web/x".to_owned(), record.to_json())]),
            ..Case::default()
        });
        assert_eq!(hostile, clean, "{name}");
    }
}

/// A name that is none for a host takes nobody else's away.
#[test]
fn a_hostile_name_is_left_out_of_the_hosts_file() {
    let case = Case::read(
        "services: [{name: \"x\\n6.6.6.6 bank.example\", instance: a, address: 10.0.0.1, port: 80},
                    {name: web, instance: a, address: 10.0.0.2, port: 80}]",
    );
    let text = Shipped::read("hosts").text(&case);
    assert!(
        text.ends_with("lost with the next change.\n10.0.0.2 web.service.muster web\n"),
        "{text}"
    );
}
