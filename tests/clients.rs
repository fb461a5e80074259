//! Clients of other languages, as their users have them: the packages of PyPI and npm, pinned, driven through their API
//! against a store of ours by the scripts in `tests/clients/`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use end_to_end::store::{Maker, Store};
use end_to_end::{http, programs};

/// What a script prints when all it asked was answered as it should be.
const SAYS: &str = "all is well";

fn store() -> Store {
    Store::start(Maker::Muster(PathBuf::from(env!("CARGO_BIN_EXE_muster"))))
}

/// Runs a script with packages of that folder, fed with `input`.
fn run(program: &str, path_variable: &str, packages: &str, script: &str, port: u16, input: &str) {
    let packages = programs::client_packages(packages);
    let script = programs::source().join("tests/clients").join(script);
    let mut child = Command::new(programs::system(program))
        .arg(&script)
        .arg(port.to_string())
        .env(path_variable, packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|cause| panic!("run {program}: {cause}"));
    // A script that fails early does not read it, which shows below.
    let _ = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child
        .wait_with_output()
        .unwrap_or_else(|cause| panic!("wait for {program}: {cause}"));
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && said.contains(SAYS),
        "{}: {}\n{said}\n{errors}",
        script.display(),
        output.status
    );
}

fn python(packages: &str, script: &str, port: u16, input: &str) {
    run("python3", "PYTHONPATH", packages, script, port, input);
}

#[test]
fn python_etcd3() {
    python("etcd3", "etcd3_client.py", store().port(), "");
}

#[test]
fn python_etcd3_py() {
    python("etcd3_py", "etcd3_py_client.py", store().port(), "");
}

#[test]
fn python_aetcd() {
    python("aetcd", "aetcd_client.py", store().port(), "");
}

/// Of etcd's API 2, and what version 3 writes at the same time.
#[test]
fn python_python_etcd() {
    python("python_etcd", "python_etcd_client.py", store().port(), "");
}

/// The lines of the document are what is run.
#[test]
fn python_lines_of_the_recipes() {
    let document = programs::source().join("docs/recipes.md");
    let document = std::fs::read_to_string(document).expect("the document");
    python("etcd3", "recipes.py", store().port(), &document);
}

fn node(script: &str, port: u16) {
    run("node", "NODE_PATH", "node/node_modules", script, port, "");
}

#[test]
fn node_etcd3() {
    node("etcd3_node.js", store().port());
}

/// Of etcd's API 2, and what version 3 writes at the same time.
#[test]
fn node_node_etcd() {
    node("etcd_node.js", store().port());
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let store = store();
    let client = store.client();
    assert_eq!(client.run(&["put", "k", "v"]), "OK\n");
    let address = ([127, 0, 0, 1], store.port()).into();
    let metrics = http::get(address, "/metrics").unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(metrics.status, 200);
    python("aetcd", "metrics_text.py", store.port(), &metrics.body);
}
