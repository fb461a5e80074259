//! Keys from real servers that are no etcd: a first reading, then every change, over restarts of the server. confd runs in
//! this process, from the command line that people of the original have.

#![expect(clippy::unwrap_used, reason = "a fault in a test ends it")]

use std::ffi::OsString;
use std::time::Duration;

use clap::Parser as _;
use confd::{Agent, Args};
use end_to_end::confdir::Confdir;
use end_to_end::consul::Consul;
use end_to_end::redis::Redis;
use end_to_end::vault::{self, Vault};
use end_to_end::wait;
use end_to_end::zookeeper::ZooKeeper;
use serde_json::json;
use tokio::runtime::Runtime;
use zookeeper_client::{Acls, Client, CreateMode};

/// A running confd and its folder.
struct Scene {
    confdir: Confdir,
    runtime: Runtime,
    agent: Option<Agent>,
}

#[derive(clap::Parser)]
struct Program {
    #[command(flatten)]
    args: Args,
}

impl Scene {
    /// Renders `template` from `keys` into `out`, from what the flags name.
    fn new(keys: &str, template: &str, flags: &str) -> Self {
        let confdir = Confdir::new();
        confdir.add("out", keys, template, "");
        let words = flags.split_whitespace().map(OsString::from);
        let words = confd::dialect::translate(words).words;
        let words = std::iter::once("confd".into()).chain(words);
        let args = Args {
            confdir: Some(confdir.path().to_owned()),
            state_dir: Some(confdir.path().join("state")),
            ..Program::try_parse_from(words).unwrap().args
        };
        let runtime = Runtime::new().unwrap();
        let agent = runtime.block_on(Agent::start(args.resolve().unwrap()));
        Self {
            confdir,
            runtime,
            agent: Some(agent.unwrap()),
        }
    }

    #[track_caller]
    fn becomes(&self, text: &str) {
        self.confdir.becomes("out", text);
    }

    /// Waits until the source says that something is wrong.
    #[track_caller]
    fn complains(&self, word: &str) {
        let status = self.agent.as_ref().unwrap().status();
        wait::until("the source to say what is wrong", wait::LONG, || {
            let source = &status.borrow().source;
            match &source.error {
                Some(error) if error.contains(word) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            self.runtime.block_on(agent.stop());
        }
    }
}

/// Every key below `/app` and its value.
const ALL: &str = "{% for pair in gets(pattern='/app/*') %}{{ pair.key }}={{ pair.value }}\n{% endfor %}\
                   {% for pair in gets(pattern='/app/*/*') %}{{ pair.key }}={{ pair.value }}\n{% endfor %}";

#[test]
fn redis_tells_of_texts_and_hashes() {
    let mut redis = Redis::start(&["--notify-keyspace-events", "KA", "--requirepass", "word"]);
    redis.tell(&["SET", "/app/name", "first"]);
    redis.tell(&["HSET", "/app/db", "user", "u", "port", "5432"]);
    redis.tell(&["SET", "/apple", "not ours"]);
    redis.tell(&["RPUSH", "/app/list", "neither text nor hash"]);
    let node = redis.address();
    // The original takes the password there.
    let flags = format!("-backend redis -node {node} -client-key word -watch");
    let scene = Scene::new("/app", ALL, &flags);
    let db = "/app/db/port=5432\n/app/db/user=u\n";
    scene.becomes(&format!("/app/name=first\n{db}"));
    // Long before anything is read unasked.
    redis.tell(&["SET", "/app/name", "second"]);
    scene.becomes(&format!("/app/name=second\n{db}"));
    redis.tell(&["HDEL", "/app/db", "port"]);
    redis.tell(&["SET", "/app/short", "lived", "PX", "1"]);
    redis.tell(&["DEL", "/app/name"]);
    scene.becomes("/app/db/user=u\n");
    redis.kill();
    scene.complains("Redis at");
    redis.restart();
    redis.tell(&["RENAME", "/app/db", "/app/other"]);
    scene.becomes("/app/other/user=u\n");
}

#[test]
fn redis_that_tells_nothing_is_read_again_and_separators_are_its_own() {
    let redis = Redis::start(&[]);
    redis.tell(&["-n", "2", "SET", "app:name", "first"]);
    redis.tell(&["-n", "2", "SET", "app:db:user", "u"]);
    redis.tell(&["SET", "app:name", "in another database"]);
    let node = redis.address();
    let flags = format!("redis --node {node}/2 --separator : --poll-interval 100ms");
    let scene = Scene::new("/app", ALL, &flags);
    scene.becomes("/app/name=first\n/app/db/user=u\n");
    redis.tell(&["-n", "2", "SET", "app:name", "second"]);
    scene.becomes("/app/name=second\n/app/db/user=u\n");
}

#[test]
fn consul_answers_when_something_changed() {
    let mut consul = Consul::start();
    consul.put("/v1/kv/app/name", "first");
    consul.put("/v1/kv/app/db/user", "u");
    consul.put("/v1/kv/apple", "not ours");
    let node = consul.address();
    let flags = format!("-backend consul -node 127.0.0.1:1 -node {node} -watch");
    let scene = Scene::new("/app", ALL, &flags);
    scene.becomes("/app/name=first\n/app/db/user=u\n");
    for name in ["second", "third"] {
        consul.put("/v1/kv/app/name", name);
        scene.becomes(&format!("/app/name={name}\n/app/db/user=u\n"));
    }
    // It forgets everything, its index as well.
    consul.kill();
    scene.complains("Consul at");
    consul.restart();
    consul.put("/v1/kv/app/name", "anew");
    scene.becomes("/app/name=anew\n");
}

#[test]
fn zookeeper_tells_of_its_leaves() {
    let mut server = ZooKeeper::start();
    let runtime = Runtime::new().unwrap();
    let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let connect = || {
        let client = runtime.block_on(Client::connect(&server.address().to_string()));
        client.unwrap()
    };
    let client = connect();
    let make = |path: &str, value: &str| {
        let made = runtime.block_on(client.create(path, value.as_bytes(), &open));
        made.unwrap();
    };
    make("/app", "a folder");
    make("/app/name", "first");
    make("/app/db", "a folder");
    make("/app/db/user", "u");
    make("/apple", "not ours");
    let flags = format!("-backend zookeeper -node {} -watch", server.address());
    let scene = Scene::new("/app", ALL, &flags);
    scene.becomes("/app/name=first\n/app/db/user=u\n");
    runtime
        .block_on(client.set_data("/app/name", b"second", None))
        .unwrap();
    make("/app/new", "n");
    scene.becomes("/app/name=second\n/app/new=n\n/app/db/user=u\n");
    for path in ["/app/new", "/app/db/user"] {
        runtime.block_on(client.delete(path, None)).unwrap();
    }
    // What was a folder is a leaf now.
    scene.becomes("/app/db=a folder\n/app/name=second\n");
    drop(client);
    server.kill();
    scene.complains("ZooKeeper: ");
    server.restart();
    let client = runtime.block_on(Client::connect(&server.address().to_string()));
    runtime
        .block_on(client.unwrap().set_data("/app/name", b"third", None))
        .unwrap();
    scene.becomes("/app/db=a folder\n/app/name=third\n");
}

#[test]
fn vault_is_read_in_both_versions_and_its_token_kept_alive() {
    let server = Vault::start(Duration::from_secs(2));
    server.put("kv/app/name", json!({"value": "first"}));
    server.put("secret/app/db", json!({"user": "u", "password": "p"}));
    let node = server.address();
    let (role, secret) = vault::ROLE;
    let flags = format!(
        "-backend vault -node http://{node} -auth-type app-role -role-id {role} -secret-id {secret} \
         -path team/approle -watch --poll-interval 100ms"
    );
    let template = "{{ getv(key='/kv/app/name') }} {{ getv(key='/secret/app/db/user', default='-') }} \
                    {{ getv(key='/secret/app/new', default='-') }}\n";
    let scene = Scene::new("/kv/app, /secret/app", template, &flags);
    scene.becomes("first u -\n");
    server.put("kv/app/name", json!({"value": "second"}));
    server.put("secret/app/new", json!({"value": "n"}));
    server.delete("secret/app/db");
    scene.becomes("second - n\n");
    wait::until("the token to be renewed", wait::LONG, || {
        match server.renewals() {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        }
    });
    let logins = server.logins();
    server.revoke();
    server.put("kv/app/name", json!({"value": "third"}));
    scene.becomes("third - n\n");
    assert!(
        server.logins() > logins,
        "a token that was taken back is had anew"
    );
    server.seal(true);
    scene.complains("Vault is sealed");
    server.put("kv/app/name", json!({"value": "fourth"}));
    server.seal(false);
    scene.becomes("fourth - n\n");
}

#[test]
fn vault_takes_each_login_and_says_which_was_refused() {
    let server = Vault::start(Duration::from_secs(60));
    server.put("kv/app", json!({"value": "text"}));
    let node = server.address();
    let (name, password) = vault::PERSON;
    let (app, user) = vault::APPLICATION;
    for login in [
        format!("-auth-token {}", vault::ROOT),
        format!("-auth-type userpass -username {name} -password {password}"),
        format!("-auth-type app-id -app-id {app} -user-id {user}"),
    ] {
        let flags = format!("-backend vault -node {node} {login}");
        let scene = Scene::new("/kv/app", "{{ getv(key='/kv/app') }}\n", &flags);
        scene.becomes("text\n");
    }
    let login = "-auth-type userpass -username nora -password wrong";
    let flags = format!("-backend vault -node {node} {login}");
    let scene = Scene::new("/kv/app", "{{ getv(key='/kv/app') }}\n", &flags);
    scene.complains("invalid role or secret ID");
}
