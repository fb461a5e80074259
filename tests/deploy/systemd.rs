//! What systemd hears of the agents, and the units that are shipped for it: systemd's own programs read them, and the
//! commands they start run with the settings that are shipped beside them.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::process::{Process, Signal};
use end_to_end::store::{Maker, Store};
use end_to_end::{port, wait};

use crate::{MUSTER, PATIENCE, shipped};

const UNITS: [&str; 3] = ["store", "registrator", "confd"];

/// systemd's end of the socket.
struct Manager {
    _folder: tempfile::TempDir,
    path: PathBuf,
    socket: UnixDatagram,
    said: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            _folder: folder,
            path,
            socket,
            said: Vec::new(),
        }
    }

    fn start(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(MUSTER);
        command
            .args(arguments)
            .env("NOTIFY_SOCKET", &self.path)
            .env("WATCHDOG_USEC", "300000");
        Process::spawn(arguments[0], &mut command)
    }

    /// Waits until a line was said so often.
    fn hears(&mut self, line: &str, times: usize) {
        wait::until(&format!("systemd hears {line}"), PATIENCE, || {
            let mut bytes = [0; 4096];
            while let Ok(length) = self.socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]);
                self.said.extend(text.lines().map(str::to_owned));
            }
            let heard = self.said.iter().filter(|said| said.starts_with(line));
            match heard.count() >= times {
                true => Ok(()),
                false => Err(format!("{:?}", self.said.iter().collect::<BTreeSet<_>>())),
            }
        });
    }
}

#[test]
fn systemd_hears_how_the_registrator_is() {
    let mut manager = Manager::new();
    let store = Store::start(Maker::Muster(PathBuf::from(MUSTER)));
    let endpoint = store.endpoint();
    let flags = [
        "--docker-host",
        "none",
        "--node",
        "here",
        "--endpoints",
        &endpoint,
    ];
    let mut agent = manager.start(&[&["registrator"], &flags[..]].concat());
    manager.hears("READY=1", 1);
    manager.hears("STATUS=0 containers registered", 1);
    manager.hears("WATCHDOG=1", 2);
    agent.signal(Signal::TERM);
    agent.wait_exit(PATIENCE);
}

/// Also while there is no store: what starts after confd must not wait for it.
#[test]
fn systemd_hears_how_confd_is() {
    let mut manager = Manager::new();
    let confdir = tempfile::tempdir().unwrap();
    let folder = confdir.path().display().to_string();
    for name in ["conf.d", "templates"] {
        std::fs::create_dir(confdir.path().join(name)).unwrap();
    }
    std::fs::write(
        confdir.path().join("templates/a.tera"),
        "{{ getv(key='/a') }}",
    )
    .unwrap();
    let resource = format!("src: a.tera\ndest: {folder}/a\nkeys: [/a]\n");
    std::fs::write(confdir.path().join("conf.d/a.yaml"), resource).unwrap();
    let nobody = format!("http://127.0.0.1:{}", port::free());
    let flags = ["--watch", "--confdir", &folder, "--state-dir", &folder];
    let mut agent = manager.start(&[&["confd", "--endpoints", &nobody], &flags[..]].concat());
    manager.hears("READY=1", 1);
    manager.hears("STATUS=no connection to the store", 1);
    manager.hears("WATCHDOG=1", 2);
    agent.signal(Signal::TERM);
    agent.wait_exit(PATIENCE);

    let store = Store::start(Maker::Muster(PathBuf::from(MUSTER)));
    assert_eq!(store.client().run(&["put", "/a", "1"]), "OK\n");
    let endpoint = store.endpoint();
    let mut agent = manager.start(&[&["confd", "--endpoints", &endpoint], &flags[..]].concat());
    manager.hears("STATUS=1 files current", 1);
    agent.signal(Signal::TERM);
    agent.wait_exit(PATIENCE);
}

/// The units with the program that was built.
fn units() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let units = UNITS.map(|name| {
        let file = format!("muster-{name}.service");
        let text = std::fs::read_to_string(shipped(&format!("systemd/{file}"))).unwrap();
        let unit = folder.path().join(file);
        std::fs::write(&unit, text.replace("/usr/bin/muster", MUSTER)).unwrap();
        unit
    });
    (folder, units.into())
}

fn analyze(arguments: &[&str], unit: &Path) -> String {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output()
        .unwrap_or_else(|error| panic!("systemd-analyze: {error} (make deps installs it)"));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", unit.display());
    said.into_owned()
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let (_folder, units) = units();
    for unit in units {
        let said = analyze(&["verify", "--recursive-errors=no", "--man=no"], &unit);
        assert_eq!(said, "", "{}", unit.display());
    }
}

/// systemd's own measure, from 0 (locked up) to 100 (10.0: everything allowed); confd has to do root's work.
#[test]
fn the_units_give_away_what_they_can() {
    let (_folder, units) = units();
    for (unit, exposure) in units.iter().zip(["15", "20", "35"]) {
        let threshold = format!("--threshold={exposure}");
        analyze(
            &["security", "--offline=true", "--no-pager", &threshold],
            unit,
        );
    }
}

/// The settings that the units name are ones that the programs take.
#[test]
fn the_shipped_settings_start_what_they_are_for() {
    let folder = tempfile::tempdir().unwrap();
    let (client, peer) = (port::free().to_string(), port::free().to_string());
    let mut settings = std::fs::read_to_string(shipped("systemd/store.yml")).unwrap();
    for (from, to) in [
        (
            "/var/lib/muster-store",
            &*folder.path().display().to_string(),
        ),
        (":2379", &*format!(":{client}")),
        (":2380", &*format!(":{peer}")),
    ] {
        settings = settings.replace(from, to);
    }
    let file = folder.path().join("store.yml");
    std::fs::write(&file, settings).unwrap();
    let mut manager = Manager::new();
    let path = file.display().to_string();
    let mut store = manager.start(&["store", "--config-file", &path]);
    manager.hears("READY=1", 1);
    manager.hears("WATCHDOG=1", 2);

    let text = std::fs::read_to_string(shipped("systemd/registrator.yaml")).unwrap();
    let file = folder.path().join("registrator.yaml");
    std::fs::write(&file, text.replace(":2379", &format!(":{client}"))).unwrap();
    let path = file.display().to_string();
    manager.said.clear();
    let flags = ["registrator", "--docker-host", "none", "--config", &path];
    let mut registrator = manager.start(&flags);
    manager.hears("STATUS=0 containers registered", 1);
    for process in [&mut registrator, &mut store] {
        process.signal(Signal::TERM);
        process.wait_exit(PATIENCE);
    }
}
