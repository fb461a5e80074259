//! What single backends take beside their address: the flags of confd's Vault, Redis and DynamoDB, and how each backend is
//! made of them, of the common ones and of `confd.toml`. Flags of a backend that is not the one in use are refused: they
//! are a mistake about where keys come from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use redis::{Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo as _, TlsCertificates};
use store_transport::dial::Target;

use super::{Args, BackendKind, Config, ConfigError, File, or, read_bytes};
use crate::backends::{Consul, Login, Redis, Vault, ZooKeeper};
use crate::duration;
use crate::resource::Layer;
use crate::web::{self, Trust};

/// Where a pod finds the token of its service account (Kubernetes documentation, "Service accounts").
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// 10 s: as old a secret may be, and a hundred of them are ten questions a second.
const POLL_DEFAULT: Duration = Duration::from_secs(10);
/// The backends there are.
pub(super) const BACKENDS: &[&str] = &[
    "store",
    "etcd",
    "etcdv3",
    "consul",
    "redis",
    "vault",
    "zookeeper",
    "file",
    "env",
];
/// Backends of confd and of its fork that are not here, and what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "rancher",
        "its metadata service belongs to Rancher 1, which has ended",
    ),
    (
        "dynamodb",
        "AWS's services are not spoken to; aws dynamodb scan into a file, and --backend file",
    ),
    (
        "ssm",
        "AWS's services are not spoken to; aws ssm get-parameters-by-path into a file, and --backend file",
    ),
    (
        "acm",
        "AWS's services are not spoken to; aws acm export-certificate into a file, and --backend file",
    ),
    (
        "secretsmanager",
        "AWS's services are not spoken to; aws secretsmanager into a file, and --backend file",
    ),
    (
        "imds",
        "AWS's services are not spoken to; write the metadata into a file, and --backend file",
    ),
];

/// What single backends take.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Access {
    /// Token for Consul or Vault [default: CONSUL_HTTP_TOKEN or VAULT_TOKEN]
    #[arg(
        long,
        value_name = "TEXT",
        env = "CONFD_AUTH_TOKEN",
        hide_env_values = true
    )]
    pub auth_token: Option<String>,
    /// How Vault is logged in to: token, app-role, app-id, userpass, github, kubernetes or cert [default: token if there
    /// is one]
    #[arg(long, value_name = "NAME", env = "CONFD_AUTH_TYPE")]
    pub auth_type: Option<String>,
    /// With auth type app-id: the application
    #[arg(long, value_name = "TEXT", env = "CONFD_APP_ID")]
    pub app_id: Option<String>,
    /// With auth type app-id: who it runs for
    #[arg(
        long,
        value_name = "TEXT",
        env = "CONFD_USER_ID",
        hide_env_values = true
    )]
    pub user_id: Option<String>,
    /// With auth types app-role and kubernetes: the role
    #[arg(long, value_name = "TEXT", env = "CONFD_ROLE_ID")]
    pub role_id: Option<String>,
    /// With auth type app-role: the role's secret
    #[arg(
        long,
        value_name = "TEXT",
        env = "CONFD_SECRET_ID",
        hide_env_values = true
    )]
    pub secret_id: Option<String>,
    /// Where the auth type is mounted in Vault [default: the type's name]
    #[arg(long, value_name = "PATH", env = "CONFD_PATH")]
    pub path: Option<String>,
    /// What stands between the names of a path in keys of Redis [default: /]
    #[arg(long, value_name = "TEXT", env = "CONFD_SEPARATOR")]
    pub separator: Option<String>,
    /// How often Vault is read, and any backend that cannot tell of changes [default: 10s]
    #[arg(long, value_name = "TIME", env = "CONFD_POLL_INTERVAL")]
    pub poll_interval: Option<String>,
    /// Table of the backend dynamodb, which is not here
    #[arg(long, value_name = "NAME", hide = true)]
    pub table: Option<String>,
}

fn fault(backend: &str, message: impl Into<String>, hint: &str) -> ConfigError {
    ConfigError::Backend {
        backend: backend.to_owned(),
        message: message.into(),
        hint: (!hint.is_empty()).then(|| hint.to_owned()),
    }
}

/// Says why there is no such backend.
pub(super) fn refuse_unknown(name: &str) -> Result<(), ConfigError> {
    if BACKENDS.contains(&name) {
        return Ok(());
    }
    let known = || format!("known: {}", BACKENDS.join(", "));
    Err(match ELSEWHERE.iter().find(|(other, _)| *other == name) {
        Some((_, instead)) => fault(name, "is confd's and not here", instead),
        None => match crate::spelling::nearest(name, BACKENDS.iter().copied()) {
            Some(near) => fault(name, "is not known", &format!("did you mean {near:?}?")),
            None => fault(name, "is not known", &known()),
        },
    })
}

impl Access {
    /// What was given of another backend.
    pub(super) fn refuse_foreign(&self, backend: &str) -> Result<(), ConfigError> {
        let of_vault = [
            ("--auth-type", &self.auth_type),
            ("--app-id", &self.app_id),
            ("--user-id", &self.user_id),
            ("--role-id", &self.role_id),
            ("--secret-id", &self.secret_id),
            ("--path", &self.path),
        ];
        let of_one = of_vault.map(|(flag, value)| (flag, value, &["vault"][..]));
        let of_some = [
            ("--auth-token", &self.auth_token, &["vault", "consul"][..]),
            ("--separator", &self.separator, &["redis"][..]),
            (
                "--poll-interval",
                &self.poll_interval,
                &["vault", "redis", "zookeeper"][..],
            ),
            ("--table", &self.table, &["dynamodb"][..]),
        ];
        let given = of_one
            .iter()
            .chain(&of_some)
            .find(|(_, value, backends)| value.is_some() && !backends.contains(&backend));
        match given {
            Some((flag, _, backends)) => Err(fault(
                backend,
                format!("{flag} is not for it"),
                &format!("it belongs to --backend {}", backends.join(" or ")),
            )),
            None => Ok(()),
        }
    }
}

/// The backends that `confd.toml` names for resources.
pub(super) fn layers(file: &File) -> Result<BTreeMap<String, BackendKind>, ConfigError> {
    let named = file.backends()?.into_iter();
    named
        .map(|(name, table)| Ok((name, Args::default().backend(&table)?)))
        .collect()
}

impl Config {
    /// The backend that a resource names or describes.
    ///
    /// # Errors
    /// There is none of the name, or it cannot be made of the settings.
    pub fn layer(&self, layer: &Layer) -> Result<BackendKind, ConfigError> {
        let settings = match layer {
            Layer::Named(name) => {
                return self.layers.get(name).cloned().ok_or_else(|| {
                    let known: Vec<&str> = self.layers.keys().map(String::as_str).collect();
                    let known = known.join(", ");
                    let hint = format!("known: {known}; others stand there as [backends.NAME]");
                    fault(name, "is not among those of confd.toml", &hint)
                });
            }
            Layer::Own(settings) => settings,
        };
        let table = toml::Table::try_from(settings)
            .map_err(|error| fault("of the resource", error.to_string(), ""))?;
        Args::default().backend(&File::of_backend(
            "backend of the resource".to_owned(),
            table,
        )?)
    }
}

/// A number of seconds or a time.
fn time(text: &str) -> Option<Duration> {
    duration::parse(text).or_else(|| text.parse().ok().map(Duration::from_secs))
}

impl Args {
    fn nodes(&self, file: &File, default: &str) -> Result<Vec<String>, ConfigError> {
        let listed = match file.list("endpoints")? {
            Some(nodes) => Some(nodes),
            None => file.list("nodes")?,
        };
        let nodes = or(&self.endpoints, listed).unwrap_or_default();
        let nodes: Vec<String> = nodes
            .split(',')
            .map(|node| node.trim().to_owned())
            .filter(|node| !node.is_empty())
            .collect();
        Ok(match nodes.is_empty() {
            true => vec![default.to_owned()],
            false => nodes,
        })
    }

    fn file_of(
        &self,
        given: &Option<PathBuf>,
        file: &File,
        key: &str,
    ) -> Result<Option<PathBuf>, ConfigError> {
        Ok(match given {
            Some(path) => Some(path.clone()),
            None => file
                .text(key)?
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
        })
    }

    /// Our certificate and its key, which only count together.
    pub(super) fn identity(&self, file: &File) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        let cert = self.file_of(&self.cert, file, "client_cert")?;
        let key = self.file_of(&self.key, file, "client_key")?;
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Some((cert, key))),
            (None, None) => Ok(None),
            (Some(path), None) => Err(ConfigError::Value {
                option: "--cert",
                value: path.display().to_string(),
                problem: "needs its --key",
            }),
            (None, Some(path)) => Err(ConfigError::Value {
                option: "--key",
                value: path.display().to_string(),
                problem: "needs its --cert",
            }),
        }
    }

    fn trust(&self, file: &File) -> Result<Trust, ConfigError> {
        Ok(Trust {
            authorities: self.file_of(&self.cacert, file, "client_cakeys")?,
            identity: self.identity(file)?,
        })
    }

    /// A user and password, in two settings or in one with a colon.
    fn user(&self, file: &File) -> Result<Option<(String, String)>, ConfigError> {
        let user = or(&self.user, file.text("username")?).filter(|user| !user.is_empty());
        let password = or(&self.password, file.text("password")?);
        Ok(user.map(|user| match (user.split_once(':'), password) {
            (Some((name, password)), None) => (name.to_owned(), password.to_owned()),
            (_, password) => (user.clone(), password.unwrap_or_default()),
        }))
    }

    fn targets(&self, file: &File, backend: &str, port: u16) -> Result<Vec<Target>, ConfigError> {
        let scheme = or(&self.scheme, file.text("scheme")?).unwrap_or_else(|| "http".to_owned());
        let nodes = self.nodes(file, &format!("127.0.0.1:{port}"))?;
        let targets = nodes
            .iter()
            .map(|node| web::target(node, &scheme, port))
            .collect::<Result<_, _>>();
        targets.map_err(|error| {
            let hint =
                format!("write it like 127.0.0.1:{port} or https://{backend}.example:{port}");
            fault(backend, error.to_string(), &hint)
        })
    }

    fn poll(&self, file: &File) -> Result<Duration, ConfigError> {
        let Some(text) = or(&self.access.poll_interval, file.time("poll_interval")?) else {
            return Ok(POLL_DEFAULT);
        };
        match time(&text).filter(|time| !time.is_zero()) {
            Some(time) => Ok(time),
            None => Err(ConfigError::Value {
                option: "--poll-interval",
                value: text,
                problem: "is not a time above zero",
            }),
        }
    }

    pub(super) fn consul(&self, file: &File) -> Result<Consul, ConfigError> {
        let token = or(&self.access.auth_token, file.text("auth_token")?);
        Ok(Consul {
            servers: self.targets(file, "consul", 8500)?,
            trust: self.trust(file)?,
            token: token.or_else(|| std::env::var("CONSUL_HTTP_TOKEN").ok()),
            user: self.user(file)?,
        })
    }

    pub(super) fn zookeeper(&self, file: &File) -> Result<ZooKeeper, ConfigError> {
        let nodes = self.nodes(file, "127.0.0.1:2181")?;
        let named = nodes.iter().find(|node| node.contains("://"));
        if let Some(node) = named {
            return Err(fault(
                "zookeeper",
                format!("{node:?} is no host with a port"),
                "write it like zk1:2181, without a scheme",
            ));
        }
        Ok(ZooKeeper {
            servers: nodes.join(","),
            poll: self.poll(file)?,
        })
    }

    pub(super) fn redis(&self, file: &File) -> Result<Redis, ConfigError> {
        let key = self.file_of(&self.key, file, "client_key")?;
        let cert = self.file_of(&self.cert, file, "client_cert")?;
        let password = or(&self.password, file.text("password")?);
        let user = self.user(file)?;
        // The original takes the password there.
        let (password, identity) = match (key, cert) {
            (Some(key), None) => (password.or_else(|| Some(key.display().to_string())), None),
            (None, None) => (password, None),
            _ => (password, self.identity(file)?),
        };
        let password = user
            .as_ref()
            .map(|(_, own)| own.clone())
            .filter(|own| !own.is_empty())
            .or(password);
        let authorities = self.file_of(&self.cacert, file, "client_cakeys")?;
        let identity = match identity {
            Some((cert, key)) => Some(ClientTlsConfig {
                client_cert: read_bytes(&cert)?,
                client_key: read_bytes(&key)?,
            }),
            None => None,
        };
        let root_cert = authorities.map(|path| read_bytes(&path)).transpose()?;
        let client = |node: &String| {
            let info = server(node)?;
            let mut settings = info.redis_settings().clone();
            if let Some(password) = &password {
                settings = settings.set_password(password);
            }
            if let Some((name, _)) = &user {
                settings = settings.set_username(name);
            }
            let info = info.set_redis_settings(settings);
            let tls = TlsCertificates {
                client_tls: identity.clone(),
                root_cert: root_cert.clone(),
            };
            match info.addr() {
                ConnectionAddr::TcpTls { .. } => Client::build_with_tls(info, tls),
                _ => Client::open(info),
            }
            .map_err(|error| fault("redis", format!("{node:?}: {error}"), ""))
        };
        let nodes = self.nodes(file, "127.0.0.1:6379")?;
        Ok(Redis {
            servers: nodes.iter().map(client).collect::<Result<_, _>>()?,
            separator: or(&self.access.separator, file.text("separator")?).unwrap_or_default(),
            poll: self.poll(file)?,
        })
    }

    pub(super) fn vault(&self, file: &File) -> Result<Vault, ConfigError> {
        Ok(Vault {
            servers: self.targets(file, "vault", 8200)?,
            trust: self.trust(file)?,
            login: self.login(file)?,
            mount: or(&self.access.path, file.text("path")?).filter(|path| !path.is_empty()),
            poll: self.poll(file)?,
        })
    }

    fn login(&self, file: &File) -> Result<Login, ConfigError> {
        let access = &self.access;
        let given = |flag: &Option<String>, key: &str| {
            Ok::<_, ConfigError>(or(flag, file.text(key)?).filter(|text| !text.is_empty()))
        };
        let needed = |flag: &Option<String>, key: &str| {
            given(flag, key)?.ok_or_else(|| {
                let name = key.replace('_', "-");
                fault("vault", format!("this auth type needs --{name}"), "")
            })
        };
        let token = given(&access.auth_token, "auth_token")?;
        let token = token.or_else(|| std::env::var("VAULT_TOKEN").ok());
        let kind = given(&access.auth_type, "auth_type")?;
        Ok(match kind.as_deref() {
            None | Some("token") => Login::Token(token.ok_or_else(|| {
                fault(
                    "vault",
                    "there is no token to log in with",
                    "give --auth-token or VAULT_TOKEN, or another --auth-type",
                )
            })?),
            Some("app-role" | "approle") => Login::AppRole {
                role_id: needed(&access.role_id, "role_id")?,
                secret_id: given(&access.secret_id, "secret_id")?,
            },
            Some("app-id") => Login::AppId {
                app_id: needed(&access.app_id, "app_id")?,
                user_id: needed(&access.user_id, "user_id")?,
            },
            Some("userpass") => match self.user(file)? {
                Some((name, password)) => Login::UserPass { name, password },
                None => {
                    let hint = "give --username and --password";
                    return Err(fault("vault", "auth type userpass needs a user", hint));
                }
            },
            Some("github") => Login::GitHub(
                token.ok_or_else(|| fault("vault", "auth type github needs --auth-token", ""))?,
            ),
            Some("kubernetes") => Login::Kubernetes {
                role: needed(&access.role_id, "role_id")?,
                token: SERVICE_ACCOUNT.into(),
            },
            Some("cert") => Login::Certificate,
            Some(other) => {
                return Err(fault(
                    "vault",
                    format!("auth type {other:?} is not known"),
                    "known: token, app-role, app-id, userpass, github, kubernetes, cert",
                ));
            }
        })
    }
}

/// A node in one of the original's forms: `host:port`, either with `/database`, the path of a socket file, or a URL.
fn server(node: &str) -> Result<redis::ConnectionInfo, ConfigError> {
    let bad = |why: String| {
        fault(
            "redis",
            format!("{node:?} {why}"),
            "write it like 127.0.0.1:6379, 127.0.0.1:6379/2, /run/redis.sock or rediss://host:6380/0",
        )
    };
    if node.contains("://") {
        return node
            .into_connection_info()
            .map_err(|error| bad(format!("is no address: {error}")));
    }
    if node.starts_with('/') {
        let address = ConnectionAddr::Unix(node.into());
        return address
            .into_connection_info()
            .map_err(|error| bad(error.to_string()));
    }
    let (address, database) = node.split_once('/').unwrap_or((node, "0"));
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "6379"));
    let port: u16 = port
        .parse()
        .map_err(|_| bad("has no number for a port".to_owned()))?;
    let database: i64 = database
        .parse()
        .map_err(|_| bad("has no number for a database".to_owned()))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(bad("has no host".to_owned()));
    }
    let info = (host, port)
        .into_connection_info()
        .map_err(|error| bad(error.to_string()))?;
    let settings = info.redis_settings().clone().set_db(database);
    Ok(info.set_redis_settings(settings))
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
