//! Pure: What templates may ask of the machine they are rendered on. Asked through a trait, so that engines stay pure;
//! `confd::outside` answers for a real machine.

use std::net::IpAddr;

/// Facts about the machine. They may differ from render to render and are not recorded as reads.
pub trait Outside: Send + Sync + std::fmt::Debug {
    /// True unless it is certain that nothing stands at the path.
    fn file_exists(&self, path: &str) -> bool;

    /// Addresses of a host by name; none if it cannot be looked up.
    fn addresses(&self, host: &str) -> Vec<IpAddr>;
}

/// A machine without files and names.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl Outside for Nowhere {
    fn file_exists(&self, _: &str) -> bool {
        false
    }

    fn addresses(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}
