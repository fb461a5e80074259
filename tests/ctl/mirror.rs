//! Copies of a store, and what a store can carry.

use end_to_end::process::{Process, Signal};
use end_to_end::store::{Maker, Store};
use end_to_end::wait;

use super::{Client, ours, said, theirs};

fn listing(store: &Store) -> String {
    String::from_utf8(said(ours(store, &["get", "--prefix", ""]), "").1).expect("text")
}

/// Both clients end at the same copy, which follows the source through an outage of it.
#[test]
fn a_mirror_follows() {
    for (flags, wanted) in [
        (&[][..], "/a/1\nx\n/a/2\ny\n/b\nz\n"),
        (&["--prefix", "/a/"], "/a/1\nx\n/a/2\ny\n"),
        (
            &["--prefix", "/a/", "--dest-prefix", "/c/"],
            "/c/1\nx\n/c/2\ny\n",
        ),
        (&["--prefix", "/a/", "--no-dest-prefix"], "1\nx\n2\ny\n"),
    ] {
        for (is_ours, client) in [(true, ours as Client), (false, theirs)] {
            let (mut source, copy) = (Store::start(Maker::Etcd), Store::start(Maker::Etcd));
            for (key, value) in [("/a/1", "x"), ("/gone", "g"), ("/b", "z")] {
                assert_eq!(said(ours(&source, &["put", key, value]), "").0, 0);
            }
            let endpoint = copy.endpoint();
            let words = [&["make-mirror", &endpoint][..], flags].concat();
            let mut mirror = Process::spawn("mirror", &mut client(&source, &words));
            wait::until("the first copy", wait::LONG, || {
                let there = listing(&copy);
                if there.contains("1\nx\n") {
                    Ok(())
                } else {
                    Err(there)
                }
            });
            if is_ours {
                source.kill();
                source.restart();
            }
            let txn = "\nput /a/2 y\ndel /gone\n\n\n";
            assert_eq!(said(ours(&source, &["txn"]), txn).0, 0);
            wait::until("the changes", wait::LONG, || {
                let there = listing(&copy);
                if there == wanted { Ok(()) } else { Err(there) }
            });
            mirror.signal(Signal::TERM);
            mirror.wait_exit(wait::LONG);
        }
    }
}

#[test]
fn a_store_is_checked_and_left_as_it_was() {
    let store = Store::start(Maker::Muster(env!("CARGO_BIN_EXE_muster").into()));
    let (_, out, _) = said(ours(&store, &["check", "perf", "--duration", "2s"]), "");
    let out = String::from_utf8(out).unwrap();
    // Whether it passes is this machine's affair.
    for line in ["Throughput", "Slowest request", "Stddev"] {
        assert!(out.contains(line), "{out}");
    }
    assert_eq!(out.lines().count(), 4, "{out}");
    let words = ["check", "datascale", "--auto-compact", "--auto-defrag"];
    let (status, out, err) = said(ours(&store, &words), "");
    let out = String::from_utf8(out).unwrap();
    assert_eq!(status, 0, "{out} {err}");
    assert!(
        out.starts_with("Start data scale check for work load [10000 key-value pairs, 1024 bytes per key-value, 50 concurrent clients].\nPASS: Approximate system memory used : "),
        "{out}"
    );
    assert_eq!(listing(&store), "");
    assert_eq!(
        said(ours(&store, &["put", "/etcdctl-check-perf/x", "y"]), "").0,
        0
    );
    let (status, _, err) = said(ours(&store, &["check", "perf"]), "");
    assert_eq!(status, 3, "{err}");
    assert!(err.contains("has keys"), "{err}");
}
