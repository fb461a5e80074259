//! `muster up`: all three parts in one process, from start to stop.

use std::path::PathBuf;
use std::process::Command;

use end_to_end::complaint::Complaint;
use end_to_end::confdir::Confdir;
use end_to_end::docker::Engine;
use end_to_end::etcdctl::{Etcdctl, Release};
use end_to_end::process::{Process, Signal};
use end_to_end::registry::Service;
use end_to_end::store::{Maker, Store};
use end_to_end::{port, wait, web};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A data folder, a port and a folder of resources.
struct Scene {
    data: tempfile::TempDir,
    confdir: Confdir,
    endpoint: String,
}

impl Scene {
    fn new() -> Self {
        let endpoint = format!("http://127.0.0.1:{}", port::free());
        let data = tempfile::tempdir().expect("temporary folder");
        Self {
            data,
            confdir: Confdir::new(),
            endpoint,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(MUSTER);
        command.args([
            "up",
            "--internal",
            "--ttl",
            "5s",
            "--listen-client-urls",
            &self.endpoint,
        ]);
        command.arg("--data-dir").arg(self.data.path());
        command.arg("--confdir").arg(self.confdir.path());
        command
    }

    fn start(&self) -> Process {
        let mut process = Process::spawn("muster up", &mut self.command());
        process.wait_line("muster is up", wait::LONG);
        process
    }

    fn client(&self) -> Etcdctl {
        Etcdctl::new(Release::V3_5, &self.endpoint)
    }
}

fn stop(mut process: Process) -> Vec<String> {
    process.signal(Signal::TERM);
    let status = process.wait_exit(wait::LONG);
    assert!(status.success(), "{status}: {}", process.tail());
    process.lines()
}

const LIST: &str =
    "{% for one in services(name=vars.service, state='up') %}{{ one.hostport }}\n{% endfor %}";

#[test]
fn registers_renders_says_so_and_stops_in_order() {
    let scene = Scene::new();
    let service = Service::new(scene.client());
    let vars = format!("vars: {{service: {}}}", service.name());
    scene.confdir.add("list", "/services", LIST, &vars);
    let mut process = scene.start();
    let container = web::start(&Engine::of_machine(), service.name());
    let address = format!("{}:8080", container.address());
    scene.confdir.becomes("list", &format!("{address}\n"));
    process.wait_line(
        &format!("service {}: 1 instance(s), + {address}", service.name()),
        wait::LONG,
    );
    container.does(&["kill"]);
    scene.confdir.becomes("list", "");
    process.wait_line(&format!("service {}: gone", service.name()), wait::LONG);
    let told = stop(process);
    assert!(told.iter().any(|line| line == "stopped"), "{told:?}");
    let block = told.join("\n");
    for part in [
        format!("store        {}", scene.endpoint),
        "registrator  ".into(),
        "confd        ".into(),
    ] {
        assert!(
            block.contains(&part),
            "`{part}` is not in the block:\n{block}"
        );
    }
}

#[test]
fn a_quick_restart_changes_nothing_for_anybody() {
    let scene = Scene::new();
    let service = Service::new(scene.client());
    let process = scene.start();
    let container = web::start(&Engine::of_machine(), service.name());
    service.becomes(&[&container]);
    let revision = || {
        let json = scene
            .client()
            .run(&["get", "--prefix", &service.prefix(), "--write-out=json"]);
        let answer: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        (
            answer["kvs"][0]["create_revision"].clone(),
            answer["kvs"][0]["mod_revision"].clone(),
        )
    };
    let before = revision();
    stop(process);
    let mut process = scene.start();
    assert_eq!(revision(), before);
    // And the same after a crash.
    process.kill();
    let _process = scene.start();
    service.becomes(&[&container]);
    assert_eq!(revision(), before);
}

#[test]
fn without_an_engine_it_runs_says_what_is_wrong_and_heals() {
    let scene = Scene::new();
    let service = Service::new(scene.client());
    let socket = scene.data.path().join("docker.sock");
    let container = web::start(&Engine::of_machine(), service.name());
    let mut command = scene.command();
    command.args(["--docker-host", &format!("unix://{}", socket.display())]);
    let mut process = Process::spawn("muster up", &mut command);
    process.wait_line("muster is up", wait::LONG);
    process.wait_line("wrong", wait::LONG);
    process.wait_line("engine", wait::LONG);
    let real = Engine::of_machine().address();
    std::os::unix::fs::symlink(real.trim_start_matches("unix://"), &socket).expect("link");
    service.becomes(&[&container]);
    process.wait_line("no longer: engine", wait::LONG);
    stop(process);
}

#[test]
fn a_part_can_be_left_out_and_the_store_be_elsewhere() {
    for maker in [Maker::Etcd, Maker::Muster(PathBuf::from(MUSTER))] {
        let store = Store::start(maker);
        let service = Service::new(store.client());
        let scene = Scene::new();
        let mut command = scene.command();
        command.args(["--endpoints", &store.endpoint(), "--without", "confd"]);
        let mut process = Process::spawn("muster up", &mut command);
        process.wait_line("muster is up", wait::LONG);
        let container = web::start(&Engine::of_machine(), service.name());
        service.becomes(&[&container]);
        let told = stop(process).join("\n");
        assert!(
            !told.contains("store  ") && !told.contains("confd  "),
            "{told}"
        );
    }
}

#[test]
fn a_second_signal_forces() {
    let scene = Scene::new();
    // A reload that does not end holds up a stop that waits for it.
    scene.confdir.add(
        "slow",
        "/x",
        "{{ getv(key='/x', default='-') }}",
        "reload_cmd: \"sleep 600\"",
    );
    let mut process = scene.start();
    scene.confdir.becomes("slow", "-");
    process.signal(Signal::INT);
    process.wait_line("once more to force", wait::LONG);
    process.signal(Signal::INT);
    let status = process.wait_exit(wait::LONG);
    // It may have been quicker than the second signal.
    assert!(
        matches!(status.code(), Some(0 | 130)),
        "{status}: {}",
        process.tail()
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let scene = Scene::new();
    let refused = |more: &[&str]| Complaint::of(scene.command().args(more));
    refused(&["--without", "store"]).names(&["--without store"]);
    refused(&["--without", "nginx"]).names(&["nginx"]);
    refused(&["--endpoints", "nonsense://x"]).names(&["nonsense"]);
    let complaint = refused(&["--confdri"]);
    assert!(complaint.hint.contains("--confdir"), "{complaint:?}");
    let refused = |more: &[&str]| Complaint::of(Command::new(MUSTER).arg("up").args(more));
    refused(&["--confdir", "/no/such/folder"]).names(&["/no/such/folder"]);
    refused(&["--ttl", "soon"]).names(&["soon"]);
    // With one running: neither its port nor its folder can be had again.
    let running = scene.start();
    let taken = scene.endpoint.trim_start_matches("http://").to_owned();
    Complaint::of(&mut scene.command()).names(&[&taken]);
    let elsewhere = format!("http://127.0.0.1:{}", port::free());
    let mut same_folder = Command::new(MUSTER);
    same_folder.args([
        "up",
        "--listen-client-urls",
        &elsewhere,
        "--without",
        "confd",
        "--data-dir",
    ]);
    let folder = scene.data.path().display().to_string();
    Complaint::of(same_folder.arg(scene.data.path())).names(&[&folder]);
    stop(running);
}
