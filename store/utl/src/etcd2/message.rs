//! What is in etcd's files, as protobuf messages; fields nobody needs here are left out.

use bytes::Bytes;
use prost::Message as _;

/// `walpb.Record`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Record {
    #[prost(int64, tag = "1")]
    pub(super) kind: i64,
    /// CRC-32C of the data of all records up to this one.
    #[prost(uint32, tag = "2")]
    pub(super) crc: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) data: Bytes,
}

/// `walpb.Snapshot`: the log goes on from there.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct LogSnapshot {
    #[prost(uint64, tag = "1")]
    pub(super) index: u64,
    #[prost(uint64, tag = "2")]
    pub(super) term: u64,
}

/// `raftpb.Entry`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(uint64, tag = "3")]
    pub(super) index: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) data: Bytes,
}

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// A request.
    Normal,
    /// A change of one member.
    ConfChange,
    /// Nothing that an etcd of these releases writes.
    Other,
}

impl Entry {
    pub(super) const fn kind(&self) -> EntryKind {
        match self.kind {
            0 => EntryKind::Normal,
            1 => EntryKind::ConfChange,
            _ => EntryKind::Other,
        }
    }
}

/// `snappb.Snapshot`: a `raftpb.Snapshot` with its CRC-32C.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SnapshotFile {
    #[prost(uint32, tag = "1")]
    pub(super) crc: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: Bytes,
}

/// `raftpb.Snapshot`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Snapshot {
    /// The tree of keys.
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) data: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<SnapshotMetadata>,
}

/// `raftpb.SnapshotMetadata`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct SnapshotMetadata {
    #[prost(uint64, tag = "2")]
    pub(super) index: u64,
    #[prost(uint64, tag = "3")]
    pub(super) term: u64,
}

/// `etcdserverpb.Request`: a request of version 2. Go's strings may be any bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) method: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) path: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) value: Bytes,
    #[prost(bool, tag = "5")]
    pub(super) dir: bool,
    #[prost(bytes = "bytes", tag = "6")]
    pub(super) prev_value: Bytes,
    #[prost(uint64, tag = "7")]
    pub(super) prev_index: u64,
    #[prost(bool, optional, tag = "8")]
    pub(super) prev_exist: Option<bool>,
    /// Nanoseconds since 1970; 0 = never.
    #[prost(int64, tag = "9")]
    pub(super) expiration: i64,
    #[prost(bool, tag = "10")]
    pub(super) wait: bool,
    #[prost(bool, tag = "12")]
    pub(super) recursive: bool,
    /// For SYNC: what was to end until then has ended.
    #[prost(int64, tag = "15")]
    pub(super) time: i64,
    #[prost(bool, optional, tag = "17")]
    pub(super) refresh: Option<bool>,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Put,
    Post,
    Delete,
    /// A read that went through the log: nothing.
    Get,
    /// Ends what was to end.
    Sync,
}

impl Request {
    pub(super) fn method(&self) -> Option<Method> {
        Some(match &self.method[..] {
            b"PUT" => Method::Put,
            b"POST" => Method::Post,
            b"DELETE" => Method::Delete,
            b"QGET" => Method::Get,
            b"SYNC" => Method::Sync,
            _ => return None,
        })
    }
}

/// `etcdserverpb.InternalRaftRequest`, as far as it is about version 2.
#[derive(Clone, PartialEq, prost::Message)]
struct Internal {
    #[prost(message, optional, tag = "2")]
    v2: Option<Request>,
}

/// What an entry asks for.
pub(super) enum Proposal {
    /// Nothing: a leader began its reign.
    None,
    /// Something of version 2.
    Request(Box<Request>),
    /// Something of version 3.
    Foreign,
}

impl Proposal {
    /// As etcd does: what cannot be read as the newer message is the older one. The two cannot be taken for each other,
    /// because the name of a method is no message.
    pub(super) fn decode(data: &Bytes) -> Option<Self> {
        if data.is_empty() {
            return Some(Self::None);
        }
        match Internal::decode(data.clone()) {
            Ok(Internal { v2: Some(request) }) => Some(Self::Request(Box::new(request))),
            Ok(_) => Some(Self::Foreign),
            Err(_) => {
                let request = Request::decode(data.clone()).ok()?;
                Some(Self::Request(Box::new(request)))
            }
        }
    }
}

/// `raftpb.ConfChange`.
#[derive(Clone, PartialEq, prost::Message)]
struct RawConfChange {
    #[prost(int32, tag = "2")]
    kind: i32,
    #[prost(uint64, tag = "3")]
    member: u64,
    #[prost(bytes = "bytes", tag = "4")]
    context: Bytes,
}

/// A change of one member.
pub(super) struct ConfChange {
    raw: RawConfChange,
    pub(super) member: u64,
}

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConfChangeKind {
    Add,
    Remove,
    Update,
    Other,
}

impl ConfChange {
    pub(super) fn decode(data: &Bytes) -> Option<Self> {
        let raw = RawConfChange::decode(data.clone()).ok()?;
        let member = raw.member;
        Some(Self { raw, member })
    }

    pub(super) const fn kind(&self) -> ConfChangeKind {
        match self.raw.kind {
            0 | 3 => ConfChangeKind::Add,
            1 => ConfChangeKind::Remove,
            2 => ConfChangeKind::Update,
            _ => ConfChangeKind::Other,
        }
    }

    /// A learner becomes a voter: the context says so.
    pub(super) fn promotes(&self) -> bool {
        let context = serde_json::from_slice::<serde_json::Value>(&self.raw.context);
        context.is_ok_and(|context| context["isPromote"] == true)
    }
}
