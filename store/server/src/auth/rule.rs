//! What each method asks of its caller before anything else is done. A method without a rule does not
//! compile.

use crate::grpc::method::Method;

/// What a caller must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Anybody, known or not.
    Open,
    /// Somebody.
    Identity,
    /// Somebody with the root role.
    Root,
    /// Somebody; what exactly depends on the request, and is judged where it is applied or answered.
    Content,
    /// Whoever opens a stream is asked with each message on it.
    Stream,
}

impl Rule {
    /// The rule of a method. They are etcd's of version 3.7.
    pub(crate) const fn of(method: Method) -> Self {
        use Method as M;
        match method {
            M::AuthStatus | M::Authenticate | M::HealthCheck | M::HealthWatch => Self::Open,
            M::MemberList | M::Status | M::Alarm | M::LeaseGrant | M::UserGet | M::RoleGet => {
                Self::Identity
            }
            M::Compact
            | M::MemberAdd
            | M::MemberRemove
            | M::MemberUpdate
            | M::MemberPromote
            | M::Defragment
            | M::Hash
            | M::HashKv
            | M::Snapshot
            | M::MoveLeader
            | M::Downgrade
            | M::AuthEnable
            | M::AuthDisable
            | M::UserAdd
            | M::UserList
            | M::UserDelete
            | M::UserChangePassword
            | M::UserGrantRole
            | M::UserRevokeRole
            | M::RoleAdd
            | M::RoleList
            | M::RoleDelete
            | M::RoleGrantPermission
            | M::RoleRevokePermission => Self::Root,
            M::Range
            | M::RangeStream
            | M::Put
            | M::DeleteRange
            | M::Txn
            | M::LeaseRevoke
            | M::LeaseTimeToLive
            | M::LeaseLeases
            | M::Lock
            | M::Unlock
            | M::Campaign
            | M::Proclaim
            | M::Leader
            | M::Observe
            | M::Resign => Self::Content,
            M::Watch | M::LeaseKeepAlive => Self::Stream,
        }
    }
}

#[cfg(test)]
mod tests;
