//! Tasks of a Swarm of one node, on an engine of the test's own: registered from the labels of their containers, whatever
//! the Swarm does with them.

#![allow(clippy::unwrap_used, reason = "a test's own harness")]

use std::collections::BTreeSet;

use end_to_end::own_engine::OwnEngine;
use end_to_end::wait;
use registrator_catalog::record::{Record, State};

use crate::scene::{GENTLE, IMAGE, Running, Scene, build_image_on};

#[test]
fn tasks_are_registered_from_their_labels() {
    let scene = Scene::new();
    let own = OwnEngine::start(&[]);
    let engine = own.engine();
    let docker = |words: &[&str]| {
        let said = engine.run(words);
        said.unwrap_or_else(|reason| panic!("{reason}"))
    };
    build_image_on(&engine);
    let at = ["--advertise-addr=127.0.0.1", "--listen-addr=127.0.0.1:2377"];
    docker(&["swarm", "init", at[0], at[1]]);
    let mut config = scene.config();
    config.docker_host = engine.address();
    config.internal = false;
    config.ips = vec!["10.9.9.9".parse().unwrap()];
    let agent = Running::start(config).ready();
    let name = format!("SERVICE_NAME={}", scene.service);
    let create = [
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--name",
        "shop",
        "--replicas",
        "2",
        "--container-label",
        &name,
        "--container-label",
        "muster.tags={{ swarm.service }},{{ swarm.task }}",
        // Of the service, which no engine tells of a container.
        "--label",
        "muster.tags=manager",
        "--publish",
        "mode=host,target=80",
        "--stop-grace-period",
        "2s",
    ];
    docker(&[&create[..], &[IMAGE, "sh", "-c", GENTLE]].concat());
    // Names of tasks and ports, when there are as many as that.
    let tasks = |count: usize| -> BTreeSet<(String, u16)> {
        wait::until("the tasks", wait::LONG * 2, || {
            let keys = scene.keys();
            let records: Vec<Record> = keys
                .iter()
                .map(|(_, value)| Record::from_json(value.as_bytes()).unwrap())
                .collect();
            let right = records.len() == count
                && records.iter().all(|record| {
                    record.state == State::Up && record.tags.len() == 2 && record.tags[0] == "shop"
                });
            if right {
                let of = records
                    .iter()
                    .map(|record| (record.tags[1].clone(), record.port));
                Ok(of.collect())
            } else {
                Err(format!("{records:?}"))
            }
        })
    };
    let first = tasks(2);
    let names: Vec<&str> = first.iter().map(|(task, _)| &task[..7]).collect();
    assert_eq!(names, ["shop.1.", "shop.2."]);
    let ports: BTreeSet<u16> = first.iter().map(|(_, port)| *port).collect();
    assert_eq!(ports.len(), 2, "{first:?}");
    docker(&["service", "scale", "--detach", "shop=3"]);
    assert!(tasks(3).is_superset(&first));
    // Every task is replaced by another one.
    docker(&["service", "update", "--detach", "--force", "shop"]);
    wait::until("new tasks alone", wait::LONG * 2, || {
        let now = tasks(3);
        if now.is_disjoint(&first) {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    docker(&["service", "rm", "shop"]);
    scene.becomes(&[]);
    assert_eq!(agent.status().faults, []);
    docker(&["swarm", "leave", "--force"]);
}
