//! `confd test`: fixtures in `tests/*.yaml` of the configuration directory, keys in and text out, without a store.
//!
//! ```yaml
//! - resource: web            # the file in conf.d, without its ending; of for_each and sets with the name: sites/a
//!   name: two servers        # for the report
//!   keys: {/services/a: "10.0.0.1:80"}
//!   env: {REGION: eu}        # what the template sees of the environment
//!   expect: "server 10.0.0.1:80;\n"   # the whole text; or
//!   contains: ["10.0.0.1"]   # pieces that must be in it, and
//!   lacks: ["10.0.0.2"]      # pieces that must not; or
//!   fails: does not exist    # a piece of the fault
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use store_client::mirror::{Entry, Snapshot};

use super::FAILED;
use crate::agent::Fault;
use crate::confdir::Units;
use crate::config::Config;
use crate::engine::Globals;

/// A fixture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    resource: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    keys: BTreeMap<String, String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    expect: Option<String>,
    #[serde(default)]
    contains: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
    fails: Option<String>,
}

/// Renders all of them.
pub(super) fn run(config: &Config) -> Result<u8, Fault> {
    // All resources: a fixture names its own.
    let all = Config {
        only: None,
        ..config.clone()
    };
    let units = super::single(super::units(&all)?);
    let (mut passed, mut failed) = (0, 0);
    let mut out = String::new();
    for (file, text) in files(config)? {
        let cases: Vec<Case> = serde_yaml::from_str(&text).map_err(|error| Fault {
            message: format!("tests/{file}: {error}"),
            hint: Some("a list of fixtures, each with resource, keys and expect".to_owned()),
        })?;
        for case in cases {
            let other = config
                .only
                .as_ref()
                .is_some_and(|only| !is_of(&case.resource, only));
            if other {
                continue;
            }
            match case.outcome(&units) {
                Ok(()) => passed += 1,
                Err(difference) => {
                    failed += 1;
                    // Writing to a string does not fail.
                    let _ = writeln!(
                        out,
                        "tests/{file}: {} {:?} failed: {difference}",
                        case.resource, case.name
                    );
                }
            }
        }
    }
    let _ = writeln!(out, "{passed} passed, {failed} failed");
    super::say(&out);
    Ok(if failed == 0 { 0 } else { FAILED })
}

/// Whether a resource is the one of that name, or a part of it.
fn is_of(resource: &str, name: &str) -> bool {
    let rest = resource.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The files with fixtures by name.
fn files(config: &Config) -> Result<BTreeMap<String, String>, Fault> {
    let folder = config.confdir.join("tests");
    let failed = |error: std::io::Error| Fault {
        message: format!("read {}: {error}", folder.display()),
        hint: Some("fixtures stand in tests/*.yaml below --confdir".to_owned()),
    };
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".yaml") || name.ends_with(".yml") {
            let text = std::fs::read_to_string(&path).map_err(failed)?;
            found.insert(name.into_owned(), text);
        }
    }
    Ok(found)
}

impl Case {
    /// Nothing, or what is not as expected.
    fn outcome(&self, units: &Units) -> Result<(), String> {
        let entries = self.keys.iter().map(|(key, value)| {
            let entry = Entry {
                value: Bytes::from(value.clone()),
                create_revision: 1,
                mod_revision: 1,
            };
            (Bytes::from(key.clone()), entry)
        });
        let snapshot = Snapshot::from_entries(1, entries.collect());
        let made = super::expanded(units.clone(), &snapshot);
        let unit = match made.get(&self.resource) {
            None if units.contains_key(&self.resource) => {
                return Err("it makes a file for each name: say which, like sites/a".to_owned());
            }
            None => return Err("there is no such resource".to_owned()),
            Some(Err(fault)) => return Err(fault.message.clone()),
            Some(Ok(unit)) => unit,
        };
        let globals = Globals {
            env: Arc::new(self.env.clone()),
            hostname: "test".to_owned(),
            ..Globals::default()
        };
        let result = super::rendered(unit, &snapshot, &globals).result;
        let text = match (result, &self.fails) {
            (Err(fault), Some(part)) if fault.message.contains(part.as_str()) => return Ok(()),
            (Err(fault), _) => return Err(fault.message),
            (Ok(text), Some(part)) => {
                return Err(format!(
                    "it rendered, a fault with {part:?} was expected:\n{text}"
                ));
            }
            (Ok(text), None) => text,
        };
        if let Some(expected) = self.expect.as_ref().filter(|expected| ***expected != *text) {
            let difference = similar::TextDiff::from_lines(expected.as_str(), &text)
                .unified_diff()
                .header("expected", "rendered")
                .to_string();
            return Err(format!("the text is another:\n{difference}"));
        }
        if let Some(part) = self.contains.iter().find(|part| !text.contains(*part)) {
            return Err(format!("{part:?} is not in the text:\n{text}"));
        }
        match self.lacks.iter().find(|part| text.contains(*part)) {
            Some(part) => Err(format!("{part:?} is in the text:\n{text}")),
            None => Ok(()),
        }
    }
}
