//! Every file that is put in place is a fresh render at one revision (confd's promise: each pass renders from one
//! immutable snapshot, a transaction is seen whole by all files): what a pass sees is what the store held at that
//! revision in the ranges it reads, all of it and nothing else; the file is what the template gives from that; and
//! no pass goes back to an earlier revision than one before it.

use bytes::Bytes;
use store_client::mirror::{Entry, KeyRange, Snapshot};
use store_machine::reply::KeyValue;

use crate::model::Model;
use crate::promises::{Check, broken};

const PROMISE: &str = "every file is a fresh render at one revision";

/// The pairs in the ranges as a mirror holds them, in key order.
fn entries<'a>(
    pairs: &'a [KeyValue],
    ranges: &'a [KeyRange],
) -> impl Iterator<Item = (&'a Bytes, Entry)> {
    let inside = |pair: &&KeyValue| ranges.iter().any(|range| range.contains(&pair.key));
    pairs.iter().filter(inside).map(|pair| {
        let entry = Entry {
            value: pair.value.clone(),
            create_revision: pair.create_revision.0,
            mod_revision: pair.mod_revision.0,
        };
        (&pair.key, entry)
    })
}

/// What the store held in these ranges.
pub(crate) fn snapshot(model: &Model, ranges: &[KeyRange], revision: i64) -> Snapshot {
    let pairs = model.everything(revision);
    let entries = entries(&pairs, ranges).map(|(key, entry)| (key.clone(), entry));
    Snapshot::from_entries(revision, entries.collect())
}

/// A pass begins from this snapshot.
pub(crate) fn seen(model: &Model, ranges: &[KeyRange], snapshot: &Snapshot) -> Check {
    let revision = snapshot.revision();
    if revision > model.revision() {
        return broken(
            PROMISE,
            format!("a pass sees revision {revision} before it was made"),
        );
    }
    let pairs = model.everything(revision);
    let held: Vec<_> = entries(&pairs, ranges).collect();
    compare(revision, &held, snapshot)
}

fn compare(revision: i64, held: &[(&Bytes, Entry)], snapshot: &Snapshot) -> Check {
    let mut shown = snapshot.iter();
    for (key, entry) in held {
        match shown.next() {
            Some((shown_key, shown_entry)) if shown_key == *key && shown_entry == entry => {}
            other => {
                return broken(
                    PROMISE,
                    format!(
                        "at revision {revision} the store held {key:?} as {entry:?}, a pass sees {other:?}"
                    ),
                );
            }
        }
    }
    match shown.next() {
        None => Ok(()),
        Some((key, entry)) => broken(
            PROMISE,
            format!("at revision {revision} the store held no {key:?}, a pass sees {entry:?}"),
        ),
    }
}

/// A pass begins at a revision, after one at `before` and perhaps others.
pub(crate) fn forward(name: &str, before: i64, revision: i64) -> Check {
    if revision >= before {
        return Ok(());
    }
    broken(
        PROMISE,
        format!("a pass for {name} is at revision {revision}, and one before it was at {before}"),
    )
}

/// A file is put in place that was rendered at a revision.
pub(crate) fn placed(name: &str, revision: i64, content: &[u8], fresh: &str) -> Check {
    if content == fresh.as_bytes() {
        return Ok(());
    }
    let content = String::from_utf8_lossy(content);
    broken(
        PROMISE,
        format!(
            "file {name} is {content:?}, a fresh render at revision {revision} gives {fresh:?}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &'static str, revision: i64) -> Entry {
        Entry {
            value: Bytes::from_static(value.as_bytes()),
            create_revision: 1,
            mod_revision: revision,
        }
    }

    /// The store wrote `a` and `b` together, at 5 and again at 7.
    #[test]
    fn a_transaction_is_seen_whole_or_not_yet() {
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let held = [(&a, entry("2", 7)), (&b, entry("2", 7))];
        type Shown<'a> = &'a [(&'a Bytes, Entry)];
        let cases: [(&str, Shown<'_>, bool); 6] = [
            (
                "all of it",
                &[(&a, entry("2", 7)), (&b, entry("2", 7))],
                true,
            ),
            (
                "half of it",
                &[(&a, entry("2", 7)), (&b, entry("1", 5))],
                false,
            ),
            (
                "none of it",
                &[(&a, entry("1", 5)), (&b, entry("1", 5))],
                false,
            ),
            ("a key is missing", &[(&a, entry("2", 7))], false),
            (
                "a key too many",
                &[
                    (&a, entry("2", 7)),
                    (&b, entry("2", 7)),
                    (&Bytes::from_static(b"c"), entry("x", 6)),
                ],
                false,
            ),
            (
                "the right value of another write",
                &[(&a, entry("2", 7)), (&b, entry("2", 6))],
                false,
            ),
        ];
        for (what, shown, whole) in cases {
            let entries = shown
                .iter()
                .map(|(key, entry)| ((*key).clone(), entry.clone()));
            let snapshot = Snapshot::from_entries(7, entries.collect());
            assert_eq!(compare(7, &held, &snapshot).is_ok(), whole, "{what}");
        }
    }

    #[test]
    fn passes_go_forward_and_files_are_what_was_rendered() {
        assert_eq!(forward("f", 5, 5), Ok(()));
        assert_eq!(forward("f", 5, 6), Ok(()));
        assert!(forward("f", 5, 4).is_err());
        assert_eq!(placed("f", 5, b"text", "text"), Ok(()));
        assert!(placed("f", 5, b"tex", "text").is_err());
    }
}
