//! Queues: every item is worked on once by one of several consumers, comes back when its consumer dies, and waits for the
//! condition of its queue.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use end_to_end::process::{Process, Signal};
use end_to_end::wait;

use super::{MORTAL, Scene, WHILE_HELD, ends_well, lines, number, on_both};

fn push(scene: &Scene, queue: &str, values: impl IntoIterator<Item = String>) {
    for value in values {
        scene.run(&["queue", "push", queue, &value]);
    }
}

#[test]
fn each_item_goes_to_one_consumer_in_order() {
    on_both(|scene| {
        let log = scene.file("log");
        let script = "read item; echo \"$item $MUSTER_FENCING_TOKEN\" >> \"$0\"";
        let words = [
            "queue",
            "work",
            "jobs",
            "--",
            "sh",
            "-c",
            script,
            log.to_str().unwrap(),
        ];
        let mut consumers: Vec<Process> = (0..3).map(|_| scene.spawn(&words)).collect();
        push(scene, "jobs", (0..10).map(|number| number.to_string()));
        scene.restart();
        push(scene, "jobs", (10..20).map(|number| number.to_string()));
        wait::until("all items to be worked on", wait::LONG, || {
            let left = scene.run(&["queue", "list", "jobs"]);
            let done = lines(&log).len();
            (left.is_empty() && done >= 20).then_some(()).ok_or(left)
        });
        consumers.iter_mut().for_each(ends_well);
        let worked = lines(&log);
        let items: BTreeSet<&str> = worked
            .iter()
            .filter_map(|line| line.split_once(' '))
            .map(|(item, _)| item)
            .collect();
        let tokens: BTreeSet<&str> = worked
            .iter()
            .filter_map(|line| line.split_once(' '))
            .map(|(_, token)| token)
            .collect();
        // Nobody died, so each was worked on once.
        assert_eq!(
            (worked.len(), items.len(), tokens.len()),
            (20, 20, 20),
            "{worked:?}"
        );
        // One consumer alone keeps the order.
        push(scene, "one", (0..10).map(|number| format!("{number:02}")));
        let words = ["queue", "work", "one", "--until-empty", "--", "cat"];
        let order = scene.run(&words);
        assert_eq!(order, "00010203040506070809");
    });
}

#[test]
fn an_item_comes_back_when_its_consumer_dies() {
    on_both(|scene| {
        push(scene, "q", ["first".to_owned(), "second".to_owned()]);
        let words = [
            "queue", "pop", "q", "--ttl", MORTAL, "--", "sh", "-c", WHILE_HELD,
        ];
        let mut mortal = scene.spawn(&words);
        let token = number(&mut mortal, "holding");
        let list = scene.run(&["queue", "list", "q"]);
        let (first, second) = (list.lines().next().unwrap(), list.lines().last().unwrap());
        assert!(
            !first.ends_with("\tfree") && second.ends_with("\tfree"),
            "{list}"
        );
        // What fails gives back.
        let (status, out, _) = scene.said(&["queue", "pop", "q", "--", "sh", "-c", "cat; exit 9"]);
        assert_eq!((status, out.as_str()), (9, "second"));
        mortal.kill();
        let mut heir = scene.spawn(&words);
        wait::until("the first to be free", wait::LONG, || {
            let list = scene.run(&["queue", "list", "q"]);
            (list.lines().filter(|line| line.ends_with("\tfree")).count() == 1)
                .then_some(())
                .ok_or(list)
        });
        let _ = number(&mut heir, "holding");
        heir.kill();
        wait::until("both to be free", wait::LONG, || {
            let list = scene.run(&["queue", "list", "q"]);
            (list.matches("\tfree").count() == 2)
                .then_some(())
                .ok_or(list)
        });
        let next = scene.run(&[
            "queue",
            "pop",
            "q",
            "--",
            "sh",
            "-c",
            "cat; echo \" $MUSTER_FENCING_TOKEN\"",
        ]);
        let (item, next) = next.trim().split_once(' ').unwrap();
        assert_eq!(item, "first");
        assert!(next.parse::<i64>().unwrap() > token);
        // At most once: gone with the one that took it.
        let words = [
            "queue",
            "pop",
            "q",
            "--at-most-once",
            "--",
            "sh",
            "-c",
            WHILE_HELD,
        ];
        let mut mortal = scene.spawn(&words);
        mortal.wait_line("holding", wait::LONG);
        mortal.kill();
        assert_eq!(scene.run(&["queue", "list", "q"]), "");
        let (status, _, err) = scene.said(&["queue", "pop", "q", "--no-wait"]);
        assert_eq!(
            (status, err.as_str()),
            (1, "Error: there is nothing to take in q\n")
        );
    });
}

#[test]
fn who_loses_a_claim_is_told_and_cannot_confirm() {
    on_both(|scene| {
        push(scene, "q", ["it".to_owned()]);
        let script = "trap 'echo told; exit 0' TERM; echo working; while :; do sleep 0.05; done";
        let words = ["queue", "pop", "q", "--ttl", "30", "--", "sh", "-c", script];
        let mut consumer = scene.spawn(&words);
        consumer.wait_line("working", wait::LONG);
        scene.end_leases();
        consumer.wait_line("told", wait::LONG);
        assert_eq!(consumer.wait_exit(wait::LONG).code(), Some(1));
        assert_eq!(scene.run(&["queue", "pop", "q"]), "it\n");
        assert_eq!(scene.run(&["queue", "list", "q"]), "");
    });
}

#[test]
fn a_queue_begins_when_its_condition_says_so() {
    on_both(|scene| {
        for (queue, condition, before, last) in [
            (
                "count",
                "count=3",
                &["a", "b"][..],
                &["push", "count", "c"][..],
            ),
            (
                "item",
                "item=go",
                &["a", "b", "c"],
                &["push", "item", "d", "--item", "go"],
            ),
            ("told", "told", &["a"], &["start", "told"]),
        ] {
            scene.run(&["queue", "condition", queue, condition]);
            push(scene, queue, before.iter().map(ToString::to_string));
            assert_eq!(
                scene.run(&["queue", "condition", queue]),
                format!("{condition}\twaiting\n")
            );
            let mut consumer = scene.spawn(&["queue", "pop", queue]);
            let (status, ..) = scene.said(&["queue", "pop", queue, "--no-wait"]);
            assert_eq!(status, 1, "{queue}");
            wait::stays("nothing is taken", Duration::from_millis(150), || {
                let lines = consumer.lines();
                lines.is_empty().then_some(()).ok_or(format!("{lines:?}"))
            });
            scene.run(&[&["queue"], last].concat());
            consumer.wait_line("a", wait::LONG);
            assert_eq!(consumer.wait_exit(wait::LONG).code(), Some(0));
            // It stays begun with fewer items.
            assert_eq!(
                scene.run(&["queue", "condition", queue]),
                format!("{condition}\tstarted\n")
            );
            let left = before.len() + usize::from(queue != "told") - 1;
            for _ in 0..left {
                scene.run(&["queue", "pop", queue, "--no-wait"]);
            }
            assert_eq!(scene.run(&["queue", "list", queue]), "");
        }
        let (status, _, err) = scene.said(&["queue", "condition", "q", "count=0"]);
        assert_eq!(
            (status, err.as_str()),
            (
                128,
                "Error: condition count=\"0\" is not a number above 0\n"
            )
        );
    });
}

#[test]
fn values_are_bytes_and_names_are_checked() {
    on_both(|scene| {
        let mut push = scene
            .ctl(&["queue", "push", "raw"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        push.stdin.take().unwrap().write_all(b"a\0\xff\n").unwrap();
        let key = push.wait_with_output().unwrap().stdout;
        let key = String::from_utf8(key).unwrap();
        let digits = key.trim().strip_prefix("/queues/raw/items/").unwrap();
        assert!(
            digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()),
            "{key}"
        );
        let popped = scene.ctl(&["queue", "pop", "raw"]).output().unwrap();
        assert_eq!(popped.stdout, b"a\0\xff\n\n");
        let (status, _, err) = scene.said(&["queue", "push", "a/b", "x"]);
        assert_eq!(status, 1);
        assert!(
            err.starts_with(
                "Error: invalid value 'a/b' for '<QUEUE>': name \"a/b\" contains a slash"
            ),
            "{err}"
        );
        // A consumer that waits ends when it is told to.
        let mut waiting = scene.spawn(&["queue", "work", "raw", "--", "cat"]);
        wait::until("its lease", wait::LONG, || {
            let leases = scene.run(&["lease", "list"]);
            (leases.lines().count() > 1).then_some(()).ok_or(leases)
        });
        waiting.signal(Signal::INT);
        assert_eq!(waiting.wait_exit(wait::LONG).code(), Some(0));
    });
}
