//! Compaction: recording it, which changes what may be read at once, and scrubbing, which gives
//! back the memory bit by bit.

use std::ops::ControlFlow;

use super::Keyspace;
use crate::error::Refusal;
use crate::revision::Revision;

/// How far the scrub of the last compaction has come.
#[derive(Clone, Debug)]
pub(super) struct Scrub {
    /// First key not yet looked at.
    next: Vec<u8>,
}

impl Scrub {
    /// Nothing done yet.
    pub(super) fn start() -> Self {
        Self { next: Vec::new() }
    }
}

impl Keyspace {
    /// Records a compaction. Zero is a compaction too, once.
    pub(crate) fn compact(&mut self, revision: Revision) -> Result<(), Refusal> {
        if revision.0 <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = revision.0;
        self.account.compact(revision.0);
        self.scrub = Some(Scrub::start());
        Ok(())
    }

    /// Drops what the last compaction made unreachable, key by key from where it stopped. Stops when
    /// it has looked at, dropped and moved `records_max` keys and versions, be it in the middle of a
    /// key. True when done.
    pub(crate) fn scrub(&mut self, records_max: usize) -> bool {
        let Some(scrub) = self.scrub.take() else {
            return true;
        };
        let (history, compacted) = (&mut self.history, self.compacted);
        let mut left = records_max.max(1);
        let mut next = None;
        let mut gone: Vec<Vec<u8>> = Vec::new();
        self.index.walk_mut(&scrub.next, |key, versions| {
            let superseded = versions.superseded(compacted);
            let dropped = superseded.min(left);
            let mut work = 1 + dropped;
            let empty = !versions.trim(dropped, |v| work += history.drop_record(v.place));
            if empty {
                gone.push(key.to_vec());
            }
            if left == 0 || dropped < superseded {
                next = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            left = left.saturating_sub(work);
            ControlFlow::Continue(())
        });
        for key in gone {
            self.index.update(&key, |versions| *versions = None);
        }
        self.scrub = next.map(|next| Scrub { next });
        self.scrub.is_none()
    }
}
