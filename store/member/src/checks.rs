//! Whether all members hold the same. The leader names an entry of the log, every member says what
//! its state was right after it, and the leader compares; who differs from the majority gets a
//! CORRUPT alarm, is told since which revision, and answers no client until the alarm is gone.
//!
//! A round without contents compares running checksums and costs nothing worth counting. One with
//! contents hashes what lies in memory, slice by slice beside other work; when sums differ, rounds
//! over ever fewer revisions follow until the first differing one is known. Alone, a member has
//! nobody to compare with.

mod findings;
mod rounds;

use std::collections::{BTreeMap, BTreeSet};

use store_machine::checksum::first_difference;
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::revision::Revision;
use store_machine::{Audit, AuditStep};

use crate::answer::Failure;
use crate::effects::{Effects, Envelope, Notice};
use crate::input::Read;
use crate::limits::{AUDIT_BYTES_PER_TURN, AUDIT_RECORDS_PER_TURN, CHECK_PATIENCE_MS};
use crate::member::Member;
use crate::moment::Moment;
use crate::peer::PeerMessage;
use crate::peer::check::{CheckMessage, CheckOrder, CheckPoint, Difference};
use crate::verdict::Aspect;

/// What a member has to do with comparisons.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// Ordered by this member; the entry has not been applied.
    order: Option<(u64, CheckOrder)>,
    audit: Option<Auditing>,
    /// When to ask the leader for a round; `None` once it is not worth asking.
    ask_at: Option<Moment>,
    /// Until then nobody is served, unless this member's state is known to be right before.
    unproven_until: Option<Moment>,
    /// This member is named by a CORRUPT alarm; `None` before the first look.
    corrupt: Option<bool>,
    /// On the leader: the round under way.
    round: Option<Round>,
    /// Rounds begun so far.
    rounds: u64,
    next: Moment,
    next_contents: Moment,
    /// No round begins before, but for those that look closer.
    not_before: Moment,
    /// The next round looks closer at a difference in contents.
    narrow: Option<Narrow>,
    /// Marks that have been asked for.
    inquiries: Vec<Inquiry>,
}

/// A report whose contents are being hashed.
#[derive(Debug)]
struct Auditing {
    by: u64,
    round: u64,
    point: CheckPoint,
    audit: Audit,
}

#[derive(Debug)]
struct Round {
    order: CheckOrder,
    /// It only looks closer: the two are judged already.
    narrow: Option<Narrow>,
    /// Those who have not answered.
    missing: BTreeSet<u64>,
    reports: BTreeMap<u64, CheckPoint>,
    /// When those who have not answered are asked again: orders and reports may be lost.
    again: Moment,
    deadline: Moment,
}

/// Two members whose contents differ somewhere in these revisions.
#[derive(Clone, Copy, Debug)]
struct Narrow {
    member: u64,
    other: u64,
    span: (Revision, Revision),
}

/// Whose marks have been asked for, and whose difference they tell.
#[derive(Debug)]
struct Inquiry {
    round: u64,
    from: u64,
    member: u64,
    deadline: Moment,
}

impl Checks {
    /// `at_start`: the state was found on disk, and nobody is to be served before it is known to be
    /// right.
    pub(crate) fn new(now: Moment, contents_ms: u64, at_start: bool) -> Self {
        Self {
            ask_at: Some(now),
            unproven_until: at_start.then(|| now.plus_ms(CHECK_PATIENCE_MS)),
            next_contents: now.plus_ms(contents_ms),
            ..Self::default()
        }
    }

    pub(crate) fn is_corrupt(&self) -> bool {
        self.corrupt == Some(true)
    }

    /// Whether no client is answered.
    pub(crate) fn apart(&self) -> bool {
        self.is_corrupt() || self.unproven_until.is_some()
    }

    /// This member does not lead, or not any more.
    fn stop_leading(&mut self) {
        self.round = None;
        self.narrow = None;
        // The next reign begins with a round.
        self.next = Moment::default();
    }

    /// When the next round is due, contents or not.
    fn due(&self, check_ms: u64, contents_ms: u64) -> Moment {
        if self.narrow.is_some() {
            return Moment::default();
        }
        let or_never = |at, period_ms| if period_ms > 0 { at } else { Moment::NEVER };
        let due = if self.unproven_until.is_some() {
            Moment::default()
        } else {
            or_never(self.next, check_ms).min(or_never(self.next_contents, contents_ms))
        };
        due.max(self.not_before)
    }
}

impl Member {
    /// Why a client that wants to read or write is refused here, whatever the others do.
    pub(crate) fn refuses(&self) -> Option<Failure> {
        if self.checks.is_corrupt() {
            return Some(Failure::Refused(Refusal::Corrupt));
        }
        // As good as absent, until it is known to be sound.
        self.checks.unproven_until.map(|_| Failure::NoLeader)
    }

    /// Whether a member that answers no client takes this from one all the same: what a person needs
    /// to see what is wrong and to repair it.
    pub(crate) fn is_of_repair(command: &Command) -> bool {
        matches!(
            command.bare(),
            Command::AlarmRaise { .. } | Command::AlarmClear { .. } | Command::Members(_)
        )
    }

    /// As [`Member::is_of_repair`]. Leases are the leader's business.
    pub(crate) fn is_of_state(read: &Read) -> bool {
        matches!(
            read.bare(),
            Read::Range(_) | Read::Txn(_) | Read::Weigh { .. }
        )
    }

    /// The alarms may have changed.
    pub(crate) fn note_corrupt(&mut self, out: &mut Effects) {
        let corrupt = self.machine.is_corrupt(self.config.id);
        let before = self.checks.corrupt.replace(corrupt);
        if corrupt == (before == Some(true)) {
            return;
        }
        self.watch_dirty = true;
        out.notices.push(if corrupt {
            Notice::StandsApart
        } else {
            Notice::ServesAgain
        });
    }

    /// When [`Member::check_members`] has something to do.
    pub(crate) fn next_check(&self) -> Moment {
        let checks = &self.checks;
        let patience = checks.unproven_until.unwrap_or(Moment::NEVER);
        let traced = checks
            .inquiries
            .iter()
            .map(|inquiry| inquiry.deadline)
            .min();
        let patience = patience.min(traced.unwrap_or(Moment::NEVER));
        if self.others().next().is_none() {
            return patience;
        }
        if !self.leads() {
            let asks = checks.ask_at.filter(|_| self.role_known());
            return patience.min(asks.unwrap_or(Moment::NEVER));
        }
        if !self.expiry.is_active() {
            return patience;
        }
        patience.min(match &checks.round {
            Some(round) => round.deadline.min(round.again),
            None => checks.due(self.config.check_ms, self.config.check_contents_ms),
        })
    }

    fn role_known(&self) -> bool {
        self.node.raft.leader_id != raft::INVALID_ID
    }

    /// The other members, voters and learners.
    fn others(&self) -> impl Iterator<Item = u64> {
        let voters = &self.voters;
        let all = voters.voters.iter().chain(&voters.learners);
        all.copied().filter(|id| *id != self.config.id)
    }

    /// A member that has just started asks to be looked at.
    fn ask_for_check(&mut self, now: Moment, out: &mut Effects) {
        let leader = self.node.raft.leader_id;
        if leader == raft::INVALID_ID || self.checks.ask_at.is_none_or(|at| now < at) {
            return;
        }
        let contents = self.checks.unproven_until.is_some();
        // Whoever only wants to be compared soon may as well wait for the next round.
        self.checks.ask_at = contents.then(|| now.plus_ms(self.config.election_ms));
        send(leader, CheckMessage::Wanted { contents }, out);
    }

    /// Another member has said something about comparisons.
    pub(crate) fn check_said(
        &mut self,
        now: Moment,
        from: u64,
        message: CheckMessage,
        out: &mut Effects,
    ) {
        match message {
            CheckMessage::Wanted { contents } => {
                if self.leads() {
                    self.checks.next = now;
                    if contents {
                        self.checks.next_contents = now;
                    }
                }
            }
            CheckMessage::Order(order) => self.take_order(now, from, order, out),
            CheckMessage::Report { round, point } => {
                self.take_report(from, round, point.map(|point| *point));
            }
            CheckMessage::MarksWanted { round } => {
                let marks = self.machine.trail_marks();
                send(from, CheckMessage::Marks { round, marks }, out);
            }
            CheckMessage::Marks { round, marks } => {
                let origin = self.machine.trail().origin;
                let own = self.machine.trail_marks();
                let answered = |it: &mut Inquiry| it.round == round && it.from == from;
                let answered: Vec<Inquiry> =
                    self.checks.inquiries.extract_if(.., answered).collect();
                for inquiry in answered {
                    let difference = Difference {
                        member: inquiry.member,
                        aspect: Aspect::Changes,
                        since: first_difference(origin, &own, &marks),
                    };
                    self.announce(difference, out);
                }
            }
            CheckMessage::Sound => self.serve_proven(out, Notice::ServesAgain),
            CheckMessage::Differs(difference) => out.notices.push(Notice::Differs(difference)),
        }
    }

    /// The state is right, as far as anybody can tell.
    fn serve_proven(&mut self, out: &mut Effects, notice: Notice) {
        if self.checks.unproven_until.take().is_some() {
            self.checks.ask_at = None;
            out.notices.push(notice);
        }
    }

    fn take_order(&mut self, now: Moment, by: u64, order: CheckOrder, out: &mut Effects) {
        let under_way = |auditing: &Auditing| (auditing.by, auditing.round) == (by, order.round);
        if self.checks.audit.as_ref().is_some_and(under_way) {
            return;
        }
        if order.contents.is_some() {
            // Whoever leads next need not do it again so soon.
            self.checks.next_contents = now.plus_ms(self.config.check_contents_ms);
        }
        self.checks.order = Some((by, order));
        self.capture(out);
    }

    /// Whether an order waits for an entry to be applied.
    pub(crate) const fn captures(&self) -> bool {
        self.checks.order.is_some()
    }

    /// Notes what the state is, if it is that after the entry an order waits for.
    pub(crate) fn capture(&mut self, out: &mut Effects) {
        let applied = self.machine.applied().0;
        let reached = |(_, order): &mut (u64, CheckOrder)| order.index <= applied;
        let Some((by, order)) = self.checks.order.take_if(reached) else {
            return;
        };
        self.checks.audit = None;
        if order.index < applied {
            return self.report(by, order.round, None, out);
        }
        let point = CheckPoint {
            trail: self.machine.trail(),
            compacted: self.machine.compacted(),
            rest: self.machine.rest_checksum(),
            sums: Vec::new(),
        };
        match order.contents {
            None => self.report(by, order.round, Some(point), out),
            Some((from, to)) => {
                self.checks.audit = Some(Auditing {
                    by,
                    round: order.round,
                    point,
                    audit: self.machine.audit_begin(from, to),
                });
                self.more = true;
            }
        }
    }

    /// Goes on with an audit, a slice of it.
    pub(crate) fn work_on_audit(&mut self, out: &mut Effects) {
        let Some(mut auditing) = self.checks.audit.take() else {
            return;
        };
        let (records_max, bytes_max) = (AUDIT_RECORDS_PER_TURN, AUDIT_BYTES_PER_TURN);
        let audit = &mut auditing.audit;
        match self.machine.audit(audit, records_max, bytes_max) {
            AuditStep::Going => {
                self.checks.audit = Some(auditing);
                self.more = true;
            }
            AuditStep::Done(sums) => {
                let point = CheckPoint {
                    sums,
                    ..auditing.point
                };
                self.report(auditing.by, auditing.round, Some(point), out);
            }
            AuditStep::Compacted => self.report(auditing.by, auditing.round, None, out),
        }
    }

    /// The state is another one: what was begun on the former is void.
    pub(crate) fn forget_audit(&mut self) {
        self.checks.audit = None;
    }

    fn report(&mut self, by: u64, round: u64, point: Option<CheckPoint>, out: &mut Effects) {
        if by == self.config.id {
            self.take_report(by, round, point);
        } else {
            let point = point.map(Box::new);
            send(by, CheckMessage::Report { round, point }, out);
        }
    }
}

fn send(to: u64, message: CheckMessage, out: &mut Effects) {
    out.sends.push(Envelope {
        to,
        message: PeerMessage::Check(message),
    });
}
