//! The agent against a real Docker engine and a real etcd: whatever happens to containers, to the
//! agent or to the store, the keys come to say what runs.

mod bad_input;
mod consul;
mod engines;
mod fake;
mod health;
mod idle;
mod layouts;
mod network;
mod scene;
mod swarm;
mod zookeeper;

use std::time::Duration;

use end_to_end::{http, wait};
use registrator::{Config, StopPolicy};
use registrator_catalog::layout::{Kind, Layout};
use registrator_catalog::record::{Record, State, same_apart_from_time};
use store_client::endpoint::Endpoint;

use scene::{DEAF, GENTLE, Running, Scene};

#[test]
fn before_during_and_after_the_first_sync() {
    let scene = Scene::new();
    let before = scene.container(&[], GENTLE);
    let agent = scene.agent();
    let during = scene.container(&[], GENTLE);
    scene.becomes(&[&before, &during]);
    let _agent = agent.ready();
    let after = scene.container(&[], GENTLE);
    scene.becomes(&[&before, &during, &after]);
    let (key, value) = scene.keys().remove(0);
    let record = Record::from_json(value.as_bytes()).unwrap();
    assert_eq!(
        key,
        format!("/services/{}/{}", scene.service, record.instance)
    );
    assert_eq!((record.port, record.state), (80, State::Up));
}

#[test]
fn what_ends_leaves_and_what_returns_is_back() {
    let scene = Scene::new();
    let _agent = scene.agent().ready();
    let stays = scene.container(&[], GENTLE);
    for verb in [&["kill"][..], &["stop"], &["rm", "--force"]] {
        let goes = scene.container(&[], GENTLE);
        scene.becomes(&[&stays, &goes]);
        goes.does(verb);
        scene.becomes(&[&stays]);
    }
    stays.does(&["restart"]);
    scene.becomes(&[&stays]);
    stays.does(&["pause"]);
    scene.becomes(&[]);
    stays.does(&["unpause"]);
    scene.becomes(&[&stays]);
    stays.does(&["stop"]);
    scene.becomes(&[]);
    stays.does(&["start"]);
    scene.becomes(&[&stays]);
}

#[test]
fn a_container_told_to_stop_leaves_before_it_ends() {
    let scene = Scene::new();
    let _agent = scene.agent().ready();
    // It takes longer over its farewell than anybody takes to notice.
    let slow = scene.container(
        &[],
        "trap 'sleep 3; exit 0' TERM; while :; do sleep 1 & wait $!; done",
    );
    scene.becomes(&[&slow]);
    slow.does(&["kill", "--signal", "TERM"]);
    scene.becomes(&[]);
    assert_eq!(slow.inspect("{{.State.Running}}"), "true");
}

#[test]
fn other_signals_change_nothing() {
    let scene = Scene::new();
    let _agent = scene.agent().ready();
    let container = scene.container(&[], "trap : HUP USR1; while :; do sleep 1 & wait $!; done");
    scene.becomes(&[&container]);
    let before = scene.revision();
    for signal in ["HUP", "USR1"] {
        container.does(&["kill", "--signal", signal]);
    }
    // A newcomer is registered by events that came later on the same stream.
    let newcomer = scene.container(&[], GENTLE);
    scene.becomes(&[&container, &newcomer]);
    let events = scene.events_since(before);
    assert_eq!(events.len(), 1, "{events:?}");
}

#[test]
fn a_container_that_ignores_its_stop_signal_comes_back() {
    let scene = Scene::new();
    let _agent = scene.agent().ready();
    let deaf = scene.container(&["--stop-timeout", "1"], DEAF);
    scene.becomes(&[&deaf]);
    deaf.does(&["kill", "--signal", "TERM"]);
    scene.becomes(&[]);
    scene.becomes(&[&deaf]);
}

#[test]
fn an_agent_killed_and_started_again_writes_nothing() {
    let scene = Scene::new();
    let agent = scene.agent().ready();
    let (first, second) = (scene.container(&[], GENTLE), scene.container(&[], GENTLE));
    scene.becomes(&[&first, &second]);
    let before = scene.revision();
    agent.kill();
    let agent = scene.agent().ready();
    // Long enough for the lease to end if nobody kept it.
    wait::stays("no key is lost", Duration::from_secs(5), || {
        match scene.keys().len() {
            2 => Ok(()),
            count => Err(format!("{count} keys")),
        }
    });
    assert_eq!(scene.events_since(before), []);
    scene.becomes(&[&first, &second]);
    assert_eq!(scene::faults_of(&agent.status(), &[&first, &second]), []);
}

#[test]
fn what_happened_while_the_agent_was_away_is_caught_up() {
    let scene = Scene::new();
    // A lease that outlives whatever the engine takes for removing and starting a container.
    let mut config = scene.config();
    config.ttl_seconds = 60;
    let agent = Running::start(config.clone()).ready();
    let (stays, goes) = (scene.container(&[], GENTLE), scene.container(&[], GENTLE));
    scene.becomes(&[&stays, &goes]);
    agent.kill();
    goes.does(&["rm", "--force"]);
    let comes = scene.container(&[], GENTLE);
    let before = scene.revision();
    let _agent = Running::start(config);
    scene.becomes(&[&stays, &comes]);
    let touched = scene.events_since(before);
    assert!(
        touched
            .iter()
            .all(|(_, key)| !key.contains(&stays.id[..12])),
        "{touched:?}"
    );
}

#[test]
fn an_agent_that_stays_away_loses_its_keys() {
    let scene = Scene::new();
    let agent = scene.agent().ready();
    let container = scene.container(&[], GENTLE);
    scene.becomes(&[&container]);
    agent.kill();
    scene.becomes(&[]);
    let _agent = scene.agent();
    scene.becomes(&[&container]);
}

#[test]
fn the_stop_policy_decides_what_stays() {
    let scene = Scene::new();
    let container = scene.container(&[], GENTLE);
    let agent = scene.agent();
    scene.becomes(&[&container]);
    agent.stop(StopPolicy::Keep);
    assert_eq!(scene.keys().len(), 1);
    let agent = scene.agent().ready();
    agent.stop(StopPolicy::Revoke);
    assert_eq!(scene.keys().len(), 0);
}

#[test]
fn a_crash_loop_ends_in_the_truth() {
    let scene = Scene::new();
    let _agent = scene.agent().ready();
    let container = scene.container(&["--restart", "always"], "sleep 0.05; exit 1");
    wait::until("some crashes", wait::LONG, || {
        let count = container.inspect("{{.RestartCount}}");
        if count.parse::<u32>().is_ok_and(|count| count >= 4) {
            Ok(())
        } else {
            Err(count)
        }
    });
    let steady = scene.container(&[], GENTLE);
    container.does(&["stop"]);
    scene.becomes(&[&steady]);
}

#[test]
fn a_store_that_goes_and_returns_is_caught_up_with() {
    let mut scene = Scene::new();
    let agent = scene.agent().ready();
    let (stays, goes) = (scene.container(&[], GENTLE), scene.container(&[], GENTLE));
    scene.becomes(&[&stays, &goes]);
    scene.store.kill();
    goes.does(&["kill"]);
    let comes = scene.container(&[], GENTLE);
    wait::until("the agent to notice", wait::LONG, || {
        let status = agent.status();
        if status.store.up {
            Err(format!("{status:?}"))
        } else {
            Ok(())
        }
    });
    scene.store.restart();
    scene.becomes(&[&stays, &comes]);
    let _agent = agent.ready();
}

#[test]
fn what_somebody_else_deletes_or_overwrites_is_put_back() {
    let scene = Scene::new();
    let mut config = scene.config();
    config.resync = Duration::from_secs(1);
    let _agent = Running::start(config).ready();
    let (first, second) = (scene.container(&[], GENTLE), scene.container(&[], GENTLE));
    scene.becomes(&[&first, &second]);
    let before = scene.keys();
    scene.delete(&before[0].0);
    scene.put(&before[1].0, "nonsense");
    wait::until("the same records", wait::LONG, || {
        let same = |(a, b): (&(String, String), &(String, String))| {
            a.0 == b.0 && same_apart_from_time(a.1.as_bytes(), b.1.as_bytes())
        };
        let keys = scene.keys();
        if keys.len() == 2 && keys.iter().zip(&before).all(same) {
            Ok(())
        } else {
            Err(format!("{keys:?}"))
        }
    });
}

#[test]
fn published_ports_in_the_layout_of_registrator() {
    let scene = Scene::new();
    let mut config = scene.config();
    config.internal = false;
    config.ips = vec!["127.0.0.1".parse().unwrap()];
    config.layouts = vec![Layout::new(Kind::Registrator, "/compat")];
    let agent = Running::start(config);
    let name = format!("{}-name", scene.service);
    let container = scene.container(&["--name", &name, "--publish", "127.0.0.1::80"], GENTLE);
    let unpublished = scene.container(&[], GENTLE);
    let port =
        container.inspect("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}");
    let node = &scene.service;
    let want = (
        format!("/compat/{node}/{node}:{name}:80"),
        format!("127.0.0.1:{port}"),
    );
    wait::until("the key", wait::LONG, || {
        let keys = scene.keys_below(&format!("/compat/{node}/"));
        if keys == [want.clone()] {
            Ok(())
        } else {
            Err(format!("{keys:?}, want {want:?}"))
        }
    });
    // A rename moves the key.
    let renamed = format!("{name}-2");
    scene
        .engine
        .run(&["rename", &container.id, &renamed])
        .unwrap();
    let want = (format!("/compat/{node}/{node}:{renamed}:80"), want.1);
    wait::until("the renamed key", wait::LONG, || {
        let keys = scene.keys_below(&format!("/compat/{node}/"));
        if keys == [want.clone()] {
            Ok(())
        } else {
            Err(format!("{keys:?}, want {want:?}"))
        }
    });
    let why = wait::until("the reason", wait::LONG, || {
        let skipped = agent.status().skipped;
        let name = unpublished.inspect("{{.Name}}");
        let found = skipped
            .iter()
            .find(|skipped| name.ends_with(&skipped.container));
        found
            .map(|skipped| skipped.why.clone())
            .ok_or_else(|| format!("{skipped:?}"))
    });
    assert!(why.contains("not published"), "{why}");
}

#[test]
fn one_after_the_other_as_fast_as_the_engine_can() {
    let scene = Scene::new();
    let agent = scene.agent().ready();
    let containers: Vec<_> = (0..10).map(|_| scene.container(&[], GENTLE)).collect();
    scene.becomes(&containers.iter().collect::<Vec<_>>());
    // The picture follows within its period.
    let summary = wait::until("ten measurements", wait::LONG, || {
        let summary = agent.status().start_to_key;
        if summary.count >= 10 {
            Ok(summary)
        } else {
            Err(format!("{summary:?}"))
        }
    });
    println!("start to key: {summary:?}");
}

#[test]
fn an_agent_with_nothing_to_reach_says_so_and_stops() {
    let mut config = Config::new(Endpoint::parse_list("http://127.0.0.1:9").unwrap());
    config.docker_host = "unix:///nowhere/docker.sock".to_owned();
    config.listen = Some(([127, 0, 0, 1], 0).into());
    let nameless = Running::start(config.clone());
    let subjects = |agent: &Running| {
        let faults = agent.status().faults;
        let subjects: Vec<String> = faults.iter().map(|fault| fault.subject.clone()).collect();
        (subjects, format!("{faults:?}"))
    };
    wait::until("the missing engine", wait::LONG, || {
        match subjects(&nameless) {
            (subjects, text) if subjects == ["engine"] && text.contains("docker.sock") => Ok(()),
            (_, text) => Err(text),
        }
    });
    nameless.stop(StopPolicy::Revoke);
    config.node = Some("named".to_owned());
    let named = Running::start(config);
    wait::until("both missing", wait::LONG, || match subjects(&named) {
        (subjects, text)
            if subjects == ["engine", "store"]
                && text.contains("docker.sock")
                && text.contains("127.0.0.1:9") =>
        {
            Ok(())
        }
        (_, text) => Err(text),
    });
    assert!(!named.status().is_ready());
    let api = named.listening();
    assert_eq!(http::get(api, "/livez").unwrap().status, 200);
    let unready = http::get(api, "/readyz").unwrap();
    assert_eq!(unready.status, 503);
    let status = http::get(api, "/status").unwrap();
    assert_eq!(status.status, 200);
    named.stop(StopPolicy::Revoke);
}

#[test]
fn services_from_a_file_without_any_engine() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.yaml");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap().port();
    let write = |rest: &str| {
        let name = &scene.service;
        let checked = format!(
            "{{name: {name}, address: 127.0.0.1, port: {open}, check: {{tcp: true, interval: 100ms, fall: 1}}}}"
        );
        std::fs::write(&file, format!("services:\n  - {checked}\n{rest}")).unwrap();
    };
    write("");
    let mut config = scene.config();
    config.docker_host = "none".to_owned();
    config.services = Some(file.clone());
    config.resync = Duration::from_millis(200);
    let _agent = Running::start(config).ready();
    let ports_become = |want: &[u16]| {
        wait::until("the ports", wait::LONG, || {
            let keys = scene.keys();
            let mut found: Vec<u16> = keys
                .iter()
                .map(|(_, value)| Record::from_json(value.as_bytes()).unwrap().port)
                .collect();
            found.sort_unstable();
            if found == want {
                Ok(())
            } else {
                Err(format!("{keys:?}"))
            }
        });
    };
    ports_become(&[open]);
    // One more, and one that is wrong and disturbs nobody.
    write(&format!(
        "  - {{name: {}, address: 10.0.0.9, port: 1}}\n  - {{name: x}}\n",
        scene.service
    ));
    ports_become(&[1, open]);
    // A file that cannot be read changes nothing; what is taken out of it goes, and so does what stops to answer.
    std::fs::write(&file, "services: nonsense").unwrap();
    wait::stays("both stay", Duration::from_secs(1), || {
        match scene.keys().len() {
            2 => Ok(()),
            other => Err(other.to_string()),
        }
    });
    write("");
    ports_become(&[open]);
    drop(listener);
    ports_become(&[]);
}

#[test]
fn an_address_in_use_is_refused_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::new(Endpoint::parse_list("http://127.0.0.1:9").unwrap());
    config.listen = Some(taken.local_addr().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _guard = runtime.enter();
    let error = registrator::Agent::start(config).unwrap_err();
    assert!(
        error.to_string().contains("listen on 127.0.0.1:"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--listen"));
}
