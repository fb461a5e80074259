//! `muster ctl` says what the official 3.5 client says, to the byte: the same commands go to two fresh stores of one
//! kind, once through each client, and once more through both to one store where ids must be equal as well.

mod holding;
mod mirror;
mod statuses;
mod terminal;
mod users;

use std::process::{Command, Stdio};

use end_to_end::etcdctl::{Etcdctl, Release};
use end_to_end::process::Process;
use end_to_end::store::{Maker, Store};
use end_to_end::wait;

/// Exit status, stdout, and stderr as far as it is the client's word (its log lines are not).
type Said = (i32, Vec<u8>, String);

fn said(mut command: Command, input: &str) -> Said {
    use std::io::Write as _;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client starts");
    // A client that fails early does not read all of it.
    let _ = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("the client ends");
    let err = String::from_utf8_lossy(&output.stderr);
    let err = err
        .lines()
        .filter(|line| line.starts_with("Error:"))
        .collect::<Vec<_>>()
        .join("\n");
    (output.status.code().unwrap_or(-1), output.stdout, err)
}

fn theirs(store: &Store, words: &[&str]) -> Command {
    Etcdctl::new(Release::V3_5, &store.endpoint()).command(words)
}

fn ours(store: &Store, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command
        .env_clear()
        .arg("ctl")
        .args(["--endpoints", &store.endpoint()])
        .args(words);
    command
}

/// Runs each command through both clients against the same store. Only for what changes nothing.
#[track_caller]
fn same(store: &Store, steps: &[(&[&str], &str)]) {
    for (words, input) in steps {
        let (ours, theirs) = (
            said(ours(store, words), input),
            said(theirs(store, words), input),
        );
        assert!(
            ours == theirs,
            "{words:?}\nours   {} {:?} {}\ntheirs {} {:?} {}",
            ours.0,
            String::from_utf8_lossy(&ours.1),
            ours.2,
            theirs.0,
            String::from_utf8_lossy(&theirs.1),
            theirs.2
        );
    }
}

/// Either client.
type Client = fn(&Store, &[&str]) -> Command;

fn filled() -> (Store, String) {
    let store = Store::start(Maker::Etcd);
    for (key, value) in [
        ("a", "1"),
        ("a", "2"),
        ("b/1", "line\nbreak \"q\""),
        ("b/2", "<é&>"),
    ] {
        let put = said(ours(&store, &["put", key, value]), "");
        assert_eq!(put, (0, b"OK\n".to_vec(), String::new()));
    }
    let put = said(ours(&store, &["put", "typed"]), "from\r\nstdin\n");
    assert_eq!(put.0, 0, "{}", put.2);
    let granted = said(ours(&store, &["lease", "grant", "1000"]), "");
    let granted = String::from_utf8_lossy(&granted.1).into_owned();
    let lease = granted
        .split(' ')
        .nth(1)
        .expect("lease ID granted …")
        .to_owned();
    let put = said(ours(&store, &["put", "--lease", &lease, "l", "v"]), "");
    assert_eq!(put.0, 0, "{}", put.2);
    (store, lease)
}

const FORMATS: [&str; 5] = ["simple", "fields", "json", "protobuf", "table"];

#[test]
fn reads_are_the_same_in_every_format() {
    let (store, lease) = filled();
    let reads: &[&[&str]] = &[
        &["get", "a"],
        &["get", "a", "--hex"],
        &["get", "nothing"],
        &["get", "--prefix", ""],
        &["get", "--prefix", "b/", "--limit", "1"],
        &["get", "--from-key", "b"],
        &["get", "a", "--rev", "2"],
        &["get", "a", "--count-only"],
        &["get", "--prefix", "", "--keys-only"],
        &[
            "get",
            "--prefix",
            "",
            "--sort-by",
            "modify",
            "--order",
            "descend",
        ],
        &["lease", "list"],
        &["lease", "timetolive", "77"],
        &["lease", "keep-alive", "--once", &lease],
        &["member", "list"],
        &["member", "list", "--hex"],
        &["endpoint", "status"],
        &["endpoint", "hashkv"],
        &["alarm", "list"],
        &["defrag"],
    ];
    for format in FORMATS {
        for read in reads {
            same(&store, &[(&[read, &["-w", format][..]].concat(), "")]);
        }
        let txn = "version(\"a\") > \"0\"\nvalue(\"a\") = \"2\"\n\nget a\nget --prefix \"b/\"\n\nget b\n\n";
        same(&store, &[(&["txn", "-w", format], txn)]);
    }
    same(
        &store,
        &[
            (&["txn", "-i"], "\nget a\n\n\n"),
            (&["get", "a", "--print-value-only"], ""),
        ],
    );
}

#[test]
fn writes_do_and_say_the_same() {
    let steps: &[(&[&str], &str)] = &[
        (&["put", "--prev-kv", "a", "3"], ""),
        (&["put", "--ignore-value", "a"], ""),
        (&["txn"], "\nput a 4 --prev-kv\ndel \"b/1\" --prev-kv\n\n\n"),
        (&["del", "--prev-kv", "--prefix", "b/"], ""),
        (&["del", "--from-key", "l"], ""),
        (&["compaction", "3"], ""),
        (&["compaction", "3"], ""),
        (&["get", "a", "--rev", "2"], ""),
        (&["get", "--prefix", ""], ""),
        (&["alarm", "disarm"], ""),
    ];
    let (first, _) = filled();
    let (second, _) = filled();
    for (words, input) in steps {
        let ours = said(ours(&first, words), input);
        let theirs = said(theirs(&second, words), input);
        assert_eq!(ours, theirs, "{words:?}");
    }
}

#[test]
fn wrong_arguments_end_the_same_way() {
    let (store, _) = filled();
    let steps: &[(&[&str], &str)] = &[
        (&["get"], ""),
        (&["get", "a", "b", "--prefix"], ""),
        (&["get", "--prefix", "--from-key", "a"], ""),
        (&["get", "a", "--consistency", "z"], ""),
        (&["get", "a", "--order", "Z"], ""),
        (&["get", "a", "--sort-by", "Q"], ""),
        (&["get", "a", "-w", "yaml"], ""),
        (&["put"], ""),
        (&["put", "a", "b", "--lease", "zz"], ""),
        (&["put", "a", "b", "--lease", "5"], ""),
        (&["put", "", "x"], ""),
        (&["del", "a", "b", "c"], ""),
        (&["compaction", "x"], ""),
        (&["lease", "grant", "x"], ""),
        (&["lease", "revoke", "zz"], ""),
        (&["lease", "revoke", "77"], ""),
        (&["lease", "keep-alive", "--once", "77"], ""),
        (&["alarm", "list", "x"], ""),
        (&["txn"], "\nbogus a\n\n\n"),
        (&["txn"], "foo\n\n\n\n"),
        (&["txn"], "foo(\"a\") = \"3\"\n\n\n\n"),
        (&["txn"], "\nput a 1\n"),
    ];
    same(&store, steps);
}

#[test]
fn members_are_changed_with_the_same_words() {
    let store = Store::start(Maker::Etcd);
    // The id of whoever was added last, in the place of both.
    let learner = || {
        let list = said(theirs(&store, &["member", "list"]), "").1;
        let list = String::from_utf8(list).unwrap();
        let line = list.lines().find(|line| line.contains("unstarted"));
        line.map(|line| line.split(',').next().unwrap().to_owned())
    };
    let list = String::from_utf8(said(theirs(&store, &["member", "list"]), "").1).unwrap();
    let list: Vec<&str> = list.split(", ").collect();
    // A learner that is updated is none any more in this release.
    let (first, stays) = (list[0].to_owned(), format!("--peer-urls={}", list[3]));
    for (number, format) in FORMATS.into_iter().enumerate() {
        let told =
            [(ours as Client, 2 * number), (theirs, 2 * number + 1)].map(|(client, port)| {
                // An id is made of URLs and the second, and comes but once.
                let place = format!("http://127.0.0.1:{}", 100 + port);
                let url = format!("--peer-urls={place}");
                let mut told = vec![said(
                    client(
                        &store,
                        &["-w", format, "member", "add", "new", &url, "--learner"],
                    ),
                    "",
                )];
                let id = learner().unwrap();
                for words in [
                    &["-w", format, "member", "promote", &id][..],
                    &["-w", format, "member", "remove", &id],
                    &["-w", format, "member", "update", &first, &stays],
                ] {
                    told.push(said(client(&store, words), ""));
                }
                assert_eq!(learner(), None);
                let decimal = u64::from_str_radix(&id, 16).unwrap().to_string();
                told.into_iter()
                    .map(|(status, out, err)| {
                        let text = String::from_utf8_lossy(&out).replace(&place, "<url>");
                        let text = text.replace(&format!("{id:>16}"), "<id>");
                        // The bytes of an id differ in number too, and members are ordered by it.
                        let text = match format {
                            "protobuf" => String::new(),
                            _ => text.replace(&decimal, "<id>"),
                        };
                        let mut pieces: Vec<_> =
                            text.split([',', '"', '[', ']', '{', '}']).collect();
                        pieces.sort_unstable();
                        (status, pieces.join(" "), err)
                    })
                    .collect::<Vec<_>>()
            });
        assert_eq!(told[0], told[1], "{format}");
    }
    same(
        &store,
        &[
            (&["member", "add"], ""),
            (&["member", "add", "a", "b"], ""),
            (&["member", "add", "a", "http://x"], ""),
            (&["member", "add", "a"], ""),
            (&["member", "remove"], ""),
            (&["member", "remove", "x"], ""),
            (&["member", "remove", "1", "2"], ""),
            (&["member", "remove", "1"], ""),
            (&["member", "update", "1"], ""),
            (&["member", "update", "x", "--peer-urls=http://a:1"], ""),
            (&["member", "update", "1", "--peer-urls=http://a:1"], ""),
            (&["member", "promote"], ""),
        ],
    );
}

#[test]
fn a_watch_shows_the_same_events() {
    let (store, _) = filled();
    let deleted = said(ours(&store, &["del", "b/1"]), "");
    assert_eq!(deleted.0, 0, "{}", deleted.2);
    // The deletion is the last event there is, and so many lines tell of it.
    let seen = |command: &mut Command, last: usize| {
        let watch = Process::spawn("watch".to_owned(), command);
        wait::until("all events", wait::LONG, || {
            let lines = watch.lines();
            let deletion = lines.iter().position(|line| line.contains("DELETE"));
            if deletion.is_some_and(|at| lines.len() >= at + last) {
                Ok(lines)
            } else {
                Err(format!("{lines:?}"))
            }
        })
    };
    let words = ["watch", "--prefix", "", "--rev", "2", "--prev-kv"];
    for (format, last) in [("simple", 6), ("fields", 13)] {
        let words = [&words[..], &["-w", format]].concat();
        let ours = seen(&mut ours(&store, &words), last);
        let theirs = seen(&mut theirs(&store, &words), last);
        assert_eq!(ours, theirs, "{format}");
    }
    same(
        &store,
        &[
            (&["watch"], ""),
            (&["watch", "a", "b", "--prefix"], ""),
            (&["watch", "a", "-w", "table", "--rev", "2"], ""),
        ],
    );
}

#[test]
fn keys_are_chosen_by_revision_and_answers_come_in_pieces() {
    let store = Store::start(Maker::Muster(env!("CARGO_BIN_EXE_muster").into()));
    let run = |words: &[&str]| {
        let (status, out, err) = said(ours(&store, words), "");
        assert_eq!((status, err.as_str()), (0, ""), "{words:?}");
        String::from_utf8_lossy(&out).into_owned()
    };
    // Revisions 2 to 5: `a` is created at 2 and changed at 5.
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3"), ("a", "4")] {
        run(&["put", key, value]);
    }
    for (words, keys) in [
        (&["--min-create-rev=3"][..], "b\n\nc\n\n"),
        (&["--max-create-rev=3"], "a\n\nb\n\n"),
        (&["--min-mod-rev=4"], "a\n\nc\n\n"),
        (&["--max-mod-rev=3"], "b\n\n"),
        (&["--min-create-rev=3", "--max-mod-rev=3"], "b\n\n"),
    ] {
        let all = [&["get", "", "--prefix", "--keys-only"], words].concat();
        assert_eq!(run(&all), keys, "{words:?}");
    }
    for format in ["simple", "json", "protobuf"] {
        let get = ["-w", format, "get", "", "--prefix"];
        let pieces = [&get[..], &["--stream"]].concat();
        assert_eq!(run(&pieces), run(&get), "{format}");
    }
}

/// What came after 3.5: bounds on messages, and the global flags shown.
#[test]
fn messages_are_bounded_and_flags_shown() {
    let store = Store::start(Maker::Muster(env!("CARGO_BIN_EXE_muster").into()));
    let large = "x".repeat(5000);
    let put = |more: &[&str]| said(ours(&store, &[&["put", "k", &large], more].concat()), "");
    assert_eq!(put(&["--max-request-bytes", "6000"]).0, 0);
    let refused = put(&["--max-request-bytes", "4000"]);
    assert_eq!(refused.0, 1, "{refused:?}");
    assert!(refused.2.contains("larger than max (5"), "{refused:?}");
    let get = |more: &[&str]| said(ours(&store, &[&["get", "k"], more].concat()), "");
    assert_eq!(get(&["--max-recv-bytes", "6000"]).0, 0);
    let refused = get(&["--max-recv-bytes", "4000"]);
    assert_eq!(refused.0, 1, "{refused:?}");
    assert!(refused.2.contains("too large"), "{refused:?}");
    let shown = said(ours(&store, &["options"]), "");
    let text = String::from_utf8(shown.1).expect("text");
    assert_eq!(shown.0, 0);
    for part in [
        "can be passed to any command",
        "--endpoints",
        "--max-recv-bytes",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
