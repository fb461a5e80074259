//! What the user asked for: command line and environment (one declaration, [`Args`]), the file `confd.toml`, and
//! defaults, merged into [`Config`]. The command line wins over the environment, that over the file, that over defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use store_client::connect::{self, Tls};
use store_client::endpoint::{Endpoint, EndpointError};

use crate::resource::parse_duration;
use crate::spelling;

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
    /// Store members, separated by commas [default: http://127.0.0.1:2379]
    #[arg(
        long,
        short = 'n',
        visible_alias = "node",
        value_name = "URLS",
        env = "MUSTER_ENDPOINTS"
    )]
    pub endpoints: Option<String>,
    /// Where keys come from: store (muster or etcd) or env [default: store]
    #[arg(long, value_name = "NAME", env = "CONFD_BACKEND")]
    pub backend: Option<String>,
    /// Directory with conf.d/ and templates/ [default: /etc/confd]
    #[arg(long, value_name = "DIR", env = "CONFD_CONFDIR")]
    pub confdir: Option<PathBuf>,
    /// Configuration file [default: confd.toml in that directory, if it exists]
    #[arg(long, value_name = "FILE", env = "CONFD_CONFIG_FILE")]
    pub config_file: Option<PathBuf>,
    /// Key prefix, replaces the prefix of every resource
    #[arg(long, value_name = "PATH", env = "CONFD_PREFIX")]
    pub prefix: Option<String>,
    /// Render everything once and exit: 0, or 1 if a resource failed
    #[arg(long)]
    pub onetime: bool,
    /// Keep watching for changes (the default; --onetime wins over it)
    #[arg(long)]
    pub watch: bool,
    /// Show what would change, change nothing
    #[arg(long)]
    pub noop: bool,
    /// Write files, but run neither check_cmd nor reload_cmd
    #[arg(long)]
    pub sync_only: bool,
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
    #[arg(long, value_name = "FILE", env = "CONFD_CLIENT_CERT", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Key of the client certificate (PEM)
    #[arg(long, value_name = "FILE", env = "CONFD_CLIENT_KEY", requires = "cert")]
    pub key: Option<PathBuf>,
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
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where keys come from.
    pub backend: BackendKind,
    /// Directory with `conf.d/` and `templates/`.
    pub confdir: PathBuf,
    /// Replaces the prefix of every resource unless empty.
    pub prefix: String,
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
    /// Where the status is served.
    pub listen: Option<SocketAddr>,
    /// Log level.
    pub log_level: String,
}

impl Config {
    /// Defaults for these store members and this directory; state in memory, no status server.
    pub fn new(endpoints: Vec<Endpoint>, confdir: impl Into<PathBuf>) -> Self {
        Self {
            backend: BackendKind::Store(connect::Options::new(endpoints)),
            confdir: confdir.into(),
            prefix: String::new(),
            onetime: false,
            noop: false,
            sync_only: false,
            interval: INTERVAL_DEFAULT,
            startup_timeout: Duration::from_secs(30),
            state_dir: None,
            listen: None,
            log_level: "info".to_owned(),
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
    /// A store member is misspelt.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } => None,
            Self::File { hint, .. } => hint.clone(),
            Self::Value {
                option: "--interval" | "--startup-timeout",
                ..
            } => Some("write a time like \"10m\" or \"30s\"".to_owned()),
            Self::Value {
                option: "--listen", ..
            } => Some("write it like 127.0.0.1:9190".to_owned()),
            Self::Value {
                option: "--backend",
                ..
            } => Some("known: store (or etcd, etcdv3), env".to_owned()),
            Self::Value { .. } => None,
            Self::Endpoint(error) => error.hint(),
        }
    }
}

/// Keys of `confd.toml` that are read; those of the original that have no meaning here are refused by name.
const FILE_KEYS: &[&str] = &[
    "backend",
    "nodes",
    "endpoints",
    "confdir",
    "prefix",
    "interval",
    "watch",
    "noop",
    "sync-only",
    "log-level",
    "state_dir",
    "listen",
    "username",
    "password",
    "client_cakeys",
    "client_cert",
    "client_key",
];

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
                    parse_duration(&text).or_else(|| text.parse().ok().map(Duration::from_secs));
                time.ok_or(ConfigError::Value {
                    option,
                    value: text,
                    problem: "is not a time",
                })
            }
        };
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
            confdir,
            prefix: or(&self.prefix, file.text("prefix")?).unwrap_or_default(),
            onetime: self.onetime,
            noop: self.noop || file.flag("noop")?,
            sync_only: self.sync_only || file.flag("sync-only")?,
            interval,
            startup_timeout,
            state_dir: Some(state_dir.unwrap_or_else(|| STATE_DIR_DEFAULT.into())),
            listen,
            log_level: or(&self.log_level, file.text("log-level")?)
                .unwrap_or_else(|| "info".to_owned()),
        })
    }

    fn backend(&self, file: &File) -> Result<BackendKind, ConfigError> {
        match or(&self.backend, file.text("backend")?)
            .as_deref()
            .unwrap_or("store")
        {
            "store" | "etcd" | "etcdv3" => Ok(BackendKind::Store(self.connect(file)?)),
            "env" => Ok(BackendKind::Environment),
            other => Err(ConfigError::Value {
                option: "--backend",
                value: other.to_owned(),
                problem: "is not a backend of this version",
            }),
        }
    }

    fn connect(&self, file: &File) -> Result<connect::Options, ConfigError> {
        let nodes = match file.list("endpoints")? {
            Some(nodes) => Some(nodes),
            None => file.list("nodes")?,
        };
        let endpoints = or(&self.endpoints, nodes).unwrap_or_else(|| ENDPOINTS_DEFAULT.to_owned());
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
        let pem = |path: Option<PathBuf>| path.map(|path| read_bytes(&path)).transpose();
        let ca_pem = pem(path(&self.cacert, "client_cakeys")?)?;
        let cert = pem(path(&self.cert, "client_cert")?)?;
        let key = pem(path(&self.key, "client_key")?)?;
        let identity_pem = cert.zip(key);
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

/// `confd.toml`.
struct File {
    name: String,
    table: toml::Table,
}

impl File {
    /// A file that was named must exist; the default one may be missing.
    fn read(named: Option<&Path>, confdir: &Path) -> Result<Self, ConfigError> {
        let path = named.map_or_else(|| confdir.join("confd.toml"), Path::to_owned);
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                String::new()
            }
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                text.get(..span.start).unwrap_or("").matches('\n').count() + 1
            });
            ConfigError::File {
                place: format!("{name}:{line}"),
                message: format!("not TOML: {}", error.message()),
                hint: None,
            }
        })?;
        let file = Self { name, table };
        match file
            .table
            .keys()
            .find(|key| !FILE_KEYS.contains(&key.as_str()))
        {
            Some(unknown) => Err(ConfigError::File {
                place: file.name.clone(),
                message: format!("unknown key {unknown:?}"),
                hint: Some(
                    match spelling::nearest(unknown, FILE_KEYS.iter().copied()) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => format!("known: {}", FILE_KEYS.join(", ")),
                    },
                ),
            }),
            None => Ok(file),
        }
    }

    fn fault(&self, key: &str, problem: &str) -> ConfigError {
        ConfigError::File {
            place: self.name.clone(),
            message: format!("{key} {problem}"),
            hint: None,
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.fault(key, "is not text")),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        match self.table.get(key) {
            None => Ok(false),
            Some(toml::Value::Boolean(flag)) => Ok(*flag),
            Some(_) => Err(self.fault(key, "is neither true nor false")),
        }
    }

    fn time(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.table.get(key) {
            Some(toml::Value::Integer(seconds)) => Ok(Some(seconds.to_string())),
            _ => self.text(key),
        }
    }

    fn list(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.table.get(key) {
            Some(toml::Value::Array(list)) => {
                let texts: Option<Vec<&str>> = list.iter().map(toml::Value::as_str).collect();
                texts
                    .map(|texts| Some(texts.join(",")))
                    .ok_or_else(|| self.fault(key, "is not a list of texts"))
            }
            _ => self.text(key),
        }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
