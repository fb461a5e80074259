//! Log matching: if two logs hold an entry with the same index and term, they are the same up to
//! there (Raft paper, figure 3 and section 5.3). By induction it is enough that such entries are
//! the same and follow an entry of the same term.

use store_member::record::Entry;

use crate::clock::Time;
use crate::promises::{Check, broken};

#[derive(Debug)]
struct Known {
    term: u64,
    term_before: u64,
    body: bytes::Bytes,
    since: Time,
}

/// Every entry that was ever in any log.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    by_index: Vec<Vec<Known>>,
}

impl Logs {
    /// A member takes an entry into its log, behind one of `term_before`.
    pub(crate) fn appended(
        &mut self,
        now: Time,
        member: u64,
        entry: &Entry,
        term_before: Option<u64>,
    ) -> Check {
        let Some(term_before) = term_before else {
            return broken(
                "log matching",
                format!("member {member} leaves a gap before entry {}", entry.index),
            );
        };
        let at = usize::try_from(entry.index).unwrap_or(usize::MAX);
        if self.by_index.len() <= at {
            self.by_index.resize_with(at + 1, Vec::new);
        }
        let known = self.by_index[at].iter().find(|k| k.term == entry.term);
        if let Some(known) = known {
            if known.body != entry.body || known.term_before != term_before {
                return broken(
                    "log matching",
                    format!(
                        "entry {} of term {} of member {member} follows term {term_before} and differs from \
                         one that followed term {}",
                        entry.index, entry.term, known.term_before
                    ),
                );
            }
            return Ok(());
        }
        self.by_index[at].push(Known {
            term: entry.term,
            term_before,
            body: entry.body.clone(),
            since: now,
        });
        Ok(())
    }

    /// A sole voter has forgotten that it led, and the entries above `index` it made then: nobody has ever heard
    /// of terms in which nobody `led`.
    pub(crate) fn forget(&mut self, index: u64, led: impl Fn(u64) -> bool) {
        let above = usize::try_from(index)
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        for known in self.by_index.iter_mut().skip(above) {
            known.retain(|known| led(known.term));
        }
    }

    /// When an entry was first in a log: when its leader decided it.
    pub(crate) fn since(&self, index: u64, term: u64) -> Option<Time> {
        let at = usize::try_from(index).ok()?;
        let known = self.by_index.get(at)?.iter().find(|k| k.term == term);
        known.map(|known| known.since)
    }
}

#[cfg(test)]
mod tests;
