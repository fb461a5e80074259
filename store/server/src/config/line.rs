//! From a command line and an environment, as written for etcd, to [`Args`].
//!
//! Takes what Go's flag package takes (one dash or two, `-flag=value`), adds the `ETCD_…` variables
//! below the flags, and settles the flags of etcd that this version does not act on (`later.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _};

use super::args::Args;
use super::error::ConfigError;
use super::later;

/// etcd's prefix for variables that are flags.
const PREFIX: &str = "ETCD_";

/// Old spelling of flags that have since become stable.
const EXPERIMENTAL: &str = "experimental-";

/// `ETCD_…` variables that are not flags.
const NOT_FLAGS: [&str; 1] = ["ETCD_UNSUPPORTED_ARCH"];

/// What was said, and what a person should hear about how it was taken.
#[derive(Clone, Debug)]
pub struct Said {
    /// The flags.
    pub args: Args,
    /// Lines to log as warnings once there is a log.
    pub warnings: Vec<String>,
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
        let flags = flags_of_line(flags, &mut given, &mut warnings)?;
        let mut line = vec![OsString::from("muster store")];
        line.extend(flags_of_environment(environment, &given, &mut warnings)?);
        line.extend(flags);
        let matches = Args::command().try_get_matches_from(line)?;
        let args = Args::from_arg_matches(&matches)?;
        Ok(Self { args, warnings })
    }
}

/// Flags in clap's spelling; notes in `given` which there are.
fn flags_of_line(
    flags: impl IntoIterator<Item = OsString>,
    given: &mut BTreeSet<String>,
    warnings: &mut Vec<String>,
) -> Result<Vec<OsString>, ConfigError> {
    let mut line = Vec::new();
    let mut flags = flags.into_iter().peekable();
    while let Some(flag) = flags.next() {
        let Some((name, value)) = flag.to_str().and_then(long_flag) else {
            line.push(flag);
            continue;
        };
        let stable = stable_name(name, warnings);
        given.insert(stable.to_owned());
        let Some(later) = later::find(stable) else {
            line.push(match value {
                Some(value) => format!("--{stable}={value}").into(),
                None => format!("--{stable}").into(),
            });
            continue;
        };
        let value = match value {
            Some(value) => value.to_owned(),
            None if later.switch => "true".to_owned(),
            None => flags
                .next_if(|next| next.to_str().and_then(long_flag).is_none())
                .map(|value| value.to_string_lossy().into_owned())
                .unwrap_or_default(),
        };
        refuse_unless_moot(later, &value, &format!("--{stable}={value}"))?;
    }
    Ok(line)
}

/// The variables as flags; those that a flag overrides are only warned about.
fn flags_of_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    given: &BTreeSet<String>,
    warnings: &mut Vec<String>,
) -> Result<Vec<OsString>, ConfigError> {
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
        } else if let Some(later) = later::find(name) {
            refuse_unless_moot(later, &value, &format!("{variable}={value}"))?;
        } else if is_flag(name) {
            line.push(format!("--{name}={value}").into());
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
