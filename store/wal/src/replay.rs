//! What a log says, read from the front: the state records add up to.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::format::{Item, Mark, MarkKind};
use crate::record::{Entry, Vote};

/// The state after the records read so far.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Without a gap. What the first one is depends on what was purged.
    pub(crate) entries: VecDeque<Entry>,
    pub(crate) vote: Option<Vote>,
    pub(crate) mark: Option<Mark>,
}

impl Replay {
    /// Takes one record; `Err`: no log this program writes has it here.
    pub(crate) fn take(&mut self, item: Item<'_>) -> Result<(), &'static str> {
        match item {
            Item::Entry {
                index,
                term,
                kind,
                body,
            } => {
                self.truncate(index)?;
                let body = Bytes::copy_from_slice(body);
                self.entries.push_back(Entry {
                    index,
                    term,
                    kind,
                    body,
                });
            }
            Item::Vote(vote) => self.vote = Some(vote),
            Item::Mark(mark, kind) => {
                self.mark = Some(mark);
                if kind == MarkKind::Replaces {
                    self.entries.clear();
                }
            }
            Item::Start(_) => return Err("the start of a segment inside one"),
        }
        Ok(())
    }

    /// Removes the entries from `index` on.
    fn truncate(&mut self, index: u64) -> Result<(), &'static str> {
        let (Some(first), Some(last)) = (self.entries.front(), self.entries.back()) else {
            return Ok(());
        };
        if index > last.index + 1 {
            return Err("entries before it are missing");
        }
        // Below the first: what was first is from a time before, and what led up to it is purged.
        let keep = usize::try_from(index.saturating_sub(first.index)).unwrap_or(usize::MAX);
        self.entries.truncate(keep);
        Ok(())
    }

    /// Starting from a snapshot at `index` (0: from nothing), the log continues it and reaches at least
    /// as far as the newest snapshot.
    pub(crate) fn continues(&self, index: u64) -> bool {
        let marked = self.mark.map_or(0, |mark| mark.index);
        match (self.entries.front(), self.entries.back()) {
            (Some(first), Some(last)) => {
                first.index <= index + 1 && (index == marked || last.index >= marked)
            }
            _ => index == marked,
        }
    }
}
