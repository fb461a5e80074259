//! The running agent on real files and commands, with keys from memory.

use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use bytes::Bytes;
use store_client::mirror::{Cause, Change, Entry, Snapshot};
use tempfile::TempDir;

use super::*;

/// Longest wait for any state; reached only by a failure.
const LONG: Duration = Duration::from_secs(20);

type Keys = BTreeMap<String, String>;

/// Keys in memory. Each opened source lists what is there and then follows.
#[derive(Clone)]
struct Memory {
    keys: watch::Sender<(i64, Keys)>,
}

struct MemorySource {
    events: mpsc::Receiver<Event>,
    status: watch::Receiver<FeedStatus>,
    _keep: watch::Sender<FeedStatus>,
    task: tokio::task::JoinHandle<()>,
}

impl Memory {
    fn new() -> Self {
        Self {
            keys: watch::channel((1, Keys::new())).0,
        }
    }

    fn put(&self, pairs: &[(&str, &str)]) {
        self.keys.send_modify(|(revision, keys)| {
            *revision += 1;
            keys.extend(
                pairs
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
            );
        });
    }
}

impl Memory {
    fn remove(&self, key: &str) {
        self.keys.send_modify(|(revision, keys)| {
            *revision += 1;
            keys.remove(key);
        });
    }
}

fn entry(value: &str) -> Entry {
    Entry {
        value: Bytes::copy_from_slice(value.as_bytes()),
        create_revision: 1,
        mod_revision: 1,
    }
}

fn event(first: bool, before: &Keys, after: &Keys, revision: i64) -> Event {
    let entries = after
        .iter()
        .map(|(key, value)| (Bytes::from(key.clone()), entry(value)))
        .collect();
    let snapshot = Snapshot::from_entries(revision, entries);
    let changes = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value))
        .map(|(key, value)| Change {
            key: Bytes::from(key.clone()),
            before: before.get(key).map(|value| entry(value)),
            after: Some(entry(value)),
        })
        .collect();
    match first {
        true => Event::Listed {
            snapshot,
            changes,
            cause: Cause::First,
        },
        false => Event::Advanced { snapshot, changes },
    }
}

impl Backend for Memory {
    fn open(&self, _: Vec<KeyRange>) -> Box<dyn Source> {
        let (tell, events) = mpsc::channel(4);
        let mut keys = self.keys.subscribe();
        let task = tokio::spawn(async move {
            let (mut before, mut first) = (Keys::new(), true);
            loop {
                let (revision, after) = keys.borrow_and_update().clone();
                if tell
                    .send(event(first, &before, &after, revision))
                    .await
                    .is_err()
                    || keys.changed().await.is_err()
                {
                    return;
                }
                (before, first) = (after, false);
            }
        });
        let (_keep, status) = watch::channel(FeedStatus::default());
        Box::new(MemorySource {
            events,
            status,
            _keep,
            task,
        })
    }
}

impl Source for MemorySource {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(context)
    }
    fn status(&self) -> watch::Receiver<FeedStatus> {
        self.status.clone()
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A configuration directory, a place for files, keys, and perhaps a running agent.
struct Home {
    directory: TempDir,
    memory: Memory,
}

impl Home {
    fn new() -> Self {
        let home = Self {
            directory: tempfile::tempdir().unwrap(),
            memory: Memory::new(),
        };
        for name in ["confd/conf.d", "confd/templates", "out"] {
            std::fs::create_dir_all(home.path(name)).unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A resource that writes `out/<name>` from `<name>.tera`.
    fn resource(&self, name: &str, extra: &str) {
        let dest = self.path("out").join(name);
        let text = format!(
            "src: {name}.tera\ndest: {}\nkeys: [/]\nquiet_min: 0\n{extra}",
            dest.display()
        );
        self.write(&format!("confd/conf.d/{name}.yaml"), &text);
    }

    fn template(&self, name: &str, text: &str) {
        self.write(&format!("confd/templates/{name}.tera"), text);
    }

    fn config(&self) -> Config {
        let mut config = Config::new(Vec::new(), self.path("confd"));
        config.state_dir = Some(self.path("state"));
        config
    }

    async fn start(&self) -> Agent {
        self.start_as(self.config()).await
    }

    async fn start_as(&self, config: Config) -> Agent {
        Agent::start_with(config, Box::new(self.memory.clone()))
            .await
            .unwrap()
    }
}

async fn wait_for(agent: &Agent, what: &str, condition: impl FnMut(&Status) -> bool) -> Status {
    let mut status = agent.status();
    match tokio::time::timeout(LONG, status.wait_for(condition)).await {
        Ok(status) => status.unwrap().clone(),
        Err(_) => panic!("no {what}: {}", agent.status().borrow().to_json()),
    }
}

fn resource<'a>(status: &'a Status, name: &str) -> &'a status::Resource {
    status
        .resources
        .iter()
        .find(|resource| resource.name == name)
        .unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn keys_become_files_and_reloads() {
    let home = Home::new();
    home.template("web", "a={{ getv(key='/a') }}\n");
    let log = home.path("log");
    let commands = format!(
        "check_cmd: grep -q a= {{{{src}}}}\nreload_cmd: cat {{{{dest}}}} >> {}\n",
        log.display()
    );
    home.resource("web", &commands);
    home.memory.put(&[("/a", "1")]);
    let agent = home.start().await;
    wait_for(&agent, "first file", |status| status.ready).await;
    assert_eq!(home.read("out/web"), "a=1\n");
    home.memory.put(&[("/a", "2")]);
    let status = wait_for(&agent, "second file", |status| {
        resource(status, "web").reloads == 2
    })
    .await;
    assert_eq!(home.read("log"), "a=1\na=2\n");
    assert_eq!(
        resource(&status, "web").applied,
        resource(&status, "web").reloaded
    );
    home.memory.put(&[("/other", "x")]);
    let status = wait_for(&agent, "newest revision", |status| {
        resource(status, "web").revision == 4
    })
    .await;
    assert_eq!(
        resource(&status, "web").passes,
        2,
        "what it does not read wakes nobody"
    );
    agent.stop().await;
    assert_eq!(names(&home.path("out")), ["web"]);
}

#[tokio::test]
async fn a_check_that_fails_keeps_the_old_file_and_heals_with_its_cause() {
    let home = Home::new();
    home.template("web", "{{ getv(key='/a') }}");
    let allowed = home.path("allowed");
    home.resource(
        "web",
        &format!(
            "check_cmd: \"echo '[emerg] not now'; test -e {}\"\n",
            allowed.display()
        ),
    );
    home.write("out/web", "old");
    home.memory.put(&[("/a", "new")]);
    let agent = home.start().await;
    let status = wait_for(&agent, "fault", |status| {
        resource(status, "web").attempts >= 2
    })
    .await;
    let stale = resource(&status, "web").stale.as_ref().unwrap();
    assert_eq!(stale.step, "check");
    assert_eq!(
        stale.problem.message,
        "check_cmd failed (exit status: 1): [emerg] not now"
    );
    assert_eq!(home.read("out/web"), "old");
    assert_eq!(names(&home.path("out")), ["web"], "nothing staged is left");
    assert!(!status.ready);
    std::fs::write(allowed, "").unwrap();
    wait_for(&agent, "new file", |status| status.ready).await;
    assert_eq!(home.read("out/web"), "new");
    agent.stop().await;
}

#[tokio::test]
async fn a_reload_that_fails_is_tried_again_also_by_the_next_life() {
    let home = Home::new();
    home.template("web", "{{ getv(key='/a') }}");
    let up = home.path("up");
    home.resource("web", &format!("reload_cmd: test -e {}\n", up.display()));
    home.memory.put(&[("/a", "1")]);
    let agent = home.start().await;
    wait_for(&agent, "fault", |status| {
        resource(status, "web").stale.is_some()
    })
    .await;
    assert_eq!(home.read("out/web"), "1", "the file is in place");
    agent.stop().await;
    std::fs::write(up, "").unwrap();
    let agent = home.start().await;
    let status = wait_for(&agent, "reload", |status| status.ready).await;
    let web = resource(&status, "web");
    assert_eq!(
        (web.reloads, web.replaced),
        (1, 0),
        "only the reload was missing"
    );
    agent.stop().await;
    let agent = home.start().await;
    let status = wait_for(&agent, "third life", |status| status.ready).await;
    assert_eq!(
        resource(&status, "web").reloads,
        0,
        "nothing is missing any more"
    );
    agent.stop().await;
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_and_the_others_go_on() {
    let home = Home::new();
    home.template("slow", "x");
    home.template("fast", "{{ getv(key='/a') }}");
    home.resource(
        "slow",
        "reload_cmd: sleep 1000\nreload_cmd_timeout: 200ms\n",
    );
    home.resource("fast", "");
    home.memory.put(&[("/a", "1")]);
    let agent = home.start().await;
    wait_for(&agent, "fast", |status| {
        resource(status, "fast").state == "current"
    })
    .await;
    let status = wait_for(&agent, "fault", |status| {
        resource(status, "slow").stale.is_some()
    })
    .await;
    let stale = resource(&status, "slow").stale.as_ref().unwrap();
    assert_eq!(stale.problem.message, "reload_cmd was killed after 200ms");
    agent.stop().await;
}

#[tokio::test]
async fn edits_are_noticed_and_bad_ones_keep_the_old_set() {
    let home = Home::new();
    home.template("web", "one {{ getv(key='/a') }}");
    home.resource("web", "");
    home.memory.put(&[("/a", "1")]);
    let agent = home.start().await;
    wait_for(&agent, "first file", |status| status.ready).await;
    home.template("web", "two {{ getv(key='/a') }}");
    wait_for(&agent, "edited template", |status| {
        resource(status, "web").replaced == 2
    })
    .await;
    assert_eq!(home.read("out/web"), "two 1");
    home.template("web", "three {{ getv(key='/a' }}");
    let status = wait_for(&agent, "fault", |status| {
        resource(status, "web").load_fault.is_some()
    })
    .await;
    let fault = resource(&status, "web").load_fault.as_ref().unwrap();
    assert!(
        fault.message.starts_with("template web.tera:1:"),
        "{}",
        fault.message
    );
    home.memory.put(&[("/a", "2")]);
    wait_for(&agent, "old template on", |status| {
        resource(status, "web").replaced == 3
    })
    .await;
    assert_eq!(home.read("out/web"), "two 2");
    home.template("new", "n");
    home.resource("new", "");
    home.template("web", "four");
    wait_for(&agent, "mended", |status| {
        status.resources.len() == 2
            && status
                .resources
                .iter()
                .all(|resource| resource.state == "current")
    })
    .await;
    assert_eq!(
        (home.read("out/web"), home.read("out/new")),
        ("four".to_owned(), "n".to_owned())
    );
    agent.stop().await;
}

#[tokio::test]
async fn once_ends_with_its_outcome_and_noop_changes_nothing() {
    let home = Home::new();
    home.template("web", "{{ getv(key='/a') }}");
    home.resource("web", "");
    home.memory.put(&[("/a", "1")]);
    let noop = Config {
        noop: true,
        onetime: true,
        ..home.config()
    };
    let agent = home.start_as(noop).await;
    let status = wait_for(&agent, "outcome", |status| status.finished.is_some()).await;
    assert!(resource(&status, "web").would_change && !home.path("out/web").exists());
    agent.stop().await;

    let once = Config {
        onetime: true,
        ..home.config()
    };
    let agent = home.start_as(once.clone()).await;
    let status = wait_for(&agent, "outcome", |status| status.finished.is_some()).await;
    assert_eq!(status.finished, Some(true));
    assert_eq!(home.read("out/web"), "1");
    agent.stop().await;

    home.template("bad", "{{ nope }}");
    home.resource("bad", "");
    let agent = home.start_as(once).await;
    let status = wait_for(&agent, "outcome", |status| status.finished.is_some()).await;
    assert_eq!(status.finished, Some(false));
    agent.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error_with_a_hint() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config {
        listen: Some(taken.local_addr().unwrap()),
        ..home.config()
    };
    let error = Agent::start_with(config, Box::new(home.memory.clone()))
        .await
        .unwrap_err();
    assert!(
        chain(&error).starts_with("listen on 127.0.0.1:"),
        "{}",
        chain(&error)
    );
    assert!(error.hint().unwrap().contains("--listen"));
}

#[tokio::test]
async fn an_unusable_state_directory_is_a_problem_not_the_end() {
    let home = Home::new();
    home.template("web", "x");
    home.resource("web", "");
    let config = Config {
        state_dir: Some("/dev/null/state".into()),
        ..home.config()
    };
    let agent = home.start_as(config).await;
    let status = wait_for(&agent, "file", |status| status.ready).await;
    assert!(
        status.problems[0].starts_with("state directory /dev/null/state cannot be used"),
        "{:?}",
        status.problems
    );
    agent.stop().await;
}

#[tokio::test]
async fn three_hundred_changes_in_a_burst_are_few_passes() {
    let home = Home::new();
    home.template(
        "web",
        "{% for p in gets(pattern='/s/*') %}{{ p.key }}\n{% endfor %}",
    );
    let text = format!(
        "src: web.tera\ndest: {}\nkeys: [/]\n",
        home.path("out/web").display()
    );
    home.write("confd/conf.d/web.yaml", &text);
    let agent = home.start().await;
    wait_for(&agent, "first file", |status| status.ready).await;
    let before = resource(&agent.status().borrow(), "web").passes;
    for number in 0..300 {
        home.memory.put(&[(&format!("/s/{number}"), "x")]);
        tokio::task::yield_now().await;
    }
    let status = wait_for(&agent, "all", |status| {
        let web = resource(status, "web");
        web.state == "current" && web.revision == 301
    })
    .await;
    assert_eq!(home.read("out/web").lines().count(), 300);
    assert!(
        resource(&status, "web").passes - before <= 3,
        "{} passes",
        resource(&status, "web").passes - before
    );
    agent.stop().await;
}

/// A resource that makes `out/<name>.conf` for each name below `/sites`, and tells `log` of each reload.
fn sites(home: &Home, more: &str) {
    home.template("sites", "{{ vars.each }}={{ getv(key='/port') }}");
    let text = format!(
        "src: sites.tera\ndest: {}/{{{{name}}}}.conf\nfor_each: /sites\nprefix: '/sites/{{{{name}}}}'\nkeys: [/]\n\
         quiet_min: 0\nreload_cmd: echo {{{{name}}}} >> {}\n{more}",
        home.path("out").display(),
        home.path("log").display(),
    );
    home.write("confd/conf.d/sites.yaml", &text);
}

#[tokio::test]
async fn each_name_has_a_file_that_goes_with_it() {
    let home = Home::new();
    sites(&home, "");
    home.memory
        .put(&[("/sites/a/port", "1"), ("/sites/b/port", "2")]);
    home.write("out/foreign.conf", "nobody's");
    let agent = home.start().await;
    wait_for(&agent, "two files", |status| {
        status.ready && status.resources.len() == 2
    })
    .await;
    assert_eq!(home.read("out/a.conf"), "a=1");
    assert_eq!(home.read("out/b.conf"), "b=2");
    home.memory.put(&[("/sites/c/port", "3")]);
    wait_for(&agent, "a third", |status| {
        status.ready && status.resources.len() == 3
    })
    .await;
    home.memory.remove("/sites/b/port");
    wait_for(&agent, "the end of one", |status| {
        status.ready && status.resources.len() == 2
    })
    .await;
    assert_eq!(
        names(&home.path("out")),
        ["a.conf", "c.conf", "foreign.conf"]
    );
    let mut told: Vec<String> = home.read("log").lines().map(str::to_owned).collect();
    told.sort();
    assert_eq!(
        told,
        ["a", "b", "b", "c"],
        "the service is told of the end, too"
    );
    agent.stop().await;
    // Nobody was there when these went; one more stands elsewhere from now on.
    home.memory.remove("/sites/a/port");
    let text = home.read("confd/conf.d/sites.yaml");
    home.write(
        "confd/conf.d/sites.yaml",
        &text.replace("{{name}}.conf", "new-{{name}}.conf"),
    );
    let agent = home.start().await;
    wait_for(&agent, "the new place", |status| {
        status.ready && status.resources.len() == 1
    })
    .await;
    assert_eq!(names(&home.path("out")), ["foreign.conf", "new-c.conf"]);
    agent.stop().await;
}

#[tokio::test]
async fn a_file_whose_reload_fails_is_gone_until_the_service_is_told() {
    let home = Home::new();
    let up = home.path("up");
    sites(&home, "rollback: false\n");
    let text = home.read("confd/conf.d/sites.yaml");
    let told = format!("reload_cmd: test -e {} && echo", up.display());
    home.write(
        "confd/conf.d/sites.yaml",
        &text.replace("reload_cmd: echo", &told),
    );
    home.memory.put(&[("/sites/a/port", "1")]);
    std::fs::write(&up, "").unwrap();
    let agent = home.start().await;
    wait_for(&agent, "the file", |status| {
        status.ready && status.resources.len() == 1
    })
    .await;
    std::fs::remove_file(&up).unwrap();
    home.memory.remove("/sites/a/port");
    wait_for(&agent, "the fault", |status| {
        resource(status, "sites/a").stale.is_some()
    })
    .await;
    assert_eq!(names(&home.path("out")), [""; 0]);
    agent.stop().await;
    std::fs::write(&up, "").unwrap();
    let agent = home.start().await;
    wait_for(&agent, "nothing left", |status| {
        status.finished.is_none() && status.source.revision > 0 && status.resources.is_empty()
    })
    .await;
    assert_eq!(home.read("log"), "a\na\n");
    agent.stop().await;
}

#[tokio::test]
async fn what_is_left_is_emptied_or_kept_if_so_wished() {
    for (policy, left) in [("empty", ""), ("keep", "a=1")] {
        let home = Home::new();
        sites(&home, &format!("on_missing: {policy}\n"));
        home.memory
            .put(&[("/sites/a/port", "1"), ("/sites/b/port", "2")]);
        let agent = home.start().await;
        wait_for(&agent, "two files", |status| {
            status.ready && status.resources.len() == 2
        })
        .await;
        home.memory.remove("/sites/a/port");
        wait_for(&agent, "what is left", |status| {
            let seen = status.source.revision == 3 && status.ready;
            let there = status.resources.iter().any(|one| one.name == "sites/a");
            seen && there == (policy == "empty") && home.read("out/a.conf") == left
        })
        .await;
        assert!(home.path("out/a.conf").exists());
        agent.stop().await;
    }
}

#[tokio::test]
async fn a_resource_sees_its_own_backends_on_top_of_each_other() {
    let home = Home::new();
    let (base, live) = (home.path("base.yaml"), home.path("live.yaml"));
    home.write("base.yaml", "name: base\nport: 80\n");
    home.write("live.yaml", "name: live\n");
    let named = format!("[backends.base]\nbackend = \"file\"\nfile = [{base:?}]\n");
    home.write("confd/confd.toml", &named);
    let text = "{{ getv(key='/name') }}:{{ getv(key='/port', default='-') }}";
    for name in ["own", "all", "bad"] {
        home.template(name, text);
    }
    let layers = format!("[base, {{backend: file, file: [{}]}}]", live.display());
    home.resource("own", &format!("backends: {layers}\n"));
    home.resource("all", "");
    home.resource("bad", "backends: bsae\n");
    home.memory.put(&[("/name", "all")]);
    let args = crate::Args {
        confdir: Some(home.path("confd")),
        state_dir: Some(home.path("state")),
        publish_status: Some(false),
        ..crate::Args::default()
    };
    let agent = home.start_as(args.resolve().unwrap()).await;
    let applied = |status: &Status, name: &str| resource(status, name).succeeded_unix_ms.is_some();
    let status = wait_for(&agent, "two files", |status| {
        status.resources.len() == 3 && applied(status, "own") && applied(status, "all")
    })
    .await;
    let fault = resource(&status, "bad").load_fault.clone().unwrap();
    assert!(fault.message.contains("backend bsae"), "{fault:?}");
    assert_eq!(home.read("out/own"), "live:80");
    assert_eq!(home.read("out/all"), "all:-");
    home.write("live.yaml", "port: 81\n");
    wait_for(&agent, "the one below", |_| {
        home.read("out/own") == "base:81"
    })
    .await;
    home.memory.put(&[("/port", "1")]);
    wait_for(&agent, "the other", |_| home.read("out/all") == "all:1").await;
    agent.stop().await;
}
