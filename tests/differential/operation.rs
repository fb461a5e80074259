//! One step of a sequence: a request to a server, under a user's name, or something done to a watch stream.
//!
//! Revisions may be written relative to what the servers have reached when the step is taken ([`CURRENT`],
//! [`COMPACTED`]), so that a sequence means the same on a store with a past, and when steps are left out.

use std::fmt;

use store_proto::etcdserverpb as pb;

use crate::answer::Answer;
use crate::peer::Caller;

/// `CURRENT + n` stands for the n-th revision after the present one.
pub(crate) const CURRENT: i64 = 1 << 41;
/// `COMPACTED + n` stands for the n-th revision after the one compacted last.
pub(crate) const COMPACTED: i64 = 1 << 42;
/// As far from the two as a relative revision may lie: far more than a sequence has steps.
const REACH: i64 = 1000;

/// What relative revisions count from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached {
    /// The store's revision.
    pub(crate) current: i64,
    /// The revision compacted last.
    pub(crate) compacted: i64,
}

/// A step: who does what.
#[derive(Clone)]
pub(crate) struct Operation {
    /// Whose token goes along, if that user has logged in; `None` sends none.
    pub(crate) user: Option<&'static str>,
    pub(crate) act: Act,
}

impl fmt::Debug for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user {
            Some(user) => write!(out, "{user}: {:?}", self.act),
            None => self.act.fmt(out),
        }
    }
}

macro_rules! acts {
    ($($name:ident($request:ident) -> $response:ident $path:literal;)*) => {
        /// What is done.
        #[derive(Clone)]
        pub(crate) enum Act {
            $($name(pb::$request),)*
            /// Authenticates and keeps the token.
            Login { name: &'static str, password: &'static str },
            /// One message on a keep-alive stream, and its answer.
            KeepAlive(i64),
            /// A message on the watch stream of that number, which is opened for it.
            Watch { stream: usize, request: pb::watch_request::RequestUnion },
            /// Waits until a lease has ended by itself.
            Expire(i64),
        }

        impl fmt::Debug for Act {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Act::$name(request) => request.fmt(out),)*
                    Act::Login { name, password } => write!(out, "Login {name} {password:?}"),
                    Act::KeepAlive(lease) => write!(out, "KeepAlive {lease}"),
                    Act::Watch { stream, request } => write!(out, "Watch[{stream}] {request:?}"),
                    Act::Expire(lease) => write!(out, "Expire {lease}"),
                }
            }
        }

        /// Sends a step that is one request with one answer; `None` for the others.
        pub(crate) async fn unary(caller: &Caller, act: Act) -> Option<Answer> {
            match act {
                $(Act::$name(request) => {
                    let path = concat!("/etcdserverpb.", $path);
                    Some(caller.call::<_, pb::$response>(path, request).await)
                })*
                _ => None,
            }
        }
    };
}

acts! {
    Range(RangeRequest) -> RangeResponse "KV/Range";
    Put(PutRequest) -> PutResponse "KV/Put";
    Delete(DeleteRangeRequest) -> DeleteRangeResponse "KV/DeleteRange";
    Txn(TxnRequest) -> TxnResponse "KV/Txn";
    Compact(CompactionRequest) -> CompactionResponse "KV/Compact";
    Grant(LeaseGrantRequest) -> LeaseGrantResponse "Lease/LeaseGrant";
    Revoke(LeaseRevokeRequest) -> LeaseRevokeResponse "Lease/LeaseRevoke";
    TimeToLive(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse "Lease/LeaseTimeToLive";
    Leases(LeaseLeasesRequest) -> LeaseLeasesResponse "Lease/LeaseLeases";
    MemberAdd(MemberAddRequest) -> MemberAddResponse "Cluster/MemberAdd";
    MemberRemove(MemberRemoveRequest) -> MemberRemoveResponse "Cluster/MemberRemove";
    MemberUpdate(MemberUpdateRequest) -> MemberUpdateResponse "Cluster/MemberUpdate";
    MemberList(MemberListRequest) -> MemberListResponse "Cluster/MemberList";
    MemberPromote(MemberPromoteRequest) -> MemberPromoteResponse "Cluster/MemberPromote";
    Alarm(AlarmRequest) -> AlarmResponse "Maintenance/Alarm";
    Status(StatusRequest) -> StatusResponse "Maintenance/Status";
    Defragment(DefragmentRequest) -> DefragmentResponse "Maintenance/Defragment";
    Hash(HashRequest) -> HashResponse "Maintenance/Hash";
    HashKv(HashKvRequest) -> HashKvResponse "Maintenance/HashKV";
    MoveLeader(MoveLeaderRequest) -> MoveLeaderResponse "Maintenance/MoveLeader";
    AuthEnable(AuthEnableRequest) -> AuthEnableResponse "Auth/AuthEnable";
    AuthDisable(AuthDisableRequest) -> AuthDisableResponse "Auth/AuthDisable";
    AuthStatus(AuthStatusRequest) -> AuthStatusResponse "Auth/AuthStatus";
    UserAdd(AuthUserAddRequest) -> AuthUserAddResponse "Auth/UserAdd";
    UserGet(AuthUserGetRequest) -> AuthUserGetResponse "Auth/UserGet";
    UserList(AuthUserListRequest) -> AuthUserListResponse "Auth/UserList";
    UserDelete(AuthUserDeleteRequest) -> AuthUserDeleteResponse "Auth/UserDelete";
    ChangePassword(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse "Auth/UserChangePassword";
    GrantRole(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse "Auth/UserGrantRole";
    RevokeRole(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse "Auth/UserRevokeRole";
    RoleAdd(AuthRoleAddRequest) -> AuthRoleAddResponse "Auth/RoleAdd";
    RoleGet(AuthRoleGetRequest) -> AuthRoleGetResponse "Auth/RoleGet";
    RoleList(AuthRoleListRequest) -> AuthRoleListResponse "Auth/RoleList";
    RoleDelete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse "Auth/RoleDelete";
    GrantPermission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse "Auth/RoleGrantPermission";
    RevokePermission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse "Auth/RoleRevokePermission";
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
