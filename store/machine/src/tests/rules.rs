//! The rules of the reference, row by row: A.2 range, A.3 put and delete, A.4 transactions, A.5
//! compaction, A.7 leases, A.9 alarms and quota; and what members compare.

mod compaction;
mod integrity;
mod leases;
mod ranges;
mod space;
mod transactions;
mod writes;

use bytes::Bytes;

use crate::command::Command;
use crate::error::Refusal;
use crate::reply::*;
use crate::request::*;
use crate::revision::{Index, LeaseId, Revision};
use crate::{Limits, Machine};

/// A machine that numbers its commands itself.
struct Store {
    machine: Machine,
}

impl Store {
    fn new() -> Self {
        Self::with_quota(u64::MAX)
    }

    fn with_quota(quota_bytes: u64) -> Self {
        Self {
            machine: Machine::new(Limits { quota_bytes }),
        }
    }

    fn apply(&mut self, command: Command) -> Applied {
        self.machine
            .apply(Index(self.machine.applied().0 + 1), command)
    }

    fn reply(&mut self, command: Command) -> Result<Reply, Refusal> {
        self.apply(command).reply
    }

    fn put(&mut self, key: &str, value: &str) -> Revision {
        self.apply(Command::Put(put(key, value))).revision
    }

    fn delete(&mut self, key: &str) -> Revision {
        self.apply(Command::Delete(DeleteRequest {
            keys: one(key),
            prev_kv: false,
        }))
        .revision
    }

    fn txn(&mut self, txn: TxnRequest) -> Result<TxnReply, Refusal> {
        match self.reply(Command::Txn(txn))? {
            Reply::Txn(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    fn compact(&mut self, revision: i64) -> Result<(), Refusal> {
        self.reply(Command::Compact {
            revision: Revision(revision),
        })
        .map(drop)
    }

    fn grant(&mut self, id: i64) -> Result<Reply, Refusal> {
        self.reply(Command::LeaseGrant {
            id: LeaseId(id),
            ttl_seconds: 10,
        })
    }

    fn revoke(&mut self, id: i64) -> Applied {
        self.apply(Command::LeaseRevoke {
            id: LeaseId(id),
            term: 0,
        })
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeReply, Refusal> {
        self.machine.range(request)
    }

    /// Keys of a range at the latest revision.
    fn keys(&self, keys: KeyRange) -> Vec<String> {
        names(&self.range(&RangeRequest::latest(keys)).unwrap().kvs)
    }

    fn get(&self, key: &str) -> Option<KeyValue> {
        self.range(&RangeRequest::latest(one(key)))
            .unwrap()
            .kvs
            .pop()
    }

    /// The pair at a revision.
    fn get_at(&self, key: &str, revision: i64) -> Result<Option<String>, Refusal> {
        let request = RangeRequest {
            revision: Revision(revision),
            ..RangeRequest::latest(one(key))
        };
        Ok(self.range(&request)?.kvs.pop().map(|kv| text(&kv.value)))
    }

    /// Events from a revision on, as "+key@revision" and "-key@revision", "<" where there is a
    /// former pair.
    fn events(&self, from: i64) -> Result<Vec<String>, Refusal> {
        let events = super::dump::events(&self.machine, from, i64::MAX)?;
        Ok(events.iter().map(told).collect())
    }
}

fn told(event: &Event) -> String {
    let sign = match event.kind {
        EventKind::Put => "+",
        EventKind::Delete => "-",
    };
    let prev = if event.prev.is_some() { "<" } else { "" };
    format!(
        "{sign}{}@{}{prev}",
        text(&event.kv.key),
        event.kv.mod_revision
    )
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn names(kvs: &[KeyValue]) -> Vec<String> {
    kvs.iter().map(|kv| text(&kv.key)).collect()
}

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: bytes(key),
        value: bytes(value),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    }
}

fn leased(key: &str, lease: i64) -> Command {
    Command::Put(PutRequest {
        lease: LeaseId(lease),
        ..put(key, "v")
    })
}

pub(crate) fn one(key: &str) -> KeyRange {
    KeyRange::single(bytes(key))
}

pub(crate) fn between(start: &str, end: &str) -> KeyRange {
    KeyRange {
        start: bytes(start),
        end: RangeEnd::Before(bytes(end)),
    }
}

fn from(start: &str) -> KeyRange {
    KeyRange {
        start: bytes(start),
        end: RangeEnd::Open,
    }
}
