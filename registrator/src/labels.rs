//! [pure] Names and metadata from `SERVICE_*` labels and environment, with the precedence of
//! gliderlabs registrator: labels beat the environment, a port's own key beats the general one. A range
//! of ports and a port with its protocol, which a fork brought, stand between and above.
//! Where upstream was surprising (`SERVICE_IGNORE=false` ignored the service) the value is read for
//! what it says and a warning tells so. Knows no ports of its own; it answers for the ones asked.

use std::collections::BTreeMap;

use registrator_catalog::record::Proto;

use crate::container::Port;
use crate::scheme::Source;

/// All `SERVICE_*` settings of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// In rising order of precedence among those of one scope; keys in lower case.
    settings: Vec<Setting>,
}

/// One label or variable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    scope: Scope,
    key: String,
    value: String,
    /// As it was written, for people.
    origin: String,
}

/// Which ports a setting is about; a later kind beats an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// `SERVICE_<KEY>`.
    All,
    /// `SERVICE_<low>-<high>_<KEY>`, both ends included.
    Range(u16, u16),
    /// `SERVICE_<port>_<KEY>`.
    Number(u16),
    /// `SERVICE_<port>_<proto>_<KEY>`.
    Port(Port),
}

impl Scope {
    fn covers(self, port: Port) -> bool {
        match self {
            Self::All => true,
            Self::Range(low, high) => (low..=high).contains(&port.number),
            Self::Number(number) => number == port.number,
            Self::Port(own) => own == port,
        }
    }
}

/// What the settings say about one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortLabels {
    /// `NAME`, when given.
    pub name: Option<String>,
    /// Whether the name came from a key of this very port; such a name gets no port suffix.
    pub name_is_of_port: bool,
    /// The label or variable the name came from.
    pub name_origin: Option<String>,
    /// `ID`, when given.
    pub id: Option<String>,
    /// `TAGS`, split, in order.
    pub tags: Vec<String>,
    /// `IGNORE`: the label that says so.
    pub ignore: Option<String>,
    /// Everything else.
    pub attributes: BTreeMap<String, String>,
    /// Name of the port, when it has one beside its number.
    pub port_name: Option<String>,
    /// Where address and port come from, when somebody said so.
    pub source: Option<Source>,
    /// Share of traffic, when somebody said so.
    pub weight: Option<u32>,
    /// Rank, when somebody said so.
    pub priority: Option<u32>,
    /// Whether it is taken out by a label.
    pub maintenance: bool,
    /// How it is checked: the kind of check with what it asks for, and its numbers.
    pub check: BTreeMap<String, String>,
    /// Settings that are right enough to go on but not what upstream would have done.
    pub warnings: Vec<String>,
}

const PREFIX: &str = "SERVICE_";

impl Labels {
    /// Collects the settings of a container.
    #[must_use]
    pub fn new(labels: &BTreeMap<String, String>, env: &[String]) -> Self {
        let mut settings = Vec::new();
        let env = env.iter().filter_map(|pair| pair.split_once('='));
        let labels = labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        for (origin, value) in env.chain(labels) {
            let Some(rest) = origin.strip_prefix(PREFIX) else {
                continue;
            };
            let rest = rest.to_lowercase();
            let (scope, key) = scoped(&rest).unwrap_or((Scope::All, &rest));
            if !key.is_empty() {
                settings.push(Setting {
                    scope,
                    key: key.to_owned(),
                    value: value.to_owned(),
                    origin: origin.to_owned(),
                });
            }
        }
        // Stable: among settings of one scope the later one, a label, beats the environment.
        settings.sort_by_key(|setting| setting.scope);
        Self { settings }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// Ports that have settings of their own; a number without a protocol is of TCP.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        self.settings.iter().filter_map(|setting| {
            let port = match setting.scope {
                Scope::Number(number) => Port {
                    number,
                    proto: Proto::Tcp,
                },
                Scope::Port(port) => port,
                Scope::All | Scope::Range(..) => return None,
            };
            (port.number > 0).then_some(port)
        })
    }

    /// The settings that apply to `port`.
    #[must_use]
    pub fn of_port(&self, port: Port) -> PortLabels {
        let mut merged: BTreeMap<&str, &Setting> = BTreeMap::new();
        for setting in self.settings.iter().filter(|s| s.scope.covers(port)) {
            merged.insert(&setting.key, setting);
        }
        let mut take = |key: &str| merged.remove(key).filter(|s| !s.value.is_empty());
        let name = take("name");
        let mut labels = PortLabels {
            name: name.map(|setting| setting.value.clone()),
            name_is_of_port: name.is_some_and(|setting| setting.scope != Scope::All),
            name_origin: name.map(|setting| setting.origin.clone()),
            id: take("id").map(|setting| setting.value.clone()),
            tags: take("tags")
                .map(|setting| split_tags(&setting.value))
                .unwrap_or_default(),
            ..PortLabels::default()
        };
        if let Some(Setting { origin, value, .. }) = take("ignore") {
            match boolean(value) {
                Some(true) => labels.ignore = Some(origin.clone()),
                Some(false) => labels.warnings.push(format!(
                    "{origin}={value} keeps the service; registrator would have ignored it"
                )),
                None => {
                    labels.warnings.push(format!(
                        "{origin}={value} is no boolean; taken as true, as registrator does"
                    ));
                    labels.ignore = Some(origin.clone());
                }
            }
        }
        let attribute = |(key, setting): (&str, &Setting)| (key.to_owned(), setting.value.clone());
        labels.attributes = merged.into_iter().map(attribute).collect();
        labels
    }
}

/// `80_name` as the settings of port 80 and `name`; `None` when no port is named.
fn scoped(rest: &str) -> Option<(Scope, &str)> {
    let (ports, key) = rest.split_once('_').filter(|(_, key)| !key.is_empty())?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    if let Some((low, high)) = ports.split_once('-') {
        let (low, high) = (number(low)?, number(high)?);
        return (low <= high).then_some((Scope::Range(low, high), key));
    }
    let number = number(ports)?;
    for (name, proto) in [
        ("tcp_", Proto::Tcp),
        ("udp_", Proto::Udp),
        ("sctp_", Proto::Sctp),
    ] {
        if let Some(key) = key.strip_prefix(name).filter(|key| !key.is_empty()) {
            return Some((Scope::Port(Port { number, proto }), key));
        }
    }
    Some((Scope::Number(number), key))
}

/// What people write for yes and no; `None` for anything else.
#[must_use]
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// Splits at commas; `\,` is a comma inside a tag. Blanks around a tag and empty tags are dropped.
pub(crate) fn split_tags(text: &str) -> Vec<String> {
    let mut tags = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.peek() == Some(&',') => {
                chars.next();
                push(&mut tags, ',');
            }
            ',' => tags.push(String::new()),
            other => push(&mut tags, other),
        }
    }
    tags.iter()
        .map(|tag| tag.trim().to_owned())
        .filter(|tag| !tag.is_empty())
        .collect()
}

fn push(tags: &mut [String], char: char) {
    if let Some(last) = tags.last_mut() {
        last.push(char);
    }
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
