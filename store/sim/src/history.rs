//! What clients asked and were told: the record the promises are checked against.

use std::collections::BTreeMap;

use bytes::Bytes;
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::reply::Reply;
use store_machine::request::{RangeRequest, TxnRequest};
use store_machine::revision::LeaseId;
use store_member::answer::Consistency;
use store_member::input::{Input, Read, Token};

use crate::clock::Time;

/// Number of an operation; also the token it is asked under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OpId(pub(crate) usize);

/// What is asked.
#[derive(Clone, Debug)]
pub enum What {
    /// A command for the log.
    Write(Command),
    /// A read.
    Range(RangeRequest, Consistency),
    /// A transaction without writes.
    Txn(TxnRequest, Consistency),
    /// To go on with a lease.
    KeepAlive(LeaseId),
}

/// What became of it, as far as its client can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No answer, or one that leaves it open: it may happen yet, or have happened.
    Open,
    /// Answered with success.
    Done,
    /// Answered with "no": by the machine, or before it was proposed.
    Refused,
    /// Answered with "it was not proposed".
    Absent,
}

/// Where a write stands in the log.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) index: u64,
    /// Revision after it.
    pub(crate) revision: i64,
    /// What the model answered.
    pub(crate) reply: Result<Reply, Refusal>,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) client: usize,
    pub(crate) what: What,
    pub(crate) asked: Time,
    /// Highest revision any client had been told of when this was asked.
    pub(crate) floor: i64,
    /// Highest log index of any write some client knew to be done when this was asked.
    pub(crate) floor_index: u64,
    pub(crate) state: State,
    pub(crate) place: Option<Place>,
    /// The process it has arrived at, by host and life.
    pub(crate) asked_of: Option<(usize, u64)>,
    /// That process has answered.
    pub(crate) answered: bool,
}

/// All operations.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) ops: Vec<Op>,
    /// Writes by the body of their entry. Each write has one of its own.
    bodies: BTreeMap<Vec<u8>, OpId>,
    /// Highest revision any client has been told of.
    floor: i64,
    floor_index: u64,
    pub(crate) done: u64,
}

impl History {
    pub(crate) fn ask(&mut self, now: Time, client: usize, what: What) -> OpId {
        let id = OpId(self.ops.len());
        if let What::Write(command) = &what {
            self.bodies.insert(encoded(command), id);
        }
        self.ops.push(Op {
            client,
            what,
            asked: now,
            floor: self.floor,
            floor_index: self.floor_index,
            state: State::Open,
            place: None,
            asked_of: None,
            answered: false,
        });
        id
    }

    /// The operation whose entry this is; `None` for entries of members themselves.
    pub(crate) fn of_body(&self, body: &Bytes) -> Option<OpId> {
        let command = store_member::command_in(body)?;
        self.bodies.get(&command[..]).copied()
    }

    /// Somebody is shown that the store is at a revision.
    pub(crate) fn see(&mut self, revision: i64) {
        self.floor = self.floor.max(revision);
    }

    /// A client learns that the store is at a revision.
    pub(crate) fn learn(&mut self, id: OpId, revision: i64) {
        self.floor = self.floor.max(revision);
        if let Some(place) = &self.ops[id.0].place {
            self.floor_index = self.floor_index.max(place.index);
        }
    }
}

impl What {
    /// How the shell asks it.
    pub(crate) fn input(&self, id: OpId) -> Input {
        let token = Token(id.0 as u64);
        let read = |read, consistency| Input::Read {
            token,
            read,
            consistency,
        };
        match self {
            Self::Write(command) => Input::Propose {
                token,
                command: command.clone(),
            },
            Self::Range(range, consistency) => read(Read::Range(range.clone()), *consistency),
            Self::Txn(txn, consistency) => read(Read::Txn(txn.clone()), *consistency),
            Self::KeepAlive(id) => read(Read::KeepAlive(*id), Consistency::Linearizable),
        }
    }
}

/// The byte form of a command, as the body of an entry holds it.
fn encoded(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    bytes
}

/// The command an entry's body holds; `None` where it holds none.
pub(crate) fn command(body: &Bytes) -> Option<Command> {
    Command::decode(store_member::command_in(body)?).ok()
}
