use super::*;

fn tcp(number: u16) -> Port {
    Port {
        number,
        proto: Proto::Tcp,
    }
}

fn labels(labels: &[(&str, &str)], env: &[&str]) -> Labels {
    Labels::new(
        &labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        &env.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>(),
    )
}

#[test]
fn precedence() {
    type Case<'a> = (
        &'a [(&'a str, &'a str)],
        &'a [&'a str],
        Option<&'a str>,
        bool,
    );
    let all: &[Case] = &[
        (&[], &[], None, false),
        (&[], &["SERVICE_NAME=env"], Some("env"), false),
        (
            &[("SERVICE_NAME", "label")],
            &["SERVICE_NAME=env"],
            Some("label"),
            false,
        ),
        (
            &[("SERVICE_NAME", "label")],
            &["SERVICE_80_NAME=port"],
            Some("port"),
            true,
        ),
        (
            &[("SERVICE_80_NAME", "port")],
            &["SERVICE_NAME=env"],
            Some("port"),
            true,
        ),
        (
            &[("SERVICE_80_NAME", "label")],
            &["SERVICE_80_NAME=env"],
            Some("label"),
            true,
        ),
        (&[("SERVICE_81_NAME", "other")], &[], None, false),
        (
            &[("SERVICE_80_NAME", "")],
            &["SERVICE_NAME=env"],
            None,
            false,
        ),
        (&[("service_name", "lower")], &[], None, false),
        (&[("SERVICE_Name", "mixed")], &[], Some("mixed"), false),
    ];
    for (label, env, name, own) in all {
        let got = labels(label, env).of_port(tcp(80));
        assert_eq!(
            (got.name.as_deref(), got.name_is_of_port),
            (*name, *own),
            "{label:?} {env:?}"
        );
    }
}

#[test]
fn ignore_means_what_it_says() {
    for (text, ignore, warnings) in [
        ("true", true, 0),
        ("1", true, 0),
        ("Yes", true, 0),
        ("false", false, 1),
        ("0", false, 1),
        ("", false, 0),
        ("please", true, 1),
    ] {
        let got = labels(&[("SERVICE_IGNORE", text)], &[]).of_port(tcp(80));
        assert_eq!(
            (got.ignore.is_some(), got.warnings.len()),
            (ignore, warnings),
            "{text:?}"
        );
    }
    let got = labels(
        &[("SERVICE_IGNORE", "true"), ("SERVICE_80_IGNORE", "false")],
        &[],
    );
    assert_eq!(got.of_port(tcp(80)).ignore, None);
    assert_eq!(got.of_port(tcp(81)).ignore.unwrap(), "SERVICE_IGNORE");
}

#[test]
fn tags_split_at_commas_that_are_not_escaped() {
    for (text, want) in [
        ("a,b", vec!["a", "b"]),
        (" a , b ,", vec!["a", "b"]),
        (r"a\,b,c", vec!["a,b", "c"]),
        (r"a\b", vec![r"a\b"]),
        (r"\", vec![r"\"]),
        ("", vec![]),
        ("a=1;\"x\"\n,z", vec!["a=1;\"x\"", "z"]),
    ] {
        assert_eq!(
            labels(&[("SERVICE_TAGS", text)], &[]).of_port(tcp(80)).tags,
            want,
            "{text:?}"
        );
    }
}

#[test]
fn everything_else_is_an_attribute_of_the_ports_it_names() {
    let found = labels(
        &[
            ("SERVICE_REGION", "us2"),
            ("SERVICE_80_REGION", "us3"),
            ("SERVICE_", "x"),
        ],
        &[
            "SERVICE_80_CHECK_HTTP=/up",
            "SERVICE_99999_A=b",
            "SERVICE_80_=c",
            "OTHER=1",
            "SERVICE_X",
        ],
    );
    let of = |port| found.of_port(tcp(port)).attributes;
    assert_eq!(of(80)["region"], "us3");
    assert_eq!(of(80)["check_http"], "/up");
    assert_eq!(of(81)["region"], "us2");
    assert!(!of(81).contains_key("check_http"));
    // Upstream treats a number that is no port as part of the name; so do we.
    assert_eq!(of(81)["99999_a"], "b");
    assert_eq!(found.ports().collect::<Vec<_>>(), [tcp(80), tcp(80)]);
}

#[test]
fn ranges_and_protocols_stand_in_order_of_precedence() {
    let found = labels(
        &[
            ("SERVICE_NAME", "all"),
            ("SERVICE_5000-5010_NAME", "range"),
            ("SERVICE_5001_NAME", "number"),
            ("SERVICE_5001_UDP_NAME", "udp"),
            ("SERVICE_9-1_NAME", "backwards"),
        ],
        &["SERVICE_5010_TAGS=a"],
    );
    let name = |text: &str| {
        let got = found.of_port(Port::parse(text).unwrap());
        (got.name.unwrap(), got.name_is_of_port)
    };
    for (port, want, own) in [
        ("4999", "all", false),
        ("5000", "range", true),
        ("5010/udp", "range", true),
        ("5001", "number", true),
        ("5001/udp", "udp", true),
        ("5", "all", false),
    ] {
        assert_eq!(name(port), (want.to_owned(), own), "{port}");
    }
    assert_eq!(found.of_port(tcp(5010)).tags, ["a"]);
    let udp = Port::parse("5001/udp").unwrap();
    let own: Vec<Port> = found.ports().collect();
    assert_eq!(own, [tcp(5001), tcp(5010), udp]);
}
