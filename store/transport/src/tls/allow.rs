//! Who of those that an authority vouches for may come in: by common name, or by host name.

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tokio_rustls::rustls;

use super::certificate::Certificate;

/// A rule beyond the authority's signature. Both lists at once cannot be, as in etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// Whoever has a certificate.
    #[default]
    All,
    /// Whose certificate has one of these common names.
    CommonNames(Vec<String>),
    /// Whose certificate is good for one of these hosts.
    Hosts(Vec<String>),
}

impl Allowed {
    /// Whether the holder may come in; if not, why.
    pub(super) fn check(&self, der: &CertificateDer<'_>) -> Result<(), String> {
        match self {
            Self::All => Ok(()),
            Self::CommonNames(names) => {
                let name = Certificate::parse(der)?.common_name;
                if names.contains(&name) {
                    return Ok(());
                }
                Err(format!(
                    "client certificate authentication failed: common name {name:?} is not allowed"
                ))
            }
            Self::Hosts(hosts) => {
                let parsed = ParsedCertificate::try_from(der).map_err(|error| error.to_string())?;
                let good = hosts.iter().any(|host| {
                    ServerName::try_from(host.as_str())
                        .is_ok_and(|host| verify_server_name(&parsed, &host).is_ok())
                });
                if good {
                    return Ok(());
                }
                Err(format!(
                    "client certificate authentication failed: the certificate is for none of {}",
                    hosts.join(", ")
                ))
            }
        }
    }
}
