//! The official command-line clients cannot tell our store from etcd: the same commands go to both, and every word
//! they print must be equal once ids are masked. Each transcript runs with the 3.4 and the 3.5 client.

use std::path::PathBuf;

use end_to_end::etcdctl::{Etcdctl, RELEASES, Release};
use end_to_end::process::Signal;
use end_to_end::store::{Maker, Store};
use end_to_end::wait;

fn muster() -> Maker {
    Maker::Muster(PathBuf::from(env!("CARGO_BIN_EXE_muster")))
}

/// One command: words, and what is typed in after them. `LEASE` stands for the lease granted last.
type Step<'a> = (&'a [&'a str], &'a str);

/// Runs the steps one after the other and gives everything said, ids masked.
fn transcript(store: &Store, release: Release, steps: &[Step<'_>]) -> String {
    let client = Etcdctl::new(release, &store.endpoint());
    let mut lease = String::new();
    let mut told = String::new();
    for (words, input) in steps {
        let words: Vec<String> = words
            .iter()
            .map(|word| word.replace("LEASE", &lease))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (status, out, err) = client.output_with_input(&words, input);
        if let Some(granted) = out.strip_prefix("lease ").filter(|_| words[1] == "grant") {
            granted
                .split(' ')
                .next()
                .unwrap_or_default()
                .clone_into(&mut lease);
        }
        let said = mask(&format!("{out}{}", last_line(&err)), &lease);
        told.push_str(&format!(
            "> {}\n{said}[{status}]\n",
            mask(&words.join(" "), &lease)
        ));
    }
    told
}

/// Log lines of the client's own go before its error and differ in time and address; the error is the last line
/// that is none of them.
fn last_line(text: &str) -> String {
    text.lines()
        .rfind(|line| !line.starts_with("{\"level\":"))
        .map(|line| format!("{line}\n"))
        .unwrap_or_default()
}

/// Replaces what differs between two clusters by its name: cluster, member and lease ids and the term.
fn mask(text: &str, lease: &str) -> String {
    let mut text = text.to_owned();
    if let Ok(number) = u64::from_str_radix(lease, 16)
        && number != 0
    {
        text = text
            .replace(lease, "<lease>")
            .replace(&number.to_string(), "<lease>");
    }
    for name in [
        "\"cluster_id\":",
        "\"member_id\":",
        "\"raft_term\":",
        "\"ClusterID\" : ",
        "\"MemberID\" : ",
        "\"RaftTerm\" : ",
    ] {
        let mut rest = text.as_str();
        let mut masked = String::new();
        while let Some(at) = rest.find(name) {
            let after = at + name.len();
            masked.push_str(&rest[..after]);
            masked.push('#');
            rest = rest[after..].trim_start_matches(|character: char| character.is_ascii_digit());
        }
        text = masked + rest;
    }
    text
}

#[track_caller]
fn same_as_etcd(steps: &[Step<'_>]) {
    for release in RELEASES {
        let ours = transcript(&Store::start(muster()), release, steps);
        let theirs = transcript(&Store::start(Maker::Etcd), release, steps);
        assert!(ours == theirs, "{release:?}: ours\n{ours}\netcd\n{theirs}");
    }
}

/// The same read in every output format that shows fields.
fn in_every_format<'a>(read: &[&'a str]) -> Vec<Vec<&'a str>> {
    ["simple", "json", "fields"]
        .iter()
        .map(|format| [read, &["--write-out", *format]].concat())
        .collect()
}

#[test]
fn put_get_and_del() {
    let mut steps: Vec<Step<'_>> = vec![
        (&["get", "nothing"], ""),
        (&["put", "a", "one"], ""),
        (&["put", "a/1", "x"], ""),
        (&["put", "a/2", "two words"], ""),
        (&["put", "a/3", "line\nbreak and \"quotes\""], ""),
        (&["put", "b"], "from stdin"),
        (&["put", "--prev-kv", "a", "two"], ""),
        (&["put", "--ignore-value", "a"], ""),
        (&["put", "--ignore-value", "unknown"], ""),
        (&["put", "--ignore-lease", "a", "three"], ""),
        (&["put", "", "empty key"], ""),
        (&["get", "a", "--rev", "2"], ""),
        (&["get", "a", "--rev", "99"], ""),
        (&["get", "a", "b"], ""),
        (&["get", "--from-key", "a/2"], ""),
        (&["get", "--prefix", "a/", "--limit", "2"], ""),
        (
            &[
                "get",
                "--prefix",
                "",
                "--order",
                "DESCEND",
                "--sort-by",
                "MODIFY",
            ],
            "",
        ),
        (
            &[
                "get",
                "--prefix",
                "",
                "--order",
                "ASCEND",
                "--sort-by",
                "VALUE",
            ],
            "",
        ),
        (
            &[
                "get",
                "--prefix",
                "",
                "--order",
                "DESCEND",
                "--sort-by",
                "VERSION",
            ],
            "",
        ),
        (&["get", "--prefix", "", "--keys-only"], ""),
        (&["get", "a", "--print-value-only"], ""),
        (&["get", "--consistency", "s", "a"], ""),
        (&["del", "nothing"], ""),
        (&["del", "--prev-kv", "b"], ""),
        (&["del", "--prefix", "a/"], ""),
        (&["del", "--from-key", ""], ""),
        (&["get", "--prefix", ""], ""),
    ];
    let reads = [
        in_every_format(&["get", "a"]),
        in_every_format(&["get", "--prefix", "a/", "--hex"]),
    ]
    .concat();
    for read in &reads {
        steps.insert(steps.len() - 5, (read, ""));
    }
    same_as_etcd(&steps);
}

#[test]
fn txn() {
    same_as_etcd(&[
        (&["put", "k", "1"], ""),
        (
            &["txn"],
            "value(\"k\") = \"1\"\n\nput k 2\nget k\n\nget k\n\n",
        ),
        (
            &["txn"],
            "value(\"k\") = \"1\"\n\nput k 3\n\nget k\ndel k\n\n",
        ),
        (
            &["txn"],
            "create(\"k\") = \"0\"\n\nput k first\n\nget k\n\n",
        ),
        (
            &["txn"],
            "version(\"k\") > \"0\"\nmod(\"k\") < \"100\"\n\nget --prefix k\n\n\n",
        ),
        (
            &["txn", "--write-out", "json"],
            "create(\"k\") > \"0\"\n\nput k 4\ndel nothing\nget k\n\n\n",
        ),
        (
            &["txn", "--write-out", "fields"],
            "mod(\"k\") > \"0\"\n\nput k 5\nget k\n\n\n",
        ),
        (&["txn"], "lease(\"k\") = \"0\"\n\nget k\n\n\n"),
        (&["txn"], "\nput k 1\nput k 2\n\n\n"),
        (&["txn"], "\n\n\n"),
        (&["get", "k"], ""),
    ]);
}

#[test]
fn compaction() {
    same_as_etcd(&[
        (&["put", "k", "1"], ""),
        (&["put", "k", "2"], ""),
        (&["put", "k", "3"], ""),
        (&["compaction", "3"], ""),
        (&["compaction", "3"], ""),
        (&["compaction", "99"], ""),
        (&["get", "k", "--rev", "2"], ""),
        (&["get", "k", "--rev", "3"], ""),
        (&["get", "k"], ""),
    ]);
}

#[test]
fn lease() {
    same_as_etcd(&[
        (&["lease", "grant", "1000"], ""),
        (&["put", "--lease", "LEASE", "k", "v"], ""),
        (&["put", "--lease", "LEASE", "l", "v"], ""),
        (&["get", "k", "--write-out", "fields"], ""),
        (&["lease", "list"], ""),
        (&["lease", "keep-alive", "--once", "LEASE"], ""),
        (&["put", "--ignore-lease", "k", "w"], ""),
        (&["put", "l", "leaves the lease"], ""),
        (&["lease", "revoke", "LEASE"], ""),
        (&["get", "--prefix", "", "--keys-only"], ""),
        (&["lease", "revoke", "LEASE"], ""),
        (&["lease", "keep-alive", "--once", "LEASE"], ""),
        (&["lease", "timetolive", "LEASE"], ""),
        (&["put", "--lease", "LEASE", "k", "v"], ""),
        (&["lease", "grant", "0"], ""),
        (&["lease", "grant", "9000000001"], ""),
    ]);
}

#[test]
fn a_lease_that_is_not_kept_alive_takes_its_keys_along() {
    let store = Store::start(muster());
    let client = store.client();
    let granted = client.run(&["lease", "grant", "1"]);
    let id = granted
        .split(' ')
        .nth(1)
        .expect("lease <id> granted …")
        .to_owned();
    assert_eq!(client.run(&["put", "--lease", &id, "k", "v"]), "OK\n");
    wait::until(
        "the key to go with its lease",
        wait::LONG,
        || match client.value("k")? {
            None => Ok(()),
            Some(value) => Err(format!("k = {value}")),
        },
    );
    assert_eq!(client.run(&["lease", "list"]), "found 0 leases\n");
}

#[test]
fn watch_tells_the_past_and_the_present_in_order() {
    for release in RELEASES {
        let store = Store::start(muster());
        let client = Etcdctl::new(release, &store.endpoint());
        for (key, value) in [("a", "1"), ("a", "2"), ("ab", "3"), ("b", "unseen")] {
            assert_eq!(client.run(&["put", key, value]), "OK\n");
        }
        let mut watch = client.spawn(&["watch", "--prefix", "a", "--rev", "3", "--prev-kv"]);
        watch.wait_line("3", wait::LONG);
        assert_eq!(client.run(&["put", "ab", "4"]), "OK\n");
        assert_eq!(client.run(&["del", "--prefix", "a"]), "2\n");
        // a=2 over a=1; ab=3 new; ab=4 over ab=3; then both deleted, with what they held.
        let expected = "PUT a 1 a 2 PUT ab 3 PUT ab 3 ab 4 DELETE a 2 a  DELETE ab 4 ab ";
        let told = wait::until("all events", wait::LONG, || {
            let told = watch.lines().join(" ");
            if told.len() >= expected.len() {
                Ok(told)
            } else {
                Err(told)
            }
        });
        assert_eq!(told, expected, "{release:?}");
        watch.signal(Signal::INT);
    }
}

#[test]
fn watching_what_is_compacted_says_so() {
    for release in RELEASES {
        let mut said = Vec::new();
        for store in [Store::start(muster()), Store::start(Maker::Etcd)] {
            let client = Etcdctl::new(release, &store.endpoint());
            for value in ["1", "2", "3"] {
                assert_eq!(client.run(&["put", "k", value]), "OK\n");
            }
            assert_eq!(client.run(&["compaction", "3"]), "compacted revision 3\n");
            let mut watch = client.spawn(&["watch", "k", "--rev", "2"]);
            watch.wait_line("compact", wait::LONG);
            // It says one thing more, and ends.
            watch.wait_exit(wait::LONG);
            said.push(watch.lines().join("\n"));
        }
        assert_eq!(said[0], said[1], "{release:?}");
    }
}

#[test]
fn users_and_roles() {
    let steps: Vec<Vec<&str>> = [
        "auth enable",
        "user add root:secret",
        "user add root:secret",
        "auth enable",
        "role add root",
        "role add root",
        "user grant-role root root",
        "user grant-role root none",
        "user grant-role none root",
        "user add u:secret",
        "role add r",
        "role grant-permission r readwrite k l",
        "role grant-permission r read single",
        "role grant-permission r write open --from-key",
        "role grant-permission none read k",
        "role get r",
        "role get root",
        "role get none",
        "user grant-role u r",
        "user get u",
        "user get none",
        "user list",
        "role list",
        "put k1 v",
        "auth enable",
        "put k1 v",
        "get k1",
        "del k1",
        "user list",
        "--user root:wrong get k1",
        "--user none:secret get k1",
        "--user root:secret get k1",
        "--user root:secret auth enable",
        "--user u:secret put k1 other",
        "--user u:secret get k --prefix",
        "--user u:secret get k l",
        "--user u:secret get k m",
        "--user u:secret get k --from-key",
        "--user u:secret get single",
        "--user u:secret put single v",
        "--user u:secret put outside v",
        "--user u:secret put outside v --prev-kv",
        "--user u:secret put open v",
        "--user u:secret put open v --prev-kv",
        "--user u:secret del open --from-key",
        "--user u:secret del k l",
        "--user u:secret user get u",
        "--user u:secret user get root",
        "--user u:secret role get r",
        "--user u:secret role get root",
        "--user u:secret user list",
        "--user u:secret role list",
        "--user u:secret user add x:secret",
        "--user u:secret auth disable",
        "--user u:secret member add x --peer-urls=http://127.0.0.1:9",
        "--user root:secret user delete root",
        "--user root:secret role delete root",
        "--user root:secret user revoke-role root root",
        "--user root:secret role revoke-permission r single",
        "--user root:secret role revoke-permission r single",
        "--user u:secret get single",
        "--user root:secret user revoke-role u r",
        "--user root:secret user revoke-role u r",
        "--user u:secret get k1",
        "--user root:secret user grant-role u r",
        "--user root:secret role delete r",
        "--user root:secret user get u",
        "--user root:secret user delete u",
        "--user u:secret get k1",
        "--user root:secret auth disable",
        "get k1",
        "--user root:secret get k1",
    ]
    .iter()
    .map(|line| line.split(' ').collect())
    .collect();
    let steps: Vec<Step<'_>> = steps.iter().map(|words| (&words[..], "")).collect();
    same_as_etcd(&steps);
}
