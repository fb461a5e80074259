use super::*;
use crate::record::tests::{any_record, example};
use proptest::prelude::*;

#[test]
fn keys_and_values() {
    let record = example();
    let mut v6 = record.clone();
    v6.address = "fd00::5".parse().unwrap();
    v6.id = registrator_id("node-1", "web", 53, Proto::Udp);
    for (kind, prefix, record, key, value) in [
        (
            Kind::Native,
            "/services",
            &record,
            "/services/web/node-1-0123456789ab-80",
            None,
        ),
        (
            Kind::Native,
            "",
            &record,
            "/web/node-1-0123456789ab-80",
            None,
        ),
        (
            Kind::Registrator,
            "a/b/",
            &record,
            "/a/b/web/node-1:web:80",
            Some("10.0.0.5:32768"),
        ),
        (
            Kind::Registrator,
            "services",
            &v6,
            "/services/web/node-1:web:53:udp",
            Some("[fd00::5]:32768"),
        ),
    ] {
        let entries = Layout::new(kind, prefix).entries(record).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].key, key);
        assert_eq!(
            entries[0].value,
            value.map_or_else(|| record.to_json(), str::to_owned)
        );
    }
}

#[test]
fn only_native_keeps_what_is_not_up() {
    let mut record = example();
    for (state, registrator) in [
        (State::Up, 1),
        (State::Starting, 0),
        (State::Draining, 0),
        (State::Down, 0),
        (State::Maintenance, 0),
    ] {
        record.state = state;
        let count = |kind| Layout::new(kind, "p").entries(&record).unwrap().len();
        assert_eq!(
            (count(Kind::Native), count(Kind::Registrator)),
            (1, registrator),
            "{state}"
        );
    }
}

#[test]
fn names_that_would_poison_a_prefix_are_refused() {
    for (name, native, registrator) in [
        ("web", true, true),
        ("a/b", false, true),
        ("/a", false, false),
        ("a//b", false, false),
        ("", false, false),
        ("a b", false, false),
        ("a\nb", false, false),
        ("é", true, true),
    ] {
        let mut record = example();
        record.name = name.to_owned();
        let ok = |kind| Layout::new(kind, "p").entries(&record).is_ok();
        assert_eq!(
            (ok(Kind::Native), ok(Kind::Registrator)),
            (native, registrator),
            "{name:?}"
        );
    }
}

#[test]
fn foreign_entries_are_named() {
    let json = example().to_json();
    for (kind, key, value, what) in [
        (
            Kind::Native,
            "/else/web/i",
            "{}",
            "the key lies outside the prefix",
        ),
        (
            Kind::Native,
            "/p/web",
            "{}",
            "the key does not end in <service>/<instance>",
        ),
        (
            Kind::Native,
            "/p/web/i",
            "{}",
            "the value is no registration record",
        ),
        (
            Kind::Native,
            "/p/web/i",
            &json,
            "the record names another service or instance",
        ),
        (
            Kind::Registrator,
            "/p/web/i",
            "a:b",
            "the value is no ip:port",
        ),
    ] {
        let error = Layout::new(kind, "p")
            .read(key, value.as_bytes())
            .unwrap_err();
        assert!(error.to_string().ends_with(what), "{error}");
    }
}

#[test]
fn keys_and_values_of_consumers() {
    let record = example();
    let mut dual = record.clone();
    dual.addresses
        .push(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 5]).into());
    dual.name = "My_App".to_owned();
    let mut udp = record.clone();
    (udp.proto, udp.port_name) = (Proto::Udp, "53-udp".to_owned());
    let mut tls = record.clone();
    tls.meta.insert("traefik".to_owned(), "https".to_owned());
    tls.address = "fd00::5".parse().unwrap();
    for (text, record, want) in [
        (
            "skydns=Cluster.Local.",
            &record,
            "/skydns/local/cluster/web/node-1-0123456789ab-80 = \
             {\"host\":\"10.0.0.5\",\"port\":32768,\"priority\":10,\"weight\":100,\"ttl\":5}",
        ),
        (
            "skydns=/dns/a.b",
            &dual,
            "/dns/b/a/my-app/node-1-0123456789ab-80/1 = \
             {\"host\":\"10.0.0.5\",\"port\":32768,\"priority\":10,\"weight\":100,\"ttl\":5}\n\
             /dns/b/a/my-app/node-1-0123456789ab-80/2 = \
             {\"host\":\"fd00::5\",\"port\":32768,\"priority\":10,\"weight\":100,\"ttl\":5}",
        ),
        (
            "grpc",
            &record,
            "grpc/web/node-1-0123456789ab-80 = \
             {\"Op\":0,\"Addr\":\"10.0.0.5:32768\",\"Metadata\":null}",
        ),
        ("grpc=/rpc/", &udp, ""),
        (
            "traefik",
            &record,
            "traefik/http/services/web/loadbalancer/servers/147696549209790/url = \
             http://10.0.0.5:32768",
        ),
        (
            "traefik",
            &tls,
            "traefik/http/services/web/loadbalancer/servers/147696549209790/url = \
             https://[fd00::5]:32768",
        ),
        (
            "traefik=edge",
            &udp,
            "edge/udp/services/web/loadbalancer/servers/2500880751599450/address = 10.0.0.5:32768",
        ),
    ] {
        let layout = Layout::parse(text, "").unwrap();
        let entries = layout.entries(record).unwrap();
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| format!("{} = {}", entry.key, entry.value))
            .collect();
        assert_eq!(lines.join("\n"), want, "{text}");
    }
}

#[test]
fn what_people_write_is_checked() {
    for (text, fault) in [
        ("native", None),
        ("native=/x", None),
        ("registrator", None),
        ("skydns", Some("is no DNS name")),
        ("skydns=", Some("is no DNS name")),
        ("skydns=a..b", Some("is no DNS name")),
        ("skydns=a_b.c", Some("is no DNS name")),
        ("grpc=", Some("needs a prefix")),
        ("traefik=/", Some("needs a prefix")),
        ("consul", Some("is none of")),
    ] {
        match (Layout::parse(text, "/s"), fault) {
            (Ok(_), None) => {}
            (Err(error), Some(fault)) => assert!(error.to_string().contains(fault), "{error}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }
    let layout = |text| Layout::parse(text, "/s").unwrap();
    for (a, b, overlap) in [
        ("native", "registrator", true),
        ("native", "registrator=/s/x", true),
        ("native", "registrator=/sx", false),
        ("native=/", "grpc", false),
        ("native=/", "skydns=a", true),
        ("skydns=b.a", "skydns=a", true),
        ("grpc", "traefik", false),
    ] {
        assert_eq!(layout(a).overlaps(&layout(b)), overlap, "{a} {b}");
    }
}

#[test]
fn what_a_consumer_would_choke_on_is_refused() {
    let mut cases = Vec::new();
    for (name, skydns, traefik) in [
        ("web", true, true),
        ("___", false, false),
        ("8080", true, false),
        (&*"x".repeat(63), true, true),
        (&*"x".repeat(64), false, false),
    ] {
        let mut record = example();
        name.clone_into(&mut record.name);
        cases.push((record, skydns, traefik));
    }
    let mut nowhere = example();
    nowhere.address = std::net::Ipv4Addr::UNSPECIFIED.into();
    nowhere.addresses = vec![nowhere.address.into()];
    cases.push((nowhere, false, false));
    let mut odd = example();
    odd.meta.insert("traefik".to_owned(), "udp".to_owned());
    cases.push((odd, true, false));
    for (record, skydns, traefik) in cases {
        for (text, ok) in [("skydns=a", skydns), ("traefik", traefik)] {
            let got = Layout::parse(text, "").unwrap().entries(&record);
            assert_eq!(got.is_ok(), ok, "{text} {}: {got:?}", record.name);
        }
    }
    let mut idle = example();
    idle.weight = 0;
    let got = Layout::parse("skydns=a", "").unwrap().entries(&idle);
    assert_eq!(got, Ok(Vec::new()), "0 would be read as 100");
}

proptest! {
    #[test]
    fn written_and_read_again(record in any_record(), prefix in "[a-z/]{0,8}") {
        for kind in [Kind::Native, Kind::Registrator] {
            let layout = Layout::new(kind, &prefix);
            for entry in layout.entries(&record).unwrap() {
                prop_assert!(entry.key.starts_with(&layout.root()));
                let found = layout.read(&entry.key, entry.value.as_bytes()).unwrap();
                prop_assert_eq!(&found.name, &record.name);
                prop_assert_eq!(&found.id, &record.id);
                prop_assert_eq!((found.address, found.port), (record.address, record.port));
                if let Some(read) = found.record {
                    prop_assert_eq!(&*read, &record);
                }
            }
        }
    }

    #[test]
    fn consumers_can_read_every_entry(
        mut record in any_record(),
        name in "\\PC{1,70}",
        weight: u32,
        priority: u32,
    ) {
        (record.name, record.weight, record.priority) = (name, weight, priority);
        for text in ["skydns=cluster.local", "grpc", "traefik"] {
            let layout = Layout::parse(text, "").unwrap();
            let Ok(entries) = layout.entries(&record) else { continue };
            for entry in entries {
                prop_assert!(entry.key.starts_with(&layout.root()));
                let found = layout.read(&entry.key, entry.value.as_bytes()).unwrap();
                prop_assert_eq!(found.port, record.port);
                prop_assert!(record.addresses.iter().any(|a| a.address == found.address));
                prop_assert!(!found.address.is_unspecified());
                if text != "grpc" {
                    prop_assert!(crate::instance::is_label(&found.name));
                }
                if text == "traefik" {
                    prop_assert!(found.id.parse::<u64>().unwrap() < 1 << 53);
                } else {
                    prop_assert_eq!(&found.id, &record.instance);
                }
                if text.starts_with("skydns") {
                    let value: serde_json::Value = serde_json::from_str(&entry.value).unwrap();
                    prop_assert!(value["ttl"].as_u64().unwrap() > 0);
                    prop_assert!((1..=65_535).contains(&value["weight"].as_u64().unwrap()));
                    prop_assert!((1..=65_535).contains(&value["priority"].as_u64().unwrap()));
                    prop_assert!(entry.key.split('/').skip(1).all(crate::instance::is_label));
                }
            }
        }
    }

    #[test]
    fn no_foreign_entry_panics(key in "\\PC{0,40}", value: Vec<u8>) {
        for text in ["skydns=a", "grpc", "traefik"] {
            let layout = Layout::parse(text, "").unwrap();
            let _ = layout.read(&format!("{}{key}", layout.root()), &value);
        }
    }
}
