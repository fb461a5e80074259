use serde_json::json;

use super::*;

fn inspected(answer: serde_json::Value) -> Container {
    container(serde_json::from_value(answer).unwrap()).unwrap()
}

/// What engine 20.10 (API 1.41) says, cut to what is read.
fn of_20_10() -> serde_json::Value {
    json!({
        "Id": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "Name": "/web",
        "RestartCount": 0,
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false,
            "StartedAt": "2026-11-20T04:48:44.123456789Z", "FinishedAt": "0001-01-01T00:00:00Z"
        },
        "Config": {
            "Image": "web:1", "Env": ["PATH=/bin", "SERVICE_NAME=web"],
            "Labels": {"SERVICE_TAGS": "a,b"},
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "odd": {}}
        },
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {
            "IPAddress": "172.17.0.2",
            "Ports": {
                "53/udp": null,
                "80/tcp": [
                    {"HostIp": "0.0.0.0", "HostPort": "49153"},
                    {"HostIp": "::", "HostPort": "49153"},
                    {"HostIp": "", "HostPort": "49154"},
                    {"HostIp": "10.0.0.1", "HostPort": ""}
                ]
            },
            "Networks": {"bridge": {"IPAddress": "172.17.0.2", "GlobalIPv6Address": ""}}
        }
    })
}

#[test]
fn an_inspection_by_engine_20_10() {
    let found = inspected(of_20_10());
    assert_eq!(
        (found.name.as_str(), found.image.as_str(), found.short_id()),
        ("web", "web:1", "0123456789ab")
    );
    assert_eq!(found.run, Run::Running);
    assert_eq!(found.started_nanos, Some(1_795_150_124_123_456_789));
    assert_eq!(found.exposed.len(), 2);
    let bindings = &found.published[&Port::parse("80").unwrap()];
    let text: Vec<String> = bindings
        .iter()
        .map(|b| format!("{} {}", b.address, b.port))
        .collect();
    assert_eq!(text, ["0.0.0.0 49153", "0.0.0.0 49154", ":: 49153"]);
    assert_eq!(found.published.len(), 1);
    assert_eq!(found.network_mode, NetworkMode::Own);
    assert_eq!(found.networks[0].v4, Some([172, 17, 0, 2].into()));
    assert_eq!((found.networks[0].v6, found.stop_signal), (None, 15));
    assert_eq!(found.stop_timeout_seconds, 10);
    assert_eq!(found.env[1], "SERVICE_NAME=web");
}

/// What engine 29 (API 1.52) says differently: no legacy address, gateway priorities.
#[test]
fn an_inspection_by_engine_29() {
    let mut answer = of_20_10();
    answer["Config"]["StopSignal"] = json!("SIGQUIT");
    answer["Config"]["StopTimeout"] = json!(3);
    answer["NetworkSettings"] = json!({
        "SandboxID": "x", "SandboxKey": "/run/x", "Ports": {},
        "Networks": {
            "b": {"IPAddress": "10.0.2.2", "GwPriority": 0, "DNSNames": ["web"]},
            "a": {"IPAddress": "10.0.1.2", "GwPriority": 0},
            "z": {"IPAddress": "10.0.9.2", "GlobalIPv6Address": "fd00::2", "GwPriority": 5}
        }
    });
    let found = inspected(answer);
    let names: Vec<&str> = found
        .networks
        .iter()
        .map(|network| network.name.as_str())
        .collect();
    assert_eq!(names, ["z", "a", "b"]);
    assert_eq!(found.networks[0].v6, Some("fd00::2".parse().unwrap()));
    assert_eq!((found.stop_signal, found.stop_timeout_seconds), (3, 3));
}

#[test]
fn states() {
    for (state, want) in [
        (json!({"Status": "running", "Running": true}), Run::Running),
        (
            json!({"Status": "running", "Running": true, "Paused": true}),
            Run::Paused,
        ),
        (json!({"Status": "paused", "Running": true}), Run::Paused),
        (
            json!({"Status": "restarting", "Running": true, "Restarting": true}),
            Run::Restarting,
        ),
        (json!({"Status": "created"}), Run::Stopped),
        (json!({"Status": "exited"}), Run::Stopped),
        (json!({"Status": "removing", "Running": true}), Run::Stopped),
        (json!({"Running": true}), Run::Running),
        (json!({}), Run::Stopped),
    ] {
        let mut answer = of_20_10();
        answer["State"] = state.clone();
        assert_eq!(inspected(answer).run, want, "{state}");
    }
}

#[test]
fn health_checks() {
    for (health, want) in [
        (json!(null), None),
        (json!({"Status": "none"}), None),
        (json!({"Status": "", "Log": null}), None),
        (json!({"Status": "starting"}), Some(Health::Starting)),
        (
            json!({"Status": "healthy", "FailingStreak": 0, "Log": []}),
            Some(Health::Healthy),
        ),
        (json!({"Status": "unhealthy"}), Some(Health::Unhealthy)),
    ] {
        let mut answer = of_20_10();
        answer["State"]["Health"] = health.clone();
        assert_eq!(inspected(answer).health, want, "{health}");
    }
}

#[test]
fn network_modes() {
    for (mode, want) in [
        ("host", NetworkMode::Host),
        ("none", NetworkMode::None),
        ("container:abc", NetworkMode::Container("abc".into())),
        ("shop_default", NetworkMode::Own),
    ] {
        let mut answer = of_20_10();
        answer["HostConfig"]["NetworkMode"] = json!(mode);
        assert_eq!(inspected(answer).network_mode, want, "{mode}");
    }
}

#[test]
fn an_empty_answer_is_no_container() {
    for none in [json!({}), json!({"Id": ""})] {
        assert_eq!(container(serde_json::from_value(none).unwrap()), None);
    }
    let bare = inspected(json!({"Id": "x"}));
    assert_eq!(
        (bare.run, bare.short_id(), bare.started_nanos),
        (Run::Stopped, "x", None)
    );
}

#[test]
fn list_entries() {
    let of = |entry: serde_json::Value| summary(serde_json::from_value(entry).unwrap());
    let entry = json!({
        "Id": "x", "Names": ["/other/alias", "/web"], "State": "running",
        "Ports": [{"PrivatePort": 80, "PublicPort": 1080, "IP": "::", "Type": "tcp"},
                  {"PrivatePort": 80, "PublicPort": 1080, "IP": "0.0.0.0", "Type": "tcp"}],
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}}
    });
    let found = of(entry.clone()).unwrap();
    assert_eq!((found.name.as_str(), found.running), ("web", true));
    // The order of the engine's lists means nothing; what they say does.
    let mut turned = entry.clone();
    turned["Ports"].as_array_mut().unwrap().reverse();
    assert_eq!(of(turned).unwrap().shape, found.shape);
    let mut moved = entry;
    moved["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] = json!("172.17.0.3");
    assert_ne!(of(moved).unwrap().shape, found.shape);
    assert!(!of(json!({"Id": "x", "State": "paused"})).unwrap().running);
    let shape = |status: &str| {
        of(json!({"Id": "x", "Status": status}))
            .map(|found| found.shape)
            .unwrap()
    };
    let healthy = shape("Up 5 minutes (healthy)");
    assert_eq!(shape("Up 6 minutes (healthy)"), healthy);
    assert_ne!(shape("Up 6 minutes (unhealthy)"), healthy);
    assert_ne!(shape("Up 6 minutes (health: starting)"), healthy);
    assert_eq!(of(json!({"State": "running"})), None);
}

#[test]
fn events() {
    let of = |message: serde_json::Value| event(serde_json::from_value(message).unwrap());
    let about = |action: &str, attributes: serde_json::Value| {
        of(json!({
            "Type": "container", "Action": action, "time": 5, "timeNano": 5_000_000_001_i64,
            "Actor": {"ID": "x", "Attributes": attributes}
        }))
    };
    for (action, attributes, want) in [
        ("start", json!({}), Some(Action::Start)),
        ("die", json!({"exitCode": "0"}), Some(Action::Die)),
        ("die", json!({"exitCode": "1"}), Some(Action::Fail)),
        ("die", json!({"exitCode": "143"}), Some(Action::Die)),
        (
            "died",
            json!({"containerExitCode": "2"}),
            Some(Action::Fail),
        ),
        ("died", json!({}), Some(Action::Die)),
        (
            "kill",
            json!({"signal": "15"}),
            Some(Action::Kill { signal: 15 }),
        ),
        (
            "kill",
            json!({"signal": "SIGHUP"}),
            Some(Action::Kill { signal: 1 }),
        ),
        ("kill", json!({}), None),
        ("pause", json!({}), Some(Action::Pause)),
        ("destroy", json!({}), Some(Action::Destroy)),
        ("exec_create: ls", json!({}), None),
        ("health_status: healthy", json!({}), Some(Action::Health)),
        (
            "health_status",
            json!({"health_status": "healthy"}),
            Some(Action::Health),
        ),
    ] {
        let found = about(action, attributes);
        assert_eq!(found.as_ref().map(|event| event.action), want, "{action}");
        assert!(found.is_none_or(|event| event.id == "x" && event.time_nanos == 5_000_000_001));
    }
    let network = |action: &str| {
        of(json!({
            "Type": "network", "Action": action, "time": 5,
            "Actor": {"ID": "net", "Attributes": {"container": "x", "name": "bridge"}}
        }))
    };
    let connected = network("connect").unwrap();
    assert_eq!(
        (connected.id.as_str(), connected.action),
        ("x", Action::Update)
    );
    assert_eq!(connected.time_nanos, 5_000_000_000);
    assert_eq!(network("create"), None);
    assert_eq!(of(json!({"Type": "network", "Action": "connect"})), None);
}
