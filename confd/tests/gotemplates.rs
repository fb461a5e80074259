//! Existing confd set-ups, unmodified: Go templates in the manner of those people run (`gotemplates/*.tmpl`, each with
//! its keys and the text that must come out), and a whole `conf.d/*.toml` with `templates/*.tmpl` run once.
//! `REWRITE=1` writes what comes out; the difference is reviewed like code.

#![expect(clippy::unwrap_used, reason = "a fault in a test ends it")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use confd::backends::Environment;
use confd::engine::{self, CompileOptions, Globals, Sources};
use confd::tree::{Reader, Scope};
use confd::{Agent, Config, Status};
use store_client::mirror::{Entry, Snapshot};

/// Longest wait for the agent's one pass; reached only by a failure.
const LONG: Duration = Duration::from_secs(20);

fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gotemplates");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "tmpl"))
        .collect();
    files.sort();
    files
}

fn snapshot(keys: BTreeMap<String, String>) -> Snapshot {
    let entries = keys.into_iter().map(|(key, value)| {
        let entry = Entry {
            value: Bytes::from(value),
            create_revision: 1,
            mod_revision: 1,
        };
        (Bytes::from(key), entry)
    });
    Snapshot::from_entries(1, entries.collect())
}

#[test]
fn templates_of_the_field_give_their_text() {
    let files = corpus();
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let keys = std::fs::read_to_string(path.with_extension("yaml")).unwrap();
        let keys: BTreeMap<String, String> = serde_yaml::from_str(&keys).unwrap();
        // Names without a slash are the environment.
        let (keys, env): (BTreeMap<_, _>, BTreeMap<_, _>) = keys
            .into_iter()
            .partition(|(name, _)| name.starts_with('/'));
        let globals = Globals {
            env: Arc::new(env),
            ..Globals::default()
        };
        let sources = Sources::from([(name.to_owned(), std::fs::read_to_string(path).unwrap())]);
        let template = engine::for_file(name, None)
            .compile(name, &sources, &CompileOptions { trim_blocks: true })
            .unwrap();
        let reader = Reader::new(snapshot(keys), Scope::new("", &["/".to_owned()]));
        let text = template
            .render(reader, &globals)
            .result
            .unwrap_or_else(|error| panic!("{error} {:?}", error.hint()));
        let golden = path.with_extension("txt");
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(&golden, &text).unwrap();
        }
        assert_eq!(
            text,
            std::fs::read_to_string(&golden).unwrap_or_default(),
            "{}",
            golden.display()
        );
    }
    assert!(files.len() >= 8, "templates are missing");
}

/// A directory as the original's documents describe it.
struct Setup {
    home: tempfile::TempDir,
}

impl Setup {
    fn new(template: &str, reload: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        for name in ["confd/conf.d", "confd/templates", "out"] {
            std::fs::create_dir_all(home.path().join(name)).unwrap();
        }
        let setup = Self { home };
        let (dest, log) = (setup.path("out/app.conf"), setup.path("log"));
        let resource = format!(
            "[template]\nprefix = \"/prod\"\nsrc = \"app.conf.tmpl\"\ndest = \"{}\"\nmode = \"0600\"\n\
             keys = [\n    \"/app\",\n]\ncheck_cmd = \"grep -q listen {{{{.src}}}}\"\n\
             reload_cmd = \"{reload} >> {}\"\n",
            dest.display(),
            log.display()
        );
        std::fs::write(setup.path("confd/conf.d/app.toml"), resource).unwrap();
        std::fs::write(setup.path("confd/templates/app.conf.tmpl"), template).unwrap();
        setup
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// `confd -onetime -backend env` on it. True if everything held.
    async fn onetime(&self) -> (bool, Status) {
        let mut config = Config::new(Vec::new(), self.path("confd"));
        config.onetime = true;
        config.state_dir = Some(self.path("state"));
        let variables = [
            ("PROD_APP_PORT", "8080"),
            ("PROD_APP_UPSTREAM_A", "10.0.0.1:80"),
            ("PROD_APP_UPSTREAM_B", "10.0.0.2:80"),
            ("DEV_APP_PORT", "1"),
        ];
        let backend =
            Environment::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let agent = Agent::start_with(config, Box::new(backend)).await.unwrap();
        let mut status = agent.status();
        let finished = status.wait_for(|status| status.finished.is_some());
        let last = tokio::time::timeout(LONG, finished)
            .await
            .expect("the pass ends")
            .unwrap()
            .clone();
        agent.stop().await;
        (last.finished == Some(true), last)
    }
}

const TEMPLATE: &str = "listen {{getv \"/app/port\"}};\n\
    {{range gets \"/app/upstream/*\"}}server {{base .Key}} {{.Value}};\n{{end}}";

#[tokio::test]
async fn a_set_up_of_confd_runs_once_unmodified() {
    let setup = Setup::new(TEMPLATE, "echo reloaded");
    let (held, status) = setup.onetime().await;
    assert!(held, "{}", status.to_json());
    let dest = setup.path("out/app.conf");
    assert_eq!(
        std::fs::read_to_string(&dest).unwrap(),
        "listen 8080;\nserver a 10.0.0.1:80;\nserver b 10.0.0.2:80;\n"
    );
    let mode = std::fs::metadata(&dest).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let log = || std::fs::read_to_string(setup.path("log")).unwrap();
    assert_eq!(log(), "reloaded\n");
    // What is in sync is not reloaded again.
    assert!(setup.onetime().await.0);
    assert_eq!(log(), "reloaded\n");
}

#[tokio::test]
async fn a_missing_key_fails_the_run_and_keeps_the_old_file() {
    let setup = Setup::new("listen 1;\n{{getv \"/app/none\"}}", "echo reloaded");
    let dest = setup.path("out/app.conf");
    std::fs::write(&dest, "old").unwrap();
    let (held, status) = setup.onetime().await;
    assert!(!held);
    assert_eq!(std::fs::read_to_string(&dest).unwrap(), "old");
    assert!(!setup.path("log").exists());
    let told = status.to_json();
    let wanted = "template app.conf.tmpl:2:3: error calling getv: key does not exist: /app/none";
    assert!(told.contains(wanted), "{told}");
}

#[tokio::test]
async fn a_check_that_says_no_keeps_the_old_file() {
    let setup = Setup::new("port {{getv \"/app/port\"}}", "echo reloaded");
    let dest = setup.path("out/app.conf");
    std::fs::write(&dest, "old").unwrap();
    assert!(!setup.onetime().await.0);
    assert_eq!(std::fs::read_to_string(&dest).unwrap(), "old");
    assert!(!setup.path("log").exists());
}
