//! Finds the other first members before a store is made: by a domain's records, or over another cluster. What it finds takes
//! the place of `--initial-cluster`. A member that has its data needs none of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use store_discovery::registry::{Newcomer, Registry, RegistryError};
use store_discovery::service::{Service, ServiceError};
use store_discovery::srv::{Domain, Found, Role, SrvError};
use store_transport::tls::{CertificateFiles, Material, Settings, TlsError, for_http2};
use store_wal::{RealDisk, Wal};
use thiserror::Error;
use tokio::net::lookup_host;

use crate::config::address::{self, Address};
use crate::config::args::Args;
use crate::config::discovery::DiscoveryArgs;
use crate::config::error::ConfigError;
use crate::identity;

/// Why they were not found.
#[derive(Debug, Error)]
pub(crate) enum DiscoveryError {
    /// Several ways to find them.
    #[error("--{first} and --{second} both say who is in the cluster")]
    Both {
        /// One flag.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// Half of what is needed.
    #[error("--{given} needs --{missing}")]
    Half {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// An own URL is none.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The records do not say.
    #[error("find the members by the records of {domain}")]
    Srv {
        /// The domain.
        domain: String,
        /// Why.
        #[source]
        source: Box<SrvError>,
    },
    /// This member is not among them.
    #[error("the records of {domain} name no member at {urls}: they have {found}")]
    NotListed {
        /// The domain.
        domain: String,
        /// Where this member is.
        urls: String,
        /// What the records have.
        found: String,
    },
    /// The certificates for the other cluster.
    #[error("speak TLS to --discovery-endpoints")]
    Tls(#[from] TlsError),
    /// The other cluster does not say.
    #[error("find the members over another cluster")]
    Registry(#[from] RegistryError),
    /// The store behind the URL does not say.
    #[error("find the members by --discovery")]
    Service(#[from] ServiceError),
}

impl DiscoveryError {
    /// What to do.
    #[must_use]
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Both { .. } => Some("leave all but one of them out".to_owned()),
            Self::Half { missing, .. } => Some(format!("add --{missing}, or leave both out")),
            Self::Config(error) => error.hint(),
            Self::Srv { source, .. } => Some(source.hint().to_owned()),
            Self::NotListed { .. } => Some(
                "--initial-advertise-peer-urls must lead to the host and port of a record, or the record to it"
                    .to_owned(),
            ),
            Self::Tls(error) => Some(error.hint()),
            Self::Registry(error) => Some(error.hint()),
            Self::Service(error) => Some(error.hint()),
        }
    }
}

/// Whether the flags ask for it; they must ask for one way.
///
/// # Errors
/// Flags that do not go together.
pub(crate) fn asked(args: &Args) -> Result<bool, DiscoveryError> {
    let flags = &args.discovery;
    let halves = [
        ("discovery-token", flags.discovery_token.is_empty()),
        ("discovery-endpoints", flags.discovery_endpoints.is_empty()),
    ];
    for (at, other) in [(0, 1), (1, 0)] {
        if !halves[at].1 && halves[other].1 {
            return Err(DiscoveryError::Half {
                given: halves[at].0,
                missing: halves[other].0,
            });
        }
    }
    let ways = [
        ("initial-cluster", args.initial_cluster.is_some()),
        ("discovery-srv", !flags.discovery_srv.is_empty()),
        ("discovery", !flags.discovery.is_empty()),
        ("discovery-endpoints", !flags.discovery_endpoints.is_empty()),
    ];
    let mut given = ways
        .iter()
        .filter(|(_, given)| *given)
        .map(|(flag, _)| *flag);
    match (given.next(), given.next()) {
        (Some(first), Some(second)) => Err(DiscoveryError::Both { first, second }),
        (Some(way), None) => Ok(way != "initial-cluster"),
        _ => Ok(false),
    }
}

/// Whether this member has its data, and so needs to find nobody. A folder that cannot be read is for the start to judge.
pub(crate) fn has_data(folder: &Path) -> bool {
    !matches!(Wal::identity(&RealDisk, folder), Ok(None))
}

/// Finds the members and writes them into the flags, as a person would have.
///
/// # Errors
/// See [`DiscoveryError`].
pub(crate) async fn found(mut args: Args) -> Result<Args, DiscoveryError> {
    let cluster = if !args.discovery.discovery.is_empty() {
        let cluster = below_url(&args).await?;
        // As in etcd: ids are made of it.
        args.initial_cluster_token = args.discovery.discovery.clone();
        cluster
    } else if args.discovery.discovery_srv.is_empty() {
        let cluster = over_cluster(&args).await?;
        args.initial_cluster_token = args.discovery.discovery_token.clone();
        cluster
    } else {
        let (cluster, own) = by_records(&args).await?;
        args.initial_advertise_peer_urls = own;
        cluster
    };
    tracing::info!(initial_cluster = cluster, "found the members");
    args.initial_cluster = Some(cluster);
    Ok(args)
}

fn own_urls(args: &Args) -> Result<Vec<Address>, DiscoveryError> {
    let urls = &args.initial_advertise_peer_urls;
    Ok(address::list("initial-advertise-peer-urls", urls)?)
}

/// As etcd does: a record that leads to an own URL is this member, the others are numbered. All are at the URLs of the
/// records, whatever they call themselves: ids are made of these, and every member must come to the same. Gives the list
/// and where it has this member.
async fn by_records(args: &Args) -> Result<(String, String), DiscoveryError> {
    let flags = &args.discovery;
    let domain = flags.discovery_srv.clone();
    let service = &flags.discovery_srv_name;
    let asked = Domain {
        name: domain.clone(),
        service: (!service.is_empty()).then(|| service.clone()),
        server: flags.discovery_dns_server,
    };
    let found = asked.find(Role::Server).await;
    let found = found.map_err(|source| DiscoveryError::Srv {
        domain: domain.clone(),
        source: Box::new(source),
    })?;
    let own = own_urls(args)?;
    let mut places = BTreeMap::new();
    for url in &own {
        places.insert(url.to_string(), resolved(&url.host).await);
    }
    let mut entries = Vec::new();
    let mut listed = Vec::new();
    for (number, one) in found.iter().enumerate() {
        let mut is_own = false;
        for url in &own {
            let fits = url.scheme.is_secure() == one.secure && url.port == one.port;
            is_own |= fits && same_host(url, one, places.get(&url.to_string())).await;
        }
        let url = one.url();
        if is_own {
            entries.push(format!("{}={url}", args.name));
            listed.push(url);
        } else {
            entries.push(format!("{number}={url}"));
        }
    }
    if !listed.is_empty() {
        return Ok((entries.join(","), listed.join(",")));
    }
    Err(DiscoveryError::NotListed {
        domain,
        urls: args.initial_advertise_peer_urls.clone(),
        found: found.iter().map(Found::url).collect::<Vec<_>>().join(", "),
    })
}

async fn same_host(url: &Address, one: &Found, places: Option<&Vec<IpAddr>>) -> bool {
    if url.host.eq_ignore_ascii_case(&one.host) {
        return true;
    }
    let theirs = resolved(&one.host).await;
    places.is_some_and(|places| places.iter().any(|place| theirs.contains(place)))
}

/// The addresses of a host; none of one nobody knows.
async fn resolved(host: &str) -> Vec<IpAddr> {
    let found = lookup_host((host, 0)).await;
    let found = found.map(|all| all.map(|address| address.ip().to_canonical()).collect());
    found.unwrap_or_default()
}

/// How TLS is spoken to whoever helps.
fn settings(flags: &DiscoveryArgs) -> Settings {
    Settings {
        own_as_client: match (&flags.discovery_cert, &flags.discovery_key) {
            (Some(certificate), Some(key)) => Some(CertificateFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => None,
        },
        authorities: flags.discovery_cacert.clone(),
        trust_all: flags.discovery_insecure_skip_tls_verify,
        dials: true,
        ..Settings::default()
    }
}

/// This member, as the others are to find it; its id is made of the token.
fn newcomer(args: &Args, token: &str) -> Result<Newcomer, DiscoveryError> {
    let urls: Vec<String> = own_urls(args)?.iter().map(Address::to_string).collect();
    let entry: Vec<String> = urls
        .iter()
        .map(|url| format!("{}={url}", args.name))
        .collect();
    Ok(Newcomer {
        id: identity::member_id(&urls, token),
        entry: entry.join(","),
    })
}

async fn below_url(args: &Args) -> Result<String, DiscoveryError> {
    let flags = &args.discovery;
    let tls = match flags.discovery.starts_with("https:") {
        true => Material::load(&settings(flags))?.client,
        false => None,
    };
    let service = Service::new(&flags.discovery, tls)?;
    let newcomer = newcomer(args, &flags.discovery)?;
    let joined = service.join(&newcomer, |why| tracing::warn!("discovery: {why}"));
    Ok(joined.await?)
}

async fn over_cluster(args: &Args) -> Result<String, DiscoveryError> {
    let flags = &args.discovery;
    let endpoints: Vec<String> = flags
        .discovery_endpoints
        .split(',')
        .map(|url| url.trim().to_owned())
        .collect();
    let insecure = flags.discovery_insecure_transport && flags.discovery_cacert.is_none();
    let clear = |url: &String| url.starts_with("http:") || (insecure && !url.contains("://"));
    let tls = match endpoints.iter().all(clear) {
        true => None,
        false => Material::load(&settings(flags))?
            .client
            .map(|config| for_http2(&config)),
    };
    let newcomer = newcomer(args, &flags.discovery_token)?;
    let user = match flags.discovery_user.split_once(':') {
        _ if flags.discovery_user.is_empty() => None,
        Some((name, password)) if flags.discovery_password.is_empty() => {
            Some((name.to_owned(), password.to_owned()))
        }
        _ => Some((
            flags.discovery_user.clone(),
            flags.discovery_password.clone(),
        )),
    };
    let registry = Registry {
        token: flags.discovery_token.clone(),
        endpoints,
        tls,
        insecure,
        dial_timeout: flags.discovery_dial_timeout,
        request_timeout: flags.discovery_request_timeout,
        keep_alive: (
            flags.discovery_keepalive_time,
            flags.discovery_keepalive_timeout,
        ),
        user,
    };
    let joined = registry.join(&newcomer, |why| tracing::warn!("discovery: {why}"));
    Ok(joined.await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_to_find_the_members_is_enough() {
        let ask = |change: fn(&mut Args)| {
            let mut args = Args::defaults();
            change(&mut args);
            asked(&args).map_err(|error| error.to_string())
        };
        assert_eq!(ask(|_| {}), Ok(false));
        assert_eq!(
            ask(|args| args.initial_cluster = Some(String::new())),
            Ok(false)
        );
        assert_eq!(
            ask(|args| args.discovery.discovery_srv = "d".into()),
            Ok(true)
        );
        let half = ask(|args| args.discovery.discovery_token = "t".into());
        assert_eq!(
            half.unwrap_err(),
            "--discovery-token needs --discovery-endpoints"
        );
        let both = ask(|args| {
            args.initial_cluster = Some("a=b".into());
            args.discovery.discovery_srv = "d".into();
        });
        assert!(
            both.unwrap_err()
                .contains("--initial-cluster and --discovery-srv")
        );
    }
}
