//! The quickstart from its first command to its last, with an image that needs no network.

use std::process::Command;

use end_to_end::docker::{Engine, OWNER_LABEL, WEB_IMAGE};
use end_to_end::{port, programs};

use crate::script::{Shell, blocks, document, fences};
use crate::{PATIENCE, path_with};

const DOCUMENT: &str = "quickstart.md";

/// The demo's web server as an image whose containers are known to be this process's.
struct Image {
    engine: Engine,
    tag: String,
}

impl Image {
    fn build() -> Self {
        let engine = Engine::of_machine();
        let built = engine.build_web_image();
        built.unwrap_or_else(|reason| panic!("{reason}"));
        let context = tempfile::tempdir().expect("temporary folder");
        let owner = std::process::id();
        let text = format!("FROM {WEB_IMAGE}\nLABEL {OWNER_LABEL}={owner}\n");
        std::fs::write(context.path().join("Dockerfile"), text).expect("write the Dockerfile");
        let tag = format!("muster-quickstart-{owner}");
        let folder = context.path().display().to_string();
        let built = engine.run(&["build", "--quiet", "--tag", &tag, &folder]);
        built.unwrap_or_else(|reason| panic!("{reason}"));
        Self { engine, tag }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let filter = format!("ancestor={}", self.tag);
        let left = self.engine.run(&["ps", "-aq", "--filter", &filter]);
        for id in left.unwrap_or_default().lines() {
            let _ = self.engine.run(&["rm", "--force", id]);
        }
        let _ = self.engine.run(&["rmi", "--force", &self.tag]);
    }
}

/// nginx leaves the shell's process group when it becomes a daemon.
struct Daemon(std::path::PathBuf);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone with the folder when the document has ended it itself.
        let pid = std::fs::read_to_string(&self.0).unwrap_or_default();
        let pid = pid.trim().parse().ok();
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

#[test]
fn every_command_does_what_the_quickstart_says() {
    let image = Image::build();
    let text = document(DOCUMENT);
    let mut shell = Shell::start(&[
        ("PATH", path_with(&[])),
        ("IMAGE", image.tag.clone()),
        ("STORE", format!("http://127.0.0.1:{}", port::free())),
        ("PROXY", format!("127.0.0.1:{}", port::free())),
        (
            "TEMPLATES",
            programs::source().join("templates").display().to_string(),
        ),
    ]);
    let _nginx = Daemon(shell.work().join("muster-tour/nginx/nginx.pid"));
    shell.run_all(DOCUMENT, &blocks(&text, None), PATIENCE);
    let left = std::fs::read_dir(shell.work()).expect("the folder").count();
    assert_eq!(left, 0, "the quickstart leaves something behind");
}

/// What takes minutes is not done again here: the Makefile is asked what it would do.
#[test]
fn the_program_is_built_where_the_quickstart_looks_for_it() {
    let text = document(DOCUMENT);
    let fences = fences(&text);
    let (_, _, commands) = fences
        .iter()
        .find(|(info, ..)| *info == "sh build")
        .expect("a block that builds");
    assert!(commands.starts_with("make build\n"), "{commands}");
    assert!(commands.contains("$PWD/target/release:"), "{commands}");
    let told = Command::new("make")
        .args(["--dry-run", "build"])
        .current_dir(programs::source())
        .output()
        .expect("make runs");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("cargo build --release -p muster"), "{told}");
}
