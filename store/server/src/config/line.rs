//! From a command line and an environment, as written for etcd, to [`Args`].
//!
//! Takes what Go's flag package takes (one dash or two, `-flag=value`), adds the `ETCD_…` variables
//! below the flags and the configuration file (`file.rs`) below those, and settles the flags of etcd that this version does not act on (`later.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::args::Args;
use super::error::ConfigError;
use super::{file, later};

/// etcd's prefix for variables that are flags.
const PREFIX: &str = "ETCD_";

/// Old spelling of flags that have since become stable.
const EXPERIMENTAL: &str = "experimental-";

/// Flags that ask for something else than a store.
const NOT_SETTINGS: [&str; 3] = ["help", "version", "print-config"];

/// `ETCD_…` variables that are not flags.
const NOT_FLAGS: [&str; 1] = ["ETCD_UNSUPPORTED_ARCH"];

/// What was said, and what a person should hear about how it was taken.
#[derive(Clone, Debug)]
pub struct Said {
    /// The flags.
    pub args: Args,
    /// Lines to log as warnings once there is a log.
    pub warnings: Vec<String>,
    /// Each setting with its value and who said so, in the order of the help.
    pub effective: Vec<Effective>,
}

/// A setting as it is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The flag.
    pub name: String,
    /// Its value; empty = nothing.
    pub value: String,
    /// Who said so.
    pub source: Source,
}

/// Who said what a setting is. Later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nobody.
    #[default]
    Default,
    /// The configuration file.
    File,
    /// A variable, of this name.
    Environment(String),
    /// A flag.
    Flag,
}

impl fmt::Display for Effective {
    /// A line of YAML, which `--config-file` reads, with the source behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            source,
        } = self;
        let value = serde_json::Value::from(value.as_str());
        write!(f, "{name}: {value}  # ")?;
        match source {
            Source::Default => f.write_str("default"),
            Source::File => f.write_str("configuration file"),
            Source::Environment(variable) => write!(f, "{variable}"),
            Source::Flag => f.write_str("flag"),
        }
    }
}

/// Why a command line is not one.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Unknown flag, bad value, or a call for help: clap's to print, exit code included.
    #[error(transparent)]
    Clap(#[from] clap::Error),
    /// A flag this version does not act on.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Said {
    /// Reads the flags (without the program's name) and the environment.
    ///
    /// # Errors
    /// See [`LineError`].
    pub fn read(
        flags: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, LineError> {
        let mut warnings = Vec::new();
        let mut given = BTreeSet::new();
        let mut sources = BTreeMap::new();
        let flags = flags_of_line(flags, &mut given, &mut warnings)?;
        let environment = flags_of_environment(environment, &given, &mut warnings)?;
        let mut line = vec![OsString::from("muster store")];
        if let Some(path) = config_file(&flags, &environment) {
            let settings = file::settings(&path, &mut warnings)?;
            // An empty value is none, as in the environment.
            for (name, value) in settings.into_iter().filter(|(_, value)| !value.is_empty()) {
                let setting = format!("{path}: {name}");
                let Some((name, value)) = taken(&name, &value, &setting, &mut warnings)? else {
                    continue;
                };
                sources.insert(name.clone(), Source::File);
                line.push(format!("--{name}={value}").into());
            }
        }
        for (variable, name, value) in environment {
            sources.insert(name.clone(), Source::Environment(variable));
            line.push(format!("--{name}={value}").into());
        }
        sources.extend(given.into_iter().map(|name| (name, Source::Flag)));
        line.extend(flags);
        let matches = Args::command().try_get_matches_from(line)?;
        let args = Args::from_arg_matches(&matches)?;
        let effective = effective(&matches, &mut sources);
        Ok(Self {
            args,
            warnings,
            effective,
        })
    }
}

/// All settings there are, with their values.
fn effective(matches: &ArgMatches, sources: &mut BTreeMap<String, Source>) -> Vec<Effective> {
    let command = Args::command();
    let flags = command.get_arguments().filter_map(|arg| {
        let name = arg.get_long().filter(|name| !NOT_SETTINGS.contains(name))?;
        let values = matches.get_raw(arg.get_id().as_str());
        let value = values.into_iter().flatten().next_back();
        let value = value.map(|value| value.to_string_lossy().into_owned());
        Some(Effective {
            name: name.to_owned(),
            value: value.unwrap_or_default(),
            source: sources.remove(name).unwrap_or_default(),
        })
    });
    flags.collect()
}

/// The file to read, if any: a flag wins over the variable.
fn config_file(flags: &[OsString], environment: &[(String, String, String)]) -> Option<String> {
    let mut of_flag = flags.iter().enumerate().filter_map(|(at, flag)| {
        let flag = flag.to_str()?;
        match flag.strip_prefix("--config-file")? {
            "" => flags.get(at + 1)?.to_str().map(str::to_owned),
            value => value.strip_prefix('=').map(str::to_owned),
        }
    });
    let of_environment = || {
        let set = environment
            .iter()
            .find(|(_, name, _)| name == "config-file");
        set.map(|(_, _, value)| value.clone())
    };
    let path = of_flag.next_back().or_else(of_environment)?;
    (!path.is_empty()).then_some(path)
}

/// The name and value with which a setting of a file is taken; `None` if it changes nothing.
fn taken(
    name: &str,
    value: &str,
    setting: &str,
    warnings: &mut Vec<String>,
) -> Result<Option<(String, String)>, ConfigError> {
    let stable = stable_name(name, warnings);
    if later::FORMER.contains(&stable) {
        let today = later::former(stable, value, warnings);
        return Ok(today.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    if let Some(later) = later::find(stable) {
        refuse_unless_moot(later, value, &format!("{setting}: {value}"))?;
        return Ok(None);
    }
    let known = Args::command();
    let names = || known.get_arguments().filter_map(clap::Arg::get_long);
    if names().any(|known| known == stable) {
        return Ok(Some((stable.to_owned(), value.to_owned())));
    }
    let near = names().max_by(|a, b| {
        let like = |name: &str| strsim::jaro_winkler(name, stable);
        like(a).total_cmp(&like(b))
    });
    warnings.push(format!(
        "{setting} is not known and not used{}",
        near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
    ));
    Ok(None)
}

/// Flags in clap's spelling; notes in `given` which there are.
fn flags_of_line(
    flags: impl IntoIterator<Item = OsString>,
    given: &mut BTreeSet<String>,
    warnings: &mut Vec<String>,
) -> Result<Vec<OsString>, ConfigError> {
    let mut line = Vec::new();
    // These win over the flag of today, whichever comes first, as in etcd 3.4.
    let mut of_former = Vec::new();
    let mut flags = flags.into_iter().peekable();
    while let Some(flag) = flags.next() {
        let Some((name, value)) = flag.to_str().and_then(long_flag) else {
            line.push(flag);
            continue;
        };
        let stable = stable_name(name, warnings);
        given.insert(stable.to_owned());
        let is_former = later::FORMER.contains(&stable);
        let later = later::find(stable);
        if later.is_none() && !is_former {
            line.push(match value {
                Some(value) => format!("--{stable}={value}").into(),
                None => format!("--{stable}").into(),
            });
            continue;
        }
        let value = match value {
            Some(value) => value.to_owned(),
            None if later.is_some_and(|later| later.switch) || stable == later::DEBUG => {
                "true".to_owned()
            }
            None => flags
                .next_if(|next| next.to_str().and_then(long_flag).is_none())
                .map(|value| value.to_string_lossy().into_owned())
                .unwrap_or_default(),
        };
        if let Some(later) = later {
            refuse_unless_moot(later, &value, &format!("--{stable}={value}"))?;
        } else if let Some((name, value)) = later::former(stable, &value, warnings) {
            given.insert(name.to_owned());
            of_former.push(format!("--{name}={value}").into());
        }
    }
    line.extend(of_former);
    Ok(line)
}

/// The variables as variable, flag and value; those that a flag overrides are only warned about.
fn flags_of_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    given: &BTreeSet<String>,
    warnings: &mut Vec<String>,
) -> Result<Vec<(String, String, String)>, ConfigError> {
    let known = Args::command();
    let is_flag = |name: &str| {
        known
            .get_arguments()
            .any(|arg| arg.get_long() == Some(name))
    };
    // Ordered, so that the same environment always gives the same error first.
    let variables: BTreeMap<String, String> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .filter(|(name, _)| !NOT_FLAGS.contains(&name.as_str()))
        .collect();
    let mut line = Vec::new();
    for (variable, value) in variables {
        let name = variable[PREFIX.len()..].to_lowercase().replace('_', "-");
        let name = stable_name(&name, warnings);
        if given.contains(name) {
            warnings.push(format!(
                "{variable} is overridden by the flag --{name} and not used"
            ));
        } else if later::FORMER.contains(&name) {
            let today = later::former(name, &value, warnings);
            let today = today.filter(|(name, _)| !given.contains(*name));
            line.extend(today.map(|(name, value)| (variable, name.to_owned(), value.to_owned())));
        } else if let Some(later) = later::find(name) {
            refuse_unless_moot(later, &value, &format!("{variable}={value}"))?;
        } else if is_flag(name) {
            let name = name.to_owned();
            line.push((variable, name, value));
        } else {
            warnings.push(format!("{variable} is not known and not used"));
        }
    }
    Ok(line)
}

fn refuse_unless_moot(later: &later::Later, value: &str, setting: &str) -> Result<(), ConfigError> {
    if later.accepts(value) {
        return Ok(());
    }
    Err(ConfigError::NotYet {
        setting: setting.to_owned(),
        what: "this setting",
        instead: later.instead,
    })
}

/// Name and value of a flag in long form, with one dash or two. A single letter is left to clap.
fn long_flag(flag: &str) -> Option<(&str, Option<&str>)> {
    let name = flag.strip_prefix("--").or_else(|| flag.strip_prefix('-'))?;
    let (name, value) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    };
    let long = name.len() > 1 && name.starts_with(|first: char| first.is_ascii_alphabetic());
    long.then_some((name, value))
}

/// The name a flag has today.
fn stable_name<'n>(name: &'n str, warnings: &mut Vec<String>) -> &'n str {
    match name.strip_prefix(EXPERIMENTAL) {
        Some(stable) => {
            warnings.push(format!("--{name} is now called --{stable}"));
            stable
        }
        None => name,
    }
}

#[cfg(test)]
mod tests;
