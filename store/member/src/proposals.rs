//! Commands on their way into the log, and who waits for them.
//!
//! A proposal is queued, then proposed with all others of its turn, then waits at its index until
//! the entry there is applied. Owns admission and deadlines; knows nothing of what commands do.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::Entry as RaftEntry;
use store_machine::command::{Command, DecodeError};
use store_machine::request::{PutRequest, TxnOp, TxnRequest};

use crate::input::Token;
use crate::limits::{APPEND_BYTES_MAX, PROPOSAL_BYTES_MAX, PROPOSALS_MAX};
use crate::moment::Moment;

/// First byte of an entry's body: a command follows, and nothing else. Other values are free for
/// entries that say more (who proposed them, say).
const PLAIN_COMMAND: u8 = 0;

/// Not yet handed to raft.
#[derive(Debug)]
struct Queued {
    /// `None` when the member itself proposes.
    token: Option<Token>,
    deadline: Moment,
    /// About what it holds on to.
    bytes: u64,
    command: Command,
}

/// Handed to raft, not yet applied.
#[derive(Debug)]
struct InFlight {
    index: u64,
    term: u64,
    /// `None` when nobody waits, or nobody does any more.
    token: Option<Token>,
    deadline: Moment,
    bytes: u64,
    /// Kept so that applying it needs no decoding.
    command: Command,
}

/// All proposals of a member.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    queued: VecDeque<Queued>,
    /// Ascending by index; all of the same term, in which this member leads.
    in_flight: VecDeque<InFlight>,
    /// The first so many of `in_flight` have been given up by deadline.
    given_up: usize,
    /// Of all in both places.
    bytes: u64,
}

/// What waited at an index.
pub(crate) struct Arrived {
    pub(crate) token: Option<Token>,
    pub(crate) command: Command,
}

impl Proposals {
    /// Whether one more may be taken from a client.
    pub(crate) fn admits(&self) -> bool {
        self.queued.len() + self.in_flight.len() < PROPOSALS_MAX && self.bytes < PROPOSAL_BYTES_MAX
    }

    /// Proposals without an outcome.
    pub(crate) fn pending(&self) -> usize {
        self.queued.len() + self.in_flight.len()
    }

    /// Whether some wait to be proposed.
    pub(crate) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Takes a proposal. Deadlines must not descend: they are checked from the front.
    pub(crate) fn queue(&mut self, token: Option<Token>, deadline: Moment, command: Command) {
        let bytes = command_bytes(&command);
        self.bytes += bytes;
        self.queued.push_back(Queued {
            token,
            deadline,
            bytes,
            command,
        });
    }

    /// Encodes what is queued, up to [`APPEND_BYTES_MAX`], and hands it to `propose` as consecutive
    /// entries; on success they are in flight from `first_index` on. False when raft refused: all
    /// stay queued.
    pub(crate) fn propose(
        &mut self,
        first_index: u64,
        term: u64,
        propose: impl FnOnce(Vec<RaftEntry>) -> bool,
    ) -> bool {
        // One buffer for all bodies of the turn: they are freed together, too.
        let mut buffer = Vec::new();
        let mut ends = Vec::with_capacity(self.queued.len());
        for queued in &self.queued {
            buffer.push(PLAIN_COMMAND);
            queued.command.encode(&mut buffer);
            ends.push(buffer.len());
            if buffer.len() as u64 >= APPEND_BYTES_MAX {
                break;
            }
        }
        let buffer = Bytes::from(buffer);
        let mut start = 0;
        let entries = ends
            .iter()
            .map(|&end| {
                let data = buffer.slice(start..end);
                start = end;
                RaftEntry {
                    data,
                    ..RaftEntry::default()
                }
            })
            .collect();
        if !propose(entries) {
            return false;
        }
        let proposed = self.queued.drain(..ends.len());
        self.in_flight.extend(
            (first_index..)
                .zip(proposed)
                .map(|(index, queued)| InFlight {
                    index,
                    term,
                    token: queued.token,
                    deadline: queued.deadline,
                    bytes: queued.bytes,
                    command: queued.command,
                }),
        );
        true
    }

    /// The entry at `index` of `term` is being applied: who waits for it, and what it says.
    pub(crate) fn arrive(&mut self, index: u64, term: u64) -> Option<Arrived> {
        let front = self.in_flight.front()?;
        if front.index > index {
            return None;
        }
        let front = self.in_flight.pop_front()?;
        assert_eq!(
            (front.index, front.term),
            (index, term),
            "a proposal of this member's term was passed over"
        );
        self.given_up = self.given_up.saturating_sub(1);
        self.bytes -= front.bytes;
        Some(Arrived {
            token: front.token,
            command: front.command,
        })
    }

    /// The leadership under which those in flight were proposed is over: their outcome stays
    /// unknown. Calls `lost` with each token.
    pub(crate) fn lose_in_flight(&mut self, mut lost: impl FnMut(Token)) {
        for proposal in self.in_flight.drain(..) {
            if let Some(token) = proposal.token {
                lost(token);
            }
        }
        self.given_up = 0;
        // What the member itself wanted, it wanted as leader.
        self.queued.retain(|queued| queued.token.is_some());
        self.bytes = self.queued.iter().map(|queued| queued.bytes).sum();
    }

    /// Calls `unproposed` and `unknown` with the tokens that have waited long enough: the first
    /// were never proposed.
    pub(crate) fn give_up(
        &mut self,
        now: Moment,
        mut unproposed: impl FnMut(Token),
        mut unknown: impl FnMut(Token),
    ) {
        while let Some(front) = self.in_flight.get_mut(self.given_up) {
            if front.deadline > now {
                break;
            }
            if let Some(token) = front.token.take() {
                unknown(token);
            }
            self.given_up += 1;
        }
        while let Some(front) = self.queued.front() {
            if front.deadline > now {
                break;
            }
            let Some(queued) = self.queued.pop_front() else {
                break;
            };
            self.bytes -= queued.bytes;
            if let Some(token) = queued.token {
                unproposed(token);
            }
        }
    }

    /// When the next one has waited long enough.
    pub(crate) fn next_deadline(&self) -> Moment {
        let in_flight = self.in_flight.get(self.given_up).map(|p| p.deadline);
        let queued = self.queued.front().map(|p| p.deadline);
        [in_flight, queued]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Moment::NEVER)
    }
}

/// About how many bytes a command holds on to: what is large in it, and a little for the rest.
#[must_use]
pub fn command_bytes(command: &Command) -> u64 {
    /// An entry's own bytes, a small command among them.
    const REST: u64 = 64;
    REST + match command {
        Command::Put(put) => put_bytes(put),
        Command::Txn(txn) => txn_bytes(txn),
        _ => 0,
    }
}

const fn put_bytes(put: &PutRequest) -> u64 {
    (put.key.len() + put.value.len()) as u64
}

fn txn_bytes(txn: &TxnRequest) -> u64 {
    let ops = txn.success.iter().chain(&txn.failure);
    ops.map(|op| match op {
        TxnOp::Put(put) => put_bytes(put),
        TxnOp::Txn(nested) => txn_bytes(nested),
        TxnOp::Range(_) | TxnOp::Delete(_) => 0,
    })
    .sum()
}

/// Reads the body of an entry; keys and values share `body`.
pub(crate) fn decode(mut body: Bytes) -> Result<Command, DecodeError> {
    if body.first() != Some(&PLAIN_COMMAND) {
        return Err(DecodeError {
            offset: 0,
            expected: "a plain command",
        });
    }
    Command::decode(body.split_off(1))
}
