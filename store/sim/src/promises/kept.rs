//! No live container's key is ever removed (design, "Simulation"; design of the registrator: a container that
//! runs stays registered). The exact rule: a registrator's transaction deletes a pair only if at some moment
//! since the look at the container on which the pair was written was asked for (the answer is from a moment between
//! question and answer, which nobody but the engine knows) no container demanded it: none that runs, is
//! well, and was not told to stop. What else takes keys away is the end of a lease, which `promises/lease.rs` allows only when nobody
//! has kept it alive for its whole life.

use std::collections::BTreeMap;

use registrator_catalog::record::same_apart_from_time;

use crate::clock::Time;
use crate::promises::{Check, broken};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Value and since when without a break, by key and container.
    demands: BTreeMap<(String, String), (String, Time)>,
    /// When the pair that stands there was ordered, by key.
    written: BTreeMap<String, Time>,
    /// Looks at a container: when the answer was known, and from when it is.
    looks: BTreeMap<String, Vec<(Time, Time)>>,
}

impl Kept {
    /// From now on a container demands these keys with these values, and no others.
    pub(crate) fn demanded(&mut self, now: Time, id: &str, wanted: &BTreeMap<String, String>) {
        self.demands
            .retain(|(key, container), _| container != id || wanted.contains_key(key));
        for (key, value) in wanted {
            let place = (key.clone(), id.to_owned());
            let demand = self
                .demands
                .entry(place)
                .or_insert_with(|| (value.clone(), now));
            if !same_apart_from_time(demand.0.as_bytes(), value.as_bytes()) {
                *demand = (value.clone(), now);
            }
        }
    }

    /// A registrator learns now what a container was like, which it asked at a moment.
    pub(crate) fn looked(&mut self, now: Time, id: &str, at: Time) {
        self.looks.entry(id.to_owned()).or_default().push((now, at));
    }

    /// From when what was known about a container at a moment is.
    fn known(&self, id: &str, when: Time) -> Time {
        let looks = self.looks.get(id).map_or(&[][..], Vec::as_slice);
        let before = looks.iter().rev().find(|(known, _)| *known <= when);
        before.map_or(0, |(_, at)| *at)
    }

    /// A registrator's transaction, ordered then, has written a key.
    pub(crate) fn put(&mut self, key: &str, ordered: Time) {
        self.written.insert(key.to_owned(), ordered);
    }

    /// A registrator's transaction has deleted a pair.
    pub(crate) fn deleted(&self, key: &str, value: &[u8]) -> Check {
        let Some(written) = self.written.get(key) else {
            return Ok(());
        };
        let from = (key.to_owned(), String::new());
        let same = |((_, id), (wanted, since)): &(&(String, String), &(String, Time))| {
            *since <= self.known(id, *written) && same_apart_from_time(wanted.as_bytes(), value)
        };
        let mut demands = self
            .demands
            .range(from..)
            .take_while(|((at, _), _)| at == key);
        match demands.find(same) {
            None => Ok(()),
            Some(((_, id), (_, since))) => broken(
                "no live container's key is ever removed",
                format!(
                    "{key} was written by an order at {written} µs and is deleted, and container {id} has demanded it since {since} µs"
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("k".to_owned(), value.to_owned())])
    }

    /// What happens, one after the other, a microsecond each.
    enum Move {
        Wants(&'static str, &'static str),
        /// The registrator learns what it is like, or was like before the last so many moves.
        Looks(&'static str, Time),
        Ends(&'static str),
        Put,
    }
    use Move::{Ends, Looks, Put, Wants};

    #[test]
    fn a_pair_goes_only_when_nobody_wanted_it_for_a_moment() {
        let cases: [(&str, &[Move], bool); 10] = [
            (
                "it runs all the time",
                &[Wants("a", "1"), Looks("a", 0), Put],
                false,
            ),
            (
                "it ran, ended unseen, and runs again when it is written",
                &[
                    Wants("a", "1"),
                    Ends("a"),
                    Wants("a", "1"),
                    Looks("a", 3),
                    Put,
                ],
                true,
            ),
            (
                "nobody has looked since it runs",
                &[Looks("a", 0), Wants("a", "1"), Put],
                true,
            ),
            (
                "it has ended",
                &[Wants("a", "1"), Looks("a", 0), Put, Ends("a")],
                true,
            ),
            (
                "it was away for a moment",
                &[
                    Wants("a", "1"),
                    Looks("a", 0),
                    Put,
                    Ends("a"),
                    Wants("a", "1"),
                ],
                true,
            ),
            (
                "it was away before the write only",
                &[
                    Wants("a", "1"),
                    Ends("a"),
                    Wants("a", "1"),
                    Looks("a", 0),
                    Put,
                ],
                false,
            ),
            (
                "it wants another value now",
                &[Wants("a", "1"), Looks("a", 0), Put, Wants("a", "2")],
                true,
            ),
            (
                "it wanted another value for a moment",
                &[
                    Wants("a", "1"),
                    Looks("a", 0),
                    Put,
                    Wants("a", "2"),
                    Wants("a", "1"),
                ],
                true,
            ),
            (
                "another one wants the same key with its own value",
                &[
                    Wants("a", "1"),
                    Wants("b", "2"),
                    Looks("b", 0),
                    Put,
                    Ends("a"),
                ],
                true,
            ),
            (
                "one of two that want the same pair has ended",
                &[
                    Wants("a", "1"),
                    Wants("b", "1"),
                    Looks("b", 0),
                    Put,
                    Ends("a"),
                ],
                false,
            ),
        ];
        for (what, moves, kept) in cases {
            let mut state = Kept::default();
            for (now, one) in moves.iter().enumerate() {
                let now = now as Time;
                match one {
                    Wants(id, value) => state.demanded(now, id, &wants(value)),
                    Looks(id, ago) => state.looked(now, id, now - ago),
                    Ends(id) => state.demanded(now, id, &BTreeMap::new()),
                    Put => state.put("k", now),
                }
            }
            assert_eq!(state.deleted("k", b"1").is_ok(), kept, "{what}");
        }
    }

    #[test]
    fn what_no_registrator_wrote_is_nobodys() {
        let mut state = Kept::default();
        state.demanded(1, "a", &wants("1"));
        assert_eq!(state.deleted("k", b"1"), Ok(()));
    }
}
