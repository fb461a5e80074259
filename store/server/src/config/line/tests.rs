//! Command lines and environments as people write them for etcd.

use std::time::Duration;

use super::*;

fn read(flags: &[&str], environment: &[(&str, &str)]) -> Result<Said, LineError> {
    Said::read(
        flags.iter().map(OsString::from),
        environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value))),
    )
}

#[test]
fn all_spellings_of_a_flag() {
    for flags in [
        &["--name", "n", "--data-dir=d", "--snapshot-count=7"][..],
        &["-name", "n", "-data-dir=d", "-snapshot-count", "7"],
        &["-name=n", "--data-dir", "d", "--snapshot-count", "7"],
        &[
            "--name=first",
            "--name=n",
            "--data-dir=d",
            "--snapshot-count=7",
        ],
    ] {
        let args = read(flags, &[]).unwrap().args;
        assert_eq!(args.name, "n", "{flags:?}");
        assert_eq!(args.data_dir.as_deref(), Some("d".as_ref()), "{flags:?}");
        assert_eq!(args.snapshot_count, 7, "{flags:?}");
    }
}

#[test]
fn switches_are_read_as_go_reads_them() {
    for (flag, wanted) in [
        ("--unsafe-no-fsync", true),
        ("-unsafe-no-fsync", true),
        ("--unsafe-no-fsync=true", true),
        ("--unsafe-no-fsync=1", true),
        ("--unsafe-no-fsync=F", false),
    ] {
        let said = read(&[flag, "--name", "n"], &[]).unwrap();
        assert_eq!(said.args.unsafe_no_fsync, wanted, "{flag}");
        assert_eq!(said.args.name, "n", "{flag} swallowed what follows");
    }
    assert!(read(&["--unsafe-no-fsync=maybe"], &[]).is_err());
}

#[test]
fn a_flag_wins_over_the_environment_with_a_warning() {
    let environment = [("ETCD_NAME", "from-env"), ("ETCD_MAX_TXN_OPS", "9")];
    let said = read(&["--name=from-flag"], &environment).unwrap();
    assert_eq!(said.args.name, "from-flag");
    assert_eq!(said.args.max_txn_ops, 9);
    assert_eq!(
        said.warnings,
        ["ETCD_NAME is overridden by the flag --name and not used"]
    );
}

#[test]
fn variables_that_are_not_flags() {
    let said = read(
        &[],
        &[
            ("ETCD_NAME", ""),
            ("ETCD_UNSUPPORTED_ARCH", "riscv64"),
            ("ETCD_NONSENSE", "x"),
            ("ETCDCTL_API", "3"),
            ("HOME", "/"),
        ],
    )
    .unwrap();
    assert_eq!(said.args.name, "default");
    assert_eq!(said.warnings, ["ETCD_NONSENSE is not known and not used"]);
}

#[test]
fn experimental_spellings_are_taken_with_a_warning() {
    let said = read(&["--experimental-watch-progress-notify-interval=5s"], &[]).unwrap();
    assert_eq!(
        said.args.watch_progress_notify_interval,
        Duration::from_secs(5)
    );
    assert_eq!(
        said.warnings,
        [
            "--experimental-watch-progress-notify-interval is now called --watch-progress-notify-interval"
        ]
    );
}

#[test]
fn flags_not_acted_on_pass_when_they_ask_for_nothing() {
    let said = read(
        &[
            "--cert-file=",
            "--client-cert-auth=false",
            "--proxy",
            "off",
            "--auth-token=simple",
            "--logger=zap",
            "-enable-grpc-gateway",
            "--name",
            "n",
        ],
        &[
            ("ETCD_PEER_AUTO_TLS", "false"),
            ("ETCD_ENABLE_PPROF", "false"),
        ],
    )
    .unwrap();
    assert_eq!(said.args.name, "n");
    assert!(said.warnings.is_empty());
}

#[test]
fn flags_not_acted_on_are_refused_when_they_ask_for_something() {
    for (flags, environment, setting) in [
        (&["--proxy", "on"][..], &[][..], "--proxy=on"),
        (&["--proxy=on"], &[], "--proxy=on"),
        (
            &["--set-member-localaddr"],
            &[],
            "--set-member-localaddr=true",
        ),
        (
            &["-set-member-localaddr"],
            &[],
            "--set-member-localaddr=true",
        ),
        (
            &[],
            &[("ETCD_DISCOVERY_PROXY", "k")],
            "ETCD_DISCOVERY_PROXY=k",
        ),
    ] {
        match read(flags, environment) {
            Err(LineError::Config(error @ ConfigError::NotYet { .. })) => {
                assert!(error.to_string().starts_with(setting), "{error}");
                let hint = error.hint().unwrap();
                assert!(hint.starts_with("leave it out"), "{hint}");
            }
            other => panic!("{flags:?}: {other:?}"),
        }
    }
}

#[test]
fn flags_of_etcd_3_4_say_what_others_say_today() {
    let folder = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let path = folder.path().join(text.len().to_string());
        std::fs::write(&path, text).unwrap();
        format!("--config-file={}", path.display())
    };
    let (debug, packages) = (file("debug: true\n"), file("log-package-levels: a=B\n"));
    for (flags, environment, level, warnings) in [
        (&["--debug"][..], &[][..], "debug", 1),
        (&["--debug=true", "--log-level=warn"], &[], "debug", 1),
        (&["--debug=false", "--log-level=warn"], &[], "warn", 1),
        (
            &["--log-package-levels", "etcdserver=DEBUG"],
            &[],
            "info",
            1,
        ),
        (&["--log-package-levels=a=B"], &[], "info", 1),
        (&[], &[("ETCD_DEBUG", "true")], "debug", 1),
        (
            &["--log-level=error"],
            &[("ETCD_DEBUG", "true")],
            "error",
            1,
        ),
        (&[], &[("ETCD_LOG_PACKAGE_LEVELS", "a=B")], "info", 1),
        (&[&debug], &[], "debug", 1),
        (&[&debug, "--log-level=warn"], &[], "warn", 1),
        (&[&packages], &[], "info", 1),
    ] {
        let said = read(flags, environment).unwrap();
        let of = said.effective.iter().find(|of| of.name == "log-level");
        assert_eq!(of.unwrap().value, level, "{flags:?} {environment:?}");
        assert_eq!(said.warnings.len(), warnings, "{:?}", said.warnings);
        assert!(said.warnings[0].contains("3.4"), "{:?}", said.warnings);
    }
}

#[test]
fn mistakes_are_clap_errors_with_a_suggestion() {
    let error = read(&["--data-dri", "x"], &[]).unwrap_err().to_string();
    assert!(error.contains("--data-dir"), "{error}");
    for flags in [
        &["--snapshot-count=x"][..],
        &["--max-txn-ops"],
        &["stray"],
        &["--watch-progress-notify-interval=10ms"],
        &["--grpc-keepalive-timeout=5"],
    ] {
        assert!(
            matches!(read(flags, &[]), Err(LineError::Clap(_))),
            "{flags:?}"
        );
    }
}

#[test]
fn no_flag_is_in_both_lists() {
    for arg in Args::command().get_arguments() {
        if let Some(long) = arg.get_long() {
            assert!(later::find(long).is_none(), "--{long}");
        }
    }
}

#[test]
fn a_file_stands_below_the_environment_and_that_below_flags() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("etcd.yaml");
    let text = "name: of-file\nmax-txn-ops: 7\nsnapshot-count: 8\nexperimental-watch-progress-notify-interval: \
                5000000000\ndatadir: x\nlogger: zap\n";
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let environment = [("ETCD_MAX_TXN_OPS", "9"), ("ETCD_SNAPSHOT_COUNT", "10")];
    for (flags, more) in [
        (vec!["--config-file", path, "--snapshot-count=11"], None),
        (
            vec!["--snapshot-count=11"],
            Some(("ETCD_CONFIG_FILE", path)),
        ),
    ] {
        let environment: Vec<_> = environment.into_iter().chain(more).collect();
        let said = read(&flags, &environment).unwrap();
        assert_eq!(said.args.name, "of-file");
        assert_eq!(said.args.max_txn_ops, 9);
        assert_eq!(said.args.snapshot_count, 11);
        let progress = said.args.watch_progress_notify_interval;
        assert_eq!(progress, Duration::from_secs(5));
        let near = said
            .warnings
            .iter()
            .any(|line| line.contains("did you mean data-dir?"));
        assert!(near, "{:?}", said.warnings);
        let lines: Vec<String> = said.effective.iter().map(Effective::to_string).collect();
        for line in [
            "name: \"of-file\"  # configuration file",
            "max-txn-ops: \"9\"  # ETCD_MAX_TXN_OPS",
            "snapshot-count: \"11\"  # flag",
            "max-wals: \"5\"  # default",
        ] {
            assert!(
                lines.iter().any(|known| known == line),
                "{line}: {lines:#?}"
            );
        }
        // What is printed can be read back.
        let printed = folder.path().join("printed.yaml");
        std::fs::write(&printed, lines.join("\n")).unwrap();
        let again = read(&["--config-file", printed.to_str().unwrap()], &[]).unwrap();
        assert_eq!(again.args.snapshot_count, 11);
        assert_eq!(again.args.name, "of-file");
    }
    assert!(matches!(
        read(&["--config-file=/nowhere/c.yaml"], &[]),
        Err(LineError::Config(ConfigError::File { .. }))
    ));
}
