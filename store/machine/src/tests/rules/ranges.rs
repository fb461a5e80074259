//! Reference A.2.

use super::*;

/// a..e written at revisions 2..6, then c again at 7 and a at 8; d deleted at 9.
fn store() -> Store {
    let mut store = Store::new();
    for (key, value) in [
        ("a", "5"),
        ("b", "4"),
        ("c", "3"),
        ("d", "2"),
        ("e", "1"),
        ("c", "9"),
        ("a", "0"),
    ] {
        store.put(key, value);
    }
    store.delete("d");
    store
}

#[test]
fn bounds() {
    let store = store();
    let table: &[(KeyRange, &[&str])] = &[
        (one("b"), &["b"]),
        (one("d"), &[]),
        (one("bb"), &[]),
        (from("\0"), &["a", "b", "c", "e"]),
        (from(""), &["a", "b", "c", "e"]),
        (from("c"), &["c", "e"]),
        (from("f"), &[]),
        (between("a", "c"), &["a", "b"]),
        (between("aa", "d"), &["b", "c"]),
        (between("c", "c"), &[]),
        (between("e", "a"), &[]),
    ];
    for (keys, expected) in table {
        assert_eq!(store.keys(keys.clone()), *expected, "{keys:?}");
        let reply = store.range(&RangeRequest::latest(keys.clone())).unwrap();
        assert_eq!(
            (reply.count, reply.more),
            (expected.len() as u64, false),
            "{keys:?}"
        );
    }
}

#[test]
fn revisions() {
    let mut store = store();
    let at = |store: &Store, revision: i64| {
        let request = RangeRequest {
            revision: Revision(revision),
            ..RangeRequest::latest(from(""))
        };
        store.range(&request).map(|reply| {
            assert_eq!(reply.count, reply.kvs.len() as u64);
            reply
                .kvs
                .iter()
                .map(|kv| text(&kv.key) + &text(&kv.value))
                .collect::<Vec<_>>()
                .join(" ")
        })
    };
    let table = [
        (-3, Ok("a0 b4 c9 e1")),
        (0, Ok("a0 b4 c9 e1")),
        (1, Ok("")),
        (3, Ok("a5 b4")),
        (7, Ok("a5 b4 c9 d2 e1")),
        (8, Ok("a0 b4 c9 d2 e1")),
        (9, Ok("a0 b4 c9 e1")),
        (10, Err(Refusal::FutureRevision)),
    ];
    for (revision, expected) in table {
        assert_eq!(
            at(&store, revision),
            expected.map(str::to_owned),
            "{revision}"
        );
    }
    // The limit cuts what comes last in the asked order.
    let request = RangeRequest {
        revision: Revision(7),
        limit: 2,
        sort_order: SortOrder::Descend,
        ..RangeRequest::latest(from(""))
    };
    let reply = store.range(&request).unwrap();
    assert_eq!(
        (names(&reply.kvs).join(" "), reply.more, reply.count),
        ("e d".into(), true, 5)
    );
    store.compact(7).unwrap();
    assert_eq!(at(&store, 6), Err(Refusal::Compacted));
    assert_eq!(at(&store, 7), Ok("a5 b4 c9 d2 e1".into()));
}

#[test]
fn limit_sort_and_filters() {
    let store = store();
    let base = RangeRequest::latest(from(""));
    let sorted = |sort_target, sort_order| RangeRequest {
        sort_target,
        sort_order,
        ..base.clone()
    };
    use {SortOrder::*, SortTarget as Target};
    // (request, keys, more); the count is 4 throughout.
    let table: Vec<(RangeRequest, &str, bool)> = vec![
        (
            RangeRequest {
                limit: 2,
                ..base.clone()
            },
            "a b",
            true,
        ),
        (
            RangeRequest {
                limit: 4,
                ..base.clone()
            },
            "a b c e",
            false,
        ),
        (
            RangeRequest {
                limit: 5,
                ..base.clone()
            },
            "a b c e",
            false,
        ),
        (sorted(Target::Key, Descend), "e c b a", false),
        (
            RangeRequest {
                limit: 2,
                ..sorted(Target::Key, Descend)
            },
            "e c",
            true,
        ),
        // Another target without an order behaves as ascending.
        (sorted(Target::Version, None), "b e a c", false),
        (sorted(Target::Version, Ascend), "b e a c", false),
        (sorted(Target::Version, Descend), "a c b e", false),
        (sorted(Target::Create, Descend), "e c b a", false),
        (sorted(Target::Mod, Ascend), "b e c a", false),
        (sorted(Target::Value, Ascend), "a e b c", false),
        // Sorted before it is cut.
        (
            RangeRequest {
                limit: 1,
                ..sorted(Target::Value, Descend)
            },
            "c",
            true,
        ),
        // Without an order, cut to one more than the limit before it is sorted.
        (
            RangeRequest {
                limit: 2,
                ..sorted(Target::Value, None)
            },
            "a b",
            true,
        ),
        (
            RangeRequest {
                limit: 2,
                ..sorted(Target::Value, Ascend)
            },
            "a e",
            true,
        ),
        // keys_only does not lose the sort by value.
        (
            RangeRequest {
                keys_only: true,
                ..sorted(Target::Value, Ascend)
            },
            "a e b c",
            false,
        ),
        (
            RangeRequest {
                mod_revision_max: 7,
                ..base.clone()
            },
            "b c e",
            false,
        ),
        (
            RangeRequest {
                mod_revision_min: 7,
                ..base.clone()
            },
            "a c",
            false,
        ),
        (
            RangeRequest {
                create_revision_max: 3,
                ..base.clone()
            },
            "a b",
            false,
        ),
        (
            RangeRequest {
                create_revision_min: 4,
                ..base.clone()
            },
            "c e",
            false,
        ),
        (
            RangeRequest {
                mod_revision_min: 3,
                mod_revision_max: 6,
                ..base.clone()
            },
            "b e",
            false,
        ),
        // Filtered before it is cut.
        (
            RangeRequest {
                mod_revision_min: 7,
                limit: 1,
                ..base.clone()
            },
            "a",
            true,
        ),
        (
            RangeRequest {
                mod_revision_min: 8,
                limit: 1,
                ..base.clone()
            },
            "a",
            false,
        ),
        (
            RangeRequest {
                count_only: true,
                ..base.clone()
            },
            "",
            false,
        ),
        (
            RangeRequest {
                count_only: true,
                keys_only: true,
                ..base.clone()
            },
            "",
            false,
        ),
        (
            RangeRequest {
                count_only: true,
                mod_revision_min: 8,
                limit: 1,
                ..base.clone()
            },
            "",
            false,
        ),
    ];
    for (request, keys, more) in table {
        let reply = store.range(&request).unwrap();
        let found = (names(&reply.kvs).join(" "), reply.more, reply.count);
        assert_eq!(found, (keys.to_owned(), more, 4), "{request:?}");
    }
}

#[test]
fn keys_only_blanks_the_value_and_nothing_else() {
    let mut store = store();
    store.grant(7).unwrap();
    store.reply(leased("z", 7)).unwrap();
    let whole = store.get("z").unwrap();
    let request = RangeRequest {
        keys_only: true,
        ..RangeRequest::latest(one("z"))
    };
    let blanked = store.range(&request).unwrap().kvs.pop().unwrap();
    assert_eq!(
        blanked,
        KeyValue {
            value: Bytes::new(),
            ..whole
        }
    );
    // The lease is filled: a superset of what etcd 3.7 says.
    assert_eq!(blanked.lease, LeaseId(7));
}

#[test]
fn values_are_shared_not_copied() {
    let mut store = Store::new();
    for length in [10, 100_000] {
        let key = length.to_string();
        store.put(&key, &"v".repeat(length));
        // Young, then packed.
        for _ in 0..100 {
            let one = store.get(&key).unwrap();
            let other = store.get(&key).unwrap();
            assert_eq!(one.value.as_ptr(), other.value.as_ptr());
            store.put("filler", "f");
        }
    }
}

#[test]
fn an_uncounted_range_brings_the_same_pairs() {
    let store = store();
    for revision in [0, 5, 6, 7] {
        for limit in 0..6 {
            let counted = RangeRequest {
                limit,
                revision: Revision(revision),
                ..RangeRequest::latest(from("a"))
            };
            let uncounted = RangeRequest {
                uncounted: true,
                ..counted.clone()
            };
            let (whole, short) = (store.range(&counted), store.range(&uncounted));
            let (whole, short) = (whole.unwrap(), short.unwrap());
            assert_eq!((short.kvs, short.more), (whole.kvs, whole.more));
        }
    }
}
