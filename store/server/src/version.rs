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
