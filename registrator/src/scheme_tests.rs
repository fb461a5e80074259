use super::*;
use crate::agent::tests::web;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| (format!("{PREFIX}{key}"), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn applied(pairs: &[(&str, &str)], port: Option<&str>) -> PortLabels {
    let scheme = Scheme::new(&labels(pairs));
    assert_eq!(scheme.faults, [""; 0]);
    let subject = Subject::new(&web("a", 0), "n");
    scheme.apply(port, &subject, PortLabels::default()).unwrap()
}

#[test]
fn a_port_s_own_label_beats_the_general_one() {
    let pairs = [
        ("name", "shop"),
        ("tags", "a,b"),
        ("weight", "10"),
        ("meta.region", "eu"),
        ("ports.http.port", "8080"),
        ("ports.http.tags", "b,c"),
        ("ports.http.meta.path", "/x"),
        ("ports.admin.port", "9000"),
        ("ports.admin.name", "{{ name }}-admin"),
        ("ports.admin.weight", "0"),
        ("ports.admin.source", "network:back"),
        ("ports.admin.maintenance", "yes"),
    ];
    let http = applied(&pairs, Some("http"));
    assert_eq!(http.name.as_deref(), Some("shop"));
    assert_eq!(http.name_origin.as_deref(), Some("muster.name"));
    assert_eq!(
        (http.port_name.as_deref(), http.weight),
        (Some("http"), Some(10))
    );
    assert_eq!(http.tags, ["a", "b", "c"]);
    assert_eq!(http.attributes["region"], "eu");
    assert_eq!(http.attributes["path"], "/x");
    let admin = applied(&pairs, Some("admin"));
    assert_eq!(admin.name.as_deref(), Some("a-admin"));
    assert_eq!(
        admin.name_origin.as_deref(),
        Some("muster.ports.admin.name")
    );
    assert_eq!((admin.weight, admin.maintenance), (Some(0), true));
    assert_eq!(admin.source, Some(Source::Network("back".into())));
    let scheme = Scheme::new(&labels(&pairs));
    let ports: Vec<_> = scheme
        .ports()
        .map(|(name, port)| (name.unwrap(), port.number))
        .collect();
    assert_eq!(ports, [("admin", 9000), ("http", 8080)]);
}

#[test]
fn sources_say_where_an_address_comes_from() {
    for (key, text, want) in [
        ("source", "host", Some(Source::Host)),
        ("source", "container", Some(Source::Container)),
        ("source", "network:x", Some(Source::Network("x".into()))),
        ("network", "x", Some(Source::Network("x".into()))),
        (
            "source",
            "10.0.0.5",
            Some(Source::Literal([10, 0, 0, 5].into(), None)),
        ),
        (
            "address",
            "10.0.0.5:80",
            Some(Source::Literal([10, 0, 0, 5].into(), Some(80))),
        ),
        (
            "address",
            "[fd00::5]:80",
            Some(Source::Literal("fd00::5".parse().unwrap(), Some(80))),
        ),
        (
            "address",
            "127.0.0.1",
            Some(Source::Literal([127, 0, 0, 1].into(), None)),
        ),
        ("address", "0.0.0.0", None),
        ("address", "host.example", None),
        ("source", "network:", None),
    ] {
        let scheme = Scheme::new(&labels(&[(key, text)]));
        assert_eq!(
            (&scheme.all.source, scheme.faults.len()),
            (&want, usize::from(want.is_none())),
            "{key}={text}"
        );
    }
}

#[test]
fn what_is_wrong_is_named_and_the_rest_holds() {
    for (key, text, part) in [
        (
            "enable",
            "maybe",
            "label muster.enable: \"maybe\" is not true or false",
        ),
        ("port", "70000", "is not a port such as 80"),
        ("weight", "-1", "is not a number from 0 to 65535"),
        ("weight", "65536", "is not a number from 0 to 65535"),
        ("drain.delay", "soon", "is not a time"),
        ("nmae", "x", "did you mean name?"),
        ("check.intervall", "5s", "did you mean interval?"),
        ("ports.http.prot", "80", "did you mean port?"),
        ("ports.http", "80", "is unknown"),
        ("ports.http.name", "x", "muster.ports.http.port is missing"),
        ("colour", "red", "known are enable, layout"),
        ("name", " ", "is empty"),
    ] {
        let scheme = Scheme::new(&labels(&[(key, text), ("priority", "7")]));
        let faults = scheme.faults.join("; ");
        assert!(faults.contains(part), "{key}={text}: {faults}");
        assert_eq!(scheme.all.priority, Some(7));
        assert_eq!(scheme.ports().count(), 0, "{key}={text}");
    }
    // A port may be called by its number, which then says which it is.
    let scheme = Scheme::new(&labels(&[("ports.80.name", "web")]));
    assert_eq!(scheme.faults, [""; 0]);
    assert_eq!(
        scheme.ports().next(),
        Some((Some("80"), Port::parse("80").unwrap()))
    );
}
