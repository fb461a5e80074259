//! Commands on their way into the log, and who waits for them.
//!
//! A proposal is queued, then proposed with all others of its turn, then waits at its index until
//! the entry there is applied. Owns admission and deadlines; knows nothing of what commands do.
//!
//! One that was proposed, here or by the leader it was forwarded to, belongs to that leader's term: a
//! leader proposes only what came in its term. Terms in a log do not descend (Raft paper 5.3, log
//! matching), so when the first entry of a later term is applied, what is still without an outcome has
//! none and will never have one: it is queued anew, and is carried out once all the same. Until then
//! its clients wait; a change of leaders is no reason to fail.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft::eraftpb::Entry as RaftEntry;
use store_machine::command::{Command, DecodeError};
use store_machine::request::{KeyRange, PutRequest, RangeEnd, TxnOp, TxnRequest};

use crate::changes::changes_raft;
use crate::input::Token;
use crate::limits::{APPEND_BYTES_MAX, MESSAGE_BYTES_MAX, PROPOSAL_BYTES_MAX, PROPOSALS_MAX};
use crate::moment::Moment;
use crate::peer::{Life, Origin};

/// First byte of an entry's body: a command follows, and nothing else.
const PLAIN_COMMAND: u8 = 0;

/// The same: the member, life and number of who forwarded it follow (8 bytes each), then the command.
const FORWARDED_COMMAND: u8 = 1;

/// Bytes before the command then.
const FORWARDED_HEAD: usize = 25;

/// Not yet handed to raft.
#[derive(Debug)]
pub(crate) struct Queued {
    /// `None` when the member itself, or another, proposes.
    pub(crate) token: Option<Token>,
    /// Who forwarded it.
    pub(crate) origin: Option<Origin>,
    /// In which term it was forwarded: in no other may it be proposed. 0 when nobody did.
    term: u64,
    deadline: Moment,
    /// About what it holds on to.
    bytes: u64,
    pub(crate) command: Command,
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

/// Handed to the leader, not yet applied here.
#[derive(Debug)]
struct Forwarded {
    /// In which it leads.
    term: u64,
    token: Option<Token>,
    deadline: Moment,
    bytes: u64,
    /// To be forwarded again when the leader did not propose it.
    command: Command,
}

/// All proposals of a member.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    queued: VecDeque<Queued>,
    /// Those of `queued` that change raft's members.
    queued_changes: usize,
    /// On the leader, taken out of `queued`: changes of raft's members, which go one by one.
    changes: VecDeque<Queued>,
    /// Ascending by term, then by index; of terms in which this member leads or led.
    in_flight: VecDeque<InFlight>,
    /// The first so many of `in_flight` have been given up by deadline.
    given_up: usize,
    /// By number, given out in the order of deadlines; terms do not descend.
    forwarded: BTreeMap<u64, Forwarded>,
    /// Number of the next to be forwarded.
    next_forwarded: u64,
    /// Of all in the three places.
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
        self.pending() < PROPOSALS_MAX && self.bytes < PROPOSAL_BYTES_MAX
    }

    /// Proposals without an outcome.
    pub(crate) fn pending(&self) -> usize {
        self.queued.len() + self.changes.len() + self.in_flight.len() + self.forwarded.len()
    }

    /// Whether some wait to be proposed.
    pub(crate) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Takes a proposal. Deadlines must not descend: they are checked from the front.
    pub(crate) fn queue(&mut self, token: Option<Token>, deadline: Moment, command: Command) {
        self.push(token, None, deadline, command);
    }

    /// Takes a proposal that another member has forwarded in a term in which this one leads.
    pub(crate) fn queue_forwarded(
        &mut self,
        origin: Origin,
        term: u64,
        deadline: Moment,
        command: Command,
    ) {
        self.push(None, Some((origin, term)), deadline, command);
    }

    fn push(
        &mut self,
        token: Option<Token>,
        forwarded: Option<(Origin, u64)>,
        deadline: Moment,
        command: Command,
    ) {
        let bytes = command_bytes(&command);
        self.bytes += bytes;
        self.queued_changes += usize::from(changes_raft(&command));
        self.queued.push_back(Queued {
            token,
            origin: forwarded.map(|(origin, _)| origin),
            term: forwarded.map_or(0, |(_, term)| term),
            deadline,
            bytes,
            command,
        });
    }

    /// Takes what is queued, up to [`MESSAGE_BYTES_MAX`], to be forwarded: the number of the first
    /// and the commands. They wait from now on until they are applied here, or a later term begins.
    pub(crate) fn forward(&mut self, term: u64) -> Option<(u64, Vec<Command>)> {
        let first = self.next_forwarded;
        let mut commands = Vec::new();
        let mut bytes = 0;
        while bytes < MESSAGE_BYTES_MAX
            && let Some(queued) = self.queued.pop_front()
        {
            bytes += queued.bytes;
            self.queued_changes -= usize::from(changes_raft(&queued.command));
            commands.push(queued.command.clone());
            let forwarded = Forwarded {
                term,
                token: queued.token,
                deadline: queued.deadline,
                bytes: queued.bytes,
                command: queued.command,
            };
            self.forwarded.insert(self.next_forwarded, forwarded);
            self.next_forwarded += 1;
        }
        (!commands.is_empty()).then_some((first, commands))
    }

    /// Sets changes of raft's members apart from the rest: this member leads.
    pub(crate) fn sort_changes(&mut self) {
        if self.queued_changes == 0 {
            return;
        }
        self.queued_changes = 0;
        for queued in std::mem::take(&mut self.queued) {
            if changes_raft(&queued.command) {
                self.changes.push_back(queued);
            } else {
                self.queued.push_back(queued);
            }
        }
    }

    /// Whether a change waits to be proposed.
    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The next change to be proposed; [`Proposals::proposed`] takes it back in.
    pub(crate) fn take_change(&mut self) -> Option<Queued> {
        let queued = self.changes.pop_front()?;
        self.bytes -= queued.bytes;
        Some(queued)
    }

    /// It could not be proposed yet.
    pub(crate) fn put_back_change(&mut self, queued: Queued) {
        self.bytes += queued.bytes;
        self.changes.push_front(queued);
    }

    /// It was proposed, as the last entry of the log.
    pub(crate) fn proposed(&mut self, index: u64, term: u64, queued: Queued) {
        self.bytes += queued.bytes;
        self.in_flight.push_back(InFlight {
            index,
            term,
            token: queued.token,
            deadline: queued.deadline,
            bytes: queued.bytes,
            command: queued.command,
        });
    }

    /// A forwarded proposal has an outcome: who waits for it.
    pub(crate) fn returned(&mut self, number: u64) -> Option<Token> {
        let forwarded = self.forwarded.remove(&number)?;
        self.bytes -= forwarded.bytes;
        forwarded.token
    }

    /// An entry of `term` is being applied, the first of its term: what was proposed in earlier ones and
    /// has no outcome is queued again, ahead of what came later.
    pub(crate) fn renew(&mut self, term: u64) {
        let mut again = Vec::new();
        while let Some(dead) = self.in_flight.pop_front_if(|front| front.term < term) {
            self.given_up = self.given_up.saturating_sub(1);
            again.push((dead.token, dead.deadline, dead.bytes, dead.command));
        }
        while let Some(first) = self.forwarded.first_entry()
            && first.get().term < term
        {
            let dead = first.remove();
            again.push((dead.token, dead.deadline, dead.bytes, dead.command));
        }
        // The oldest first, as in the queue.
        again.sort_by_key(|(_, deadline, ..)| *deadline);
        for (token, deadline, bytes, command) in again.into_iter().rev() {
            if token.is_none() {
                // What a member itself wanted, it wanted as leader; others look after theirs.
                self.bytes -= bytes;
                continue;
            }
            self.queued_changes += usize::from(changes_raft(&command));
            self.queued.push_front(Queued {
                token,
                origin: None,
                term: 0,
                deadline,
                bytes,
                command,
            });
        }
    }

    /// Entries were passed over, and with them any outcome there was. Calls `lost` with each token.
    pub(crate) fn lose(&mut self, mut lost: impl FnMut(Token)) {
        let in_flight = self.in_flight.drain(..).map(|it| (it.token, it.bytes));
        let forwarded = std::mem::take(&mut self.forwarded).into_values();
        for (token, bytes) in in_flight.chain(forwarded.map(|it| (it.token, it.bytes))) {
            self.bytes -= bytes;
            if let Some(token) = token {
                lost(token);
            }
        }
        self.given_up = 0;
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
            begin_body(queued.origin, &mut buffer);
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

    /// The entry at `index` of `term` is being applied: who waits for it, and what it says. Earlier
    /// terms have been settled by [`Proposals::renew`].
    pub(crate) fn arrive(&mut self, index: u64, term: u64) -> Option<Arrived> {
        let front = self.in_flight.front()?;
        if (front.term, front.index) > (term, index) {
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

    /// This member leads in `term`, or in none: drops what others have forwarded in another, which they
    /// forward again. What leads no more drops its own wishes, too; the rest goes to the next leader.
    pub(crate) fn note_role(&mut self, led: bool, term: Option<u64>) {
        if led {
            for change in self.changes.drain(..).rev() {
                self.queued.push_front(change);
            }
        }
        self.take_queued(|queued| match queued.origin {
            Some(_) => term != Some(queued.term),
            None => led && queued.token.is_none(),
        });
    }

    /// Takes out of the queue what is not to be proposed.
    pub(crate) fn take_queued(&mut self, unwanted: impl Fn(&Queued) -> bool) -> Vec<Queued> {
        let (taken, kept) = std::mem::take(&mut self.queued)
            .into_iter()
            .partition::<Vec<_>, _>(unwanted);
        self.queued = kept.into();
        self.bytes -= taken.iter().map(|queued| queued.bytes).sum::<u64>();
        let changes = self.queued.iter().filter(|it| changes_raft(&it.command));
        self.queued_changes = changes.count();
        taken
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
        while let Some(first) = self.forwarded.first_entry() {
            if first.get().deadline > now {
                break;
            }
            let forwarded = first.remove();
            self.bytes -= forwarded.bytes;
            if let Some(token) = forwarded.token {
                unknown(token);
            }
        }
        while let Some(queued) = self.changes.pop_front_if(|front| front.deadline <= now) {
            self.bytes -= queued.bytes;
            if let Some(token) = queued.token {
                unproposed(token);
            }
        }
        while let Some(queued) = self.queued.pop_front_if(|front| front.deadline <= now) {
            self.bytes -= queued.bytes;
            self.queued_changes -= usize::from(changes_raft(&queued.command));
            if let Some(token) = queued.token {
                unproposed(token);
            }
        }
    }

    /// When the next one has waited long enough.
    pub(crate) fn next_deadline(&self) -> Moment {
        let in_flight = self.in_flight.get(self.given_up).map(|p| p.deadline);
        let queued = self.queued.front().map(|p| p.deadline);
        let forwarded = self.forwarded.values().next().map(|p| p.deadline);
        let change = self.changes.front().map(|p| p.deadline);
        [in_flight, queued, change, forwarded]
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
    REST + match command.bare() {
        Command::Put(put) => put_bytes(put),
        Command::Delete(delete) => keys_bytes(&delete.keys),
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
        TxnOp::Range(range) => keys_bytes(&range.keys),
        TxnOp::Delete(delete) => keys_bytes(&delete.keys),
    })
    .sum()
}

fn keys_bytes(keys: &KeyRange) -> u64 {
    let end = match &keys.end {
        RangeEnd::Before(end) => end.len(),
        RangeEnd::Single | RangeEnd::Open => 0,
    };
    (keys.start.len() + end) as u64
}

/// The body of an entry.
pub(crate) fn body(origin: Option<Origin>, command: &Command) -> Vec<u8> {
    let mut body = Vec::new();
    begin_body(origin, &mut body);
    command.encode(&mut body);
    body
}

fn begin_body(origin: Option<Origin>, body: &mut Vec<u8>) {
    let Some(origin) = origin else {
        body.push(PLAIN_COMMAND);
        return;
    };
    body.push(FORWARDED_COMMAND);
    for number in [origin.member, origin.life.0, origin.number] {
        body.extend_from_slice(&number.to_be_bytes());
    }
}

/// Reads the body of an entry; keys and values share `body`.
pub(crate) fn decode(mut body: Bytes) -> Result<(Option<Origin>, Command), DecodeError> {
    let (origin, head) = read_head(&body)?;
    Ok((origin, Command::decode(body.split_off(head))?))
}

/// The bytes of the command in an entry's body, without what a member says about it.
#[must_use]
pub fn command_in(body: &Bytes) -> Option<Bytes> {
    let (_, head) = read_head(body).ok()?;
    Some(body.slice(head..))
}

/// Who forwarded an entry, and where its command begins.
fn read_head(body: &[u8]) -> Result<(Option<Origin>, usize), DecodeError> {
    match body.first() {
        Some(&PLAIN_COMMAND) => Ok((None, 1)),
        Some(&FORWARDED_COMMAND) if body.len() >= FORWARDED_HEAD => {
            let number = |at: usize| body[1..FORWARDED_HEAD].as_chunks().0[at];
            let origin = Origin {
                member: u64::from_be_bytes(number(0)),
                life: Life(u64::from_be_bytes(number(1))),
                number: u64::from_be_bytes(number(2)),
            };
            Ok((Some(origin), FORWARDED_HEAD))
        }
        _ => Err(DecodeError {
            offset: 0,
            expected: "a command, forwarded or not",
        }),
    }
}
