//! The order of writes, found from what each revision holds: a put is known by its value, a delete by the
//! revision its client was told, the end of a lease by the keys that went with it.
//!
//! The model applies what is found, so that answers, events and order are judged by one thing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use store_machine::command::Command;
use store_machine::reply::{Event, EventKind, Reply, TxnOpReply};
use store_machine::request::{RangeRequest, TxnOp, TxnRequest};
use store_machine::revision::LeaseId;
use store_member::answer::Body;

use super::{Asked, Moment, Recorded};
use crate::history::{Place, What};
use crate::model::Model;
use crate::promises::watch::same_event;
use crate::promises::{Check, Violation, broken};

/// See the module. Numbers are places in the record.
#[derive(Debug, Default)]
pub(super) struct Order {
    pub(super) places: BTreeMap<usize, Place>,
    /// Leases that ended by time, with the revision that took their keys.
    pub(super) ended: Vec<(i64, LeaseId)>,
    /// Leases some client wanted to end.
    pub(super) revoked: BTreeSet<LeaseId>,
    /// Commands applied.
    steps: u64,
}

impl Order {
    /// Finds the order and lets an empty model follow it.
    pub(super) fn find(recorded: &Recorded, model: &mut Model) -> Result<Self, Violation> {
        let mut order = Self::default();
        let mut clues = Clues::gather(recorded);
        for asked in &recorded.asked {
            if let What::Write(Command::LeaseRevoke { id, .. }) = &asked.what {
                order.revoked.insert(*id);
            }
        }
        order.without_change(&mut clues, recorded, model)?;
        for events in recorded
            .log
            .chunk_by(|one, next| one.kv.mod_revision == next.kv.mod_revision)
        {
            let revision = model.revision() + 1;
            if events[0].kv.mod_revision.0 != revision {
                return broken(
                    "watch is reliable",
                    format!(
                        "the log of events goes from revision {} to {}",
                        model.revision(),
                        events[0].kv.mod_revision
                    ),
                );
            }
            match clues.whose(recorded, model, events, revision)? {
                Owner::Request(number) => order.apply(recorded, model, number)?,
                Owner::Lease(id) => {
                    let _ = model.apply(&Command::LeaseRevoke { id, term: 0 });
                    order.ended.push((revision, id));
                }
            }
            compare(model, events, revision)?;
            order.without_change(&mut clues, recorded, model)?;
        }
        match clues.still.first_key_value() {
            Some((revision, numbers)) => broken(
                "acknowledged writes are kept",
                format!(
                    "operation {} is answered at revision {revision}, and the log ends at {}",
                    numbers[0],
                    model.revision()
                ),
            ),
            None => Ok(order),
        }
    }

    /// Writes that changed no key, at the revision the model has come to, as far as clients were told.
    fn without_change(
        &mut self,
        clues: &mut Clues,
        recorded: &Recorded,
        model: &mut Model,
    ) -> Check {
        let revision = model.revision();
        for number in clues.still.remove(&revision).unwrap_or_default() {
            if self.places.contains_key(&number) {
                continue;
            }
            self.apply(recorded, model, number)?;
            if model.revision() != revision {
                return broken(
                    "answers follow the log",
                    format!(
                        "operation {number} is answered as if it had changed nothing at revision \
                         {revision}: {:?}",
                        recorded.asked[number].what
                    ),
                );
            }
        }
        Ok(())
    }

    fn apply(&mut self, recorded: &Recorded, model: &mut Model, number: usize) -> Check {
        let What::Write(command) = &recorded.asked[number].what else {
            return Ok(());
        };
        self.steps += 1;
        let (reply, revision) = model.apply(command);
        let place = Place {
            index: self.steps,
            revision,
            reply,
        };
        match self.places.insert(number, place) {
            None => Ok(()),
            Some(before) => broken(
                "a write happens once",
                format!(
                    "operation {number} stands at revisions {} and {revision}: {command:?}",
                    before.revision
                ),
            ),
        }
    }
}

/// The events of a revision are those of the command that made it.
fn compare(model: &Model, events: &[Event], revision: i64) -> Check {
    let expected = model.events(revision);
    let same = expected.len() == events.len()
        && expected
            .iter()
            .zip(events)
            .all(|(expected, found)| same_event(expected, found, 0));
    if same {
        return Ok(());
    }
    broken(
        "answers follow the log",
        format!("revision {revision} holds {events:?}, the model {expected:?}"),
    )
}

enum Owner {
    /// A request, by its number.
    Request(usize),
    /// The end of a lease.
    Lease(LeaseId),
}

/// What tells whose a revision is.
struct Clues {
    /// Values that are put, each by one request.
    values: BTreeMap<Bytes, usize>,
    /// Requests that removed keys and were told at which revision.
    removed: BTreeMap<i64, usize>,
    /// Acknowledged writes that changed no key, by revision, in the order they were asked in.
    still: BTreeMap<i64, Vec<usize>>,
    /// Deletes nobody was told about, with the highest revision known when they were asked.
    open: BTreeMap<usize, i64>,
}

impl Clues {
    fn gather(recorded: &Recorded) -> Self {
        let mut clues = Self {
            values: BTreeMap::new(),
            removed: BTreeMap::new(),
            still: BTreeMap::new(),
            open: BTreeMap::new(),
        };
        let mut known = 1;
        for (_, moment) in recorded.moments() {
            match moment {
                Moment::Asked(number) => clues.note(&recorded.asked[number], number, known),
                Moment::Answered(number) => {
                    let answer = recorded.asked[number].answer.as_ref();
                    known = answer.map_or(known, |answer| known.max(answer.header.revision.0));
                }
                Moment::Shown(revision) => known = known.max(revision),
            }
        }
        clues
    }

    fn note(&mut self, asked: &Asked, number: usize, known: i64) {
        let What::Write(command) = &asked.what else {
            return;
        };
        for value in values(command) {
            if let Some(other) = self.values.insert(value.clone(), number) {
                assert_eq!(other, number, "two requests write the value {value:?}");
            }
        }
        match &asked.answer {
            None => {
                if matches!(command, Command::Delete(_)) {
                    self.open.insert(number, known);
                }
            }
            Some(answer) => {
                let Ok(Body::Applied(reply)) = &answer.outcome else {
                    return;
                };
                let revision = answer.header.revision.0;
                match reply {
                    Reply::Delete(reply) if reply.deleted > 0 => {
                        self.removed.insert(revision, number);
                    }
                    Reply::Put(_) => {}
                    Reply::Txn(reply) if reply.replies.iter().any(changes) => {
                        self.removed.insert(revision, number);
                    }
                    // The end of a lease without keys is one; of others, the keys tell first.
                    _ => self.still.entry(revision).or_default().push(number),
                }
            }
        }
    }

    fn whose(
        &mut self,
        recorded: &Recorded,
        model: &Model,
        events: &[Event],
        revision: i64,
    ) -> Result<Owner, Violation> {
        let put = events.iter().find(|event| event.kind == EventKind::Put);
        if let Some(put) = put {
            return match self.values.get(&put.kv.value) {
                Some(number) => Ok(Owner::Request(*number)),
                None => broken(
                    "only what was asked for happens",
                    format!("revision {revision} holds a value nobody wrote: {put:?}"),
                ),
            };
        }
        if let Some(number) = self.removed.get(&revision) {
            return Ok(Owner::Request(*number));
        }
        let keys: Vec<&Bytes> = events.iter().map(|event| &event.kv.key).collect();
        let before = model.everything(revision - 1);
        let lease = before
            .iter()
            .find(|pair| pair.key == *keys[0])
            .map_or(LeaseId::NONE, |pair| pair.lease);
        if lease != LeaseId::NONE {
            let revokes = |asked: &Asked| ends(asked, lease);
            return Ok(match recorded.asked.iter().position(revokes) {
                Some(number) => Owner::Request(number),
                None => Owner::Lease(lease),
            });
        }
        let open = self.open.iter().find(|(number, known)| {
            let What::Write(Command::Delete(delete)) = &recorded.asked[**number].what else {
                return false;
            };
            let inside = RangeRequest::latest(delete.keys.clone());
            let found = model.range(&inside, revision - 1, 0);
            **known < revision
                && found.is_ok_and(|found| {
                    found
                        .kvs
                        .iter()
                        .map(|pair| &pair.key)
                        .eq(keys.iter().copied())
                })
        });
        let Some(number) = open.map(|(number, _)| *number) else {
            return broken(
                "only what was asked for happens",
                format!("revision {revision} removes what nobody asked to: {keys:?}"),
            );
        };
        self.open.remove(&number);
        Ok(Owner::Request(number))
    }
}

/// Whether a request has, or may have, ended a lease.
fn ends(asked: &Asked, lease: LeaseId) -> bool {
    let wanted =
        matches!(&asked.what, What::Write(Command::LeaseRevoke { id, .. }) if *id == lease);
    wanted
        && asked
            .answer
            .as_ref()
            .is_none_or(|answer| answer.outcome.is_ok())
}

/// Every value a command may put.
fn values(command: &Command) -> Vec<&Bytes> {
    fn of_txn<'a>(txn: &'a TxnRequest, found: &mut Vec<&'a Bytes>) {
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                TxnOp::Put(put) => found.push(&put.value),
                TxnOp::Txn(nested) => of_txn(nested, found),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    match command {
        Command::Put(put) => found.push(&put.value),
        Command::Txn(txn) => of_txn(txn, &mut found),
        _ => {}
    }
    found
}

/// Whether an operation of a transaction has changed a key.
fn changes(reply: &TxnOpReply) -> bool {
    match reply {
        TxnOpReply::Range(_) => false,
        TxnOpReply::Put(_) => true,
        TxnOpReply::Delete(reply) => reply.deleted > 0,
        TxnOpReply::Txn(reply) => reply.replies.iter().any(changes),
    }
}
