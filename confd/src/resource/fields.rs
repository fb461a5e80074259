//! Pure: The keys of one resource file, read one by one; each fault names its key's line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Account, KEYS, Layer, MissingKeys, OnMissing, Resource, ResourceError, stem};
use crate::defaults::Defaults;
use crate::duration;
use crate::each;
use crate::engine::EngineName;
use crate::format::Format;
use crate::spelling;

/// Longest duration a resource may name. A day: longer is a mistaken unit.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Fields<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) map: Map<String, Value>,
    pub(super) warnings: Vec<String>,
}

impl Fields<'_> {
    pub(super) fn resource(mut self, defaults: &Defaults) -> Result<Resource, ResourceError> {
        if let Some(files) = self.map.remove("files") {
            return self.set(files, defaults);
        }
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
        let prefix = defaults.prefix_of(&self.text("prefix")?.unwrap_or_default());
        let quiet_min = self.quiet_min()?.unwrap_or(defaults.quiet_min);
        // Who sets only a large minimum wants the maximum to follow.
        let quiet_max = self
            .duration("quiet_max")?
            .unwrap_or_else(|| defaults.quiet_max_for(quiet_min));
        if quiet_max < quiet_min {
            return Err(self.fault("quiet_max", "is less than quiet_min"));
        }
        let for_each = self.for_each(&dest)?;
        Ok(Resource {
            name: stem(self.file).to_owned(),
            src,
            engine: self.engine()?,
            dest,
            files: Vec::new(),
            layers: self.layers()?,
            keys: self.keys()?,
            prefix,
            mode: self.mode()?,
            owner: self.account("uid", "owner")?,
            group: self.account("gid", "group")?,
            check_cmd: self.command("check_cmd")?,
            reload_cmd: self.command("reload_cmd")?,
            reload: self.reload()?,
            verify_cmd: self.command("verify_cmd")?,
            verify_url: self.url("verify_url")?,
            verify_hash: self.url("verify_hash")?,
            rollback: self.flag("rollback")?.unwrap_or(true),
            check_cmd_timeout: self.timeout("check_cmd_timeout", defaults.check_cmd_timeout)?,
            reload_cmd_timeout: self.timeout("reload_cmd_timeout", defaults.reload_cmd_timeout)?,
            quiet_min,
            quiet_max,
            min_reload_interval: self.duration("min_reload_interval")?.unwrap_or_default(),
            guard: self.guard()?,
            for_each,
            on_missing: self.on_missing()?,
            owner_of: None,
            gone: false,
            missing_keys: self.missing_keys()?,
            output_format: self.output_format()?,
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

    fn for_each(&self, dest: &Path) -> Result<Option<String>, ResourceError> {
        let path = self.text("for_each")?.filter(|path| !path.is_empty());
        match (&path, each::is_open(&dest.to_string_lossy())) {
            (Some(_), false) => Err(self
                .fault("dest", "is the same for every name of for_each")
                .hinted("write {{name}} where the name is to stand")),
            (None, true) => Err(self
                .fault("dest", "holds {{name}}, and there is no for_each")
                .hinted("for_each names the path below which the names stand")),
            _ => Ok(path),
        }
    }

    fn on_missing(&self) -> Result<OnMissing, ResourceError> {
        let known = match self.text("on_missing")?.as_deref() {
            None => return Ok(OnMissing::default()),
            Some("delete") => OnMissing::Delete,
            Some("empty") => OnMissing::Empty,
            Some("keep") => OnMissing::Keep,
            Some(other) => {
                return Err(self
                    .fault("on_missing", &format!("{other:?} is not known"))
                    .hinted("known: delete, empty, keep"));
            }
        };
        match self.map.contains_key("for_each") {
            true => Ok(known),
            false => Err(self
                .fault("on_missing", "is for files of for_each")
                .hinted("missing_keys says what a missing key comes to")),
        }
    }

    fn missing_keys(&self) -> Result<MissingKeys, ResourceError> {
        match self.map.get("missing_keys") {
            None | Some(Value::Null) => Ok(MissingKeys::Fail),
            Some(Value::String(word)) if word == "error" => Ok(MissingKeys::Fail),
            Some(Value::String(word)) if word == "keep" => Ok(MissingKeys::Keep),
            Some(Value::Object(map)) if map.len() == 1 => match map.get("default") {
                Some(Value::String(text)) => Ok(MissingKeys::Default(text.clone())),
                _ => Err(self.unknown_policy()),
            },
            Some(_) => Err(self.unknown_policy()),
        }
    }

    fn unknown_policy(&self) -> ResourceError {
        self.fault("missing_keys", "is no policy")
            .hinted("known: error, keep, {default: TEXT}")
    }

    /// `debounce` is the fork's word for it.
    fn quiet_min(&self) -> Result<Option<Duration>, ResourceError> {
        match (self.duration("quiet_min")?, self.duration("debounce")?) {
            (Some(_), Some(_)) => Err(self
                .fault("debounce", "says the same as quiet_min")
                .hinted("keep one of them")),
            (own, fork) => Ok(own.or(fork)),
        }
    }

    fn output_format(&self) -> Result<Option<Format>, ResourceError> {
        let Some(name) = self.text("output_format")?.filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        match Format::named(&name) {
            Some(format) => Ok(Some(format)),
            None => Err(self
                .fault("output_format", &format!("{name:?} is not known"))
                .hinted(format!("known: {}", Format::NAMES.join(", ")))),
        }
    }

    pub(super) fn refuse_unknown(&self) -> Result<(), ResourceError> {
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

    pub(super) fn fault(&self, key: &str, problem: &str) -> ResourceError {
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

    pub(super) fn command(&self, key: &str) -> Result<Option<String>, ResourceError> {
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

    fn layers(&self) -> Result<Vec<Layer>, ResourceError> {
        let list = match self.map.get("backends") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(list)) => list.clone(),
            Some(one) => vec![one.clone()],
        };
        let fit = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        let layers = list.into_iter().map(|layer| match layer {
            Value::String(name) if !name.is_empty() && name.chars().all(fit) => {
                Ok(Layer::Named(name))
            }
            Value::Object(settings) => Ok(Layer::Own(settings)),
            _ => Err(self
                .fault("backends", "is no list of backends")
                .hinted("each is a name of [backends.NAME] in confd.toml, or a table of settings")),
        });
        layers.collect()
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
            Value::String(text) => duration::parse(text),
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
