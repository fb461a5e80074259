//! Pure: A template resource: which template, which keys, which file, and what to run when it changes.
//!
//! Read from `conf.d/*.yaml` (the keys at the top level or under `template:`) and from confd's own `conf.d/*.toml`
//! (under `[template]`). Unknown keys are refused, so a misspelt `reload_cmd` cannot be ignored silently. One bad file is
//! its own fault and nobody else's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::engine::EngineName;
use crate::spelling;

/// Time to wait for more changes after one. 50 ms: a deploy writes its keys in bursts with gaps of a few milliseconds,
/// and nobody notices 50.
pub const QUIET_MIN_DEFAULT: Duration = Duration::from_millis(50);
/// Longest a change waits while more keep coming. 1 s: nginx keeps the workers of each generation alive until their
/// connections end, so under churn one reload per second is what it bears; fresher is worth more than fewer.
pub const QUIET_MAX_DEFAULT: Duration = Duration::from_secs(1);
/// A check parses a file; who needs longer than 30 s hangs.
pub const CHECK_CMD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// A reload may start processes and wait for them, hence twice that.
pub const RELOAD_CMD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Longest duration a resource may name. A day: longer is a mistaken unit.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// One file to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Name of the resource file without its extension; identifies it in status and logs.
    pub name: String,
    /// Template, relative to the template directory.
    pub src: String,
    /// Language of the template; `None` lets its extension say.
    pub engine: Option<EngineName>,
    /// File to write. Absolute.
    pub dest: PathBuf,
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
    /// Longest `check_cmd` may run.
    pub check_cmd_timeout: Duration,
    /// Longest `reload_cmd` may run.
    pub reload_cmd_timeout: Duration,
    /// Time to wait for more changes after one; 0 renders at once.
    pub quiet_min: Duration,
    /// Longest a change waits. Invariant: at least `quiet_min`.
    pub quiet_max: Duration,
    /// Lines that hold only block tags leave nothing in the output.
    pub trim_blocks: bool,
    /// Free values the template sees as `vars`.
    pub vars: Map<String, Value>,
    /// What is accepted but probably not meant, one line each.
    pub warnings: Vec<String>,
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
    "keys",
    "prefix",
    "mode",
    "uid",
    "gid",
    "owner",
    "group",
    "check_cmd",
    "reload_cmd",
    "check_cmd_timeout",
    "reload_cmd_timeout",
    "quiet_min",
    "quiet_max",
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

/// Reads one resource file. `global_prefix` replaces the resource's own prefix if it is not empty, as confd does.
///
/// # Errors
/// The first fault, with its place.
pub fn parse(file: &str, text: &str, global_prefix: &str) -> Result<Resource, ResourceError> {
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
    fields.resource(global_prefix)
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
        if let Some(other) = top.keys().next() {
            return Err(
                ResourceError::new(file, format!("unknown section {other:?}"))
                    .hinted("all keys of a resource stand under \"template\""),
            );
        }
        return match inner {
            Value::Object(inner) => Ok(inner),
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

struct Fields<'a> {
    file: &'a str,
    text: &'a str,
    map: Map<String, Value>,
    warnings: Vec<String>,
}

impl Fields<'_> {
    fn resource(mut self, global_prefix: &str) -> Result<Resource, ResourceError> {
        let src = self.required("src")?;
        let dest = PathBuf::from(self.required("dest")?);
        if !dest.is_absolute() || dest.file_name().is_none() {
            return Err(self.fault("dest", "is not the absolute path of a file"));
        }
        if Path::new(&src).is_absolute() || src.split('/').any(|part| part == "..") {
            return Err(self
                .fault("src", "leaves the template directory")
                .hinted("templates are looked up below the template directory"));
        }
        let prefix = match global_prefix {
            "" => self.text("prefix")?.unwrap_or_default(),
            global => global.to_owned(),
        };
        let quiet_min = self.duration("quiet_min")?.unwrap_or(QUIET_MIN_DEFAULT);
        // Who sets only a large minimum wants the maximum to follow, four times as far as consul-template does it.
        let quiet_max = self
            .duration("quiet_max")?
            .unwrap_or_else(|| QUIET_MAX_DEFAULT.max(quiet_min * 4));
        if quiet_max < quiet_min {
            return Err(self.fault("quiet_max", "is less than quiet_min"));
        }
        Ok(Resource {
            name: stem(self.file).to_owned(),
            src,
            engine: self.engine()?,
            dest,
            keys: self.keys()?,
            prefix,
            mode: self.mode()?,
            owner: self.account("uid", "owner")?,
            group: self.account("gid", "group")?,
            check_cmd: self.command("check_cmd")?,
            reload_cmd: self.command("reload_cmd")?,
            check_cmd_timeout: self.timeout("check_cmd_timeout", CHECK_CMD_TIMEOUT_DEFAULT)?,
            reload_cmd_timeout: self.timeout("reload_cmd_timeout", RELOAD_CMD_TIMEOUT_DEFAULT)?,
            quiet_min,
            quiet_max,
            trim_blocks: self.flag("trim_blocks")?.unwrap_or(true),
            vars: self.vars()?,
            warnings: std::mem::take(&mut self.warnings),
        })
    }

    fn engine(&self) -> Result<Option<EngineName>, ResourceError> {
        match self.text("engine")?.as_deref() {
            None => Ok(None),
            Some("tera") => Ok(Some(EngineName::Tera)),
            Some("gotmpl") => Ok(Some(EngineName::GoTemplates)),
            Some(other) => Err(self
                .fault("engine", &format!("{other:?} is not known"))
                .hinted("known: tera, gotmpl")),
        }
    }

    fn refuse_unknown(&self) -> Result<(), ResourceError> {
        let Some(unknown) = self.map.keys().find(|key| !KEYS.contains(&key.as_str())) else {
            return Ok(());
        };
        let error = ResourceError::new(&self.place(unknown), format!("unknown key {unknown:?}"));
        Err(match spelling::nearest(unknown, KEYS.iter().copied()) {
            Some(near) => error.hinted(format!("did you mean {near:?}?")),
            None => error.hinted(format!("known: {}", KEYS.join(", "))),
        })
    }

    /// `file:line` of a key, found by its spelling: the parsers do not keep places of keys.
    fn place(&self, key: &str) -> String {
        let at = self.text.lines().position(|line| {
            let line = line.trim_start().trim_start_matches(['"', '\'']);
            line.strip_prefix(key).is_some_and(|rest| {
                rest.trim_start_matches(['"', '\''])
                    .trim_start()
                    .starts_with(['=', ':'])
            })
        });
        at.map_or_else(
            || self.file.to_owned(),
            |line| format!("{}:{}", self.file, line + 1),
        )
    }

    fn fault(&self, key: &str, problem: &str) -> ResourceError {
        ResourceError::new(&self.place(key), format!("{key} {problem}"))
    }

    fn text(&self, key: &str) -> Result<Option<String>, ResourceError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Err(self.fault(key, "holds a NUL")),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.fault(key, "is not text")),
        }
    }

    fn required(&self, key: &str) -> Result<String, ResourceError> {
        match self.text(key)? {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(self.fault(key, "is empty")),
            None => Err(ResourceError::new(self.file, format!("{key} is missing"))),
        }
    }

    fn command(&self, key: &str) -> Result<Option<String>, ResourceError> {
        Ok(self.text(key)?.filter(|command| !command.trim().is_empty()))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, ResourceError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.fault(key, "is neither true nor false")),
        }
    }

    fn keys(&mut self) -> Result<Vec<String>, ResourceError> {
        let list = match self.map.get("keys") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(key)) => vec![Value::from(key.as_str())],
            Some(Value::Array(list)) => list.clone(),
            Some(_) => return Err(self.fault("keys", "is not a list of paths")),
        };
        if list.is_empty() {
            self.warnings
                .push("keys is empty: the template sees no keys and never changes".to_owned());
        }
        list.into_iter()
            .map(|key| match key {
                Value::String(key) => Ok(key),
                _ => Err(self.fault("keys", "holds something that is not text")),
            })
            .collect()
    }

    fn vars(&self) -> Result<Map<String, Value>, ResourceError> {
        match self.map.get("vars") {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(vars)) => Ok(vars.clone()),
            Some(_) => Err(self.fault("vars", "is not a table of values")),
        }
    }

    /// Permission bits are octal digits in quotes. confd reads "644" without the leading zero as a decimal number, which
    /// sets 01204; nobody can mean that, so here it is 0644 with a warning. A bare number is refused: YAML, TOML and
    /// people disagree about its base.
    fn mode(&mut self) -> Result<Option<u32>, ResourceError> {
        const HINT: &str = "write octal digits in quotes, like \"0644\"";
        let text = match self.map.get("mode") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(_) => return Err(self.fault("mode", "is a bare number").hinted(HINT)),
        };
        let digits = text.strip_prefix("0o").unwrap_or(&text);
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if mode <= 0o7777 => {
                if !text.starts_with('0') {
                    let place = self.place("mode");
                    self.warnings.push(format!(
                        "{place}: mode {text:?} is read as octal 0{text}; confd would read it as a decimal number"
                    ));
                }
                Ok(Some(mode))
            }
            _ => Err(self.fault("mode", "is not a file mode").hinted(HINT)),
        }
    }

    /// A number wins over a name, as in confd's fork.
    fn account(&self, id: &str, name: &str) -> Result<Option<Account>, ResourceError> {
        match self.map.get(id) {
            None | Some(Value::Null) => {}
            Some(value) => {
                return match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
                    Some(number) => Ok(Some(Account::Id(number))),
                    None => Err(self
                        .fault(id, "is not a number")
                        .hinted(format!("names stand under {name:?}"))),
                };
            }
        }
        Ok(self
            .text(name)?
            .filter(|name| !name.is_empty())
            .map(|name| match name.parse() {
                Ok(number) => Account::Id(number),
                Err(_) => Account::Name(name),
            }))
    }

    fn timeout(&self, key: &str, default: Duration) -> Result<Duration, ResourceError> {
        match self.duration(key)? {
            Some(Duration::ZERO) => Err(self.fault(key, "is zero")),
            other => Ok(other.unwrap_or(default)),
        }
    }

    fn duration(&self, key: &str) -> Result<Option<Duration>, ResourceError> {
        let Some(value) = self.map.get(key) else {
            return Ok(None);
        };
        let parsed = match value {
            Value::String(text) => parse_duration(text),
            Value::Number(number) if number.as_u64() == Some(0) => Some(Duration::ZERO),
            _ => None,
        };
        match parsed {
            Some(duration) if duration <= DURATION_MAX => Ok(Some(duration)),
            Some(_) => Err(self.fault(key, "is longer than a day")),
            None => Err(self
                .fault(key, "is not a duration")
                .hinted("write it like \"50ms\", \"2s\" or \"1m30s\"")),
        }
    }
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// Reads durations as Go writes them: `1h`, `1m30s`, `1.5s`, `50ms`, `200us`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|char: char| !char.is_ascii_digit() && char != '.')
            .filter(|at| *at > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|char: char| char.is_ascii_digit() || char == '.')
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..letters] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    (!text.is_empty())
        .then(|| Duration::try_from_secs_f64(seconds).ok())
        .flatten()
}

/// Finds destinations that two resources want; the later name loses, since one file cannot obey two.
pub fn duplicates(resources: &[Resource]) -> BTreeMap<String, ResourceError> {
    let mut first: BTreeMap<&Path, &str> = BTreeMap::new();
    let mut losers = BTreeMap::new();
    for resource in resources {
        if let Some(owner) = first.get(resource.dest.as_path()) {
            let error = ResourceError::new(
                &resource.name,
                format!(
                    "dest {} belongs to resource {owner:?} already",
                    resource.dest.display()
                ),
            );
            losers.insert(resource.name.clone(), error);
        } else {
            first.insert(&resource.dest, &resource.name);
        }
    }
    losers
}

#[cfg(test)]
#[path = "resource_tests.rs"]
mod tests;
