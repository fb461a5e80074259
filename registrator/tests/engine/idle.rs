//! What an agent costs when nothing happens: signs of life towards the store, a ping now and then towards the engine.

#![allow(clippy::unwrap_used, reason = "a test's own harness")]

use std::collections::BTreeMap;
use std::time::Duration;

use end_to_end::fake_engine::{self, Counts, FakeEngine};
use end_to_end::{http, wait};
use serde_json::json;

use crate::scene::{Running, Scene};

const CONTAINERS: usize = 50;

/// Calls that etcd has taken, by method, and messages on streams to it.
fn calls(scene: &Scene) -> BTreeMap<String, u64> {
    let at = scene.store.endpoint();
    let at = at.trim_start_matches("http://").parse().unwrap();
    let text = http::get(at, "/metrics").unwrap().body;
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some(labels) = line.strip_prefix("grpc_server_msg_received_total{") else {
            continue;
        };
        let (labels, count) = labels.rsplit_once("} ").unwrap();
        let method = labels.split("grpc_method=\"").nth(1).unwrap();
        let method = method.split('"').next().unwrap();
        *found.entry(method.to_owned()).or_default() += count.parse::<f64>().unwrap() as u64;
    }
    found
}

/// What was called meanwhile.
fn since(before: &BTreeMap<String, u64>, now: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = now.into_iter().map(|(method, count)| {
        let earlier = before.get(&method).copied().unwrap_or(0);
        (method, count - earlier)
    });
    more.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn nothing_but_signs_of_life() {
    let scene = Scene::new();
    let fake = FakeEngine::start();
    for number in 0..CONTAINERS {
        let id = format!("{number:012x}{:052x}", 0);
        let address = format!("10.9.0.{}", number + 1);
        let mut found = fake_engine::container(&id, &format!("idle-{number}"), &address, None);
        found["Config"]["Labels"] = json!({"SERVICE_NAME": scene.service});
        fake.put(found);
    }
    let mut config = scene.config();
    config.docker_host = fake.address();
    // One look at everything is two calls, whenever it is due.
    config.resync = Duration::from_secs(3600);
    let _agent = Running::start(config).ready();
    wait::until("all keys", wait::LONG, || match scene.keys().len() {
        CONTAINERS => Ok(()),
        other => Err(other.to_string()),
    });
    // What it says about itself follows within seconds, once. Then, with a TTL of three seconds, there is one sign of
    // life a second and nothing else.
    let (pings, signs) = wait::until("five signs of life alone", wait::LONG * 2, || {
        let revision = scene.revision();
        let (asked, before) = (fake.counts(), calls(&scene));
        let said = wait::until("five signs of life", wait::LONG, || {
            let more = since(&before, calls(&scene));
            match more.get("LeaseKeepAlive") {
                Some(signs) if *signs >= 5 => Ok(more),
                _ => Err(format!("{more:?}")),
            }
        });
        let now = fake.counts();
        let pings = now.pings - asked.pings;
        let quiet = Counts {
            pings: now.pings,
            ..asked
        } == now;
        if said.keys().eq(["LeaseKeepAlive"]) && quiet && scene.revision() == revision {
            Ok((pings, said))
        } else {
            Err(format!("store: {said:?}, engine: {asked:?} to {now:?}"))
        }
    });
    println!("engine: {pings} pings, store: {signs:?}");
}
