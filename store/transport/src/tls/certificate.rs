//! What a certificate says of its holder.

use std::net::IpAddr;
use std::path::Path;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::error::TlsError;
use super::pem;

/// The parts of a certificate that rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name; empty without one.
    pub common_name: String,
    /// DNS names of the subject; may begin with `*.`.
    pub dns_names: Vec<String>,
    /// Addresses of the subject.
    pub addresses: Vec<IpAddr>,
    /// The issuer's number for it.
    pub serial: Vec<u8>,
    /// Seconds since 1970 from which on it counts.
    pub not_before: i64,
    /// Seconds since 1970 until which it counts.
    pub not_after: i64,
}

impl Certificate {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der)
            .map_err(|error| format!("not a certificate: {error}"))?;
        let mut dns_names = Vec::new();
        let mut addresses = Vec::new();
        let names = parsed.subject_alternative_name();
        let names = names.map_err(|error| format!("its alternative names: {error}"))?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        let common_name = parsed.subject().iter_common_name().next();
        Ok(Self {
            common_name: common_name
                .and_then(|name| name.as_str().ok())
                .unwrap_or_default()
                .to_owned(),
            dns_names,
            addresses,
            serial: parsed.raw_serial().to_vec(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }

    /// All certificates of a PEM file.
    ///
    /// # Errors
    /// When it cannot be read or holds something else.
    pub fn of_file(path: &Path) -> Result<Vec<Self>, TlsError> {
        const WHAT: &str = "certificate";
        pem::certificates(WHAT, path)?
            .iter()
            .map(|der| Self::parse(der).map_err(|why| pem::content(WHAT, path, why)))
            .collect()
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
