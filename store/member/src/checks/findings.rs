//! Since which revision a member differs: by what is kept of running checksums, or by looking ever
//! closer at contents.

use std::collections::BTreeSet;

use super::{Inquiry, Narrow, Round, send};
use crate::effects::{Effects, Notice};
use crate::limits::CHECK_ANSWER_MS;
use crate::member::Member;
use crate::moment::Moment;
use crate::peer::check::{CheckMessage, Difference};
use crate::verdict::{Aspect, first_differing};

impl Member {
    /// Asks for what tells since when a running checksum differs from this member's own; where that
    /// is the wrong one, somebody else's is the measure.
    pub(super) fn trace(
        &mut self,
        now: Moment,
        round: &Round,
        member: u64,
        named: &BTreeSet<u64>,
        out: &mut Effects,
    ) {
        let own = round.reports.get(&self.config.id).map(|point| point.trail);
        let differs = |id: &u64| round.reports.get(id).map(|point| point.trail) != own;
        let mut others = round.reports.keys().copied().filter(differs);
        let from = if member == self.config.id {
            let sound = others.clone().find(|id| !named.contains(id));
            sound.or_else(|| others.next())
        } else {
            Some(member).filter(differs)
        };
        let Some(from) = from else {
            return;
        };
        self.checks.inquiries.push(Inquiry {
            round: round.order.round,
            from,
            member,
            deadline: now.plus_ms(CHECK_ANSWER_MS),
        });
        let round = round.order.round;
        send(from, CheckMessage::MarksWanted { round }, out);
    }

    /// Looks closer at where the contents of two members differ, or says so when that is known. The
    /// range is said at once, unless that has been done.
    pub(super) fn narrow(
        &mut self,
        round: &Round,
        member: u64,
        other: u64,
        said: bool,
        out: &mut Effects,
    ) {
        let sums = |id| round.reports.get(&id).map(|point| &point.sums[..]);
        let (Some(one), Some(two), Some(audited)) =
            (sums(member), sums(other), round.order.contents)
        else {
            return;
        };
        let since = first_differing(audited, one, two);
        let exact = since.is_some_and(|since| since.exact().is_some());
        if let Some(since) = since
            && !exact
        {
            let span = (since.after.next(), since.until);
            self.checks.narrow = Some(Narrow {
                member,
                other,
                span,
            });
            self.more = true;
        }
        if exact || !said {
            let aspect = Aspect::Contents;
            let difference = Difference {
                member,
                aspect,
                since,
            };
            self.announce(difference, out);
        }
    }

    /// Says what differs, here and where it does.
    pub(super) fn announce(&self, difference: Difference, out: &mut Effects) {
        out.notices.push(Notice::Differs(difference));
        if difference.member != self.config.id {
            send(difference.member, CheckMessage::Differs(difference), out);
        }
    }
}
