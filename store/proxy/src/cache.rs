//! [pure] Answers to serializable ranges, kept while nothing in the range changes. An entry belongs to whoever was allowed to
//! read it, is good for a while at most, and counts only once a watcher vouches for it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

/// 2048: a watcher upstream each at worst.
const ENTRIES_MAX: usize = 2048;
/// 64 MiB over all entries.
const BYTES_MAX: usize = 64 << 20;
/// 1 MiB: larger answers cost more memory than they save.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// 10 s: as long may somebody go on reading whose right to it was taken away.
const AGE_MAX: Duration = Duration::from_secs(10);

/// What was asked, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    /// Whose; the token as it came.
    pub(crate) identity: Bytes,
    /// The request as it came.
    pub(crate) request: Bytes,
}

#[derive(Debug)]
struct Entry {
    answer: Bytes,
    key: Bytes,
    end: Bytes,
    /// Number of the entry, by which its watcher knows it.
    number: u64,
    /// A watcher follows the range from the answer's revision on.
    vouched: bool,
    good_until: Duration,
}

/// The answers.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<Question, Entry>,
    by_number: BTreeMap<u64, Question>,
    /// Oldest first; may name entries that are gone.
    order: VecDeque<u64>,
    bytes: usize,
    next: u64,
    /// Writes that went through here.
    writes: u64,
    /// Answers given from here.
    pub(crate) hits: u64,
    /// Questions that had to go upstream.
    pub(crate) misses: u64,
}

/// Whether two ranges, as etcd writes them, have a key in common.
fn overlap(one: (&[u8], &[u8]), other: (&[u8], &[u8])) -> bool {
    // Whether the range ends behind the key.
    let reaches = |(key, end): (&[u8], &[u8]), other: &[u8]| match end {
        b"" => key >= other,
        b"\0" => true,
        end => end > other,
    };
    reaches(one, other.0) && reaches(other, one.0)
}

impl Cache {
    /// The answer, if there is one that is good.
    pub(crate) fn get(&mut self, now: Duration, question: &Question) -> Option<Bytes> {
        let good = self.entries.get(question);
        let good = good.filter(|entry| entry.vouched && now < entry.good_until);
        let answer = good.map(|entry| entry.answer.clone());
        match answer {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        answer
    }

    /// To be noted before a question goes upstream.
    pub(crate) fn asked(&self) -> u64 {
        self.writes
    }

    /// Keeps an answer; gives the number under which it is to be vouched for, and those of entries that had to go.
    /// Nothing if it is not worth it, or kept already, or if somebody wrote since it was `asked` for: the answer may be
    /// from before, and who wrote is to read what it wrote.
    pub(crate) fn keep(
        &mut self,
        (now, asked): (Duration, u64),
        question: Question,
        (key, end): (Bytes, Bytes),
        answer: Bytes,
    ) -> (Option<u64>, Vec<u64>) {
        if answer.len() > ANSWER_BYTES_MAX || asked != self.writes {
            return (None, Vec::new());
        }
        let mut gone = Vec::new();
        if let Some(old) = self.entries.get(&question) {
            if now < old.good_until {
                return (None, gone);
            }
            gone.push(old.number);
            self.drop_number(old.number);
        }
        self.next += 1;
        let number = self.next;
        self.bytes += answer.len() + question.request.len();
        self.order.push_back(number);
        self.by_number.insert(number, question.clone());
        self.entries.insert(
            question,
            Entry {
                answer,
                key,
                end,
                number,
                vouched: false,
                good_until: now + AGE_MAX,
            },
        );
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if self.drop_number(oldest) {
                gone.push(oldest);
            }
        }
        (Some(number), gone)
    }

    /// A watcher follows the range of this entry now, from the revision behind its answer.
    pub(crate) fn vouch(&mut self, number: u64) {
        let question = self.by_number.get(&number);
        if let Some(entry) = question.and_then(|question| self.entries.get_mut(question)) {
            entry.vouched = true;
        }
    }

    /// Something in the range of this entry has changed, or nobody follows it any more. Says whether it was there.
    pub(crate) fn drop_number(&mut self, number: u64) -> bool {
        let Some(question) = self.by_number.remove(&number) else {
            return false;
        };
        if let Some(entry) = self.entries.remove(&question) {
            self.bytes -= entry.answer.len() + question.request.len();
        }
        true
    }

    /// Somebody wrote to a range through here and may read it next. Gives the numbers of the entries that go.
    pub(crate) fn written(&mut self, key: &[u8], end: &[u8]) -> Vec<u64> {
        self.wrote();
        let touched = self
            .entries
            .values()
            .filter(|entry| overlap((&entry.key, &entry.end), (key, end)))
            .map(|entry| entry.number);
        let touched: Vec<u64> = touched.collect();
        for number in &touched {
            self.drop_number(*number);
        }
        touched
    }

    /// Somebody wrote, wherever.
    pub(crate) fn wrote(&mut self) {
        self.writes += 1;
    }

    /// Those whose time is up.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<u64> {
        let old = self
            .entries
            .values()
            .filter(|entry| entry.good_until <= now);
        let old: Vec<u64> = old.map(|entry| entry.number).collect();
        for number in &old {
            self.drop_number(*number);
        }
        self.order
            .retain(|number| self.by_number.contains_key(number));
        old
    }

    /// Entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T0: Duration = Duration::ZERO;

    fn question(identity: &str, request: &str) -> Question {
        Question {
            identity: identity.to_owned().into(),
            request: request.to_owned().into(),
        }
    }

    fn keep(cache: &mut Cache, identity: &str, key: &str) -> Option<u64> {
        let range = (key.to_owned().into(), Bytes::new());
        let (number, _) = cache.keep(
            (T0, cache.asked()),
            question(identity, key),
            range,
            "answer".into(),
        );
        number
    }

    #[test]
    fn an_answer_is_given_to_its_owner_once_it_is_vouched_for_and_for_a_while() {
        let mut cache = Cache::default();
        let number = keep(&mut cache, "me", "k").unwrap();
        assert_eq!(cache.get(T0, &question("me", "k")), None);
        cache.vouch(number);
        assert_eq!(cache.get(T0, &question("me", "k")), Some("answer".into()));
        assert_eq!(cache.get(T0, &question("you", "k")), None);
        assert_eq!(cache.get(AGE_MAX, &question("me", "k")), None);
        assert_eq!((cache.hits, cache.misses), (1, 3));
        assert_eq!(keep(&mut cache, "me", "k"), None);
        assert_eq!(cache.expire(AGE_MAX), [number]);
        assert_eq!((cache.len(), cache.bytes), (0, 0));
    }

    #[test]
    fn a_change_takes_the_answer_away_for_good() {
        let mut cache = Cache::default();
        let number = keep(&mut cache, "me", "k").unwrap();
        assert!(cache.drop_number(number));
        assert!(!cache.drop_number(number));
        // What comes late about it changes nothing.
        cache.vouch(number);
        assert_eq!(cache.get(T0, &question("me", "k")), None);
        let again = keep(&mut cache, "me", "k").unwrap();
        assert_eq!(cache.written(b"a", b"j"), [0_u64; 0]);
        assert_eq!(cache.written(b"a", b"z"), [again]);
    }

    #[test]
    fn an_answer_that_may_be_from_before_a_write_is_not_kept() {
        let mut cache = Cache::default();
        let asked = cache.asked();
        cache.wrote();
        let range = (Bytes::from_static(b"k"), Bytes::new());
        let kept = cache.keep((T0, asked), question("me", "k"), range, "old".into());
        assert_eq!(kept, (None, vec![]));
        assert!(keep(&mut cache, "me", "k").is_some());
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let mut cache = Cache::default();
        let all: Vec<u64> = (0..ENTRIES_MAX + 3)
            .filter_map(|at| keep(&mut cache, "me", &at.to_string()))
            .collect();
        assert_eq!(cache.len(), ENTRIES_MAX);
        assert!(!cache.drop_number(all[2]));
        assert!(cache.drop_number(all[3]));
        let large = Bytes::from(vec![0; ANSWER_BYTES_MAX + 1]);
        let range = (Bytes::from_static(b"k"), Bytes::new());
        let kept = cache.keep((T0, 0), question("me", "k"), range, large);
        assert_eq!(kept, (None, vec![]));
    }

    /// The dumb twin of `overlap`: the keys of a small world, one by one.
    fn keys(key: u8, end: Option<u8>) -> Vec<u8> {
        (1..8)
            .filter(|at| match end {
                None => *at == key,
                Some(0) => *at >= key,
                Some(end) => *at >= key && *at < end,
            })
            .collect()
    }

    proptest! {
        #[test]
        fn ranges_overlap_when_they_have_a_key_in_common(
            one in 1_u8..8, other in 1_u8..8,
            ends in (proptest::option::of(0_u8..9), proptest::option::of(0_u8..9))
        ) {
            // A range that ends where it begins, or before, is refused upstream.
            prop_assume!(ends.0.is_none_or(|end| end == 0 || end > one));
            prop_assume!(ends.1.is_none_or(|end| end == 0 || end > other));
            let bytes = |end: Option<u8>| end.map_or(Vec::new(), |end| vec![end]);
            let (end, other_end) = (bytes(ends.0), bytes(ends.1));
            let common = keys(one, ends.0).iter().any(|key| keys(other, ends.1).contains(key));
            prop_assert_eq!(overlap((&[one], &end), (&[other], &other_end)), common);
        }
    }
}
