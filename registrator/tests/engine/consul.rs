//! The agent with a real Consul: services with their checks, and keys on a session.

#![allow(clippy::unwrap_used, reason = "a test's own harness")]

use std::collections::BTreeMap;

use end_to_end::authority::{Authority, Holder};
use end_to_end::consul::Consul;
use end_to_end::wait;
use registrator::{Args, Config, StopPolicy};
use serde_json::Value;

use crate::scene::{GENTLE, Running, Scene};

/// `mine now`, as Consul tells it.
const BY_SOMEBODY_ELSE: &str = "bWluZSBub3c=";

/// The services this Consul has of the scene, by id.
fn services(consul: &Consul, scene: &Scene) -> BTreeMap<String, Value> {
    let text = consul.get("/v1/agent/services");
    let mut all: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    all.retain(|_, service| service["Service"] == scene.service.as_str());
    all
}

#[track_caller]
fn becomes(consul: &Consul, scene: &Scene, count: usize) -> BTreeMap<String, Value> {
    wait::until("the right services", wait::LONG, || {
        let found = services(consul, scene);
        if found.len() == count {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    })
}

/// Status of every check on the service with this id, by name of the check.
fn checks(consul: &Consul, id: &str) -> BTreeMap<String, String> {
    let all: BTreeMap<String, Value> =
        serde_json::from_str(&consul.get("/v1/agent/checks")).unwrap();
    all.into_iter()
        .filter(|(_, check)| check["ServiceID"] == id)
        .map(|(name, check)| (name, check["Status"].as_str().unwrap().to_owned()))
        .collect()
}

fn to_services(scene: &Scene, consul: &Consul) -> Config {
    scene.config_for(&format!("consul://{}", consul.address()))
}

#[test]
fn a_service_with_its_checks_comes_and_goes() {
    let scene = Scene::new();
    let consul = Consul::start();
    let _agent = Running::start(to_services(&scene, &consul)).ready();
    let web = format!("{GENTLE} & httpd -f -p 80");
    let container = scene.container(
        &[
            "--label=SERVICE_TAGS=blue,a\\,b",
            "--label=SERVICE_REGION=us2",
            "--label=SERVICE_80_CHECK_TCP=true",
            "--label=SERVICE_80_CHECK_INTERVAL=1s",
        ],
        &web,
    );
    let found = becomes(&consul, &scene, 1);
    let (id, service) = found.first_key_value().unwrap();
    assert_eq!(service["Meta"]["muster-agent"], scene.service.as_str());
    assert_eq!(service["Tags"], serde_json::json!(["blue", "a,b"]));
    assert_eq!(service["Meta"]["region"], "us2");
    assert!(service["Meta"].get("check_tcp").is_none(), "{service}");
    assert_eq!(service["Port"], 80);
    let at = container.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    assert_eq!(service["Address"], at.trim());
    // One check that Consul makes and one that only the agent's signs of life keep.
    wait::until("both checks to pass", wait::LONG, || {
        let checks = checks(&consul, id);
        if checks.len() == 2 && checks.values().all(|status| status == "passing") {
            Ok(())
        } else {
            Err(format!("{checks:?}"))
        }
    });
    container.does(&["stop"]);
    becomes(&consul, &scene, 0);
}

#[test]
fn what_consul_refuses_is_told_and_touches_nobody_else() {
    let scene = Scene::new();
    let consul = Consul::start();
    let agent = Running::start(to_services(&scene, &consul)).ready();
    let bad = [
        "--name",
        "refused",
        "--label=SERVICE_CHECK_TCP=true",
        "--label=SERVICE_CHECK_INTERVAL=soon",
    ];
    let name = format!("{}-refused", scene.service);
    let _bad = scene.container(&[bad[0], &name, bad[2], bad[3]], GENTLE);
    let _good = scene.container(&[], GENTLE);
    becomes(&consul, &scene, 1);
    wait::until("the fault to be told", wait::LONG, || {
        let faults = agent.status().faults;
        let told = faults
            .iter()
            .any(|fault| fault.subject == name && fault.text.contains("duration"));
        if told {
            Ok(())
        } else {
            Err(format!("{faults:?}"))
        }
    });
}

#[test]
fn a_consul_that_lets_in_whom_it_knows() {
    const TOKEN: &str = "0b1e5f1c-6a0e-4f5b-9a60-0d9f2c3a4b5c";
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let mut authority = Authority::new(folder.path(), "ca");
    let own = authority.issue("server", Holder::default());
    let client = authority.issue("client", Holder::default());
    let ca = folder.path().join("ca.pem");
    let consul = Consul::guarded(folder.path(), &ca, &own, TOKEN);
    let _container = scene.container(&[], GENTLE);
    let with = |scheme: &str, token: &str| {
        let args = Args {
            consul_token: Some(token.to_owned()),
            cacert: Some(ca.clone()),
            cert: Some(client.certificate.clone()),
            key: Some(client.key.clone()),
            ..scene.args_for(&format!("{scheme}://{}", consul.secure_address()))
        };
        Config::resolve(&args).unwrap()
    };
    // With a certificate and without the right token it may connect, and is told so.
    let stranger = Running::start(with("consul-tls", "0b1e5f1c-0000-0000-0000-0d9f2c3a4b5c"));
    wait::until("the stranger to be refused", wait::LONG, || {
        let status = stranger.status();
        let told = |text: &str| text.contains("403") || text.contains("ACL not found");
        let refused = told(&status.store.detail) || status.faults.iter().any(|f| told(&f.text));
        if refused {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    });
    becomes(&consul, &scene, 0);
    stranger.kill();
    let agent = Running::start(with("consul-tls", TOKEN)).ready();
    becomes(&consul, &scene, 1);
    agent.stop(StopPolicy::Revoke);
    becomes(&consul, &scene, 0);
    let agent = Running::start(with("consulkv-tls", TOKEN)).ready();
    agent.stop(StopPolicy::Revoke);
}

#[test]
fn a_restarted_agent_registers_nothing_again_and_removes_what_is_gone() {
    let scene = Scene::new();
    let consul = Consul::start();
    let stays = scene.container(&[], GENTLE);
    let goes = scene.container(&[], GENTLE);
    // Somebody else's, with an id and a name of its own.
    consul.put(
        "/v1/agent/service/register",
        r#"{"ID":"other:web:80","Name":"other","Port":1}"#,
    );
    let agent = Running::start(to_services(&scene, &consul)).ready();
    let before = becomes(&consul, &scene, 2);
    agent.kill();
    goes.does(&["stop"]);
    let index = |consul: &Consul| {
        let path = format!("/v1/health/service/{}", scene.service);
        let text = consul.get(&path);
        let all: Vec<Value> = serde_json::from_str(&text).unwrap();
        let mut indexes: Vec<(String, i64)> = all
            .iter()
            .map(|entry| {
                let service = &entry["Service"];
                let id = service["ID"].as_str().unwrap().to_owned();
                (id, service["ModifyIndex"].as_i64().unwrap())
            })
            .collect();
        indexes.sort();
        indexes
    };
    let written = index(&consul);
    let agent = Running::start(to_services(&scene, &consul)).ready();
    let after = becomes(&consul, &scene, 1);
    let (id, service) = after.first_key_value().unwrap();
    assert_eq!(before.get(id), Some(service));
    let name = stays.inspect("{{.Name}}");
    assert!(id.contains(name.trim().trim_start_matches('/')), "{id}");
    wait::until("the catalog to follow", wait::LONG, || {
        let now = index(&consul);
        if now.len() == 1 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    assert!(written.contains(&index(&consul)[0]), "it was written again");
    agent.stop(StopPolicy::Revoke);
    becomes(&consul, &scene, 0);
    assert!(consul.get("/v1/agent/services").contains("other:web:80"));
}

#[test]
fn a_consul_that_forgot_everything_is_told_again() {
    let scene = Scene::new();
    let mut consul = Consul::start();
    let _container = scene.container(&[], GENTLE);
    for scheme in ["consul", "consulkv"] {
        let path = if scheme == "consul" { "" } else { "/services" };
        let config = scene.config_for(&format!("{scheme}://{}{path}", consul.address()));
        let agent = Running::start(config).ready();
        consul.kill();
        consul.restart();
        if scheme == "consul" {
            becomes(&consul, &scene, 1);
        } else {
            keys_become(&consul, &scene, 1);
        }
        agent.stop(StopPolicy::Revoke);
    }
}

/// Keys and values of the scene's service, with the session that holds them.
fn keys(consul: &Consul, scene: &Scene) -> Vec<(String, Value)> {
    let text = consul.get(&format!("/v1/kv/services/{}/?recurse", scene.service));
    if text.is_empty() {
        return Vec::new();
    }
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    all.into_iter()
        .map(|found| (found["Key"].as_str().unwrap().to_owned(), found))
        .collect()
}

#[track_caller]
fn keys_become(consul: &Consul, scene: &Scene, count: usize) -> Vec<(String, Value)> {
    wait::until("the right keys", wait::LONG * 2, || {
        let found = keys(consul, scene);
        if found.len() == count {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    })
}

#[test]
fn keys_hang_on_a_session_that_a_restarted_agent_goes_on_with() {
    let scene = Scene::new();
    let consul = Consul::start();
    let config = || scene.config_for(&format!("consulkv://{}/services", consul.address()));
    let agent = Running::start(config()).ready();
    let first = scene.container(&[], GENTLE);
    let second = scene.container(&[], GENTLE);
    let before = keys_become(&consul, &scene, 2);
    let node = &scene.service;
    for (key, found) in &before {
        assert!(
            key.starts_with(&format!("services/{node}/{node}:")),
            "{key}"
        );
        assert!(found["Session"].is_string(), "{found}");
    }
    first.does(&["stop"]);
    let before_kill = keys_become(&consul, &scene, 1);
    agent.kill();
    let agent = Running::start(config()).ready();
    assert_eq!(keys(&consul, &scene), before_kill, "it was written again");

    // Somebody writes one of ours.
    consul.put(&format!("/v1/kv/{}", before_kill[0].0), "mine now");
    second.does(&["restart"]);
    wait::until("the key to be ours again", wait::LONG, || {
        let found = keys(&consul, &scene);
        let held = found
            .iter()
            .all(|(_, found)| found["Session"].is_string() && found["Value"] != BY_SOMEBODY_ELSE);
        if held && found.len() == 1 {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });

    agent.stop(StopPolicy::Revoke);
    keys_become(&consul, &scene, 0);
}

#[test]
fn one_agent_speaks_for_a_node() {
    let scene = Scene::new();
    let consul = Consul::start();
    let key = format!("/v1/kv/muster/agents/{}", scene.service);
    // As an agent on another machine writes itself.
    let other = r#"{"host":"elsewhere","pid":7,"boot":"b","namespace":"n","ticks":1,"nonce":1}"#;
    consul.put(&key, other);
    let config = scene.config_for(&format!("consulkv://{}/services", consul.address()));
    let agent = Running::start(config.clone());
    wait::until("the agent to stand by", wait::LONG, || {
        let detail = agent.status().store.detail;
        if detail.contains("another agent speaks for node") {
            Ok(())
        } else {
            Err(detail)
        }
    });
    assert!(!agent.status().store.up);
    agent.kill();
    let takes = Config {
        takeover: true,
        ..config
    };
    let agent = Running::start(takes).ready();
    agent.stop(StopPolicy::Keep);
    assert_eq!(consul.get(&key), "", "a farewell leaves no name behind");
}

#[test]
fn what_upstream_left_is_taken_over_or_removed_where_that_is_asked_for() {
    let scene = Scene::new();
    let consul = Consul::start();
    let node = &scene.service;
    let name = format!("{node}-stays");
    let _stays = scene.container(&["--name", &name], GENTLE);
    // What runs, what does not any more, what another host's is, and what somebody gave a name.
    let ids = [format!("{node}:{name}:80"), format!("{node}:gone:80")];
    let others = ["elsewhere:gone:80".to_owned(), format!("{node}-by-hand")];
    for id in ids.iter().chain(&others) {
        let body = serde_json::json!({"ID": id, "Name": node, "Port": 1, "Address": "10.0.0.1"});
        consul.put("/v1/agent/service/register", &body.to_string());
        let key = format!("/v1/kv/services/{node}/{id}");
        consul.put(&key, "10.0.0.1:1");
    }
    let present = || -> Vec<String> { services(&consul, &scene).into_keys().collect() };
    let mut left: Vec<String> = others.iter().chain(&ids[..1]).cloned().collect();
    left.sort();
    let config = to_services(&scene, &consul);
    // Nobody asked: what runs is registered, everything else is somebody else's.
    Running::start(config.clone()).ready().kill();
    assert_eq!(present().len(), 4);
    let cleanup = Config {
        cleanup: true,
        ..config
    };
    let agent = Running::start(cleanup.clone()).ready();
    wait::until("what is gone to go", wait::LONG, || match present() {
        found if found == left => Ok(()),
        found => Err(format!("{found:?}, want {left:?}")),
    });
    let found = services(&consul, &scene);
    assert_eq!(found[&ids[0]]["Meta"]["muster-agent"], node.as_str());
    assert_eq!(found[&ids[0]]["Port"], 80);
    agent.stop(StopPolicy::Revoke);

    let keys = scene.config_for(&format!("consulkv://{}/services", consul.address()));
    let agent = Running::start(Config {
        cleanup: true,
        ..keys
    });
    let left: Vec<String> = left
        .iter()
        .map(|id| format!("services/{node}/{id}"))
        .collect();
    wait::until("keys of what is gone to go", wait::LONG, || {
        let found = keys_and_holders(&consul, &scene);
        let held = found.iter().find(|(key, _)| key.ends_with(&ids[0]));
        let names: Vec<&String> = found.iter().map(|(key, _)| key).collect();
        if names == left.iter().collect::<Vec<_>>() && held.is_some_and(|(_, session)| *session) {
            Ok(())
        } else {
            Err(format!("{found:?}, want {left:?}"))
        }
    });
    agent.stop(StopPolicy::Revoke);
}

/// Keys of the scene's service, and whether a session holds each.
fn keys_and_holders(consul: &Consul, scene: &Scene) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = keys(consul, scene)
        .into_iter()
        .map(|(key, found)| (key, found["Session"].is_string()))
        .collect();
    found.sort();
    found
}
