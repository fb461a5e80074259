//! Transactions: which branches run, whether they may, and running them.
//!
//! Three passes, so that a refused transaction changes nothing and needs no undoing: choose every
//! branch on the state before the transaction, check every operation that can refuse, then run.

use std::ops::ControlFlow;

use crate::apply::Writes;
use crate::error::Refusal;
use crate::lease::Leases;
use crate::mvcc::Keyspace;
use crate::reply::{KeyValue, TxnOpReply, TxnReply};
use crate::request::{Compare, CompareTarget, PutRequest, RangeEnd, Relation, TxnOp, TxnRequest};
use crate::revision::Revision;

/// The branch of one transaction, and those of the transactions nested in it.
pub(crate) struct Chosen<'a> {
    succeeded: bool,
    pub(crate) ops: &'a [TxnOp],
    /// One for each nested transaction of `ops`, in their order.
    nested: Vec<Chosen<'a>>,
}

/// Evaluates every compare on the path, before anything is written.
pub(crate) fn choose<'a>(txn: &'a TxnRequest, keyspace: &Keyspace) -> Chosen<'a> {
    let succeeded = txn.compare.iter().all(|compare| holds(compare, keyspace));
    let ops = if succeeded {
        &txn.success
    } else {
        &txn.failure
    };
    let nested = ops
        .iter()
        .filter_map(|op| match op {
            TxnOp::Txn(nested) => Some(choose(nested, keyspace)),
            _ => None,
        })
        .collect();
    Chosen {
        succeeded,
        ops,
        nested,
    }
}

/// Whether the condition holds for every key of its range.
fn holds(compare: &Compare, keyspace: &Keyspace) -> bool {
    if compare.keys.end == RangeEnd::Single {
        return holds_for(compare, keyspace.get(&compare.keys.start).as_ref());
    }
    let mut found = false;
    let mut all = true;
    keyspace.walk(&compare.keys, |kv| {
        found = true;
        all = holds_for(compare, Some(&kv));
        if all {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    if found { all } else { holds_for(compare, None) }
}

/// A missing key has no value, so nothing can be said of it; its numbers are 0.
fn holds_for(compare: &Compare, kv: Option<&KeyValue>) -> bool {
    let number = |of: fn(&KeyValue) -> i64| kv.map_or(0, of);
    let ordering = match &compare.target {
        CompareTarget::Value(given) => match kv {
            None => return false,
            Some(kv) => kv.value.cmp(given),
        },
        CompareTarget::Version(given) => number(|kv| kv.version).cmp(given),
        CompareTarget::Create(given) => number(|kv| kv.create_revision.0).cmp(given),
        CompareTarget::Mod(given) => number(|kv| kv.mod_revision.0).cmp(given),
        CompareTarget::Lease(given) => number(|kv| kv.lease.0).cmp(given),
    };
    match compare.relation {
        Relation::Equal => ordering.is_eq(),
        Relation::Greater => ordering.is_gt(),
        Relation::Less => ordering.is_lt(),
        Relation::NotEqual => ordering.is_ne(),
    }
}

/// Finds the first operation that would be refused. Reads at an explicit revision are judged by
/// the state before the transaction: applying must not find out half way (etcd issues 18667, 21432).
pub(crate) fn check(
    chosen: &Chosen<'_>,
    keyspace: &Keyspace,
    leases: &Leases,
) -> Result<(), Refusal> {
    Check {
        keyspace,
        leases,
        written: Vec::new(),
    }
    .puts(chosen)?;
    ranges(chosen, keyspace)
}

/// The reads of a transaction, judged after its writes: where both would be refused, etcd names the write.
fn ranges(chosen: &Chosen<'_>, keyspace: &Keyspace) -> Result<(), Refusal> {
    let mut nested = chosen.nested.iter();
    for op in chosen.ops {
        match op {
            TxnOp::Range(range) => keyspace.check_within(range.revision)?,
            TxnOp::Txn(_) => nested
                .next()
                .map_or(Ok(()), |chosen| ranges(chosen, keyspace))?,
            TxnOp::Put(_) | TxnOp::Delete(_) => {}
        }
    }
    Ok(())
}

struct Check<'a> {
    keyspace: &'a Keyspace,
    leases: &'a Leases,
    /// Puts and deletes that come before the operation under check.
    written: Vec<&'a TxnOp>,
}

impl<'a> Check<'a> {
    fn puts(&mut self, chosen: &Chosen<'a>) -> Result<(), Refusal> {
        let mut nested = chosen.nested.iter();
        for op in chosen.ops {
            match op {
                TxnOp::Range(_) => {}
                TxnOp::Put(put) => {
                    self.put(put)?;
                    self.written.push(op);
                }
                TxnOp::Delete(_) => self.written.push(op),
                TxnOp::Txn(_) => {
                    if let Some(chosen) = nested.next() {
                        self.puts(chosen)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn put(&self, put: &PutRequest) -> Result<(), Refusal> {
        if (put.ignore_value || put.ignore_lease) && !self.exists(put) {
            return Err(Refusal::KeyNotFound);
        }
        if put.ignore_lease {
            Ok(())
        } else {
            self.leases.check(put.lease)
        }
    }

    /// Whether the key is there when its turn comes.
    fn exists(&self, put: &PutRequest) -> bool {
        let touched = self.written.iter().rev().find_map(|op| match op {
            TxnOp::Put(earlier) => (earlier.key == put.key).then_some(true),
            TxnOp::Delete(delete) => delete.keys.contains(&put.key).then_some(false),
            TxnOp::Range(_) | TxnOp::Txn(_) => None,
        });
        touched.unwrap_or_else(|| self.keyspace.exists(&put.key))
    }
}

/// Runs a checked transaction. The revisions in the reply are left to [`stamp`].
pub(crate) fn run(chosen: &Chosen<'_>, writes: &mut Writes<'_>) -> Result<TxnReply, Refusal> {
    let mut nested = chosen.nested.iter();
    let mut replies = Vec::with_capacity(chosen.ops.len());
    for op in chosen.ops {
        replies.push(match op {
            TxnOp::Range(range) => TxnOpReply::Range(writes.keyspace.range(range)?),
            TxnOp::Put(put) => TxnOpReply::Put(writes.put(put)),
            TxnOp::Delete(delete) => TxnOpReply::Delete(writes.delete(delete)),
            TxnOp::Txn(_) => match nested.next() {
                Some(chosen) => TxnOpReply::Txn(run(chosen, writes)?),
                None => continue,
            },
        });
    }
    Ok(TxnReply {
        succeeded: chosen.succeeded,
        replies,
        revision: Revision(0),
    })
}

/// Runs a transaction that writes nothing.
pub(crate) fn read(chosen: &Chosen<'_>, keyspace: &Keyspace) -> Result<TxnReply, Refusal> {
    let mut nested = chosen.nested.iter();
    let mut replies = Vec::with_capacity(chosen.ops.len());
    for op in chosen.ops {
        match op {
            TxnOp::Range(range) => replies.push(TxnOpReply::Range(keyspace.range(range)?)),
            TxnOp::Txn(_) => {
                if let Some(chosen) = nested.next() {
                    replies.push(TxnOpReply::Txn(read(chosen, keyspace)?));
                }
            }
            TxnOp::Put(_) | TxnOp::Delete(_) => {
                debug_assert!(false, "a transaction with writes was run as a read");
            }
        }
    }
    Ok(TxnReply {
        succeeded: chosen.succeeded,
        replies,
        revision: Revision(0),
    })
}

/// Writes the store's revision after the transaction into the reply and all nested ones.
pub(crate) fn stamp(reply: &mut TxnReply, revision: Revision) {
    reply.revision = revision;
    for reply in &mut reply.replies {
        if let TxnOpReply::Txn(nested) = reply {
            stamp(nested, revision);
        }
    }
}
