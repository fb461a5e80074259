//! Election safety: at most one leader in a term (Raft paper, figure 3 and section 5.2), and leader
//! completeness: whoever leads has every committed entry (figure 3, section 5.4). A sole voter may believe that it
//! leads before its vote is durable; it counts when the first of the others hears of it, and before that nothing
//! is said in a term that is not on disk (figure 2).

use std::collections::BTreeMap;

use crate::host::Shadow;
use crate::promises::{Canon, Check, broken};

/// Who led.
#[derive(Debug, Default)]
pub(crate) struct Elections {
    /// Member and its life, by term.
    leaders: BTreeMap<u64, (u64, u64)>,
}

impl Elections {
    /// A member says that it leads.
    pub(crate) fn leads(
        &mut self,
        term: u64,
        (member, life): (u64, u64),
        log: &Shadow,
        canon: &Canon,
    ) -> Check {
        let first = *self.leaders.entry(term).or_insert((member, life));
        if first != (member, life) {
            return broken(
                "election safety",
                format!("member {member} (life {life}) and {first:?} both led in term {term}"),
            );
        }
        // Who learns late that it has won need not have what later leaders have committed.
        let last = canon.last_before(term);
        let Some(committed) = canon.slot(last) else {
            return Ok(());
        };
        let found = log.term(last);
        if log.start.0 <= last && found != Some(committed.term) {
            return broken(
                "leader completeness",
                format!(
                    "member {member} leads in term {term} without entry {last} of term {}: it has {found:?}",
                    committed.term
                ),
            );
        }
        Ok(())
    }

    /// Whether this is known already.
    pub(crate) fn known(&self, term: u64, who: (u64, u64)) -> bool {
        self.leaders.get(&term) == Some(&who)
    }

    /// Whether anybody led in a term.
    pub(crate) fn led(&self, term: u64) -> bool {
        self.leaders.contains_key(&term)
    }

    /// Leaders so far.
    pub(crate) fn count(&self) -> usize {
        self.leaders.len()
    }
}

/// A member says something in a term; `durable` is the last one on its disk.
pub(crate) fn said(member: u64, term: u64, durable: u64) -> Check {
    if term <= durable {
        return Ok(());
    }
    broken(
        "nothing is said before it is on disk",
        format!("member {member} speaks in term {term} and has {durable} on disk"),
    )
}

#[cfg(test)]
mod tests;
