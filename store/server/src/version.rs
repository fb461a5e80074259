//! The versions the server tells others.

/// The etcd version whose behaviour is matched. Clients parse it (Kubernetes, etcdctl), so it is a
/// plain semantic version.
pub const ETCD_VERSION: &str = "3.7.0";

/// The same for the whole cluster: no patch level.
pub const CLUSTER_VERSION: &str = "3.7.0";

/// The layout of the store, in the same terms.
pub const STORAGE_VERSION: &str = "3.7.0";

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
