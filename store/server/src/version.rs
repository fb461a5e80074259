//! The versions the server tells others.

use store_proto::release;

/// The etcd version whose behaviour is matched.
pub const ETCD_VERSION: &str = release::VERSION;

/// The same for the whole cluster: no patch level.
pub const CLUSTER_VERSION: &str = release::CLUSTER_VERSION;

/// Of the messages: major and minor number.
pub const API_VERSION: &str = release::API_VERSION;

/// The layout of the store, in the same terms.
pub const STORAGE_VERSION: &str = release::CLUSTER_VERSION;

/// The product's own version.
pub const PRODUCT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `etcd --version` prints, whose first line scripts read. Where etcd names its commit and its Go,
/// this names itself.
#[must_use]
pub fn as_etcd() -> String {
    let os = std::env::consts::OS;
    // Go's names.
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "etcd Version: {ETCD_VERSION}\nGit SHA: muster-{PRODUCT_VERSION}\nGo Version: none (Rust)\n\
         Go OS/Arch: {os}/{machine}\n"
    )
}
