//! The promises, held against what clients of real members recorded: what they asked, when, and what they
//! were told. One checker, two feeders: the checks are those of the simulated world.
//!
//! The log of real members cannot be seen, but each write that changes something has a revision of its own,
//! and a watch of everything from revision 1 on shows which: `recorded/order.rs` puts the writes in that
//! order. The rest is a walk along the clients' clock, which is one for all of them.

mod order;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use store_machine::command::Command;
pub use store_machine::error::Refusal;
pub use store_machine::reply::{
    DeleteReply, Event, EventKind, KeyValue, PutReply, RangeReply, Reply, TxnOpReply, TxnReply,
};
pub use store_machine::request::{
    Compare, CompareTarget, DeleteRequest, KeyRange, PutRequest, RangeEnd, RangeRequest, Relation,
    TxnOp, TxnRequest,
};
pub use store_machine::revision::{LeaseId, Revision};
pub use store_member::answer::{Body, Consistency, Failure, Header};
pub use store_watch::batch::{Batch, SharedEvent, WatchId};
pub use store_watch::watcher::WatchSpec;

pub use crate::history::What;

use crate::clock::Time;
use crate::history::{History, OpId, State};
use crate::model::Members;
use crate::promises::lease::Promises;
use crate::promises::reads::{self, Seen};
use crate::promises::watch::Shown;
use crate::promises::{Canon, Check, Violation, broken, writes};
use order::Order;

/// A request of a client.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What. A put's value is its own: no other request of the history writes it. A transaction that
    /// writes does so in both branches, and a delete on its own leaves keys under leases alone, else it
    /// could not be told what happened when nobody was told.
    pub what: What,
    /// Before it was sent: microseconds of the clients' clock.
    pub asked: u64,
    /// What became of it; `None` = nobody can say, it may happen yet.
    pub answer: Option<Answer>,
}

/// What a client was told.
#[derive(Clone, Debug)]
pub struct Answer {
    /// After it was received: microseconds of the clients' clock.
    pub at: u64,
    /// As it stands in the answer, revision 0 where none does.
    pub header: Header,
    /// Success, or a failure that leaves nothing open.
    pub outcome: Result<Body, Failure>,
}

/// What one watcher, over all its connections, was shown. It resumes where it was.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What it asked for at first.
    pub spec: WatchSpec,
    /// What came, in order, with the microsecond in which it did.
    pub batches: Vec<(u64, Batch)>,
    /// It was waited for: nothing may be left to be shown.
    pub finished: bool,
}

/// Everything that was recorded. Nothing was compacted meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// In any order.
    pub asked: Vec<Asked>,
    /// All watchers.
    pub watched: Vec<Watched>,
    /// The events of all keys from revision 1 on, with the former pairs, read when all was over.
    pub log: Vec<Event>,
}

/// What a history that breaks nothing consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Last revision.
    pub revision: i64,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Writes nobody was told about that have happened.
    pub happened: usize,
    /// Requests nobody was told about.
    pub unknown: usize,
    /// Reads answered.
    pub reads: usize,
    /// Events shown to watchers.
    pub shown: u64,
    /// Leases that ended by time.
    pub expired: u64,
}

impl Recorded {
    /// Holds every promise against the history.
    ///
    /// # Errors
    /// The first promise that is broken.
    ///
    /// # Panics
    /// When two requests write the same value: the history could not be judged.
    pub fn check(&self) -> Result<Account, Violation> {
        let mut canon = Canon::new(Members::default());
        let order = Order::find(self, &mut canon.model)?;
        let mut walk = Walk {
            recorded: self,
            canon: &canon,
            order: &order,
            history: History::default(),
            ids: BTreeMap::new(),
            leases: Promises::default(),
            account: Account {
                revision: canon.model.revision(),
                ..Account::default()
            },
        };
        walk.go()?;
        walk.finish()
    }

    /// Everything anybody did or was told, along the clock. What was asked in the same microsecond in which
    /// something was told was asked before.
    fn moments(&self) -> Vec<(Time, Moment)> {
        let mut moments = Vec::new();
        for (number, asked) in self.asked.iter().enumerate() {
            moments.push((asked.asked, Moment::Asked(number)));
            if let Some(answer) = &asked.answer {
                moments.push((answer.at, Moment::Answered(number)));
            }
        }
        for watched in &self.watched {
            for (at, batch) in &watched.batches {
                if let Some(revision) = told_by(batch) {
                    moments.push((*at, Moment::Shown(revision)));
                }
            }
        }
        moments.sort_unstable();
        moments
    }
}

/// What happened at a moment; sorted as if in this order where the clock cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Asked(usize),
    Answered(usize),
    /// Somebody has seen that the store is at a revision.
    Shown(i64),
}

/// The revision a watcher knows the store to be at.
fn told_by(batch: &Batch) -> Option<i64> {
    match batch {
        Batch::Created { revision, .. }
        | Batch::Events { revision, .. }
        | Batch::Progress { revision, .. } => Some(revision.0),
        _ => None,
    }
}

struct Walk<'a> {
    recorded: &'a Recorded,
    canon: &'a Canon,
    order: &'a Order,
    history: History,
    /// By number in the record.
    ids: BTreeMap<usize, OpId>,
    leases: Promises,
    account: Account,
}

impl Walk<'_> {
    fn go(&mut self) -> Check {
        let mut known = 0;
        // A renewal counts from when it was asked for, whenever its answer came.
        self.renewals();
        for (at, moment) in self.recorded.moments() {
            let revision = match moment {
                Moment::Asked(number) => {
                    let what = self.recorded.asked[number].what.clone();
                    let id = self.history.ask(at, number, what);
                    self.ids.insert(number, id);
                    continue;
                }
                Moment::Answered(number) => self.answered(number)?,
                Moment::Shown(revision) => {
                    self.history.see(revision);
                    revision
                }
            };
            if revision > known {
                self.ended(known, revision, at)?;
                known = revision;
            }
        }
        // Whatever ended later, nobody was there to miss it.
        self.ended(known, i64::MAX, Time::MAX / 2)
    }

    fn renewals(&mut self) {
        for asked in &self.recorded.asked {
            let Some(answer) = &asked.answer else {
                continue;
            };
            match (&asked.what, &answer.outcome) {
                (
                    What::Write(Command::LeaseGrant { .. }),
                    Ok(Body::Applied(Reply::LeaseGrant { id, ttl_seconds })),
                ) => self.leases.told(*id, *ttl_seconds, asked.asked),
                (What::KeepAlive(id), Ok(Body::KeepAlive(ttl))) if *ttl > 0 => {
                    self.leases.told(*id, *ttl, asked.asked);
                }
                _ => {}
            }
        }
    }

    /// Leases that ended at one of these revisions are known to be gone.
    fn ended(&mut self, above: i64, to: i64, at: Time) -> Check {
        for (revision, lease) in &self.order.ended {
            if *revision > above && *revision <= to {
                self.leases.ended(0, *lease, at)?;
            }
        }
        Ok(())
    }

    /// A client is told; the revision it knows of from now on.
    fn answered(&mut self, number: usize) -> Result<i64, Violation> {
        let (id, asked) = (self.ids[&number], &self.recorded.asked[number]);
        let Some(answer) = &asked.answer else {
            return Ok(0);
        };
        let (header, outcome) = (&answer.header, &answer.outcome);
        match &asked.what {
            What::Write(_) => {
                self.place(number)?;
                self.written(id, answer)?;
            }
            What::Range(_, consistency) | What::Txn(_, consistency) => match outcome {
                Ok(_) => {
                    self.account.reads += 1;
                    let seen = Seen {
                        compacted_before: 0,
                        compacted_after: 0,
                    };
                    if header.revision.0 > self.canon.model.revision() {
                        return broken(
                            "acknowledged writes are kept",
                            format!(
                                "read {number} is answered at revision {}, and the log ends at {}",
                                header.revision,
                                self.canon.model.revision()
                            ),
                        );
                    }
                    let op = &self.history.ops[id.0];
                    reads::answered(self.canon, op, id, header, outcome, seen)?;
                }
                Err(Failure::Refused(refusal))
                    if *consistency == Consistency::Linearizable
                        || *refusal == Refusal::Compacted =>
                {
                    return broken(
                        "reads follow the log",
                        format!("read {number} is refused: {refusal}"),
                    );
                }
                Err(_) => {}
            },
            What::KeepAlive(lease) => {
                if *outcome == Ok(Body::KeepAlive(0)) {
                    self.gone(*lease, answer.at)?;
                }
            }
        }
        self.history.learn(id, header.revision.0);
        Ok(header.revision.0)
    }

    fn written(&mut self, id: OpId, answer: &Answer) -> Check {
        let op = &mut self.history.ops[id.0];
        let Err(Failure::Refused(refusal)) = &answer.outcome else {
            self.account.acknowledged += usize::from(answer.outcome.is_ok());
            return writes::answered(op, id, &answer.header, &answer.outcome);
        };
        if op.place.is_some() {
            return writes::answered(op, id, &answer.header, &answer.outcome);
        }
        // A refusal does not say at which revision, so that it has no place.
        op.state = State::Refused;
        let lease = match &op.what {
            What::Write(Command::Put(put)) if *refusal == Refusal::LeaseNotFound => put.lease,
            _ => return Ok(()),
        };
        self.gone(lease, answer.at)
    }

    /// A holder is told that there is no such lease.
    fn gone(&self, lease: LeaseId, at: Time) -> Check {
        if self.order.revoked.contains(&lease) {
            return Ok(());
        }
        self.leases.holds(0, lease, at)
    }

    /// The write has happened, if it has: what is known about its place is known now.
    fn place(&mut self, number: usize) -> Check {
        match self.order.places.get(&number) {
            Some(place) => writes::placed(&mut self.history, self.ids[&number], place.clone()),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Account, Violation> {
        for (number, asked) in self.recorded.asked.iter().enumerate() {
            if asked.answer.is_none() {
                self.account.unknown += 1;
                self.account.happened += usize::from(self.order.places.contains_key(&number));
                self.place(number)?;
            }
        }
        for watched in &self.recorded.watched {
            let mut shown = Shown::new(watched.spec.clone());
            if watched.spec.start.0 > 0 {
                shown.next = Some(watched.spec.start.0);
            }
            for (_, batch) in &watched.batches {
                shown.take(self.canon, batch)?;
            }
            if watched.finished {
                shown.finished(self.canon)?;
            }
            self.account.shown += shown.events;
        }
        self.account.expired = self.leases.expired;
        Ok(self.account)
    }
}
