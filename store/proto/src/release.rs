//! The etcd release whose protocol and behaviour this is: the one place that says so.
//!
//! Servers tell it to clients that parse it (Kubernetes decides by it what it may ask for), command line clients
//! print it. The product's own version is another matter.

/// As a plain semantic version.
pub const VERSION: &str = "3.7.0";

/// What all members of a cluster can do: no patch level.
pub const CLUSTER_VERSION: &str = "3.7.0";

/// Of the messages: major and minor number.
pub const API_VERSION: &str = "3.7";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_of_one_release() {
        assert!(VERSION.starts_with(&format!("{API_VERSION}.")));
        assert_eq!(CLUSTER_VERSION, format!("{API_VERSION}.0"));
    }
}
