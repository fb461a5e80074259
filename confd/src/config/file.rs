//! `confd.toml`, or `confd.yaml` with the same keys: read once, its keys asked for one by one.

use std::path::{Path, PathBuf};

use super::ConfigError;
use crate::spelling;

/// Keys of `confd.toml` that are read, beside [`BACKEND_KEYS`]; those of the original that have no meaning here are refused by name.
pub(super) const FILE_KEYS: &[&str] = &[
    "confdir",
    "prefix",
    "prefix_rule",
    "interval",
    "watch",
    "noop",
    "sync-only",
    "log-level",
    "state_dir",
    "listen",
    "publish_status",
    "status_name",
    "backends",
    "exec",
    "exec_signal",
    "exec_kill_timeout",
];

/// Those that say where keys come from; they stand in the file itself or in one of its `[backends.NAME]`.
pub(super) const BACKEND_KEYS: &[&str] = &[
    "backend",
    "nodes",
    "endpoints",
    "scheme",
    "file",
    "filter",
    "basic_auth",
    "client_insecure",
    "username",
    "password",
    "client_cakeys",
    "client_cert",
    "client_key",
    "auth_token",
    "auth_type",
    "app_id",
    "user_id",
    "role_id",
    "secret_id",
    "path",
    "separator",
    "table",
    "poll_interval",
];

fn is_yaml(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("yaml" | "yml"))
}

/// The one there is of `confd.toml` and `confd.yaml`.
fn default_path(confdir: &Path) -> Result<PathBuf, ConfigError> {
    let toml = confdir.join("confd.toml");
    let yaml = ["confd.yaml", "confd.yml"].map(|name| confdir.join(name));
    match yaml.into_iter().find(|path| path.exists()) {
        Some(yaml) if toml.exists() => Err(ConfigError::File {
            place: yaml.display().to_string(),
            message: "stands beside confd.toml".to_owned(),
            hint: Some("keep one of them".to_owned()),
        }),
        Some(yaml) => Ok(yaml),
        None => Ok(toml),
    }
}

fn toml(name: &str, text: &str) -> Result<toml::Table, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text.get(..span.start).unwrap_or("").matches('\n').count() + 1
        });
        ConfigError::File {
            place: format!("{name}:{line}"),
            message: format!("not TOML: {}", error.message()),
            hint: None,
        }
    })
}

fn yaml(name: &str, text: &str) -> Result<toml::Table, ConfigError> {
    // Without a key it is nothing.
    let table: Option<toml::Table> = serde_yaml::from_str(text).map_err(|error| {
        let place = match error.location() {
            Some(at) => format!("{name}:{}:{}", at.line(), at.column()),
            None => name.to_owned(),
        };
        ConfigError::File {
            place,
            message: format!("not YAML as expected: {error}"),
            hint: None,
        }
    })?;
    Ok(table.unwrap_or_default())
}

/// `confd.toml` or `confd.yaml`.
pub(super) struct File {
    name: String,
    table: toml::Table,
}

impl File {
    /// A file that was named must exist; the default one may be missing.
    pub(super) fn read(named: Option<&Path>, confdir: &Path) -> Result<Self, ConfigError> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => default_path(confdir)?,
        };
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                String::new()
            }
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let table = match is_yaml(&path) {
            true => yaml(&name, &text)?,
            false => toml(&name, &text)?,
        };
        Self { name, table }.knowing(&[FILE_KEYS, BACKEND_KEYS].concat())
    }

    /// A table that says where keys come from; `name` is its place.
    pub(super) fn of_backend(name: String, table: toml::Table) -> Result<Self, ConfigError> {
        Self { name, table }.knowing(BACKEND_KEYS)
    }

    /// The tables `[backends.NAME]`.
    pub(super) fn backends(&self) -> Result<Vec<(String, Self)>, ConfigError> {
        let tables = match self.table.get("backends") {
            None => return Ok(Vec::new()),
            Some(toml::Value::Table(tables)) => tables,
            Some(_) => return Err(self.fault("backends", "is no table of backends")),
        };
        let mut found = Vec::new();
        for (name, table) in tables {
            let toml::Value::Table(table) = table else {
                return Err(self.fault("backends", "holds something that is no table"));
            };
            let place = format!("{} [backends.{name}]", self.name);
            found.push((name.clone(), Self::of_backend(place, table.clone())?));
        }
        Ok(found)
    }

    fn knowing(self, known: &[&str]) -> Result<Self, ConfigError> {
        let mut keys = self.table.keys();
        let Some(unknown) = keys.find(|key| !known.contains(&key.as_str())) else {
            return Ok(self);
        };
        Err(ConfigError::File {
            place: self.name.clone(),
            message: format!("unknown key {unknown:?}"),
            hint: Some(match spelling::nearest(unknown, known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known: {}", known.join(", ")),
            }),
        })
    }

    fn fault(&self, key: &str, problem: &str) -> ConfigError {
        ConfigError::File {
            place: self.name.clone(),
            message: format!("{key} {problem}"),
            hint: None,
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.fault(key, "is not text")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        Ok(self.switch(key)?.unwrap_or(false))
    }

    pub(super) fn switch(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(toml::Value::Boolean(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.fault(key, "is neither true nor false")),
        }
    }

    pub(super) fn time(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.table.get(key) {
            Some(toml::Value::Integer(seconds)) => Ok(Some(seconds.to_string())),
            _ => self.text(key),
        }
    }

    pub(super) fn list(&self, key: &str) -> Result<Option<String>, ConfigError> {
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
