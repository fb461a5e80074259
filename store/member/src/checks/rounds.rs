//! The leader's part: rounds of comparisons, from the order to the alarm.

use std::collections::{BTreeMap, BTreeSet};

use store_machine::alarm::AlarmKind;
use store_machine::auth::Actor;
use store_machine::command::Command;
use store_machine::revision::Revision;

use super::{Inquiry, Round, send};
use crate::effects::{Effects, Notice};
use crate::limits::{CHECK_ANSWER_MS, CHECK_PATIENCE_MS, CHECK_ROUND_MS};
use crate::member::Member;
use crate::moment::Moment;
use crate::peer::check::{CheckMessage, CheckOrder, CheckPoint, Difference};
use crate::verdict::{Aspect, judge};

impl Member {
    /// Begins and ends rounds; to be called once per turn, before its entries go to the others.
    pub(crate) fn check_members(&mut self, now: Moment, out: &mut Effects) {
        if self.checks.corrupt.is_none() {
            self.note_corrupt(out);
        }
        if self.checks.unproven_until.is_some_and(|until| now >= until) {
            self.serve_proven(out, Notice::ServesUnchecked);
        }
        self.give_up_inquiries(now, out);
        if self.others().next().is_none() {
            self.checks.stop_leading();
            self.serve_proven(out, Notice::ServesAgain);
            return;
        }
        if !self.leads() {
            self.checks.stop_leading();
            self.ask_for_check(now, out);
            return;
        }
        self.checks.ask_at = None;
        if !self.expiry.is_active() {
            return;
        }
        self.remind(now, out);
        if let Some(round) = self
            .checks
            .round
            .take_if(|round| round.missing.is_empty() || now >= round.deadline)
        {
            self.conclude_round(now, &round, out);
        }
        let (check_ms, contents_ms) = (self.config.check_ms, self.config.check_contents_ms);
        if self.checks.round.is_none() && self.checks.due(check_ms, contents_ms) <= now {
            self.begin_round(now, out);
        }
    }

    /// Asks again who has not answered; whoever has gone is not waited for.
    fn remind(&mut self, now: Moment, out: &mut Effects) {
        let Some(mut round) = self.checks.round.take() else {
            return;
        };
        let here = |id: &u64| *id == self.config.id || self.heard_lately(now, *id);
        round.missing.retain(here);
        if now >= round.again {
            round.again = now.plus_ms(CHECK_ROUND_MS);
            for &to in round.missing.iter().filter(|id| **id != self.config.id) {
                send(to, CheckMessage::Order(round.order), out);
            }
        }
        self.checks.round = Some(round);
    }

    fn begin_round(&mut self, now: Moment, out: &mut Effects) {
        let narrow = self.checks.narrow.take();
        self.checks.next = now.plus_ms(self.config.check_ms);
        self.checks.not_before = now.plus_ms(CHECK_ROUND_MS);
        let others: BTreeSet<u64> = self
            .others()
            .filter(|id| self.heard_lately(now, *id))
            .filter(|id| match narrow {
                Some(narrow) => [narrow.member, narrow.other].contains(id),
                None => !self.machine.is_corrupt(*id),
            })
            .collect();
        if others.is_empty() || (self.checks.is_corrupt() && narrow.is_none()) {
            return;
        }
        let everything = (Revision::FIRST, self.machine.revision());
        let contents = match narrow {
            Some(narrow) => Some(narrow.span),
            None => {
                let contents_ms = self.config.check_contents_ms;
                let due = contents_ms > 0 && now >= self.checks.next_contents;
                (due || self.checks.unproven_until.is_some()).then_some(everything)
            }
        };
        // Unlike that of any other life: no report is taken for one to another order.
        self.checks.rounds += 1;
        let life = self.forwarding.life();
        let order = CheckOrder {
            round: life.0.wrapping_add(self.checks.rounds),
            index: self.node.raft.raft_log.last_index(),
            contents,
        };
        for &to in &others {
            send(to, CheckMessage::Order(order), out);
        }
        let mut missing = others;
        missing.insert(self.config.id);
        self.checks.round = Some(Round {
            order,
            narrow,
            missing,
            reports: BTreeMap::new(),
            again: now.plus_ms(CHECK_ROUND_MS),
            deadline: now.plus_ms(if contents.is_some() {
                CHECK_PATIENCE_MS
            } else {
                CHECK_ANSWER_MS
            }),
        });
        self.take_order(now, self.config.id, order, out);
    }

    fn give_up_inquiries(&mut self, now: Moment, out: &mut Effects) {
        let late = |inquiries: &mut Inquiry| now >= inquiries.deadline;
        let late: Vec<Inquiry> = self.checks.inquiries.extract_if(.., late).collect();
        for inquiry in late {
            let difference = Difference {
                member: inquiry.member,
                aspect: Aspect::Changes,
                since: None,
            };
            self.announce(difference, out);
        }
    }

    pub(super) fn take_report(&mut self, from: u64, number: u64, point: Option<CheckPoint>) {
        let Some(round) = &mut self.checks.round else {
            return;
        };
        if round.order.round == number && round.missing.remove(&from) {
            round.reports.extend(point.map(|point| (from, point)));
            self.more |= round.missing.is_empty();
        }
    }

    /// Compares what the members have said.
    fn conclude_round(&mut self, now: Moment, round: &Round, out: &mut Effects) {
        let voters: BTreeSet<u64> = self.voters.voters.iter().copied().collect();
        let reports = &round.reports;
        if reports.len() < 2 {
            return;
        }
        if let Some(narrow) = round.narrow {
            return self.narrow(round, narrow.member, narrow.other, true, out);
        }
        self.counts.checks += 1;
        let findings = judge(reports, &voters);
        let named: BTreeSet<u64> = findings.iter().map(|finding| finding.member).collect();
        if round.order.contents.is_some() {
            for &member in reports.keys().filter(|id| !named.contains(id)) {
                if member == self.config.id {
                    self.serve_proven(out, Notice::ServesAgain);
                } else {
                    send(member, CheckMessage::Sound, out);
                }
            }
        }
        self.counts.checks_differing += u64::from(!findings.is_empty());
        let mut told = BTreeSet::new();
        for finding in findings {
            // The weightiest comes first.
            if !told.insert(finding.member) {
                continue;
            }
            let member = finding.member;
            let known = self.machine.is_corrupt(member);
            if !known {
                let kind = AlarmKind::Corrupt;
                let command = Command::AlarmRaise { member, kind }.by(Some(Actor::Store));
                self.proposals.queue(None, Moment::NEVER, command);
                self.more = true;
            }
            match finding.aspect {
                Aspect::Changes => self.trace(now, round, member, &named, out),
                Aspect::Contents => {
                    let sums = |id| reports.get(&id).map(|point| &point.sums);
                    let differs = |id: &u64| {
                        sums(*id).is_some_and(|sums| !sums.is_empty()) && sums(*id) != sums(member)
                    };
                    let mut others = reports.keys().copied().filter(differs);
                    let sound = others.clone().find(|id| !named.contains(id));
                    if let Some(other) = sound.or_else(|| others.next()) {
                        self.narrow(round, member, other, known, out);
                    }
                }
                Aspect::Rest => {
                    let difference = Difference {
                        member,
                        aspect: finding.aspect,
                        since: None,
                    };
                    self.announce(difference, out);
                }
            }
        }
    }
}
