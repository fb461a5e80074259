//! The shipped templates as golden tests: each case gives keys, the text must come out, and the real program must accept
//! it. `REWRITE=1` writes what comes out; the difference is reviewed like code.

#![expect(clippy::unwrap_used, reason = "a fault in a test ends it")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    assert!(cases >= 6, "cases are missing");
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

#[test]
fn nginx_accepts_every_case() {
    let shipped = Shipped::read("nginx");
    for path in files(&shipped.folder.join("cases"), ".yaml") {
        let home = tempfile::tempdir().unwrap();
        let mut case = Case::read(&std::fs::read_to_string(&path).unwrap());
        // Nothing of the machine's own nginx is touched; `-t` opens no port.
        for (name, value) in [
            ("pid", home.path().join("pid").display().to_string()),
            ("error_log", "stderr".to_owned()),
            ("access_log", "off".to_owned()),
            ("temp_dir", home.path().display().to_string()),
            ("listen", "127.0.0.1:21301".to_owned()),
        ] {
            case.vars.insert(name.to_owned(), Value::from(value));
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

/// Whatever stands in a record that anybody may write, it stays a value.
#[test]
fn hostile_records_inject_nothing() {
    let evil = "x; } server { listen 666; } #\n    server 6.6.6.6:666;\n\"'$host";
    for name in ["nginx", "haproxy"] {
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
