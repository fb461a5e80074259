//! A session with the store: the lease is taken, the node spoken for, and what hangs on the lease read; then
//! transactions run and the lease is kept alive, until something breaks and the next one begins.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use registrator::agent::{Input, Token};
use registrator::plan::{Held, Txn};
use store_client::backoff::Backoff;
use store_machine::error::Refusal;
use store_machine::reply::{Reply, TxnOpReply, TxnReply};
use store_machine::request::{
    Compare, CompareTarget, DeleteRequest, KeyRange, PutRequest, RangeRequest, Relation, TxnOp,
    TxnRequest,
};
use store_machine::revision::LeaseId;
use store_member::answer::{Body, Failure};
use store_member::input::Read;

use super::{Fact, Registrar, micros};
use crate::agents::desk::{Caller, Desk, Wish};
use crate::bugs::Bug;
use crate::clock::Time;
use crate::plan::SECOND;

/// Longest any call is waited for, and waits between two sessions, as the shell has them.
const CALL_TIMEOUT: Time = 5 * SECOND;
const RETRY_FLOOR: Duration = Duration::from_millis(100);
const RETRY_CEILING: Duration = Duration::from_secs(2);

/// What a request under way is for.
#[derive(Debug)]
enum Call {
    /// How the lease lives and what hangs on it: at first, or once the node is spoken for and at a reload.
    Look { settled: bool },
    /// The lease anew.
    Grant { settled: bool },
    /// Who speaks for the node.
    Who,
    /// To speak for it.
    Claim,
    /// Values of the lease's keys.
    Values { adopted: bool },
    /// The lease lives on.
    Beat,
    /// A transaction of the machine, with its keys.
    Commit { token: Token, keys: Vec<String> },
    /// Which keys hang on the lease.
    Check,
}

/// See the module.
pub(super) struct Session {
    number: u64,
    /// The member it is with, by place and life.
    with: Option<(usize, u64)>,
    /// Revision of the presence's key.
    present: i64,
    /// The machine has been told of the lease.
    told: bool,
    /// The lease has been kept alive.
    pub(super) kept: bool,
    calls: BTreeMap<usize, Call>,
    wait: Backoff,
}

impl Session {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            number: 0,
            with: None,
            present: 0,
            told: false,
            kept: false,
            calls: BTreeMap::new(),
            wait: Backoff::new(RETRY_FLOOR, RETRY_CEILING, seed),
        }
    }
}

impl Registrar {
    /// A session begins, if a member can be reached.
    pub(super) fn connect(&mut self, desk: &mut Desk<'_>) {
        let Some(life) = &mut self.up else { return };
        if life.session.with.is_some() {
            return;
        }
        life.session.number += 1;
        life.session.told = false;
        life.session.kept = false;
        match desk.connect() {
            Some(with) => {
                life.session.with = Some(with);
                self.look(desk, false);
            }
            None => self.over(desk, "no member answers"),
        }
    }

    /// The session is over; another one follows.
    fn over(&mut self, desk: &mut Desk<'_>, why: &str) {
        let Some(life) = &mut self.up else { return };
        life.session.with = None;
        life.session.kept = false;
        life.session.calls.clear();
        let delay = micros(life.session.wait.delay());
        self.later(desk, delay, Fact::Connect);
        let why = why.to_owned();
        self.step(desk, Input::StoreAway { why });
    }

    /// A member's process is gone.
    pub(crate) fn gone(&mut self, desk: &mut Desk<'_>, host: usize, number: u64) {
        let session = self.up.as_ref().map(|life| &life.session);
        if session.is_some_and(|session| session.with == Some((host, number))) {
            self.over(desk, "the connection broke");
        }
    }

    /// The connection breaks.
    pub(crate) fn disconnect(&mut self, desk: &mut Desk<'_>) {
        let session = self.up.as_ref().map(|life| &life.session);
        if session.is_some_and(|session| session.with.is_some()) {
            self.over(desk, "the connection broke");
        }
    }

    fn call(&mut self, desk: &mut Desk<'_>, call: Call, patience: Time, wish: Wish) {
        let (site, number) = (self.site, self.life);
        let Some(life) = &mut self.up else { return };
        let Some((host, _)) = life.session.with else {
            return;
        };
        let from = Caller::Registrar { site, life: number };
        let ask = desk.ask(host, from, wish);
        life.session.calls.insert(ask, call);
        self.later(desk, patience, Fact::Patience { ask });
    }

    /// An answer has not come.
    pub(super) fn impatient(&mut self, desk: &mut Desk<'_>, ask: usize) {
        let session = self.up.as_ref().map(|life| &life.session);
        if session.is_some_and(|session| session.calls.contains_key(&ask)) {
            self.over(desk, "no answer");
        }
    }

    // ---- the lease --------------------------------------------------------------------------

    fn look(&mut self, desk: &mut Desk<'_>, settled: bool) {
        let read = Read::LeaseLife {
            id: LeaseId(self.lease),
            keys: true,
        };
        let call = Call::Look { settled };
        self.call(desk, call, CALL_TIMEOUT, Wish::Read(read));
    }

    /// The machine wants to know what hangs on the lease, with values.
    pub(super) fn reload(&mut self, desk: &mut Desk<'_>) {
        self.look(desk, true);
    }

    /// The machine wants to know which keys hang on the lease.
    pub(super) fn check_lease(&mut self, desk: &mut Desk<'_>) {
        let read = Read::LeaseLife {
            id: LeaseId(self.lease),
            keys: true,
        };
        self.call(desk, Call::Check, CALL_TIMEOUT, Wish::Read(read));
    }

    fn grant(&mut self, desk: &mut Desk<'_>, settled: bool) {
        let wish = Wish::Grant {
            id: LeaseId(self.lease),
            ttl_seconds: self.ttl_seconds,
        };
        self.call(desk, Call::Grant { settled }, CALL_TIMEOUT, wish);
    }

    /// The lease is there, with these keys.
    fn leased(&mut self, desk: &mut Desk<'_>, settled: bool, adopted: bool, mut keys: Vec<Bytes>) {
        if !settled {
            let get = RangeRequest::latest(self.presence_key());
            self.call(desk, Call::Who, CALL_TIMEOUT, Wish::Read(Read::Range(get)));
            return;
        }
        keys.retain(|key| *key != self.presence);
        keys.sort();
        if keys.is_empty() || self.bug == Some(Bug::LeaseNotRead) {
            self.tell_leased(desk, adopted, Vec::new());
            return;
        }
        let get = |key| TxnOp::Range(RangeRequest::latest(KeyRange::single(key)));
        let txn = TxnRequest {
            compare: Vec::new(),
            success: keys.into_iter().map(get).collect(),
            failure: Vec::new(),
        };
        let call = Call::Values { adopted };
        self.call(desk, call, CALL_TIMEOUT, Wish::Read(Read::Txn(txn)));
    }

    fn tell_leased(&mut self, desk: &mut Desk<'_>, adopted: bool, held: Vec<(String, Held)>) {
        let lease = self.lease;
        let Some(life) = &mut self.up else { return };
        life.session.wait.reset();
        let session = life.session.number;
        let first = !std::mem::replace(&mut life.session.told, true);
        self.step(
            desk,
            Input::Leased {
                lease,
                adopted,
                held,
            },
        );
        if first {
            // A lease that was found alive may have little of its life left.
            let patience = CALL_TIMEOUT.min(self.ttl_seconds.unsigned_abs() * SECOND);
            self.keep_alive(desk, session, patience);
        }
    }

    /// Three beats fit into one life, by the process's own clock.
    fn period(&self) -> Time {
        let third = self.ttl_seconds.unsigned_abs() * 1_000 / 3;
        let clock = self.up.as_ref().map(|life| life.clock);
        let scaled = clock.and_then(|clock| clock.length(third));
        scaled.unwrap_or(third * 1_000)
    }

    pub(super) fn beat(&mut self, desk: &mut Desk<'_>, session: u64) {
        let period = self.period();
        self.keep_alive(desk, session, period);
    }

    fn keep_alive(&mut self, desk: &mut Desk<'_>, session: u64, patience: Time) {
        let held = self
            .up
            .as_ref()
            .is_some_and(|life| life.session.number == session && life.session.with.is_some());
        if held {
            let read = Wish::Read(Read::KeepAlive(LeaseId(self.lease)));
            self.call(desk, Call::Beat, patience, read);
        }
    }

    // ---- the node ---------------------------------------------------------------------------

    fn presence_key(&self) -> KeyRange {
        KeyRange::single(Bytes::from(self.presence.clone()))
    }

    /// The node is to be spoken for, unless somebody else has written there since `guard`. An earlier process of this
    /// node is known to have ended.
    fn claim(&mut self, desk: &mut Desk<'_>, guard: i64) {
        let put = PutRequest {
            key: Bytes::from(self.presence.clone()),
            value: Bytes::from(format!("process {}", self.life)),
            lease: LeaseId(self.lease),
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        };
        let txn = TxnRequest {
            compare: vec![unchanged(self.presence_key(), guard)],
            success: vec![TxnOp::Put(put)],
            failure: Vec::new(),
        };
        self.call(desk, Call::Claim, CALL_TIMEOUT, Wish::Txn(txn));
    }

    // ---- the machine's writes ---------------------------------------------------------------

    pub(super) fn commit(&mut self, desk: &mut Desk<'_>, token: Token, txn: &Txn) {
        let mut compare = Vec::new();
        let mut success = Vec::new();
        let mut failure = Vec::new();
        for write in &txn.writes {
            let key = Bytes::from(write.key.clone());
            let keys = KeyRange::single(key.clone());
            compare.push(unchanged(keys.clone(), write.guard));
            failure.push(TxnOp::Range(RangeRequest::latest(keys.clone())));
            success.push(match &write.value {
                Some(value) => TxnOp::Put(PutRequest {
                    key,
                    value: Bytes::from(value.clone()),
                    lease: match self.bug {
                        Some(Bug::PutWithoutLease) => LeaseId::NONE,
                        _ => LeaseId(self.lease),
                    },
                    prev_kv: false,
                    ignore_value: false,
                    ignore_lease: false,
                }),
                None => TxnOp::Delete(DeleteRequest {
                    keys,
                    prev_kv: false,
                }),
            });
        }
        let present = self.up.as_ref().map_or(0, |life| life.session.present);
        compare.push(unchanged(self.presence_key(), present));
        failure.push(TxnOp::Range(RangeRequest::latest(self.presence_key())));
        let keys = txn.writes.iter().map(|write| write.key.clone()).collect();
        let wish = Wish::Txn(TxnRequest {
            compare,
            success,
            failure,
        });
        self.call(desk, Call::Commit { token, keys }, CALL_TIMEOUT, wish);
    }

    // ---- what members answer ----------------------------------------------------------------

    pub(super) fn answered(
        &mut self,
        desk: &mut Desk<'_>,
        ask: usize,
        revision: i64,
        outcome: Result<Body, Failure>,
    ) {
        let session = self.up.as_mut().map(|life| &mut life.session);
        let Some(call) = session.and_then(|session| session.calls.remove(&ask)) else {
            return;
        };
        let body = match outcome {
            Ok(body) => body,
            Err(failure) => return self.failed(desk, &call, failure),
        };
        match (call, body) {
            (Call::Look { settled }, Body::LeaseLife(life)) => {
                match life.filter(|life| life.remaining_seconds > 0) {
                    Some(life) => self.leased(desk, settled, true, life.keys),
                    None => self.grant(desk, settled),
                }
            }
            (Call::Grant { settled }, Body::Applied(Reply::LeaseGrant { .. })) => {
                self.leased(desk, settled, false, Vec::new());
            }
            (Call::Who, Body::Range(found)) => {
                let guard = found.kvs.first().map_or(0, |kv| kv.mod_revision.0);
                self.claim(desk, guard);
            }
            (Call::Claim, Body::Applied(Reply::Txn(reply))) if reply.succeeded => {
                if let Some(life) = &mut self.up {
                    life.session.present = reply.revision.0;
                }
                self.look(desk, true);
            }
            // Somebody wrote in between.
            (Call::Claim, Body::Applied(Reply::Txn(_))) => {
                self.leased(desk, false, true, Vec::new());
            }
            (Call::Values { adopted }, Body::Txn(reply)) => {
                let held = reply.replies.iter().filter_map(|reply| self.held(reply));
                let held = held.collect();
                self.tell_leased(desk, adopted, held);
            }
            (Call::Beat, Body::KeepAlive(0)) => self.over(desk, "the lease expired"),
            (Call::Beat, Body::KeepAlive(_)) => {
                let Some(life) = &mut self.up else { return };
                life.session.kept = true;
                let session = life.session.number;
                let period = self.period();
                self.later(desk, period, Fact::Beat { session });
            }
            (Call::Commit { token, keys }, Body::Applied(Reply::Txn(reply))) => {
                self.committed(desk, token, keys, &reply);
            }
            (Call::Check, Body::LeaseLife(Some(life))) if life.remaining_seconds > 0 => {
                let text = |key: &Bytes| String::from_utf8(key.to_vec()).ok();
                let keys = life.keys.iter().filter(|key| **key != self.presence);
                let keys = keys.filter_map(text).collect();
                self.step(desk, Input::OnLease(keys));
            }
            (Call::Check, _) => self.over(desk, "the lease expired"),
            (call, body) => {
                let why = format!("{body:?} to {call:?} at {revision}");
                self.over(desk, &why);
            }
        }
    }

    fn committed(
        &mut self,
        desk: &mut Desk<'_>,
        token: Token,
        keys: Vec<String>,
        reply: &TxnReply,
    ) {
        if reply.succeeded {
            let revision = reply.revision.0;
            self.step(desk, Input::Committed { token, revision });
            return;
        }
        let present = self.up.as_ref().map_or(0, |life| life.session.present);
        let found = reply.replies.last().and_then(found);
        if found.is_none_or(|kv| kv.mod_revision.0 != present) {
            self.over(desk, "another agent has taken over this node");
            return;
        }
        let actual = keys
            .into_iter()
            .zip(&reply.replies)
            .map(|(key, reply)| (key, self.held(reply).map(|(_, held)| held)))
            .collect();
        self.step(desk, Input::Conflicted { token, actual });
    }

    /// What a failure means to this call, as `store/client/src/failure.rs` sorts what members say.
    fn failed(&mut self, desk: &mut Desk<'_>, call: &Call, failure: Failure) {
        let busy = matches!(
            failure,
            Failure::TooManyRequests | Failure::Refused(Refusal::NoSpace)
        );
        let refused =
            matches!(failure, Failure::Refused(refusal) if refusal != Refusal::LeaseNotFound);
        match call {
            Call::Commit { token, .. } if busy || refused => {
                let (token, why) = (*token, format!("{failure:?}"));
                self.step(desk, Input::CommitFailed { token, why });
            }
            _ => self.over(desk, &format!("{failure:?}")),
        }
    }

    fn held(&self, reply: &TxnOpReply) -> Option<(String, Held)> {
        let kv = found(reply)?;
        let held = Held {
            value: kv.value.to_vec(),
            mod_revision: kv.mod_revision.0,
            leased: kv.lease.0 == self.lease,
        };
        Some((String::from_utf8(kv.key.to_vec()).ok()?, held))
    }
}

/// What a read inside a transaction found.
fn found(reply: &TxnOpReply) -> Option<&store_machine::reply::KeyValue> {
    match reply {
        TxnOpReply::Range(range) => range.kvs.first(),
        _ => None,
    }
}

/// Holds while nobody has written there since a revision.
fn unchanged(keys: KeyRange, revision: i64) -> Compare {
    Compare {
        keys,
        relation: Relation::Equal,
        target: CompareTarget::Mod(revision),
    }
}
