//! What can be wrong with what a person wrote, and what to do about it.

use thiserror::Error;

/// A setting that cannot be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not a URL with a host and a port.
    #[error("--{flag}: {url:?} is not a URL of a host and a port: {why}")]
    BadUrl {
        /// The flag.
        flag: &'static str,
        /// What was written.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// TLS or a socket file.
    #[error("--{flag}: {url:?}: only http:// is served by this version")]
    SchemeNotServed {
        /// The flag.
        flag: &'static str,
        /// What was written.
        url: String,
    },
    /// A host name where an address of this machine must stand.
    #[error("--{flag}: cannot listen on {host:?}: not an IP address, nor localhost")]
    HostNotBindable {
        /// The flag.
        flag: &'static str,
        /// What was written.
        host: String,
    },
    /// The same address in one list.
    #[error("--{flag}: {url} is given twice")]
    AddressTwice {
        /// The flag.
        flag: &'static str,
        /// What was written.
        url: String,
    },
    /// Listening everywhere says nothing about where clients should go.
    #[error("--advertise-client-urls is missing, and {listen} is no address a client could use")]
    AdvertiseMissing {
        /// The address listened on.
        listen: String,
    },
    /// A member not written as `name=url`.
    #[error("--initial-cluster: {member:?} is not of the form name=url")]
    MemberForm {
        /// What was written.
        member: String,
    },
    /// The list of members does not have this member as it describes itself.
    #[error("--initial-cluster={cluster} does not list {name}={urls}")]
    ClusterWithoutUs {
        /// What was written.
        cluster: String,
        /// `--name`.
        name: String,
        /// `--initial-advertise-peer-urls`.
        urls: String,
    },
    /// Not one of the words there are.
    #[error("--{flag}: {value:?} is not known")]
    NotOneOf {
        /// The flag.
        flag: &'static str,
        /// What was written.
        value: String,
        /// What could have been.
        known: &'static str,
    },
    /// A bound that would let nothing through.
    #[error("--{flag} must be at least 1")]
    Zero {
        /// The flag.
        flag: &'static str,
    },
    /// Heartbeat and election timeout do not go together.
    #[error(
        "--election-timeout={election_ms} does not go with --heartbeat-interval={heartbeat_ms}"
    )]
    ElectionTimeout {
        /// Milliseconds.
        election_ms: u64,
        /// Milliseconds.
        heartbeat_ms: u64,
    },
    /// A setting whose feature this version lacks. Ignoring it could mean less safety than asked for.
    #[error("{setting}: {what} is not served by this version")]
    NotYet {
        /// What was written.
        setting: String,
        /// What it asks for.
        what: &'static str,
    },
}

impl ConfigError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::BadUrl { .. } => "write for example http://127.0.0.1:2379".into(),
            Self::SchemeNotServed { .. } => {
                "use http:// on a trusted network, or put a TLS proxy in front".into()
            }
            Self::HostNotBindable { .. } => {
                "use 127.0.0.1, an address of this machine, or 0.0.0.0 for all of them".into()
            }
            Self::AddressTwice { .. } => "leave one of them out".into(),
            Self::AdvertiseMissing { .. } => {
                "add --advertise-client-urls with the address clients reach this machine by, for \
                 example http://10.0.0.5:2379"
                    .into()
            }
            Self::MemberForm { .. } => "write for example default=http://localhost:2380".into(),
            Self::ClusterWithoutUs { name, urls, .. } => format!(
                "leave --initial-cluster out, or write --initial-cluster={}",
                urls.split(',')
                    .map(|url| format!("{name}={url}"))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            Self::NotOneOf { known, .. } => format!("known: {known}"),
            Self::Zero { .. } => "leave the flag out for the default".into(),
            Self::ElectionTimeout { heartbeat_ms, .. } => format!(
                "it must be between five heartbeats ({}) and 50000 milliseconds",
                heartbeat_ms.saturating_mul(5)
            ),
            Self::NotYet { .. } => "leave the setting out".into(),
        })
    }
}
