//! How answers are printed: one file for each format. Each turns the same [`Answer`] into bytes or says that it has no
//! form for it; nothing here talks to a store.

mod fields;
mod json;
mod protobuf;
mod quote;
mod simple;
mod table;

pub(crate) use self::quote::quoted;

use std::io::Write as _;

use store_proto::etcdserverpb::{
    AlarmResponse, AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse,
    AuthUserGetResponse, AuthUserListResponse, CompactionResponse, DeleteRangeResponse,
    HashKvResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveResponse, MemberAddResponse, MemberListResponse,
    MemberPromoteResponse, MemberRemoveResponse, MemberUpdateResponse, PutResponse, RangeResponse,
    ResponseHeader, StatusResponse, TxnResponse, WatchResponse,
};

use crate::failure::Failure;
use crate::flags::Globals;

/// What a command has to show.
pub(crate) enum Answer {
    Range(RangeResponse, RangeStyle),
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    /// With the revision asked for, which the answer does not repeat.
    Compaction(CompactionResponse, i64),
    Grant(LeaseGrantResponse),
    /// With the lease.
    Revoke(LeaseRevokeResponse, i64),
    /// Whether keys were asked for.
    TimeToLive(LeaseTimeToLiveResponse, bool),
    KeepAlive(LeaseKeepAliveResponse),
    Leases(LeaseLeasesResponse),
    Members(MemberListResponse),
    /// With the name the new member is to have, and its peer URLs as they were typed in.
    MemberAdd(MemberAddResponse, String, String),
    /// With the member.
    MemberRemove(MemberRemoveResponse, u64),
    MemberUpdate(MemberUpdateResponse, u64),
    MemberPromote(MemberPromoteResponse, u64),
    Alarms(AlarmResponse),
    Watch(WatchResponse),
    Health(Vec<Health>),
    Status(Vec<(String, StatusResponse)>),
    Hash(Vec<(String, HashKvResponse)>),
    AuthStatus(AuthStatusResponse),
    /// With the role.
    Role(String, AuthRoleGetResponse),
    Roles(AuthRoleListResponse),
    /// With the user.
    User(String, AuthUserGetResponse),
    Users(AuthUserListResponse),
    /// It is done: the store says nothing more, people read a line.
    Done(Done),
}

/// What was done.
pub(crate) struct Done {
    pub(crate) header: Option<ResponseHeader>,
    pub(crate) line: String,
}

impl Answer {
    pub(crate) const fn done(header: Option<ResponseHeader>, line: String) -> Self {
        Self::Done(Done { header, line })
    }
}

/// How the simple format shows keys.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RangeStyle {
    pub(crate) values_only: bool,
}

/// How one endpoint is.
pub(crate) struct Health {
    pub(crate) endpoint: String,
    pub(crate) took: String,
    /// Why it is not well.
    pub(crate) error: Option<String>,
}

/// One of the five.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Fields,
    Json,
    Protobuf,
    Table,
}

/// Prints answers in the format that was asked for.
pub(crate) struct Printer {
    pub(crate) format: Format,
    hex: bool,
}

impl Printer {
    /// # Errors
    /// A format that does not exist.
    pub(crate) fn new(globals: &Globals) -> Result<Self, Failure> {
        let format = match globals.write_out.as_str() {
            "simple" => Format::Simple,
            "fields" => Format::Fields,
            "json" => Format::Json,
            "protobuf" => Format::Protobuf,
            "table" => Format::Table,
            _ => return Err(Failure::bad_feature("unsupported output format")),
        };
        Ok(Self {
            format,
            hex: globals.hex,
        })
    }

    /// # Errors
    /// The format has no form for it, or stdout is gone.
    pub(crate) fn print(&self, answer: &Answer) -> Result<(), Failure> {
        let unsupported =
            |name| Failure::bad_feature(format!("{name} not supported as output format"));
        let bytes = match self.format {
            Format::Simple => simple::told(answer, self.hex),
            Format::Fields => fields::told(answer)
                .ok_or_else(|| unsupported("fields"))?
                .into_bytes(),
            Format::Json => json::told(answer, self.hex).into_bytes(),
            Format::Protobuf => protobuf::told(answer).ok_or_else(|| unsupported("protobuf"))?,
            Format::Table => table::told(answer)
                .ok_or_else(|| unsupported("table"))?
                .into_bytes(),
        };
        let mut out = std::io::stdout().lock();
        out.write_all(&bytes)
            .and_then(|()| out.flush())
            .map_err(|cause| Failure::io(format!("write to stdout: {cause}")))
    }
}
