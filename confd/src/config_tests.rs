use super::*;

fn args(confdir: &Path) -> Args {
    Args {
        confdir: Some(confdir.to_owned()),
        ..Args::default()
    }
}

fn endpoints(config: &Config) -> Vec<String> {
    match &config.backend {
        BackendKind::Store(options) => options.endpoints.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn defaults_without_a_file() {
    let home = tempfile::tempdir().unwrap();
    let config = args(home.path()).resolve().unwrap();
    assert_eq!(endpoints(&config), ["http://127.0.0.1:2379"]);
    assert_eq!(
        (config.interval, config.defaults.prefix.as_str()),
        (INTERVAL_DEFAULT, "")
    );
    assert_eq!(config.state_dir, Some(PathBuf::from(STATE_DIR_DEFAULT)));
    assert!(!config.onetime && !config.noop && config.listen.is_none());
}

#[test]
fn the_file_of_the_original_is_read_and_the_command_line_wins() {
    let home = tempfile::tempdir().unwrap();
    let file = "backend = \"etcdv3\"\nnodes = [\"http://a:1\", \"http://b:2\"]\nprefix = \"/file\"\ninterval = 30\n\
                username = \"u\"\npassword = \"p\"\nnoop = true\n";
    std::fs::write(home.path().join("confd.toml"), file).unwrap();
    let config = args(home.path()).resolve().unwrap();
    assert_eq!(endpoints(&config), ["http://a:1", "http://b:2"]);
    assert_eq!(
        (
            config.interval,
            config.defaults.prefix.as_str(),
            config.noop
        ),
        (Duration::from_secs(30), "/file", true)
    );
    let BackendKind::Store(options) = &config.backend else {
        panic!()
    };
    assert_eq!(options.user, Some(("u".to_owned(), "p".to_owned())));
    let given = Args {
        endpoints: Some("c:3".to_owned()),
        prefix: Some("/flag".to_owned()),
        interval: Some("5s".to_owned()),
        user: Some("x:y".to_owned()),
        ..args(home.path())
    };
    let config = given.resolve().unwrap();
    assert_eq!(endpoints(&config), ["http://c:3"]);
    assert_eq!(
        (config.interval, config.defaults.prefix.as_str()),
        (Duration::from_secs(5), "/flag")
    );
    let BackendKind::Store(options) = &config.backend else {
        panic!()
    };
    assert_eq!(options.user, Some(("x".to_owned(), "y".to_owned())));
}

#[test]
fn faults_say_where_and_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("confd.toml");
    for (file, message, hint) in [
        (
            "bakcend = \"etcd\"\n",
            "unknown key \"bakcend\"",
            Some("did you mean \"backend\"?"),
        ),
        ("a = 1\nb = \"\n", "not TOML", None),
        ("prefix = 3\n", "prefix is not text", None),
        ("nodes = [1]\n", "nodes is not a list of texts", None),
        (
            "interval = \"soon\"\n",
            "--interval \"soon\" is not a time",
            Some("write a time like"),
        ),
        (
            "backend = \"ftp\"\n",
            "backend ftp: is not known",
            Some("known: store"),
        ),
        (
            "listen = \"9190\"\n",
            "--listen \"9190\" is no address",
            Some("write it like"),
        ),
        (
            "endpoints = \"ftp://a\"\n",
            "read endpoint",
            Some("write it as"),
        ),
    ] {
        std::fs::write(&path, file).unwrap();
        let error = args(home.path()).resolve().unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.hint().is_some(), hint.is_some(), "{error}");
        assert!(
            hint.is_none_or(|hint| error.hint().unwrap().starts_with(hint)),
            "{:?}",
            error.hint()
        );
    }
    let missing = Args {
        config_file: Some("/nonexistent".into()),
        ..args(home.path())
    };
    assert!(matches!(
        missing.resolve(),
        Err(ConfigError::Unreadable { .. })
    ));
}

#[test]
fn the_command_line_is_sound() {
    use clap::{Args as _, Command};
    Args::augment_args(Command::new("confd")).debug_assert();
}
