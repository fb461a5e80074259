use super::*;
use proptest::prelude::*;

/// A record as a registrator writes it for a web container.
pub(crate) fn example() -> Record {
    Record {
        version: VERSION,
        id: "node-1:web:80".into(),
        instance: "node-1-0123456789ab-80".into(),
        name: "web".into(),
        node: "node-1".into(),
        address: "10.0.0.5".parse().unwrap(),
        addresses: vec![IpAddr::from([10, 0, 0, 5]).into()],
        port: 32_768,
        proto: Proto::Tcp,
        port_name: "80".into(),
        weight: WEIGHT_DEFAULT,
        priority: PRIORITY_DEFAULT,
        state: State::Up,
        health: None,
        tags: vec!["blue".into(), "a,b".into()],
        meta: BTreeMap::from([("region".into(), "us2".into())]),
        container: Some(Container {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            image: "nginx:1.27".into(),
            port: 80,
            project: None,
            service: None,
            started_at: "2026-11-20T04:48:44.123456789Z".into(),
        }),
        updated_at: "2026-11-20T04:48:44.200Z".into(),
    }
}

#[test]
fn the_form_is_fixed() {
    assert_eq!(
        example().to_json(),
        concat!(
            r#"{"version":1,"id":"node-1:web:80","instance":"node-1-0123456789ab-80","name":"web","#,
            r#""node":"node-1","address":"10.0.0.5","#,
            r#""addresses":[{"address":"10.0.0.5","family":"ipv4"}],"port":32768,"proto":"tcp","#,
            r#""port_name":"80","weight":100,"priority":10,"state":"up","tags":["blue","a,b"],"#,
            r#""meta":{"region":"us2"},"container":{"id":"0123456789abcdef","name":"web","#,
            r#""image":"nginx:1.27","port":80,"started_at":"2026-11-20T04:48:44.123456789Z"},"#,
            r#""updated_at":"2026-11-20T04:48:44.200Z"}"#
        )
    );
}

#[test]
fn only_the_time_of_the_change_does_not_count() {
    let base = example();
    let mut later = base.clone();
    later.updated_at = timestamp::format_millis(1_900_000_000_000);
    let mut other = later.clone();
    other.weight = 50;
    let json = |record: &Record| record.to_json().into_bytes();
    assert!(same_apart_from_time(&json(&base), &json(&later)));
    assert!(!same_apart_from_time(&json(&base), &json(&other)));
    for (a, b, same) in [
        ("10.0.0.5:80", "10.0.0.5:80", true),
        ("10.0.0.5:80", "10.0.0.5:81", false),
        ("", "", true),
        ("", "x", false),
    ] {
        assert_eq!(same_apart_from_time(a.as_bytes(), b.as_bytes()), same);
    }
}

#[test]
fn later_versions_are_read_and_damage_is_refused() {
    let json = example().to_json();
    let later = json.replacen("\"version\":1", "\"version\":9,\"news\":[1,{}]", 1);
    assert_eq!(Record::from_json(later.as_bytes()).unwrap().version, 9);
    for broken in [
        "",
        "null",
        "10.0.0.5:80",
        &json[..json.len() - 1],
        &json.replace("\"port\":32768", "\"port\":70000"),
        &json.replace("\"up\"", "\"sideways\""),
    ] {
        assert!(Record::from_json(broken.as_bytes()).is_err(), "{broken}");
    }
    let none = json.replace(r#"[{"address":"10.0.0.5","family":"ipv4"}]"#, "[]");
    assert!(matches!(
        Record::from_json(none.as_bytes()),
        Err(RecordError::NoAddress)
    ));
}

/// Any record the registrator could write.
pub(crate) fn any_record() -> impl Strategy<Value = Record> {
    let names = (
        "\\PC{1,20}",
        "[a-z][a-z0-9-]{0,20}",
        "[a-z0-9.-]{1,20}",
        "[0-9a-f]{64}",
    );
    let places = (
        any::<IpAddr>(),
        prop::collection::vec(any::<IpAddr>(), 0..3),
        1_u16..,
        1_u16..,
    );
    let extras = (
        prop::collection::vec("\\PC{0,10}", 0..4),
        prop::collection::btree_map("\\PC{0,10}", "[\\PC\n\"]{0,10}", 0..4),
        prop::sample::select(vec![Proto::Tcp, Proto::Udp, Proto::Sctp]),
        0_u64..9_000_000_000_000,
        any::<bool>(),
    );
    (names, places, extras).prop_map(|(names, places, extras)| {
        let (image, name, node, id) = names;
        let (address, more, port, inner) = places;
        let (tags, meta, proto, millis, contained) = extras;
        let port_name = match proto {
            Proto::Tcp => inner.to_string(),
            other => format!("{inner}-{other}"),
        };
        Record {
            version: VERSION,
            id: format!("{node}:{name}:{inner}"),
            instance: crate::instance::instance(&node, &id, &port_name),
            name: name.clone(),
            node,
            address,
            addresses: std::iter::once(address)
                .chain(more)
                .map(Into::into)
                .collect(),
            port,
            proto,
            port_name,
            weight: WEIGHT_DEFAULT,
            priority: PRIORITY_DEFAULT,
            state: State::Up,
            health: None,
            tags,
            meta,
            container: contained.then(|| Container {
                id,
                name,
                image,
                port: inner,
                project: None,
                service: Some("s".into()),
                started_at: timestamp::format_millis(millis / 2),
            }),
            updated_at: timestamp::format_millis(millis),
        }
    })
}

proptest! {
    #[test]
    fn written_and_read_again(record in any_record()) {
        let json = record.to_json();
        prop_assert_eq!(&Record::from_json(json.as_bytes()).unwrap(), &record);
        prop_assert!(same_apart_from_time(json.as_bytes(), json.as_bytes()));
    }

    #[test]
    fn damage_never_panics(record in any_record(), cut in 0_usize..2_000, byte: u8) {
        let mut json = record.to_json().into_bytes();
        let at = cut % json.len();
        json[at] = byte;
        let _ = Record::from_json(&json);
        json.truncate(at);
        prop_assert!(Record::from_json(&json).is_err());
        let _ = same_apart_from_time(&json, b"x");
    }
}
