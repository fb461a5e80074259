//! Flags of `muster registrator`, as clap reads them. What upstream's command line says is spelled in these words first,
//! see [`crate::upstream`].

use std::path::PathBuf;

/// Flags of `muster registrator`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = crate::verb::verbs())]
pub struct Args {
    /// What to do instead of running the agent; see below
    #[arg(value_name = "VERB")]
    pub verb: Vec<String>,
    /// YAML file with the same names as the flags
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Registry as gliderlabs registrator takes it, as last word: etcd://host:port/prefix, etcdv3://…,
    /// skydns2://host:port/domain, consul://host:port, consul-tls://…, consulkv://host:port/prefix,
    /// zookeeper://host:port/base; sets registry and layout
    #[arg(long, value_name = "URI", hide = true)]
    pub registry: Option<String>,
    /// Container engine: unix:///path, tcp://host:port, http(s)://host:port or ssh://[user@]host[:port];
    /// several with commas, as NODE=URL where the engine's own name should not be its node's; none for
    /// --services alone [default: unix:///var/run/docker.sock]
    #[arg(
        long,
        visible_alias = "docker",
        value_name = "URL",
        env = "DOCKER_HOST"
    )]
    pub docker_host: Option<String>,
    /// TLS towards engines on tcp://, with the certificates in --docker-cert-path
    #[arg(long, value_name = "1", env = "DOCKER_TLS_VERIFY")]
    pub docker_tls_verify: Option<String>,
    /// Folder with ca.pem, cert.pem and key.pem for engines [default: ~/.docker]
    #[arg(long, value_name = "FOLDER", env = "DOCKER_CERT_PATH")]
    pub docker_cert_path: Option<PathBuf>,
    /// Settings for engines on ssh://, as ssh(1) reads them with -F: which key, which hosts are known
    /// [default: the user's]
    #[arg(long, value_name = "FILE")]
    pub docker_ssh_config: Option<PathBuf>,
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
    /// A form of one's own, '<key> = <value>', both templates over the record (see docs/registrator.md);
    /// may be repeated
    #[arg(long, value_name = "TEMPLATE")]
    pub layout_template: Vec<String>,
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
    /// Register only ports with a name from a label or variable
    #[arg(long)]
    pub explicit: bool,
    /// Register only containers with the label muster.enable=true
    #[arg(long)]
    pub opt_in: bool,
    /// Register only containers this expression lets through, such as
    /// 'compose.project == "shop" and labels.tier == "front"'
    #[arg(long, value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// Tags of every instance, with commas; may hold templates such as {{ node }}
    #[arg(long, value_name = "TAGS")]
    pub tags: Option<String>,
    /// Label whose value is the address of a container's services
    #[arg(long, value_name = "LABEL")]
    pub use_ip_from_label: Option<String>,
    /// Container networks in order of preference, with commas [default: the engine's order]
    #[arg(long, value_name = "NAMES")]
    pub network: Option<String>,
    /// Address ranges in order of preference, with commas, for hosts and containers: 10.0.0.0/8,fd00::/8
    #[arg(long, value_name = "RANGES")]
    pub prefer: Option<String>,
    /// Interface whose addresses are this host's [default: that of the default route]
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Address families: ipv4,ipv6 or ipv6,ipv4 (both, the first one preferred), ipv4, ipv6
    /// [default: ipv4,ipv6]
    #[arg(long, value_name = "FAMILIES")]
    pub family: Option<String>,
    /// When containers leave the registry: always, or on-success (one that failed stays for another
    /// TTL, unless it is removed) [default: always]
    #[arg(long, value_name = "WHEN")]
    pub deregister: Option<String>,
    /// Let label muster.check.script run commands on this host
    #[arg(long)]
    pub allow_scripts: bool,
    /// YAML file with services that no container offers, read again with every look (see --resync)
    #[arg(long, value_name = "FILE")]
    pub services: Option<PathBuf>,
    /// File to keep for Prometheus' file_sd with this node's targets
    #[arg(long, value_name = "FILE")]
    pub file_sd: Option<PathBuf>,
    /// Take the lease from a running agent with the same node id, which then stands by
    #[arg(long)]
    pub takeover: bool,
    /// Say in the store how this agent is doing (key /muster/status/registrator/<node>, on its lease; `muster agents`
    /// shows it) [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub publish_status: Option<bool>,
    /// Answers of verbs as JSON
    #[arg(long)]
    pub json: bool,
    /// drain, maintenance: return when nobody is sent there any more
    #[arg(long)]
    pub wait: bool,
    /// drain: what to do with the container afterwards: stop
    #[arg(long, value_name = "VERB")]
    pub then: Option<String>,
    /// drain, maintenance, weight: when it ends by itself, such as 10m
    #[arg(long = "for", value_name = "TIME")]
    pub expires: Option<String>,
    /// drain, maintenance, weight: why, for people
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// drain, maintenance: longest wait [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Token for Consul's access control
    #[arg(
        long,
        value_name = "TOKEN",
        env = "CONSUL_HTTP_TOKEN",
        hide_env_values = true,
        hide = true
    )]
    pub consul_token: Option<String>,
    /// Certificates that may have signed Consul's (PEM); --cacert goes before
    #[arg(long, value_name = "FILE", env = "CONSUL_CACERT", hide = true)]
    pub consul_cacert: Option<PathBuf>,
    /// Our certificate towards Consul (PEM); --cert goes before
    #[arg(long, value_name = "FILE", env = "CONSUL_CLIENT_CERT", hide = true)]
    pub consul_cert: Option<PathBuf>,
    /// Key of that certificate (PEM)
    #[arg(long, value_name = "FILE", env = "CONSUL_CLIENT_KEY", hide = true)]
    pub consul_key: Option<PathBuf>,
    /// Upstream's: what it left in Consul of this node counts as this agent's, and goes where nothing runs for it
    #[arg(long, hide = true)]
    pub cleanup: bool,
    // What follows is upstream's and has nothing left to do here; docs/registrator.md says why.
    /// Upstream's.
    #[arg(long, hide = true)]
    pub ttl_refresh: Option<String>,
    /// Upstream's.
    #[arg(long, hide = true)]
    pub retry_attempts: Option<i64>,
    /// Upstream's.
    #[arg(long, hide = true)]
    pub retry_interval: Option<u64>,
}
