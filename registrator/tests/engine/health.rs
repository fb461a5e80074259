//! What holds a running container back: the engine's health check, with a check that asks for a
//! file, and a crash loop.

use end_to_end::wait;
use registrator_catalog::record::{Record, State};

use crate::scene::{Container, GENTLE, Running, Scene};

/// Healthy as long as the file is there; the engine looks ten times a second.
const CHECKED: [&str; 6] = [
    "--health-cmd",
    "test -e /healthy",
    "--health-interval",
    "100ms",
    "--health-retries",
    "2",
];

fn checked(scene: &Scene, more: &[&str]) -> Container {
    scene.container(&[&CHECKED[..], more].concat(), GENTLE)
}

fn inside(scene: &Scene, container: &Container, command: &[&str]) {
    let arguments = [&["exec", &container.id, "/bin/busybox"], command].concat();
    let answer = scene.engine.run(&arguments);
    assert!(answer.is_ok(), "{answer:?}");
}

fn reason(agent: &Running, container: &Container, part: &str) {
    let name = container.inspect("{{.Name}}");
    wait::until("the reason", wait::LONG, || {
        let skipped = agent.status().skipped;
        let told = |entry: &registrator::status::Skipped| {
            name.ends_with(&entry.container) && entry.why.contains(part)
        };
        if skipped.iter().any(told) {
            Ok(())
        } else {
            Err(format!("{skipped:?}"))
        }
    });
}

#[test]
fn registered_while_healthy() {
    let scene = Scene::new();
    let agent = scene.agent().ready();
    let container = checked(&scene, &[]);
    reason(&agent, &container, "health check");
    assert_eq!(scene.keys(), []);
    inside(&scene, &container, &["touch", "/healthy"]);
    scene.becomes(&[&container]);
    inside(&scene, &container, &["rm", "/healthy"]);
    scene.becomes(&[]);
    reason(&agent, &container, "its health check fails");
    inside(&scene, &container, &["touch", "/healthy"]);
    scene.becomes(&[&container]);
    container.does(&["restart"]);
    scene.becomes(&[&container]);
    // An agent that comes later finds the result without an event, and has nothing to write.
    let before = scene.revision();
    agent.kill();
    let _agent = scene.agent().ready();
    assert_eq!(scene.events_since(before), []);
}

#[test]
fn labels_decide_for_one_container() {
    let scene = Scene::new();
    let _agent = scene.agent().ready();
    let state_becomes = |want: State| {
        wait::until("the state", wait::LONG, || {
            let keys = scene.keys();
            let states: Vec<State> = keys
                .iter()
                .map(|(_, value)| Record::from_json(value.as_bytes()).unwrap().state)
                .collect();
            if states == [want] {
                Ok(())
            } else {
                Err(format!("{states:?}, want {want}"))
            }
        });
    };
    let marked = checked(&scene, &["--label", "muster.gate=mark"]);
    state_becomes(State::Down);
    inside(&scene, &marked, &["touch", "/healthy"]);
    state_becomes(State::Up);
    drop(marked);
    scene.becomes(&[]);
    let open = checked(&scene, &["--label", "muster.gate=off"]);
    scene.becomes(&[&open]);
    drop(open);
    let slow = [
        "--health-interval",
        "1h",
        "--label",
        "muster.gate.timeout=1s",
    ];
    let slow = checked(&scene, &slow);
    scene.becomes(&[&slow]);
}

#[test]
fn a_crash_loop_is_held_back() {
    let scene = Scene::new();
    let agent = scene.agent().ready();
    let loops = scene.container(&["--restart", "always"], "sleep 0.1; exit 1");
    wait::until("the fault", wait::LONG, || {
        let faults = agent.status().faults;
        let name = loops.inspect("{{.Name}}");
        let held = "held back until it has run for 15 s";
        let told = |fault: &registrator::status::Fault| {
            name.ends_with(&fault.subject) && fault.text.ends_with(held)
        };
        if faults.iter().any(told) {
            Ok(())
        } else {
            Err(format!("{faults:?}"))
        }
    });
    scene.becomes(&[]);
    // Further rounds write nothing.
    let before = scene.revision();
    let rounds = |count: &str| count.parse::<u32>().unwrap_or_default();
    let seen = rounds(&loops.inspect("{{.RestartCount}}"));
    wait::until("another round", wait::LONG, || {
        let count = loops.inspect("{{.RestartCount}}");
        if rounds(&count) > seen {
            Ok(())
        } else {
            Err(count)
        }
    });
    assert_eq!(scene.events_since(before), []);
}

/// The agent's own check, asked often enough for a test.
fn own_check(kind: &str, what: &str) -> Vec<String> {
    let labels = [
        format!("muster.check.{kind}={what}"),
        "muster.check.interval=100ms".to_owned(),
        "muster.check.timeout=5s".to_owned(),
        "muster.check.fall=2".to_owned(),
    ];
    labels
        .into_iter()
        .flat_map(|label| ["--label".to_owned(), label])
        .collect()
}

#[test]
fn the_agent_s_own_checks_decide() {
    let scene = Scene::new();
    let agent = scene.agent().ready();
    let with = |kind, what, script| {
        let labels = own_check(kind, what);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        scene.container(&labels, script)
    };
    // A command inside the container.
    let container = with("exec", "test -e /healthy", GENTLE);
    reason(&agent, &container, "its exec check");
    assert_eq!(scene.keys(), []);
    inside(&scene, &container, &["touch", "/healthy"]);
    scene.becomes(&[&container]);
    let health = Record::from_json(scene.keys()[0].1.as_bytes())
        .unwrap()
        .health;
    assert_eq!(health.unwrap().source, "exec");
    inside(&scene, &container, &["rm", "/healthy"]);
    scene.becomes(&[]);
    reason(
        &agent,
        &container,
        "its exec check fails: the command ended with 1",
    );
    inside(&scene, &container, &["touch", "/healthy"]);
    scene.becomes(&[&container]);
    // An agent that comes later keeps what the former one found, and writes nothing.
    let before = scene.revision();
    agent.kill();
    let agent = scene.agent().ready();
    let newcomer = with("tcp", "true", "exec httpd -f -p 80 -h /");
    scene.becomes(&[&container, &newcomer]);
    let other = &container.id[..12];
    assert!(
        scene
            .events_since(before)
            .iter()
            .all(|(_, key)| !key.contains(other))
    );
    drop(newcomer);
    // Over HTTP, and a server that listens and says no.
    let good = with(
        "http",
        "/healthy",
        "touch /healthy; exec httpd -f -p 80 -h /",
    );
    let bad = with("http", "/nothing", "exec httpd -f -p 80 -h /");
    scene.becomes(&[&container, &good]);
    reason(
        &agent,
        &bad,
        "its http check fails: GET /nothing: 404 Not Found",
    );
    let none = with("grpc", "", GENTLE);
    reason(&agent, &none, "its grpc check fails: connect to");
    let script = with("script", "true", GENTLE);
    scene.becomes(&[&container, &good, &script]);
    wait::until("the fault", wait::LONG, || {
        let faults = format!("{:?}", agent.status().faults);
        if faults.contains("scripts on the host need --allow-scripts") {
            Ok(())
        } else {
            Err(faults)
        }
    });
}
