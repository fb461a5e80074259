//! The registrator on a real Docker engine: whatever happens to containers and to the agent itself, the store comes to
//! say what runs. Each test runs against our store and against a real etcd.

use std::path::PathBuf;

use end_to_end::agents::{Agent, TTL_SECONDS};
use end_to_end::complaint::Complaint;
use end_to_end::docker::{Container, Engine, Spec};
use end_to_end::fake_engine::{self, FakeEngine};
use end_to_end::registry::Service;
use end_to_end::store::{Maker, Store};
use end_to_end::{wait, web};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// One store, one service nobody else uses, and the machine's engine.
struct Scene {
    store: Store,
    engine: Engine,
    service: Service,
}

impl Scene {
    fn new(maker: Maker) -> Self {
        let store = Store::start(maker);
        let service = Service::new(store.client());
        Self {
            store,
            engine: Engine::of_machine(),
            service,
        }
    }

    fn agent(&self) -> Agent {
        Agent::registrator(MUSTER, &self.engine, &self.store.endpoint())
    }

    fn web(&self) -> Container {
        web::start(&self.engine, self.service.name())
    }

    fn web_with(&self, change: impl FnOnce(Spec) -> Spec) -> Container {
        web::start_with(&self.engine, &change(Spec::web(self.service.name())))
    }
}

/// Runs a test against both stores.
fn on_both(test: impl Fn(&Scene)) {
    for maker in [Maker::Muster(PathBuf::from(MUSTER)), Maker::Etcd] {
        test(&Scene::new(maker));
    }
}

#[test]
fn containers_started_before_during_and_after_the_first_sync_are_registered() {
    on_both(|scene| {
        let before = scene.web();
        let mut agent = scene.agent();
        let during = std::thread::scope(|scope| {
            let starting = scope.spawn(|| (0..3).map(|_| scene.web()).collect::<Vec<_>>());
            agent.start();
            starting.join().expect("containers")
        });
        let mut all: Vec<&Container> = during.iter().collect();
        all.push(&before);
        scene.service.becomes(&all);
        let after = scene.web();
        all.push(&after);
        scene.service.becomes(&all);
    });
}

#[test]
fn killed_stopped_and_removed_containers_leave_and_restarted_ones_return() {
    on_both(|scene| {
        let _agent = scene.agent().started();
        let stays = scene.web();
        for verb in [&["kill"][..], &["stop", "--time=0"], &["rm", "--force"]] {
            let goes = scene.web();
            scene.service.becomes(&[&stays, &goes]);
            goes.does(verb);
            scene.service.becomes(&[&stays]);
        }
        stays.does(&["restart", "--time=0"]);
        scene.service.becomes(&[&stays]);
        stays.does(&["stop", "--time=0"]);
        scene.service.becomes(&[]);
        stays.does(&["start"]);
        scene.service.becomes(&[&stays]);
    });
}

#[test]
fn a_paused_container_is_not_offered_and_comes_back() {
    on_both(|scene| {
        let _agent = scene.agent().started();
        let container = scene.web();
        scene.service.becomes(&[&container]);
        container.does(&["pause"]);
        // Gone, or marked as not up: either way nobody is sent there.
        wait::until("the paused container not to be offered", wait::LONG, || {
            let records = scene.service.records()?;
            if records
                .iter()
                .all(|(_, value)| !value.contains("\"state\":\"up\""))
            {
                Ok(())
            } else {
                Err(format!("{records:?}"))
            }
        });
        container.does(&["unpause"]);
        wait::until("the container to be offered again", wait::LONG, || {
            let records = scene.service.records()?;
            if records
                .iter()
                .any(|(_, value)| value.contains("\"state\":\"up\""))
            {
                Ok(())
            } else {
                Err(format!("{records:?}"))
            }
        });
    });
}

#[test]
fn a_crash_loop_ends_in_the_truth() {
    on_both(|scene| {
        let _agent = scene.agent().started();
        let container =
            scene.web_with(|spec| spec.env("CRASH_MS", "100").option("--restart=always"));
        wait::until("a few crashes", wait::LONG, || {
            let count = container.inspect("{{.RestartCount}}")?;
            if count.parse::<u32>().is_ok_and(|count| count >= 4) {
                Ok(())
            } else {
                Err(count)
            }
        });
        container.does(&["stop", "--time=0"]);
        scene.service.becomes(&[]);
    });
}

#[test]
fn an_agent_killed_and_started_again_changes_nothing_that_did_not_change() {
    on_both(|scene| {
        let mut agent = scene.agent().started();
        let first = scene.web();
        let second = scene.web();
        scene.service.becomes(&[&first, &second]);
        let watch = scene.service.watch();
        agent.kill();
        agent.start();
        // It is back when it registers what is new; another service's container, so that this one stays untouched.
        let other = Service::new(scene.store.client());
        let newcomer = web::start(&scene.engine, other.name());
        other.becomes(&[&newcomer]);
        // Longer than the lease would have lived without anybody to keep it alive.
        let span = std::time::Duration::from_secs(u64::from(TTL_SECONDS) + 3);
        wait::stays("no event for containers that did not change", span, || {
            watch.holds()
        });
        scene.service.becomes(&[&first, &second]);
    });
}

#[test]
fn what_happened_while_the_agent_was_away_is_caught_up() {
    on_both(|scene| {
        let mut agent = scene.agent().started();
        let stays = scene.web();
        let goes = scene.web();
        scene.service.becomes(&[&stays, &goes]);
        agent.kill();
        goes.does(&["rm", "--force"]);
        let comes = scene.web();
        agent.start();
        scene.service.becomes(&[&stays, &comes]);
    });
}

#[test]
fn an_agent_that_stays_away_loses_its_keys_after_the_ttl() {
    on_both(|scene| {
        let mut agent = scene.agent().started();
        let container = scene.web();
        scene.service.becomes(&[&container]);
        agent.kill();
        // etcd's lessor adds up to a second or two of its own.
        scene.service.becomes(&[]);
        agent.start();
        scene.service.becomes(&[&container]);
    });
}

#[test]
fn an_agent_told_to_stop_ends_well() {
    on_both(|scene| {
        let mut agent = scene.agent().started();
        let container = scene.web();
        scene.service.becomes(&[&container]);
        agent.stop();
    });
}

#[test]
fn a_container_without_ports_is_left_alone_and_disturbs_nobody() {
    on_both(|scene| {
        let mut agent = scene.agent().started();
        // The image exposes 8080; host networking leaves it without an address of its own.
        let without = scene.web_with(|spec| spec.option("--network=none"));
        let with = scene.web();
        scene.service.becomes(&[&with]);
        drop(without);
        assert!(agent.process().exited().is_none());
    });
}

#[test]
fn two_containers_with_one_name_are_two_instances_of_one_service() {
    on_both(|scene| {
        let _agent = scene.agent().started();
        let containers: Vec<Container> = (0..3).map(|_| scene.web()).collect();
        scene
            .service
            .becomes(&containers.iter().collect::<Vec<_>>());
        let records = scene.service.records().unwrap();
        let addresses: std::collections::BTreeSet<_> = records
            .iter()
            .map(|(_, value)| record(value)["address"].to_string())
            .collect();
        assert_eq!(addresses.len(), 3, "{records:?}");
    });
}

fn record(value: &str) -> serde_json::Value {
    serde_json::from_str(value).unwrap_or_else(|cause| panic!("{cause}: {value}"))
}

#[test]
fn values_with_quotes_and_newlines_arrive_whole() {
    on_both(|scene| {
        let _agent = scene.agent().started();
        let awkward = "say \"hi\"\nthen {{ leave }} \\ and ünïcödé";
        let container = scene.web_with(|spec| {
            spec.label("SERVICE_AWKWARD", awkward)
                .label("SERVICE_TAGS", "a,b \"c\"")
        });
        scene.service.becomes(&[&container]);
        let (_, value) = scene.service.records().unwrap().remove(0);
        let record = record(&value);
        assert_eq!(
            record["meta"]["AWKWARD"]
                .as_str()
                .or(record["meta"]["awkward"].as_str()),
            Some(awkward),
            "{value}"
        );
        assert_eq!(
            record["tags"],
            serde_json::json!(["a", "b \"c\""]),
            "{value}"
        );
    });
}

#[test]
fn the_layout_of_registrator_writes_address_and_port() {
    on_both(|scene| {
        let _agent = scene.agent().with(&["--layout", "registrator"]).started();
        let container = scene.web();
        let expected = format!("{}:8080", container.address());
        wait::until("a key with address and port", wait::LONG, || {
            let client = scene.store.client();
            let all = client.keys("/")?;
            for key in all.iter().filter(|key| key.contains(scene.service.name())) {
                if client.value(key)?.as_deref() == Some(expected.as_str()) {
                    return Ok(());
                }
            }
            Err(format!("{all:?}"))
        });
    });
}

#[test]
fn a_store_that_comes_late_or_goes_and_returns_is_waited_for() {
    let mut store = Store::prepare(Maker::Muster(PathBuf::from(MUSTER)));
    let engine = Engine::of_machine();
    let service = Service::new(store.client());
    let mut agent = Agent::registrator(MUSTER, &engine, &store.endpoint()).started();
    let first = web::start(&engine, service.name());
    store.restart();
    service.becomes(&[&first]);
    store.kill();
    let second = web::start(&engine, service.name());
    first.does(&["kill"]);
    assert!(agent.process().exited().is_none());
    store.restart();
    service.becomes(&[&second]);
}

#[test]
fn a_docker_socket_that_is_not_there_is_waited_for() {
    let store = Store::start(Maker::Muster(PathBuf::from(MUSTER)));
    let folder = tempfile::tempdir().expect("temporary folder");
    let socket = folder.path().join("docker.sock");
    let service = Service::new(store.client());
    let container = web::start(&Engine::of_machine(), service.name());
    let absent = Engine::at(format!("unix://{}", socket.display()));
    let mut agent = Agent::registrator(MUSTER, &absent, &store.endpoint()).started();
    agent
        .process()
        .wait_line(&socket.display().to_string(), wait::LONG);
    // The engine appears: a link to the machine's own socket is one.
    let real = Engine::of_machine().address();
    std::os::unix::fs::symlink(real.trim_start_matches("unix://"), &socket).expect("link");
    service.becomes(&[&container]);
}

#[test]
fn gliderlabs_command_line_writes_gliderlabs_keys() {
    on_both(|scene| {
        let folder = tempfile::tempdir().expect("temporary folder");
        let link = folder.path().join("registrator");
        std::os::unix::fs::symlink(MUSTER, &link).expect("link");
        let endpoint = scene.store.endpoint();
        let host = endpoint.trim_start_matches("http://");
        let mut command = std::process::Command::new(&link);
        command
            .env("DOCKER_HOST", scene.engine.address())
            .args([
                "-internal",
                "-ttl",
                "20",
                "-ttl-refresh=5",
                "-resync",
                "0",
                "-cleanup",
            ])
            .args([
                "-deregister",
                "always",
                "-retry-attempts",
                "-1",
                "-tags",
                "a,b",
            ])
            .arg(format!("etcd://{host}/compat"));
        let container = web::start_with(
            &scene.engine,
            &Spec::web(scene.service.name()).env("SERVICE_8080_TCP_REGION", "eu"),
        );
        let node = scene
            .engine
            .run(&["info", "--format", "{{.Name}}"])
            .unwrap();
        let name = container.inspect("{{.Name}}").unwrap();
        let client = scene.store.client();
        // What upstream left, and what only looks like it: on a lease, with another value, of another host, elsewhere.
        let lease = client.run(&["lease", "grant", "600"]);
        let lease = format!("--lease={}", lease.split(' ').nth(1).expect("an id"));
        let left = format!("/compat/gone/{node}:gone:80");
        let container_name = name.trim_start_matches('/');
        let service = scene.service.name();
        let key = format!("/compat/{service}/{node}:{container_name}:8080");
        let _ = client.run(&["put", &left, "10.0.0.9:80"]);
        let _ = client.run(&["put", &key, "10.0.0.9:80"]);
        let others = [
            format!("/compat/gone/{node}:leased:80"),
            format!("/compat/gone/{node}:said:80"),
            format!("/compat/gone/other-{node}:gone:80"),
            "/compat/gone/chosen".to_owned(),
            format!("/elsewhere/gone/{node}:gone:80"),
        ];
        let _ = client.run(&["put", &lease, &others[0], "10.0.0.9:80"]);
        let _ = client.run(&["put", &others[1], "see 10.0.0.9:80"]);
        for other in &others[2..] {
            let _ = client.run(&["put", other, "10.0.0.9:80"]);
        }
        let _agent = end_to_end::process::Process::spawn("registrator", &mut command);
        let value = format!("{}:8080", container.address());
        wait::until("upstream's key", wait::LONG, || {
            let client = scene.store.client();
            match client.value(&key)? {
                Some(found) if found == value => Ok(()),
                other => Err(format!(
                    "{key} is {other:?}; {:?}",
                    client.keys("/compat/")?
                )),
            }
        });
        wait::until("what was left to go", wait::LONG, || {
            match client.value(&left)? {
                None => Ok(()),
                Some(_) => Err(left.clone()),
            }
        });
        for other in &others {
            assert!(client.value(other).unwrap().is_some(), "{other} went");
        }
        container.does(&["kill"]);
        wait::until("the key to go", wait::LONG, || {
            match scene.store.client().value(&key)? {
                None => Ok(()),
                Some(_) => Err(key.clone()),
            }
        });
    });
}

#[test]
fn a_second_agent_for_one_node_stands_by() {
    on_both(|scene| {
        let mut first = scene.agent().started();
        let container = scene.web();
        scene.service.becomes(&[&container]);
        let watch = scene.service.watch();
        let mut second = scene.agent().started();
        let says = "another agent speaks for node here";
        second.process().wait_line(says, wait::LONG);
        // It writes nothing and takes nothing away, also when the first one goes on working.
        let newcomer = scene.web();
        scene.service.becomes(&[&container, &newcomer]);
        assert_eq!(watch.events().len(), 1, "{:?}", watch.events());
        // When the first one dies, the second follows without anybody having asked it to.
        first.kill();
        let third = scene.web();
        scene.service.becomes(&[&container, &newcomer, &third]);
        assert_eq!(watch.events().len(), 2, "{:?}", watch.events());
        // A third one takes over because it was told to; the second then stands by.
        let mut heir = scene.agent().with(&["--takeover"]).started();
        heir.process()
            .wait_line("taking over from process", wait::LONG);
        drop(third);
        second
            .process()
            .wait_line("has taken over this node", wait::LONG);
        scene.service.becomes(&[&container, &newcomer]);
        assert_eq!(watch.events().len(), 3, "{:?}", watch.events());
    });
}

/// What a verb prints and its exit status, with the scene's own flags.
fn asked(scene: &Scene, words: &[&str]) -> (String, i32) {
    let mut command = scene.agent().with(words).command();
    let output = command.output().expect("run a verb");
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8(text).expect("text");
    (text, output.status.code().expect("a status"))
}

#[test]
fn verbs_tell_what_is_and_what_would_be() {
    let scene = Scene::new(Maker::Muster(PathBuf::from(MUSTER)));
    let container = scene.web_with(|spec| spec.label("muster.nmae", "x"));
    let name = container.inspect("{{.Name}}").unwrap();
    let name = name.trim_start_matches('/');
    let (text, status) = asked(&scene, &["plan"]);
    let key = format!(
        "/services/{}/here-{}-8080",
        scene.service.name(),
        container.short_id()
    );
    assert!(
        status == 2 && text.contains(&format!("+ {key} = {{")),
        "{status}: {text}"
    );
    let _agent = scene.agent().started();
    scene.service.becomes(&[&container]);
    // Others' containers may come and go; this one is as it should be.
    let (text, _) = asked(&scene, &["plan"]);
    assert!(!text.contains(&key), "{text}");
    let (text, status) = asked(&scene, &["explain", name]);
    assert_eq!(status, 0, "{text}");
    for part in [
        "name from SERVICE_NAME",
        "its own address on network",
        &format!("key {key}: in the store"),
        "warning: label muster.nmae: is unknown; did you mean name?",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let (text, status) = asked(&scene, &["explain", container.short_id(), "--json"]);
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        told["ports"][0]["keys"][0]["same"], true,
        "{status}: {text}"
    );
    let (text, status) = asked(&scene, &["lint", name]);
    assert!(
        status == 1 && text.contains("did you mean name?"),
        "{status}: {text}"
    );
    let (text, status) = asked(&scene, &["list"]);
    assert!(status == 0 && text.contains(&key), "{status}: {text}");
    let (text, status) = asked(&scene, &["doctor"]);
    assert!(
        status == 0 && text.contains("ok     engine") && text.contains("ok     agent"),
        "{status}: {text}"
    );
    let (text, status) = asked(&scene, &["explain", "nobody-has-this-name"]);
    assert!(
        status == 1 && text.contains("there is no container"),
        "{status}: {text}"
    );
    let (text, status) = asked(&scene, &["explian", "x"]);
    assert!(
        status == 2 && text.contains("did you mean explain?"),
        "{status}: {text}"
    );
}

/// What `muster registrator` prints with these words, and its exit status.
fn said(words: &[&str]) -> (String, i32) {
    let mut command = std::process::Command::new(MUSTER);
    let output = command.arg("registrator").args(words).output();
    let output = output.expect("run a verb");
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8(text).expect("text");
    (text, output.status.code().expect("a status"))
}

#[test]
fn verbs_speak_for_all_engines() {
    let scene = Scene::new(Maker::Muster(PathBuf::from(MUSTER)));
    let near = scene.engine.address();
    // The same engine by another path is another engine to the agent.
    let folder = tempfile::tempdir().expect("temporary folder");
    let far = folder.path().join("far.sock");
    std::os::unix::fs::symlink(near.trim_start_matches("unix://"), &far).expect("link");
    let engines = format!("near={near},far=unix://{}", far.display());
    let endpoint = scene.store.endpoint();
    let settings = [
        "--docker-host",
        &engines,
        "--endpoints",
        &endpoint,
        "--internal",
    ];
    let ask = |words: &[&str]| said(&[&settings[..], words].concat());
    let container = scene.web();
    let id = container.short_id();
    let keys =
        ["near", "far"].map(|node| format!("/services/{}/{node}-{id}-8080", scene.service.name()));
    let (text, status) = ask(&["plan"]);
    assert!(
        status == 2
            && keys
                .iter()
                .all(|key| text.contains(&format!("+ {key} = {{"))),
        "{status}: {text}"
    );
    let mut command = std::process::Command::new(MUSTER);
    command
        .arg("registrator")
        .args(settings)
        .args(["--ttl", "5"]);
    let _agent = end_to_end::process::Process::spawn("registrator", &mut command);
    let settings = [&settings[..], &["--ttl", "5"]].concat();
    let ask = |words: &[&str]| said(&[&settings[..], words].concat());
    wait::until("both nodes' keys", wait::LONG, || {
        let (text, status) = ask(&["list"]);
        if status == 0 && keys.iter().all(|key| text.contains(key)) {
            Ok(())
        } else {
            Err(text)
        }
    });
    let (text, _) = ask(&["plan"]);
    assert!(!text.contains(id), "{text}");
    let (text, status) = ask(&["doctor"]);
    let nodes = ["ok     node       near", "ok     node       far"];
    assert!(
        status == 0 && nodes.iter().all(|node| text.contains(node)),
        "{status}: {text}"
    );
    let (text, status) = ask(&["explain", id]);
    assert!(
        status == 0 && text.contains("in the store"),
        "{status}: {text}"
    );
}

#[test]
fn verbs_read_other_registries() {
    let engine = Engine::of_machine();
    let consul = end_to_end::consul::Consul::start();
    let zookeeper = end_to_end::zookeeper::ZooKeeper::start();
    let name = format!("t{}-others", std::process::id());
    let container = web::start_with(&engine, &Spec::web(&name));
    for (registry, layout) in [
        (format!("consul://{}", consul.address()), "consul"),
        (
            format!("consulkv://{}/kept", consul.address()),
            "registrator",
        ),
        (
            format!("zookeeper://{}/base", zookeeper.address()),
            "zookeeper",
        ),
    ] {
        let host = engine.address();
        let registry = format!("--registry={registry}");
        let settings = [
            registry.as_str(),
            "--docker-host",
            &host,
            "--internal",
            "--node",
            "here",
            "--ttl",
            "10s",
        ];
        let ask = |words: &[&str]| said(&[&settings[..], words].concat());
        let (text, status) = ask(&["plan"]);
        assert!(status == 2 && text.contains(&name), "{status}: {text}");
        let mut command = std::process::Command::new(MUSTER);
        command
            .arg("registrator")
            .args(settings)
            .args(["--on-stop", "revoke"]);
        let mut agent = end_to_end::process::Process::spawn("registrator", &mut command);
        let at = format!("{}:8080", container.address());
        wait::until("the registry to have it", wait::LONG, || {
            let (text, status) = ask(&["list", "--json"]);
            let rows: serde_json::Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
            let row = rows
                .as_array()
                .and_then(|rows| rows.iter().find(|row| row["service"] == name.as_str()));
            match row {
                Some(row)
                    if status == 0 && row["address"] == at.as_str() && row["layout"] == layout =>
                {
                    Ok(())
                }
                _ => Err(text),
            }
        });
        let (text, _) = ask(&["plan"]);
        assert!(!text.contains(&name), "{registry}: {text}");
        let (text, status) = ask(&["explain", container.short_id(), "--json"]);
        let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            told["ports"][0]["keys"][0]["same"], true,
            "{status}: {text}"
        );
        let (text, status) = ask(&["doctor"]);
        assert!(
            status == 0 && text.contains("ok     registry   "),
            "{status}: {text}"
        );
        let offered = || ask(&["list"]).0.contains(&name);
        let becomes = |what: &str, wanted: bool| {
            wait::until(what, wait::LONG, || match offered() {
                is if is == wanted => Ok(()),
                _ => Err(ask(&["overrides"]).0),
            });
        };
        let (text, status) = ask(&["drain", container.short_id(), "--wait", "--reason", "me"]);
        assert!(status == 0 && text.contains("out of traffic"), "{text}");
        assert!(!offered(), "{registry}: drained and offered");
        let (text, _) = ask(&["overrides"]);
        assert!(
            text.contains("draining") && text.contains("me"),
            "{registry}: {text}"
        );
        let (text, status) = ask(&["undrain", container.short_id()]);
        assert!(status == 0, "{registry}: {text}");
        becomes("it to be back", true);
        assert_eq!(ask(&["overrides"]).0, "", "{registry}");
        // What is said for a time ends by itself.
        if layout != "consul" {
            let (text, status) = ask(&["maintenance", "node/here", "--for", "8s", "--wait"]);
            assert!(status == 0, "{registry}: {text}");
            becomes("it to be back when that is over", true);
        }
        agent.signal(end_to_end::process::Signal::TERM);
        agent.wait_exit(wait::LONG);
    }
}

#[test]
fn a_drained_container_leaves_waits_and_stops() {
    on_both(|scene| {
        let layouts = &["--layout", "native,registrator=/compat"];
        let _agent = scene.agent().with(layouts).started();
        let stays = scene.web();
        let goes = scene.web_with(|spec| spec.label("muster.drain.delay", "200ms"));
        scene.service.becomes(&[&stays, &goes]);
        let name = goes.inspect("{{.Name}}").unwrap();
        let name = name.trim_start_matches('/');
        let compat = format!("/compat/{}/", scene.service.name());
        let offered = || scene.store.client().keys(&compat).expect("keys").len();
        let verb = |words: &[&str]| {
            let (text, status) = asked(scene, &[&layouts[..], words].concat());
            assert_eq!(status, 0, "{text}");
            text
        };
        verb(&["drain", name, "--wait", "--reason", "a test"]);
        assert_eq!(offered(), 1);
        let states = |want: &str| {
            let records = scene.service.records().expect("records");
            let states: Vec<String> = records
                .iter()
                .map(|(_, value)| record(value)["state"].to_string())
                .collect();
            assert!(states.contains(&format!("{want:?}")), "{states:?}");
        };
        states("draining");
        assert!(verb(&["overrides"]).contains("a test"));
        // It holds over a restart of the container.
        goes.does(&["restart", "--time=0"]);
        scene.service.becomes(&[&stays, &goes]);
        states("draining");
        assert_eq!(offered(), 1);
        verb(&["undrain", name]);
        wait::until("both to be offered", wait::LONG, || match offered() {
            2 => Ok(()),
            other => Err(other.to_string()),
        });
        // A whole service, for a while.
        let service = format!("service/{}", scene.service.name());
        verb(&["maintenance", &service, "--wait", "--for", "2s"]);
        states("maintenance");
        wait::until(
            "the maintenance to end by itself",
            wait::LONG,
            || match offered() {
                2 => Ok(()),
                other => Err(other.to_string()),
            },
        );
        verb(&["weight", name, "7"]);
        wait::until("the weight", wait::LONG, || {
            let records = scene.service.records()?;
            let found = records
                .iter()
                .any(|(_, value)| record(value)["weight"] == 7);
            if found {
                Ok(())
            } else {
                Err(format!("{records:?}"))
            }
        });
        let text = verb(&["drain", name, "--then", "stop"]);
        assert!(text.contains("stopped after"), "{text}");
        scene.service.becomes(&[&stays]);
        assert_eq!(goes.inspect("{{.State.Status}}").unwrap(), "exited");
        goes.does(&["start"]);
        scene.service.becomes(&[&stays, &goes]);
        assert_eq!(offered(), 2);
    });
}

/// 11 MiB for what a thousand containers and the agent itself take, in a build without optimisation, whose own tables are
/// larger. A release takes 7, and with the program's text stays below 20.
const ALLOCATED_KIB_MAX: u64 = 11 << 10;

#[test]
fn a_thousand_containers_take_little_memory() {
    const CONTAINERS: usize = 1_000;
    let store = Store::start(Maker::Muster(PathBuf::from(MUSTER)));
    let service = Service::new(store.client());
    let fake = FakeEngine::start();
    for number in 0..CONTAINERS {
        let id = format!("{number:012x}{:052x}", 0);
        let address = format!("10.9.{}.{}", number / 250, number % 250 + 1);
        let name = format!("web-{number}");
        let mut found = fake_engine::container(&id, &name, &address, None);
        found["Config"]["Labels"] = serde_json::json!({
            "SERVICE_NAME": service.name(), "SERVICE_TAGS": "blue,eu", "com.docker.compose.project": "crowd",
            "com.docker.compose.service": name, "com.docker.compose.container-number": "1",
            "com.docker.compose.config-hash": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
            "com.docker.compose.project.working_dir": "/srv/crowd", "com.docker.compose.version": "2.40.0",
        });
        fake.put(found);
    }
    let engine = Engine::at(fake.address());
    let mut agent = Agent::registrator(MUSTER, &engine, &store.endpoint()).started();
    wait::until("all of them", wait::LONG * 2, || {
        match service.records()?.len() {
            CONTAINERS => Ok(()),
            other => Err(format!("{other} keys")),
        }
    });
    wait::until("little memory", wait::LONG, || {
        let process = agent.process();
        let (allocated, resident) = (process.anonymous_kib(), process.resident_kib());
        println!("{allocated} KiB allocated, {resident} KiB resident");
        if allocated <= ALLOCATED_KIB_MAX {
            Ok(())
        } else {
            Err(format!("{allocated} KiB"))
        }
    });
}

#[test]
fn wrong_flags_are_refused_with_a_suggestion() {
    let complaint =
        Complaint::of(std::process::Command::new(MUSTER).args(["registrator", "--endpoint", "x"]));
    complaint.names(&["--endpoint"]);
    assert!(complaint.hint.contains("--endpoints"), "{complaint:?}");
}
