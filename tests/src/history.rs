//! What real clients asked and were told, written down as it happens, and held against the store's promises at the end
//! (`store_sim::recorded`, the checker of the simulated world).

pub(crate) mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use store_sim::recorded::{
    Account, Answer, Asked, Batch, Body, Event, Failure, Header, Recorded, WatchSpec, Watched, What,
};

/// The record, shared by all clients of a trial. One clock for all of them.
#[derive(Clone)]
pub struct History {
    began: Instant,
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    recorded: Recorded,
    /// When writes were acknowledged, in microseconds.
    acknowledged: Vec<u64>,
    /// Acknowledged reads and writes by the member that was asked.
    answers: Vec<u64>,
    known: i64,
}

impl History {
    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            record: Arc::default(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client is about to ask; the number to answer it under. Call it before anything is sent.
    pub(crate) fn ask(&self, what: What) -> usize {
        let mut record = self.record();
        record.recorded.asked.push(Asked {
            what,
            asked: self.now(),
            answer: None,
        });
        record.recorded.asked.len() - 1
    }

    /// The client has been told by a member.
    pub(crate) fn answer(
        &self,
        number: usize,
        member: usize,
        header: Header,
        outcome: Result<Body, Failure>,
    ) {
        let mut record = self.record();
        let at = self.now();
        record.known = record.known.max(header.revision.0);
        if outcome.is_ok() {
            if matches!(record.recorded.asked[number].what, What::Write(_)) {
                record.acknowledged.push(at);
            }
            if record.answers.len() <= member {
                record.answers.resize(member + 1, 0);
            }
            record.answers[member] += 1;
        }
        record.recorded.asked[number].answer = Some(Answer {
            at,
            header,
            outcome,
        });
    }

    /// A watcher begins; the number to show under.
    pub(crate) fn watch(&self, spec: WatchSpec) -> usize {
        let mut record = self.record();
        record.recorded.watched.push(Watched {
            spec,
            batches: Vec::new(),
            finished: false,
        });
        record.recorded.watched.len() - 1
    }

    /// A watcher is shown something.
    pub(crate) fn show(&self, watcher: usize, batch: Batch) {
        let mut record = self.record();
        let at = self.now();
        record.recorded.watched[watcher].batches.push((at, batch));
    }

    /// A watcher has been shown all there is.
    pub(crate) fn finish(&self, watcher: usize) {
        self.record().recorded.watched[watcher].finished = true;
    }

    /// Writes that were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.record().acknowledged.len()
    }

    /// Requests a member has answered with success so far.
    #[must_use]
    pub fn answers(&self, member: usize) -> u64 {
        self.record().answers.get(member).copied().unwrap_or(0)
    }

    /// The longest time between two acknowledged writes.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let record = self.record();
        let gaps = record.acknowledged.windows(2).map(|pair| pair[1] - pair[0]);
        Duration::from_micros(gaps.max().unwrap_or(0))
    }

    /// Highest revision any client was told of with an answer.
    pub(crate) fn known(&self) -> i64 {
        self.record().known
    }

    /// Holds every promise against the record; `log` is everything that happened, from revision 1 on.
    ///
    /// # Errors
    /// The promise that is broken, and how.
    pub fn check(&self, log: Vec<Event>) -> Result<Account, String> {
        let mut record = self.record();
        record.recorded.log = log;
        record.recorded.check().map_err(|broken| broken.to_string())
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}
