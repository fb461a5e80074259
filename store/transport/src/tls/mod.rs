//! Whom to trust, and what to show: settings become the two rustls configurations of a port.
//!
//! `settings.rs` is what is asked for, `material.rs` what comes of it once the files are read, `keeper.rs`
//! follows the files. `trust.rs` and `allow.rs` say who may come in, `address.rs` from where,
//! `policy.rs` which versions and ciphers, `own.rs` makes certificates where nobody has any.

mod address;
mod allow;
pub mod certificate;
mod error;
mod keeper;
mod material;
mod own;
mod pem;
mod policy;
mod settings;
mod trust;

pub use self::address::{ForeignAddress, check_address};
pub use self::allow::Allowed;
pub use self::error::TlsError;
pub use self::keeper::Keeper;
pub use self::material::{Expiry, Material, Part, for_http2};
pub use self::own::{OwnCertificate, OwnPaths};
pub use self::policy::{Policy, PolicyError};
pub use self::settings::{CertificateFiles, Settings};

pub use tokio_rustls::rustls;
