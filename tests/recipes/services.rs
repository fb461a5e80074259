//! Services that scripts offer, and choosing among them.

use std::collections::BTreeMap;
use std::net::TcpListener;

use end_to_end::agents::Agent;
use end_to_end::confdir::Confdir;
use end_to_end::process::Signal;
use end_to_end::wait;
use serde_json::Value;

use super::{MORTAL, Scene, WHILE_HELD, ends_well, on_both};

/// What registers an instance of `web`.
fn web<'a>(port: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![
        "service",
        "register",
        "web",
        "--address",
        "10.0.0.1",
        "--ttl",
        MORTAL,
        "--port",
        port,
    ];
    words.extend(more);
    words
}

fn count(scene: &Scene) -> usize {
    scene.run(&["service", "list", "web"]).lines().count()
}

#[track_caller]
fn becomes(scene: &Scene, wanted: usize) {
    wait::until(&format!("{wanted} instances"), wait::LONG, || {
        match count(scene) {
            found if found == wanted => Ok(()),
            found => Err(format!("{found}")),
        }
    });
}

#[test]
fn an_instance_is_registered_while_its_command_runs() {
    on_both(|scene| {
        let script = "trap 'echo told; exit 7' TERM; echo offered as $MUSTER_INSTANCE; while :; do sleep 0.05; done";
        let words = [
            "--id", "one", "--tag", "a", "--meta", "k=v=w", "--weight", "3",
        ];
        let mut words = web("8080", &words);
        words.extend(["--", "sh", "-c", script]);
        let mut watcher = scene.spawn(&["service", "watch", "web"]);
        let mut offered = scene.spawn(&words);
        offered.wait_line("offered as one", wait::LONG);
        offered.wait_line("/services/web/one", wait::LONG);
        watcher.wait_line("joined\tweb\tone\t10.0.0.1:8080\tup", wait::LONG);
        assert_eq!(scene.run(&["service", "resolve", "web"]), "10.0.0.1:8080\n");
        let record = scene.run(&["service", "list", "web", "-w", "json"]);
        let record: Value = serde_json::from_str(&record).unwrap();
        assert_eq!(
            (&record[0]["meta"]["k"], &record[0]["weight"]),
            (&Value::from("v=w"), &Value::from(3))
        );
        // Templates see it as they see a container.
        let confdir = Confdir::new();
        let template =
            "{% for s in services(name='web') %}{{ s.hostport }} {{ s.state }}{% endfor %}";
        confdir.add("web", "/services", template, "");
        let flags = Agent::confd_flags(
            super::MUSTER,
            confdir.path(),
            &scene.store.endpoint(),
            &["--onetime"],
        );
        assert!(flags.started().process().wait_exit(wait::LONG).success());
        assert_eq!(confdir.rendered("web").as_deref(), Some("10.0.0.1:8080 up"));

        offered.signal(Signal::TERM);
        offered.wait_line("told", wait::LONG);
        assert_eq!(offered.wait_exit(wait::LONG).code(), Some(7));
        watcher.wait_line("left\tweb\tone", wait::LONG);
        let (status, _, err) = scene.said(&["service", "resolve", "web"]);
        assert_eq!(status, 1);
        assert!(
            err.starts_with("Error: no instance of web takes traffic\nhint: "),
            "{err}"
        );
        ends_well(&mut watcher);
    });
}

#[test]
fn what_dies_is_forgotten_and_what_is_lost_is_made_again() {
    on_both(|scene| {
        let mut mortal = scene.spawn(&web("1", &["--", "sh", "-c", WHILE_HELD]));
        let mut lasting = scene.spawn(&web("2", &[]));
        becomes(scene, 2);
        mortal.kill();
        becomes(scene, 1);
        scene.end_leases();
        lasting.wait_line("made again", wait::LONG);
        becomes(scene, 1);
        // Long enough for the lease to end: the store restores none that has.
        scene.restart();
        scene.end_leases();
        becomes(scene, 1);
        ends_well(&mut lasting);
        becomes(scene, 0);
    });
}

#[test]
fn an_instance_is_registered_when_its_port_is_open() {
    on_both(|scene| {
        let port = end_to_end::port::free();
        let text = port.to_string();
        let words = [
            "service",
            "register",
            "late",
            "--ready",
            "--address",
            "127.0.0.1",
            "--port",
            &text,
        ];
        let mut late = scene.spawn(&words);
        wait::until("a lease", wait::LONG, || {
            let leases = scene.run(&["lease", "list"]);
            (leases.lines().count() > 1).then_some(()).ok_or(leases)
        });
        assert_eq!(scene.run(&["service", "list", "late"]), "");
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        late.wait_line("/services/late/", wait::LONG);
        ends_well(&mut late);
    });
}

#[test]
fn turns_are_fair_among_those_that_pick() {
    on_both(|scene| {
        let weights = ["1", "2", "3"];
        let mut offered: Vec<_> = weights
            .iter()
            .map(|weight| scene.spawn(&web(weight, &["--weight", weight])))
            .collect();
        becomes(scene, 3);
        let tally = |said: &str| {
            let mut tally: BTreeMap<String, usize> = BTreeMap::new();
            for line in said.lines() {
                *tally.entry(line.to_owned()).or_default() += 1;
            }
            tally.into_values().collect::<Vec<_>>()
        };
        // Two that pick at the same time share the turns.
        let pick = ["balance", "pick", "web", "--count", "15"];
        let mut pickers = [scene.spawn(&pick), scene.spawn(&pick)];
        let mut all = String::new();
        for picker in &mut pickers {
            assert!(picker.wait_exit(wait::LONG).success());
            all.push_str(&format!("{}\n", picker.lines().join("\n")));
        }
        assert_eq!(tally(&all), [10, 10, 10]);
        let by = |by| {
            scene.run(&[
                "balance", "pick", "web", "--count", "12", "--turns", "/mine", "--by", by,
            ])
        };
        assert_eq!(tally(&by("weighted-round-robin")), [2, 4, 6]);
        assert_eq!(by("weighted").lines().count(), 12);
        let table = scene.run(&["balance", "table", "web"]);
        assert!(table.contains("\t10.0.0.1:3\t3\t50.0%\n"), "{table}");
        scene.run(&["put", "/balance/web", "x"]);
        let (status, _, err) = scene.said(&["balance", "pick", "web"]);
        assert_eq!(
            (status, err.as_str()),
            (
                1,
                "Error: /balance/web holds no number of turns: \"x\"\n\
                 hint: delete it, or give another place with --turns\n"
            )
        );
        offered.iter_mut().for_each(ends_well);
    });
}

#[test]
fn what_cannot_be_registered_is_not_started() {
    on_both(|scene| {
        for (words, status, line) in [
            (
                &["service", "register", "a b", "--port", "1"][..],
                128,
                "Error: service name \"a b\" contains blanks or control characters",
            ),
            (
                &["service", "register", "a", "--port", "0"],
                128,
                "Error: port 0 is none",
            ),
            (
                &["service", "register", "a", "--port", "1", "--ttl", "0"],
                128,
                "Error: --ttl 0 is not a number of seconds above 0",
            ),
            (
                &["service", "register", "a", "--port", "1", "--meta", "x"],
                128,
                "Error: --meta \"x\" is not KEY=VALUE",
            ),
            (
                &["service", "list", "-w", "table"],
                4,
                "Error: this command prints text and JSON only",
            ),
        ] {
            let mut words = words.to_vec();
            if words[1] == "register" {
                words.extend(["--address", "10.0.0.1", "--", "echo", "started"]);
            }
            let (code, out, err) = scene.said(&words);
            assert_eq!((code, out.as_str()), (status, ""), "{words:?}: {err}");
            assert_eq!(err.lines().next(), Some(line));
        }
    });
    let words = [
        "--command-timeout=300ms",
        "service",
        "register",
        "a",
        "--port",
        "1",
        "--",
        "echo",
        "started",
    ];
    let output = super::ctl_at("127.0.0.1:1", &words).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        err.starts_with("Error: context deadline exceeded\nhint: 127.0.0.1:1: "),
        "{err}"
    );
}
