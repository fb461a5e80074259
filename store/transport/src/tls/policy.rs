//! Versions of TLS and cipher suites, by the names Go gives them.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, SupportedProtocolVersion};
use thiserror::Error;
use tokio_rustls::rustls;

/// Suites there are, as Go's `crypto/tls` names them (two of them without the hash, from before it
/// was part of the name).
const SUITES: [(&str, CipherSuite); 11] = [
    (
        "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    ),
    (
        "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// How Go names the suites this program leaves out on purpose begins and goes on: no forward secrecy
/// (`TLS_RSA_…`), CBC, RC4 or 3DES.
const WEAK: [&str; 4] = ["TLS_RSA_WITH_", "_CBC_", "_RC4_", "_3DES_"];

/// Which versions and suites are spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    tls12: bool,
    tls13: bool,
    /// Suites of TLS 1.2; empty = all there are.
    suites: Vec<CipherSuite>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tls12: true,
            tls13: true,
            suites: Vec::new(),
        }
    }
}

/// Versions and suites that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// Not a version.
    #[error("unexpected TLS version {0:?}")]
    Version(String),
    /// The lowest is above the highest.
    #[error("the lowest version of TLS is above the highest")]
    Order,
    /// A suite nobody knows.
    #[error("unexpected TLS cipher suite {0:?}")]
    Suite(String),
    /// A suite that is known and not spoken.
    #[error("TLS cipher suite {0:?} is not offered: it is known to be weak")]
    Weak(String),
    /// A choice that TLS 1.3 does not have.
    #[error("cipher suites cannot be chosen when only TLS 1.3 is spoken")]
    OnlyNewest,
    /// A choice that leaves TLS 1.2 nothing.
    #[error("none of the cipher suites is one of TLS 1.2")]
    NoneLeft,
}

impl PolicyError {
    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Version(_) => "one of TLS1.2, TLS1.3".into(),
            Self::Order => "the default is TLS1.2 and above".into(),
            Self::Suite(_) | Self::Weak(_) | Self::NoneLeft => {
                let names: Vec<&str> = SUITES
                    .iter()
                    .map(|(name, _)| *name)
                    .filter(|name| name.contains("_WITH_"))
                    .collect();
                format!("there are {}", names.join(", "))
            }
            Self::OnlyNewest => "leave the cipher suites out, or speak TLS1.2 as well".into(),
        }
    }
}

impl Policy {
    /// From the words of flags: lowest and highest version (empty = what there is), names of suites.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn new(lowest: &str, highest: &str, suites: &[String]) -> Result<Self, PolicyError> {
        let version = |word: &str, otherwise: u8| match word {
            "" => Ok(otherwise),
            "TLS1.2" => Ok(2),
            "TLS1.3" => Ok(3),
            _ => Err(PolicyError::Version(word.to_owned())),
        };
        let (lowest, highest) = (version(lowest, 2)?, version(highest, 3)?);
        if lowest > highest {
            return Err(PolicyError::Order);
        }
        if lowest == 3 && !suites.is_empty() {
            return Err(PolicyError::OnlyNewest);
        }
        let chosen: Vec<CipherSuite> = suites
            .iter()
            .map(|name| suite(name))
            .collect::<Result<_, _>>()?;
        let newest = |suite: &CipherSuite| SUITES[..3].iter().any(|(_, new)| new == suite);
        if !chosen.is_empty() && highest == 2 && chosen.iter().all(newest) {
            return Err(PolicyError::NoneLeft);
        }
        Ok(Self {
            tls12: lowest == 2,
            tls13: highest == 3,
            suites: chosen,
        })
    }

    /// The versions for the library.
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let mut versions = Vec::new();
        if self.tls13 {
            versions.push(&rustls::version::TLS13);
        }
        if self.tls12 {
            versions.push(&rustls::version::TLS12);
        }
        versions
    }

    /// The cryptography with the suites that were chosen. As in Go, the choice is one among those of
    /// TLS 1.2; those of TLS 1.3 are all good and always there.
    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = ring::default_provider();
        if !self.suites.is_empty() {
            provider
                .cipher_suites
                .retain(|suite| suite.tls13().is_some() || self.suites.contains(&suite.suite()));
        }
        Arc::new(provider)
    }
}

fn suite(name: &str) -> Result<CipherSuite, PolicyError> {
    if let Some((_, suite)) = SUITES.iter().find(|(known, _)| *known == name) {
        return Ok(*suite);
    }
    if name.starts_with("TLS_") && WEAK.iter().any(|part| name.contains(part)) {
        return Err(PolicyError::Weak(name.to_owned()));
    }
    Err(PolicyError::Suite(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(lowest: &str, highest: &str, suites: &[&str]) -> Result<Policy, PolicyError> {
        let suites: Vec<String> = suites.iter().map(|name| (*name).to_owned()).collect();
        Policy::new(lowest, highest, &suites)
    }

    #[test]
    fn every_suite_that_has_a_name_exists() {
        let offered = ring::default_provider().cipher_suites;
        for (name, suite) in SUITES {
            assert!(offered.iter().any(|known| known.suite() == suite), "{name}");
        }
    }

    #[test]
    fn versions_and_suites_are_chosen() {
        assert_eq!(policy("TLS1.2", "", &[]), Ok(Policy::default()));
        assert_eq!(policy("TLS1.3", "", &[]).unwrap().versions().len(), 1);
        let one = policy("", "", &["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]).unwrap();
        // That one, and the three of TLS 1.3.
        assert_eq!(one.provider().cipher_suites.len(), 4);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let rsa = "TLS_RSA_WITH_AES_128_GCM_SHA256";
        let cbc = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
        let good = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        let table = [
            ("TLS1.1", "", "", PolicyError::Version("TLS1.1".into())),
            ("TLS1.3", "TLS1.2", "", PolicyError::Order),
            ("TLS1.3", "", good, PolicyError::OnlyNewest),
            ("", "", rsa, PolicyError::Weak(rsa.into())),
            ("", "", cbc, PolicyError::Weak(cbc.into())),
            ("", "", "AES", PolicyError::Suite("AES".into())),
            (
                "",
                "TLS1.2",
                "TLS_AES_128_GCM_SHA256",
                PolicyError::NoneLeft,
            ),
        ];
        for (lowest, highest, suite, wanted) in table {
            let suites: Vec<&str> = suite.split(' ').filter(|name| !name.is_empty()).collect();
            assert_eq!(policy(lowest, highest, &suites).unwrap_err(), wanted);
            assert!(!wanted.hint().is_empty());
        }
    }
}
