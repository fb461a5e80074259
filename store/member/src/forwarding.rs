//! What a follower's clients want of the leader, and the leader's side of it.
//!
//! A proposal goes to the leader of the present term, which proposes what comes twice only once; its
//! entry says who forwarded it, so the follower answers its client when it has applied the entry
//! itself: what the client then reads from the same member contains it. Questions about leases
//! change nothing that could happen twice, so they are asked again until there is an answer.

use std::collections::{BTreeMap, VecDeque};

use crate::answer::{Body, Failure};
use crate::effects::{Effects, Envelope};
use crate::input::{Read, Token};
use crate::limits::{FORWARD_WINDOW, READS_MAX, SENDERS_MAX};
use crate::member::Member;
use crate::moment::Moment;
use crate::peer::{Answer, Ask, Declined, Forward, Life, Origin, PeerMessage};
use store_machine::error::Refusal;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A client of this member.
    Client(Token),
    /// A client of another one.
    Peer {
        member: u64,
        life: Life,
        number: u64,
    },
}

/// A question for the leader that has no answer.
#[derive(Debug)]
struct Question {
    token: Token,
    read: Read,
    deadline: Moment,
    /// Term and leader when it was asked last; `None` = never.
    asked_under: Option<(u64, u64)>,
}

/// What has been forwarded, and what of others has been seen.
#[derive(Debug)]
pub(crate) struct Forwarding {
    /// Of this member.
    life: Life,
    /// Messages forwarded so far.
    messages: u64,
    /// By number, which ascends with the deadline.
    questions: BTreeMap<u64, Question>,
    next_question: u64,
    /// When to ask again.
    ask_again: Moment,
    /// Some question may have to be asked now.
    unasked: bool,
    /// On the leader: what has been heard from each life in this term.
    senders: BTreeMap<(u64, Life), Window>,
    /// The same in the order they came up, the oldest to be forgotten first.
    senders_by_age: VecDeque<(u64, Life)>,
}

/// Which of the last messages of a sender have been seen.
#[derive(Debug, Default)]
struct Window {
    highest: u64,
    /// Bit n: the message n below the highest.
    seen: u128,
}

impl Window {
    /// Whether this message comes for the first time. One too far behind to tell counts as seen: its
    /// sender takes the outcome as unknown.
    fn first_time(&mut self, number: u64) -> bool {
        if number > self.highest {
            let by = number - self.highest;
            self.seen = if by < FORWARD_WINDOW {
                self.seen << by
            } else {
                0
            };
            self.seen |= 1;
            self.highest = number;
            return true;
        }
        let behind = self.highest - number;
        if behind >= FORWARD_WINDOW {
            return false;
        }
        let first = self.seen >> behind & 1 == 0;
        self.seen |= 1 << behind;
        first
    }
}

impl Forwarding {
    pub(crate) const fn new(life: u64) -> Self {
        Self {
            life: Life(life),
            messages: 0,
            questions: BTreeMap::new(),
            next_question: 0,
            ask_again: Moment::NEVER,
            unasked: false,
            senders: BTreeMap::new(),
            senders_by_age: VecDeque::new(),
        }
    }

    /// Of this member.
    pub(crate) const fn life(&self) -> Life {
        self.life
    }

    /// Takes a question of a client.
    pub(crate) fn add(&mut self, token: Token, read: Read, deadline: Moment) {
        let question = Question {
            token,
            read,
            deadline,
            asked_under: None,
        };
        self.questions.insert(self.next_question, question);
        self.next_question += 1;
        self.unasked = true;
    }

    /// Whether one more may be taken.
    pub(crate) fn admits(&self) -> bool {
        self.questions.len() < READS_MAX
    }

    /// The leadership in which the senders were heard is over.
    pub(crate) fn forget_senders(&mut self) {
        self.senders.clear();
        self.senders_by_age.clear();
    }

    fn first_time(&mut self, member: u64, life: Life, message: u64) -> bool {
        let sender = (member, life);
        if !self.senders.contains_key(&sender) {
            if self.senders.len() == SENDERS_MAX
                && let Some(oldest) = self.senders_by_age.pop_front()
            {
                self.senders.remove(&oldest);
            }
            self.senders_by_age.push_back(sender);
        }
        self.senders.entry(sender).or_default().first_time(message)
    }

    /// Calls `late` with the clients that have waited long enough.
    pub(crate) fn give_up(&mut self, now: Moment, mut late: impl FnMut(Token)) {
        while let Some(first) = self.questions.first_entry() {
            if first.get().deadline > now {
                break;
            }
            late(first.remove().token);
        }
    }

    /// When to ask again, or to give up.
    pub(crate) fn next_deadline(&self) -> Moment {
        match self.questions.values().next() {
            Some(question) => question.deadline.min(self.ask_again),
            None => Moment::NEVER,
        }
    }
}

impl Member {
    /// Hands the leader what clients of this member want of it.
    pub(crate) fn forward(&mut self, now: Moment, out: &mut Effects) {
        if self.leads() {
            self.take_back_questions();
            return;
        }
        let (term, leader) = self.under();
        if leader == raft::INVALID_ID {
            self.forwarding.ask_again = Moment::NEVER;
            self.forwarding.unasked = true;
            return;
        }
        while let Some((first, commands)) = self.proposals.forward(term) {
            self.forwarding.messages += 1;
            let forward = Forward {
                term,
                life: self.forwarding.life,
                message: self.forwarding.messages,
                first,
                commands,
            };
            out.sends.push(Envelope {
                to: leader,
                message: PeerMessage::Forward(Box::new(forward)),
            });
        }
        self.ask(now, out);
    }

    /// Asks the leader what it has not been asked, or not lately.
    fn ask(&mut self, now: Moment, out: &mut Effects) {
        let under = self.under();
        let forwarding = &mut self.forwarding;
        let again = now >= forwarding.ask_again;
        let moved = forwarding
            .questions
            .values()
            .next()
            .is_some_and(|oldest| oldest.asked_under.is_some_and(|asked| asked != under));
        if !(again || moved || forwarding.unasked) {
            return;
        }
        forwarding.unasked = false;
        if again || forwarding.ask_again == Moment::NEVER {
            forwarding.ask_again = now.plus_ms(self.config.election_ms);
        }
        for (&number, question) in &mut forwarding.questions {
            if !again && question.asked_under == Some(under) {
                continue;
            }
            question.asked_under = Some(under);
            out.sends.push(Envelope {
                to: under.1,
                message: PeerMessage::Ask(Box::new(Ask {
                    life: forwarding.life,
                    number,
                    read: question.read.clone(),
                })),
            });
        }
    }

    /// This member leads now: it answers by itself.
    fn take_back_questions(&mut self) {
        self.forwarding.ask_again = Moment::NEVER;
        for question in std::mem::take(&mut self.forwarding.questions).into_values() {
            let asker = Asker::Client(question.token);
            self.reads.add(asker, question.read, question.deadline);
        }
    }

    /// A follower has forwarded proposals.
    pub(crate) fn take_forwarded(
        &mut self,
        now: Moment,
        from: u64,
        forward: Forward,
        out: &mut Effects,
    ) {
        // A sender that is wrong about the leader will hear of it from raft.
        if !self.leads()
            || self.node.raft.term != forward.term
            || !self
                .forwarding
                .first_time(from, forward.life, forward.message)
        {
            return;
        }
        let deadline = now.plus_ms(self.config.request_timeout_ms());
        let mut declined = Vec::new();
        for (number, command) in (forward.first..).zip(forward.commands) {
            let origin = Origin {
                member: from,
                life: forward.life,
                number,
            };
            if !self.takes(&command) {
                declined.push((number, Failure::Refused(Refusal::NoSpace)));
            } else if self.proposals.admits() {
                self.proposals
                    .queue_forwarded(origin, forward.term, deadline, command);
            } else {
                declined.push((number, Failure::TooManyRequests));
            }
        }
        if !declined.is_empty() {
            out.sends.push(Envelope {
                to: from,
                message: PeerMessage::Declined(Box::new(Declined {
                    life: forward.life,
                    proposals: declined,
                })),
            });
        }
    }

    /// The leader has not proposed what was forwarded.
    pub(crate) fn declined(&mut self, declined: Declined, out: &mut Effects) {
        if declined.life != self.forwarding.life {
            return;
        }
        for (number, failure) in declined.proposals {
            if let Some(token) = self.proposals.returned(number) {
                self.counts.proposals_failed += 1;
                self.reply(token, Err(failure), out);
            }
        }
    }

    /// An entry is being applied: who of this member's clients waits for it.
    pub(crate) fn returned(&mut self, origin: Option<Origin>) -> Option<Token> {
        let origin = origin?;
        let own = origin.member == self.config.id && origin.life == self.forwarding.life;
        own.then(|| self.proposals.returned(origin.number))?
    }

    /// Another member asks what only the leader knows.
    pub(crate) fn asked(&mut self, now: Moment, from: u64, ask: Ask, out: &mut Effects) {
        // Whoever asks the wrong member asks again.
        if !self.leads() || !ask.read.is_of_leader() {
            return;
        }
        let asker = Asker::Peer {
            member: from,
            life: ask.life,
            number: ask.number,
        };
        if !self.reads.admits() {
            self.answer(asker, Err(Failure::TooManyRequests), out);
            return;
        }
        let deadline = now.plus_ms(self.config.request_timeout_ms());
        self.reads.add(asker, ask.read, deadline);
    }

    /// The leader has answered.
    pub(crate) fn answered(&mut self, answer: Answer, out: &mut Effects) {
        if answer.life != self.forwarding.life {
            return;
        }
        let outcome = answer.outcome;
        // Not the leader's last word: the question is asked again until the client gives up.
        let passing = matches!(
            outcome,
            Err(Failure::NoLeader | Failure::LeaderChanged | Failure::Stopped | Failure::TimedOut)
        );
        if passing {
            return;
        }
        let Some(question) = self.forwarding.questions.get(&answer.number) else {
            return;
        };
        let fits = matches!(
            (question.read.bare(), &outcome),
            (Read::KeepAlive(_), Ok(Body::KeepAlive(_)))
                | (Read::LeaseLife { .. }, Ok(Body::LeaseLife(_)))
                | (Read::Leases, Ok(Body::Leases(_)))
                | (_, Err(_))
        );
        if fits && let Some(question) = self.forwarding.questions.remove(&answer.number) {
            self.reply(question.token, outcome, out);
        }
    }
}
