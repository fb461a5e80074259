//! [pure] Which endpoint the next connection goes to: the lowest priority that is not at rest, shared out by weight. One that
//! failed rests, each time twice as long, and is used all the same when nobody else is left.

use std::collections::BTreeSet;
use std::time::Duration;

/// The first rest: a member that is being restarted is back within some of these.
const FIRST_REST: Duration = Duration::from_millis(500);

/// Where connections may lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its URL.
    pub(crate) url: String,
    /// Lower ones first, as in RFC 2782.
    pub(crate) priority: u16,
    /// Share among those of one priority; 0 counts as the smallest.
    pub(crate) weight: u16,
}

#[derive(Debug)]
struct Entry {
    candidate: Candidate,
    /// Failures since the last success.
    failures: u32,
    /// When it may be used again, if it failed. Time since some moment of the owner's.
    rests_until: Option<Duration>,
    /// Smooth weighted round robin: what it is owed.
    credit: i64,
}

/// All endpoints, with what is known of them.
#[derive(Debug)]
pub(crate) struct Endpoints {
    entries: Vec<Entry>,
    /// The longest rest.
    rest_max: Duration,
}

impl Endpoints {
    pub(crate) fn new(candidates: Vec<Candidate>, rest_max: Duration) -> Self {
        let mut endpoints = Self {
            entries: Vec::new(),
            rest_max,
        };
        endpoints.replace(candidates);
        endpoints
    }

    /// The endpoints are these from now on; what is known of those that stay is kept. An empty list changes nothing:
    /// nobody runs a gateway to nowhere. Says whether anything changed.
    pub(crate) fn replace(&mut self, candidates: Vec<Candidate>) -> bool {
        let known = |entries: &[Entry], url: &str| {
            entries.iter().position(|entry| entry.candidate.url == url)
        };
        let before: Vec<Candidate> = self.candidates();
        if candidates.is_empty() {
            return false;
        }
        let mut old = std::mem::take(&mut self.entries);
        for candidate in candidates {
            if known(&self.entries, &candidate.url).is_some() {
                continue;
            }
            let entry = match known(&old, &candidate.url) {
                Some(at) => Entry {
                    candidate,
                    ..old.swap_remove(at)
                },
                None => Entry {
                    candidate,
                    failures: 0,
                    rests_until: None,
                    credit: 0,
                },
            };
            self.entries.push(entry);
        }
        self.candidates() != before
    }

    /// All of them.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let all = self.entries.iter().map(|entry| entry.candidate.clone());
        all.collect()
    }

    /// Where the next connection is to go, other than where it was tried already.
    pub(crate) fn pick(&mut self, now: Duration, tried: &BTreeSet<String>) -> Option<String> {
        let untried = |entry: &&mut Entry| !tried.contains(&entry.candidate.url);
        let first = self
            .entries
            .iter()
            .filter(|entry| !tried.contains(&entry.candidate.url) && entry.is_awake(now))
            .map(|entry| entry.candidate.priority)
            .min();
        let Some(priority) = first else {
            // All rest: the one that has rested nearly long enough is the best guess there is.
            let all = self.entries.iter_mut().filter(untried);
            let soonest = all.min_by_key(|entry| entry.rests_until)?;
            return Some(soonest.candidate.url.clone());
        };
        let mut owed = 0;
        for entry in self.entries.iter_mut().filter(untried) {
            if entry.candidate.priority == priority && entry.is_awake(now) {
                entry.credit += entry.share();
                owed += entry.share();
            }
        }
        let group = self.entries.iter_mut().filter(untried);
        let group =
            group.filter(|entry| entry.candidate.priority == priority && entry.is_awake(now));
        // The first of those that are owed most.
        let chosen = group.rev().max_by_key(|entry| entry.credit)?;
        chosen.credit -= owed;
        Some(chosen.candidate.url.clone())
    }

    /// Nobody could be reached there. Gives its rest.
    pub(crate) fn failed(&mut self, url: &str, now: Duration) -> Duration {
        let Some(entry) = self.find(url) else {
            return Duration::ZERO;
        };
        // 2^20 times the first is six days: above every bound.
        let factor = 1_u32 << entry.failures.min(20);
        entry.failures = entry.failures.saturating_add(1);
        let rest = FIRST_REST.saturating_mul(factor);
        let rest_max = self.rest_max;
        let rest = rest.min(rest_max);
        if let Some(entry) = self.find(url) {
            entry.rests_until = Some(now + rest);
        }
        rest
    }

    /// Somebody is there. Says whether it was at rest before.
    pub(crate) fn worked(&mut self, url: &str) -> bool {
        self.find(url).is_some_and(|entry| {
            entry.failures = 0;
            entry.rests_until.take().is_some()
        })
    }

    fn find(&mut self, url: &str) -> Option<&mut Entry> {
        let mut entries = self.entries.iter_mut();
        entries.find(|entry| entry.candidate.url == url)
    }
}

impl Entry {
    fn is_awake(&self, now: Duration) -> bool {
        self.rests_until.is_none_or(|until| until <= now)
    }

    fn share(&self) -> i64 {
        i64::from(self.candidate.weight.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(url: &str, priority: u16, weight: u16) -> Candidate {
        Candidate {
            url: url.to_owned(),
            priority,
            weight,
        }
    }

    const NONE: BTreeSet<String> = BTreeSet::new();

    fn picks(endpoints: &mut Endpoints, ms: u64, times: usize) -> String {
        let now = Duration::from_millis(ms);
        let picks = (0..times).map(|_| endpoints.pick(now, &NONE).unwrap());
        picks.collect()
    }

    fn endpoints(list: &[(&str, u16, u16)]) -> Endpoints {
        let list = list
            .iter()
            .map(|(url, priority, weight)| candidate(url, *priority, *weight));
        Endpoints::new(list.collect(), Duration::from_secs(60))
    }

    #[test]
    fn connections_are_shared_out_by_priority_and_weight() {
        let mut even = endpoints(&[("a", 0, 0), ("b", 0, 0), ("c", 0, 0)]);
        assert_eq!(picks(&mut even, 0, 7), "abcabca");
        let mut weighted = endpoints(&[("a", 0, 3), ("b", 0, 1), ("c", 1, 9)]);
        assert_eq!(picks(&mut weighted, 0, 8), "aabaaaba");
    }

    #[test]
    fn what_failed_rests_twice_as_long_each_time() {
        let mut all = endpoints(&[("a", 0, 1), ("b", 5, 1)]);
        let mut now = Duration::ZERO;
        let mut rests = Vec::new();
        for _ in 0..9 {
            let rest = all.failed("a", now);
            assert_eq!(all.pick(now, &NONE), Some("b".to_owned()));
            now += rest;
            assert_eq!(all.pick(now, &NONE), Some("a".to_owned()));
            rests.push(rest.as_millis());
        }
        assert_eq!(rests[..4], [500, 1000, 2000, 4000]);
        assert_eq!(rests[7..], [60_000, 60_000]);
        assert!(all.worked("a"));
        assert!(!all.worked("a"));
        assert_eq!(all.failed("a", now).as_millis(), 500);
    }

    #[test]
    fn when_all_rest_the_next_to_wake_is_tried_and_none_twice() {
        let mut all = endpoints(&[("a", 0, 1), ("b", 0, 1)]);
        all.failed("a", Duration::ZERO);
        all.failed("b", Duration::from_millis(1));
        let now = Duration::from_millis(2);
        assert!(!all.entries.iter().any(|entry| entry.is_awake(now)));
        assert_eq!(all.pick(now, &NONE), Some("a".to_owned()));
        let mut tried = BTreeSet::from(["a".to_owned()]);
        assert_eq!(all.pick(now, &tried), Some("b".to_owned()));
        tried.insert("b".to_owned());
        assert_eq!(all.pick(now, &tried), None);
    }

    #[test]
    fn a_new_list_keeps_what_is_known_of_those_that_stay() {
        let mut all = endpoints(&[("a", 0, 1), ("b", 0, 1)]);
        all.failed("b", Duration::ZERO);
        let list = ["b", "c", "c"].map(|url| candidate(url, 0, 1));
        assert!(all.replace(list.to_vec()));
        assert!(!all.replace(list[..2].to_vec()));
        assert!(!all.replace(Vec::new()));
        assert_eq!(picks(&mut all, 0, 3), "ccc");
        assert_eq!(picks(&mut all, 500, 2).len(), 2);
        assert_eq!(all.candidates().len(), 2);
    }
}
