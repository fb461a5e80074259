use std::path::Path;

use super::*;
use crate::config::BackendKind;

/// The configuration of a command line as confd's users write it, with this `confd.toml`.
fn configured(line: &str, toml: &str) -> Result<BackendKind, ConfigError> {
    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("confd.toml"), toml).unwrap();
    let words = line.split_whitespace().map(std::ffi::OsString::from);
    let words = crate::dialect::translate(words).words;
    let words = std::iter::once("confd".into()).chain(words);
    let program = <Program as clap::Parser>::try_parse_from(words).unwrap();
    let args = Args {
        confdir: Some(home.path().to_owned()),
        ..program.args
    };
    args.resolve().map(|config| config.backend)
}

fn redis(line: &str) -> Redis {
    match configured(line, "") {
        Ok(BackendKind::Redis(redis)) => redis,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn redis_takes_the_original_s_forms() {
    for (node, shown, database) in [
        ("127.0.0.1:6379", "127.0.0.1:6379", 0),
        ("h:1/3", "h:1", 3),
        ("h", "h:6379", 0),
        ("[::1]:7", "::1:7", 0),
        ("/run/redis.sock", "/run/redis.sock", 0),
        ("redis://h:1/4", "h:1", 4),
        ("rediss://h:1", "h:1", 0),
    ] {
        let redis = redis(&format!("-backend redis -node {node}"));
        let info = redis.servers[0].get_connection_info();
        assert_eq!(info.addr().to_string(), shown);
        assert_eq!(info.redis_settings().db(), database, "{node}");
    }
    let line = "-backend redis -node a:1 -node b:2 -client-key secret -separator :";
    let some = redis(line);
    assert_eq!(some.servers.len(), 2);
    assert_eq!(some.separator, ":");
    let settings = some.servers[1].get_connection_info().redis_settings();
    assert_eq!(settings.password(), Some("secret"));
    assert!(!format!("{some:?}").contains("secret"));
    let settings = redis("redis --username u --password p").servers[0].clone();
    let settings = settings.get_connection_info().redis_settings();
    assert_eq!(
        (settings.username(), settings.password()),
        (Some("u"), Some("p"))
    );
}

#[test]
fn consul_and_zookeeper_take_their_nodes() {
    let line = "-backend consul -node c:1 -scheme https -auth-token t";
    let Ok(BackendKind::Consul(consul)) = configured(line, "") else {
        panic!()
    };
    assert_eq!(consul.servers[0].secure, Some(true));
    assert_eq!(consul.token.as_deref(), Some("t"));
    let toml = "backend = \"zookeeper\"\nnodes = [\"a:2181\", \"b:2181\"]\npoll_interval = 3\n";
    let Ok(BackendKind::ZooKeeper(zookeeper)) = configured("", toml) else {
        panic!()
    };
    assert_eq!(zookeeper.servers, "a:2181,b:2181");
    assert_eq!(zookeeper.poll, Duration::from_secs(3));
}

#[test]
fn vault_logs_in_by_each_type() {
    for (line, method) in [
        ("-auth-token t", "Token"),
        ("-auth-type token -auth-token t", "Token"),
        ("-auth-type app-role -role-id r -secret-id s", "AppRole"),
        ("-auth-type app-id -app-id a -user-id u", "AppId"),
        ("-auth-type userpass -username n -password p", "UserPass"),
        ("-auth-type github -auth-token t", "GitHub"),
        ("-auth-type kubernetes -role-id r", "Kubernetes"),
        ("-auth-type cert", "Certificate"),
    ] {
        let line = format!("-backend vault -node http://v:8200 {line} -path /p/");
        let Ok(BackendKind::Vault(vault)) = configured(&line, "") else {
            panic!("{line}")
        };
        let name = match vault.login {
            Login::Token(_) => "Token",
            Login::AppId { .. } => "AppId",
            Login::AppRole { .. } => "AppRole",
            Login::UserPass { .. } => "UserPass",
            Login::GitHub(_) => "GitHub",
            Login::Kubernetes { .. } => "Kubernetes",
            Login::Certificate => "Certificate",
        };
        assert_eq!(name, method, "{line}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    for (line, said, hint) in [
        (
            "-backend dynamodb -table t",
            "is confd's and not here",
            "aws dynamodb",
        ),
        (
            "-backend etcd -table t",
            "--table is not for it",
            "--backend dynamodb",
        ),
        (
            "-backend ssm",
            "backend ssm: is confd's and not here",
            "aws ssm",
        ),
        ("-backend rancher", "is confd's and not here", "Rancher 1"),
        (
            "-backend consool",
            "is not known",
            "did you mean \"consul\"?",
        ),
        (
            "-backend redis -node h:x",
            "has no number for a port",
            "127.0.0.1:6379/2",
        ),
        (
            "-backend redis -auth-type token",
            "--auth-type is not for it",
            "--backend vault",
        ),
        (
            "-backend etcd -separator :",
            "--separator is not for it",
            "--backend redis",
        ),
        (
            "-backend vault -auth-type app-id -app-id a",
            "needs --user-id",
            "",
        ),
        (
            "-backend vault -auth-type ldap",
            "\"ldap\" is not known",
            "userpass",
        ),
        (
            "-backend consul -node ftp://h:1",
            "scheme",
            "127.0.0.1:8500",
        ),
        ("-backend consul -client-cert c", "needs its --key", ""),
        ("-backend etcd -client-key k", "needs its --cert", ""),
        (
            "-backend zookeeper -node http://z:1",
            "no host with a port",
            "zk1:2181",
        ),
        (
            "-backend vault -auth-token t --poll-interval 0",
            "is not a time above zero",
            "",
        ),
    ] {
        let error = match configured(line, "") {
            Err(error) => error,
            Ok(backend) => panic!("{line}: {backend:?}"),
        };
        let text = error.to_string();
        assert!(text.contains(said), "{line}: {text}");
        assert!(
            error.hint().unwrap_or_default().contains(hint),
            "{line}: {:?}",
            error.hint()
        );
    }
    assert!(Path::new(SERVICE_ACCOUNT).is_absolute());
}
