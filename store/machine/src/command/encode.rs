//! Writing the byte form.
//!
//! Numbers are varints, byte strings carry their length. In a put the two lengths come first, so
//! that key and value end the entry side by side:
//!
//! ```text
//! 01 | 01 | flags | lease | key length | value length | key … | value …
//! ^    ^ kind (put)
//! ^ format
//! ```

use super::{Command, FORMAT, MemberChange, SpaceChange, flag, op_tag, tag};
use crate::alarm::AlarmKind;
use crate::request::{
    Compare, CompareTarget, DeleteRequest, KeyRange, PutRequest, RangeEnd, RangeRequest, Relation,
    SortOrder, SortTarget, TxnOp, TxnRequest,
};
use crate::varint::{put_bytes, put_i64, put_u64};

impl Command {
    /// Appends the byte form to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        self.encode_kind(out);
    }

    fn encode_kind(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put(put) => {
                out.push(tag::PUT);
                encode_put(put, out);
            }
            Self::Delete(delete) => {
                out.push(tag::DELETE);
                encode_delete(delete, out);
            }
            Self::Txn(txn) => {
                out.push(tag::TXN);
                encode_txn(txn, out);
            }
            Self::Compact { revision } => {
                out.push(tag::COMPACT);
                put_i64(out, revision.0);
            }
            Self::LeaseGrant { id, ttl_seconds } => {
                out.push(tag::LEASE_GRANT);
                put_i64(out, id.0);
                put_i64(out, *ttl_seconds);
            }
            Self::LeaseRevoke { id, term } => {
                out.push(tag::LEASE_REVOKE);
                put_i64(out, id.0);
                put_u64(out, *term);
            }
            Self::LeaseCheckpoint { remaining, term } => {
                out.push(tag::LEASE_CHECKPOINT);
                put_u64(out, *term);
                put_u64(out, remaining.len() as u64);
                for (id, seconds) in remaining {
                    put_i64(out, id.0);
                    put_i64(out, *seconds);
                }
            }
            Self::AlarmRaise { member, kind } => {
                out.push(tag::ALARM_RAISE);
                put_u64(out, *member);
                out.push(alarm_byte(*kind));
            }
            Self::AlarmClear { member, kind } => {
                out.push(tag::ALARM_CLEAR);
                put_u64(out, *member);
                out.push(alarm_byte(*kind));
            }
            Self::Space(SpaceChange::Quota { bytes }) => {
                out.push(tag::SPACE_QUOTA);
                put_u64(out, *bytes);
            }
            Self::Space(SpaceChange::Full { member }) => {
                out.push(tag::SPACE_FULL);
                put_u64(out, *member);
            }
            Self::Space(SpaceChange::Free) => out.push(tag::SPACE_FREE),
            Self::MemberPublish {
                id,
                name,
                client_urls,
            } => {
                out.push(tag::MEMBER_PUBLISH);
                put_u64(out, *id);
                put_bytes(out, name.as_bytes());
                put_texts(client_urls, out);
            }
            Self::Members(change) => encode_change(change, out),
            Self::Auth(change) => {
                out.push(tag::AUTH);
                change.write(out);
            }
            Self::As { actor, command } => {
                out.push(tag::AS);
                actor.encode(out);
                command.encode_kind(out);
            }
        }
    }
}

fn encode_change(change: &MemberChange, out: &mut Vec<u8>) {
    match change {
        MemberChange::Add(member) => {
            out.push(tag::MEMBER_ADD);
            put_u64(out, member.id);
            put_bytes(out, member.name.as_bytes());
            put_texts(&member.peer_urls, out);
            put_texts(&member.client_urls, out);
            out.push(u8::from(member.learner));
        }
        MemberChange::Remove { id } => {
            out.push(tag::MEMBER_REMOVE);
            put_u64(out, *id);
        }
        MemberChange::Update { id, peer_urls } => {
            out.push(tag::MEMBER_UPDATE);
            put_u64(out, *id);
            put_texts(peer_urls, out);
        }
        MemberChange::Promote { id } => {
            out.push(tag::MEMBER_PROMOTE);
            put_u64(out, *id);
        }
    }
}

fn put_texts(texts: &[String], out: &mut Vec<u8>) {
    put_u64(out, texts.len() as u64);
    for text in texts {
        put_bytes(out, text.as_bytes());
    }
}

fn encode_put(put: &PutRequest, out: &mut Vec<u8>) {
    let flags = bit(put.prev_kv, flag::PREV_KV)
        | bit(put.ignore_value, flag::IGNORE_VALUE)
        | bit(put.ignore_lease, flag::IGNORE_LEASE);
    // Flags, lease and two lengths rarely take more than sixteen bytes.
    out.reserve(16 + put.key.len() + put.value.len());
    out.push(flags);
    put_i64(out, put.lease.0);
    put_u64(out, put.key.len() as u64);
    put_u64(out, put.value.len() as u64);
    out.extend_from_slice(&put.key);
    out.extend_from_slice(&put.value);
}

fn encode_delete(delete: &DeleteRequest, out: &mut Vec<u8>) {
    out.push(bit(delete.prev_kv, flag::PREV_KV));
    encode_keys(&delete.keys, out);
}

fn encode_txn(txn: &TxnRequest, out: &mut Vec<u8>) {
    put_u64(out, txn.compare.len() as u64);
    for compare in &txn.compare {
        encode_compare(compare, out);
    }
    for branch in [&txn.success, &txn.failure] {
        put_u64(out, branch.len() as u64);
        for op in branch {
            encode_op(op, out);
        }
    }
}

fn encode_op(op: &TxnOp, out: &mut Vec<u8>) {
    match op {
        TxnOp::Range(range) => {
            out.push(op_tag::RANGE);
            encode_range(range, out);
        }
        TxnOp::Put(put) => {
            out.push(op_tag::PUT);
            encode_put(put, out);
        }
        TxnOp::Delete(delete) => {
            out.push(op_tag::DELETE);
            encode_delete(delete, out);
        }
        TxnOp::Txn(txn) => {
            out.push(op_tag::TXN);
            encode_txn(txn, out);
        }
    }
}

fn encode_range(range: &RangeRequest, out: &mut Vec<u8>) {
    out.push(bit(range.keys_only, flag::KEYS_ONLY) | bit(range.count_only, flag::COUNT_ONLY));
    encode_keys(&range.keys, out);
    put_u64(out, range.limit);
    put_i64(out, range.revision.0);
    out.push(match range.sort_order {
        SortOrder::None => 0,
        SortOrder::Ascend => 1,
        SortOrder::Descend => 2,
    });
    out.push(match range.sort_target {
        SortTarget::Key => 0,
        SortTarget::Version => 1,
        SortTarget::Create => 2,
        SortTarget::Mod => 3,
        SortTarget::Value => 4,
    });
    put_i64(out, range.mod_revision_min);
    put_i64(out, range.mod_revision_max);
    put_i64(out, range.create_revision_min);
    put_i64(out, range.create_revision_max);
}

fn encode_compare(compare: &Compare, out: &mut Vec<u8>) {
    encode_keys(&compare.keys, out);
    out.push(match compare.relation {
        Relation::Equal => 0,
        Relation::Greater => 1,
        Relation::Less => 2,
        Relation::NotEqual => 3,
    });
    let (kind, number) = match &compare.target {
        CompareTarget::Version(number) => (0, *number),
        CompareTarget::Create(number) => (1, *number),
        CompareTarget::Mod(number) => (2, *number),
        CompareTarget::Value(value) => {
            out.push(3);
            put_bytes(out, value);
            return;
        }
        CompareTarget::Lease(number) => (4, *number),
    };
    out.push(kind);
    put_i64(out, number);
}

fn encode_keys(keys: &KeyRange, out: &mut Vec<u8>) {
    let (kind, end) = match &keys.end {
        RangeEnd::Single => (0, None),
        RangeEnd::Open => (1, None),
        RangeEnd::Before(end) => (2, Some(end)),
    };
    out.push(kind);
    put_bytes(out, &keys.start);
    if let Some(end) = end {
        put_bytes(out, end);
    }
}

/// As in etcd's AlarmType.
pub(crate) const fn alarm_byte(kind: AlarmKind) -> u8 {
    match kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    }
}

const fn bit(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}
