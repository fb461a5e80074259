//! `muster services`, `muster agents` and `muster status` over real agents, with our store and with an etcd: what they
//! show once, as JSON, and while it changes.

use std::process::{Command, Output};
use std::time::Duration;

use end_to_end::agents::Agent;
use end_to_end::confdir::Confdir;
use end_to_end::process::{Process, Signal, on_terminal};
use end_to_end::store::{Maker, Store};
use end_to_end::wait;
use serde_json::Value;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
/// 60 s: an agent says what changed every few seconds, and a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

fn muster(endpoint: &str, words: &[&str]) -> Command {
    let mut command = Command::new(MUSTER);
    // A member that is slow is no member that is away.
    command.env_clear().args(words).args([
        "--endpoints",
        endpoint,
        "--command-timeout",
        "20s",
        "--dial-timeout",
        "20s",
    ]);
    command
}

fn output(endpoint: &str, words: &[&str]) -> Output {
    muster(endpoint, words).output().expect("muster runs")
}

fn text(endpoint: &str, words: &[&str]) -> String {
    let output = output(endpoint, words);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(endpoint: &str, words: &[&str]) -> Value {
    let words = [words, &["--json"]].concat();
    let text = text(endpoint, &words);
    serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{cause}: {text}"))
}

/// A registrator without an engine that registers one instance of `web`.
fn registrator(folder: &std::path::Path, endpoint: &str) -> Process {
    let services = folder.join("services.yaml");
    std::fs::write(
        &services,
        "services:\n  - {name: web, address: 10.0.0.9, port: 80}\n",
    )
    .expect("written");
    let mut command = Command::new(MUSTER);
    command
        .args(["registrator", "--docker-host", "none", "--node", "n1"])
        .args(["--on-stop", "revoke", "--endpoints", endpoint, "--services"])
        .arg(services);
    Process::spawn("registrator", &mut command)
}

#[test]
fn services_agents_and_the_store_are_shown_whoever_made_it() {
    for maker in [Maker::Muster(MUSTER.into()), Maker::Etcd] {
        let store = Store::start(maker);
        let endpoint = store.endpoint();
        let confdir = Confdir::new();
        confdir.add("good", "/app", "{{ getv(key='/app/a') }}", "");
        confdir.add("bad", "/app", "x", "check_cmd: 'false'");
        let _ = store.client().run(&["put", "/app/a", "1"]);

        let mut live = Process::spawn(
            "muster services --watch",
            &mut muster(&endpoint, &["services", "--watch"]),
        );
        let mut objects = Process::spawn(
            "muster agents --watch",
            &mut muster(&endpoint, &["agents", "--watch", "--json"]),
        );
        let mut registrator = registrator(confdir.path(), &endpoint);
        let name = ["--status-name", "n1"];
        let mut confd = Agent::confd(MUSTER, confdir.path(), &endpoint)
            .with(&name)
            .started();
        live.wait_line("+ web up 10.0.0.9:80", PATIENCE);
        objects.wait_line(r#"{"change":"added","agent":"registrator""#, PATIENCE);

        let agents = wait::until("both agents with what they keep", PATIENCE, || {
            let agents = json(&endpoint, &["agents", "n1"]);
            let of = |agent: &str| {
                let mut all = agents.as_array().into_iter().flatten();
                all.find(|one| one["agent"] == agent).cloned()
            };
            let (Some(registrator), Some(confd)) = (of("registrator"), of("confd")) else {
                return Err(agents.to_string());
            };
            let failed = &confd["resources"][0]["failure"]["step"];
            let done = registrator["instances"] == 1
                && registrator["pending"] == 0
                && failed == "check"
                && confd["resources"][1]["state"] == "current";
            if done {
                Ok((registrator, confd))
            } else {
                Err(agents.to_string())
            }
        });
        let (registrar, renderer) = agents;
        assert_eq!(registrar["program"], env!("CARGO_PKG_VERSION"));
        assert!(registrar["revision"].as_i64() > Some(1), "{registrar}");
        assert_eq!(renderer["resources"].as_array().map(Vec::len), Some(2));
        assert!(
            renderer["resources"][1]["revision"].as_i64() > Some(1),
            "{renderer}"
        );
        let page = text(&endpoint, &["agents"]);
        for part in ["NODE", "registrator", "2 files, 1 failing", "check for"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains('\x1b'), "no colours in a pipe: {page:?}");

        let services = json(&endpoint, &["services", "web"]);
        assert_eq!(services[0]["record"]["node"], "n1", "{services}");
        assert_eq!(services[0]["state"], "up", "{services}");
        assert_eq!(json(&endpoint, &["services", "db"]), Value::Array(vec![]));
        let page = text(&endpoint, &["services"]);
        assert!(page.ends_with("1 services, 1 instances: 1 up\n"), "{page}");

        let _ = store.client().run(&["compaction", "2"]);
        let status = json(&endpoint, &["status"]);
        assert_eq!(
            (&status["well"], &status["compacted_revision"]),
            (&Value::Bool(true), &Value::from(1)),
            "{status}"
        );
        assert_eq!(status["members"][0]["role"], "leader", "{status}");
        // One of the registrator's, one of confd's.
        assert_eq!(status["leases"]["count"], 2, "{status}");
        let page = text(&endpoint, &["status"]);
        assert!(page.contains("kept from 2 on"), "{page}");

        // Those that stop in order take their words along.
        confd.stop();
        objects.wait_line(r#"{"change":"removed","agent":"confd""#, PATIENCE);
        registrator.signal(Signal::TERM);
        live.wait_line("- web up 10.0.0.9:80", PATIENCE);
        objects.wait_line(r#"{"change":"removed","agent":"registrator""#, PATIENCE);
        let page = text(&endpoint, &["agents"]);
        assert!(page.starts_with("no agents: "), "{page}");
        live.kill();
        objects.kill();
    }
}

#[test]
fn agents_that_are_told_to_say_nothing_say_nothing() {
    let store = Store::start(Maker::Muster(MUSTER.into()));
    let endpoint = store.endpoint();
    let confdir = Confdir::new();
    confdir.add("one", "/app", "x", "");
    let mut silent = Agent::confd(MUSTER, confdir.path(), &endpoint)
        .with(&["--publish-status=false"])
        .started();
    confdir.becomes("one", "x");
    // Whoever speaks would have done so long before this one.
    let mut speaking = registrator(confdir.path(), &endpoint);
    wait::until("a registrator that speaks", PATIENCE, || {
        match json(&endpoint, &["agents"]).as_array() {
            Some(agents) if agents.len() == 1 && agents[0]["agent"] == "registrator" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    speaking.signal(Signal::TERM);
    silent.stop();
}

/// One instance of the service `s`.
fn record(state: &str) -> String {
    let record = r#"{"version":1,"id":"i","instance":"i","name":"s","node":"n","address":"10.0.0.1","addresses":[{"address":"10.0.0.1","family":"ipv4"}],"port":1,"proto":"tcp","port_name":"1","weight":1,"priority":1,"state":"up","tags":[],"meta":{},"updated_at":"2026-11-20T04:48:44.123Z"}"#;
    record.replace(r#""state":"up""#, &format!(r#""state":"{state}""#))
}

/// On a terminal (that of script(1)) the page is drawn over the one before, in the lines there are.
#[test]
fn a_page_is_drawn_anew_on_a_terminal() {
    let store = Store::start(Maker::Muster(MUSTER.into()));
    let endpoint = store.endpoint();
    let shown = |name: &str| {
        on_terminal(&format!(
            "stty rows 6 cols 100; exec {MUSTER} {name} --watch --endpoints {endpoint} --dial-timeout 20s"
        ))
    };
    let mut coloured = Process::spawn("services --watch", shown("services").env_remove("NO_COLOR"));
    let mut plain = Process::spawn("without colours", shown("services").env("NO_COLOR", "1"));
    let _ = store.client().run(&["put", "/services/s/i", &record("up")]);
    for live in [&mut coloured, &mut plain] {
        live.wait_line("10.0.0.1:1", PATIENCE);
    }
    // More than there is room for.
    for number in 0..9 {
        let other = record("draining").replace(r#""i""#, &format!(r#""i{number}""#));
        let _ = store
            .client()
            .run(&["put", &format!("/services/s/i{number}"), &other]);
    }
    for live in [&mut coloured, &mut plain] {
        live.wait_line("more lines", PATIENCE);
        live.wait_line("draining", PATIENCE);
        let lines = live.lines();
        // Home again, behind what was cleared below the page before.
        assert!(
            lines.iter().any(|line| line.contains("\x1b[J\x1b[H")),
            "{lines:?}"
        );
    }
    let painted = |process: &Process| process.lines().iter().any(|line| line.contains("\x1b[3"));
    assert!(painted(&coloured), "{:?}", coloured.lines());
    assert!(!painted(&plain), "{:?}", plain.lines());
    for mut live in [coloured, plain] {
        live.signal(Signal::TERM);
        live.wait_exit(PATIENCE);
    }
}

#[test]
fn a_store_that_is_away_is_told_in_a_line() {
    let mut store = Store::start(Maker::Muster(MUSTER.into()));
    let endpoint = store.endpoint();
    let mut live = Process::spawn(
        "muster services --watch",
        &mut muster(&endpoint, &["services", "--watch", "--json"]),
    );
    let _ = store.client().run(&["put", "/services/s/i", &record("up")]);
    live.wait_line(r#"{"change":"added","service":"s""#, PATIENCE);
    store.kill();
    live.wait_line("trying again", PATIENCE);
    let short = ["--command-timeout", "1s", "--dial-timeout", "1s"];
    for name in ["services", "agents", "status"] {
        let mut command = Command::new(MUSTER);
        command.env_clear().arg(name).args(short);
        let output = command.args(["--endpoints", &endpoint]).output();
        let output = output.expect("muster runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("Error: context deadline exceeded\nhint: "),
            "{said}"
        );
        assert_eq!(output.stdout, b"", "{said}");
    }
    store.restart();
    let gone = store.client();
    let _ = gone.run(&["del", "/services/s/i"]);
    live.wait_line(r#"{"change":"removed","service":"s""#, PATIENCE);
    live.kill();
}
