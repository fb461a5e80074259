//! Settings with their files read: what the library needs, and until when it is good.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::rustls;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::certificate::Certificate;
use super::error::TlsError;
use super::pem;
use super::settings::{CertificateFiles, Settings};
use super::trust::{Anybody, Hosts, Pinned, Rules, Visitors};

/// What HTTP speaks over TLS; who names none of these, or nothing, is served all the same.
const ALPN_SERVED: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The same towards others, for clients of gRPC: its newer servers turn away who does not name HTTP/2 in the handshake.
#[must_use]
pub fn for_http2(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![ALPN_SERVED[0].to_vec()];
    Arc::new(config)
}

/// What has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The certificate shown to those who connect.
    Server,
    /// The certificate shown when connecting, if it is another.
    Client,
    /// The authorities trusted: the first of them to end.
    Authority,
    /// The list of revoked certificates, which tells when there will be a newer one.
    Revoked,
}

impl Part {
    /// For metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Authority => "authority",
            Self::Revoked => "revocation_list",
        }
    }
}

/// When something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What.
    pub part: Part,
    /// Seconds since 1970.
    pub at: i64,
}

/// What comes of settings once their files are read. Never changed: a newer one takes its place.
#[derive(Debug)]
pub struct Material {
    /// For those who connect; `None` without a certificate of our own.
    pub server: Option<Arc<ServerConfig>>,
    /// For connecting; `None` if nobody is connected to.
    pub client: Option<Arc<ClientConfig>>,
    /// What ends when.
    pub expiries: Vec<Expiry>,
}

/// A certificate with its chain and key.
type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The authorities, for the library and as they stand.
struct Authorities {
    roots: Arc<RootCertStore>,
    pinned: Pinned,
}

impl Material {
    /// Reads the files.
    ///
    /// # Errors
    /// The first file that is not what it should be.
    pub fn load(settings: &Settings) -> Result<Self, TlsError> {
        let provider = settings.policy.provider();
        let mut expiries = Vec::new();
        let mut note = |part, at| expiries.push(Expiry { part, at });
        let authorities = match &settings.authorities {
            Some(path) => {
                let (authorities, first_end) = authorities(path)?;
                note(Part::Authority, first_end);
                Some(authorities)
            }
            None => None,
        };
        let mut rules = Rules {
            allowed: settings.allowed.clone(),
            ..Rules::default()
        };
        if let Some(path) = &settings.revoked {
            let (numbers, next) = revoked(path)?;
            rules.revoked = numbers;
            if let Some(next) = next {
                note(Part::Revoked, next);
            }
        }
        let mut server = None;
        if let Some(files) = &settings.own {
            let shown = shown(files)?;
            note(Part::Server, end_of(&shown, files)?);
            server = Some(server_config(
                settings,
                &provider,
                shown,
                files,
                authorities.as_ref(),
                rules.clone(),
            )?);
        }
        if let Some(files) = &settings.own_as_client {
            note(Part::Client, end_of(&shown(files)?, files)?);
        }
        let client = if settings.dials {
            Some(client_config(settings, &provider, authorities, rules)?)
        } else {
            None
        };
        Ok(Self {
            server,
            client,
            expiries,
        })
    }
}

fn library(error: &dyn Display) -> TlsError {
    TlsError::Library(error.to_string())
}

fn shown(files: &CertificateFiles) -> Result<Shown, TlsError> {
    let chain = pem::certificates("certificate", &files.certificate)?;
    Ok((chain, pem::key("key", &files.key)?))
}

/// When the certificate of the holder ends.
fn end_of(shown: &Shown, files: &CertificateFiles) -> Result<i64, TlsError> {
    let path = &files.certificate;
    let read = Certificate::parse(&shown.0[0]);
    let read = read.map_err(|why| pem::content("certificate", path, why))?;
    Ok(read.not_after)
}

fn authorities(path: &Path) -> Result<(Authorities, i64), TlsError> {
    const WHAT: &str = "trusted authorities";
    let found = pem::certificates(WHAT, path)?;
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.iter().cloned());
    if taken == 0 {
        return Err(pem::content(
            WHAT,
            path,
            "none of its certificates can be used",
        ));
    }
    let ends = found
        .iter()
        .map(|der| Certificate::parse(der).map(|certificate| certificate.not_after));
    let ends: Result<Vec<i64>, String> = ends.collect();
    let ends = ends.map_err(|why| pem::content(WHAT, path, why))?;
    let first_end = ends.into_iter().min().unwrap_or(i64::MAX);
    let authorities = Authorities {
        roots: Arc::new(roots),
        pinned: Pinned(found),
    };
    Ok((authorities, first_end))
}

/// What the system trusts.
fn system_roots() -> Result<Authorities, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(Authorities {
        roots: Arc::new(roots),
        pinned: Pinned(Vec::new()),
    })
}

/// The numbers on the lists, and when the first newer list is due.
fn revoked(path: &Path) -> Result<(BTreeSet<Vec<u8>>, Option<i64>), TlsError> {
    const WHAT: &str = "revoked certificates";
    let mut numbers = BTreeSet::new();
    let mut next: Option<i64> = None;
    for list in pem::revoked(WHAT, path)? {
        let (_, list) = CertificateRevocationList::from_der(&list)
            .map_err(|error| pem::content(WHAT, path, format!("not a list: {error}")))?;
        numbers.extend(
            list.iter_revoked_certificates()
                .map(|revoked| revoked.raw_serial().to_vec()),
        );
        let due = list.next_update().map(|due| due.timestamp());
        next = [next, due].into_iter().flatten().min();
    }
    Ok((numbers, next))
}

fn server_config(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
    (chain, key): Shown,
    files: &CertificateFiles,
    authorities: Option<&Authorities>,
    rules: Rules,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier: Arc<dyn ClientCertVerifier> = match authorities {
        Some(authorities) => Arc::new(Visitors {
            library: WebPkiClientVerifier::builder_with_provider(
                Arc::clone(&authorities.roots),
                Arc::clone(provider),
            )
            .build()
            .map_err(|error| library(&error))?,
            pinned: authorities.pinned.clone(),
            rules,
        }),
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&settings.policy.versions())
        .map_err(|error| library(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| pair(files, &error))?;
    config.alpn_protocols = ALPN_SERVED.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

fn client_config(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
    authorities: Option<Authorities>,
    rules: Rules,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&settings.policy.versions())
        .map_err(|error| library(&error))?
        .dangerous();
    let builder = if settings.trust_all {
        builder.with_custom_certificate_verifier(Arc::new(Anybody::new(provider, rules)))
    } else {
        let authorities = authorities.map_or_else(system_roots, Ok)?;
        let library =
            WebPkiServerVerifier::builder_with_provider(authorities.roots, Arc::clone(provider));
        builder.with_custom_certificate_verifier(Arc::new(Hosts {
            library: library.build().map_err(|error| self::library(&error))?,
            pinned: authorities.pinned,
            rules,
        }))
    };
    let config = match settings.own_as_client.as_ref().or(settings.own.as_ref()) {
        Some(files) => {
            let (chain, key) = shown(files)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| pair(files, &error))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn pair(files: &CertificateFiles, error: &rustls::Error) -> TlsError {
    TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        why: match error {
            rustls::Error::InconsistentKeys(_) => "the key is not that of the certificate".into(),
            error => error.to_string(),
        },
    }
}
