//! The rules by which the other side's certificate is taken or refused.
//!
//! Chains, dates and signatures are the library's; here stand etcd's rules on top: the list of revoked
//! numbers counts for every certificate shown, and names can be demanded. A certificate that is itself
//! among the authorities is taken as it is, even where it calls itself an authority: that is how a single
//! self-made certificate is used by most.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use tokio_rustls::rustls;

use super::allow::Allowed;
use super::certificate::Certificate;

/// What is looked at beyond the chain.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) allowed: Allowed,
    /// Numbers of certificates that do not count any more.
    pub(super) revoked: BTreeSet<Vec<u8>>,
}

impl Rules {
    fn check(
        &self,
        holder: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        if !self.revoked.is_empty() {
            for der in std::iter::once(holder).chain(chain) {
                let certificate = Certificate::parse(der).map_err(refused)?;
                if self.revoked.contains(&certificate.serial) {
                    return Err(CertificateError::Revoked.into());
                }
            }
        }
        self.allowed.check(holder).map_err(refused)
    }
}

/// An error whose text reaches our own log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

fn refused(why: String) -> Error {
    CertificateError::Other(OtherError(Arc::new(Refused(why)))).into()
}

/// Authorities as they stand in their file.
#[derive(Clone, Debug)]
pub(super) struct Pinned(pub(super) Vec<CertificateDer<'static>>);

impl Pinned {
    /// Takes the verdict of the library, but for a certificate that is itself among the authorities
    /// and is refused for calling itself one.
    fn unless_pinned(
        &self,
        verdict: Result<(), Error>,
        holder: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let Err(Error::InvalidCertificate(CertificateError::Other(_))) = &verdict else {
            return verdict;
        };
        if !self.0.iter().any(|known| known.as_ref() == holder.as_ref()) {
            return verdict;
        }
        let certificate = Certificate::parse(holder).map_err(refused)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < certificate.not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > certificate.not_after {
            return Err(CertificateError::Expired.into());
        }
        Ok(())
    }
}

/// Judges those who connect.
#[derive(Debug)]
pub(super) struct Visitors {
    pub(super) library: Arc<dyn ClientCertVerifier>,
    pub(super) pinned: Pinned,
    pub(super) rules: Rules,
}

impl ClientCertVerifier for Visitors {
    fn offer_client_auth(&self) -> bool {
        self.library.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.library.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.library.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        holder: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdict = self.library.verify_client_cert(holder, chain, now);
        self.pinned
            .unless_pinned(verdict.map(|_| ()), holder, now)?;
        self.rules.check(holder, chain)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.library.supported_verify_schemes()
    }
}

/// Judges those we connect to.
#[derive(Debug)]
pub(super) struct Hosts {
    pub(super) library: Arc<dyn ServerCertVerifier>,
    pub(super) pinned: Pinned,
    pub(super) rules: Rules,
}

impl ServerCertVerifier for Hosts {
    fn verify_server_cert(
        &self,
        holder: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self
            .library
            .verify_server_cert(holder, chain, name, ocsp, now)
            .map(|_| ());
        if verdict.is_err() {
            self.pinned.unless_pinned(verdict, holder, now)?;
            // The library stopped before it came to the name.
            verify_server_name(&ParsedCertificate::try_from(holder)?, name)?;
        }
        self.rules.check(holder, chain)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.library.supported_verify_schemes()
    }
}

/// Believes whoever answers; only that they hold the key of the certificate they show is checked.
#[derive(Debug)]
pub(super) struct Anybody {
    algorithms: WebPkiSupportedAlgorithms,
    rules: Rules,
}

impl Anybody {
    pub(super) fn new(provider: &CryptoProvider, rules: Rules) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
            rules,
        }
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        holder: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.rules.check(holder, chain)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
