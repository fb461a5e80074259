//! What is asked of one kind of port.

use std::path::PathBuf;

use super::allow::Allowed;
use super::policy::Policy;

/// A certificate (with what it is signed by, up to the authority) and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificates.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How TLS is spoken on the ports of one kind, and to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What is shown to those who connect; without one no port can speak TLS.
    pub own: Option<CertificateFiles>,
    /// What is shown when connecting, if another one.
    pub own_as_client: Option<CertificateFiles>,
    /// The authorities to trust. With one, who connects must show a certificate, as in etcd.
    pub authorities: Option<PathBuf>,
    /// Certificates that do not count any more.
    pub revoked: Option<PathBuf>,
    /// Who may come in.
    pub allowed: Allowed,
    /// Where a certificate is for some addresses, whoever shows it may connect from others.
    pub any_address: bool,
    /// When connecting, whoever answers is believed. For ports whose certificates are self-signed.
    pub trust_all: bool,
    /// Others are connected to.
    pub dials: bool,
    /// Versions and ciphers.
    pub policy: Policy,
}

impl Settings {
    /// Who connects must show a certificate.
    #[must_use]
    pub fn demands_certificate(&self) -> bool {
        self.authorities.is_some()
    }

    /// All files there are, each with what it is.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let pairs = self.own.iter().chain(&self.own_as_client);
        pairs
            .flat_map(|pair| [&pair.certificate, &pair.key])
            .chain(&self.authorities)
            .chain(&self.revoked)
    }
}
