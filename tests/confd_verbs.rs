//! What people ask of confd beside running it, as they type it: diff, render, lint, test, history, rollback. Keys come
//! from a file, so no store is needed.

use std::path::PathBuf;
use std::process::{Command, Output};

use end_to_end::confdir::Confdir;
use end_to_end::process::{Process, Signal};
use end_to_end::wait;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

struct Setup {
    confdir: Confdir,
}

impl Setup {
    fn new() -> Self {
        let setup = Self {
            confdir: Confdir::new(),
        };
        setup.keys("one");
        let template =
            "name {{ getv(key='/name') }}\nurl db://shop:{{ getv(key='/db/password') }}@db\n";
        let more = "reload_cmd: \"true\"\ncheck_cmd: \"true\"";
        setup.confdir.add("web", "/name, /db", template, more);
        setup
    }

    fn keys(&self, name: &str) {
        let text = format!("name: {name}\ndb: {{password: hunter-{name}}}\n");
        self.confdir.write("keys.yaml", &text);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.confdir.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(MUSTER);
        command
            .arg("confd")
            .args(line.split_whitespace())
            .args(["--backend", "file", "--confdir"])
            .arg(self.confdir.path())
            .arg("--file")
            .arg(self.path("keys.yaml"))
            .arg("--state-dir")
            .arg(self.path("state"));
        command
    }

    /// Exit status and what it said on either channel.
    #[track_caller]
    fn asked(&self, line: &str) -> (Option<i32>, String) {
        let output: Output = self.command(line).output().expect("muster runs");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text)
    }

    #[track_caller]
    fn applied(&self, name: &str) {
        self.keys(name);
        let (code, text) = self.asked("--onetime");
        assert_eq!(code, Some(0), "{text}");
    }

    fn file(name: &str) -> String {
        format!("name {name}\nurl db://shop:hunter-{name}@db\n")
    }
}

#[test]
fn diff_shows_what_would_change_without_secrets() {
    let setup = Setup::new();
    setup.applied("one");
    assert_eq!(setup.asked("diff"), (Some(0), String::new()));
    setup.keys("two");
    let (code, text) = setup.asked("diff web");
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("-name one\n") && text.contains("+name two\n"),
        "{text}"
    );
    assert!(text.contains("+url db://shop:[redacted]@db"), "{text}");
    assert!(!text.contains("hunter-second"), "{text}");
    assert_eq!(setup.confdir.rendered("web"), Some(Setup::file("one")));
    setup.confdir.write("templates/web.tera", "{{ nope(");
    let (code, text) = setup.asked("diff");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("web.tera:1"), "{text}");
    let (code, text) = setup.asked("diff nosuch");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("there is no resource"), "{text}");
}

#[test]
fn render_tells_where_each_value_comes_from() {
    let setup = Setup::new();
    assert_eq!(setup.asked("render web"), (Some(0), Setup::file("one")));
    let (code, text) = setup.asked("render web --explain");
    assert_eq!(code, Some(0), "{text}");
    let row = |key: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(key));
        line.unwrap_or_else(|| panic!("{text}"))
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    assert_eq!(row("/name"), ["/name", "one", "1", "/name", "web.tera:1"]);
    assert_eq!(row("/db/password")[1], "[redacted]");
    assert_eq!(row("/db/password")[4], "web.tera:2");
    assert!(!text.contains("hunter-second"), "{text}");
}

#[test]
fn render_asks_the_running_agent_how_it_stands() {
    let setup = Setup::new();
    let port = end_to_end::port::free();
    let line = format!("--watch --listen 127.0.0.1:{port}");
    let agent = Process::spawn("confd", &mut setup.command(&line));
    setup.confdir.becomes("web", &Setup::file("one"));
    setup.keys("two");
    setup.confdir.becomes("web", &Setup::file("two"));
    wait::until("the agent to have done with it", wait::LONG, || {
        let (_, text) = setup.asked(&format!("render web --explain --listen 127.0.0.1:{port}"));
        let told = text.contains("agent: current") && text.contains("changed at revision");
        told.then_some(()).ok_or(text)
    });
    drop(agent);
}

#[test]
fn lint_finds_faults_and_doubts_without_keys() {
    let setup = Setup::new();
    let (code, text) = setup.asked("lint");
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "1 resources: 0 faults, 0 doubts\n")
    );
    setup.confdir.write(
        "templates/web.tera",
        "{{ getv(key='/name') }}\n{{ getv(key='/elsewhere') }}\n",
    );
    setup.confdir.add("bad", "/x", "{% if %}", "");
    let (code, text) = setup.asked("lint");
    assert_eq!(code, Some(1), "{text}");
    for line in [
        "web: fault: web.tera:2: getv reads /elsewhere, which is not within keys",
        "web: doubt: keys has /db, which no template reads",
        "bad: fault: template bad.tera:1",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn fixtures_hold_or_show_the_difference() {
    let setup = Setup::new();
    std::fs::create_dir(setup.path("tests")).expect("a folder");
    let fixture = |expected: &str| {
        let keys = "{/name: x, /db/password: y}";
        setup.confdir.write(
            "tests/web.yaml",
            &format!(
                "- {{resource: web, keys: {keys}, expect: \"{expected}\"}}\n\
                 - {{resource: web, keys: {keys}, contains: [\"name x\"], lacks: [\"name y\"]}}\n\
                 - {{resource: web, name: no name, fails: does not exist}}\n"
            ),
        );
        setup.asked("test")
    };
    let passed = (Some(0), "3 passed, 0 failed\n".to_owned());
    assert_eq!(fixture("name x\\nurl db://shop:y@db\\n"), passed);
    let (code, text) = fixture("name z\\nurl db://shop:y@db\\n");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("-name z\n+name x\n"), "{text}");
    assert!(text.contains("2 passed, 1 failed"), "{text}");
}

#[test]
fn files_for_each_name_and_those_of_a_set_have_fixtures_too() {
    let setup = set_up_a_set();
    setup
        .confdir
        .write("templates/site.tera", "port {{ getv(key='/port') }}\n");
    setup.confdir.write(
        "conf.d/sites.yaml",
        "src: site.tera\ndest: /nowhere/{{name}}.conf\nfor_each: /sites\nprefix: /sites/{{name}}\nkeys: [/port]\n",
    );
    std::fs::create_dir(setup.path("tests")).expect("make a folder");
    let fixtures = "- resource: sites/a\n  keys: {/sites/a/port: '80', /sites/b/port: '81'}\n  expect: \"port 80\\n\"\n\
        - resource: both/two\n  keys: {/name: x, /db/password: y}\n  expect: \"x y\\n\"\n";
    setup.confdir.write("tests/all.yaml", fixtures);
    assert_eq!(
        setup.asked("test"),
        (Some(0), "2 passed, 0 failed\n".to_owned())
    );
    assert_eq!(
        setup.asked("test sites"),
        (Some(0), "1 passed, 0 failed\n".to_owned())
    );
    setup.confdir.write(
        "tests/all.yaml",
        "- resource: sites\n  keys: {/sites/a/port: '80'}\n  expect: x\n",
    );
    let (code, text) = setup.asked("test");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("say which, like sites/a"), "{text}");
    let (code, text) = setup.asked("lint sites");
    assert_eq!(code, Some(0), "{text}");
    setup
        .confdir
        .write("templates/site.tera", "{{ getv(key='/other') }}\n");
    let (code, text) = setup.asked("lint sites");
    assert_eq!(code, Some(1), "{text}");
    // The agent's own file may be YAML, with the same words of advice.
    setup.confdir.write("confd.yaml", "listn: 127.0.0.1:0\n");
    let (code, text) = setup.asked("lint sites");
    assert!(
        code != Some(0) && text.contains("did you mean \"listen\"?"),
        "{text}"
    );
    setup
        .confdir
        .write("confd.yaml", "# nothing but the level\nlog-level: debug\n");
    let (_, text) = setup.asked("schema confd");
    let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(schema["properties"]["log-level"].is_object());
    setup.confdir.write("confd.toml", "");
    let (code, text) = setup.asked("lint sites");
    assert!(
        code != Some(0) && text.contains("stands beside confd.toml"),
        "{text}"
    );
}

#[test]
fn dev_shows_each_edit_and_changes_nothing() {
    let setup = Setup::new();
    setup.applied("one");
    let mut dev = Process::spawn("confd dev", &mut setup.command("dev web"));
    setup.keys("two");
    dev.wait_line("+name two", wait::LONG);
    setup.confdir.write(
        "templates/web.tera",
        "title {{ getv(key='/name') }}\npassword {{ getv(key='/db/password') }}\n",
    );
    dev.wait_line("+title two", wait::LONG);
    dev.wait_line("+password [redacted]", wait::LONG);
    setup.confdir.write("templates/web.tera", "{{ nope(");
    dev.wait_line("web.tera:1", wait::LONG);
    assert_eq!(setup.confdir.rendered("web"), Some(Setup::file("one")));
    // What only the old file knew, in a line that is gone, nobody can tell from text.
    assert!(!dev.tail().contains("hunter-two"), "{}", dev.tail());
}

#[test]
fn doctor_tells_what_is_different() {
    let setup = Setup::new();
    setup
        .confdir
        .add("old", "/name", "x", "mode: \"644\"\nowner: \"0\"");
    let (code, text) = setup.asked("doctor");
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "flags win over",
        "conf.d/old.yaml",
        "owner is set here",
        "mode 644 is octal",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_guard_keeps_servers_until_a_person_accepts_their_loss() {
    let setup = Setup::new();
    let template = "upstream shop {\n{% for one in getvs(pattern='/servers/*') %}\n  server {{ one | must_hostport }};\n\
        {% endfor %}\n}\n";
    let more = "guard: {lose_max: 50%}";
    setup.confdir.add("web", "/servers", template, more);
    let keys = |count: u8| {
        let servers: Vec<String> = (1..=count)
            .map(|number| format!("'10.0.0.{number}:80'"))
            .collect();
        let text = format!("servers: [{}]\nname: x\n", servers.join(", "));
        setup.confdir.write("keys.yaml", &text);
        let (code, text) = setup.asked("--onetime");
        let file = setup.confdir.rendered("web").unwrap_or_default();
        (code, file.matches("server ").count(), text)
    };
    for (count, code, left) in [(4, 0, 4), (2, 0, 2), (0, 1, 2), (4, 0, 4), (1, 1, 4)] {
        let (status, now, text) = keys(count);
        assert_eq!((status, now), (Some(code), left), "{count}: {text}");
        let told = text.contains("of its") && text.contains("--accept-loss");
        assert_eq!(told, code == 1, "{text}");
    }
    let (code, text) = setup.asked("--onetime --accept-loss");
    assert_eq!(code, Some(0), "{text}");
    let file = setup.confdir.rendered("web").unwrap_or_default();
    assert_eq!(file.matches("server ").count(), 1, "{file}");
}

/// A set of two files that show the name; the service takes both, or none.
fn set_up_a_set() -> Setup {
    let setup = Setup::new();
    for name in ["conf.d/web.yaml", "templates/web.tera"] {
        std::fs::remove_file(setup.path(name)).expect("remove it");
    }
    setup
        .confdir
        .write("templates/one.tera", "{{ getv(key='/name') }}\n");
    setup.confdir.write(
        "templates/two.tmpl",
        "{{getv \"/name\"}} {{getv \"/db/password\"}}\n",
    );
    let here = setup.confdir.path().display().to_string();
    // The check sees the set as it will stand; the service refuses a word, and writes down when it was told.
    setup.confdir.write(
        "conf.d/both.yaml",
        &format!(
            "keys: [/name, /db]\nquiet_min: 0s\n\
             files:\n- {{src: one.tera, dest: {here}/out/one}}\n\
             - {{src: two.tmpl, dest: {here}/out/two, check_cmd: 'grep -q hunter {{{{src}}}}'}}\n\
             check_cmd: cmp {{{{set}}}}{here}/out/one {here}/expected && grep -q . {{{{set}}}}{here}/out/two\n\
             reload_cmd: echo told >>{here}/told; ! grep -q refused {here}/out/two\n"
        ),
    );
    setup
}

#[test]
fn a_set_of_files_is_checked_switched_and_taken_back_as_one() {
    let setup = set_up_a_set();
    let rendered = || ["one", "two"].map(|name| setup.confdir.rendered(name).unwrap_or_default());
    let files = |name: &str| [format!("{name}\n"), format!("{name} hunter-{name}\n")];
    let told =
        || std::fs::read_to_string(setup.path("told")).map_or(0, |text| text.lines().count());
    let pass = |name: &str, expected: &str| {
        setup.keys(name);
        setup.confdir.write("expected", &format!("{expected}\n"));
        setup.asked("--onetime")
    };
    let (code, text) = pass("first", "first");
    assert_eq!(
        (code, rendered(), told()),
        (Some(0), files("first"), 1),
        "{text}"
    );
    // Nothing to do, and nothing is told.
    let (code, text) = pass("first", "first");
    assert_eq!((code, told()), (Some(0), 1), "{text}");
    // What the check of the whole refuses stays away, all of it.
    let (code, text) = pass("second", "other");
    assert_eq!(
        (code, rendered(), told()),
        (Some(1), files("first"), 1),
        "{text}"
    );
    let (code, text) = setup.asked("diff both");
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("+second") && text.contains("out/two"),
        "{text}"
    );
    assert!(!text.contains("hunter-second"), "{text}");
    // What the service refuses is taken back, all of it, and it is told once more.
    let (code, text) = pass("refused", "refused");
    assert_eq!(
        (code, rendered(), told()),
        (Some(1), files("first"), 3),
        "{text}"
    );
    assert!(
        text.contains("the last good one is back in place"),
        "{text}"
    );
    let (code, text) = pass("third", "third");
    assert_eq!(
        (code, rendered(), told()),
        (Some(0), files("third"), 4),
        "{text}"
    );
    let (code, text) = setup.asked("rollback both");
    assert_eq!(
        (code, rendered(), told()),
        (Some(0), files("first"), 5),
        "{text}"
    );
    // One that cannot be put in place keeps all of them away.
    std::fs::remove_file(setup.path("out/two")).expect("remove it");
    std::fs::create_dir(setup.path("out/two")).expect("make a folder in its place");
    let (code, text) = pass("fourth", "fourth");
    assert_eq!(
        (code, setup.confdir.rendered("one")),
        (Some(1), Some("first\n".to_owned())),
        "{text}"
    );
    std::fs::remove_dir(setup.path("out/two")).expect("remove the folder");
    // Nothing is left beside the files.
    let (code, text) = pass("fifth", "fifth");
    assert_eq!((code, rendered()), (Some(0), files("fifth")), "{text}");
    let left = std::fs::read_dir(setup.path("out")).expect("list the output");
    assert_eq!(left.count(), 2);
}

#[test]
fn what_was_in_place_is_listed_and_comes_back() {
    let setup = Setup::new();
    for name in ["one", "two", "three"] {
        setup.applied(name);
    }
    let (code, text) = setup.asked("history web");
    assert_eq!(code, Some(0), "{text}");
    let generations: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("generation"))
        .collect();
    assert_eq!(generations.len(), 3, "{text}");
    assert!(generations[0].contains("   3  ") && generations[0].ends_with("in place, running"));
    // Nobody runs: it is done here, and the next life keeps to it while the keys stay.
    let (code, text) = setup.asked("rollback web");
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "web: back at generation 2\n")
    );
    assert_eq!(setup.confdir.rendered("web"), Some(Setup::file("two")));
    let _ = setup.asked("--onetime");
    assert_eq!(setup.confdir.rendered("web"), Some(Setup::file("two")));
    // An agent runs: it is asked, also for what was taken back.
    let mut agent = Process::spawn("confd", &mut setup.command("--watch --interval 1s"));
    wait::until("the agent to listen", wait::LONG, || {
        let socket = std::os::unix::net::UnixStream::connect(setup.path("state/agent.sock"));
        socket.map(drop).map_err(|error| error.to_string())
    });
    for (to, name) in [(1, "one"), (3, "three"), (1, "one")] {
        wait::until("the agent to go back", wait::LONG, || {
            // A pass may be under way.
            match setup.asked(&format!("rollback web --to {to}")) {
                (Some(0), text) if text.contains("going back to") => Ok(()),
                (_, text) => Err(text),
            }
        });
        setup.confdir.becomes("web", &Setup::file(name));
        setup.confdir.stays(
            "web",
            &Setup::file(name),
            std::time::Duration::from_millis(1500),
        );
    }
    let (code, text) = setup.asked("rollback web --to 77");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no such generation"), "{text}");
    setup.keys("four");
    setup.confdir.becomes("web", &Setup::file("four"));
    agent.signal(Signal::TERM);
    assert!(agent.wait_exit(wait::LONG).success());
}
