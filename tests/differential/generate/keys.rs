//! Steps on keys: reads, writes, transactions, compactions.

use bytes::Bytes;
use rand::Rng as _;
use store_proto::etcdserverpb as pb;

use super::{Generator, Theme};
use crate::operation::{Act, COMPACTED, CURRENT};

/// 128: the servers' own default, in `--max-txn-ops`.
const TXN_OPS_MAX: usize = 128;
/// A value that three times over is more than a request may carry.
const LARGE: usize = 600_000;
/// One more than a request may have: 1.5 MiB, the servers' default.
const TOO_LARGE: usize = 1_572_864;
/// How deep transactions stand in one another.
const DEPTH_MAX: usize = 3;

const KEYS: [&[u8]; 14] = [
    b"a",
    b"ab",
    b"abc",
    b"b",
    b"b\xff",
    b"b\xff\xff",
    b"c",
    b"d/1",
    b"d/2",
    b"d/3",
    b"\0",
    b"\0\0",
    b"\xff",
    b"",
];

impl Generator {
    pub(super) fn key(&mut self) -> Vec<u8> {
        let key = self.pick(&KEYS);
        // Once in a while is enough for the one that is no key.
        if key.is_empty() && self.odds(70) {
            return b"a".to_vec();
        }
        if self.odds(1) {
            return b"long".repeat(2000);
        }
        key.to_vec()
    }

    fn value(&mut self) -> Bytes {
        match self.chance.random_range(0..1000) {
            0..4 => vec![b'v'; LARGE].into(),
            4 => vec![b'v'; TOO_LARGE].into(),
            5..100 => Bytes::new(),
            _ => {
                let number = self.chance.random_range(0..5);
                format!("v{number}").into()
            }
        }
    }

    /// A key and the end of a range: one key, a prefix, all from the key, or any end at all.
    pub(super) fn range_of_keys(&mut self) -> (Vec<u8>, Vec<u8>) {
        let key = self.key();
        let end = match self.chance.random_range(0..100) {
            0..40 => Vec::new(),
            40..60 => after_prefix(&key),
            60..80 => vec![0],
            _ => self.key(),
        };
        (key, end)
    }

    pub(super) fn keys(&mut self) -> Act {
        match self.chance.random_range(0..100) {
            0..28 => Act::Range(self.range()),
            28..56 => Act::Put(self.put()),
            56..68 => Act::Delete(self.delete()),
            68..94 => Act::Txn(self.sound_txn()),
            // Anybody may compact in 3.4 and 3.5.1.
            _ if matches!(self.theme, Theme::Auth) => Act::Range(self.range()),
            _ => Act::Compact(pb::CompactionRequest {
                revision: self.pick(&[
                    CURRENT,
                    CURRENT - 1,
                    CURRENT - 5,
                    CURRENT - 20,
                    CURRENT + 1,
                    COMPACTED,
                    COMPACTED - 1,
                    COMPACTED + 1,
                    0,
                    -1,
                    i64::MAX,
                ]),
                physical: self.odds(30),
            }),
        }
    }

    pub(super) fn range(&mut self) -> pb::RangeRequest {
        let (key, range_end) = self.range_of_keys();
        pb::RangeRequest {
            key: key.into(),
            range_end: range_end.into(),
            limit: self.pick(&[0, 0, 0, 1, 2, 3, 100, -1, i64::MAX, i64::MIN]),
            revision: self.revision(),
            sort_order: self.pick(&[0, 0, 1, 2]),
            sort_target: self.pick(&[0, 0, 1, 2, 3, 4]),
            serializable: self.odds(30),
            keys_only: self.odds(15),
            count_only: self.odds(15),
            min_mod_revision: self.bound(),
            max_mod_revision: self.bound(),
            min_create_revision: self.bound(),
            max_create_revision: self.bound(),
        }
    }

    pub(super) fn put(&mut self) -> pb::PutRequest {
        let ignore_value = self.odds(8);
        let ignore_lease = self.odds(8);
        pb::PutRequest {
            key: self.key().into(),
            value: if ignore_value && self.odds(80) {
                Bytes::new()
            } else {
                self.value()
            },
            lease: if self.odds(if ignore_lease { 5 } else { 20 }) {
                self.lease_id()
            } else {
                0
            },
            prev_kv: self.odds(30),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> pb::DeleteRangeRequest {
        let (key, range_end) = self.range_of_keys();
        pb::DeleteRangeRequest {
            key: key.into(),
            range_end: range_end.into(),
            prev_kv: self.odds(40),
        }
    }

    /// A transaction that both are to take alike.
    fn sound_txn(&mut self) -> pb::TxnRequest {
        loop {
            let txn = self.txn(0);
            if [&txn.success, &txn.failure]
                .into_iter()
                .all(|branch| !deletes_after_inner_put(branch) && !puts_under_open_delete(branch))
            {
                return txn;
            }
        }
    }

    fn txn(&mut self, depth: usize) -> pb::TxnRequest {
        if depth == 0 && self.odds(2) {
            // One more than there may be, or just as many.
            let count = TXN_OPS_MAX + usize::from(self.odds(50));
            let range = pb::request_op::Request::RequestRange(pb::RangeRequest {
                key: "a".into(),
                ..Default::default()
            });
            return pb::TxnRequest {
                success: vec![
                    pb::RequestOp {
                        request: Some(range)
                    };
                    count
                ],
                ..Default::default()
            };
        }
        let compares = self.pick(&[0, 1, 1, 2]);
        let successes = self.pick(&[0, 1, 1, 2, 3]);
        let failures = self.pick(&[0, 0, 1, 2]);
        pb::TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: (0..successes).map(|_| self.op(depth)).collect(),
            failure: (0..failures).map(|_| self.op(depth)).collect(),
        }
    }

    fn op(&mut self, depth: usize) -> pb::RequestOp {
        use pb::request_op::Request;
        let request = match self.chance.random_range(0..100) {
            0 => None,
            1..35 => Some(Request::RequestPut(self.put())),
            35..65 => Some(Request::RequestRange(self.range())),
            65..82 => Some(Request::RequestDeleteRange(self.delete())),
            // Nobody asks there who may, in 3.4 and 3.5.1.
            _ if depth < DEPTH_MAX && !matches!(self.theme, Theme::Auth) => {
                Some(Request::RequestTxn(self.txn(depth + 1)))
            }
            _ => Some(Request::RequestPut(self.put())),
        };
        pb::RequestOp { request }
    }

    fn compare(&mut self) -> pb::Compare {
        use pb::compare::TargetUnion;
        let (key, range_end) = if self.odds(70) {
            (self.key(), Vec::new())
        } else {
            self.range_of_keys()
        };
        let target = self.chance.random_range(0..5);
        // Now and then what is given is for another target than the named one, or nothing.
        let given = if self.odds(95) {
            target
        } else {
            self.chance.random_range(0..6)
        };
        let number = self.pick(&[0, 0, 1, 2, CURRENT, CURRENT - 1, CURRENT - 3, -1]);
        let small = self.pick(&[0, 0, 1, 1, 2, 3, -1]);
        let target_union = match given {
            0 => Some(TargetUnion::Version(small)),
            1 => Some(TargetUnion::CreateRevision(number)),
            2 => Some(TargetUnion::ModRevision(number)),
            3 => Some(TargetUnion::Value(self.value())),
            4 => Some(TargetUnion::Lease(if self.odds(50) {
                0
            } else {
                self.lease_id()
            })),
            _ => None,
        };
        pb::Compare {
            result: self.chance.random_range(0..4),
            target,
            key: key.into(),
            range_end: range_end.into(),
            target_union,
        }
    }
}

/// The end of the range of all keys that begin with `prefix`, as clients compute it.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// Does an inner transaction put a key that a later one of the same branch deletes? etcd lets that pass, by the order of
/// its search; here a revision changes a key once.
fn deletes_after_inner_put(ops: &[pb::RequestOp]) -> bool {
    use pb::request_op::Request;
    let mut puts: Vec<Bytes> = Vec::new();
    for op in ops {
        let Some(Request::RequestTxn(inner)) = &op.request else {
            continue;
        };
        if deletes_after_inner_put(&inner.success) || deletes_after_inner_put(&inner.failure) {
            return true;
        }
        let mut writes = Writes::default();
        writes.note(inner);
        if puts.iter().any(|key| writes.deletes(key)) {
            return true;
        }
        puts.extend(writes.puts);
    }
    false
}

/// Is a key put that a delete without an end takes away? etcd's check takes that delete for an empty one.
fn puts_under_open_delete(ops: &[pb::RequestOp]) -> bool {
    let mut writes = Writes::default();
    writes.note(&pb::TxnRequest {
        success: ops.to_vec(),
        ..Default::default()
    });
    writes.deletes.retain(|(_, end)| end[..] == [0]);
    writes.puts.iter().any(|key| writes.deletes(key))
}

#[derive(Default)]
struct Writes {
    puts: Vec<Bytes>,
    deletes: Vec<(Bytes, Bytes)>,
}

impl Writes {
    fn note(&mut self, txn: &pb::TxnRequest) {
        use pb::request_op::Request;
        for op in txn.success.iter().chain(&txn.failure) {
            match &op.request {
                Some(Request::RequestPut(put)) => self.puts.push(put.key.clone()),
                Some(Request::RequestDeleteRange(delete)) => self
                    .deletes
                    .push((delete.key.clone(), delete.range_end.clone())),
                Some(Request::RequestTxn(inner)) => self.note(inner),
                _ => {}
            }
        }
    }

    fn deletes(&self, key: &Bytes) -> bool {
        self.deletes.iter().any(|(start, end)| {
            if end.is_empty() {
                start == key
            } else {
                start <= key && (end[..] == [0] || key < end)
            }
        })
    }
}
