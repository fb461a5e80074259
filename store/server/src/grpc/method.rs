//! Every gRPC method of the contract: its path and its kind.

/// How messages flow in a method; the label `grpc_type` of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One message each way.
    Unary,
    /// One request, many answers.
    ServerStream,
    /// Many each way.
    BidiStream,
}

impl Kind {
    /// As etcd's metrics spell it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

macro_rules! methods {
    ($($service:literal { $($variant:ident $name:literal $kind:ident,)* })*) => {
        /// A method of the contract. As a number it is the index of its counters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Method {
            $($(#[doc = concat!($service, "/", $name)] $variant,)*)*
        }

        impl Method {
            /// All of them, each at its number.
            pub(crate) const ALL: &[Self] = &[$($(Self::$variant,)*)*];

            /// The method a request path names.
            pub(crate) fn of(path: &str) -> Option<Self> {
                match path {
                    $($(concat!("/", $service, "/", $name) => Some(Self::$variant),)*)*
                    _ => None,
                }
            }

            /// Full name of its service.
            pub(crate) const fn service(self) -> &'static str {
                match self {
                    $($(Self::$variant => $service,)*)*
                }
            }

            /// Its own name.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $($(Self::$variant => $name,)*)*
                }
            }

            /// How its messages flow.
            pub(crate) const fn kind(self) -> Kind {
                match self {
                    $($(Self::$variant => Kind::$kind,)*)*
                }
            }
        }
    };
}

impl Method {
    /// Whether a member that only learns serves it, as in etcd: what it has, how it is, and its data.
    /// Its ranges must not be linearizable; their handlers see to that.
    pub(crate) const fn is_for_learners(self) -> bool {
        matches!(
            self,
            Self::Range
                | Self::RangeStream
                | Self::Status
                | Self::Snapshot
                | Self::HealthCheck
                | Self::HealthWatch
        )
    }
}

methods! {
    "etcdserverpb.KV" {
        Range "Range" Unary,
        RangeStream "RangeStream" ServerStream,
        Put "Put" Unary,
        DeleteRange "DeleteRange" Unary,
        Txn "Txn" Unary,
        Compact "Compact" Unary,
    }
    "etcdserverpb.Watch" {
        Watch "Watch" BidiStream,
    }
    "etcdserverpb.Lease" {
        LeaseGrant "LeaseGrant" Unary,
        LeaseRevoke "LeaseRevoke" Unary,
        LeaseKeepAlive "LeaseKeepAlive" BidiStream,
        LeaseTimeToLive "LeaseTimeToLive" Unary,
        LeaseLeases "LeaseLeases" Unary,
    }
    "etcdserverpb.Cluster" {
        MemberAdd "MemberAdd" Unary,
        MemberRemove "MemberRemove" Unary,
        MemberUpdate "MemberUpdate" Unary,
        MemberList "MemberList" Unary,
        MemberPromote "MemberPromote" Unary,
    }
    "etcdserverpb.Maintenance" {
        Alarm "Alarm" Unary,
        Status "Status" Unary,
        Defragment "Defragment" Unary,
        Hash "Hash" Unary,
        HashKv "HashKV" Unary,
        Snapshot "Snapshot" ServerStream,
        MoveLeader "MoveLeader" Unary,
        Downgrade "Downgrade" Unary,
    }
    "etcdserverpb.Auth" {
        AuthEnable "AuthEnable" Unary,
        AuthDisable "AuthDisable" Unary,
        AuthStatus "AuthStatus" Unary,
        Authenticate "Authenticate" Unary,
        UserAdd "UserAdd" Unary,
        UserGet "UserGet" Unary,
        UserList "UserList" Unary,
        UserDelete "UserDelete" Unary,
        UserChangePassword "UserChangePassword" Unary,
        UserGrantRole "UserGrantRole" Unary,
        UserRevokeRole "UserRevokeRole" Unary,
        RoleAdd "RoleAdd" Unary,
        RoleGet "RoleGet" Unary,
        RoleList "RoleList" Unary,
        RoleDelete "RoleDelete" Unary,
        RoleGrantPermission "RoleGrantPermission" Unary,
        RoleRevokePermission "RoleRevokePermission" Unary,
    }
    "v3lockpb.Lock" {
        Lock "Lock" Unary,
        Unlock "Unlock" Unary,
    }
    "v3electionpb.Election" {
        Campaign "Campaign" Unary,
        Proclaim "Proclaim" Unary,
        Leader "Leader" Unary,
        Observe "Observe" ServerStream,
        Resign "Resign" Unary,
    }
    "grpc.health.v1.Health" {
        HealthCheck "Check" Unary,
        HealthWatch "Watch" ServerStream,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn the_list_is_that_of_the_protos() {
        let set = FileDescriptorSet::decode(store_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut wanted = vec![];
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let kind = match (method.client_streaming(), method.server_streaming()) {
                        (false, false) => Kind::Unary,
                        (false, true) => Kind::ServerStream,
                        (true, true) => Kind::BidiStream,
                        (true, false) => panic!("{}: not in the contract", method.name()),
                    };
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let found = Method::of(&path).unwrap_or_else(|| panic!("{path} is missing"));
                    assert_eq!(found.kind(), kind, "{path}");
                    assert_eq!(path, format!("/{}/{}", found.service(), found.name()));
                    wanted.push(found as usize);
                }
            }
        }
        wanted.sort_unstable();
        assert_eq!(wanted, (0..Method::ALL.len()).collect::<Vec<_>>());
        for (at, method) in Method::ALL.iter().enumerate() {
            assert_eq!(*method as usize, at);
        }
    }
}
