//! Whether a certificate goes with the address its holder connects from: etcd's rule for peers.
//!
//! A certificate for addresses must name that address. One for names must have a name that leads to it;
//! one for a whole domain (`*.example.org`) is good if the address leads back into it. One for neither
//! says nothing about where its holder is.

use std::net::IpAddr;

use thiserror::Error;
use tokio::net::lookup_host;

use super::certificate::Certificate;

/// The holder connects from an address that is not the certificate's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("tls: {address} does not match any of the names of the certificate: {names}")]
pub struct ForeignAddress {
    /// Where it connects from.
    address: IpAddr,
    /// What the certificate is for.
    names: String,
}

/// Checks where the holder of the certificate connects from.
///
/// # Errors
/// When the certificate is for other places.
pub async fn check_address(der: &[u8], from: IpAddr) -> Result<(), ForeignAddress> {
    let foreign = |names: String| ForeignAddress {
        address: from,
        names,
    };
    let certificate = Certificate::parse(der).map_err(foreign)?;
    if certificate.addresses.is_empty() && certificate.dns_names.is_empty() {
        return Ok(());
    }
    if certificate.addresses.contains(&from) {
        return Ok(());
    }
    for name in &certificate.dns_names {
        if leads_to(name, from).await {
            return Ok(());
        }
    }
    let addresses = certificate.addresses.iter().map(IpAddr::to_string);
    let names: Vec<String> = addresses.chain(certificate.dns_names.clone()).collect();
    Err(foreign(names.join(", ")))
}

async fn leads_to(name: &str, address: IpAddr) -> bool {
    if let Some(domain) = name.strip_prefix("*.") {
        let domain = domain.to_owned();
        let back = tokio::task::spawn_blocking(move || dns_lookup::lookup_addr(&address));
        return match back.await {
            Ok(Ok(found)) => is_within(&found, &domain),
            Ok(Err(_)) | Err(_) => false,
        };
    }
    match lookup_host((name, 0)).await {
        Ok(mut found) => found.any(|found| found.ip().to_canonical() == address),
        Err(_) => false,
    }
}

/// One label, then the domain.
fn is_within(name: &str, domain: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.split_once('.').is_some_and(|(_, rest)| rest == domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_one_label_longer() {
        for (name, domain, within) in [
            ("a.example.org.", "example.org", true),
            ("A.Example.org", "example.org", true),
            ("a.b.example.org", "example.org", false),
            ("example.org", "example.org", false),
            ("aexample.org", "example.org", false),
        ] {
            assert_eq!(is_within(name, domain), within, "{name}");
        }
    }
}
