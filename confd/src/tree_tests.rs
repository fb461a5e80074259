use bytes::Bytes;

use super::*;

/// A snapshot from text pairs.
fn snapshot(pairs: &[(&str, &str)]) -> Snapshot {
    let entries = pairs
        .iter()
        .map(|(key, value)| {
            let entry = Entry {
                value: Bytes::copy_from_slice(value.as_bytes()),
                create_revision: 1,
                mod_revision: 1,
            };
            (Bytes::copy_from_slice(key.as_bytes()), entry)
        })
        .collect();
    Snapshot::from_entries(7, entries)
}

fn reader(prefix: &str, keys: &[&str], pairs: &[(&str, &str)]) -> Reader {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    Reader::new(snapshot(pairs), Scope::new(prefix, &keys))
}

const PAIRS: &[(&str, &str)] = &[
    ("/app/db/host", "h"),
    ("/app/db/pass", "a"),
    ("/app/db/host/deep", "d"),
    ("/app/name", "n"),
    ("/apple", "no"),
    ("/other", "o"),
];

#[test]
fn listing_has_the_edge_cases_of_confd() {
    let mut reader = reader("/", &["/"], PAIRS);
    for (path, names) in [
        ("/app", vec!["db", "name"]),
        ("/app/", vec!["db", "name"]),
        ("/", vec!["app", "apple", "other"]),
        ("/app/name", vec!["name"]),
        ("/app/name/", vec![]),
        ("/app/db/host", vec!["deep", "host"]),
        ("/ap", vec![]),
        ("/none", vec![]),
    ] {
        assert_eq!(reader.ls(path), names, "ls {path}");
    }
    for (path, names) in [
        ("/app", vec!["db"]),
        ("/app/db", vec!["host"]),
        ("/app/name", vec![]),
        ("/", vec!["app"]),
    ] {
        assert_eq!(reader.lsdir(path), names, "lsdir {path}");
    }
}

#[test]
fn keys_and_directories_exist_apart() {
    let mut reader = reader("", &["/"], PAIRS);
    assert!(reader.exists("/app/name") && reader.exists("app/name"));
    assert!(!reader.exists("/app") && !reader.exists("/none"));
    assert!(reader.exists_dir("/app") && reader.exists_dir("/app/db/host"));
    assert!(!reader.exists_dir("/app/name") && !reader.exists_dir("/ap"));
}

#[test]
fn values_by_key_and_by_pattern() {
    let mut reader = reader("", &["/"], PAIRS);
    assert_eq!(reader.get("/app/name").unwrap().value, "n");
    assert_eq!(
        reader.get("/none"),
        Err(ReadError::Absent {
            key: "/none".to_owned()
        })
    );
    let keys: Vec<String> = reader
        .gets("/app/db/*")
        .unwrap()
        .into_iter()
        .map(|pair| pair.key)
        .collect();
    assert_eq!(keys, ["/app/db/host", "/app/db/pass"]);
    assert_eq!(
        reader.getvs("/app/db/*").unwrap(),
        ["a", "h"],
        "sorted by value"
    );
    assert_eq!(reader.gets("/none/*").unwrap(), []);
    assert!(matches!(reader.gets("/["), Err(ReadError::Pattern(_))));
    assert_eq!(reader.finish().absent.as_deref(), Some("/none"));
}

#[test]
fn keys_that_do_not_exist_may_hold_something() {
    let mut reader = reader("", &["/"], PAIRS).with_default(Some("none"));
    assert_eq!(reader.get("/none").unwrap().value, "none");
    assert_eq!(reader.get("/app/name").unwrap().value, "n");
    // Who asks whether it is there is told so.
    assert!(!reader.exists("/none"));
    assert_eq!(reader.find("/none"), Ok(None));
    assert_eq!(reader.gets("/none/*").unwrap(), []);
    assert_eq!(reader.finish().absent, None);
}

#[test]
fn the_prefix_is_stripped_and_the_scope_is_kept() {
    let pairs = [
        ("/production/db/host", "p"),
        ("/production/secret", "s"),
        ("/staging/db/host", "t"),
    ];
    let mut reader = reader("/production/", &["/db", "/name"], &pairs);
    assert_eq!(reader.get("/db/host").unwrap().value, "p");
    assert!(!reader.exists("/secret"), "outside of keys");
    assert_eq!(reader.ls("/"), ["db"]);
    let ranges = |key: &str| Scope::new("production", &[key.to_owned()]).ranges();
    assert_eq!(ranges("db"), [KeyRange::tree("/production/db")]);
    assert_eq!(ranges("/db/"), [KeyRange::tree("/production/db/")]);
    assert_eq!(ranges("/"), [KeyRange::tree("/production/")]);
}

#[test]
fn a_tree_nests_and_keeps_a_value_beside_its_children() {
    let mut reader = reader("", &["/app"], PAIRS);
    let leaf = |text: &str| Node::Leaf(text.to_owned());
    let directory = |nodes: Vec<(&str, Node)>| {
        Node::Directory(
            nodes
                .into_iter()
                .map(|(name, node)| (name.to_owned(), node))
                .collect(),
        )
    };
    let host = directory(vec![("", leaf("h")), ("deep", leaf("d"))]);
    let wanted = directory(vec![
        ("db", directory(vec![("host", host), ("pass", leaf("a"))])),
        ("name", leaf("n")),
    ]);
    assert_eq!(reader.tree("/app").unwrap(), wanted);
    assert_eq!(reader.tree("/none").unwrap(), directory(vec![]));
}

#[test]
fn binary_values_are_an_error_where_they_are_read() {
    let entry = Entry {
        value: Bytes::from_static(&[0xff]),
        create_revision: 1,
        mod_revision: 1,
    };
    let snapshot = Snapshot::from_entries(1, vec![(Bytes::from("/b"), entry)]);
    let mut reader = Reader::new(snapshot, Scope::new("", &["/".to_owned()]));
    assert!(reader.exists("/b"));
    assert_eq!(
        reader.get("/b"),
        Err(ReadError::Binary {
            key: "/b".to_owned()
        })
    );
}

#[test]
fn reads_are_remembered() {
    use store_client::mirror::ChangeKind::{Created, Modified};
    let mut reader = reader("", &["/"], PAIRS);
    let _ = reader.get("/missing");
    let _ = reader.ls("/app");
    let _ = reader.gets("/g/*");
    let _ = reader.services("/services", Some("web"));
    let reads = reader.finish().reads;
    assert!(reads.matches("/missing", Created) && reads.matches("/app/x", Created));
    assert!(reads.matches("/g/1", Modified) && reads.matches("/services/web/i", Modified));
    assert!(!reads.matches("/app/name", Modified) && !reads.matches("/services/db/i", Created));
}
