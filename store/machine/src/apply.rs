//! Applying commands: what each does to keyspace, leases, alarms and members.
//!
//! Control flow of a command is here: refuse or do, end the revision, answer. How things are stored
//! is `mvcc`'s, what a transaction means is `txn`'s.

use std::sync::Arc;

use crate::Machine;
use crate::alarm::{Alarm, AlarmKind};
use crate::auth::Access;
use crate::command::{Command, MemberChange, SpaceChange};
use crate::error::Refusal;
use crate::lease::Leases;
use crate::mvcc::Keyspace;
use crate::quota;
use crate::reply::{Applied, DeleteReply, Event, PutReply, Reply};
use crate::request::{DeleteRequest, KeyRange, PutRequest, TxnRequest};
use crate::revision::{Index, LeaseId, Revision};
use crate::txn;

/// The parts a write touches, and the events it makes.
pub(crate) struct Writes<'a> {
    pub(crate) keyspace: &'a mut Keyspace,
    pub(crate) leases: &'a mut Leases,
    pub(crate) events: &'a mut Vec<Event>,
}

impl Writes<'_> {
    /// Puts; that it may has been checked.
    pub(crate) fn put(&mut self, put: &PutRequest) -> PutReply {
        let current = (put.ignore_value || put.ignore_lease)
            .then(|| self.keyspace.get(&put.key))
            .flatten();
        let value = match &current {
            Some(current) if put.ignore_value => current.value.clone(),
            _ => put.value.clone(),
        };
        let lease = match &current {
            Some(current) if put.ignore_lease => current.lease,
            _ => put.lease,
        };
        let event = self.keyspace.put(&put.key, value, lease);
        let lease_before = event.prev.as_ref().map_or(LeaseId::NONE, |prev| prev.lease);
        self.leases.attach(&put.key, lease_before, lease);
        let prev = if put.prev_kv {
            event.prev.clone()
        } else {
            None
        };
        self.events.push(event);
        PutReply { prev }
    }

    /// Deletes what there is.
    pub(crate) fn delete(&mut self, delete: &DeleteRequest) -> DeleteReply {
        let events = self.keyspace.delete(&delete.keys);
        for prev in events.iter().filter_map(|event| event.prev.as_ref()) {
            self.leases.attach(&prev.key, prev.lease, LeaseId::NONE);
        }
        let deleted = events.len() as u64;
        let prev = if delete.prev_kv {
            events
                .iter()
                .filter_map(|event| event.prev.clone())
                .collect()
        } else {
            Vec::new()
        };
        self.events.extend(events);
        DeleteReply { deleted, prev }
    }
}

impl Machine {
    /// Applies the command at `index`.
    ///
    /// # Panics
    /// When `index` does not lie above [`Machine::applied`]: an entry applied twice is damage.
    pub fn apply(&mut self, index: Index, command: Command) -> Applied {
        self.pass(index);
        let mut events = Vec::new();
        let reply = self.judge(command, &mut events);
        let revision = self.keyspace.revision();
        if !events.is_empty() {
            self.trail.note(revision, &events);
        }
        Applied {
            revision,
            reply,
            events,
        }
    }

    /// Runs it if whoever is behind it may.
    fn judge(&mut self, command: Command, events: &mut Vec<Event>) -> Result<Reply, Refusal> {
        let (actor, command) = match command {
            Command::As { actor, command } => (Some(actor), *command),
            command => (None, command),
        };
        self.authorize(actor.as_ref(), Access::Command(&command))?;
        self.run(command, events)
    }

    fn run(&mut self, command: Command, events: &mut Vec<Event>) -> Result<Reply, Refusal> {
        match command {
            // No log holds one inside another.
            Command::As { command, .. } => self.run(*command, events),
            Command::Put(put) => self.put(&put, events),
            Command::Delete(delete) => self.delete(&delete, events),
            Command::Txn(txn) => self.txn(&txn, events),
            Command::Compact { revision } => self.compact(revision),
            Command::LeaseGrant { id, ttl_seconds } => self.lease_grant(id, ttl_seconds),
            Command::LeaseRevoke { id, term } => self.lease_revoke(id, term, events),
            Command::LeaseCheckpoint { remaining, term } => {
                self.leases.check_term(term)?;
                self.leases.checkpoint(&remaining);
                Ok(Reply::LeaseCheckpoint)
            }
            Command::AlarmRaise { member, kind } => {
                let alarm = Alarm { member, kind };
                self.alarms.raise(alarm);
                Ok(Reply::Alarm(vec![alarm]))
            }
            Command::AlarmClear { member, kind } => {
                let alarm = Alarm { member, kind };
                let cleared = self.alarms.clear(alarm);
                Ok(Reply::Alarm(if cleared { vec![alarm] } else { Vec::new() }))
            }
            Command::Space(change) => {
                match change {
                    SpaceChange::Quota { bytes } => self.quota_bytes = bytes,
                    SpaceChange::Full { member } => self.alarms.fill(member),
                    SpaceChange::Free => self.alarms.free(),
                }
                Ok(Reply::Alarm(self.alarms()))
            }
            Command::MemberPublish {
                id,
                name,
                client_urls,
            } => {
                self.members.publish(id, name, client_urls)?;
                Ok(Reply::MemberPublish)
            }
            Command::Members(change) => {
                let removed = match &change {
                    MemberChange::Remove { id } => Some(*id),
                    _ => None,
                };
                self.members.change(change)?;
                if let Some(id) = removed {
                    self.alarms.forget(id);
                }
                Ok(Reply::Members(self.members()))
            }
            Command::Auth(change) => {
                Arc::make_mut(&mut self.auth).change(change)?;
                Ok(Reply::Auth)
            }
        }
    }

    fn put(&mut self, put: &PutRequest, events: &mut Vec<Event>) -> Result<Reply, Refusal> {
        self.check_sound()?;
        self.check_space(quota::put_cost(put))?;
        // The lease before the key, as etcd has it; within a transaction it is the other way round.
        self.leases.check(put.lease)?;
        if (put.ignore_value || put.ignore_lease) && !self.keyspace.exists(&put.key) {
            return Err(Refusal::KeyNotFound);
        }
        let reply = self.writes(events).put(put);
        self.keyspace.commit();
        Ok(Reply::Put(reply))
    }

    fn delete(
        &mut self,
        delete: &DeleteRequest,
        events: &mut Vec<Event>,
    ) -> Result<Reply, Refusal> {
        self.check_sound()?;
        let reply = self.writes(events).delete(delete);
        self.keyspace.commit();
        Ok(Reply::Delete(reply))
    }

    fn txn(&mut self, txn: &TxnRequest, events: &mut Vec<Event>) -> Result<Reply, Refusal> {
        self.check_sound()?;
        if quota::has_put(&txn.success) || quota::has_put(&txn.failure) {
            let cost = quota::ops_cost(&txn.success).max(quota::ops_cost(&txn.failure));
            self.check_space(cost)?;
        }
        let chosen = txn::choose(txn, &self.keyspace);
        txn::check(&chosen, &self.keyspace, &self.leases)?;
        let mut reply = txn::run(&chosen, &mut self.writes(events))?;
        self.keyspace.commit();
        txn::stamp(&mut reply, self.keyspace.revision());
        Ok(Reply::Txn(reply))
    }

    fn compact(&mut self, revision: Revision) -> Result<Reply, Refusal> {
        self.check_sound()?;
        self.keyspace.compact(revision)?;
        Ok(Reply::Compact)
    }

    fn lease_grant(&mut self, id: LeaseId, ttl_seconds: i64) -> Result<Reply, Refusal> {
        self.check_sound()?;
        self.check_space(quota::LEASE_BYTES)?;
        self.leases.grant(id, ttl_seconds)?;
        Ok(Reply::LeaseGrant { id, ttl_seconds })
    }

    fn lease_revoke(
        &mut self,
        id: LeaseId,
        term: u64,
        events: &mut Vec<Event>,
    ) -> Result<Reply, Refusal> {
        self.check_sound()?;
        if self.leases.get(id).is_none() {
            return Err(Refusal::LeaseNotFound);
        }
        self.leases.check_term(term)?;
        let keys = self.leases.keys(id);
        let mut writes = self.writes(events);
        for key in keys {
            writes.delete(&DeleteRequest {
                keys: KeyRange::single(key),
                prev_kv: false,
            });
        }
        self.keyspace.commit();
        self.leases.remove(id);
        Ok(Reply::LeaseRevoke)
    }

    fn writes<'a>(&'a mut self, events: &'a mut Vec<Event>) -> Writes<'a> {
        Writes {
            keyspace: &mut self.keyspace,
            leases: &mut self.leases,
            events,
        }
    }

    /// Refuses when nobody can say what is right: see [`Machine::unsound`].
    pub(crate) fn check_sound(&self) -> Result<(), Refusal> {
        if self.unsound() {
            Err(Refusal::Corrupt)
        } else {
            Ok(())
        }
    }

    /// Refuses what grows a full store.
    fn check_space(&self, cost: u64) -> Result<(), Refusal> {
        let full = self.alarms.any(AlarmKind::NoSpace)
            || (self.quota_bytes != u64::MAX
                && self.size_bytes().saturating_add(cost) >= self.quota_bytes);
        if full { Err(Refusal::NoSpace) } else { Ok(()) }
    }
}
