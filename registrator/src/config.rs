//! What a person sets: flags, and a YAML file with the same names. A flag beats the file, the file
//! beats the default. Reads the files that options name; everything after works on [`Config`] alone.

mod args;
mod engine;
mod error;
mod file;
mod uri;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use registrator_catalog::layout::{Kind, Layout};
use store_client::connect::{Options, Tls};
use store_client::endpoint::Endpoint;
use store_transport::dial::Target;

pub use args::Args;
pub use engine::{EngineAt, EngineTls};
pub use error::ConfigError;
use file::{File, Text, read_file};
use uri::At;

use crate::address::{Families, Preference};
use crate::desired::Admission;
use crate::gate::Gate;
use crate::labels::split_tags;
use crate::own_layout::OwnLayout;
use crate::registry::{consul, zookeeper};
use crate::span;
use crate::template::Filter;

/// Everything the agent needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The engine, the first one of several.
    pub docker_host: String,
    /// The further engines, each with a session, a lease and a node of its own.
    pub further: Vec<EngineAt>,
    /// Certificates towards engines on `tcp://` and `https://`; without them `tcp://` is in the clear.
    pub docker_tls: Option<EngineTls>,
    /// Settings of ssh(1) towards engines on `ssh://`; `None`: the user's and the system's.
    pub docker_ssh_config: Option<PathBuf>,
    /// What kind of registry is written to.
    pub registry: Registry,
    /// The way to the store, where that is the registry.
    pub store: Options,
    /// Time to live of the lease in seconds. At least 1; the store may grant more.
    pub ttl_seconds: i64,
    /// Where and how records are written.
    pub layouts: Vec<Layout>,
    /// Layouts of the user's own.
    pub own_layouts: Vec<OwnLayout>,
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
    /// Which containers count.
    pub admission: Admission,
    /// Which of several addresses is taken.
    pub preference: Preference,
    /// Interface whose addresses are this host's; `None` takes that of the default route.
    pub interface: Option<String>,
    /// Tags of every instance; templates.
    pub tags: Vec<String>,
    /// Whether services are named as upstream names them.
    pub upstream_names: bool,
    /// Whether a container that failed stays registered for another TTL.
    pub keep_failed: bool,
    /// Whether checks may run scripts on this host.
    pub allow_scripts: bool,
    /// File with services that no container offers.
    pub services: Option<PathBuf>,
    /// File to keep for Prometheus' `file_sd`.
    pub file_sd: Option<PathBuf>,
    /// Whether to take the lease from a running agent with the same node id.
    pub takeover: bool,
    /// Whether entries that gliderlabs registrator left in Consul count as this agent's.
    pub cleanup: bool,
    /// Whether the agent says in the store how it is doing, see [`registrator_catalog::agent`].
    pub publish_status: bool,
}

/// A kind of registry, and the way to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Registry {
    /// What speaks etcd's protocol: [`Config::store`].
    #[default]
    Etcd,
    /// Services with a Consul agent.
    Consul(consul::Options),
    /// Keys in Consul.
    ConsulKv(consul::Options),
    /// Nodes of `ZooKeeper`.
    ZooKeeper(zookeeper::Options),
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
            further: Vec::new(),
            docker_tls: None,
            docker_ssh_config: None,
            registry: Registry::Etcd,
            store: Options::new(endpoints),
            ttl_seconds: TTL_SECONDS_DEFAULT,
            layouts: vec![Layout::new(Kind::Native, PREFIX_DEFAULT)],
            own_layouts: Vec::new(),
            gate: Gate::default(),
            node: None,
            node_id: None,
            ips: Vec::new(),
            internal: false,
            resync: RESYNC_DEFAULT,
            on_stop: StopPolicy::Keep,
            listen: None,
            admission: Admission::default(),
            preference: Preference::default(),
            interface: None,
            tags: Vec::new(),
            upstream_names: false,
            keep_failed: false,
            allow_scripts: false,
            services: None,
            file_sd: None,
            takeover: false,
            cleanup: false,
            publish_status: true,
        }
    }

    /// One set of settings for each engine; what can be only once stays with the first.
    #[must_use]
    pub fn per_engine(&self) -> Vec<Self> {
        let further = self.further.iter().map(|engine| Self {
            docker_host: engine.host.clone(),
            node: engine.node.clone(),
            services: None,
            ..self.clone()
        });
        let first = self.clone();
        std::iter::once(first).chain(further).collect()
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
        let registry = pick(&args.registry, file.registry);
        let registry = registry.map(|text| uri::parse(&text)).transpose()?;
        let endpoints = match (pick(&args.endpoints, file.endpoints), &registry) {
            (Some(text), _) => Endpoint::parse_list(&text)?,
            (
                None,
                Some(uri::Registry {
                    at: At::Etcd(endpoints),
                    ..
                }),
            ) => endpoints.clone(),
            (None, _) => Endpoint::parse_list(ENDPOINTS_DEFAULT)?,
        };
        let mut config = Self::new(endpoints);
        config.upstream_names = registry.is_some();
        let mut first_node = None;
        if let Some(text) = pick(&args.docker_host, file.docker_host) {
            let mut all = engine::engines(&text)?.into_iter();
            if let Some(first) = all.next() {
                config.docker_host = first.host;
                first_node = first.node;
            }
            config.further = all.collect();
        }
        // Any text but none, as Docker's tools read it.
        if args
            .docker_tls_verify
            .as_ref()
            .is_some_and(|text| !text.is_empty())
        {
            let home = || std::env::home_dir().unwrap_or_default().join(".docker");
            let folder = args.docker_cert_path.clone().unwrap_or_else(home);
            config.docker_tls = Some(EngineTls::in_folder(&folder));
        }
        config.docker_ssh_config = args.docker_ssh_config.clone().or(file.docker_ssh_config);
        let user = pick(&args.user, file.user);
        config.store.user = credentials(user, pick(&args.password, file.password))?;
        config.store.tls = tls(
            args.cacert.as_ref().or(file.cacert.as_ref()),
            args.cert.as_ref().or(file.cert.as_ref()),
            args.key.as_ref().or(file.key.as_ref()),
        )?;
        if let Some(registry) = &registry {
            config.registry = other_registry(&registry.at, args, config.store.user.as_ref())?;
        }
        if let Some(text) = pick(&args.ttl, file.ttl) {
            let ttl = span::parse(&text).filter(|ttl| *ttl >= Duration::from_secs(1));
            let seconds = ttl
                .map(|ttl| ttl.as_secs())
                .filter(|seconds| *seconds <= TTL_SECONDS_MAX);
            config.ttl_seconds = seconds
                .and_then(|seconds| i64::try_from(seconds).ok())
                .ok_or_else(|| wrong("ttl", &text, "a time from 1s to 24h, such as 30s"))?;
        }
        if let Some(text) = &args.ttl_refresh {
            let refresh = span::parse(text).filter(|refresh| refresh.as_secs() > 0);
            let fits = args.ttl.is_some()
                && refresh.is_some_and(|r| {
                    i64::try_from(r.as_secs()).is_ok_and(|r| r < config.ttl_seconds)
                });
            if !fits {
                return Err(wrong("ttl-refresh", text, "less than the --ttl beside it"));
            }
        }
        // Upstream's 0 is "never"; the look here is cheap and writes nothing that is right.
        let resync =
            pick(&args.resync, file.resync).filter(|text| registry.is_none() || text != "0");
        if let Some(text) = resync {
            config.resync = span::parse(&text)
                .filter(|resync| *resync >= Duration::from_secs(1))
                .ok_or_else(|| wrong("resync", &text, "a time of at least 1s, such as 60s"))?;
        }
        let prefix = pick(&args.prefix, file.prefix).unwrap_or_else(|| PREFIX_DEFAULT.to_owned());
        let flag = (!args.layout.is_empty()).then(|| args.layout.join(","));
        let asked = pick(&flag, file.layout);
        let alone = matches!(
            config.registry,
            Registry::Consul(_) | Registry::ZooKeeper(_)
        );
        if alone && (asked.is_some() || !args.layout_template.is_empty()) {
            let want = "one for this registry, which has a form of its own";
            return Err(wrong("layout", &asked.unwrap_or_default(), want));
        }
        config.layouts = match (asked, registry) {
            (None, Some(registry)) => vec![registry.layout],
            (text, _) => layouts(text, &prefix)?,
        };
        for text in args.layout_template.iter().chain(&file.layout_template) {
            let own = OwnLayout::parse(text).map_err(|why| ConfigError::Template {
                text: text.clone(),
                why,
            })?;
            let others = config.layouts.iter().map(Layout::root);
            let mut roots =
                others.chain(config.own_layouts.iter().map(|own| own.root().to_owned()));
            if roots.any(|root| root.starts_with(own.root()) || own.root().starts_with(&root)) {
                let want = "kept apart: another layout writes below that folder";
                return Err(wrong("layout-template", text, want));
            }
            config.own_layouts.push(own);
        }
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
        let one = config.node.as_ref().or(config.node_id.as_ref());
        if let Some(name) = one.filter(|_| !config.further.is_empty()) {
            return Err(wrong(
                "node",
                name,
                "for several engines: write NODE=URL for each in --docker-host",
            ));
        }
        config.node = config.node.or(first_node);
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
        config.publish_status = args.publish_status.or(file.publish_status).unwrap_or(true);
        config.admission = Admission {
            opt_in: args.opt_in || file.opt_in.unwrap_or(false),
            explicit: args.explicit || file.explicit.unwrap_or(false),
            filter: match pick(&args.filter, file.filter) {
                None => None,
                Some(text) => {
                    Some(Filter::parse(&text).map_err(|why| ConfigError::Filter { text, why })?)
                }
            },
            address_label: pick(&args.use_ip_from_label, file.use_ip_from_label),
        };
        config.preference = preference(
            pick(&args.network, file.network).as_deref(),
            pick(&args.prefer, file.prefer).as_deref(),
            pick(&args.family, file.family).as_deref(),
        )?;
        config.interface = pick(&args.interface, file.interface);
        let tags = pick(&args.tags, file.tags);
        config.tags = tags.map(|text| split_tags(&text)).unwrap_or_default();
        config.takeover = args.takeover;
        config.cleanup = args.cleanup;
        config.allow_scripts = args.allow_scripts || file.allow_scripts.unwrap_or(false);
        config.services = args.services.clone().or(file.services);
        config.file_sd = args.file_sd.clone().or(file.file_sd);
        config.keep_failed = match pick(&args.deregister, file.deregister).as_deref() {
            None | Some("always") => false,
            Some("on-success") => true,
            Some(other) => return Err(wrong("deregister", other, "always or on-success")),
        };
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

/// What a registry that does not speak etcd's protocol needs beside its place.
fn other_registry(
    at: &At,
    args: &Args,
    user: Option<&(String, String)>,
) -> Result<Registry, ConfigError> {
    let options = |target: &Target| consul::Options {
        target: target.clone(),
        token: args.consul_token.clone().filter(|token| !token.is_empty()),
        authorities: args.cacert.clone().or_else(|| args.consul_cacert.clone()),
        identity: match (&args.cert, &args.key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            _ => args.consul_cert.clone().zip(args.consul_key.clone()),
        },
    };
    Ok(match at {
        At::Etcd(_) => Registry::Etcd,
        At::Consul(target) => Registry::Consul(options(target)),
        At::ConsulKv(target) => Registry::ConsulKv(options(target)),
        At::ZooKeeper(servers) => {
            if let Some(file) = args.cacert.as_ref().or(args.cert.as_ref()) {
                let want =
                    "left out: ZooKeeper is spoken to without TLS, so put a tunnel in front of it";
                return Err(wrong("cacert", &file.display().to_string(), want));
            }
            Registry::ZooKeeper(zookeeper::Options {
                servers: servers.clone(),
                user: user.cloned(),
            })
        }
    })
}

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

fn preference(
    networks: Option<&str>,
    ranges: Option<&str>,
    families: Option<&str>,
) -> Result<Preference, ConfigError> {
    let parts = |text: &str| -> Vec<String> {
        let parts = text.split(',').map(|part| part.trim().to_owned());
        parts.filter(|part| !part.is_empty()).collect()
    };
    let mut preference = Preference {
        networks: networks.map(parts).unwrap_or_default(),
        ..Preference::default()
    };
    for part in ranges.map(parts).unwrap_or_default() {
        let range = part.parse();
        preference.ranges.push(
            range.map_err(|_| wrong("prefer", &part, "an address range such as 10.0.0.0/8"))?,
        );
    }
    if let Some(text) = families {
        preference.families = match text.replace(' ', "").as_str() {
            "ipv4,ipv6" => Families::V4First,
            "ipv6,ipv4" => Families::V6First,
            "ipv4" => Families::V4,
            "ipv6" => Families::V6,
            _ => return Err(wrong("family", text, "ipv4, ipv6, ipv4,ipv6 or ipv6,ipv4")),
        };
    }
    Ok(preference)
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

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
