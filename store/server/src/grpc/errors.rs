//! What clients are told when something is refused: the one table of codes and texts.
//!
//! Text is API: clients map errors by their exact text. Nothing outside this
//! file makes up a text for a condition etcd has one for. Reasons that are of use only to the
//! operator go to the log instead.

use store_machine::error::Refusal;
use store_member::answer::Forbidden;
use tonic::{Code, Status};

use crate::handle::Failure;

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident $code:ident $text:literal;)*) => {
        /// A condition of etcd's error table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ApiError {
            $($(#[$doc])* #[doc = $text] $name,)*
        }

        /// The whole table, in the order of the enum.
        const TABLE: &[(ApiError, Code, &str)] = &[$((ApiError::$name, Code::$code, $text),)*];
    };
}

table! {
    EmptyKey InvalidArgument "etcdserver: key is not provided";
    KeyNotFound InvalidArgument "etcdserver: key not found";
    ValueProvided InvalidArgument "etcdserver: value is provided";
    LeaseProvided InvalidArgument "etcdserver: lease is provided";
    TooManyOps InvalidArgument "etcdserver: too many operations in txn request";
    DuplicateKey InvalidArgument "etcdserver: duplicate key given in txn request";
    InvalidClientApiVersion InvalidArgument "etcdserver: invalid client api version";
    InvalidSortOption InvalidArgument "etcdserver: invalid sort option";
    MemberBadUrls InvalidArgument "etcdserver: given member URLs are invalid";
    RequestTooLarge InvalidArgument "etcdserver: request is too large";
    UserEmpty InvalidArgument "etcdserver: user name is empty";
    RoleEmpty InvalidArgument "etcdserver: role name is empty";
    AuthFailed InvalidArgument
        "etcdserver: authentication failed, invalid user ID or password";
    PermissionNotGiven InvalidArgument "etcdserver: permission not given";
    InvalidAuthManagement InvalidArgument "etcdserver: invalid auth management";
    AuthOldRevision InvalidArgument "etcdserver: revision of auth store is old";
    WrongDowngradeVersionFormat InvalidArgument
        "etcdserver: wrong downgrade target version format";
    InvalidDowngradeTarget InvalidArgument "etcdserver: invalid downgrade target version";

    Compacted OutOfRange "etcdserver: mvcc: required revision has been compacted";
    FutureRevision OutOfRange "etcdserver: mvcc: required revision is a future revision";
    LeaseTtlTooLarge OutOfRange "etcdserver: too large lease TTL";

    NoSpace ResourceExhausted "etcdserver: mvcc: database space exceeded";
    /// etcd sends this one with the code Unknown; clients go by the text, alert rules by the code,
    /// so the proper code is the kinder answer.
    TooManyRequests ResourceExhausted "etcdserver: too many requests";

    LeaseNotFound NotFound "etcdserver: requested lease not found";
    MemberNotFound NotFound "etcdserver: member not found";

    LeaseExists FailedPrecondition "etcdserver: lease already exists";
    MemberExists FailedPrecondition "etcdserver: member ID already exist";
    PeerUrlExists FailedPrecondition "etcdserver: Peer URLs already exists";
    NotEnoughStartedMembers FailedPrecondition
        "etcdserver: re-configuration failed due to not enough started members";
    MemberNotLearner FailedPrecondition "etcdserver: can only promote a learner member";
    LearnerNotReady FailedPrecondition
        "etcdserver: can only promote a learner member which is in sync with leader";
    TooManyLearners FailedPrecondition "etcdserver: too many learner members in cluster";
    ClusterIdMismatch FailedPrecondition "etcdserver: cluster ID mismatch";
    RootUserNotExist FailedPrecondition "etcdserver: root user does not exist";
    RootRoleNotExist FailedPrecondition "etcdserver: root user does not have root role";
    UserExists FailedPrecondition "etcdserver: user name already exists";
    UserNotFound FailedPrecondition "etcdserver: user name not found";
    RoleExists FailedPrecondition "etcdserver: role name already exists";
    RoleNotFound FailedPrecondition "etcdserver: role name not found";
    RoleNotGranted FailedPrecondition "etcdserver: role is not granted to the user";
    PermissionNotGranted FailedPrecondition "etcdserver: permission is not granted to the role";
    AuthNotEnabled FailedPrecondition "etcdserver: authentication is not enabled";
    NotLeader FailedPrecondition "etcdserver: not leader";
    NotCapable FailedPrecondition "etcdserver: not capable";
    NotSupportedForLearner FailedPrecondition "etcdserver: rpc not supported for learner";
    BadLeaderTransferee FailedPrecondition "etcdserver: bad leader transferee";
    ClusterVersionUnavailable FailedPrecondition
        "etcdserver: cluster version not found during downgrade";
    DowngradeInProgress FailedPrecondition
        "etcdserver: cluster has a downgrade job in progress";
    NoInflightDowngrade FailedPrecondition "etcdserver: no inflight downgrade job";

    WatchCanceled Cancelled "etcdserver: watch canceled";
    RequestCanceled Cancelled "etcdserver: request canceled";

    PermissionDenied PermissionDenied "etcdserver: permission denied";
    InvalidAuthToken Unauthenticated "etcdserver: invalid auth token";

    NoLeader Unavailable "etcdserver: no leader";
    LeaderChanged Unavailable "etcdserver: leader changed";
    Stopped Unavailable "etcdserver: server stopped";
    TimedOut Unavailable "etcdserver: request timed out";
    TimedOutLeaderFailure Unavailable
        "etcdserver: request timed out, possibly due to previous leader failure";
    TimedOutConnectionLost Unavailable
        "etcdserver: request timed out, possibly due to connection lost";
    TimedOutApply Unavailable
        "etcdserver: request timed out, waiting for the applied index took too long";
    Unhealthy Unavailable "etcdserver: unhealthy cluster";

    Corrupt DataLoss "etcdserver: corrupt cluster";
    Deadline DeadlineExceeded "context deadline exceeded";

    StreamSorted Unimplemented "etcdserver: RangeStream does not support custom sort orders";
    StreamFiltered Unimplemented "etcdserver: RangeStream does not support revision filters";

    NoPasswordUser Unknown
        "auth: authentication failed, password was given for no password user";
    VerifyOnly Unknown "auth: token signing attempted with verify-only key";
    PasswordTooLong Unknown "bcrypt: password length exceeds 72 bytes";
    SessionExpired Unknown "mutex: session is expired";
    NotElected Unknown "election: not leader";
    NobodyElected Unknown "election: no leader";
    LeaderMissing Unknown "\"leader\" field must be provided";

    /// Not a row of etcd's: a relation or target that no version of the protocol has, which etcd
    /// lets pass as "holds".
    InvalidCompare InvalidArgument "etcdserver: invalid compare in txn request";
}

/// Reasons that travel inside a watch response, not as a status.
pub(crate) mod watch_reason {
    /// The end of the range does not lie above its start.
    pub(crate) const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
    /// The stream has a watcher of that id.
    pub(crate) const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
    /// A negative start revision.
    pub(crate) const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
}

impl ApiError {
    /// The gRPC code.
    pub(crate) fn code(self) -> Code {
        TABLE[self as usize].1
    }

    /// As Go prints an error of gRPC; some answers carry one inside.
    pub(crate) fn go_text(self) -> String {
        let code = super::account::code_name(self.code() as usize);
        format!("rpc error: code = {code} desc = {}", self.text())
    }

    /// The exact description.
    pub(crate) fn text(self) -> &'static str {
        TABLE[self as usize].2
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        Self::new(error.code(), error.text())
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::NoLeader => Self::NoLeader,
            Failure::LeaderChanged => Self::LeaderChanged,
            Failure::TimedOut => Self::TimedOut,
            Failure::TooManyRequests => Self::TooManyRequests,
            Failure::Stopped => Self::Stopped,
            Failure::Forbidden(forbidden) => forbidden.into(),
        }
    }
}

impl From<Forbidden> for ApiError {
    fn from(forbidden: Forbidden) -> Self {
        match forbidden {
            Forbidden::UnstartedMembers => Self::NotEnoughStartedMembers,
            Forbidden::UnhealthyCluster => Self::Unhealthy,
            Forbidden::LearnerNotReady => Self::LearnerNotReady,
            Forbidden::TooManyLearners => Self::TooManyLearners,
            Forbidden::NotLeader => Self::NotLeader,
            Forbidden::BadTransferee => Self::BadLeaderTransferee,
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Compacted => Self::Compacted,
            Refusal::FutureRevision => Self::FutureRevision,
            Refusal::KeyNotFound => Self::KeyNotFound,
            Refusal::LeaseNotFound => Self::LeaseNotFound,
            Refusal::LeaseExists => Self::LeaseExists,
            Refusal::NoSpace => Self::NoSpace,
            Refusal::Corrupt => Self::Corrupt,
            // Only orders of a former leader are refused for this; a client whose request it was
            // would have to be told the same.
            Refusal::StaleTerm => Self::LeaderChanged,
            Refusal::MemberNotFound => Self::MemberNotFound,
            Refusal::MemberExists => Self::MemberExists,
            Refusal::PeerUrlExists => Self::PeerUrlExists,
            Refusal::NotLearner => Self::MemberNotLearner,
            Refusal::UserEmpty => Self::UserEmpty,
            Refusal::RoleEmpty => Self::RoleEmpty,
            Refusal::UserExists => Self::UserExists,
            Refusal::UserNotFound => Self::UserNotFound,
            Refusal::RoleExists => Self::RoleExists,
            Refusal::RoleNotFound => Self::RoleNotFound,
            Refusal::RoleNotGranted => Self::RoleNotGranted,
            Refusal::PermissionNotGranted => Self::PermissionNotGranted,
            Refusal::RootUserMissing => Self::RootUserNotExist,
            Refusal::RootRoleMissing => Self::RootRoleNotExist,
            Refusal::InvalidAuthManagement => Self::InvalidAuthManagement,
            Refusal::PermissionDenied => Self::PermissionDenied,
            Refusal::AuthOldRevision => Self::AuthOldRevision,
        }
    }
}

/// For `?` in handlers.
pub(crate) fn status(failure: Failure) -> Status {
    ApiError::from(failure).into()
}

/// A downgrade is validated and never begun.
pub(crate) fn no_downgrade() -> Status {
    Status::unimplemented(
        "muster: there is no earlier layout of this store to go back to: save a snapshot and restore it with the \
         etcd to go back to",
    )
}

/// An action of a later version.
pub(crate) fn unknown_action() -> Status {
    Status::unknown("etcdserver: unknown method")
}

/// A member cannot be added to a store that none could reach.
pub(crate) fn no_peer_port() -> Status {
    Status::failed_precondition(
        "muster: this store does not listen for other members, so none can be added: restart it with \
         --listen-peer-urls",
    )
}

/// A member on another machine could not reach this one.
pub(crate) fn member_hidden(member: u64, urls: &[String]) -> Status {
    Status::failed_precondition(format!(
        "muster: member {member:x} is known as {}, which leads nowhere from another machine: update its peer \
         URLs first (member update), and let it listen there (--listen-peer-urls)",
        urls.join(",")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// etcd's table of errors, written a second time: code, then the texts after the prefix.
    const REFERENCE: &[(Code, &str)] = &[
        (
            Code::InvalidArgument,
            "key is not provided · key not found · value is provided · lease is provided · too many operations in txn request · duplicate key given in txn request · invalid client api version · invalid sort option · given member URLs are invalid · request is too large · user name is empty · role name is empty · authentication failed, invalid user ID or password · permission not given · invalid auth management · revision of auth store is old · wrong downgrade target version format · invalid downgrade target version",
        ),
        (
            Code::OutOfRange,
            "mvcc: required revision has been compacted · mvcc: required revision is a future revision · too large lease TTL",
        ),
        (
            Code::ResourceExhausted,
            "mvcc: database space exceeded · too many requests",
        ),
        (
            Code::NotFound,
            "requested lease not found · member not found",
        ),
        (
            Code::FailedPrecondition,
            "lease already exists · member ID already exist · Peer URLs already exists · re-configuration failed due to not enough started members · can only promote a learner member · can only promote a learner member which is in sync with leader · too many learner members in cluster · cluster ID mismatch · root user does not exist · root user does not have root role · user name already exists · user name not found · role name already exists · role name not found · role is not granted to the user · permission is not granted to the role · authentication is not enabled · not leader · not capable · rpc not supported for learner · bad leader transferee · cluster version not found during downgrade · cluster has a downgrade job in progress · no inflight downgrade job",
        ),
        (Code::Cancelled, "watch canceled · request canceled"),
        (Code::PermissionDenied, "permission denied"),
        (Code::Unauthenticated, "invalid auth token"),
        (
            Code::Unavailable,
            "no leader · leader changed · server stopped · request timed out · request timed out, possibly due to previous leader failure · request timed out, possibly due to connection lost · request timed out, waiting for the applied index took too long · unhealthy cluster",
        ),
        (Code::DataLoss, "corrupt cluster"),
        (
            Code::Unimplemented,
            "RangeStream does not support custom sort orders · RangeStream does not support revision filters",
        ),
    ];

    #[test]
    fn every_row_stands_at_its_place() {
        for (at, (error, code, text)) in TABLE.iter().enumerate() {
            assert_eq!(*error as usize, at, "{text}");
            assert_eq!((error.code(), error.text()), (*code, *text));
        }
    }

    #[test]
    fn texts_and_codes_are_those_of_the_reference() {
        let mut wanted: Vec<(String, Code)> = Vec::new();
        for (code, texts) in REFERENCE {
            wanted.extend(
                texts
                    .split(" · ")
                    .map(|text| (format!("etcdserver: {text}"), *code)),
            );
        }
        wanted.push(("context deadline exceeded".into(), Code::DeadlineExceeded));
        wanted.push((
            "etcdserver: invalid compare in txn request".into(),
            Code::InvalidArgument,
        ));
        for text in [
            "auth: authentication failed, password was given for no password user",
            "auth: token signing attempted with verify-only key",
            "bcrypt: password length exceeds 72 bytes",
            "mutex: session is expired",
            "election: not leader",
            "election: no leader",
            "\"leader\" field must be provided",
        ] {
            wanted.push((text.into(), Code::Unknown));
        }
        let mut actual: Vec<(String, Code)> = TABLE
            .iter()
            .map(|(_, code, text)| ((*text).to_owned(), *code))
            .collect();
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
        actual.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(actual, wanted);
    }

    #[test]
    fn failures_of_the_driver_have_a_row() {
        for (failure, wanted) in [
            (Failure::Refused(Refusal::Compacted), ApiError::Compacted),
            (
                Failure::Refused(Refusal::FutureRevision),
                ApiError::FutureRevision,
            ),
            (
                Failure::Refused(Refusal::KeyNotFound),
                ApiError::KeyNotFound,
            ),
            (
                Failure::Refused(Refusal::LeaseNotFound),
                ApiError::LeaseNotFound,
            ),
            (
                Failure::Refused(Refusal::LeaseExists),
                ApiError::LeaseExists,
            ),
            (Failure::Refused(Refusal::NoSpace), ApiError::NoSpace),
            (Failure::Refused(Refusal::Corrupt), ApiError::Corrupt),
            (
                Failure::Refused(Refusal::StaleTerm),
                ApiError::LeaderChanged,
            ),
            (Failure::NoLeader, ApiError::NoLeader),
            (Failure::LeaderChanged, ApiError::LeaderChanged),
            (Failure::TimedOut, ApiError::TimedOut),
            (Failure::TooManyRequests, ApiError::TooManyRequests),
            (Failure::Stopped, ApiError::Stopped),
        ] {
            assert_eq!(ApiError::from(failure), wanted);
        }
    }
}
