//! Pure: A template resource: which template, which keys, which file, and what to run when it changes.
//!
//! Read from `conf.d/*.yaml` (the keys at the top level or under `template:`) and from confd's own `conf.d/*.toml`
//! (under `[template]`). Unknown keys are refused, so a misspelt `reload_cmd` cannot be ignored silently. One bad file is
//! its own fault and nobody else's.

mod fields;
mod files;
mod guards;
mod reloads;
mod schema;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use self::fields::Fields;
pub use self::schema::schema;
use crate::defaults::Defaults;
use crate::engine::EngineName;
use crate::format::Format;
use crate::guard::Guard;
use crate::plan::{ContentHash, Owner};
use crate::reload::Driver;
use crate::tree::Scope;

/// One file to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Name of the resource file without its extension; identifies it in status and logs.
    pub name: String,
    /// Template, relative to the template directory.
    pub src: String,
    /// Language of the template; `None` lets its extension say.
    pub engine: Option<EngineName>,
    /// File to write. Absolute. Of a set the first one, which also names it in the book.
    pub dest: PathBuf,
    /// The files of a set, each with what it has for itself; empty for a single file.
    pub files: Vec<Resource>,
    /// Where its keys come from, the later over the earlier; empty for where those of all come from.
    pub layers: Vec<Layer>,
    /// Paths (behind the prefix) that the template may read.
    pub keys: Vec<String>,
    /// Prefix of all keys, stripped for the template. Empty or like `/production`.
    pub prefix: String,
    /// Permission bits to set; `None` keeps those of the existing file, or 0644 for a new one.
    pub mode: Option<u32>,
    /// Owner to set; `None` keeps that of the existing file.
    pub owner: Option<Account>,
    /// Group to set; `None` keeps that of the existing file.
    pub group: Option<Account>,
    /// Shell command that checks the staged file before it replaces the old one.
    pub check_cmd: Option<String>,
    /// Shell command that makes the service read the new file.
    pub reload_cmd: Option<String>,
    /// How the service is made to read the new file, if not by `reload_cmd`.
    pub reload: Option<Driver>,
    /// Shell command that proves that the service runs on the new file.
    pub verify_cmd: Option<String>,
    /// Address that answers with a status of 200 to 299 when the service runs on the new file.
    pub verify_url: Option<String>,
    /// Address that answers with the hash that stands in the file the service runs on, see [`crate::render`].
    pub verify_hash: Option<String>,
    /// Whether content that the service did not take is taken back.
    pub rollback: bool,
    /// Longest `check_cmd` may run.
    pub check_cmd_timeout: Duration,
    /// Longest `reload_cmd` and `verify_cmd` may run, each.
    pub reload_cmd_timeout: Duration,
    /// Time to wait for more changes after one; 0 renders at once.
    pub quiet_min: Duration,
    /// Longest a change waits. Invariant: at least `quiet_min`.
    pub quiet_max: Duration,
    /// Shortest time between two reloads; what changes meanwhile waits for its end and goes into one.
    pub min_reload_interval: Duration,
    /// The path below which each name has a file of its own; `dest` holds `{{name}}` then, see [`crate::each`].
    pub for_each: Option<String>,
    /// What becomes of the file of a name that is gone.
    pub on_missing: OnMissing,
    /// Which resource this one was made of, and for which name.
    pub owner_of: Option<Owner>,
    /// The name is gone: what is left of its file is to go as well.
    pub gone: bool,
    /// What a group of servers may lose at once.
    pub guard: Option<Guard>,
    /// What becomes of a file whose template reads a key that does not exist.
    pub missing_keys: MissingKeys,
    /// What the rendered text must parse as.
    pub output_format: Option<Format>,
    /// Lines that hold only block tags leave nothing in the output.
    pub trim_blocks: bool,
    /// Free values the template sees as `vars`.
    pub vars: Map<String, Value>,
    /// What is accepted but probably not meant, one line each.
    pub warnings: Vec<String>,
}

impl Resource {
    /// Its files, each as a resource: those of a set, or itself.
    pub fn parts(&self) -> &[Self] {
        match self.files.is_empty() {
            true => std::slice::from_ref(self),
            false => &self.files,
        }
    }

    /// Whether it is several files that are switched together.
    pub fn is_set(&self) -> bool {
        !self.files.is_empty()
    }

    /// Whether something must accept what is staged.
    pub fn is_checked(&self) -> bool {
        let whole = std::iter::once(self);
        whole.chain(&self.files).any(|one| one.check_cmd.is_some())
    }

    /// The space of keys that its backends fill, see [`Scope::within`].
    pub fn space(&self) -> String {
        if self.layers.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self.layers.iter().map(Layer::name).collect();
        // Sorts before every path.
        format!("({})", names.join(","))
    }

    /// What it sees.
    pub fn scope(&self) -> Scope {
        Scope::within(&self.space(), &self.prefix, &self.keys)
    }

    /// Whether there shall be no file.
    pub fn is_removed(&self) -> bool {
        self.gone && self.on_missing == OnMissing::Delete
    }

    /// Whether there is a service to be told of a new file.
    pub fn is_told(&self) -> bool {
        self.reload_cmd.is_some() || self.reload.is_some()
    }

    /// Whether there is a proof that the service runs on the file, beside that it was told.
    pub fn is_verified(&self) -> bool {
        self.verify_cmd.is_some() || self.verify_url.is_some() || self.verify_hash.is_some()
    }

    /// Whether there is a service whose state must be proven.
    pub fn is_served(&self) -> bool {
        self.is_told() || self.is_verified()
    }
}

/// A backend of a resource's own.
#[derive(Clone, PartialEq)]
pub enum Layer {
    /// One of those that `confd.toml` names.
    Named(String),
    /// One with settings of its own, as in `confd.toml`.
    Own(Map<String, Value>),
}

impl Layer {
    /// A name that no other has.
    pub fn name(&self) -> String {
        match self {
            Self::Named(name) => name.clone(),
            // The settings may hold secrets.
            Self::Own(settings) => {
                let text = Value::Object(settings.clone()).to_string();
                let hash = String::from(ContentHash::of(text.as_bytes()));
                format!("own-{}", &hash[..16])
            }
        }
    }
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

/// What becomes of the file of a name that is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnMissing {
    /// It goes, and the service is told.
    #[default]
    Delete,
    /// It is emptied, and the service is told.
    Empty,
    /// It stays.
    Keep,
}

/// What a key that does not exist comes to, where the template says nothing itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MissingKeys {
    /// A fault: the file stays as it is, and is told to be stale.
    #[default]
    Fail,
    /// No fault: the file stays as it is until the key exists.
    Keep,
    /// This value.
    Default(String),
}

impl MissingKeys {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Default(text) => Some(text),
            Self::Fail | Self::Keep => None,
        }
    }
}

/// A user or group, by name or number. Names are looked up when a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// Numeric id.
    Id(u32),
    /// Name in the system's account files.
    Name(String),
}

/// A resource file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("resource {place}: {message}")]
pub struct ResourceError {
    /// `file`, `file:line` or `file:line:column`.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ResourceError {
    fn new(place: &str, message: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// Keys a resource may have.
const KEYS: &[&str] = &[
    "src",
    "engine",
    "dest",
    "files",
    "backends",
    "keys",
    "prefix",
    "mode",
    "uid",
    "gid",
    "owner",
    "group",
    "check_cmd",
    "reload_cmd",
    "reload",
    "verify_cmd",
    "verify_url",
    "verify_hash",
    "rollback",
    "check_cmd_timeout",
    "reload_cmd_timeout",
    "quiet_min",
    "quiet_max",
    "debounce",
    "min_reload_interval",
    "guard",
    "for_each",
    "on_missing",
    "missing_keys",
    "output_format",
    "trim_blocks",
    "vars",
];

/// True for the files of `conf.d` that are read as resources.
pub fn is_resource_file(name: &str) -> bool {
    !name.starts_with('.')
        && [".yaml", ".yml", ".toml"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Reads one resource file; what it does not say, the defaults do.
///
/// # Errors
/// The first fault, with its place.
pub fn parse(file: &str, text: &str, defaults: &Defaults) -> Result<Resource, ResourceError> {
    let document = if file.ends_with(".toml") {
        toml_document(file, text)?
    } else {
        yaml_document(file, text)?
    };
    let fields = Fields {
        file,
        text,
        map: template_table(file, document)?,
        warnings: Vec::new(),
    };
    fields.refuse_unknown()?;
    fields.resource(defaults)
}

fn toml_document(file: &str, text: &str) -> Result<Value, ResourceError> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let place = match error.span() {
            Some(span) => place_of(file, text, span.start),
            None => file.to_owned(),
        };
        ResourceError::new(&place, format!("not TOML: {}", error.message()))
    })?;
    serde_json::to_value(table).map_err(|error| ResourceError::new(file, error.to_string()))
}

fn yaml_document(file: &str, text: &str) -> Result<Value, ResourceError> {
    serde_yaml::from_str(text).map_err(|error| {
        let place = match error.location() {
            Some(at) => format!("{file}:{}:{}", at.line(), at.column()),
            None => file.to_owned(),
        };
        ResourceError::new(&place, format!("not YAML: {error}"))
    })
}

fn place_of(file: &str, text: &str, offset: usize) -> String {
    let head = text.get(..offset).unwrap_or(text);
    let line_start = head.rfind('\n').map_or(0, |newline| newline + 1);
    format!(
        "{file}:{}:{}",
        head.matches('\n').count() + 1,
        head[line_start..].chars().count() + 1
    )
}

/// The table with the resource's keys: under `template`, or in YAML also at the top.
fn template_table(file: &str, document: Value) -> Result<Map<String, Value>, ResourceError> {
    let Value::Object(mut top) = document else {
        return Err(ResourceError::new(file, "is not a table of keys")
            .hinted("it needs at least src, dest and keys"));
    };
    if let Some(inner) = top.remove("template") {
        // The fork's section for a backend of the resource's own.
        let backend = top.remove("backend");
        if let Some(other) = top.keys().next() {
            return Err(
                ResourceError::new(file, format!("unknown section {other:?}"))
                    .hinted("all keys of a resource stand under \"template\""),
            );
        }
        return match inner {
            Value::Object(mut inner) => {
                if let Some(backend) = backend
                    && inner.insert("backends".to_owned(), backend).is_some()
                {
                    return Err(ResourceError::new(file, "backends stands beside [backend]")
                        .hinted("keep one of them"));
                }
                Ok(inner)
            }
            _ => Err(ResourceError::new(
                file,
                "\"template\" is not a table of keys",
            )),
        };
    }
    if file.ends_with(".toml") {
        return Err(ResourceError::new(file, "has no [template] section"));
    }
    Ok(top)
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// Finds destinations that two resources want; the later name loses, since one file cannot obey two.
pub fn duplicates(resources: &[Resource]) -> BTreeMap<String, ResourceError> {
    let mut first: BTreeMap<&Path, &str> = BTreeMap::new();
    let mut losers = BTreeMap::new();
    for resource in resources {
        let dests = || resource.parts().iter().map(|part| part.dest.as_path());
        let taken = dests().find_map(|dest| Some((dest, *first.get(dest)?)));
        if let Some((dest, owner)) = taken {
            let error = ResourceError::new(
                &resource.name,
                format!(
                    "dest {} belongs to resource {owner:?} already",
                    dest.display()
                ),
            );
            losers.insert(resource.name.clone(), error);
        } else {
            first.extend(dests().map(|dest| (dest, resource.name.as_str())));
        }
    }
    losers
}

#[cfg(test)]
#[path = "resource_tests.rs"]
mod tests;
