use super::*;

fn file(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registrator.yaml");
    std::fs::write(&path, text).unwrap();
    Config::resolve(&Args {
        config: Some(path),
        ..Args::default()
    })
}

#[test]
fn a_file_says_the_same_as_flags() {
    let config = file(concat!(
        "endpoints: [a, 'https://b:1']\nttl: 15\nlayout: registrator\nprefix: /x\nnode: n\n",
        "ip: 10.0.0.5\ninternal: true\nresync: 2m\non-stop: revoke\nlisten: 127.0.0.1:0\ngate: mark\n",
        "gate-timeout: 1500ms\n"
    ))
    .unwrap();
    assert_eq!(config.store.endpoints.len(), 2);
    assert_eq!((config.ttl_seconds, config.resync.as_secs()), (15, 120));
    assert_eq!(config.layouts, [Layout::new(Kind::Registrator, "x")]);
    assert_eq!((config.node.as_deref(), config.internal), (Some("n"), true));
    let gate = Gate {
        policy: crate::gate::Policy::Mark,
        timeout_ms: Some(1_500),
    };
    assert_eq!(config.gate, gate);
    assert_eq!(config.on_stop, StopPolicy::Revoke);
    let defaults = file("").unwrap();
    assert_eq!(defaults.ttl_seconds, TTL_SECONDS_DEFAULT);
    assert_eq!(defaults.store.endpoints[0].to_string(), ENDPOINTS_DEFAULT);
}

#[test]
fn a_flag_beats_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    std::fs::write(&path, "ttl: 15s\nnode: file\n").unwrap();
    let config = Config::resolve(&Args {
        config: Some(path),
        node: Some("flag".into()),
        ..Args::default()
    })
    .unwrap();
    assert_eq!(
        (config.node.as_deref(), config.ttl_seconds),
        (Some("flag"), 15)
    );
}

#[test]
fn errors_say_where_and_what_was_meant() {
    for (text, part, hint) in [
        ("a: 1\nttl: 3\n", ".yaml:1: unknown option", "known options"),
        (
            "ttl: 3\nendpoint: x\n",
            ".yaml:2: unknown option",
            "did you mean endpoints?",
        ),
        (
            "\n\n'nodeid' : x\n",
            ".yaml:3: unknown option",
            "did you mean node-id?",
        ),
        ("ttl: 0\n", "option ttl", ""),
        ("ttl: soon\n", "option ttl", ""),
        ("layout: fancy\n", "option layout", "skydns=cluster.local"),
        ("layout: skydns\n", "option layout", "skydns=cluster.local"),
        ("layout: [native, registrator]\n", "kept apart", ""),
        ("layout: [grpc, traefik=grpc/x]\n", "kept apart", ""),
        ("gate: ajar\n", "off, wait or mark", ""),
        ("gate-timeout: soon\n", "option gate-timeout", ""),
        ("ip: 0.0.0.0\n", "option ip", ""),
        ("ip: here\n", "option ip", ""),
        (
            "docker-host: /var/run/docker.sock\n",
            "option docker-host",
            "",
        ),
        ("endpoints: ftp://x\n", "ftp://x", "write it as"),
        ("user: me\n", "option user", ""),
        ("cert: /nowhere\n", "option cert", ""),
        ("cacert: /nowhere\n", "/nowhere", "check the path"),
        ("listen: 80\n", "listen", ""),
        ("ttl: {a: b}\n", "ttl", ""),
        ("[", "configuration", "known options"),
    ] {
        let error = file(text).expect_err(text);
        assert!(error.to_string().contains(part), "{text}: {error}");
        assert!(
            error.hint().unwrap_or_default().contains(hint),
            "{text}: {:?}",
            error.hint()
        );
    }
}

#[test]
fn several_layouts() {
    let args = |layout: &[&str]| Args {
        layout: layout.iter().map(|&text| text.to_owned()).collect(),
        prefix: Some("/x".to_owned()),
        ..Args::default()
    };
    let want = [
        Layout::new(Kind::Native, "x"),
        Layout::new(Kind::SkyDns, "/skydns/local/cluster"),
        Layout::new(Kind::Grpc, "grpc"),
    ];
    for given in [
        &["native,skydns=cluster.local,grpc"][..],
        &["native", "skydns=cluster.local", "grpc"],
    ] {
        assert_eq!(Config::resolve(&args(given)).unwrap().layouts, want);
    }
    let listed = file("layout: [native, skydns=cluster.local, grpc]\nprefix: x\n").unwrap();
    assert_eq!(listed.layouts, want);
}

fn words(line: &str) -> Result<Config, String> {
    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }
    let words = line
        .split_whitespace()
        .map(std::ffi::OsString::from)
        .collect();
    let mut all = vec![std::ffi::OsString::from("registrator")];
    all.extend(crate::upstream::spelled_out(words));
    let program =
        <Program as clap::Parser>::try_parse_from(all).map_err(|error| error.to_string())?;
    Config::resolve(&program.args).map_err(|error| error.to_string())
}

#[test]
fn upstream_s_command_line() {
    let config = words(
        "-ip 10.0.0.7 -internal -explicit -tags a,b -useIpFromLabel addr -ttl 40 -ttl-refresh 20 -resync 0 \
         -deregister on-success -cleanup -retry-attempts -1 -retry-interval 500 etcd://h1:1/services",
    )
    .unwrap();
    assert_eq!(config.layouts, [Layout::new(Kind::Registrator, "services")]);
    assert_eq!(config.store.endpoints[0].to_string(), "http://h1:1");
    assert_eq!((config.ttl_seconds, config.resync), (40, RESYNC_DEFAULT));
    assert_eq!(config.ips, ["10.0.0.7".parse::<IpAddr>().unwrap()]);
    assert!(config.internal && config.keep_failed && config.upstream_names);
    assert_eq!(config.tags, ["a", "b"]);
    assert_eq!(config.admission.address_label.as_deref(), Some("addr"));
    assert!(config.admission.explicit && !config.admission.opt_in);
    for (line, part) in [
        ("-ttl 10 -ttl-refresh 10 etcd://h", "ttl-refresh"),
        ("-ttl-refresh 10 etcd://h", "ttl-refresh"),
        ("-deregister never etcd://h", "always or on-success"),
        ("skydns2://h", "is no DNS name"),
        ("consul://h --layout native", "a form of its own"),
        ("-internal=maybe etcd://h", "--internal"),
        ("--family ipv5", "ipv4, ipv6"),
        ("--prefer 10.0.0.0/99", "an address range"),
        ("--filter (", "option filter"),
    ] {
        let why = words(line).map(|_| ()).unwrap_err();
        assert!(why.contains(part), "{line}: {why}");
    }
}
