//! SRV records (RFC 2782) under etcd's names: `_etcd-client._tcp`, `_etcd-client-ssl._tcp` for clients, `_etcd-server…` for
//! members that begin together. Records of the `ssl` names are spoken to over TLS.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ServerOrderingStrategy,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use thiserror::Error;

/// How long a name server may take. A system's own default of 5 s is for people who wait for a page.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Tries beside the first: a lost datagram is no reason to give up.
const ATTEMPTS: usize = 1;

/// Who is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Where clients go.
    Client,
    /// Where the other members go.
    Server,
}

/// Whose records are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    /// The domain.
    pub name: String,
    /// Told apart within the domain by this word, if there are several clusters.
    pub service: Option<String>,
    /// The name server to ask; none = those of the system.
    pub server: Option<SocketAddr>,
}

/// One record, made into a place to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Over TLS.
    pub secure: bool,
    /// The host, without a dot at its end.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Lower ones first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
}

impl Found {
    /// As a URL.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

/// Why nothing was found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SrvError {
    /// No name server is known.
    #[error("find the system's name servers")]
    Servers(#[source] NetError),
    /// The question failed.
    #[error("look up {name}")]
    Lookup {
        /// What was asked for.
        name: String,
        /// Why.
        #[source]
        source: NetError,
    },
    /// There is no such record.
    #[error("neither {names} has a record")]
    Nothing {
        /// What was asked for.
        names: String,
    },
}

impl SrvError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Servers(_) => "look at /etc/resolv.conf, or name one with --discovery-dns-server",
            Self::Lookup { .. } => {
                "look at the name server, or name another with --discovery-dns-server"
            }
            Self::Nothing { .. } => {
                "add SRV records for the members, or check --discovery-srv and --discovery-srv-name"
            }
        }
    }
}

impl Domain {
    /// The name of the records.
    #[must_use]
    pub fn record(&self, role: Role, secure: bool) -> String {
        let role = match role {
            Role::Client => "client",
            Role::Server => "server",
        };
        let secure = if secure { "-ssl" } else { "" };
        let service = self.service.iter().filter(|service| !service.is_empty());
        let service: String = service.map(|service| format!("-{service}")).collect();
        format!("_etcd-{role}{secure}{service}._tcp.{}", self.name)
    }

    /// All records, those over TLS first, each kind by priority, host and port.
    ///
    /// # Errors
    /// When there is none, or nobody could say.
    pub async fn find(&self, role: Role) -> Result<Vec<Found>, SrvError> {
        let resolver = self.resolver()?;
        let mut all = Vec::new();
        let mut failed = None;
        for secure in [true, false] {
            match look_up(&resolver, self.record(role, secure), secure).await {
                Ok(found) => all.extend(found),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            // One kind is enough, whatever became of the other.
            _ if !all.is_empty() => Ok(all),
            Some(error) => Err(error),
            None => Err(SrvError::Nothing {
                names: [true, false]
                    .map(|secure| self.record(role, secure))
                    .join(" nor "),
            }),
        }
    }

    fn resolver(&self) -> Result<TokioResolver, SrvError> {
        let mut builder = match self.server {
            None => TokioResolver::builder_tokio().map_err(SrvError::Servers)?,
            Some(server) => {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = server.port();
                }
                let server = NameServerConfig::new(server.ip(), true, connections);
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.timeout = ANSWER_TIMEOUT;
        options.attempts = ATTEMPTS;
        // In the order of the system's file, as every other program asks.
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        builder.build().map_err(SrvError::Servers)
    }
}

/// The records of one name; none is no failure.
async fn look_up(
    resolver: &TokioResolver,
    name: String,
    secure: bool,
) -> Result<Vec<Found>, SrvError> {
    let answer = match resolver.srv_lookup(name.as_str()).await {
        Ok(answer) => answer,
        Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
        Err(source) => return Err(SrvError::Lookup { name, source }),
    };
    let mut all = Vec::new();
    for record in answer.answers() {
        if let RData::SRV(srv) = &record.data {
            let host = srv.target.to_utf8();
            all.push(Found {
                secure,
                host: host.trim_end_matches('.').to_owned(),
                port: srv.port,
                priority: srv.priority,
                weight: srv.weight,
            });
        }
    }
    all.sort_by(|one, other| {
        let key = |found: &Found| (found.priority, found.host.clone(), found.port);
        key(one).cmp(&key(other))
    });
    Ok(all)
}

#[cfg(test)]
mod tests {
    use end_to_end::dns::Dns;

    use super::*;

    fn domain(dns: &Dns) -> Domain {
        Domain {
            name: "example.test".to_owned(),
            service: None,
            server: Some(dns.address()),
        }
    }

    #[test]
    fn names_are_etcd_s() {
        let mut domain = Domain {
            name: "d".to_owned(),
            ..Domain::default()
        };
        assert_eq!(domain.record(Role::Client, false), "_etcd-client._tcp.d");
        assert_eq!(domain.record(Role::Server, true), "_etcd-server-ssl._tcp.d");
        domain.service = Some("s".to_owned());
        assert_eq!(
            domain.record(Role::Client, true),
            "_etcd-client-ssl-s._tcp.d"
        );
    }

    #[tokio::test]
    async fn records_become_places_in_their_order() {
        let dns = Dns::start(&[
            (
                "_etcd-client._tcp.example.test",
                20,
                1,
                2379,
                "b.example.test",
            ),
            (
                "_etcd-client._tcp.example.test",
                10,
                5,
                2379,
                "c.example.test",
            ),
            (
                "_etcd-client-ssl._tcp.example.test",
                0,
                0,
                2377,
                "a.example.test",
            ),
        ]);
        let found = domain(&dns).find(Role::Client).await.unwrap();
        let urls: Vec<String> = found.iter().map(Found::url).collect();
        assert_eq!(
            urls,
            [
                "https://a.example.test:2377",
                "http://c.example.test:2379",
                "http://b.example.test:2379"
            ]
        );
        assert_eq!((found[1].priority, found[1].weight), (10, 5));
    }

    #[tokio::test]
    async fn no_records_and_no_server_are_told_apart() {
        let dns = Dns::start(&[]);
        let nothing = domain(&dns).find(Role::Server).await.unwrap_err();
        assert_eq!(
            nothing.to_string(),
            "neither _etcd-server-ssl._tcp.example.test nor _etcd-server._tcp.example.test has a record"
        );
        let mut gone = domain(&dns);
        drop(dns);
        gone.service = Some("x".to_owned());
        let failed = gone.find(Role::Server).await.unwrap_err();
        assert!(matches!(failed, SrvError::Lookup { .. }), "{failed}");
    }
}
