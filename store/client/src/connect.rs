//! A connection to one of several store members, and failover to the next when it is lost.
//! One member at a time: a client that balances over all of them would fail every other call while
//! one member is down. Retrying and waiting belong to the caller (see [`crate::backoff`]).

use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};

use tonic::transport::Channel;

use crate::endpoint::Endpoint;
use crate::failure::{self, Class};

/// How to reach the store.
#[derive(Clone)]
pub struct Options {
    /// Members to try, in order. Never empty.
    pub endpoints: Vec<Endpoint>,
    /// User name and password, when the store asks for them.
    pub user: Option<(String, String)>,
    /// TLS material, for `https` endpoints.
    pub tls: Option<Tls>,
    /// How long one member may take to accept a connection and to answer its first read.
    pub connect_timeout: Duration,
}

/// TLS material in PEM form, already read from disk.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificates that may have signed the member's. Empty: those the system trusts.
    pub ca_pem: Option<Vec<u8>>,
    /// Our certificate and key, when members ask for one.
    pub identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    /// Name to expect in the member's certificate instead of its host.
    pub server_name: Option<String>,
}

impl std::fmt::Debug for Tls {
    /// Never prints key material.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca_pem.is_some())
            .field("identity", &self.identity_pem.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

impl std::fmt::Debug for Options {
    /// Never prints the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

impl Options {
    /// Plain options for `endpoints`: no user, no TLS material, the default time limit.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            user: None,
            tls: None,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
        }
    }
}

/// 2 s: a member on the same continent answers in milliseconds; a longer wait only delays the try
/// of the next member.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// 10 s: etcd closes connections that ping more often than every 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// 5 s: with the interval above a silent peer is noticed within 15 s, below the default lease.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Hands out connections, one member at a time.
#[derive(Debug)]
pub struct Connector {
    options: Options,
    /// Index of the member to try first. Moves past a member that failed.
    next: usize,
}

/// A client bound to one member that answered.
#[derive(Clone)]
pub struct Connection {
    /// The client; cheap to clone, all clones share one HTTP/2 connection.
    pub client: Client,
    /// The member it talks to.
    pub endpoint: Endpoint,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.endpoint)
    }
}

impl Connector {
    /// A connector that starts with the first endpoint.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, next: 0 }
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Tries every member once, beginning with the one last known good, and returns the first that
    /// answers a linearizable read (so it has a leader, not just a socket).
    ///
    /// Call [`Connector::failed`] when the connection breaks later.
    ///
    /// # Errors
    /// When no member answered: the last reason, with the member it came from.
    pub async fn connect(&mut self) -> Result<Connection, ConnectError> {
        let count = self.options.endpoints.len();
        let mut last = None;
        for offset in 0..count {
            let index = (self.next + offset) % count;
            match self.try_one(&self.options.endpoints[index]).await {
                Ok(connection) => {
                    self.next = index;
                    return Ok(connection);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(ConnectError::NoEndpoint))
    }

    /// The connection handed out last broke: the next [`Connector::connect`] begins with another
    /// member.
    pub fn failed(&mut self) {
        self.next = (self.next + 1) % self.options.endpoints.len().max(1);
    }

    async fn try_one(&self, endpoint: &Endpoint) -> Result<Connection, ConnectError> {
        let reach = async {
            let options = Some(self.client_options(endpoint));
            let mut client = if endpoint.is_file() {
                let channel = Channel::from_shared(endpoint.to_string())?
                    .keep_alive_timeout(PING_TIMEOUT)
                    .http2_keep_alive_interval(PING_INTERVAL);
                Client::from_channel(
                    etcd_client::Channel::Tonic(channel.connect().await?),
                    options,
                )
                .await?
            } else {
                Client::connect([endpoint.to_string()], options).await?
            };
            // The key etcd's own health check reads. Not being allowed to read it is an answer too.
            match client.get("health", None).await {
                Ok(_) => Ok(client),
                Err(error) if failure::classify(&error) == Class::Forbidden => {
                    if self.options.user.is_some() {
                        Ok(client)
                    } else {
                        Err(error)
                    }
                }
                Err(error) => Err(error),
            }
        };
        // Boxed: it holds the set-up of several kinds of connection.
        match tokio::time::timeout(self.options.connect_timeout, Box::pin(reach)).await {
            Ok(Ok(client)) => Ok(Connection {
                client,
                endpoint: endpoint.clone(),
            }),
            Ok(Err(source)) => Err(ConnectError::Failed {
                endpoint: endpoint.clone(),
                reason: failure::describe(&source),
                class: failure::classify(&source),
                source: Box::new(source),
            }),
            Err(_) => Err(ConnectError::TimedOut {
                endpoint: endpoint.clone(),
                after: self.options.connect_timeout,
            }),
        }
    }

    fn client_options(&self, endpoint: &Endpoint) -> ConnectOptions {
        // No pings while idle: etcd counts them as abuse. Agents always hold a stream open.
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.options.connect_timeout)
            .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
            .with_keep_alive_while_idle(false)
            // A member cut off from its cluster must say so, not serve what it has for ever.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((name, password)) = &self.options.user {
            options = options.with_user(name.clone(), password.clone());
        }
        if endpoint.is_tls() {
            let tls = self.options.tls.clone().unwrap_or_default();
            let mut config = TlsOptions::new();
            config = match &tls.ca_pem {
                Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
                None => config.with_native_roots(),
            };
            if let Some((cert, key)) = &tls.identity_pem {
                config = config.identity(Identity::from_pem(cert, key));
            }
            if let Some(name) = &tls.server_name {
                config = config.domain_name(name.clone());
            }
            options = options.with_tls(config);
        }
        options
    }
}

/// Why no member could be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The options name no member.
    #[error("connect to the store: no endpoint is configured")]
    NoEndpoint,
    /// The member refused or broke off.
    #[error("connect to store {endpoint}: {reason}")]
    Failed {
        /// The member tried last.
        endpoint: Endpoint,
        /// One line from the store or the transport.
        reason: String,
        /// What kind of failure it is.
        class: Class,
        /// The error as the client crate gave it.
        #[source]
        source: Box<etcd_client::Error>,
    },
    /// The member did not answer in time.
    #[error("connect to store {endpoint}: no answer within {after:?}")]
    TimedOut {
        /// The member tried last.
        endpoint: Endpoint,
        /// The limit that passed.
        after: Duration,
    },
}

impl ConnectError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoEndpoint => Some("name one with --endpoints http://host:2379".to_owned()),
            Self::Failed {
                class: Class::Forbidden,
                ..
            } => Some(
                "check --user and --password, and that the user may read the prefix".to_owned(),
            ),
            Self::Failed { endpoint, .. } if endpoint.is_tls() => Some(
                "check that the store runs there, and the certificates (--cacert, --cert, --key)"
                    .to_owned(),
            ),
            Self::Failed { .. } | Self::TimedOut { .. } => {
                Some("check that the store runs there; the agent keeps trying".to_owned())
            }
        }
    }
}
