//! [pure] From a container to the records it should have: which ports count, and for each an address
//! and a port from one and the same source, so that the pair is always one somebody listens on.
//! Every port gets a verdict with its reason, because "why is my container not there?" is the most
//! frequent question. Knows no store, no clock; `agent` decides when to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use registrator_catalog::instance::instance;
use registrator_catalog::layout::{Layout, registrator_id};
use registrator_catalog::record::{self, Proto, Record, State};

use crate::container::{Binding, Container, NetworkMode, Port, Run};
use crate::gate::Gate;
use crate::labels::{Labels, PortLabels};

/// What holds for all containers of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Name of this host in records and ids.
    pub node: String,
    /// Register container addresses and container ports instead of published ones.
    pub internal: bool,
    /// The host's own addresses.
    pub host: HostAddresses,
    /// Where and how records are written. Never empty.
    pub layouts: Vec<Layout>,
    /// What a health check decides, unless a container's labels say otherwise.
    pub gate: Gate,
}

/// Addresses under which others reach this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// Addresses a person named. They replace whatever a port is bound to.
    pub told: Vec<IpAddr>,
    /// Addresses of the interface with the default route. Never loopback or unspecified.
    pub detected: Vec<IpAddr>,
}

/// Everything decided about one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Keys and values that should be in the store.
    pub wanted: BTreeMap<String, String>,
    /// One verdict per port, in order.
    pub verdicts: Vec<Verdict>,
    /// Why no port was looked at, if so.
    pub skipped: Option<String>,
    /// What is odd about the container's settings.
    pub warnings: Vec<String>,
}

impl Evaluation {
    /// Why keys that were wanted are not any more.
    #[must_use]
    pub fn why_fewer(&self) -> String {
        let state = self
            .verdicts
            .iter()
            .find_map(|verdict| match &verdict.outcome {
                Outcome::Registered(record) if record.state != State::Up => Some(record.state),
                _ => None,
            });
        match (&self.skipped, state) {
            (Some(why), _) => why.clone(),
            (None, Some(state)) => format!("it is {state}"),
            (None, None) => "its settings changed".to_owned(),
        }
    }
}

/// What was decided about one port, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The port inside the container.
    pub port: Port,
    /// The decision.
    pub outcome: Outcome,
    /// What is odd about its settings.
    pub warnings: Vec<String>,
}

/// A decision about a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is registered.
    Registered(Arc<Record>),
    /// It is not, for this reason.
    Skipped(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Registered(record) => {
                let at = std::net::SocketAddr::new(record.address, record.port);
                write!(f, "port {}: {} at {at}", self.port, record.name)
            }
            Outcome::Skipped(why) => write!(f, "port {}: skipped, {why}", self.port),
        }
    }
}

/// A place where a port can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Preferred first; never empty.
    addresses: Vec<IpAddr>,
    port: u16,
    /// Whether the container port is reachable at further places, so that this one needs a name of
    /// its own.
    further: bool,
}

/// Decides about every port of `container`. `state` and `updated_at` go into the records.
#[must_use]
pub fn evaluate(
    container: &Container,
    rules: &Rules,
    state: State,
    updated_at: &str,
) -> Evaluation {
    let mut evaluation = Evaluation::default();
    if let Some(why) = not_serving(container) {
        evaluation.skipped = Some(why);
        return evaluation;
    }
    let labels = Labels::new(&container.labels, &container.env);
    let ports = candidates(container, rules, &labels);
    if ports.is_empty() {
        evaluation.skipped = Some("it exposes and publishes no port".to_owned());
        return evaluation;
    }
    let mut eligible: Vec<(Port, PortLabels, Vec<Place>)> = Vec::new();
    for port in ports {
        let settings = labels.of_port(port.number);
        let skip = |why: String, warnings| Verdict {
            port,
            outcome: Outcome::Skipped(why),
            warnings,
        };
        if settings.ignore {
            let why = "SERVICE_IGNORE is set".to_owned();
            evaluation.verdicts.push(skip(why, settings.warnings));
            continue;
        }
        match places(container, port, rules) {
            Ok(places) => eligible.push((port, settings, places)),
            Err(why) => evaluation.verdicts.push(skip(why, settings.warnings)),
        }
    }
    let several = eligible.len() > 1;
    for (port, settings, places) in eligible {
        for place in places {
            let mut record = record_of(
                container, rules, port, &settings, &place, several, updated_at,
            );
            record.state = state;
            let mut warnings = settings.warnings.clone();
            let outcome = match write(&record, &rules.layouts, &mut evaluation.wanted) {
                Ok(faults) => {
                    warnings.extend(faults);
                    Outcome::Registered(Arc::new(record))
                }
                Err(why) => Outcome::Skipped(why),
            };
            evaluation.verdicts.push(Verdict {
                port,
                outcome,
                warnings,
            });
        }
    }
    evaluation.verdicts.sort_by_key(|verdict| verdict.port);
    evaluation
}

/// Why the container cannot serve at all, if so.
fn not_serving(container: &Container) -> Option<String> {
    match (container.run, &container.network_mode) {
        (Run::Stopped, _) => Some("it does not run".to_owned()),
        (Run::Restarting, _) => Some("it waits to be restarted".to_owned()),
        (Run::Paused, _) => Some("it is paused".to_owned()),
        (Run::Running, NetworkMode::None) => Some("it has no network".to_owned()),
        (Run::Running, NetworkMode::Container(owner)) => Some(format!(
            "it shares the network of container {owner}; publish and label the port there"
        )),
        (Run::Running, NetworkMode::Own | NetworkMode::Host) => None,
    }
}

/// The ports to decide about: declared, published, or named by a label.
fn candidates(container: &Container, rules: &Rules, labels: &Labels) -> BTreeSet<Port> {
    let mut ports: BTreeSet<Port> = container.exposed.clone();
    ports.extend(container.published.keys());
    // A label may name a port nobody declared: true in host mode and between containers, where any
    // listening port is reachable; a published port must be declared to be published.
    if rules.internal || container.network_mode == NetworkMode::Host {
        for number in labels.ports().filter(|number| *number > 0) {
            if !ports.iter().any(|port| port.number == number) {
                ports.insert(Port {
                    number,
                    proto: Proto::Tcp,
                });
            }
        }
    }
    ports
}

/// Where `port` can be reached, or why nowhere.
fn places(container: &Container, port: Port, rules: &Rules) -> Result<Vec<Place>, String> {
    if container.network_mode == NetworkMode::Host {
        let addresses = rules.host.of_host();
        if addresses.is_empty() {
            return Err(NO_HOST_ADDRESS.to_owned());
        }
        return Ok(vec![Place {
            addresses,
            port: port.number,
            further: false,
        }]);
    }
    if rules.internal {
        let network = container
            .networks
            .iter()
            .find(|network| network.v4.is_some() || network.v6.is_some())
            .ok_or("the container has no address on any network")?;
        let v4 = network.v4.map(IpAddr::V4);
        let v6 = network.v6.map(IpAddr::V6);
        return Ok(vec![Place {
            addresses: v4.into_iter().chain(v6).collect(),
            port: port.number,
            further: false,
        }]);
    }
    let bindings = container
        .published
        .get(&port)
        .ok_or("it is not published (publish it with -p, or start the agent with --internal)")?;
    let mut by_port: BTreeMap<u16, Vec<Binding>> = BTreeMap::new();
    for binding in bindings {
        by_port.entry(binding.port).or_default().push(*binding);
    }
    let mut found: Vec<Place> = Vec::new();
    let mut refused = String::new();
    for (host_port, bindings) in by_port {
        match rules.host.of_bindings(&bindings) {
            Ok(addresses) => found.push(Place {
                addresses,
                port: host_port,
                further: !found.is_empty(),
            }),
            Err(why) => refused = why,
        }
    }
    if found.is_empty() {
        Err(refused)
    } else {
        Ok(found)
    }
}

const NO_HOST_ADDRESS: &str = "no address of this host is known (name one with --ip)";

impl HostAddresses {
    /// Addresses of a service that listens in the host's network.
    fn of_host(&self) -> Vec<IpAddr> {
        let source = if self.told.is_empty() {
            &self.detected
        } else {
            &self.told
        };
        source.clone()
    }

    /// Addresses under which bindings of one host port are reachable from elsewhere.
    fn of_bindings(&self, bindings: &[Binding]) -> Result<Vec<IpAddr>, String> {
        let local_only = bindings.iter().all(|binding| binding.address.is_loopback());
        if !self.told.is_empty() {
            // A person may mean an address in front of this host (NAT), so it need not be the
            // bound one; but the family must be served, and loopback bindings reach nobody else.
            if local_only && !self.told.iter().any(IpAddr::is_loopback) {
                return Err(only_local(bindings));
            }
            let served: Vec<IpAddr> = self
                .told
                .iter()
                .copied()
                .filter(|told| {
                    bindings
                        .iter()
                        .any(|b| b.address.is_ipv4() == told.is_ipv4())
                })
                .collect();
            return if served.is_empty() {
                Err("it is published for another address family than that of --ip".to_owned())
            } else {
                Ok(served)
            };
        }
        if local_only {
            return Err(only_local(bindings));
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for binding in bindings {
            let family = |address: &&IpAddr| address.is_ipv4() == binding.address.is_ipv4();
            let address = if binding.address.is_unspecified() {
                self.detected.iter().find(family).copied()
            } else {
                Some(binding.address).filter(|address| !address.is_loopback())
            };
            addresses.extend(address);
        }
        // IPv4 first: every consumer understands it.
        addresses.sort_by_key(|address| (address.is_ipv6(), *address));
        addresses.dedup();
        if addresses.is_empty() {
            return Err(NO_HOST_ADDRESS.to_owned());
        }
        Ok(addresses)
    }
}

fn only_local(bindings: &[Binding]) -> String {
    let at: Vec<String> = bindings
        .iter()
        .map(|binding| binding.address.to_string())
        .collect();
    format!(
        "it is published on {} only, which other hosts cannot reach (--ip 127.0.0.1 registers it all the same)",
        at.join(" and ")
    )
}

fn record_of(
    container: &Container,
    rules: &Rules,
    port: Port,
    settings: &PortLabels,
    place: &Place,
    several: bool,
    updated_at: &str,
) -> Record {
    let mut port_name = match port.proto {
        Proto::Tcp => port.number.to_string(),
        other => format!("{}-{other}", port.number),
    };
    let mut id = settings
        .id
        .clone()
        .unwrap_or_else(|| registrator_id(&rules.node, &container.name, port.number, port.proto));
    if place.further {
        port_name = format!("{port_name}-{}", place.port);
        id = format!("{id}-{}", place.port);
    }
    let mut name = settings
        .name
        .clone()
        .unwrap_or_else(|| default_name(container));
    if several && !settings.name_is_of_port {
        name = format!("{name}-{}", port.number);
    }
    let mut tags = settings.tags.clone();
    if port.proto == Proto::Udp && !tags.iter().any(|tag| tag == "udp") {
        tags.push("udp".to_owned());
    }
    let compose = |key: &str| {
        container
            .labels
            .get(&format!("com.docker.compose.{key}"))
            .cloned()
    };
    Record {
        version: record::VERSION,
        instance: instance(&rules.node, &container.id, &port_name),
        id,
        name,
        node: rules.node.clone(),
        address: place.addresses[0],
        addresses: place.addresses.iter().copied().map(Into::into).collect(),
        port: place.port,
        proto: port.proto,
        port_name,
        weight: record::WEIGHT_DEFAULT,
        priority: record::PRIORITY_DEFAULT,
        state: State::Up,
        health: None,
        tags,
        meta: settings.attributes.clone(),
        container: Some(record::Container {
            id: container.id.clone(),
            name: container.name.clone(),
            image: container.image.clone(),
            port: port.number,
            project: compose("project"),
            service: compose("service"),
            started_at: container.started_at.clone(),
        }),
        updated_at: updated_at.to_owned(),
    }
}

/// Upstream's default, the image's last path segment; an image given by its id has no name, so the
/// Compose service or the container's own name stands in (upstream registered a service `sha256`).
fn default_name(container: &Container) -> String {
    let image = container.image.split('@').next().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let name = last.split(':').next().unwrap_or_default();
    let is_id = container.image.starts_with("sha256:")
        || (name.len() >= 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !is_id && !name.is_empty() {
        return name.to_owned();
    }
    container
        .labels
        .get("com.docker.compose.service")
        .unwrap_or(&container.name)
        .clone()
}

/// Adds the record's entries to `wanted`, and returns which layouts could not take it, and why. A
/// record without a place in any of them, or whose key another port has, is refused.
fn write(
    record: &Record,
    layouts: &[Layout],
    wanted: &mut BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    let mut entries = Vec::with_capacity(layouts.len());
    let mut faults = Vec::new();
    for layout in layouts {
        match layout.entries(record) {
            Ok(found) => entries.extend(found),
            Err(error) if layouts.len() == 1 => return Err(error.to_string()),
            Err(error) => faults.push(format!("not below {}: {error}", layout.root())),
        }
    }
    if faults.len() == layouts.len() {
        return Err(faults.join("; "));
    }
    if entries.is_empty() && record.state == State::Up {
        faults.push(format!("no layout has a place for {}", record.proto));
        return Err(faults.join("; "));
    }
    if let Some(taken) = entries.iter().find(|entry| wanted.contains_key(&entry.key)) {
        return Err(format!(
            "another port of this container has the key {}",
            taken.key
        ));
    }
    wanted.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
    Ok(faults)
}

#[cfg(test)]
#[path = "desired_tests.rs"]
mod tests;
