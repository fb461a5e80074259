//! The etcd v3 wire contract: messages, service stubs and their JSON form, one module per package.
//!
//! Everything here is generated from the `.proto` files in `proto/`, which are the documentation.
//! `bytes` fields are [`bytes::Bytes`] that share the buffer they were decoded from. The JSON form
//! keeps the field names of the proto, writes 64-bit integers as strings and bytes as base64, and
//! leaves defaults out, as etcd's gateway does.

pub mod release;

/// Compiled descriptors of all files, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! package {
    ($(#[$doc:meta])* $module:ident, $file:literal) => {
        $(#[$doc])*
        #[allow(
            missing_docs,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::cognitive_complexity,
            clippy::large_futures,
            clippy::needless_pass_by_value,
            clippy::semicolon_if_nothing_returned,
            clippy::uninlined_format_args
        )]
        pub mod $module {
            include!(concat!(env!("OUT_DIR"), "/", $file, ".rs"));
            include!(concat!(env!("OUT_DIR"), "/", $file, ".serde.rs"));
        }
    };
}

package!(
    /// KV, Watch, Lease, Cluster, Maintenance and Auth.
    etcdserverpb,
    "etcdserverpb"
);
package!(
    /// Pairs and events.
    mvccpb,
    "mvccpb"
);
package!(
    /// Permissions.
    authpb,
    "authpb"
);
package!(
    /// Locks.
    v3lockpb,
    "v3lockpb"
);
package!(
    /// Elections.
    v3electionpb,
    "v3electionpb"
);
package!(
    /// The gRPC health protocol.
    health,
    "grpc.health.v1"
);

#[cfg(test)]
mod tests;
