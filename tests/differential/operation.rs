//! One step of a sequence: a request to a server, under a user's name, or something done to a watch stream.
//!
//! Revisions may be written relative to what the servers have reached when the step is taken ([`CURRENT`],
//! [`COMPACTED`]), so that a sequence means the same on a store with a past, and when steps are left out.

use std::fmt;

use store_proto::{etcdserverpb as pb, v3electionpb as election, v3lockpb as lock};

use crate::answer::Answer;
use crate::peer::Caller;

/// `CURRENT + n` stands for the n-th revision after the present one.
pub(crate) const CURRENT: i64 = 1 << 41;
/// `COMPACTED + n` stands for the n-th revision after the one compacted last.
pub(crate) const COMPACTED: i64 = 1 << 42;
/// Stands for the revision of the campaign won last.
pub(crate) const ELECTED: i64 = 1 << 43;
/// As far from the first two as a relative revision may lie: far more than a sequence has steps.
const REACH: i64 = 1000;

/// What relative revisions count from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached {
    /// The store's revision.
    pub(crate) current: i64,
    /// The revision compacted last.
    pub(crate) compacted: i64,
    /// That of the key of whoever won a campaign last.
    pub(crate) elected: i64,
}

/// A step: who does what.
#[derive(Clone)]
pub(crate) struct Operation {
    /// Whose token goes along, if that user has logged in; `None` sends none.
    pub(crate) user: Option<&'static str>,
    pub(crate) act: Act,
    /// Over the JSON gateway, if it can be said there; else over gRPC.
    pub(crate) over_json: bool,
}

impl Operation {
    /// Over gRPC.
    pub(crate) fn new(user: Option<&'static str>, act: Act) -> Self {
        Self {
            user,
            act,
            over_json: false,
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.over_json {
            out.write_str("JSON ")?;
        }
        match self.user {
            Some(user) => write!(out, "{user}: {:?}", self.act),
            None => self.act.fmt(out),
        }
    }
}

macro_rules! acts {
    ($($name:ident($request:ty) -> $response:ty, $path:literal, $json:literal;)*) => {
        /// What is done.
        #[derive(Clone)]
        pub(crate) enum Act {
            $($name($request),)*
            /// Authenticates and keeps the token.
            Login { name: &'static str, password: &'static str },
            /// One message on a keep-alive stream, and its answer.
            KeepAlive(i64),
            /// A message on the watch stream of that number, which is opened for it.
            Watch { stream: usize, request: pb::watch_request::RequestUnion },
            /// Waits until a lease has ended by itself.
            Expire(i64),
            /// Text for the JSON gateway as somebody may write it.
            Json { path: &'static str, body: String },
        }

        impl fmt::Debug for Act {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Act::$name(request) => request.fmt(out),)*
                    Act::Login { name, password } => write!(out, "Login {name} {password:?}"),
                    Act::KeepAlive(lease) => write!(out, "KeepAlive {lease}"),
                    Act::Watch { stream, request } => write!(out, "Watch[{stream}] {request:?}"),
                    Act::Expire(lease) => write!(out, "Expire {lease}"),
                    Act::Json { path, body } => write!(out, "{path} {body}"),
                }
            }
        }

        /// Sends a step that is one request with one answer; `None` for the others.
        pub(crate) async fn unary(caller: &Caller, act: Act) -> Option<Answer> {
            match act {
                $(Act::$name(request) => {
                    Some(caller.call::<_, $response>(concat!("/", $path), request).await)
                })*
                _ => None,
            }
        }

        /// Sends such a step over the JSON gateway; `None` for the others, and for what has no words in JSON (a choice
        /// no version of the protocol has).
        pub(crate) async fn over_json(caller: &Caller, act: &Act) -> Option<Answer> {
            match act {
                $(Act::$name(request) => {
                    let body = serde_json::to_string(request).ok()?;
                    Some(caller.post(concat!("/v3/", $json), body).await)
                })*
                Act::Json { path, body } => Some(caller.post(path, body.clone()).await),
                _ => None,
            }
        }
    };
}

acts! {
    Range(pb::RangeRequest) -> pb::RangeResponse, "etcdserverpb.KV/Range", "kv/range";
    Put(pb::PutRequest) -> pb::PutResponse, "etcdserverpb.KV/Put", "kv/put";
    Delete(pb::DeleteRangeRequest) -> pb::DeleteRangeResponse, "etcdserverpb.KV/DeleteRange", "kv/deleterange";
    Txn(pb::TxnRequest) -> pb::TxnResponse, "etcdserverpb.KV/Txn", "kv/txn";
    Compact(pb::CompactionRequest) -> pb::CompactionResponse, "etcdserverpb.KV/Compact", "kv/compaction";
    Grant(pb::LeaseGrantRequest) -> pb::LeaseGrantResponse, "etcdserverpb.Lease/LeaseGrant", "lease/grant";
    Revoke(pb::LeaseRevokeRequest) -> pb::LeaseRevokeResponse, "etcdserverpb.Lease/LeaseRevoke", "lease/revoke";
    TimeToLive(pb::LeaseTimeToLiveRequest) -> pb::LeaseTimeToLiveResponse, "etcdserverpb.Lease/LeaseTimeToLive", "lease/timetolive";
    Leases(pb::LeaseLeasesRequest) -> pb::LeaseLeasesResponse, "etcdserverpb.Lease/LeaseLeases", "lease/leases";
    MemberAdd(pb::MemberAddRequest) -> pb::MemberAddResponse, "etcdserverpb.Cluster/MemberAdd", "cluster/member/add";
    MemberRemove(pb::MemberRemoveRequest) -> pb::MemberRemoveResponse, "etcdserverpb.Cluster/MemberRemove", "cluster/member/remove";
    MemberUpdate(pb::MemberUpdateRequest) -> pb::MemberUpdateResponse, "etcdserverpb.Cluster/MemberUpdate", "cluster/member/update";
    MemberList(pb::MemberListRequest) -> pb::MemberListResponse, "etcdserverpb.Cluster/MemberList", "cluster/member/list";
    MemberPromote(pb::MemberPromoteRequest) -> pb::MemberPromoteResponse, "etcdserverpb.Cluster/MemberPromote", "cluster/member/promote";
    Alarm(pb::AlarmRequest) -> pb::AlarmResponse, "etcdserverpb.Maintenance/Alarm", "maintenance/alarm";
    Status(pb::StatusRequest) -> pb::StatusResponse, "etcdserverpb.Maintenance/Status", "maintenance/status";
    Defragment(pb::DefragmentRequest) -> pb::DefragmentResponse, "etcdserverpb.Maintenance/Defragment", "maintenance/defragment";
    Hash(pb::HashRequest) -> pb::HashResponse, "etcdserverpb.Maintenance/Hash", "maintenance/hash";
    HashKv(pb::HashKvRequest) -> pb::HashKvResponse, "etcdserverpb.Maintenance/HashKV", "maintenance/hashkv";
    MoveLeader(pb::MoveLeaderRequest) -> pb::MoveLeaderResponse, "etcdserverpb.Maintenance/MoveLeader", "maintenance/transfer-leadership";
    AuthEnable(pb::AuthEnableRequest) -> pb::AuthEnableResponse, "etcdserverpb.Auth/AuthEnable", "auth/enable";
    AuthDisable(pb::AuthDisableRequest) -> pb::AuthDisableResponse, "etcdserverpb.Auth/AuthDisable", "auth/disable";
    AuthStatus(pb::AuthStatusRequest) -> pb::AuthStatusResponse, "etcdserverpb.Auth/AuthStatus", "auth/status";
    UserAdd(pb::AuthUserAddRequest) -> pb::AuthUserAddResponse, "etcdserverpb.Auth/UserAdd", "auth/user/add";
    UserGet(pb::AuthUserGetRequest) -> pb::AuthUserGetResponse, "etcdserverpb.Auth/UserGet", "auth/user/get";
    UserList(pb::AuthUserListRequest) -> pb::AuthUserListResponse, "etcdserverpb.Auth/UserList", "auth/user/list";
    UserDelete(pb::AuthUserDeleteRequest) -> pb::AuthUserDeleteResponse, "etcdserverpb.Auth/UserDelete", "auth/user/delete";
    ChangePassword(pb::AuthUserChangePasswordRequest) -> pb::AuthUserChangePasswordResponse, "etcdserverpb.Auth/UserChangePassword", "auth/user/changepw";
    GrantRole(pb::AuthUserGrantRoleRequest) -> pb::AuthUserGrantRoleResponse, "etcdserverpb.Auth/UserGrantRole", "auth/user/grant";
    RevokeRole(pb::AuthUserRevokeRoleRequest) -> pb::AuthUserRevokeRoleResponse, "etcdserverpb.Auth/UserRevokeRole", "auth/user/revoke";
    RoleAdd(pb::AuthRoleAddRequest) -> pb::AuthRoleAddResponse, "etcdserverpb.Auth/RoleAdd", "auth/role/add";
    RoleGet(pb::AuthRoleGetRequest) -> pb::AuthRoleGetResponse, "etcdserverpb.Auth/RoleGet", "auth/role/get";
    RoleList(pb::AuthRoleListRequest) -> pb::AuthRoleListResponse, "etcdserverpb.Auth/RoleList", "auth/role/list";
    RoleDelete(pb::AuthRoleDeleteRequest) -> pb::AuthRoleDeleteResponse, "etcdserverpb.Auth/RoleDelete", "auth/role/delete";
    GrantPermission(pb::AuthRoleGrantPermissionRequest) -> pb::AuthRoleGrantPermissionResponse, "etcdserverpb.Auth/RoleGrantPermission", "auth/role/grant";
    RevokePermission(pb::AuthRoleRevokePermissionRequest) -> pb::AuthRoleRevokePermissionResponse, "etcdserverpb.Auth/RoleRevokePermission", "auth/role/revoke";
    Lock(lock::LockRequest) -> lock::LockResponse, "v3lockpb.Lock/Lock", "lock/lock";
    Unlock(lock::UnlockRequest) -> lock::UnlockResponse, "v3lockpb.Lock/Unlock", "lock/unlock";
    Campaign(election::CampaignRequest) -> election::CampaignResponse, "v3electionpb.Election/Campaign", "election/campaign";
    Proclaim(election::ProclaimRequest) -> election::ProclaimResponse, "v3electionpb.Election/Proclaim", "election/proclaim";
    Leader(election::LeaderRequest) -> election::LeaderResponse, "v3electionpb.Election/Leader", "election/leader";
    Resign(election::ResignRequest) -> election::ResignResponse, "v3electionpb.Election/Resign", "election/resign";
}

impl Reached {
    /// The step with its relative revisions made absolute.
    pub(crate) fn resolve(self, operation: &Operation) -> Operation {
        let mut operation = operation.clone();
        match &mut operation.act {
            Act::Range(range) => self.range(range),
            Act::Txn(txn) => self.txn(txn),
            Act::Compact(compact) => self.absolute(&mut compact.revision),
            Act::HashKv(hash) => self.absolute(&mut hash.revision),
            Act::Watch {
                request: pb::watch_request::RequestUnion::CreateRequest(create),
                ..
            } => self.absolute(&mut create.start_revision),
            Act::Proclaim(election::ProclaimRequest { leader, .. })
            | Act::Resign(election::ResignRequest { leader }) => {
                if let Some(leader) = leader.as_mut().filter(|leader| leader.rev == ELECTED) {
                    leader.rev = self.elected;
                }
            }
            _ => {}
        }
        operation
    }

    fn absolute(self, revision: &mut i64) {
        for (base, reached) in [(CURRENT, self.current), (COMPACTED, self.compacted)] {
            if revision.abs_diff(base) <= REACH.unsigned_abs() {
                // Never below the first one: what is negative means something else.
                *revision = (reached + (*revision - base)).max(1);
            }
        }
    }

    fn range(self, range: &mut pb::RangeRequest) {
        for revision in [
            &mut range.revision,
            &mut range.min_mod_revision,
            &mut range.max_mod_revision,
            &mut range.min_create_revision,
            &mut range.max_create_revision,
        ] {
            self.absolute(revision);
        }
    }

    fn txn(self, txn: &mut pb::TxnRequest) {
        use pb::compare::TargetUnion;
        use pb::request_op::Request;
        for compare in &mut txn.compare {
            if let Some(TargetUnion::CreateRevision(given) | TargetUnion::ModRevision(given)) =
                &mut compare.target_union
            {
                self.absolute(given);
            }
        }
        for op in txn.success.iter_mut().chain(&mut txn.failure) {
            match &mut op.request {
                Some(Request::RequestRange(range)) => self.range(range),
                Some(Request::RequestTxn(inner)) => self.txn(inner),
                _ => {}
            }
        }
    }
}
