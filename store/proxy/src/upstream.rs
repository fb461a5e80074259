//! The flags that say where the cluster is, and what comes of them: a list of endpoints, or what a domain's records name.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hyper_util::rt::TokioIo;
use store_discovery::srv::{Domain, Role, SrvError};
use store_transport::dial::{self, BadUrl, Target};
use store_transport::tls::rustls::ClientConfig;
use store_transport::tls::{CertificateFiles, Material, Settings, TlsError, for_http2};
use store_transport::{Socket, Stream};
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};

use crate::gateway::choice::Candidate;

/// How long connecting may take, handshake included.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the cluster is.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpstreamArgs {
    /// Members to forward to, separated by commas
    #[arg(
        long,
        value_name = "URLS",
        value_delimiter = ',',
        default_value = "127.0.0.1:2379"
    )]
    pub(crate) endpoints: Vec<String>,
    /// Domain whose records name the endpoints
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) discovery_srv: Option<String>,
    /// Name of the service in these records
    #[arg(long, value_name = "NAME")]
    pub(crate) discovery_srv_name: Option<String>,
    /// Name server to ask for them, as address:port [default: the system's]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) discovery_dns_server: Option<SocketAddr>,
    /// Take endpoints in the clear from these records
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) insecure_discovery: bool,
}

/// How TLS is spoken to the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) certificate: Option<CertificateFiles>,
    pub(crate) anybody: bool,
}

/// Why the cluster cannot be found.
#[derive(Debug, Error)]
pub(crate) enum UpstreamError {
    #[error("find the cluster")]
    Srv(#[from] SrvError),
    #[error("take endpoints in the clear from records of {domain}")]
    Insecure { domain: String },
    #[error("read endpoint {url:?}")]
    Url {
        url: String,
        #[source]
        source: BadUrl,
    },
    #[error("speak TLS to the cluster")]
    Tls(#[from] TlsError),
    #[error("connect to {url}")]
    Connect {
        url: String,
        #[source]
        source: tonic::transport::Error,
    },
}

impl UpstreamError {
    /// What to do.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Srv(error) => error.hint().to_owned(),
            Self::Insecure { .. } => {
                "add _etcd-client-ssl._tcp records, or allow it with --insecure-discovery"
                    .to_owned()
            }
            Self::Url { .. } => {
                "write host:port, or a URL with http, https, unix or unixs".to_owned()
            }
            Self::Tls(error) => error.hint(),
            Self::Connect { .. } => "check --endpoints and whether a member runs there".to_owned(),
        }
    }
}

impl UpstreamArgs {
    /// The endpoints there are now.
    pub(crate) async fn candidates(&self) -> Result<Vec<Candidate>, UpstreamError> {
        let Some(domain) = &self.discovery_srv else {
            let all = self.endpoints.iter().map(|url| Candidate {
                url: url.trim().to_owned(),
                priority: 0,
                weight: 1,
            });
            let all: Vec<Candidate> = all.filter(|one| !one.url.is_empty()).collect();
            for one in &all {
                target(&one.url)?;
            }
            return Ok(all);
        };
        let found = Domain {
            name: domain.clone(),
            service: self.discovery_srv_name.clone(),
            server: self.discovery_dns_server,
        };
        let mut found = found.find(Role::Client).await?;
        if !self.insecure_discovery {
            found.retain(|one| one.secure);
        }
        if found.is_empty() {
            let domain = domain.clone();
            return Err(UpstreamError::Insecure { domain });
        }
        let all = found.into_iter().map(|one| Candidate {
            url: one.url(),
            priority: one.priority,
            weight: one.weight,
        });
        Ok(all.collect())
    }
}

/// What a URL leads to.
pub(crate) fn target(url: &str) -> Result<Target, UpstreamError> {
    Target::parse(url).map_err(|source| UpstreamError::Url {
        url: url.to_owned(),
        source,
    })
}

impl Trust {
    /// What the library needs for it.
    pub(crate) fn client(&self) -> Result<Option<Arc<ClientConfig>>, UpstreamError> {
        let settings = Settings {
            own_as_client: self.certificate.clone(),
            authorities: self.authorities.clone(),
            trust_all: self.anybody,
            dials: true,
            ..Settings::default()
        };
        Ok(Material::load(&settings)?.client)
    }

    /// Whether an endpoint without a scheme is spoken to over TLS.
    fn is_given(&self) -> bool {
        self.authorities.is_some() || self.certificate.is_some()
    }

    /// Whether TLS is spoken to it.
    pub(crate) fn secures(&self, target: &Target) -> bool {
        target.secure.unwrap_or_else(|| self.is_given())
    }

    /// Opens a stream that the bytes of HTTP/2 go over.
    pub(crate) async fn open(
        &self,
        target: &Target,
        config: Option<Arc<ClientConfig>>,
    ) -> std::io::Result<Stream> {
        let opened = async {
            match config.filter(|_| self.secures(target)) {
                Some(config) => dial::secure(&target.place, None, config, None).await,
                None => Ok(Stream::Plain(dial::plain(&target.place, None).await?)),
            }
        };
        // Safe to cancel: a stream that is not open yet is dropped.
        let opened = tokio::time::timeout(DIAL_TIMEOUT, opened).await;
        opened.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
    }

    /// Opens a channel for calls of our own.
    pub(crate) async fn channel(&self, url: &str) -> Result<Channel, UpstreamError> {
        let target = target(url)?;
        let config = match self.secures(&target) {
            true => self.client()?.map(|config| for_http2(&config)),
            false => None,
        };
        let failed = |source| UpstreamError::Connect {
            url: url.to_owned(),
            source,
        };
        // TLS is spoken below; to the client above all is in the clear.
        let endpoint =
            Endpoint::from_shared(format!("http://{}", target.authority)).map_err(failed)?;
        let trust = self.clone();
        let connector = tower::service_fn(move |_| {
            let (trust, target, config) = (trust.clone(), target.clone(), config.clone());
            async move {
                let stream = trust.open(&target, config).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        let endpoint = endpoint.connect_timeout(DIAL_TIMEOUT);
        let connecting = endpoint.connect_with_connector(connector);
        connecting.await.map_err(failed)
    }
}

/// Opens a stream in the clear, for bytes that are nobody's business here.
pub(crate) async fn plain(url: &str) -> std::io::Result<Socket> {
    let target = Target::parse(url)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    let opened = dial::plain(&target.place, None);
    // Safe to cancel: a stream that is not open yet is dropped.
    let opened = tokio::time::timeout(DIAL_TIMEOUT, opened).await;
    opened.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}
