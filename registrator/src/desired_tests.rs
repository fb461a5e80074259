use std::collections::BTreeMap;

use proptest::prelude::*;
use registrator_catalog::layout::Kind;

use registrator_catalog::record::Proto;

use super::draft::default_name;
use super::*;
use crate::container::{Binding, Network};

fn port(text: &str) -> Port {
    Port::parse(text).unwrap()
}

fn binding(text: &str) -> Binding {
    let at: std::net::SocketAddr = text.parse().unwrap();
    Binding {
        address: at.ip(),
        port: at.port(),
    }
}

/// A running container of image `nginx:1.27` with one address.
fn base() -> Container {
    Container {
        id: "0123456789abcdef".into(),
        name: "front".into(),
        image: "registry.example:5000/team/nginx:1.27@sha256:aa".into(),
        labels: BTreeMap::new(),
        env: Vec::new(),
        run: Run::Running,
        health: None,
        started_at: String::new(),
        started_nanos: None,
        exposed: BTreeSet::new(),
        published: BTreeMap::new(),
        network_mode: NetworkMode::Own,
        listening: None,
        networks: vec![Network {
            name: "bridge".into(),
            v4: Some([172, 17, 0, 2].into()),
            v6: None,
        }],
        stop_signal: 15,
        stop_timeout_seconds: 10,
    }
}

fn rules(told: &[&str], detected: &[&str]) -> Rules {
    let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Rules {
        host: HostAddresses {
            told: parse(told),
            detected: parse(detected),
        },
        ..Rules::new("h1", vec![Layout::new(Kind::Registrator, "s")])
    }
}

/// The decisions as text: keys with values, then what was left out.
fn decide(container: &Container, rules: &Rules) -> String {
    let evaluation = evaluate(container, rules, State::Up, "now");
    let mut lines: Vec<String> = evaluation
        .wanted
        .iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    for verdict in &evaluation.verdicts {
        if let Outcome::Skipped(why) = &verdict.outcome {
            lines.push(format!("{}: {why}", verdict.port));
        }
        lines.extend(
            verdict
                .warnings
                .iter()
                .map(|warning| format!("warning: {warning}")),
        );
    }
    lines.extend(
        evaluation
            .skipped
            .iter()
            .map(|why| format!("skipped: {why}")),
    );
    lines.join("\n")
}

#[test]
fn addresses_of_published_ports() {
    let v4 = &["192.168.1.102"][..];
    let both = &["192.168.1.102", "fd00::102"][..];
    // What it is, its bindings, told addresses, detected addresses, what comes of it.
    type Case<'a> = (
        &'a str,
        &'a [&'a str],
        &'a [&'a str],
        &'a [&'a str],
        &'a str,
    );
    let known: &[Case] = &[
        (
            "everywhere",
            &["0.0.0.0:10000"],
            &[],
            v4,
            "= 192.168.1.102:10000",
        ),
        (
            "everywhere, both families",
            &["0.0.0.0:10000", "[::]:10000"],
            &[],
            both,
            "= 192.168.1.102:10000",
        ),
        (
            "IPv6 only",
            &["[::]:10000"],
            &[],
            both,
            "= [fd00::102]:10000",
        ),
        (
            "IPv6 only, none known",
            &["[::]:10000"],
            &[],
            v4,
            "no address of this host is known",
        ),
        (
            "one address",
            &["10.1.1.1:10000"],
            &[],
            v4,
            "= 10.1.1.1:10000",
        ),
        (
            "told",
            &["0.0.0.0:10000"],
            &["10.9.9.9"],
            v4,
            "= 10.9.9.9:10000",
        ),
        (
            "told, bound elsewhere",
            &["10.1.1.1:10000"],
            &["10.9.9.9"],
            v4,
            "= 10.9.9.9:10000",
        ),
        (
            "told the other family",
            &["[::]:10000"],
            &["10.9.9.9"],
            v4,
            "another address family",
        ),
        (
            "local",
            &["127.0.0.1:10000"],
            &[],
            v4,
            "published on 127.0.0.1 only",
        ),
        (
            "local, told another",
            &["127.0.0.1:10000"],
            &["10.9.9.9"],
            v4,
            "published on 127.0.0.1 only",
        ),
        (
            "local, told so",
            &["127.0.0.1:10000"],
            &["127.0.0.1"],
            v4,
            "= 127.0.0.1:10000",
        ),
        (
            "local and real",
            &["127.0.0.1:10000", "10.1.1.1:10000"],
            &[],
            v4,
            "= 10.1.1.1:10000",
        ),
        (
            "nothing known",
            &["0.0.0.0:10000"],
            &[],
            &[],
            "no address of this host is known",
        ),
    ];
    for (what, bindings, told, detected, want) in known {
        let mut container = base();
        container.exposed.insert(port("80"));
        let bindings = bindings.iter().map(|text| binding(text)).collect();
        container.published.insert(port("80"), bindings);
        let decided = decide(&container, &rules(told, detected));
        assert!(decided.contains(want), "{what}: {decided}");
        assert_eq!(decided.lines().count(), 1, "{what}: {decided}");
    }
}

#[test]
fn every_address_of_a_port_is_in_the_record() {
    let mut container = base();
    let bindings = vec![binding("[::]:10000"), binding("0.0.0.0:10000")];
    container.published.insert(port("80"), bindings);
    let evaluation = evaluate(
        &container,
        &rules(&[], &["fd00::102", "192.168.1.102"]),
        State::Up,
        "now",
    );
    let Outcome::Registered(record) = &evaluation.verdicts[0].outcome else {
        panic!("{evaluation:?}");
    };
    let addresses: Vec<String> = record
        .addresses
        .iter()
        .map(|address| address.address.to_string())
        .collect();
    assert_eq!(addresses, ["192.168.1.102", "fd00::102"]);
    assert_eq!(record.address, record.addresses[0].address);
}

#[test]
fn several_bindings_of_one_port_are_several_instances() {
    let mut container = base();
    let bindings = vec![binding("0.0.0.0:10000"), binding("0.0.0.0:10001")];
    container.published.insert(port("80"), bindings);
    assert_eq!(
        decide(&container, &rules(&["10.0.0.1"], &[])),
        "/s/nginx/h1:front:80 = 10.0.0.1:10000\n/s/nginx/h1:front:80-10001 = 10.0.0.1:10001"
    );
}

#[test]
fn names() {
    let told = rules(&["10.0.0.1"], &[]);
    let two_ports = |labels: &[(&str, &str)]| {
        let mut container = base();
        container
            .published
            .insert(port("80"), vec![binding("0.0.0.0:1080")]);
        container
            .published
            .insert(port("443"), vec![binding("0.0.0.0:1443")]);
        for (key, value) in labels {
            container
                .labels
                .insert((*key).to_owned(), (*value).to_owned());
        }
        decide(&container, &told)
    };
    for (labels, want) in [
        (
            &[][..],
            "/s/nginx-443/h1:front:443 = 10.0.0.1:1443\n/s/nginx-80/h1:front:80 = 10.0.0.1:1080",
        ),
        (
            &[("SERVICE_NAME", "web")],
            "/s/web-443/h1:front:443 = 10.0.0.1:1443\n/s/web-80/h1:front:80 = 10.0.0.1:1080",
        ),
        (
            &[("SERVICE_80_NAME", "web"), ("SERVICE_443_NAME", "webs")],
            "/s/web/h1:front:80 = 10.0.0.1:1080\n/s/webs/h1:front:443 = 10.0.0.1:1443",
        ),
        // Upstream counts the ignored port and calls the other one web-80.
        (
            &[("SERVICE_NAME", "web"), ("SERVICE_443_IGNORE", "1")],
            "/s/web/h1:front:80 = 10.0.0.1:1080\n443/tcp: SERVICE_443_IGNORE is set",
        ),
        (
            &[("SERVICE_80_ID", "one"), ("SERVICE_443_IGNORE", "x")],
            "/s/nginx/one = 10.0.0.1:1080\n443/tcp: SERVICE_443_IGNORE is set\n\
             warning: SERVICE_443_IGNORE=x is no boolean; taken as true, as registrator does",
        ),
        (
            &[("SERVICE_NAME", "a\nb"), ("SERVICE_443_NAME", "good")],
            "/s/good/h1:front:443 = 10.0.0.1:1443\n\
             80/tcp: service name \"a\\nb-80\" contains blanks or control characters",
        ),
        (
            &[
                ("SERVICE_80_NAME", "x"),
                ("SERVICE_443_NAME", "x"),
                ("SERVICE_ID", "same"),
            ],
            "/s/x/same = 10.0.0.1:1080\n443/tcp: another port of this container has the key /s/x/same",
        ),
    ] {
        assert_eq!(two_ports(labels), want, "{labels:?}");
    }
}

#[test]
fn default_names() {
    const COMPOSE: &str = "com.docker.compose.service";
    const SWARM: &str = "com.docker.swarm.service.name";
    for (image, service, want) in [
        ("redis", None, "redis"),
        ("redis:7", None, "redis"),
        ("gliderlabs/redis:7", Some((COMPOSE, "cache")), "redis"),
        ("host:5000/a/b", None, "b"),
        ("redis@sha256:0123", None, "redis"),
        // As Swarm names the image of a task.
        ("redis:7@sha256:0123", Some((SWARM, "cache")), "redis"),
        ("sha256:0123456789ab", None, "front"),
        ("sha256:0123456789ab", Some((COMPOSE, "cache")), "cache"),
        ("sha256:0123456789ab", Some((SWARM, "cache")), "cache"),
        ("0123456789abcdef", Some((COMPOSE, "cache")), "cache"),
        ("", None, "front"),
    ] {
        let mut container = base();
        container.image = image.into();
        if let Some((label, service)) = service {
            container.labels.insert(label.into(), service.into());
        }
        assert_eq!(default_name(&container), want, "{image:?}");
    }
}

#[test]
fn container_addresses() {
    let mut told = rules(&["10.0.0.1"], &[]);
    told.internal = true;
    let mut container = base();
    container.exposed.extend([port("80"), port("53/udp")]);
    container
        .published
        .insert(port("80"), vec![binding("0.0.0.0:1080")]);
    assert_eq!(
        decide(&container, &told),
        "/s/nginx-53/h1:front:53:udp = 172.17.0.2:53\n/s/nginx-80/h1:front:80 = 172.17.0.2:80"
    );
    // A label may name a port that nobody declared.
    container.exposed.clear();
    container.published.clear();
    container
        .labels
        .insert("SERVICE_9000_NAME".into(), "app".into());
    assert_eq!(
        decide(&container, &told),
        "/s/app/h1:front:9000 = 172.17.0.2:9000"
    );
    // The first network with an address counts, in the engine's order of preference.
    container.networks.insert(
        0,
        Network {
            name: "empty".into(),
            v4: None,
            v6: None,
        },
    );
    container.networks.insert(
        1,
        Network {
            name: "six".into(),
            v4: None,
            v6: Some("fd00::7".parse().unwrap()),
        },
    );
    assert_eq!(
        decide(&container, &told),
        "/s/app/h1:front:9000 = [fd00::7]:9000"
    );
    // Swarm's mesh is the last choice, unless somebody names it.
    let network = |name: &str, v4: [u8; 4]| Network {
        name: name.into(),
        v4: Some(v4.into()),
        v6: None,
    };
    container.networks = vec![
        network("ingress", [10, 0, 0, 5]),
        network("shop", [10, 0, 1, 5]),
    ];
    let at = |address: &str| format!("/s/app/h1:front:9000 = {address}:9000");
    assert_eq!(decide(&container, &told), at("10.0.0.5"));
    let task = "com.docker.swarm.task.id";
    container.labels.insert(task.into(), "t1".into());
    assert_eq!(decide(&container, &told), at("10.0.1.5"));
    told.preference.networks = vec!["ingress".into()];
    assert_eq!(decide(&container, &told), at("10.0.0.5"));
    container.networks.clear();
    assert_eq!(
        decide(&container, &told),
        "9000/tcp: the container has no address on any network"
    );
}

#[test]
fn other_ways_to_be_attached() {
    let told = rules(&["10.0.0.1"], &[]);
    let mut container = base();
    container.exposed.insert(port("80"));
    for (mode, want) in [
        (
            NetworkMode::Host,
            "80/tcp: it shares the host's network, and the agent cannot see whether it listens (label SERVICE_80_NAME registers it)",
        ),
        (NetworkMode::None, "skipped: it has no network"),
        (
            NetworkMode::Container("abc".into()),
            "skipped: it shares the network of container abc, which does not run",
        ),
        (
            NetworkMode::Own,
            "80/tcp: it is not published (publish it with -p, or start the agent with --internal)",
        ),
    ] {
        container.network_mode = mode;
        assert_eq!(decide(&container, &told), want);
    }
    container.network_mode = NetworkMode::Host;
    container.listening = Some(BTreeSet::new());
    assert_eq!(
        decide(&container, &told),
        format!("80/tcp: {NOT_LISTENING}")
    );
    assert!(evaluate(&container, &told, State::Up, "now").waits_for_listener());
    container.listening = Some([port("80")].into());
    let want = "/s/nginx/h1:front:80 = 10.0.0.1:80";
    assert_eq!(decide(&container, &told), want);
    // A label on the port, or a name where only one port can be meant, says the same.
    container.listening = None;
    for (label, want) in [
        ("SERVICE_80_X", "/s/nginx/h1:front:80 = 10.0.0.1:80"),
        ("SERVICE_NAME", "/s/x/h1:front:80 = 10.0.0.1:80"),
    ] {
        container.labels = BTreeMap::from([(label.to_owned(), "x".to_owned())]);
        assert_eq!(decide(&container, &told), want);
    }
    container.labels.clear();
    container.listening = Some([port("80")].into());
    assert_eq!(
        decide(&container, &rules(&[], &[])),
        "80/tcp: no address of this host is known (name one with --ip)"
    );
    container.exposed.clear();
    assert_eq!(
        decide(&container, &told),
        "skipped: it exposes and publishes no port"
    );
}

#[test]
fn what_does_not_serve() {
    for (run, why) in [
        (Run::Stopped, "skipped: it does not run"),
        (Run::Paused, "skipped: it is paused"),
        (Run::Restarting, "skipped: it waits to be restarted"),
    ] {
        let mut container = base();
        container
            .published
            .insert(port("80"), vec![binding("0.0.0.0:1080")]);
        container.run = run;
        assert_eq!(decide(&container, &rules(&["10.0.0.1"], &[])), why);
    }
}

#[test]
fn tags_attributes_and_the_container_are_in_the_record() {
    let mut container = base();
    container
        .published
        .insert(port("53/udp"), vec![binding("0.0.0.0:1053")]);
    for (key, value) in [
        ("SERVICE_TAGS", "a, b"),
        ("SERVICE_REGION", "us2"),
        ("com.docker.compose.project", "shop"),
        ("com.docker.compose.service", "dns"),
    ] {
        container.labels.insert(key.into(), value.into());
    }
    let evaluation = evaluate(&container, &rules(&["10.0.0.1"], &[]), State::Up, "now");
    let Outcome::Registered(record) = &evaluation.verdicts[0].outcome else {
        panic!("{evaluation:?}");
    };
    assert_eq!(record.tags, ["a", "b", "udp"]);
    assert_eq!(
        record.meta,
        BTreeMap::from([("region".to_owned(), "us2".to_owned())])
    );
    assert_eq!(record.instance, "h1-0123456789ab-53-udp");
    let of = record.container.as_ref().unwrap();
    assert_eq!(
        (of.project.as_deref(), of.service.as_deref(), of.port),
        (Some("shop"), Some("dns"), 53)
    );
}

fn any_container() -> impl Strategy<Value = Container> {
    let ports = prop::collection::btree_set((1_u16..6, any::<bool>()), 0..4);
    let bindings = prop::collection::vec(
        (1_u16..6, any::<bool>(), any::<IpAddr>(), 1_u16..9, 0_u8..4),
        0..6,
    );
    let labels = prop::collection::btree_map(
        "SERVICE_([1-5]_)?(NAME|ID|TAGS|IGNORE|X)",
        "([a-c]|true|\\PC){0,4}",
        0..5,
    );
    (ports, bindings, labels, 0_u8..3).prop_map(|(ports, bindings, labels, mode)| {
        let make = |(number, udp)| Port {
            number,
            proto: if udp { Proto::Udp } else { Proto::Tcp },
        };
        let mut container = base();
        container.exposed = ports.into_iter().map(make).collect();
        container.labels = labels;
        container.network_mode = if mode == 0 {
            NetworkMode::Host
        } else {
            NetworkMode::Own
        };
        for (number, udp, address, host_port, kind) in bindings {
            let address = match kind {
                0 => "0.0.0.0".parse().unwrap(),
                1 => "::".parse().unwrap(),
                2 => "127.0.0.1".parse().unwrap(),
                _ => address,
            };
            container
                .published
                .entry(make((number, udp)))
                .or_default()
                .push(Binding {
                    address,
                    port: host_port,
                });
        }
        container
    })
}

#[test]
fn a_layout_that_cannot_take_a_record_spares_the_others() {
    let mut rules = rules(&[], &[]);
    rules.internal = true;
    rules.layouts = ["native=n", "skydns=cluster.local", "traefik"]
        .map(|text| Layout::parse(text, "").unwrap())
        .into();
    let mut container = base();
    container.exposed = [port("80")].into();
    for (name, keys, warnings) in [("web", 3, 0), ("8080", 2, 1), ("___", 1, 2), ("a/b", 0, 0)] {
        container.labels = [("SERVICE_NAME".to_owned(), name.to_owned())].into();
        let evaluation = evaluate(&container, &rules, State::Up, "now");
        let verdict = &evaluation.verdicts[0];
        assert_eq!(
            (evaluation.wanted.len(), verdict.warnings.len()),
            (keys, warnings),
            "{verdict:?}"
        );
        let registered = matches!(verdict.outcome, Outcome::Registered(_));
        assert_eq!(registered, keys > 0, "{verdict:?}");
    }
    // Attributes are in the first one alone.
    container.labels = [("SERVICE_LONG".to_owned(), "x".repeat(VALUE_BYTES_MAX))].into();
    let evaluation = evaluate(&container, &rules, State::Up, "now");
    assert_eq!(evaluation.wanted.len(), 2);
    let told = &evaluation.verdicts[0].warnings;
    assert!(
        told[0].starts_with("not below /n/: its value would have"),
        "{told:?}"
    );
}

proptest! {
    #[test]
    fn whatever_is_registered_can_be_reached_and_read(
        container in any_container(),
        internal: bool,
        told: bool,
    ) {
        let mut rules = rules(if told { &["10.0.0.1"] } else { &[] }, &["10.0.0.2", "fd00::2"]);
        rules.internal = internal;
        rules.layouts = vec![Layout::new(Kind::Registrator, "s"), Layout::new(Kind::Native, "n")];
        let evaluation = evaluate(&container, &rules, State::Up, "2026-11-20T04:48:44.123Z");
        let mut keys = 0;
        for verdict in &evaluation.verdicts {
            let Outcome::Registered(record) = &verdict.outcome else { continue };
            prop_assert!(record.port > 0);
            for address in &record.addresses {
                let ip = address.address;
                prop_assert!(!ip.is_unspecified() && !ip.is_loopback(), "{ip}");
            }
            // Address and port come from one source.
            let of_container = record.port == verdict.port.number;
            if container.network_mode == NetworkMode::Host || internal {
                prop_assert!(of_container);
            } else {
                let bindings = &container.published[&verdict.port];
                let served = bindings.iter().any(|binding| {
                    binding.port == record.port && binding.address.is_ipv4() == record.address.is_ipv4()
                });
                prop_assert!(served, "{record:?} of {bindings:?}");
            }
            for (layout, key) in rules.layouts.iter().zip(["/s", "/n"]) {
                let Ok(mut entries) = layout.entries(record) else {
                    let told = format!("not below {}", layout.root());
                    prop_assert!(verdict.warnings.iter().any(|text| text.starts_with(&told)));
                    continue;
                };
                let entry = entries.remove(0);
                keys += 1;
                prop_assert!(entry.key.starts_with(key));
                prop_assert_eq!(&evaluation.wanted[&entry.key], &entry.value);
            }
        }
        prop_assert_eq!(keys, evaluation.wanted.len());
        prop_assert!(!evaluation.verdicts.is_empty() || evaluation.skipped.is_some());
    }
}

fn labelled(container: &Container, labels: &[(&str, &str)]) -> Container {
    let mut container = container.clone();
    for (name, value) in labels {
        container.labels.insert((*name).into(), (*value).into());
    }
    container
}

#[test]
fn names_as_upstream_gives_them() {
    let mut container = base();
    for (text, at) in [("80", "0.0.0.0:1080"), ("443", "0.0.0.0:1443")] {
        container.published.insert(port(text), vec![binding(at)]);
    }
    let mut upstream = rules(&["10.0.0.1"], &[]);
    upstream.upstream_names = true;
    // An ignored port still counts, so the other one keeps its suffix.
    let container = labelled(
        &container,
        &[("SERVICE_443_IGNORE", "1"), ("SERVICE_NAME", "web")],
    );
    let want = "/s/web-80/h1:front:80 = 10.0.0.1:1080\n443/tcp: SERVICE_443_IGNORE is set";
    assert_eq!(decide(&container, &upstream), want);
    upstream.admission.explicit = true;
    assert_eq!(decide(&container, &upstream), want);
    let named = labelled(
        &container,
        &[
            ("SERVICE_443_IGNORE", ""),
            ("SERVICE_NAME", ""),
            ("SERVICE_80_NAME", "x"),
        ],
    );
    let want = "/s/x/h1:front:80 = 10.0.0.1:1080\n443/tcp: nobody gave it a name, which --explicit asks for";
    assert_eq!(decide(&named, &upstream), want);
}

#[test]
fn who_is_admitted() {
    let mut container = base();
    container
        .published
        .insert(port("80"), vec![binding("0.0.0.0:1080")]);
    let key = "/s/nginx/h1:front:80 = 10.0.0.1:1080";
    let filter = |text: &str| Admission {
        filter: Some(Filter::parse(text).unwrap()),
        ..Admission::default()
    };
    let opt_in = Admission {
        opt_in: true,
        ..Admission::default()
    };
    let on = &[("muster.enable", "true")][..];
    let off = &[("muster.enable", "no")][..];
    for (admission, labels, want) in [
        (Admission::default(), &[][..], key.to_owned()),
        (
            Admission::default(),
            off,
            "skipped: its label muster.enable says no".to_owned(),
        ),
        (
            opt_in.clone(),
            &[],
            "skipped: it has no label muster.enable=true, which --opt-in asks for".to_owned(),
        ),
        (opt_in, on, key.to_owned()),
        (filter("name == \"front\""), &[], key.to_owned()),
        (
            filter("labels.tier == \"x\""),
            &[],
            "skipped: the filter labels.tier == \"x\" does not let it through".to_owned(),
        ),
    ] {
        let mut rules = rules(&["10.0.0.1"], &[]);
        rules.admission = admission;
        assert_eq!(decide(&labelled(&container, labels), &rules), want);
    }
}

#[test]
fn addresses_from_where_labels_say() {
    let mut container = base();
    container
        .published
        .insert(port("80"), vec![binding("0.0.0.0:1080")]);
    container.networks.push(Network {
        name: "shop_back".into(),
        v4: Some([10, 9, 0, 2].into()),
        v6: Some("fd00::9".parse().unwrap()),
    });
    container
        .labels
        .insert("com.docker.compose.project".into(), "shop".into());
    let on = |name: &str, value: &str| {
        let container = labelled(&container, &[(name, value)]);
        let text = decide(&container, &rules(&["10.0.0.1"], &[]));
        text.trim_start_matches("/s/nginx/h1:front:80 = ")
            .to_owned()
    };
    for (name, value, want) in [
        ("muster.source", "host", "10.0.0.1:1080"),
        ("muster.source", "container", "172.17.0.2:80"),
        ("muster.network", "shop_back", "10.9.0.2:80"),
        ("muster.network", "back", "10.9.0.2:80"),
        (
            "muster.network",
            "front",
            "80/tcp: the container has no address on network front",
        ),
        ("muster.address", "192.0.2.7", "192.0.2.7:1080"),
        ("muster.address", "192.0.2.7:8", "192.0.2.7:8"),
        ("muster.address", "127.0.0.1", "127.0.0.1:1080"),
    ] {
        assert_eq!(on(name, value), want, "{name}={value}");
    }
    let mut internal = rules(&[], &[]);
    internal.internal = true;
    let mut with = |networks: &[&str], ranges: &[&str], families| {
        internal.preference = Preference {
            networks: networks.iter().map(|name| (*name).to_owned()).collect(),
            ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            families,
        };
        let Outcome::Registered(record) =
            &evaluate(&container, &internal, State::Up, "").verdicts[0].outcome
        else {
            panic!("not registered");
        };
        let all: Vec<String> = record
            .addresses
            .iter()
            .map(|a| a.address.to_string())
            .collect();
        all.join(" ")
    };
    use crate::address::Families;
    assert_eq!(with(&[], &[], Families::V4First), "172.17.0.2");
    assert_eq!(
        with(&["none", "shop_back"], &[], Families::V4First),
        "10.9.0.2 fd00::9"
    );
    assert_eq!(
        with(&["shop_back"], &[], Families::V6First),
        "fd00::9 10.9.0.2"
    );
    assert_eq!(
        with(&[], &["fd00::/8", "10.0.0.0/8"], Families::V4First),
        "fd00::9 10.9.0.2"
    );
    assert_eq!(
        with(&[], &["10.0.0.0/8"], Families::V4First),
        "10.9.0.2 fd00::9"
    );
    assert_eq!(with(&["bridge"], &[], Families::V6), "fd00::9");
}

#[test]
fn an_address_from_a_label_the_agent_was_told_of() {
    let mut container = base();
    container
        .published
        .insert(port("80"), vec![binding("0.0.0.0:1080")]);
    let mut rules = rules(&["10.0.0.1"], &[]);
    rules.admission.address_label = Some("ip".into());
    for (text, want) in [
        ("192.168.9.9/24", "/s/nginx/h1:front:80 = 192.168.9.9:1080"),
        ("fd00::3", "/s/nginx/h1:front:80 = [fd00::3]:1080"),
        (
            "me",
            "80/tcp: the label with its address says \"me\", which is none",
        ),
    ] {
        assert_eq!(decide(&labelled(&container, &[("ip", text)]), &rules), want);
    }
    assert_eq!(
        decide(&container, &rules),
        "/s/nginx/h1:front:80 = 10.0.0.1:1080"
    );
}

#[test]
fn a_broken_template_keeps_only_its_own_port_out() {
    let mut container = base();
    for (text, at) in [("80", "0.0.0.0:1080"), ("81", "0.0.0.0:1081")] {
        container.published.insert(port(text), vec![binding(at)]);
    }
    let container = labelled(
        &container,
        &[
            ("muster.ports.a.port", "80"),
            ("muster.ports.a.name", "{{ labels.none }}"),
            ("muster.ports.b.port", "81"),
            ("muster.ports.b.name", "{{ name }}-x"),
        ],
    );
    let text = decide(&container, &rules(&["10.0.0.1"], &[]));
    let (key, fault) = text.split_once('\n').unwrap();
    assert_eq!(key, "/s/front-x/h1:front:81 = 10.0.0.1:1081");
    assert!(
        fault.starts_with("80/tcp: label muster.ports.a.name: "),
        "{fault}"
    );
}

#[test]
fn overrides_and_maintenance_take_out_of_layouts_without_states() {
    let mut container = base();
    container
        .published
        .insert(port("80"), vec![binding("0.0.0.0:1080")]);
    let mut rules = rules(&["10.0.0.1"], &[]);
    rules.layouts = vec![
        Layout::new(Kind::Native, "n"),
        Layout::new(Kind::Registrator, "s"),
    ];
    let state = |container: &Container, rules: &Rules| {
        let evaluation = evaluate(container, rules, State::Up, "");
        let Outcome::Registered(record) = &evaluation.verdicts[0].outcome else {
            panic!("{evaluation:?}");
        };
        (record.state, record.weight, evaluation.wanted.len())
    };
    assert_eq!(state(&container, &rules), (State::Up, 100, 2));
    let sick = labelled(
        &container,
        &[("muster.maintenance", "true"), ("muster.weight", "5")],
    );
    assert_eq!(state(&sick, &rules), (State::Maintenance, 5, 1));
    let said = [(
        "/muster/overrides/container/h1/front",
        &br#"{"state":"draining","weight":1}"#[..],
    )];
    rules.overrides = Overrides::read(said);
    assert_eq!(state(&container, &rules), (State::Draining, 1, 1));
    let chosen = labelled(&container, &[("muster.layout", "registrator,grpc")]);
    let evaluation = evaluate(&chosen, &rules, State::Up, "");
    assert_eq!(
        evaluation.warnings,
        ["label muster.layout: the agent does not write grpc"]
    );
}

#[test]
fn a_container_on_another_one_s_network_is_reached_through_it() {
    let mut owner = base();
    owner
        .published
        .insert(port("80"), vec![binding("0.0.0.0:1080")]);
    owner
        .published
        .insert(port("9000"), vec![binding("0.0.0.0:19000")]);
    let mut own = base();
    own.name = "side".into();
    own.network_mode = NetworkMode::Container("front".into());
    own.networks.clear();
    own.exposed.insert(port("9000"));
    let attached = own.on_network_of(&owner, &labelled_ports(&own));
    let want = "/s/nginx/h1:side:9000 = 10.0.0.1:19000";
    assert_eq!(decide(&attached, &rules(&["10.0.0.1"], &[])), want);
    let mut internal = rules(&[], &[]);
    internal.internal = true;
    assert_eq!(
        decide(&attached, &internal),
        "/s/nginx/h1:side:9000 = 172.17.0.2:9000"
    );
}
