//! The configuration file: YAML with the names of the flags, and what is said about one that cannot be read.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;

/// The file, with the names of the flags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct File {
    pub(super) docker_host: Option<Text>,
    pub(super) docker_ssh_config: Option<PathBuf>,
    pub(super) endpoints: Option<Text>,
    pub(super) user: Option<Text>,
    pub(super) password: Option<Text>,
    pub(super) cacert: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) ttl: Option<Text>,
    pub(super) layout: Option<Text>,
    pub(super) prefix: Option<Text>,
    pub(super) gate: Option<Text>,
    pub(super) gate_timeout: Option<Text>,
    pub(super) node: Option<Text>,
    pub(super) node_id: Option<Text>,
    pub(super) ip: Option<Text>,
    pub(super) internal: Option<bool>,
    pub(super) resync: Option<Text>,
    pub(super) on_stop: Option<Text>,
    pub(super) listen: Option<Text>,
    pub(super) explicit: Option<bool>,
    pub(super) opt_in: Option<bool>,
    pub(super) filter: Option<Text>,
    pub(super) tags: Option<Text>,
    pub(super) use_ip_from_label: Option<Text>,
    pub(super) network: Option<Text>,
    pub(super) prefer: Option<Text>,
    pub(super) interface: Option<Text>,
    pub(super) family: Option<Text>,
    pub(super) deregister: Option<Text>,
    pub(super) registry: Option<Text>,
    pub(super) allow_scripts: Option<bool>,
    pub(super) file_sd: Option<PathBuf>,
    pub(super) layout_template: Vec<String>,
    pub(super) services: Option<PathBuf>,
    pub(super) publish_status: Option<bool>,
}

pub(super) const NAMES: [&str; 36] = [
    "docker-host",
    "docker-ssh-config",
    "endpoints",
    "user",
    "password",
    "cacert",
    "cert",
    "key",
    "ttl",
    "layout",
    "prefix",
    "gate",
    "gate-timeout",
    "node",
    "node-id",
    "ip",
    "internal",
    "resync",
    "on-stop",
    "listen",
    "explicit",
    "opt-in",
    "filter",
    "tags",
    "use-ip-from-label",
    "network",
    "prefer",
    "interface",
    "family",
    "deregister",
    "registry",
    "allow-scripts",
    "file-sd",
    "services",
    "layout-template",
    "publish-status",
];

/// A text, a number, or a list of them joined with commas: what a flag would have been given.
#[derive(Debug)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> serde::de::Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text, a number or a list of them")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
        let mut parts = Vec::new();
        while let Some(Text(part)) = list.next_element()? {
            parts.push(part);
        }
        Ok(Text(parts.join(",")))
    }
}

pub(super) fn read_file(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    serde_yaml::from_str(&text).map_err(|source| match unknown_name(&source.to_string()) {
        Some(name) => ConfigError::Unknown {
            path: path.to_owned(),
            line: line_of(&text, &name),
            meant: meant(&name),
            name,
        },
        None => ConfigError::File {
            path: path.to_owned(),
            source: Box::new(source),
        },
    })
}

/// The name in serde's "unknown field `x`, expected ...".
fn unknown_name(error: &str) -> Option<String> {
    let rest = error.split_once("unknown field `")?.1;
    rest.split('`').next().map(str::to_owned)
}

/// The line, counted from 1, on which an option is set; 1 when it is written in another style.
fn line_of(text: &str, name: &str) -> usize {
    let sets = |line: &str| {
        let rest = line
            .trim_start()
            .trim_start_matches(['"', '\'', '{'])
            .strip_prefix(name);
        rest.is_some_and(|rest| {
            rest.trim_start_matches(['"', '\''])
                .trim_start()
                .starts_with(':')
        })
    };
    text.lines().position(sets).map_or(1, |index| index + 1)
}

/// The known name nearest to an unknown one.
fn meant(unknown: &str) -> Option<&'static str> {
    NAMES
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(name, unknown), name))
        // A third of the letters wrong is a typing error, more is another word.
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .min()
        .map(|(_, name)| name)
}
