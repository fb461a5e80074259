//! What goes together and what does not.

use super::*;

fn args(change: impl FnOnce(&mut Args)) -> Args {
    let mut args = Args::defaults();
    change(&mut args);
    args
}

fn error(change: impl FnOnce(&mut Args)) -> ConfigError {
    let error = Config::checked(args(change)).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    error
}

#[test]
fn defaults_are_those_of_etcd() {
    let config = Config::checked(Args::defaults()).unwrap();
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(config.listen_client[0].to_string(), "http://localhost:2379");
    assert_eq!(config.advertise_client_urls, ["http://localhost:2379"]);
    assert_eq!(config.initial_cluster_token, "etcd-cluster");
    assert_eq!(config.heartbeat, Duration::from_millis(100));
    assert_eq!(config.election, Duration::from_millis(1000));
    assert_eq!(config.snapshot_count, 10_000);
    assert_eq!(config.snapshots_max, 2);
    assert_eq!(config.quota_bytes, 2 << 30);
    assert_eq!(config.request_bytes_max, 1_572_864);
    assert_eq!(config.receive_bytes_max(), 1_572_864 + 524_288);
    assert_eq!(config.txn_ops_max, 128);
    assert_eq!(config.concurrent_streams_max, u32::MAX);
    assert_eq!(config.keepalive_interval, Duration::from_hours(2));
    assert_eq!(config.keepalive_timeout, Duration::from_secs(20));
    assert_eq!(config.watch_progress_interval, Duration::from_mins(10));
    assert_eq!(config.auto_compaction, AutoCompaction::Bounded);
    assert!(config.sync);
    assert_eq!(config.logging.level, "info");
}

#[test]
fn by_default_a_member_is_alone() {
    let config = Config::checked(Args::defaults()).unwrap();
    assert_eq!(config.initial_cluster.len(), 1);
    assert_eq!(config.initial_cluster[0].name, "default");
    assert_eq!(config.initial_cluster[0].urls(), ["http://localhost:2380"]);
    assert_eq!(config.initial_cluster_state, ClusterState::New);
    assert!(!config.initial_cluster_given);
    assert_eq!(config.listen_peer[0].to_string(), "http://localhost:2380");
    assert!(!config.listen_peer_given, "it can do without");
    assert!(config.strict_reconfig);
    assert_eq!(config.learners_max, 1);
}

#[test]
fn an_embedded_store_listens_where_it_is_told() {
    let address = Address::parse("test", "http://127.0.0.1:0").unwrap();
    let config = Config::embedded("data".into(), &address).unwrap();
    assert_eq!(config.listen_client, [address]);
    assert_eq!(config.data_dir, PathBuf::from("data"));
}

#[test]
fn quotas() {
    for (flag, wanted) in [(0, 2 << 30), (1, 1), (8 << 30, 8 << 30), (-1, u64::MAX)] {
        let config = Config::checked(args(|args| args.quota_backend_bytes = flag)).unwrap();
        assert_eq!(config.quota_bytes, wanted);
    }
}

#[test]
fn automatic_compaction() {
    for (mode, retention, wanted) in [
        ("periodic", "0", Some(AutoCompaction::Off)),
        ("periodic", "0s", Some(AutoCompaction::Off)),
        (
            "periodic",
            "2",
            Some(AutoCompaction::Periodic(Duration::from_hours(2))),
        ),
        (
            "periodic",
            "30m",
            Some(AutoCompaction::Periodic(Duration::from_mins(30))),
        ),
        ("revision", "0", Some(AutoCompaction::Off)),
        ("revision", "1000", Some(AutoCompaction::Revisions(1000))),
        ("revision", "1h", None),
        ("periodic", "soon", None),
        ("never", "0", None),
        ("revision", "", Some(AutoCompaction::Bounded)),
        ("never", "", None),
    ] {
        assert_eq!(
            auto_compaction(mode, Some(retention)).ok(),
            wanted,
            "{mode} {retention}"
        );
    }
}

#[test]
fn addresses_that_cannot_be_listened_on() {
    let listen = |urls: &'static str| error(|args| args.listen_client_urls = urls.into());
    assert!(matches!(
        listen("https://localhost:2379"),
        ConfigError::CertificateMissing { .. }
    ));
    assert!(matches!(
        listen("http://example.org:2379"),
        ConfigError::HostNotBindable { .. }
    ));
    assert!(matches!(
        listen("http://localhost:2379,http://127.0.0.1:2379"),
        ConfigError::AddressTwice { .. }
    ));
    assert!(matches!(
        listen("http://localhost:2379,"),
        ConfigError::BadUrl { .. }
    ));
    let two = args(|args| args.listen_client_urls = "http://127.0.0.1:0,http://127.0.0.1:0".into());
    assert_eq!(Config::checked(two).unwrap().listen_client.len(), 2);
}

#[test]
fn listening_everywhere_needs_an_address_to_advertise() {
    let everywhere = "http://0.0.0.0:2379";
    assert!(matches!(
        error(|args| args.listen_client_urls = everywhere.into()),
        ConfigError::AdvertiseMissing { .. }
    ));
    let told = args(|args| {
        args.listen_client_urls = everywhere.into();
        args.advertise_client_urls = Some("http://host:2379".into());
    });
    assert_eq!(
        Config::checked(told).unwrap().advertise_client_urls,
        ["http://host:2379"]
    );
}

#[test]
fn a_cluster_listens_for_its_members() {
    let cluster = |peers: Option<&str>, cluster: Option<&str>| {
        args(|args| {
            args.listen_peer_urls = peers.map(str::to_owned);
            args.initial_cluster = cluster.map(str::to_owned);
        })
    };
    let (one, two) = (
        "default=http://localhost:2380",
        "default=http://localhost:2380,other=http://localhost:2390",
    );
    let told = "http://127.0.0.1:4";
    for (peers, members, wanted) in [
        (None, None, &["http://localhost:2380"][..]),
        (None, Some(one), &["http://localhost:2380"]),
        (None, Some(two), &["http://localhost:2380"]),
        (Some(told), None, &[told]),
        (Some(told), Some(two), &[told]),
        (Some(""), None, &[]),
        (Some(""), Some(one), &[]),
    ] {
        let config = Config::checked(cluster(peers, members)).unwrap();
        let must = peers.is_some() || members == Some(two);
        assert_eq!(config.listen_peer_given, must, "{peers:?} {members:?}");
        let listens: Vec<_> = config.listen_peer.iter().map(Address::to_string).collect();
        assert_eq!(listens, wanted);
    }
    let nowhere = Config::checked(cluster(Some(""), Some(two))).unwrap_err();
    assert!(matches!(nowhere, ConfigError::BadUrl { .. }), "{nowhere}");
    // A client port at the default of peers leaves no room for them.
    let clients = args(|args| args.listen_client_urls = "http://127.0.0.1:2380".into());
    assert_eq!(Config::checked(clients).unwrap().listen_peer, []);
    assert!(matches!(
        error(|args| args.listen_peer_urls = Some("http://127.0.0.1:2379".into())),
        ConfigError::AddressTwice { .. }
    ));
    assert!(matches!(
        error(|args| args.listen_peer_urls = Some("https://127.0.0.1:1".into())),
        ConfigError::CertificateMissing { .. }
    ));
    assert!(matches!(
        error(|args| args.initial_cluster_state = "newish".into()),
        ConfigError::NotOneOf { .. }
    ));
}

#[test]
fn times_must_leave_room_for_lost_heartbeats() {
    for (heartbeat, election) in [(100, 499), (100, 50_001), (0, 1000), (u64::MAX, 1000)] {
        error(|args| {
            args.heartbeat_interval = heartbeat;
            args.election_timeout = election;
        });
    }
}

#[test]
fn bounds_of_zero_are_refused() {
    let zero = |change: fn(&mut Args)| {
        assert!(matches!(error(change), ConfigError::Zero { .. }));
    };
    zero(|args| args.snapshot_count = 0);
    zero(|args| args.max_request_bytes = 0);
    zero(|args| args.max_txn_ops = 0);
    zero(|args| args.max_concurrent_streams = 0);
}

#[test]
fn log_levels() {
    for (level, wanted) in [
        ("debug", Some(tracing::Level::DEBUG)),
        ("WARN", Some(tracing::Level::WARN)),
        ("panic", Some(tracing::Level::ERROR)),
        ("loud", None),
    ] {
        assert_eq!(log_level(level).ok(), wanted, "{level}");
    }
}
