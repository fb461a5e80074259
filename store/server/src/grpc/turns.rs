//! Taking turns on keys below a prefix: whoever created its key first has the turn. What locks and
//! elections share; the layout of keys is that of etcd's client recipes, which do the same from outside.

use bytes::{BufMut as _, Bytes, BytesMut};
use store_machine::command::Command;
use store_machine::reply::{EventKind, KeyValue, RangeReply, Reply, TxnOpReply, TxnReply};
use store_machine::request::{
    Compare, CompareTarget, DeleteRequest, KeyRange, PutRequest, RangeEnd, RangeRequest, Relation,
    SortOrder, SortTarget, TxnOp, TxnRequest,
};
use store_machine::revision::{LeaseId, Revision};
use store_watch::batch::{Batch, SharedEvent, WatchId};
use store_watch::watcher::WatchSpec;
use tonic::Status;

use super::errors::{ApiError, status};
use super::kv;
use crate::call::Call;
use crate::handle::{Answer, Consistency, Header, WatchStream};

/// Time to live of a lease that is granted for a caller without one, in seconds: etcd's. Nobody keeps it
/// alive.
const LEASE_SECONDS: i64 = 60;

/// The lease to hold a key by.
pub(super) async fn lease(call: &Call, lease: i64) -> Result<LeaseId, Status> {
    if lease != 0 {
        return Ok(LeaseId(lease));
    }
    let granted = call.handle().lease_grant(LeaseId::NONE, LEASE_SECONDS);
    match granted.await.map_err(status)?.body {
        Reply::LeaseGrant { id, .. } => Ok(id),
        other => Err(kv::mismatch("lease grant", &other)),
    }
}

/// What all keys of a name begin with.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    let mut prefix = BytesMut::with_capacity(name.len() + 1);
    prefix.put_slice(name);
    prefix.put_u8(b'/');
    prefix.freeze()
}

/// The key of a lease below a prefix.
pub(super) fn key(prefix: &[u8], lease: LeaseId) -> Bytes {
    let sign = if lease.0 < 0 { "-" } else { "" };
    let mut key = BytesMut::from(prefix);
    key.put_slice(format!("{sign}{:x}", lease.0.unsigned_abs()).as_bytes());
    key.freeze()
}

/// Whether the key was created at this revision; 0 = whether there is none.
pub(super) fn created_at(key: &Bytes, revision: i64) -> Compare {
    Compare {
        keys: KeyRange::single(key.clone()),
        relation: Relation::Equal,
        target: CompareTarget::Create(revision),
    }
}

pub(super) fn put(key: &Bytes, value: Bytes, lease: LeaseId) -> TxnOp {
    TxnOp::Put(PutRequest {
        key: key.clone(),
        value,
        lease,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

pub(super) fn get(key: &Bytes) -> TxnOp {
    TxnOp::Range(RangeRequest::latest(KeyRange::single(key.clone())))
}

pub(super) fn delete(key: &Bytes) -> DeleteRequest {
    DeleteRequest {
        keys: KeyRange::single(key.clone()),
        prev_kv: false,
    }
}

/// The key below the prefix that was created first.
pub(super) fn first(prefix: &Bytes) -> RangeRequest {
    RangeRequest {
        limit: 1,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::Create,
        ..RangeRequest::latest(below(prefix))
    }
}

/// All keys that begin with the prefix, whose last byte is a slash.
pub(super) fn below(prefix: &Bytes) -> KeyRange {
    let mut end = BytesMut::from(&prefix[..prefix.len() - 1]);
    end.put_u8(b'/' + 1);
    KeyRange {
        start: prefix.clone(),
        end: RangeEnd::Before(end.freeze()),
    }
}

pub(super) async fn txn(call: &Call, txn: TxnRequest) -> Result<(Header, TxnReply), Status> {
    let answer = call.handle().propose(Command::Txn(txn)).await;
    let answer = answer.map_err(status)?;
    match answer.body {
        Reply::Txn(reply) => Ok((answer.header, reply)),
        other => Err(kv::mismatch("txn", &other)),
    }
}

pub(super) async fn read(call: &Call, range: RangeRequest) -> Result<Answer<RangeReply>, Status> {
    let answer = call.handle().range(range, Consistency::Linearizable).await;
    answer.map_err(status)
}

/// The first pair in the answer to an operation.
pub(super) fn pair(reply: &TxnReply, op: usize) -> Option<&KeyValue> {
    match reply.replies.get(op)? {
        TxnOpReply::Range(range) => range.kvs.first(),
        _ => None,
    }
}

/// Waits until no key below the prefix is left that was created at or before `revision`.
pub(super) async fn wait(call: &Call, prefix: &Bytes, revision: i64) -> Result<(), Status> {
    loop {
        let last = RangeRequest {
            limit: 1,
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Create,
            create_revision_max: revision,
            ..RangeRequest::latest(below(prefix))
        };
        let answer = read(call, last).await?;
        let Some(before) = answer.body.kvs.into_iter().next() else {
            return Ok(());
        };
        let start = Revision(answer.header.revision.0 + 1);
        let mut watched = Watched::new(call, KeyRange::single(before.key), start);
        loop {
            let (_, event) = watched.next(call).await?;
            if event.event.kind == EventKind::Delete {
                break;
            }
        }
    }
}

/// The events of a range, one by one.
pub(super) struct Watched {
    stream: WatchStream,
    events: std::collections::VecDeque<(Header, std::sync::Arc<SharedEvent>)>,
}

impl Watched {
    /// From a revision on. That the caller may read the keys has been judged with the read before.
    pub(super) fn new(call: &Call, keys: KeyRange, start: Revision) -> Self {
        let stream = call.handle().watch();
        stream.create(WatchSpec {
            keys,
            start,
            id: WatchId(0),
            no_put: false,
            no_delete: false,
            prev_kv: false,
            progress_notify: false,
            fragment: false,
        });
        Self {
            stream,
            events: std::collections::VecDeque::new(),
        }
    }

    /// The next event, with the header of its batch. Safe to cancel: an event is either still there
    /// or returned.
    pub(super) async fn next(
        &mut self,
        call: &Call,
    ) -> Result<(Header, std::sync::Arc<SharedEvent>), Status> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let batch = tokio::select! {
                biased;
                // Safe to cancel: it stays cancelled.
                () = call.closing.cancelled() => None,
                // Safe to cancel: a batch is either still queued or returned.
                batch = self.stream.next() => batch,
            };
            match batch {
                Some((
                    header,
                    Batch::Events {
                        revision, events, ..
                    },
                )) => {
                    let header = Header { revision, ..header };
                    self.events
                        .extend(events.into_iter().map(|event| (header, event)));
                }
                Some((_, Batch::Compacted { .. } | Batch::Refused { .. })) => {
                    return Err(ApiError::Compacted.into());
                }
                Some(_) => {}
                None => return Err(ApiError::Stopped.into()),
            }
        }
    }
}

/// A key that goes when its caller does: dropped before [`Claim::keep`], it deletes the key.
pub(super) struct Claim {
    call: Call,
    key: Option<Bytes>,
}

impl Claim {
    pub(super) fn new(call: &Call, key: &Bytes) -> Self {
        Self {
            call: call.clone(),
            key: Some(key.clone()),
        }
    }

    /// The caller has what it waited for.
    pub(super) fn keep(mut self) {
        self.key = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let call = self.call.clone();
        tokio::spawn(async move {
            // If it fails, the lease ends some time.
            let _ = call.handle().propose(Command::Delete(delete(&key))).await;
        });
    }
}
