//! What can be wrong with what a person wrote, and what to do about it.

use store_transport::tls::PolicyError;
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
    /// TLS on a port, and no certificate to show.
    #[error("--{flag}: cannot listen on TLS for {url}: no certificate is given")]
    CertificateMissing {
        /// The flag.
        flag: &'static str,
        /// What was written.
        url: String,
        /// `""` for clients, `"peer-"` for peers.
        ports: &'static str,
    },
    /// A setting of TLS that needs another.
    #[error("--{flag} is given without --{needs}")]
    Without {
        /// The flag.
        flag: String,
        /// The one it needs.
        needs: String,
    },
    /// Two settings that exclude each other.
    #[error("--{one} and --{other} are given, only one of them can be")]
    Both {
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// Versions or ciphers of TLS that cannot be.
    #[error("--{flag}")]
    Tls {
        /// The flags.
        flag: &'static str,
        /// What is wrong.
        #[source]
        source: PolicyError,
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
    /// A URL that stands twice in the list of members.
    #[error("--initial-cluster: {url} is given {}", twice(.names))]
    MemberUrlTwice {
        /// The URL.
        url: String,
        /// The members it was given to; possibly the same one.
        names: (String, String),
    },
    /// The list of members does not have this member as it describes itself.
    #[error("--initial-cluster={cluster} {}", without(.name, .urls, .listed.as_deref()))]
    ClusterWithoutUs {
        /// What was written.
        cluster: String,
        /// `--name`.
        name: String,
        /// `--initial-advertise-peer-urls`.
        urls: String,
        /// The URLs listed for that name, if it is listed.
        listed: Option<String>,
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
    /// The system lets the process have too few files.
    #[error("the limit on open files is {files}, too few to serve clients")]
    TooFewFiles {
        /// The limit.
        files: usize,
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
    /// The configuration file cannot be used.
    #[error("read configuration file {path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A setting whose feature this version lacks. Ignoring it could mean less safety than asked for.
    #[error("{setting}: {what} is not served by this version")]
    NotYet {
        /// What was written.
        setting: String,
        /// What it asks for.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
}

fn twice((one, other): &(String, String)) -> String {
    if one == other {
        "twice".to_owned()
    } else {
        format!("to {one} and to {other}")
    }
}

fn without(name: &str, urls: &str, listed: Option<&str>) -> String {
    match listed {
        Some(listed) => {
            format!("lists {name} as {listed}, but --initial-advertise-peer-urls is {urls}")
        }
        None => format!("does not list a member {name}"),
    }
}

impl ConfigError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::BadUrl { .. } => "write for example http://127.0.0.1:2379".into(),
            Self::CertificateMissing { ports, .. } => format!(
                "give --{ports}cert-file and --{ports}key-file, or --{ports}auto-tls for a certificate made here"
            ),
            Self::Without { flag, needs } => format!("add --{needs}, or leave --{flag} out"),
            Self::Both { one, other } => format!("leave --{one} or --{other} out"),
            Self::Tls { source, .. } => source.hint(),
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
            Self::MemberUrlTwice { names, .. } if names.0 == names.1 => {
                "leave one of them out".into()
            }
            Self::MemberUrlTwice { .. } => "give each member a URL of its own".into(),
            Self::ClusterWithoutUs {
                listed: Some(listed),
                ..
            } => {
                let mut hint = format!(
                    "both must be where the others reach this member: correct the list on all \
                     members, or start this one with --initial-advertise-peer-urls={listed}"
                );
                if listed.contains(',') {
                    hint.push_str("; a name given twice is one member with two URLs");
                }
                hint
            }
            Self::ClusterWithoutUs { name, urls, .. } => {
                let ours: Vec<String> =
                    urls.split(',').map(|url| format!("{name}={url}")).collect();
                format!(
                    "the names there must be those of --name: start this member under the name it has \
                     there, or add {} to the list of all members",
                    ours.join(",")
                )
            }
            Self::NotOneOf { known, .. } => format!("known: {known}"),
            Self::TooFewFiles { .. } => {
                "raise it (ulimit -n, or LimitNOFILE= of systemd), or set --max-client-connections"
                    .into()
            }
            Self::Zero { .. } => "leave the flag out for the default".into(),
            Self::ElectionTimeout { heartbeat_ms, .. } => format!(
                "it must be between five heartbeats ({}) and 50000 milliseconds",
                heartbeat_ms.saturating_mul(5)
            ),
            Self::File { .. } => {
                "it is YAML: a line `name: value` for each flag, without its dashes".into()
            }
            Self::NotYet { instead, .. } => (*instead).into(),
        })
    }
}
