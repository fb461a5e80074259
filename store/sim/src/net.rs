//! The network between members: what becomes of a message.

use std::collections::{BTreeMap, BTreeSet};

use crate::chance::Chance;
use crate::clock::Time;
use crate::plan::Plan;

/// Links between hosts, by place.
#[derive(Debug, Default)]
pub(crate) struct Net {
    /// Links that lose everything, from and to.
    cut: BTreeSet<(usize, usize)>,
    /// When the last message on a link arrives: on a stream, none arrives before it.
    last: BTreeMap<(usize, usize), Time>,
    /// Nothing is lost, doubled or late any more.
    pub(crate) well: bool,
}

/// When the copies of a message arrive.
pub(crate) type Arrivals = [Option<Time>; 2];

impl Net {
    /// Cuts the links between two groups of hosts, one way or both.
    pub(crate) fn cut(&mut self, from: &[usize], to: &[usize], both: bool) {
        for &a in from {
            for &b in to {
                self.cut.insert((a, b));
                if both {
                    self.cut.insert((b, a));
                }
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn send(
        &mut self,
        now: Time,
        (from, to): (usize, usize),
        plan: &Plan,
        chance: &mut Chance,
    ) -> Arrivals {
        if self.cut.contains(&(from, to)) {
            return [None, None];
        }
        if !self.well && chance.per_mille(plan.drop) {
            return [None, None];
        }
        let mut arrives = now
            + if self.well {
                chance.between(50, 500)
            } else {
                chance.skewed(50, plan.delay_max)
            };
        if !plan.overtake || self.well {
            let last = self.last.entry((from, to)).or_default();
            arrives = arrives.max(*last);
            *last = arrives;
        }
        let again = (!self.well && chance.per_mille(plan.double))
            .then(|| now + chance.skewed(50, 10 * plan.delay_max));
        [Some(arrives), again]
    }
}
