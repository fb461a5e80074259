//! What a person sets: flags, and a YAML file with the same names. A flag beats the file, the file
//! beats the default. Reads the files that options name; everything after works on [`Config`] alone.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use registrator_catalog::layout::{Kind, Layout, LayoutError};
use serde::Deserialize;
use store_client::connect::{Options, Tls};
use store_client::endpoint::{Endpoint, EndpointError};

use crate::gate::Gate;
use crate::span;

/// Flags of `muster registrator`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// YAML file with the same names as the flags
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Container engine: unix:///path, tcp://host:port or http://host:port
    /// [default: unix:///var/run/docker.sock]
    #[arg(
        long,
        visible_alias = "docker",
        value_name = "URL",
        env = "DOCKER_HOST"
    )]
    pub docker_host: Option<String>,
    /// Store members, with commas [default: http://127.0.0.1:2379]
    #[arg(long, value_name = "URLS")]
    pub endpoints: Option<String>,
    /// User of the store, as NAME or NAME:PASSWORD
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Password of that user
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "MUSTER_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<String>,
    /// Certificates that may have signed the store's (PEM)
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Our certificate towards the store (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// How long keys outlive an agent that died, such as 15s [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<String>,
    /// Forms of keys and values, with commas or repeated: native (JSON records), registrator
    /// (ip:port), skydns=<domain>, grpc, traefik; each with =<prefix> for keys elsewhere
    /// [default: native]
    #[arg(long, value_name = "LAYOUTS", value_delimiter = ',')]
    pub layout: Vec<String>,
    /// Where keys of native and registrator begin [default: /services]
    #[arg(long, value_name = "PATH")]
    pub prefix: Option<String>,
    /// What a container's HEALTHCHECK decides: off (nothing), wait (registered while healthy) or
    /// mark (registered with its state); label muster.gate for one container [default: wait]
    #[arg(long, value_name = "POLICY")]
    pub gate: Option<String>,
    /// Longest wait for a health check's first result before the container counts as healthy; label
    /// muster.gate.timeout for one container [default: as long as the engine waits]
    #[arg(long, value_name = "TIME")]
    pub gate_timeout: Option<String>,
    /// Name of this host in keys and records [default: the engine's host name]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// What tells this agent's lease from others' [default: the node's name]
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,
    /// Address of this host for published ports, with commas for several
    /// [default: a specific binding's, else that of the default route]
    #[arg(long, visible_alias = "host-ip", value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// Register container addresses and ports instead of published ones
    #[arg(long)]
    pub internal: bool,
    /// Time between two looks at everything, containers and keys, such as 60s [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub resync: Option<String>,
    /// What happens to the keys on SIGTERM: keep (for a fast restart; they go after the TTL) or
    /// revoke (they go at once) [default: keep]
    #[arg(long, value_name = "POLICY")]
    pub on_stop: Option<String>,
    /// Address to serve /livez, /readyz, /metrics and /status at [default: none]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
}

/// The file, with the names of the flags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    docker_host: Option<Text>,
    endpoints: Option<Text>,
    user: Option<Text>,
    password: Option<Text>,
    cacert: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ttl: Option<Text>,
    layout: Option<Text>,
    prefix: Option<Text>,
    gate: Option<Text>,
    gate_timeout: Option<Text>,
    node: Option<Text>,
    node_id: Option<Text>,
    ip: Option<Text>,
    internal: Option<bool>,
    resync: Option<Text>,
    on_stop: Option<Text>,
    listen: Option<Text>,
}

const NAMES: [&str; 19] = [
    "docker-host",
    "endpoints",
    "user",
    "password",
    "cacert",
    "cert",
    "key",
    "ttl",
    "layout",
    "prefix",
    "gate",
    "gate-timeout",
    "node",
    "node-id",
    "ip",
    "internal",
    "resync",
    "on-stop",
    "listen",
];

/// A text, a number, or a list of them joined with commas: what a flag would have been given.
#[derive(Debug)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> serde::de::Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text, a number or a list of them")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
        let mut parts = Vec::new();
        while let Some(Text(part)) = list.next_element()? {
            parts.push(part);
        }
        Ok(Text(parts.join(",")))
    }
}

/// Everything the agent needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The engine.
    pub docker_host: String,
    /// The store.
    pub store: Options,
    /// Time to live of the lease in seconds. At least 1; the store may grant more.
    pub ttl_seconds: i64,
    /// Where and how records are written.
    pub layouts: Vec<Layout>,
    /// What a health check decides.
    pub gate: Gate,
    /// Name of this host; `None` asks the engine.
    pub node: Option<String>,
    /// Identity of the lease; `None` takes the node's name.
    pub node_id: Option<String>,
    /// Addresses of this host a person named.
    pub ips: Vec<IpAddr>,
    /// Register container addresses instead of published ports.
    pub internal: bool,
    /// Time between two lists of all containers.
    pub resync: Duration,
    /// What happens to the keys when the agent is told to stop.
    pub on_stop: StopPolicy,
    /// Where to serve the HTTP API.
    pub listen: Option<SocketAddr>,
}

/// What happens to the keys when the agent is told to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopPolicy {
    /// They stay until the TTL has passed, so that a restarted agent finds them.
    #[default]
    Keep,
    /// They go at once.
    Revoke,
}

/// Where Docker listens unless told otherwise.
pub const DOCKER_HOST_DEFAULT: &str = "unix:///var/run/docker.sock";
/// etcd's client URL on the same host.
pub const ENDPOINTS_DEFAULT: &str = "http://127.0.0.1:2379";
/// 30 s: only a host or agent that dies needs it, containers that stop are deregistered at once; a
/// longer outage of the agent than a slow restart should not unregister what still serves.
pub const TTL_SECONDS_DEFAULT: i64 = 30;
/// 60 s: two cheap calls a minute, one to the engine against events it lost and one for the keys on
/// the lease against somebody who deleted some.
pub const RESYNC_DEFAULT: Duration = Duration::from_secs(60);
/// Where keys begin.
pub const PREFIX_DEFAULT: &str = "/services";

impl Config {
    /// All defaults, with the store at `endpoints`.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self {
            docker_host: DOCKER_HOST_DEFAULT.to_owned(),
            store: Options::new(endpoints),
            ttl_seconds: TTL_SECONDS_DEFAULT,
            layouts: vec![Layout::new(Kind::Native, PREFIX_DEFAULT)],
            gate: Gate::default(),
            node: None,
            node_id: None,
            ips: Vec::new(),
            internal: false,
            resync: RESYNC_DEFAULT,
            on_stop: StopPolicy::Keep,
            listen: None,
        }
    }

    /// Checks flags and the file they name, and reads the certificates they name.
    ///
    /// # Errors
    /// The first thing that is wrong, with where it stands.
    pub fn resolve(args: &Args) -> Result<Self, ConfigError> {
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None => File::default(),
        };
        let endpoints =
            pick(&args.endpoints, file.endpoints).unwrap_or_else(|| ENDPOINTS_DEFAULT.to_owned());
        let mut config = Self::new(Endpoint::parse_list(&endpoints)?);
        if let Some(host) = pick(&args.docker_host, file.docker_host) {
            config.docker_host = host;
        }
        if !["unix://", "tcp://", "http://"]
            .iter()
            .any(|s| config.docker_host.starts_with(s))
        {
            return Err(wrong(
                "docker-host",
                &config.docker_host,
                "a unix://, tcp:// or http:// URL",
            ));
        }
        let user = pick(&args.user, file.user);
        config.store.user = credentials(user, pick(&args.password, file.password))?;
        config.store.tls = tls(
            args.cacert.as_ref().or(file.cacert.as_ref()),
            args.cert.as_ref().or(file.cert.as_ref()),
            args.key.as_ref().or(file.key.as_ref()),
        )?;
        if let Some(text) = pick(&args.ttl, file.ttl) {
            let ttl = span::parse(&text).filter(|ttl| *ttl >= Duration::from_secs(1));
            let seconds = ttl
                .map(|ttl| ttl.as_secs())
                .filter(|seconds| *seconds <= TTL_SECONDS_MAX);
            config.ttl_seconds = seconds
                .and_then(|seconds| i64::try_from(seconds).ok())
                .ok_or_else(|| wrong("ttl", &text, "a time from 1s to 24h, such as 30s"))?;
        }
        if let Some(text) = pick(&args.resync, file.resync) {
            config.resync = span::parse(&text)
                .filter(|resync| *resync >= Duration::from_secs(1))
                .ok_or_else(|| wrong("resync", &text, "a time of at least 1s, such as 60s"))?;
        }
        let prefix = pick(&args.prefix, file.prefix).unwrap_or_else(|| PREFIX_DEFAULT.to_owned());
        let flag = (!args.layout.is_empty()).then(|| args.layout.join(","));
        config.layouts = layouts(pick(&flag, file.layout), &prefix)?;
        if let Some(text) = pick(&args.gate, file.gate) {
            let policy = text.parse();
            config.gate.policy = policy.map_err(|_| wrong("gate", &text, "off, wait or mark"))?;
        }
        if let Some(text) = pick(&args.gate_timeout, file.gate_timeout) {
            let timeout = span::parse_ms(&text);
            let want = "a time such as 10s";
            config.gate.timeout_ms =
                Some(timeout.ok_or_else(|| wrong("gate-timeout", &text, want))?);
        }
        config.node = pick(&args.node, file.node).filter(|name| !name.is_empty());
        config.node_id = pick(&args.node_id, file.node_id).filter(|id| !id.is_empty());
        if let Some(text) = pick(&args.ip, file.ip) {
            for part in text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
            {
                let ip: Option<IpAddr> =
                    part.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified());
                config.ips.push(ip.ok_or_else(|| {
                    wrong("ip", part, "an address others can reach, such as 10.0.0.5")
                })?);
            }
        }
        config.internal = args.internal || file.internal.unwrap_or(false);
        config.on_stop = match pick(&args.on_stop, file.on_stop).as_deref() {
            None | Some("keep") => StopPolicy::Keep,
            Some("revoke") => StopPolicy::Revoke,
            Some(other) => return Err(wrong("on-stop", other, "keep or revoke")),
        };
        if let Some(text) = pick(&args.listen, file.listen) {
            config.listen = Some(text.parse().map_err(|_| {
                wrong(
                    "listen",
                    &text,
                    "an address and a port, such as 127.0.0.1:9180",
                )
            })?);
        }
        Ok(config)
    }
}

/// 24 h: a lease that long no longer tells whether anybody lives.
const TTL_SECONDS_MAX: u64 = 86_400;

fn pick(flag: &Option<String>, file: Option<Text>) -> Option<String> {
    flag.clone().or(file.map(|Text(text)| text))
}

fn layouts(text: Option<String>, prefix: &str) -> Result<Vec<Layout>, ConfigError> {
    let text = text.unwrap_or_else(|| "native".to_owned());
    let mut layouts: Vec<Layout> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let layout = Layout::parse(part, prefix)?;
        if layouts.iter().any(|other| other.overlaps(&layout)) {
            let want = "kept apart: give each layout a prefix of its own with layout=/prefix";
            return Err(wrong("layout", &text, want));
        }
        layouts.push(layout);
    }
    Ok(layouts)
}

fn wrong(name: &'static str, text: &str, want: &'static str) -> ConfigError {
    ConfigError::Value {
        name,
        text: text.to_owned(),
        want,
    }
}

fn credentials(
    user: Option<String>,
    password: Option<String>,
) -> Result<Option<(String, String)>, ConfigError> {
    Ok(match (user, password) {
        (None, None) => None,
        (None, Some(_)) => return Err(wrong("password", "(hidden)", "--user beside it")),
        (Some(user), Some(password)) => Some((user, password)),
        (Some(user), None) => match user.split_once(':') {
            Some((name, password)) => Some((name.to_owned(), password.to_owned())),
            None => {
                return Err(wrong(
                    "user",
                    &user,
                    "NAME:PASSWORD, or --password beside it",
                ));
            }
        },
    })
}

fn tls(
    cacert: Option<&PathBuf>,
    cert: Option<&PathBuf>,
    key: Option<&PathBuf>,
) -> Result<Option<Tls>, ConfigError> {
    if cacert.is_none() && cert.is_none() && key.is_none() {
        return Ok(None);
    }
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| ConfigError::Read {
            path: path.clone(),
            source,
        })
    };
    let identity_pem = match (cert, key) {
        (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
        (None, None) => None,
        (Some(_), None) => return Err(wrong("cert", "a certificate", "--key beside it")),
        (None, Some(_)) => return Err(wrong("key", "a key", "--cert beside it")),
    };
    Ok(Some(Tls {
        ca_pem: cacert.map(read).transpose()?,
        identity_pem,
        server_name: None,
    }))
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    serde_yaml::from_str(&text).map_err(|source| match unknown_name(&source.to_string()) {
        Some(name) => ConfigError::Unknown {
            path: path.to_owned(),
            line: line_of(&text, &name),
            meant: meant(&name),
            name,
        },
        None => ConfigError::File {
            path: path.to_owned(),
            source: Box::new(source),
        },
    })
}

/// The name in serde's "unknown field `x`, expected ...".
fn unknown_name(error: &str) -> Option<String> {
    let rest = error.split_once("unknown field `")?.1;
    rest.split('`').next().map(str::to_owned)
}

/// The line, counted from 1, on which an option is set; 1 when it is written in another style.
fn line_of(text: &str, name: &str) -> usize {
    let sets = |line: &str| {
        let rest = line
            .trim_start()
            .trim_start_matches(['"', '\'', '{'])
            .strip_prefix(name);
        rest.is_some_and(|rest| {
            rest.trim_start_matches(['"', '\''])
                .trim_start()
                .starts_with(':')
        })
    };
    text.lines().position(sets).map_or(1, |index| index + 1)
}

/// The known name nearest to an unknown one.
fn meant(unknown: &str) -> Option<&'static str> {
    NAMES
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(name, unknown), name))
        // A third of the letters wrong is a typing error, more is another word.
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .min()
        .map(|(_, name)| name)
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An endpoint cannot be read.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A layout cannot be read.
    #[error("option layout: {0}")]
    Layout(#[from] LayoutError),
    /// A value does not fit its option.
    #[error("option {name}: {text:?} is not {want}")]
    Value {
        /// Name of the option.
        name: &'static str,
        /// What was given.
        text: String,
        /// What would fit.
        want: &'static str,
    },
    /// A file cannot be read.
    #[error("read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration file sets something that does not exist.
    #[error("{path}:{line}: unknown option {name:?}", path = path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What it sets.
        name: String,
        /// The option that was probably meant.
        meant: Option<&'static str>,
    },
    /// The configuration file is no YAML, or a value has another type.
    #[error("read configuration {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What and where.
        source: Box<serde_yaml::Error>,
    },
}

impl ConfigError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Endpoint(error) => error.hint(),
            Self::Layout(_) => Some(
                "--layout native,registrator=/compat,skydns=cluster.local,grpc,traefik would be all of them"
                    .to_owned(),
            ),
            Self::Value { name, .. } => Some(format!(
                "it is set by --{name} or in the file of --config; --help shows what fits"
            )),
            Self::Read { .. } => Some("check the path and that this user may read it".to_owned()),
            Self::Unknown {
                meant: Some(name), ..
            } => Some(format!("did you mean {name}?")),
            Self::Unknown { .. } | Self::File { .. } => {
                Some(format!("known options: {}", NAMES.join(", ")))
            }
        }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
