//! What the store promises, a file each, and the truth they share: the log as it was committed, and
//! the model that has applied it.
//!
//! A check sees everything at once, as no client can; it returns the first promise that is broken.

pub(crate) mod answers;
pub(crate) mod durability;
pub(crate) mod election;
#[cfg(test)]
pub(crate) mod example;
pub(crate) mod kept;
pub(crate) mod lease;
pub(crate) mod log_matching;
pub(crate) mod membership;
pub(crate) mod peace;
pub(crate) mod reads;
pub(crate) mod registered;
pub(crate) mod rendered;
pub(crate) mod rest;
pub(crate) mod state;
pub(crate) mod watch;
pub(crate) mod whole;
pub(crate) mod writes;

use std::fmt;

use crate::host::Slot;
use crate::model::{Members, Model};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub promise: &'static str,
    /// How.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.detail)
    }
}

/// What a check comes to.
pub(crate) type Check = Result<(), Violation>;

/// A broken promise, as the end of a check.
pub(crate) fn broken<T>(promise: &'static str, detail: String) -> Result<T, Violation> {
    Err(Violation { promise, detail })
}

/// Revision and compaction after an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
}

/// The log as far as any member has applied it.
#[derive(Debug)]
pub(crate) struct Canon {
    /// From index 2 on; what comes before is the same by construction.
    slots: Vec<Slot>,
    /// Term of the member that applied each first: it was committed in that term or before.
    terms: Vec<u64>,
    points: Vec<Point>,
    pub(crate) model: Model,
}

/// Index before the first that a log of a new cluster can apply: the bootstrap entry.
const BEFORE_FIRST: u64 = 1;

impl Canon {
    pub(crate) fn new(founders: Members) -> Self {
        Self {
            slots: Vec::new(),
            terms: Vec::new(),
            points: vec![Point {
                revision: 1,
                compacted: 0,
            }],
            model: Model::new(founders),
        }
    }

    /// Index of the last entry known to be applied.
    pub(crate) fn last(&self) -> u64 {
        BEFORE_FIRST + self.slots.len() as u64
    }

    pub(crate) fn slot(&self, index: u64) -> Option<&Slot> {
        let at = index.checked_sub(BEFORE_FIRST + 1)?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    /// State after an index; the last one where that is above.
    pub(crate) fn point(&self, index: u64) -> Point {
        let at = usize::try_from(index.saturating_sub(BEFORE_FIRST)).unwrap_or(usize::MAX);
        self.points[at.min(self.points.len() - 1)]
    }

    /// Index of the last entry known to be committed before a term.
    pub(crate) fn last_before(&self, term: u64) -> u64 {
        let above = self.terms.iter().rev().take_while(|t| **t >= term).count();
        self.last() - above as u64
    }

    /// An entry is applied first, by a member in `term`.
    pub(crate) fn push(&mut self, slot: Slot, term: u64) {
        self.terms.push(term);
        self.slots.push(slot);
        self.points.push(Point {
            revision: self.model.revision(),
            compacted: self.model.compacted(),
        });
    }
}
