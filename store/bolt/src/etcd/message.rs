//! The values of etcd's buckets that are protobuf messages (mvccpb, leasepb, etcdserverpb).

use bytes::Bytes;
use store_machine::LeaseRecord;
use store_machine::alarm::{Alarm, AlarmKind};
use store_machine::reply::KeyValue;
use store_machine::revision::{LeaseId, Revision};

/// `mvccpb.KeyValue`; of a delete, the key alone.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pair {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(int64, tag = "2")]
    pub(super) create_revision: i64,
    #[prost(int64, tag = "3")]
    pub(super) mod_revision: i64,
    #[prost(int64, tag = "4")]
    pub(super) version: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) value: Bytes,
    #[prost(int64, tag = "6")]
    pub(super) lease: i64,
}

impl From<KeyValue> for Pair {
    fn from(pair: KeyValue) -> Self {
        if pair.version == 0 {
            return Self {
                key: pair.key,
                ..Self::default()
            };
        }
        Self {
            key: pair.key,
            create_revision: pair.create_revision.0,
            mod_revision: pair.mod_revision.0,
            version: pair.version,
            value: pair.value,
            lease: pair.lease.0,
        }
    }
}

impl From<Pair> for KeyValue {
    fn from(pair: Pair) -> Self {
        Self {
            key: pair.key,
            create_revision: Revision(pair.create_revision),
            mod_revision: Revision(pair.mod_revision),
            version: pair.version,
            value: pair.value,
            lease: LeaseId(pair.lease),
        }
    }
}

/// `leasepb.Lease`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Lease {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
    #[prost(int64, tag = "3")]
    remaining_ttl: i64,
}

impl From<LeaseRecord> for Lease {
    fn from(lease: LeaseRecord) -> Self {
        Self {
            id: lease.id.0,
            ttl: lease.ttl_seconds,
            remaining_ttl: lease.remaining_seconds,
        }
    }
}

impl Lease {
    /// The lease, if it can be one.
    pub(super) fn record(self) -> Option<LeaseRecord> {
        (self.id != 0 && self.ttl > 0 && self.remaining_ttl >= 0).then_some(LeaseRecord {
            id: LeaseId(self.id),
            ttl_seconds: self.ttl,
            remaining_seconds: self.remaining_ttl,
        })
    }
}

/// `authpb.User`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct User {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) name: Vec<u8>,
    /// Hash in bcrypt's text form.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) password: Vec<u8>,
    #[prost(string, repeated, tag = "3")]
    pub(super) roles: Vec<String>,
    #[prost(message, optional, tag = "4")]
    pub(super) options: Option<UserOptions>,
}

/// `authpb.UserAddOptions`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct UserOptions {
    #[prost(bool, tag = "1")]
    pub(super) no_password: bool,
}

/// `authpb.Role`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Role {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) name: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(super) permissions: Vec<Permission>,
}

/// `authpb.Permission`: kind 0 reads, 1 writes, 2 both; no end is a single key, a zero byte all that follow.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Permission {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) range_end: Bytes,
}

/// `etcdserverpb.AlarmMember`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct AlarmMember {
    #[prost(uint64, tag = "1")]
    member: u64,
    #[prost(int32, tag = "2")]
    kind: i32,
}

impl From<Alarm> for AlarmMember {
    fn from(alarm: Alarm) -> Self {
        let kind = match alarm.kind {
            AlarmKind::NoSpace => 1,
            AlarmKind::Corrupt => 2,
        };
        Self {
            member: alarm.member,
            kind,
        }
    }
}

impl AlarmMember {
    /// The alarm; `None` for a kind that is not known.
    pub(super) const fn alarm(self) -> Option<Alarm> {
        let kind = match self.kind {
            1 => AlarmKind::NoSpace,
            2 => AlarmKind::Corrupt,
            _ => return None,
        };
        Some(Alarm {
            member: self.member,
            kind,
        })
    }
}
