//! Containers attached in other ways than to one bridge, a store that is away at the wrong moment, and many at once.

#![allow(clippy::unwrap_used, reason = "a test's own harness")]

use std::time::Instant;

use end_to_end::{port, wait};

use crate::scene::{Container, GENTLE, Running, Scene};

/// A network of the engine, removed when dropped; containers on it have to go first.
struct Network<'a> {
    scene: &'a Scene,
    name: String,
}

impl<'a> Network<'a> {
    fn new(scene: &'a Scene, name: &str) -> Self {
        let name = format!("{}-{name}", scene.service);
        scene.engine.run(&["network", "create", &name]).unwrap();
        Self { scene, name }
    }

    fn does(&self, verb: &str, container: &Container) {
        let words = ["network", verb, &self.name, &container.id];
        self.scene.engine.run(&words).unwrap();
    }

    fn address_of(&self, container: &Container) -> String {
        let format = format!(
            "{{{{(index .NetworkSettings.Networks {:?}).IPAddress}}}}",
            self.name
        );
        container.inspect(&format)
    }
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        let _ = self.scene.engine.run(&["network", "rm", &self.name]);
    }
}

/// Waits until the one record of the scene has this address, or there is none.
fn address_becomes(scene: &Scene, want: Option<&str>) {
    wait::until("the address", wait::LONG, || {
        let keys = scene.keys();
        let found: Vec<String> = keys
            .iter()
            .map(|(_, value)| {
                let record: serde_json::Value = serde_json::from_str(value).unwrap();
                record["address"].as_str().unwrap_or_default().to_owned()
            })
            .collect();
        if found.iter().map(String::as_str).eq(want) {
            Ok(())
        } else {
            Err(format!("{found:?}, want {want:?}"))
        }
    });
}

#[test]
fn networks_that_come_and_go() {
    let scene = Scene::new();
    let _agent = scene.agent().ready();
    let network = Network::new(&scene, "back");
    let label = format!("muster.network={}", network.name);
    let container = scene.container(&["--label", &label], GENTLE);
    address_becomes(&scene, None);
    network.does("connect", &container);
    address_becomes(&scene, Some(&network.address_of(&container)));
    network.does("disconnect", &container);
    address_becomes(&scene, None);
    network.does("connect", &container);
    address_becomes(&scene, Some(&network.address_of(&container)));
    drop(container);
    address_becomes(&scene, None);
}

#[test]
fn a_container_on_another_one_s_network() {
    let scene = Scene::new();
    let _agent = scene.agent().ready();
    let owner = scene.container(&["--label", "muster.enable=false"], GENTLE);
    let on = format!("container:{}", owner.id);
    let container = scene.container(&["--network", &on], GENTLE);
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    address_becomes(&scene, Some(&owner.inspect(format)));
    owner.does(&["stop"]);
    address_becomes(&scene, None);
    drop(container);
}

#[test]
fn in_the_host_s_network_what_listens_is_registered() {
    let scene = Scene::new();
    let mut config = scene.config();
    config.ips = vec!["127.0.0.1".parse().unwrap()];
    let _agent = Running::start(config).ready();
    let number = port::free().to_string();
    let script = format!("until test -e /go; do sleep 0.1; done; exec httpd -f -p {number} -h /");
    let container = scene.container(&["--network", "host", "--expose", &number], &script);
    let nobody = port::free().to_string();
    let silent = scene.container(&["--network", "host", "--expose", &nobody], "sleep 1000");
    scene
        .engine
        .run(&["exec", &container.id, "/bin/busybox", "touch", "/go"])
        .unwrap();
    wait::until("the port that listens", wait::LONG, || {
        let keys = scene.keys_below("/services/");
        let of = |id: &str| -> Vec<&String> {
            let mine = keys.iter().map(|(key, _)| key);
            mine.filter(|key| key.contains(&id[..12])).collect()
        };
        // Somebody else may listen on port 80, which the image declares.
        let has =
            |id: &str, port: &str| of(id).iter().any(|key| key.ends_with(&format!("-{port}")));
        if has(&container.id, &number) && !has(&silent.id, &nobody) {
            Ok(())
        } else {
            Err(format!("{keys:?}"))
        }
    });
}

#[test]
fn a_store_that_is_away_while_a_container_with_two_ports_starts() {
    let mut scene = Scene::new();
    let agent = scene.agent().ready();
    scene.store.kill();
    wait::until("the agent to notice", wait::LONG, || {
        match agent.status().store.up {
            true => Err("up".to_owned()),
            false => Ok(()),
        }
    });
    let container = scene.container(&["--expose", "81"], GENTLE);
    scene.store.restart();
    wait::until("both ports", wait::LONG, || {
        let keys = scene.keys_below(&format!("/services/{}-", scene.service));
        if keys.len() == 2
            && keys
                .iter()
                .all(|(key, _)| key.contains(&container.id[..12]))
        {
            Ok(())
        } else {
            Err(format!("{keys:?}"))
        }
    });
    // Both came in one transaction: there is one revision.
    let _agent = agent.ready();
}

/// As many as a slow machine starts within seconds; `MUSTER_CROWD=300` asks for more and prints how long it took. (What
/// an engine on two cores cannot start within five seconds, `fake.rs` does.)
const CROWD_DEFAULT: usize = 24;
/// 8 ms between two health checks of them all: each is a process that the engine starts, and an engine that has to start
/// more than its cores can does nothing else any more.
const CHECK_MS: usize = 8;

#[test]
fn many_at_once_with_busy_health_checks() {
    let many = std::env::var("MUSTER_CROWD").map_or(CROWD_DEFAULT, |text| text.parse().unwrap());
    let scene = Scene::new();
    let agent = scene.agent().ready();
    let interval = format!("{}ms", many * CHECK_MS);
    let checked = ["--health-cmd", "true", "--health-interval", &interval];
    let begun = Instant::now();
    let containers: Vec<Container> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..many / 4)
                        .map(|_| scene.container(&checked, GENTLE))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        starting
            .into_iter()
            .flat_map(|all| all.join().unwrap())
            .collect()
    });
    let started = begun.elapsed();
    scene.becomes(&containers.iter().collect::<Vec<_>>());
    let status = agent.status();
    println!(
        "{many} containers: the engine took {started:?}, all registered {:?} after the first, {} overflows, {} gaps",
        begun.elapsed(),
        status.counts.overflows,
        status.counts.gaps
    );
    assert_eq!(status.counts.conflicts, 0);
    // All at once again, in the other direction.
    let ids: Vec<&str> = containers
        .iter()
        .map(|container| container.id.as_str())
        .collect();
    scene.engine.run(&[&["kill"], &ids[..]].concat()).unwrap();
    scene.becomes(&[]);
}

#[test]
fn a_port_that_is_published_for_ipv6_alone() {
    let scene = Scene::new();
    let mut config = scene.config();
    config.internal = false;
    config.ips = vec!["10.9.9.9".parse().unwrap(), "fd00:9::9".parse().unwrap()];
    let agent = Running::start(config).ready();
    let container = scene.container(&["--publish=[::]:0:80"], GENTLE);
    address_becomes(&scene, Some("fd00:9::9"));
    let published =
        container.inspect(r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#);
    let record: serde_json::Value = serde_json::from_str(&scene.keys()[0].1).unwrap();
    assert_eq!(record["port"].to_string(), published.trim());
    assert_eq!(record["addresses"].as_array().unwrap().len(), 1, "{record}");
    drop(container);
    address_becomes(&scene, None);
    agent.kill();

    // A host that has no such address offers nothing, rather than an address that leads elsewhere.
    let mut config = scene.config();
    config.internal = false;
    config.ips = vec!["10.9.9.9".parse().unwrap()];
    let agent = Running::start(config).ready();
    let _container = scene.container(&["--publish=[::]:0:80"], GENTLE);
    wait::until("the port to be left out", wait::LONG, || {
        let skipped = agent.status().skipped;
        let told = skipped
            .iter()
            .any(|one| one.why.contains("another address family"));
        if told {
            Ok(())
        } else {
            Err(format!("{skipped:?}"))
        }
    });
    assert_eq!(scene.keys(), []);
}
