//! What the machine's engine cannot say or do: an engine that answers as Docker 29 (API 1.52) and as Podman's compatible
//! service do, and one that starts hundreds of containers within seconds, read by the agent's own client.

#![allow(clippy::unwrap_used, reason = "a test's own harness")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use end_to_end::fake_engine::{self, FakeEngine};
use end_to_end::{http, wait};
use registrator_catalog::record::Record;
use serde_json::{Value, json};

use crate::scene::{Running, Scene};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The container is as this says now, or gone, and the engine says what happened to it.
fn happens(fake: &FakeEngine, inspection: Option<Value>, event: Value) {
    match inspection {
        Some(inspection) => fake.put(inspection),
        None => fake.remove(ID),
    }
    // Nobody listens as long as the agent is not connected; its list shows the container then.
    fake.say(event);
}

/// What engine 29 says about a container: no legacy addresses, types of mounts and platforms it never said before.
fn by_docker_29(service: &str) -> Value {
    json!({
        "Id": ID, "Created": "2026-11-20T04:48:43.9Z", "Name": "/web", "RestartCount": 0, "Driver": "overlayfs",
        "Platform": "linux", "Image": "sha256:00", "Path": "/bin/web", "Args": [], "LogPath": "", "MountLabel": "",
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false, "OOMKilled": false,
            "Dead": false, "Pid": 1, "ExitCode": 0, "Error": "",
            "StartedAt": "2026-11-20T04:48:44.123456789Z", "FinishedAt": "0001-01-01T00:00:00Z"
        },
        "ImageManifestDescriptor": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:00", "size": 1},
        "Storage": {"RootFS": {"Snapshot": {"Name": "overlayfs"}}},
        "Config": {
            "Hostname": "0123456789ab", "Image": "web:1", "Env": ["PATH=/bin"], "Cmd": null,
            "Labels": {"SERVICE_NAME": service}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGTERM"
        },
        "HostConfig": {"NetworkMode": "front", "RestartPolicy": {"Name": "no"}, "PortBindings": {}},
        "NetworkSettings": {
            "SandboxID": "00", "SandboxKey": "/run/docker/netns/0", "Ports": {"80/tcp": null},
            "Networks": {
                "back": {"IPAddress": "10.0.2.2", "GwPriority": 0, "DNSNames": ["web"], "NetworkID": "b"},
                "front": {"IPAddress": "10.0.1.2", "GlobalIPv6Address": "fd00::2", "GwPriority": 5,
                          "DNSNames": ["web", "0123456789ab"], "NetworkID": "f"}
            }
        }
    })
}

/// What Podman's compatible service says: legacy addresses, its own network, states in its own words.
fn by_podman(service: &str) -> Value {
    json!({
        "Id": ID, "Created": "2026-11-20T04:48:43.9+01:00", "Name": "/web", "RestartCount": 0, "Driver": "overlay",
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false, "Pid": 1, "ExitCode": 0,
            "StartedAt": "2026-11-20T04:48:44.123456789+01:00", "FinishedAt": "0001-01-01T00:00:00Z"
        },
        "Config": {
            "Hostname": "0123456789ab", "Image": "localhost/web:1", "Env": ["container=podman"],
            "Labels": {"SERVICE_NAME": service}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "15"
        },
        "HostConfig": {"NetworkMode": "bridge", "PortBindings": {}},
        "NetworkSettings": {
            "IPAddress": "10.88.0.5", "Ports": {},
            "Networks": {"podman": {"IPAddress": "10.88.0.5", "GlobalIPv6Address": "", "NetworkID": "podman"}}
        }
    })
}

/// One line of the event stream; Podman keeps the fields that engine 29 has dropped.
fn event(action: &str, nanos: i64, attributes: &Value, podman: bool) -> Value {
    let mut event = json!({
        "Type": "container", "Action": action, "scope": "local",
        "Actor": {"ID": ID, "Attributes": attributes},
        "time": nanos / 1_000_000_000, "timeNano": nanos
    });
    if podman {
        event["status"] = json!(action);
        event["id"] = json!(ID);
        event["from"] = json!("localhost/web:1");
    }
    event
}

#[test]
fn engines_that_speak_otherwise_are_understood() {
    for (podman, address, end) in [(false, "10.0.1.2", "die"), (true, "10.88.0.5", "died")] {
        let scene = Scene::new();
        let fake = FakeEngine::start();
        let mut config = scene.config();
        config.docker_host = fake.address();
        let _agent = Running::start(config).ready();
        let container = |service: &str| {
            if podman {
                by_podman(service)
            } else {
                by_docker_29(service)
            }
        };
        // 2026-11-20T04:48:44.2Z, just after the start that the inspection tells of.
        let start = 1_795_150_124_200_000_000;
        let running = container(&scene.service);
        happens(
            &fake,
            Some(running.clone()),
            event("start", start, &json!({"name": "web"}), podman),
        );
        let address_is = |want: Option<&str>| {
            wait::until("the right address", wait::LONG, || {
                let found: Vec<String> = scene
                    .keys()
                    .iter()
                    .map(|(_, value)| {
                        Record::from_json(value.as_bytes())
                            .unwrap()
                            .address
                            .to_string()
                    })
                    .collect();
                if found == want.into_iter().collect::<Vec<_>>() {
                    Ok(())
                } else {
                    Err(format!("podman {podman}: {found:?}"))
                }
            });
        };
        address_is(Some(address));
        // Another address after a network was changed.
        let mut moved = running;
        for network in ["front", "podman"] {
            if moved["NetworkSettings"]["Networks"].get(network).is_some() {
                moved["NetworkSettings"]["Networks"][network]["IPAddress"] = json!("10.7.7.7");
            }
        }
        let connect = json!({
            "Type": "network", "Action": "connect", "scope": "local", "time": start / 1_000_000_000 + 1,
            "timeNano": start + 1_000_000_000_i64,
            "Actor": {"ID": "f", "Attributes": {"container": ID, "name": "front", "type": "bridge"}}
        });
        happens(&fake, Some(moved), connect);
        address_is(Some("10.7.7.7"));
        let status = if podman {
            "containerExitCode"
        } else {
            "exitCode"
        };
        happens(
            &fake,
            None,
            event(end, start + 2_000_000_000, &json!({status: "0"}), podman),
        );
        address_is(None);
    }
}

/// 300 containers within 5 s, each with a health check that the engine runs five times a second in the container: three
/// events for each time, of which the agent wants none.
const CROWD: usize = 300;
const CROWD_TIME: Duration = Duration::from_secs(5);
const CHECK_PERIOD: Duration = Duration::from_millis(200);
/// Of a container's start, on a machine that does much else; half of the time its health check lets pass.
const START_TO_KEY_P50_MAX_MS: f64 = 2_500.0;

fn id_of(number: usize) -> String {
    format!("{number:012x}{:052x}", 0)
}

fn crowded(scene: &Scene, number: usize, health: &str) -> Value {
    let address = format!("10.9.{}.{}", number / 250, number % 250 + 1);
    let name = format!("crowd-{number}");
    let mut found = fake_engine::container(&id_of(number), &name, &address, Some(health));
    found["Config"]["Labels"] = json!({"SERVICE_NAME": scene.service});
    if number.is_multiple_of(2) {
        // Registered at once: what is measured is the agent's own time.
        found["Config"]["Labels"]["muster.gate"] = json!("off");
    }
    found
}

/// Starts one after the other in time, and runs the health checks of all that run; the first one makes it healthy.
fn start_crowd(scene: &Scene, fake: &FakeEngine) {
    let begun = Instant::now();
    let mut checked = vec![Duration::ZERO; CROWD];
    let mut healthy = vec![false; CROWD];
    let mut started = 0;
    while healthy.contains(&false) {
        let now = begun.elapsed();
        while started < CROWD && now >= CROWD_TIME * u32::try_from(started).unwrap() / CROWD as u32
        {
            fake.put(crowded(scene, started, "starting"));
            fake.says("start", &id_of(started));
            checked[started] = now;
            started += 1;
        }
        for number in 0..started {
            if now < checked[number] + CHECK_PERIOD {
                continue;
            }
            let id = id_of(number);
            for action in ["exec_create: true", "exec_start: true", "exec_die"] {
                fake.says(action, &id);
            }
            if !std::mem::replace(&mut healthy[number], true) {
                fake.put(crowded(scene, number, "healthy"));
                fake.says("health_status: healthy", &id);
            }
            checked[number] = now;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn three_hundred_in_five_seconds_with_busy_health_checks() {
    let scene = Scene::new();
    let fake = FakeEngine::start();
    let mut config = scene.config();
    config.docker_host = fake.address();
    config.listen = Some(([127, 0, 0, 1], 0).into());
    let agent = Running::start(config).ready();
    let before = fake.counts();
    let begun = Instant::now();
    start_crowd(&scene, &fake);
    let started = begun.elapsed();
    let want: BTreeSet<String> = (0..CROWD)
        .map(|number| id_of(number)[..12].to_owned())
        .collect();
    wait::until("all of them", wait::LONG, || {
        let keys = scene.keys();
        let found: BTreeSet<String> = keys
            .iter()
            .map(|(_, value)| {
                let record = Record::from_json(value.as_bytes()).unwrap();
                record.container.unwrap().id[..12].to_owned()
            })
            .collect();
        if found == want && keys.len() == CROWD {
            Ok(())
        } else {
            let missing: Vec<_> = want.difference(&found).take(5).collect();
            Err(format!("{} keys, missing {missing:?}", keys.len()))
        }
    });
    let all = begun.elapsed();
    // Of those that nothing held back.
    let summary = wait::until("their times", wait::LONG, || {
        let (summary, events) = (agent.status().start_to_key, agent.status().counts.events);
        // The last event may be about one that is registered already.
        if summary.count >= CROWD as u64 / 2 && events >= 2 * CROWD as u64 {
            Ok(summary)
        } else {
            Err(format!("{events} events, {summary:?}"))
        }
    });
    let (counts, status) = (fake.counts(), agent.status());
    println!("{CROWD} started in {started:?}, registered after {all:?}: {summary:?}\n{counts:?}");
    let metrics = http::get(agent.listening(), "/metrics").unwrap().body;
    let lines = metrics.lines();
    for line in lines.filter(|line| line.starts_with("muster_registrator_start_to_key_seconds")) {
        println!("{line}");
    }
    // Nothing was lost or missed, and what only the engine's clients in containers say never reached the agent.
    assert_eq!((counts.lost, counts.streams), (0, 1), "{counts:?}");
    assert_eq!(status.counts.events, (counts.queued - before.queued) as u64);
    assert_eq!(
        status.counts.events,
        2 * CROWD as u64,
        "{:?}",
        status.actions
    );
    assert_eq!(
        (
            status.counts.overflows,
            status.counts.gaps,
            status.counts.conflicts
        ),
        (0, 0, 0)
    );
    assert!(counts.events > 10 * CROWD, "no storm: {counts:?}");
    assert!(summary.p50_ms <= START_TO_KEY_P50_MAX_MS, "{summary:?}");
}

#[test]
fn a_start_that_no_event_tells_of_is_found() {
    let scene = Scene::new();
    let fake = FakeEngine::start();
    let mut config = scene.config();
    config.docker_host = fake.address();
    config.resync = Duration::from_secs(1);
    let _agent = Running::start(config).ready();
    let registered = |count: usize| {
        wait::until("the list to tell", wait::LONG, || match scene.keys() {
            keys if keys.len() == count => Ok(()),
            keys => Err(format!("{keys:?}")),
        });
    };
    fake.put(crowded(&scene, 0, "healthy"));
    registered(1);
    fake.remove(&id_of(0));
    registered(0);
}
