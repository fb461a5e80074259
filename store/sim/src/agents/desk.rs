//! What an agent's shell has at hand: the moment, the chance, and the way to a member and back.

use bytes::Bytes;
use store_machine::command::Command;
use store_machine::request::{Compare, CompareTarget, KeyRange, Relation, TxnRequest};
use store_machine::revision::LeaseId;
use store_member::Input;
use store_member::answer::Consistency;
use store_member::input::{Read, Token};
use store_watch::batch::StreamId;

use super::plan::Plan;
use super::{Happening, MARK};
use crate::bugs::Bug;
use crate::chance::Chance;
use crate::clock::Time;
use crate::plan::MS;
use crate::promises::kept::Kept;
use crate::queue::Event;
use crate::world::World;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The registrator of a site, in one of its lives.
    Registrar { site: usize, life: u64 },
    /// A confd, in one of its lives.
    Renderer { renderer: usize, life: u64 },
    /// Who writes the keys that are no containers'.
    Editor,
}

/// What is asked of a member.
#[derive(Debug)]
pub(crate) enum Wish {
    /// A transaction that may write.
    Txn(TxnRequest),
    /// A lease.
    Grant { id: LeaseId, ttl_seconds: i64 },
    /// A look at something.
    Read(Read),
}

impl Wish {
    pub(crate) fn input(self, token: Token) -> Input {
        match self {
            Self::Txn(txn) => Input::Propose {
                token,
                command: Command::Txn(txn),
            },
            Self::Grant { id, ttl_seconds } => Input::LeaseGrant {
                token,
                id,
                ttl_seconds,
                actor: None,
            },
            Self::Read(read) => Input::Read {
                token,
                read,
                consistency: Consistency::Linearizable,
            },
        }
    }

    /// The lease whose remaining life the answer tells.
    const fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Grant { id, .. } | Self::Read(Read::KeepAlive(id)) => Some(*id),
            _ => None,
        }
    }
}

/// A request.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) from: Caller,
    /// Until it arrives.
    pub(crate) wish: Option<Wish>,
    pub(crate) lease: Option<LeaseId>,
    /// A transaction with a mark.
    pub(crate) marked: bool,
    pub(crate) asked: Time,
}

/// The first of the agents' watch streams.
const FIRST_STREAM: u64 = 1 << 40;

/// A watch stream: whose it is, and when the last message down arrives.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) renderer: usize,
    pub(crate) life: u64,
    pub(crate) down: Time,
}

/// Which of the agents' streams it is, if it is one.
pub(crate) fn line_of(stream: StreamId) -> Option<usize> {
    usize::try_from(stream.0.checked_sub(FIRST_STREAM)?).ok()
}

/// See the module.
pub(crate) struct Desk<'a> {
    pub(crate) world: &'a World,
    pub(crate) now: Time,
    pub(crate) plan: &'a Plan,
    pub(crate) chance: &'a mut Chance,
    pub(crate) asks: &'a mut Vec<Ask>,
    pub(crate) queue: &'a mut Vec<(Time, Event)>,
    pub(crate) lines: &'a mut Vec<Line>,
    pub(crate) kept: &'a mut Kept,
    pub(crate) bug: Option<Bug>,
}

impl Desk<'_> {
    pub(crate) fn after(&mut self, delay: Time, happening: Happening) {
        self.queue
            .push((self.now + delay, Event::Agents(happening)));
    }

    /// Whether nothing goes wrong any more.
    pub(crate) fn well(&self) -> bool {
        self.world.net.well
    }

    /// Delay on the way to a member.
    pub(crate) fn delay(&mut self) -> Time {
        let longest = if self.well() {
            MS
        } else {
            self.world.plan.delay_max
        };
        self.chance.skewed(50, longest)
    }

    /// A member that answers, by place and life; `None` where nobody does.
    pub(crate) fn connect(&mut self) -> Option<(usize, u64)> {
        let places = self.world.used_hosts();
        let place = places[self.chance.place(places.len())];
        let host = &self.world.hosts[place];
        host.up.as_ref().map(|_| (place, host.life))
    }

    /// A watch stream of a confd that is not open yet.
    pub(crate) fn new_stream(&mut self, renderer: usize, life: u64) -> StreamId {
        let number = self.lines.len() as u64;
        self.lines.push(Line {
            renderer,
            life,
            down: self.now,
        });
        StreamId(FIRST_STREAM + number)
    }

    /// Sends a request; it may be lost like any other. A transaction gets a mark.
    pub(crate) fn ask(&mut self, host: usize, from: Caller, mut wish: Wish) -> usize {
        let ask = self.asks.len();
        let marked = if let Wish::Txn(txn) = &mut wish {
            txn.compare.push(mark(ask));
            true
        } else {
            false
        };
        self.asks.push(Ask {
            from,
            lease: wish.lease(),
            wish: Some(wish),
            marked,
            asked: self.now,
        });
        if self.well() || !self.chance.per_mille(self.world.plan.drop) {
            let at = self.now + self.delay();
            self.queue.push((at, Event::Ask { host, ask }));
        }
        ask
    }
}

/// A condition that always holds and that no other transaction has.
fn mark(ask: usize) -> Compare {
    let mut key = MARK.to_vec();
    key.extend_from_slice(ask.to_string().as_bytes());
    Compare {
        keys: KeyRange::single(Bytes::from(key)),
        relation: Relation::Equal,
        target: CompareTarget::Version(0),
    }
}
