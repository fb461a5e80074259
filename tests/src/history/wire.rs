//! The client crate's words as the checker's.

use std::sync::Arc;

use bytes::Bytes;
use etcd_client::{EventType, TxnOpResponse, WatchResponse};
use store_sim::recorded::{
    Batch, DeleteReply, Event, EventKind, Failure, Header, KeyValue, LeaseId, PutReply, RangeReply,
    Refusal, Revision, SharedEvent, TxnOpReply, TxnReply, WatchId,
};

pub(crate) fn header(header: Option<&etcd_client::ResponseHeader>) -> Header {
    header.map_or_else(Header::default, |header| Header {
        cluster: header.cluster_id(),
        member: header.member_id(),
        revision: Revision(header.revision()),
        term: header.raft_term(),
    })
}

fn pair(pair: &etcd_client::KeyValue) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(pair.key()),
        create_revision: Revision(pair.create_revision()),
        mod_revision: Revision(pair.mod_revision()),
        version: pair.version(),
        value: Bytes::copy_from_slice(pair.value()),
        lease: LeaseId(pair.lease()),
    }
}

pub(crate) fn put(response: &etcd_client::PutResponse) -> PutReply {
    PutReply {
        prev: response.prev_key().map(pair),
    }
}

pub(crate) fn range(response: &etcd_client::GetResponse) -> RangeReply {
    RangeReply {
        kvs: response.kvs().iter().map(pair).collect(),
        more: response.more(),
        count: response.count().unsigned_abs(),
    }
}

pub(crate) fn delete(response: &etcd_client::DeleteResponse) -> DeleteReply {
    DeleteReply {
        deleted: response.deleted().unsigned_abs(),
        prev: response.prev_kvs().iter().map(pair).collect(),
    }
}

pub(crate) fn txn(response: &etcd_client::TxnResponse) -> TxnReply {
    let replies = response.op_responses();
    TxnReply {
        succeeded: response.succeeded(),
        replies: replies.iter().map(op).collect(),
        revision: header(response.header()).revision,
    }
}

fn op(response: &TxnOpResponse) -> TxnOpReply {
    match response {
        TxnOpResponse::Put(response) => TxnOpReply::Put(put(response)),
        TxnOpResponse::Get(response) => TxnOpReply::Range(range(response)),
        TxnOpResponse::Delete(response) => TxnOpReply::Delete(delete(response)),
        TxnOpResponse::Txn(response) => TxnOpReply::Txn(txn(response)),
    }
}

pub(crate) fn event(event: &etcd_client::Event) -> Event {
    Event {
        kind: match event.event_type() {
            EventType::Put => EventKind::Put,
            EventType::Delete => EventKind::Delete,
        },
        kv: event.kv().map(pair).unwrap_or_default(),
        prev: event.prev_kv().map(pair),
    }
}

/// What a watcher of its own stream is shown.
pub(crate) fn batch(response: &WatchResponse, prev_kv: bool) -> Batch {
    let id = WatchId(response.watch_id());
    let revision = header(response.header()).revision;
    if response.compact_revision() > 0 {
        let compacted = Revision(response.compact_revision());
        Batch::Compacted { id, compacted }
    } else if response.canceled() {
        Batch::Canceled { id, revision }
    } else if response.created() {
        Batch::Created { id, revision }
    } else if response.events().is_empty() {
        Batch::Progress { id, revision }
    } else {
        let events = response.events().iter().map(event);
        Batch::Events {
            id,
            revision,
            events: events
                .map(|event| Arc::new(SharedEvent::new(event)))
                .collect(),
            prev_kv,
            fragment: false,
        }
    }
}

/// What a failure says for certain. `None`: it leaves open what has happened.
pub(crate) fn failure(error: &etcd_client::Error) -> Option<Failure> {
    let etcd_client::Error::GRpcStatus(status) = error else {
        return None;
    };
    Some(match status.message() {
        "etcdserver: no leader" => Failure::NoLeader,
        "etcdserver: too many requests" => Failure::TooManyRequests,
        "etcdserver: requested lease not found" => Failure::Refused(Refusal::LeaseNotFound),
        "etcdserver: mvcc: database space exceeded" => Failure::Refused(Refusal::NoSpace),
        "etcdserver: mvcc: required revision has been compacted" => {
            Failure::Refused(Refusal::Compacted)
        }
        _ => return None,
    })
}
