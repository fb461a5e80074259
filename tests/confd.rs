//! confd on real files and real commands: what it renders, and what it does when something about a template, a check, a
//! reload or the store is wrong. Each test runs against our store and against a real etcd.

use std::path::PathBuf;
use std::time::Duration;

use end_to_end::agents::Agent;
use end_to_end::complaint::Complaint;
use end_to_end::confdir::Confdir;
use end_to_end::etcdctl::Etcdctl;
use end_to_end::store::{Maker, Store};
use end_to_end::wait;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// One store and one folder.
struct Scene {
    store: Store,
    client: Etcdctl,
    confdir: Confdir,
}

impl Scene {
    fn new(maker: Maker) -> Self {
        let store = Store::start(maker);
        let client = store.client();
        Self {
            store,
            client,
            confdir: Confdir::new(),
        }
    }

    fn agent(&self) -> Agent {
        Agent::confd(MUSTER, self.confdir.path(), &self.store.endpoint())
    }

    fn put(&self, key: &str, value: &str) {
        assert_eq!(self.client.run(&["put", "--", key, value]), "OK\n");
    }

    /// A line in a log file that a command of a resource appends to.
    fn log(&self) -> String {
        std::fs::read_to_string(self.confdir.path().join("log")).unwrap_or_default()
    }

    fn says(&self, word: &str) -> String {
        format!(
            "echo {word} >> {}",
            self.confdir.path().join("log").display()
        )
    }
}

fn muster() -> Maker {
    Maker::Muster(PathBuf::from(MUSTER))
}

fn on_both(test: impl Fn(&Scene)) {
    for maker in [muster(), Maker::Etcd] {
        test(&Scene::new(maker));
    }
}

const GREETING: &str = "hello {{ getv(key='/name') }}\n";

#[test]
fn renders_once_and_on_every_change() {
    on_both(|scene| {
        scene.put("/name", "first");
        scene
            .confdir
            .add("greeting", "/name", GREETING, "mode: \"0640\"");
        let mut agent = scene.agent().started();
        scene.confdir.becomes("greeting", "hello first\n");
        for name in ["second", "third", "with \"quotes\" and a\nnewline"] {
            scene.put("/name", name);
            scene
                .confdir
                .becomes("greeting", &format!("hello {name}\n"));
        }
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(scene.confdir.output("greeting"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o640);
        agent.stop();
    });
}

#[test]
fn onetime_renders_and_ends_and_noop_changes_nothing() {
    on_both(|scene| {
        scene.put("/name", "once");
        scene.confdir.add("greeting", "/name", GREETING, "");
        let flags =
            |flag| Agent::confd_flags(MUSTER, scene.confdir.path(), &scene.store.endpoint(), flag);
        let mut noop = flags(&["--onetime", "--noop"]).started();
        assert!(
            noop.process().wait_exit(wait::LONG).success(),
            "{}",
            noop.process().tail()
        );
        assert_eq!(scene.confdir.rendered("greeting"), None);
        let mut once = flags(&["--onetime"]).started();
        assert!(
            once.process().wait_exit(wait::LONG).success(),
            "{}",
            once.process().tail()
        );
        assert_eq!(
            scene.confdir.rendered("greeting").as_deref(),
            Some("hello once\n")
        );
    });
}

#[test]
fn a_burst_ends_in_the_last_state_with_few_reloads() {
    on_both(|scene| {
        let more = format!(
            "quiet_min: 100ms\nquiet_max: 1s\nreload_cmd: \"{}\"",
            scene.says("reloaded")
        );
        scene.put("/name", "0");
        scene.confdir.add_raw("greeting", "/name", GREETING, &more);
        let _agent = scene.agent().started();
        scene.confdir.becomes("greeting", "hello 0\n");
        for number in 1..=50 {
            scene.put("/name", &number.to_string());
        }
        scene.confdir.becomes("greeting", "hello 50\n");
        wait::until("the reload", wait::LONG, || {
            if scene.log().lines().count() >= 2 {
                Ok(())
            } else {
                Err(scene.log())
            }
        });
        let reloads = scene.log().lines().count();
        assert!(reloads <= 25, "{reloads} reloads for 51 changes");
    });
}

#[test]
fn a_check_that_fails_keeps_the_old_file_until_it_passes() {
    on_both(|scene| {
        let more = format!(
            "check_cmd: \"! grep -q bad {{{{.src}}}}\"\nreload_cmd: \"{}\"",
            scene.says("reloaded")
        );
        scene.put("/name", "good");
        scene.confdir.add("greeting", "/name", GREETING, &more);
        let mut agent = scene.agent().started();
        scene.confdir.becomes("greeting", "hello good\n");
        scene.put("/name", "bad");
        agent.process().wait_line("check_cmd", wait::LONG);
        scene
            .confdir
            .stays("greeting", "hello good\n", Duration::from_millis(500));
        scene.put("/name", "better");
        scene.confdir.becomes("greeting", "hello better\n");
        wait::until("two reloads", wait::LONG, || {
            if scene.log() == "reloaded\nreloaded\n" {
                Ok(())
            } else {
                Err(scene.log())
            }
        });
    });
}

#[test]
fn a_check_that_hangs_is_killed_with_all_it_started() {
    on_both(|scene| {
        let mark = scene.confdir.path().join("check.pid").display().to_string();
        // The child of the shell is what hangs; killing the shell alone would leave it.
        let command = format!(
            "grep -q slow {{{{.src}}}} && {{ sleep 600 & echo $! > {mark}; wait; }} || true"
        );
        scene.put("/name", "quick");
        scene.confdir.add(
            "greeting",
            "/name",
            GREETING,
            &format!("check_cmd: \"{command}\"\ncheck_cmd_timeout: 300ms"),
        );
        let mut agent = scene.agent().started();
        scene.confdir.becomes("greeting", "hello quick\n");
        scene.put("/name", "slow");
        let pid = wait::until("the check to hang", wait::LONG, || {
            std::fs::read_to_string(&mark)
                .map_err(|cause| cause.to_string())
                .and_then(|text| {
                    let text = text.trim().to_owned();
                    if text.is_empty() {
                        Err("empty".into())
                    } else {
                        Ok(text)
                    }
                })
        });
        agent.process().wait_line("check_cmd", wait::LONG);
        wait::until("the hanging child to be gone", wait::LONG, || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // A zombie waits for init only: it is dead.
            if stat.is_empty() || stat.contains(") Z ") {
                Ok(())
            } else {
                Err(stat)
            }
        });
        assert_eq!(
            scene.confdir.rendered("greeting").as_deref(),
            Some("hello quick\n")
        );
        scene.put("/name", "quick again");
        scene.confdir.becomes("greeting", "hello quick again\n");
    });
}

#[test]
fn a_reload_that_fails_is_tried_until_it_works() {
    on_both(|scene| {
        let ready = scene.confdir.path().join("ready");
        let more = format!(
            "reload_cmd: \"test -e {} && {}\"",
            ready.display(),
            scene.says("reloaded")
        );
        scene.put("/name", "x");
        scene.confdir.add("greeting", "/name", GREETING, &more);
        let mut agent = scene.agent().started();
        scene.confdir.becomes("greeting", "hello x\n");
        agent.process().wait_line("reload_cmd", wait::LONG);
        assert_eq!(scene.log(), "");
        std::fs::write(&ready, "").expect("write");
        wait::until("the reload", wait::LONG, || {
            if scene.log() == "reloaded\n" {
                Ok(())
            } else {
                Err(scene.log())
            }
        });
    });
}

#[test]
fn content_that_the_service_does_not_take_is_taken_back_until_it_changes() {
    on_both(|scene| {
        // A service that copies its file when told, and silently keeps the old copy when it does not like the new one.
        let (file, running) = (
            scene.confdir.output("greeting"),
            scene.confdir.path().join("running"),
        );
        let (file, running) = (file.display(), running.display());
        let more = format!(
            "reload_cmd: \"grep -q poison {file} || cp {file} {running}; {}\"\nverify_cmd: \"cmp {file} {running}\"",
            scene.says("reloaded")
        );
        let read =
            || std::fs::read_to_string(scene.confdir.path().join("running")).unwrap_or_default();
        scene.put("/name", "x");
        scene.confdir.add("greeting", "/name", GREETING, &more);
        let mut agent = scene.agent().started();
        agent.process().wait_line("verified", wait::LONG);
        scene.put("/name", "poison");
        agent
            .process()
            .wait_line("the last good one is back in place", wait::LONG);
        wait::until("the verdict to be kept", wait::LONG, || {
            let state = std::fs::read_to_string(scene.confdir.path().join("state/state.json"));
            match state.unwrap_or_default() {
                state if state.contains("\"bad\": \"") => Ok(()),
                state => Err(state),
            }
        });
        assert_eq!(
            (
                scene.confdir.rendered("greeting").as_deref(),
                read().as_str()
            ),
            (Some("hello x\n"), "hello x\n")
        );
        // Also for the next life, without another try.
        let tries = scene.log().lines().count();
        agent.kill();
        agent.start();
        agent
            .process()
            .wait_line("configuration loaded", wait::LONG);
        scene
            .confdir
            .stays("greeting", "hello x\n", Duration::from_secs(1));
        assert_eq!(scene.log().lines().count(), tries);
        scene.put("/name", "y");
        scene.confdir.becomes("greeting", "hello y\n");
        agent.process().wait_line("verified", wait::LONG);
        assert_eq!(read(), "hello y\n");
    });
}

#[test]
fn a_reload_that_hangs_is_killed_and_tried_again() {
    on_both(|scene| {
        let once = scene.confdir.path().join("once");
        let command = format!(
            "test -e {once} || {{ touch {once}; sleep 600; }}; {log}",
            once = once.display(),
            log = scene.says("reloaded")
        );
        scene.put("/name", "x");
        let more = format!("reload_cmd: \"{command}\"\nreload_cmd_timeout: 300ms");
        scene.confdir.add("greeting", "/name", GREETING, &more);
        let mut agent = scene.agent().started();
        agent.process().wait_line("reload_cmd", wait::LONG);
        wait::until("the second reload", wait::LONG, || {
            if scene.log() == "reloaded\n" {
                Ok(())
            } else {
                Err(scene.log())
            }
        });
        scene.confdir.becomes("greeting", "hello x\n");
    });
}

#[test]
fn a_reload_cut_short_by_kill_9_is_made_up_for() {
    on_both(|scene| {
        let (log, block) = (scene.says("reloaded"), scene.confdir.path().join("block"));
        std::fs::write(&block, "").expect("write");
        let command = format!(
            "while test -e {}; do sleep 0.02; done; {log}",
            block.display()
        );
        scene.put("/name", "x");
        scene.confdir.add(
            "greeting",
            "/name",
            GREETING,
            &format!("reload_cmd: \"{command}\""),
        );
        let mut agent = scene.agent().started();
        // The file is in place and the reload under way when the agent is killed.
        scene.confdir.becomes("greeting", "hello x\n");
        agent.kill();
        agent.start();
        std::fs::remove_file(&block).expect("remove");
        wait::until("the reload after the restart", wait::LONG, || {
            if scene.log().contains("reloaded") {
                Ok(())
            } else {
                Err(agent.process().tail())
            }
        });
        assert_eq!(
            scene.confdir.rendered("greeting").as_deref(),
            Some("hello x\n")
        );
    });
}

#[test]
fn one_bad_template_or_resource_stops_no_other_and_is_named_with_its_place() {
    on_both(|scene| {
        scene.put("/name", "x");
        scene.confdir.add("good", "/name", GREETING, "");
        scene
            .confdir
            .add("broken", "/name", "fine\n{{ getv(key= }}\n", "");
        scene
            .confdir
            .add("misspelt", "/name", GREETING, "relaod_cmd: \"true\"");
        scene.confdir.add("unknown", "/name", "{{ upstreams }}", "");
        let mut agent = scene.agent().started();
        scene.confdir.becomes("good", "hello x\n");
        let process = agent.process();
        process.wait_line("broken.tera:2:", wait::LONG);
        process.wait_line("unknown.tera:1:4", wait::LONG);
        process.wait_line("relaod_cmd", wait::LONG);
        process.wait_line("reload_cmd", wait::LONG);
        scene.put("/name", "y");
        scene.confdir.becomes("good", "hello y\n");
        for name in ["broken", "misspelt", "unknown"] {
            assert_eq!(scene.confdir.rendered(name), None, "{name}");
        }
    });
}

#[test]
fn a_key_that_goes_missing_keeps_the_last_good_file() {
    on_both(|scene| {
        scene.put("/name", "x");
        scene.confdir.add("greeting", "/name", GREETING, "");
        let mut agent = scene.agent().started();
        scene.confdir.becomes("greeting", "hello x\n");
        assert_eq!(scene.client.run(&["del", "/name"]), "1\n");
        agent.process().wait_line("/name", wait::LONG);
        scene
            .confdir
            .stays("greeting", "hello x\n", Duration::from_millis(500));
        scene.put("/name", "back");
        scene.confdir.becomes("greeting", "hello back\n");
    });
}

#[test]
fn a_store_that_goes_leaves_the_last_good_file_and_is_waited_for() {
    for maker in [muster(), Maker::Etcd] {
        let mut scene = Scene::new(maker);
        scene.put("/name", "before");
        scene.confdir.add("greeting", "/name", GREETING, "");
        let mut agent = scene.agent().started();
        scene.confdir.becomes("greeting", "hello before\n");
        scene.store.kill();
        scene
            .confdir
            .stays("greeting", "hello before\n", Duration::from_millis(500));
        assert!(agent.process().exited().is_none());
        scene.store.restart();
        scene.put("/name", "after");
        scene.confdir.becomes("greeting", "hello after\n");
    }
}

#[test]
fn a_store_that_is_not_there_yet_is_waited_for() {
    let mut store = Store::prepare(muster());
    let confdir = Confdir::new();
    confdir.add("greeting", "/name", GREETING, "");
    let mut agent = Agent::confd(MUSTER, confdir.path(), &store.endpoint()).started();
    agent
        .process()
        .wait_line(&store.port().to_string(), wait::LONG);
    store.restart();
    assert_eq!(store.client().run(&["put", "/name", "late"]), "OK\n");
    confdir.becomes("greeting", "hello late\n");
}

#[test]
fn compaction_while_the_agent_is_away_is_survived() {
    on_both(|scene| {
        scene.put("/name", "1");
        scene.confdir.add("greeting", "/name", GREETING, "");
        let mut agent = scene.agent().started();
        scene.confdir.becomes("greeting", "hello 1\n");
        agent.kill();
        for number in 2..=20 {
            scene.put("/name", &number.to_string());
        }
        let _ = scene.client.run(&["compaction", "15"]);
        agent.start();
        scene.confdir.becomes("greeting", "hello 20\n");
    });
}

#[test]
fn wrong_flags_are_refused_with_a_suggestion() {
    let complaint =
        Complaint::of(std::process::Command::new(MUSTER).args(["confd", "--confdri", "x"]));
    complaint.names(&["--confdri"]);
    assert!(complaint.hint.contains("--confdir"), "{complaint:?}");
}
