//! The registrar converges (design of the agents: level, not edge): when nothing goes wrong any more, the keys
//! on a registrator's lease are what the containers of its engine demand that run, with their values, and
//! nothing else; and it is the registrator that keeps the lease alive, since keys that an earlier session left
//! behind may be right by chance and go with their lease. Then it rests.

use std::collections::BTreeMap;

use registrator_catalog::record::same_apart_from_time;

use crate::promises::{Check, broken};

const PROMISE: &str = "the registrar converges";

/// Compares the keys on a lease, in key order, with what is demanded. Several containers may demand one key, of
/// which one has it.
pub(crate) fn converged<'a>(
    site: usize,
    on_lease: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    demanded: &BTreeMap<String, Vec<String>>,
) -> Check {
    let mut missing = demanded.clone();
    for (key, value) in on_lease {
        let key = String::from_utf8_lossy(key);
        let Some(values) = missing.remove(&*key) else {
            return broken(
                PROMISE,
                format!("{key} is on the lease of site {site}, and no container has it"),
            );
        };
        let same = |wanted: &String| same_apart_from_time(wanted.as_bytes(), value);
        if !values.iter().any(same) {
            let value = String::from_utf8_lossy(value);
            return broken(
                PROMISE,
                format!("{key} of site {site} is {value}, and should be one of {values:?}"),
            );
        }
    }
    match missing.pop_first() {
        None => Ok(()),
        Some((key, _)) => broken(
            PROMISE,
            format!("{key} of site {site} is missing on its lease"),
        ),
    }
}

/// Whether the registrator of a site has a session in which its lease has been kept alive.
pub(crate) fn kept_alive(site: usize, kept: bool) -> Check {
    if kept {
        return Ok(());
    }
    broken(
        PROMISE,
        format!("the registrator of site {site} does not keep its lease alive"),
    )
}

/// Transactions ordered before and after a while in which nothing has happened to any container.
pub(crate) fn rests(before: usize, after: usize) -> Check {
    if before == after {
        return Ok(());
    }
    broken(
        PROMISE,
        format!(
            "keys are as they should be, and {} more transactions were ordered",
            after - before
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_there_and_nothing_else() {
        type Pairs = &'static [(&'static str, &'static str)];
        let cases: [(Pairs, Option<&str>); 6] = [
            (&[("a", "1"), ("twin", "x")], None),
            (&[("a", "1"), ("twin", "y")], None),
            (
                &[("twin", "y")],
                Some("a of site 0 is missing on its lease"),
            ),
            (
                &[("a", "1"), ("b", "2"), ("twin", "x")],
                Some("b is on the lease of site 0, and no container has it"),
            ),
            (
                &[("a", "2"), ("twin", "x")],
                Some("a of site 0 is 2, and should be one of [\"1\"]"),
            ),
            (
                &[("a", "1"), ("twin", "z")],
                Some("twin of site 0 is z, and should be one of [\"x\", \"y\"]"),
            ),
        ];
        let one = |text: &str| vec![text.to_owned()];
        let demanded = BTreeMap::from([
            ("a".to_owned(), one("1")),
            ("twin".to_owned(), vec!["x".to_owned(), "y".to_owned()]),
        ]);
        for (found, told) in cases {
            let pairs = found.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes()));
            let broke = converged(0, pairs, &demanded).err();
            assert_eq!(
                broke.as_ref().map(|broke| broke.detail.as_str()),
                told,
                "{found:?}"
            );
        }
    }

    #[test]
    fn keys_of_a_lease_that_nobody_keeps_are_not_there_to_stay() {
        assert_eq!(kept_alive(1, true), Ok(()));
        assert_eq!(
            kept_alive(1, false).unwrap_err().detail,
            "the registrator of site 1 does not keep its lease alive"
        );
    }

    #[test]
    fn who_has_converged_writes_nothing() {
        assert_eq!(rests(7, 7), Ok(()));
        assert!(rests(7, 8).is_err());
    }

    #[test]
    fn the_time_of_a_record_is_no_difference() {
        let record = |time: &str| format!("{{\"name\":\"web\",\"updated_at\":\"{time}\"}}");
        let (old, new) = ("2020-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z");
        let demanded = BTreeMap::from([("a".to_owned(), vec![record(old)])]);
        let found = record(new);
        let pairs = [(&b"a"[..], found.as_bytes())];
        assert_eq!(converged(0, pairs.into_iter(), &demanded), Ok(()));
    }
}
