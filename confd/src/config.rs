//! What the user asked for: command line and environment (one declaration, [`Args`]), the file `confd.toml`, and
//! defaults, merged into [`Config`]. The command line wins over the environment, that over the file, that over defaults.

mod access;
mod exec;
mod file;
mod schema;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use store_client::connect::{self, Tls};
use store_client::endpoint::{Endpoint, EndpointError};

pub use self::access::Access;
pub use self::exec::Exec;
use self::file::File;
pub(crate) use self::schema::schema;
use crate::backends::{Consul, Files, Redis, Vault, ZooKeeper};
use crate::defaults::{Defaults, PrefixRule};
use crate::duration;
use crate::glob::Glob;
use crate::verb::{Request, Verb};

/// Where the store is looked for unless told otherwise.
pub const ENDPOINTS_DEFAULT: &str = "http://127.0.0.1:2379";
/// Where resources and templates are.
pub const CONFDIR_DEFAULT: &str = "/etc/confd";
/// Where the state of applied files is kept.
pub const STATE_DIR_DEFAULT: &str = "/var/lib/muster/confd";
/// confd's own default for polling; here it is the slow comparison of every file with its render.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(600);

/// Command line of confd.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Something else than running: what is asked
    #[arg(value_enum)]
    pub verb: Option<Verb>,
    /// The resource it is asked about [default: all of them]
    #[arg(value_name = "NAME", conflicts_with = "resource")]
    pub subject: Option<PathBuf>,
    /// With render: also which key at which revision was read by which line; with --listen how the agent there stands
    #[arg(long)]
    pub explain: bool,
    /// With rollback: the generation to go back to, as history shows it [default: the one before]
    #[arg(long, value_name = "GENERATION")]
    pub to: Option<u64>,
    /// Store members, separated by commas [default: http://127.0.0.1:2379]
    #[arg(
        long,
        short = 'n',
        visible_alias = "node",
        value_name = "URLS",
        env = "MUSTER_ENDPOINTS"
    )]
    pub endpoints: Option<String>,
    /// Where keys come from: store (muster or etcd), consul, redis, vault, zookeeper, file or env [default: store]
    #[arg(long, value_name = "NAME", env = "CONFD_BACKEND")]
    pub backend: Option<String>,
    /// Directory with conf.d/ and templates/ [default: /etc/confd]
    #[arg(long, value_name = "DIR", env = "CONFD_CONFDIR")]
    pub confdir: Option<PathBuf>,
    /// Configuration file, TOML or YAML [default: confd.toml or confd.yaml in that directory, if it exists]
    #[arg(long, value_name = "FILE", env = "CONFD_CONFIG_FILE")]
    pub config_file: Option<PathBuf>,
    /// Files and directories of YAML for the backend file, separated by commas; later ones win
    #[arg(long, value_name = "PATHS", env = "CONFD_FILE")]
    pub file: Option<String>,
    /// Names of files in such directories that are read [default: *]
    #[arg(long, value_name = "PATTERN", env = "CONFD_FILTER")]
    pub filter: Option<String>,
    /// Scheme of members that are named without one [default: http]
    #[arg(long, value_name = "NAME", env = "CONFD_SCHEME")]
    pub scheme: Option<String>,
    /// Key prefix for all resources
    #[arg(long, value_name = "PATH", env = "CONFD_PREFIX")]
    pub prefix: Option<String>,
    /// What it does to a resource's own prefix: replace (as confd) or join (as its fork) [default: replace]
    #[arg(long, value_name = "RULE", env = "CONFD_PREFIX_RULE")]
    pub prefix_rule: Option<String>,
    /// Render everything once and exit: 0, or 1 if a resource failed
    #[arg(long, env = "CONFD_ONETIME")]
    pub onetime: bool,
    /// Keep watching for changes (the default; --onetime wins over it)
    #[arg(long, env = "CONFD_WATCH")]
    pub watch: bool,
    /// Show what would change, change nothing
    #[arg(long, env = "CONFD_NOOP")]
    pub noop: bool,
    /// Write files, but run neither check_cmd nor reload_cmd
    #[arg(long, env = "CONFD_SYNC_ONLY")]
    pub sync_only: bool,
    /// Leave a staged file that did not pass its check where it is, to be looked at
    #[arg(long, env = "CONFD_KEEP_STAGE_FILE")]
    pub keep_stage_file: bool,
    /// Let a group of servers lose more than a guard allows
    #[arg(long)]
    pub accept_loss: bool,
    /// Read resources and templates, say what is wrong with them, and exit: 0, or 1 if something is
    #[arg(long, env = "CONFD_CHECK_CONFIG")]
    pub check_config: bool,
    /// Only this resource: its name, or its file in conf.d
    #[arg(long, value_name = "NAME")]
    pub resource: Option<PathBuf>,
    /// With --onetime, after a resource failed: best-effort (do the others) or fail-fast [default: best-effort]
    #[arg(long, value_name = "MODE", env = "CONFD_FAILURE_MODE")]
    pub failure_mode: Option<String>,
    /// Time to wait for more changes after one, unless a resource says otherwise [default: 50ms]
    #[arg(long, value_name = "TIME", env = "CONFD_DEBOUNCE")]
    pub quiet_min: Option<String>,
    /// Longest a change waits while more keep coming [default: 1s]
    #[arg(long, value_name = "TIME", env = "CONFD_BATCH_INTERVAL")]
    pub quiet_max: Option<String>,
    /// Longest a check_cmd may run, unless a resource says otherwise [default: 30s]
    #[arg(long, value_name = "TIME", env = "CONFD_CHECK_CMD_TIMEOUT")]
    pub check_cmd_timeout: Option<String>,
    /// Longest a reload_cmd may run, unless a resource says otherwise [default: 60s]
    #[arg(long, value_name = "TIME", env = "CONFD_RELOAD_CMD_TIMEOUT")]
    pub reload_cmd_timeout: Option<String>,
    /// Compare every file with its render this often; 0 turns it off [default: 600s]
    #[arg(long, value_name = "TIME", env = "CONFD_INTERVAL")]
    pub interval: Option<String>,
    /// Longest to wait for the store with --onetime [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub startup_timeout: Option<String>,
    /// Directory for the state of applied files [default: /var/lib/muster/confd]
    #[arg(long, value_name = "DIR", env = "CONFD_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Serve /livez, /readyz, /status and /metrics on this address
    #[arg(long, value_name = "HOST:PORT", env = "CONFD_LISTEN")]
    pub listen: Option<String>,
    /// Say in the store how this agent is doing (key /muster/status/confd/<host>/<confdir>, under a lease; `muster agents`
    /// shows it); not with --onetime or --noop [default: true]
    #[arg(long, value_name = "BOOL", env = "CONFD_PUBLISH_STATUS", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub publish_status: Option<bool>,
    /// Name of this host in that key [default: the host's name]
    #[arg(long, value_name = "NAME", env = "CONFD_STATUS_NAME")]
    pub status_name: Option<String>,
    /// User of the store
    #[arg(long, value_name = "NAME", env = "CONFD_USERNAME")]
    pub user: Option<String>,
    /// Password of the user
    #[arg(
        long,
        value_name = "TEXT",
        env = "CONFD_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<String>,
    /// CA certificates that sign the store's certificate (PEM)
    #[arg(long, value_name = "FILE", env = "CONFD_CLIENT_CAKEYS")]
    pub cacert: Option<PathBuf>,
    /// Client certificate (PEM)
    #[arg(long, value_name = "FILE", env = "CONFD_CLIENT_CERT")]
    pub cert: Option<PathBuf>,
    /// Key of the client certificate (PEM); with the backend redis and no certificate: its password, as in confd
    #[arg(long, value_name = "FILE", env = "CONFD_CLIENT_KEY")]
    pub key: Option<PathBuf>,
    /// The service it keeps
    #[command(flatten)]
    pub exec: Exec,
    /// What single backends take
    #[command(flatten)]
    pub access: Access,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", env = "CONFD_LOG_LEVEL")]
    pub log_level: Option<String>,
}

/// Where keys come from.
#[derive(Debug, Clone)]
pub enum BackendKind {
    /// A store.
    Store(connect::Options),
    /// The environment.
    Environment,
    /// Files of YAML.
    Files(Files),
    /// Consul's key-value store.
    Consul(Consul),
    /// Redis.
    Redis(Redis),
    /// Vault.
    Vault(Vault),
    /// `ZooKeeper`.
    ZooKeeper(ZooKeeper),
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where keys come from.
    pub backend: BackendKind,
    /// Backends that resources name.
    pub layers: BTreeMap<String, BackendKind>,
    /// Directory with `conf.d/` and `templates/`.
    pub confdir: PathBuf,
    /// What resources that do not say otherwise have.
    pub defaults: Defaults,
    /// Only the resource of this name.
    pub only: Option<String>,
    /// Something else than running.
    pub request: Option<Request>,
    /// Say what is wrong with the resources and end.
    pub check_config: bool,
    /// With `onetime`, begin nothing more once a resource failed.
    pub fail_fast: bool,
    /// Guards against the loss of servers let everything pass.
    pub accept_loss: bool,
    /// Leave staged files that were not used.
    pub keep_stage_file: bool,
    /// One pass per resource, then end.
    pub onetime: bool,
    /// Change nothing.
    pub noop: bool,
    /// Run no commands.
    pub sync_only: bool,
    /// Time between full comparisons; zero for none.
    pub interval: Duration,
    /// Longest `onetime` waits for the store.
    pub startup_timeout: Duration,
    /// Where the state is kept; `None` keeps it in memory only (a crash between replace and reload is then not noticed).
    pub state_dir: Option<PathBuf>,
    /// The service that is started after the first render and kept.
    pub child: Option<crate::child::Settings>,
    /// Where the status is served.
    pub listen: Option<SocketAddr>,
    /// Log level.
    pub log_level: String,
    /// Whether the agent says in the store how it is doing, see [`registrator_catalog::agent`].
    pub publish_status: bool,
    /// Name of this host there; `None` takes the host's name.
    pub status_name: Option<String>,
}

impl Config {
    /// Defaults for these store members and this directory; state in memory, no status server, no status in the store.
    pub fn new(endpoints: Vec<Endpoint>, confdir: impl Into<PathBuf>) -> Self {
        Self {
            backend: BackendKind::Store(connect::Options::new(endpoints)),
            layers: BTreeMap::new(),
            confdir: confdir.into(),
            defaults: Defaults::default(),
            only: None,
            request: None,
            check_config: false,
            fail_fast: false,
            accept_loss: false,
            keep_stage_file: false,
            onetime: false,
            noop: false,
            sync_only: false,
            interval: INTERVAL_DEFAULT,
            startup_timeout: Duration::from_secs(30),
            state_dir: None,
            child: None,
            listen: None,
            log_level: "info".to_owned(),
            publish_status: false,
            status_name: None,
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is wrong.
    #[error("configuration {place}: {message}")]
    File {
        /// File and line.
        place: String,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A value is wrong.
    #[error("{option} {value:?} {problem}")]
    Value {
        /// Name of the option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A backend cannot be used like this.
    #[error("backend {backend}: {message}")]
    Backend {
        /// Its name.
        backend: String,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A store member is misspelt.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } => None,
            Self::File { hint, .. } | Self::Backend { hint, .. } => hint.clone(),
            Self::Value {
                option:
                    "--interval"
                    | "--startup-timeout"
                    | "--quiet-min"
                    | "--quiet-max"
                    | "--check-cmd-timeout"
                    | "--reload-cmd-timeout",
                ..
            } => Some("write a time like \"10m\" or \"30s\"".to_owned()),
            Self::Value {
                option: "--listen", ..
            } => Some("write it like 127.0.0.1:9190".to_owned()),
            Self::Value {
                option: "--prefix-rule",
                ..
            } => Some("replace or join".to_owned()),
            Self::Value {
                option: "--failure-mode",
                ..
            } => Some("best-effort or fail-fast".to_owned()),
            Self::Value {
                option: "--file", ..
            } => Some(
                "name the files or directories with --file, or as `file` in confd.toml".to_owned(),
            ),
            Self::Value { .. } => None,
            Self::Endpoint(error) => error.hint(),
        }
    }
}

impl Args {
    /// Merges command line, environment and file.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn resolve(&self) -> Result<Config, ConfigError> {
        let confdir = self
            .confdir
            .clone()
            .unwrap_or_else(|| CONFDIR_DEFAULT.into());
        let file = File::read(self.config_file.as_deref(), &confdir)?;
        let confdir = match (&self.confdir, file.text("confdir")?) {
            (None, Some(other)) => PathBuf::from(other),
            _ => confdir,
        };
        let time = |option, given: Option<String>, default| match given {
            None => Ok(default),
            Some(text) => {
                // confd writes plain seconds.
                let time =
                    duration::parse(&text).or_else(|| text.parse().ok().map(Duration::from_secs));
                time.ok_or(ConfigError::Value {
                    option,
                    value: text,
                    problem: "is not a time",
                })
            }
        };
        let defaults = Defaults::default();
        let interval = time(
            "--interval",
            or(&self.interval, file.time("interval")?),
            INTERVAL_DEFAULT,
        )?;
        let startup_timeout = time(
            "--startup-timeout",
            self.startup_timeout.clone(),
            Duration::from_secs(30),
        )?;
        let listen = or(&self.listen, file.text("listen")?)
            .map(|text| {
                let address = text.parse().ok();
                address.ok_or(ConfigError::Value {
                    option: "--listen",
                    value: text,
                    problem: "is no address",
                })
            })
            .transpose()?;
        let state_dir = self
            .state_dir
            .clone()
            .or(file.text("state_dir")?.map(PathBuf::from));
        Ok(Config {
            backend: self.backend(&file)?,
            layers: access::layers(&file)?,
            confdir,
            defaults: Defaults {
                prefix: or(&self.prefix, file.text("prefix")?).unwrap_or_default(),
                prefix_rule: self.prefix_rule(&file)?,
                quiet_min: time("--quiet-min", self.quiet_min.clone(), defaults.quiet_min)?,
                quiet_max: match &self.quiet_max {
                    Some(given) => Some(time("--quiet-max", Some(given.clone()), Duration::ZERO)?),
                    None => None,
                },
                check_cmd_timeout: time(
                    "--check-cmd-timeout",
                    self.check_cmd_timeout.clone(),
                    defaults.check_cmd_timeout,
                )?,
                reload_cmd_timeout: time(
                    "--reload-cmd-timeout",
                    self.reload_cmd_timeout.clone(),
                    defaults.reload_cmd_timeout,
                )?,
            },
            only: self.only(),
            request: self.verb.map(|verb| Request {
                verb,
                explain: self.explain,
                to: self.to,
            }),
            check_config: self.check_config,
            fail_fast: self.fail_fast()?,
            accept_loss: self.accept_loss,
            keep_stage_file: self.keep_stage_file,
            onetime: self.onetime,
            noop: self.noop || file.flag("noop")?,
            sync_only: self.sync_only || file.flag("sync-only")?,
            interval,
            startup_timeout,
            state_dir: Some(state_dir.unwrap_or_else(|| STATE_DIR_DEFAULT.into())),
            child: self.exec.settings(&file)?,
            listen,
            log_level: or(&self.log_level, file.text("log-level")?)
                .unwrap_or_else(|| if self.verb.is_some() { "warn" } else { "info" }.to_owned()),
            publish_status: match self.publish_status {
                _ if self.verb.is_some() => false,
                Some(given) => given,
                None => file.switch("publish_status")?.unwrap_or(true),
            },
            status_name: or(&self.status_name, file.text("status_name")?)
                .filter(|name| !name.is_empty()),
        })
    }

    fn backend(&self, file: &File) -> Result<BackendKind, ConfigError> {
        let backend = or(&self.backend, file.text("backend")?);
        let backend = backend.as_deref().unwrap_or("store");
        access::refuse_unknown(backend)?;
        self.access.refuse_foreign(backend)?;
        Ok(match backend {
            "env" => BackendKind::Environment,
            "file" => BackendKind::Files(self.files(file)?),
            "consul" => BackendKind::Consul(self.consul(file)?),
            "redis" => BackendKind::Redis(self.redis(file)?),
            "vault" => BackendKind::Vault(self.vault(file)?),
            "zookeeper" => BackendKind::ZooKeeper(self.zookeeper(file)?),
            _ => BackendKind::Store(self.connect(file)?),
        })
    }

    fn files(&self, file: &File) -> Result<Files, ConfigError> {
        let paths = or(&self.file, file.list("file")?).unwrap_or_default();
        let paths: Vec<PathBuf> = paths
            .split(',')
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .collect();
        let value = |option, value: String, problem| ConfigError::Value {
            option,
            value,
            problem,
        };
        if paths.is_empty() {
            return Err(value(
                "--file",
                String::new(),
                "names no files for the backend file",
            ));
        }
        let filter = or(&self.filter, file.text("filter")?).unwrap_or_else(|| "*".to_owned());
        let filter =
            Glob::parse(&filter).map_err(|_| value("--filter", filter, "is no pattern"))?;
        Ok(Files { paths, filter })
    }

    fn prefix_rule(&self, file: &File) -> Result<PrefixRule, ConfigError> {
        match or(&self.prefix_rule, file.text("prefix_rule")?).as_deref() {
            None | Some("replace") => Ok(PrefixRule::Replace),
            Some("join") => Ok(PrefixRule::Join),
            Some(other) => Err(ConfigError::Value {
                option: "--prefix-rule",
                value: other.to_owned(),
                problem: "is not known",
            }),
        }
    }

    fn fail_fast(&self) -> Result<bool, ConfigError> {
        match self.failure_mode.as_deref() {
            None | Some("best-effort") => Ok(false),
            Some("fail-fast") => Ok(true),
            Some(other) => Err(ConfigError::Value {
                option: "--failure-mode",
                value: other.to_owned(),
                problem: "is not known",
            }),
        }
    }

    /// A name as it is; of a file, what stands behind `conf.d/`, without the ending.
    fn only(&self) -> Option<String> {
        let given = self.resource.as_ref().or(self.subject.as_ref())?;
        let given = given.to_string_lossy().into_owned();
        let name = given
            .rsplit_once("conf.d/")
            .map_or(given.as_str(), |(_, name)| name);
        let ending = [".toml", ".yaml", ".yml"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending));
        Some(ending.unwrap_or(name).to_owned())
    }

    fn connect(&self, file: &File) -> Result<connect::Options, ConfigError> {
        let nodes = match file.list("endpoints")? {
            Some(nodes) => Some(nodes),
            None => file.list("nodes")?,
        };
        let mut endpoints =
            or(&self.endpoints, nodes).unwrap_or_else(|| ENDPOINTS_DEFAULT.to_owned());
        if let Some(scheme) = or(&self.scheme, file.text("scheme")?) {
            let with_scheme = |node: &str| match node.contains("://") {
                true => node.to_owned(),
                false => format!("{scheme}://{node}"),
            };
            let nodes: Vec<String> = endpoints.split(',').map(with_scheme).collect();
            endpoints = nodes.join(",");
        }
        let mut options = connect::Options::new(Endpoint::parse_list(&endpoints)?);
        let user = or(&self.user, file.text("username")?);
        options.user = user.map(|user| {
            let password =
                or(&self.password, file.text("password").ok().flatten()).unwrap_or_default();
            // etcdctl's form, name and password in one.
            match user.split_once(':') {
                Some((name, password)) => (name.to_owned(), password.to_owned()),
                None => (user, password),
            }
        });
        let path = |given: &Option<PathBuf>, key| {
            Ok::<_, ConfigError>(given.clone().or(file.text(key)?.map(PathBuf::from)))
        };
        let pem = |path: PathBuf| read_bytes(&path);
        let ca_pem = path(&self.cacert, "client_cakeys")?.map(pem).transpose()?;
        let identity_pem = match self.identity(file)? {
            Some((cert, key)) => Some((pem(cert)?, pem(key)?)),
            None => None,
        };
        if ca_pem.is_some() || identity_pem.is_some() {
            options.tls = Some(Tls {
                ca_pem,
                identity_pem,
                server_name: None,
            });
        }
        Ok(options)
    }
}

fn or(given: &Option<String>, file: Option<String>) -> Option<String> {
    given.clone().or(file)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
