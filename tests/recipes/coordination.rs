//! Configuration that is followed, groups that are watched, tasks that report, and barriers.

use std::time::Duration;

use end_to_end::process::{Process, Signal};
use end_to_end::wait;
use serde_json::Value;

use super::{MORTAL, Scene, WHILE_HELD, ends_well, lines, number, on_both};

#[test]
fn configuration_is_read_once_and_followed_through_compaction() {
    on_both(|scene| {
        let first = scene.run(&["publish", "/config/app", "one"]);
        let log = scene.file("log");
        let script = "echo \"$MUSTER_EVENT $MUSTER_REVISION $(cat)\" >> \"$0\"";
        let words = [
            "subscribe",
            "/config/app",
            "--",
            "sh",
            "-c",
            script,
            log.to_str().unwrap(),
        ];
        let mut subscriber = scene.spawn(&words);
        let becomes = |wanted: &str| {
            wait::until(
                &format!("the command to see {wanted:?}"),
                wait::LONG,
                || {
                    let lines = lines(&log);
                    let last = lines.last().is_some_and(|line| line == wanted);
                    last.then_some(()).ok_or(format!("{lines:?}"))
                },
            );
        };
        becomes(&format!("PUT {} one", first.trim()));
        let second = scene.run(&["publish", "/config/app", "two", "--after", first.trim()]);
        becomes(&format!("PUT {} two", second.trim()));
        let (status, _, err) =
            scene.said(&["publish", "/config/app", "lost", "--after", first.trim()]);
        assert_eq!(status, 1);
        assert!(
            err.starts_with(&format!(
                "Error: /config/app was last changed at revision {}\nhint: ",
                second.trim()
            )),
            "{err}"
        );
        // What it has missed is history that nobody keeps any more when it comes back.
        subscriber.signal(Signal::STOP);
        scene.restart();
        let mut last = String::new();
        for value in ["three", "four"] {
            last = scene.run(&["publish", "/config/app", value]);
        }
        scene.run(&["compaction", "--physical", last.trim()]);
        subscriber.signal(Signal::CONT);
        becomes(&format!("PUT {} four", last.trim()));
        scene.run(&["del", "/config/app"]);
        let gone = last.trim().parse::<i64>().unwrap() + 1;
        becomes(&format!("DELETE {gone} "));
        assert_eq!(lines(&log).len(), 4, "each once: {:?}", lines(&log));
        ends_well(&mut subscriber);
    });
}

#[test]
fn somebody_notices_when_one_of_a_group_dies() {
    on_both(|scene| {
        let log = scene.file("log");
        let script = "if [ $MUSTER_EVENT = left ]; then echo \"left $MUSTER_ID\" >> \"$0\"; fi";
        let words = [
            "monitor",
            "watch",
            "crew",
            "--",
            "sh",
            "-c",
            script,
            log.to_str().unwrap(),
        ];
        let mut watcher = scene.spawn(&words);
        let join = |id: &str, ttl: &str| {
            scene.spawn(&[
                "monitor", "join", "crew", id, "--ttl", ttl, "--", "sh", "-c", WHILE_HELD,
            ])
        };
        let (mut a, mut b) = (join("a", MORTAL), join("b", "10"));
        let token = number(&mut a, "holding");
        number(&mut b, "holding");
        let alive = scene.run(&["monitor", "list", "crew", "-w", "json"]);
        let alive: Value = serde_json::from_str(&alive).unwrap();
        assert_eq!(
            (
                &alive[0]["id"],
                &alive[0]["token"],
                alive.as_array().map(Vec::len)
            ),
            (&Value::from("a"), &Value::from(token), Some(2))
        );
        let (status, _, err) = scene.said(&["monitor", "join", "crew", "a", "--try", "--", "true"]);
        assert!(
            status == 1 && err.starts_with("Error: somebody else holds it: "),
            "{err}"
        );
        let mut births = scene.spawn(&["monitor", "watch", "crew", "--only", "joined"]);
        births.wait_line("joined\tb", wait::LONG);
        watcher.wait_line("joined\ta", wait::LONG);
        a.kill();
        let becomes = |wanted: &[&str]| {
            wait::until(&format!("{wanted:?}"), wait::LONG, || {
                let lines = lines(&log);
                (lines == wanted).then_some(()).ok_or(format!("{lines:?}"))
            });
        };
        becomes(&["left a"]);
        // The next of that name is another one.
        let mut heir = join("a", "10");
        assert!(number(&mut heir, "holding") > token);
        scene.restart();
        b.signal(Signal::TERM);
        becomes(&["left a", "left b"]);
        heir.kill();
        becomes(&["left a", "left b", "left a"]);
        assert!(
            births
                .lines()
                .iter()
                .all(|line| line.starts_with("joined\t"))
        );
        ends_well(&mut births);
        ends_well(&mut watcher);
    });
}

#[test]
fn a_task_tells_how_far_it_is_and_whether_it_is_alive() {
    on_both(|scene| {
        let watched = |scene: &Scene, task: &str| {
            let out = scene.run(&["progress", "show", task]);
            let cells: Vec<String> = out.trim_end().split('\t').map(str::to_owned).collect();
            (cells[1].clone(), cells.get(3).cloned().unwrap_or_default())
        };
        assert_eq!(watched(scene, "t").0, "waiting");
        let becomes = |scene: &Scene, stage: &str, progress: &str| {
            wait::until(&format!("{stage} {progress}"), wait::LONG, || {
                let seen = watched(scene, "t");
                (seen == (stage.to_owned(), progress.to_owned()))
                    .then_some(())
                    .ok_or(format!("{seen:?}"))
            });
        };
        let script = format!(
            "echo 10%; echo 50%; {}",
            WHILE_HELD.replace("echo holding", ": ")
        );
        let words = [
            "progress", "run", "t", "--ttl", MORTAL, "--", "sh", "-c", &script,
        ];
        let mut worker = scene.spawn(&words);
        becomes(scene, "running", "50%");
        let mut watcher = scene.spawn(&["progress", "watch", "t"]);
        watcher.wait_line("t\trunning\t", wait::LONG);
        let (status, _, err) = scene.said(&["progress", "run", "t", "--try", "--", "true"]);
        assert!(
            status == 1 && err.starts_with("Error: somebody else holds it: "),
            "{err}"
        );
        worker.kill();
        becomes(scene, "lost", "50%");
        watcher.wait_line("t\tlost\t", wait::LONG);
        // The next one takes over; the former's token is worth nothing.
        let script = format!(
            "{muster} ctl progress report t 99% && {muster} ctl progress report t 0% --token 1; exit 5",
            muster = super::MUSTER
        );
        let words = ["progress", "run", "t", "--", "sh", "-c", &script];
        let (status, _, err) = scene.said(&words);
        assert_eq!(status, 5, "{err}");
        assert!(
            err.contains("Error: t is no longer this worker's\n"),
            "{err}"
        );
        becomes(scene, "failed", "99%");
        scene.run(&["progress", "run", "t", "--", "echo", "all"]);
        becomes(scene, "done", "all");
        watcher.wait_line("t\tdone\t", wait::LONG);
        ends_well(&mut watcher);
    });
}

#[test]
fn nobody_passes_a_barrier_before_it_is_released() {
    on_both(|scene| {
        // One that is not there holds nobody up.
        scene.run(&["barrier", "wait", "b"]);
        let words = [
            "barrier", "hold", "b", "--ttl", MORTAL, "--", "sh", "-c", WHILE_HELD,
        ];
        for hold in [true, false] {
            let mut holder = hold.then(|| scene.spawn(&words));
            match &mut holder {
                Some(holder) => {
                    number(holder, "holding");
                }
                None => {
                    scene.run(&["barrier", "set", "b"]);
                }
            }
            let mut waiting: Vec<Process> = (0..2)
                .map(|_| scene.spawn(&["barrier", "wait", "b"]))
                .collect();
            if !hold {
                scene.restart();
            }
            wait::stays("all wait", Duration::from_millis(200), || {
                let ended = waiting.iter_mut().any(|one| one.exited().is_some());
                if ended {
                    Err("one has passed".into())
                } else {
                    Ok(())
                }
            });
            match &mut holder {
                // One that dies holds nobody up for longer than its lease.
                Some(holder) => holder.kill(),
                None => {
                    scene.run(&["barrier", "release", "b"]);
                }
            }
            for one in &mut waiting {
                assert_eq!(one.wait_exit(wait::LONG).code(), Some(0));
            }
        }
    });
}

#[test]
fn all_begin_together_and_end_together() {
    on_both(|scene| {
        let log = scene.file("log");
        let script = "echo in >> \"$0\"; sleep 0.$1; echo out >> \"$0\"";
        let enter = |nap: &str| {
            let words = [
                "barrier",
                "enter",
                "d",
                "--count",
                "3",
                "--ttl",
                MORTAL,
                "--",
                "sh",
                "-c",
                script,
                log.to_str().unwrap(),
                nap,
            ];
            scene.spawn(&words)
        };
        let there = |wanted: usize| {
            wait::until(&format!("{wanted} participants"), wait::LONG, || {
                let there = scene.run(&["get", "--prefix", "/barriers/d/", "--keys-only"]);
                let found = there.matches("/participants/").count();
                (found == wanted).then_some(()).ok_or(there)
            });
        };
        let mut mortal = enter("1");
        there(1);
        mortal.kill();
        there(0);
        // Twice: what is over leaves nothing behind.
        for round in 1..=2 {
            let mut all = vec![enter("1"), enter("4")];
            there(2);
            assert_eq!(lines(&log).len(), 6 * (round - 1), "two are not three");
            all.push(enter("1"));
            for one in &mut all {
                assert_eq!(one.wait_exit(wait::LONG).code(), Some(0), "{}", one.tail());
                // None has ended before all commands have; when each begins is the machine's to say.
                let seen = lines(&log);
                assert_eq!(seen.len(), 6 * round, "{seen:?}");
            }
            assert_eq!(scene.run(&["get", "--prefix", "/barriers/"]), "");
        }
    });
}
