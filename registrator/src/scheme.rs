//! [pure] The `muster.*` labels of a container: typed, checked, and a word about each that is not understood. A label
//! below `muster.ports.<name>.` is about one port, which gets that name; any other is about all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::container::Port;
use crate::labels::{PortLabels, boolean, split_tags};
use crate::span;
use crate::template::Subject;

/// What every label of the scheme begins with.
pub const PREFIX: &str = "muster.";

/// All `muster.*` labels of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scheme {
    /// `enable`.
    pub enable: Option<bool>,
    /// `layout`: names of the layouts its records are written in.
    pub layouts: Option<Vec<String>>,
    /// `drain.delay`: milliseconds between leaving the registry and being stopped.
    pub drain_delay_ms: Option<u64>,
    /// Labels that are not understood, each with why. They are as good as absent.
    pub faults: Vec<String>,
    all: Wishes,
    /// By name of the port.
    ports: BTreeMap<String, Wishes>,
}

/// What is said about a port, or about all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wishes {
    port: Option<Port>,
    name: Option<String>,
    id: Option<String>,
    tags: Option<Vec<String>>,
    meta: BTreeMap<String, String>,
    source: Option<Source>,
    weight: Option<u32>,
    priority: Option<u32>,
    maintenance: Option<bool>,
    check: BTreeMap<String, String>,
}

/// Where address and port of an instance come from, always both from the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The host, at the published port.
    Host,
    /// The container, at its own port.
    Container,
    /// The container on one network, at its own port.
    Network(String),
    /// An address somebody wrote down, with a port of its own or the published one.
    Literal(IpAddr, Option<u16>),
}

/// Labels of the container as a whole.
const OF_CONTAINER: [&str; 5] = ["enable", "layout", "drain.delay", "gate", "gate.timeout"];
/// Labels of a port.
const OF_PORT: [&str; 10] = [
    "port",
    "name",
    "id",
    "tags",
    "source",
    "network",
    "address",
    "weight",
    "priority",
    "maintenance",
];
/// Labels of a check, below `check.`.
const OF_CHECK: [&str; 11] = [
    "http", "https", "tcp", "grpc", "exec", "script", "interval", "timeout", "rise", "fall",
    "grace",
];
/// 16 bits is what DNS has room for, and nobody splits traffic finer.
const SHARE_MAX: u32 = 65_535;

impl Scheme {
    /// Reads the labels of a container.
    #[must_use]
    pub fn new(labels: &BTreeMap<String, String>) -> Self {
        let mut scheme = Self::default();
        for (label, value) in labels {
            if let Some(key) = label.strip_prefix(PREFIX)
                && let Err(why) = scheme.take(key, value)
            {
                scheme.faults.push(format!("label {label}: {why}"));
            }
        }
        let nameless =
            |(name, wishes): (&String, &Wishes)| wishes.port.is_none().then(|| name.clone());
        for name in scheme.ports.iter().filter_map(nameless).collect::<Vec<_>>() {
            if let Ok(number) = name.parse::<u16>()
                && let Some(port) = Port::parse(&number.to_string())
                && let Some(wishes) = scheme.ports.get_mut(&name)
            {
                wishes.port = Some(port);
                continue;
            }
            let label = format!("{PREFIX}ports.{name}.port");
            scheme
                .faults
                .push(format!("label {label} is missing: which port is {name}?"));
            scheme.ports.remove(&name);
        }
        scheme
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "enable" => self.enable = Some(yes_or_no(value)?),
            "layout" => {
                let names = value.split(',').map(|name| name.trim().to_owned());
                self.layouts = Some(names.filter(|name| !name.is_empty()).collect());
            }
            "drain.delay" => {
                let delay = span::parse_ms(value);
                self.drain_delay_ms = Some(delay.ok_or_else(|| not(value, "a time such as 10s"))?);
            }
            // Read by `gate`, which knows what they mean.
            "gate" | "gate.timeout" => {}
            _ => match key.strip_prefix("ports.") {
                Some(rest) => {
                    let (name, key) = rest.split_once('.').ok_or_else(|| unknown(key))?;
                    if name.is_empty() {
                        return Err("the port has no name".to_owned());
                    }
                    let mut wishes = self.ports.remove(name).unwrap_or_default();
                    let taken = wishes.take(key, value);
                    self.ports.insert(name.to_owned(), wishes);
                    return taken;
                }
                None => return self.all.take(key, value),
            },
        }
        Ok(())
    }

    /// The ports that the labels name, with their names. When there are any, no other port counts.
    pub fn ports(&self) -> impl Iterator<Item = (Option<&str>, Port)> + '_ {
        let of_all = self.all.port.map(|port| (None, port));
        let named = self.ports.iter().filter_map(|(name, wishes)| {
            let port = wishes.port?;
            Some((Some(name.as_str()), port))
        });
        of_all.into_iter().chain(named)
    }

    /// Puts what the labels say over what `SERVICE_*` said about the port that is called `name`.
    ///
    /// # Errors
    /// One line, when a template cannot be filled in.
    pub fn apply(
        &self,
        name: Option<&str>,
        subject: &Subject,
        mut labels: PortLabels,
    ) -> Result<PortLabels, String> {
        let before = labels.clone();
        let own = name.and_then(|name| Some((name, self.ports.get(name)?)));
        let all = ("", &self.all);
        for (port, wishes) in [Some(all), own].into_iter().flatten() {
            let label = |key: &str| match port {
                "" => format!("{PREFIX}{key}"),
                port => format!("{PREFIX}ports.{port}.{key}"),
            };
            let render = |key: &str, text: &str| {
                let filled = subject.render(text);
                filled.map_err(|why| format!("label {}: {why}", label(key)))
            };
            if let Some(text) = &wishes.name {
                labels.name = Some(render("name", text)?);
                // A name that somebody wrote is the name: the port has one of its own.
                labels.name_is_of_port = true;
                labels.name_origin = Some(label("name"));
            }
            if let Some(text) = &wishes.id {
                labels.id = Some(render("id", text)?);
            }
            if let Some(texts) = &wishes.tags {
                for text in texts {
                    let tag = render("tags", text)?;
                    if !labels.tags.contains(&tag) {
                        labels.tags.push(tag);
                    }
                }
            }
            for (key, text) in &wishes.meta {
                let value = render(&format!("meta.{key}"), text)?;
                labels.attributes.insert(key.clone(), value);
            }
            labels.source = wishes.source.clone().or(labels.source);
            labels.weight = wishes.weight.or(labels.weight);
            labels.priority = wishes.priority.or(labels.priority);
            labels.maintenance = wishes.maintenance.unwrap_or(labels.maintenance);
            for (key, text) in &wishes.check {
                labels.check.insert(key.clone(), text.clone());
            }
        }
        labels.port_name = own.map(|(name, _)| name.to_owned());
        labels.warnings.extend(overruled(&before, &labels));
        Ok(labels)
    }
}

/// What `SERVICE_*` said and a label of the scheme says otherwise.
fn overruled(before: &PortLabels, after: &PortLabels) -> Vec<String> {
    let mut told = Vec::new();
    let mut compare = |key: &str, origin: &str, old: Option<&String>, new: Option<&String>| {
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            told.push(format!(
                "{origin}={old} does not count: {PREFIX}{key} says {new}"
            ));
        }
    };
    let origin = before.name_origin.as_deref().unwrap_or_default();
    compare("name", origin, before.name.as_ref(), after.name.as_ref());
    compare("id", "SERVICE_ID", before.id.as_ref(), after.id.as_ref());
    for (key, old) in &before.attributes {
        let origin = format!("SERVICE_{}", key.to_uppercase());
        let key_here = format!("meta.{key}");
        compare(&key_here, &origin, Some(old), after.attributes.get(key));
    }
    told
}

impl Wishes {
    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = || match value.trim() {
            "" => Err("is empty".to_owned()),
            text => Ok(text.to_owned()),
        };
        let share = || {
            let number = value
                .trim()
                .parse()
                .ok()
                .filter(|number| *number <= SHARE_MAX);
            number.ok_or_else(|| not(value, "a number from 0 to 65535"))
        };
        match key {
            "port" => {
                let port = Port::parse(value.trim());
                self.port = Some(port.ok_or_else(|| not(value, "a port such as 80 or 53/udp"))?);
            }
            "name" => self.name = Some(text()?),
            "id" => self.id = Some(text()?),
            "tags" => self.tags = Some(split_tags(value)),
            "source" => self.source = Some(source(value)?),
            "network" => self.source = Some(Source::Network(text()?)),
            "address" => self.source = Some(literal(value)?),
            "weight" => self.weight = Some(share()?),
            "priority" => self.priority = Some(share()?),
            "maintenance" => self.maintenance = Some(yes_or_no(value)?),
            _ => match key.split_once('.') {
                Some(("meta", name)) if !name.is_empty() => {
                    self.meta.insert(name.to_owned(), value.to_owned());
                }
                Some(("check", name)) if OF_CHECK.contains(&name) => {
                    self.check.insert(name.to_owned(), value.to_owned());
                }
                _ => return Err(unknown(key)),
            },
        }
        Ok(())
    }
}

fn source(text: &str) -> Result<Source, String> {
    match text.trim() {
        "host" => Ok(Source::Host),
        "container" => Ok(Source::Container),
        other => match other.strip_prefix("network:") {
            Some(name) if !name.is_empty() => Ok(Source::Network(name.to_owned())),
            _ => literal(other)
                .map_err(|_| not(text, "host, container, network:<name> or an address")),
        },
    }
}

/// `10.0.0.5`, `10.0.0.5:80`, `fd00::5`, `[fd00::5]:80`.
fn literal(text: &str) -> Result<Source, String> {
    let text = text.trim();
    let (address, port) = match text.parse::<std::net::SocketAddr>() {
        Ok(at) if at.port() > 0 => (at.ip(), Some(at.port())),
        _ => match text.parse::<IpAddr>() {
            Ok(address) => (address, None),
            Err(_) => return Err(not(text, "an address such as 10.0.0.5 or 10.0.0.5:80")),
        },
    };
    if address.is_unspecified() || address.is_multicast() {
        return Err(format!("{address} is not one a client can connect to"));
    }
    Ok(Source::Literal(address, port))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    boolean(text).ok_or_else(|| not(text, "true or false"))
}

fn not(text: &str, want: &str) -> String {
    format!("{text:?} is not {want}")
}

/// What to say about a key nobody knows.
fn unknown(key: &str) -> String {
    let last = key.rsplit_once("check.").map_or(key, |(_, last)| last);
    let known = OF_CONTAINER.iter().chain(&OF_PORT).chain(&OF_CHECK);
    let near = known
        .map(|name| (strsim::damerau_levenshtein(name, last), *name))
        // A third of the letters wrong is a typing error, more is another word.
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min();
    match near {
        Some((_, name)) => format!("is unknown; did you mean {name}?"),
        None => format!(
            "is unknown; known are {}, {}, meta.<key>, check.<key>, ports.<name>.<key>",
            OF_CONTAINER.join(", "),
            OF_PORT.join(", ")
        ),
    }
}

#[cfg(test)]
#[path = "scheme_tests.rs"]
mod tests;
