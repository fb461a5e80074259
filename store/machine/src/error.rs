//! Why the machine refuses something. A refusal is a value: it changes nothing and every member
//! reaches the same one. The texts and codes clients see are in `store/server/src/grpc/errors.rs`.

use std::fmt;

/// Reason for a refusal; the names follow etcd's error table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The revision asked for lies below the last compaction.
    Compacted,
    /// The revision asked for lies above the store's.
    FutureRevision,
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    KeyNotFound,
    /// No lease of that id.
    LeaseNotFound,
    /// A lease of that id exists already.
    LeaseExists,
    /// The quota is used up and the command would grow the store.
    NoSpace,
    /// The store was found to differ between members.
    Corrupt,
    /// A lease command of a leader that has been followed by another; no client ever sees it.
    StaleTerm,
    /// No member of that id, or not any more.
    MemberNotFound,
    /// A member of that id exists, or has existed.
    MemberExists,
    /// Another member has one of these peer addresses.
    PeerUrlExists,
    /// The member votes already.
    NotLearner,
    /// Nobody asks, or a user without a name is to be made.
    UserEmpty,
    /// A role without a name is to be made.
    RoleEmpty,
    /// A user of that name exists.
    UserExists,
    /// No user of that name.
    UserNotFound,
    /// A role of that name exists.
    RoleExists,
    /// No role of that name.
    RoleNotFound,
    /// The user has no such role.
    RoleNotGranted,
    /// The role has no permission for that range.
    PermissionNotGranted,
    /// Authentication cannot be enabled without a user `root`.
    RootUserMissing,
    /// Nor when it has not the role `root`.
    RootRoleMissing,
    /// It would lock everybody out, or names no keys.
    InvalidAuthManagement,
    /// Whoever asks may not.
    PermissionDenied,
    /// Users or roles have changed since it was proven who asks.
    AuthOldRevision,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compacted => "required revision has been compacted",
            Self::FutureRevision => "required revision is a future revision",
            Self::KeyNotFound => "key not found",
            Self::LeaseNotFound => "requested lease not found",
            Self::LeaseExists => "lease already exists",
            Self::NoSpace => "database space exceeded",
            Self::Corrupt => "corrupt cluster",
            Self::StaleTerm => "lease command of a former leader",
            Self::MemberNotFound => "member not found",
            Self::MemberExists => "member ID already exist",
            Self::PeerUrlExists => "Peer URLs already exists",
            Self::NotLearner => "can only promote a learner member",
            Self::UserEmpty => "user name is empty",
            Self::RoleEmpty => "role name is empty",
            Self::UserExists => "user name already exists",
            Self::UserNotFound => "user name not found",
            Self::RoleExists => "role name already exists",
            Self::RoleNotFound => "role name not found",
            Self::RoleNotGranted => "role is not granted to the user",
            Self::PermissionNotGranted => "permission is not granted to the role",
            Self::RootUserMissing => "root user does not exist",
            Self::RootRoleMissing => "root user does not have root role",
            Self::InvalidAuthManagement => "invalid auth management",
            Self::PermissionDenied => "permission denied",
            Self::AuthOldRevision => "revision of auth store is old",
        })
    }
}

impl std::error::Error for Refusal {}
