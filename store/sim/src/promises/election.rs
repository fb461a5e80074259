//! Election safety: at most one leader in a term (Raft paper, figure 3 and section 5.2), and leader
//! completeness: whoever leads has every committed entry (figure 3, section 5.4).

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
        alone: bool,
        log: &Shadow,
        canon: &Canon,
    ) -> Check {
        let first = *self.leaders.entry(term).or_insert((member, life));
        // The only voter leads before its vote is durable: nobody hears of it before that.
        if first != (member, life) && !(alone && first.0 == member) {
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

    /// Leaders so far.
    pub(crate) fn count(&self) -> usize {
        self.leaders.len()
    }
}
