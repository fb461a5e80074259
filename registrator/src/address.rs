//! [pure] Where a port can be reached: address and port always from one and the same source, so that the pair is one
//! somebody listens on. Never loopback or unspecified without having been told, and never by chance: of several
//! networks the same one is chosen every time. Knows no names and no layouts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::container::{Binding, Container, Network, NetworkMode, Port};
use crate::scheme::Source;

/// Addresses under which others reach this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// Addresses a person named. They replace whatever a port is bound to.
    pub told: Vec<IpAddr>,
    /// Addresses of the interface with the default route, or of the preferred one. Never loopback or unspecified.
    pub detected: Vec<IpAddr>,
}

/// Which of several addresses is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preference {
    /// Names of container networks, best first; others come after, in the engine's order.
    pub networks: Vec<String>,
    /// Address ranges, best first; others come after.
    pub ranges: Vec<IpNet>,
    /// Families.
    pub families: Families,
}

/// Which address families are registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// Both, IPv4 preferred: every consumer understands it.
    #[default]
    V4First,
    /// Both, IPv6 preferred.
    V6First,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl Preference {
    /// `addresses` without those of unwanted families, best first.
    fn ranked(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
        let mut ranked: Vec<IpAddr> = addresses
            .into_iter()
            .filter(|address| match self.families {
                Families::V4First | Families::V6First => true,
                Families::V4 => address.is_ipv4(),
                Families::V6 => address.is_ipv6(),
            })
            .collect();
        let v6_first = self.families == Families::V6First;
        // Stable: what is equally good stays in the order of its source.
        ranked.sort_by_key(|address| (self.rank(*address), address.is_ipv6() != v6_first));
        let mut seen = Vec::with_capacity(ranked.len());
        ranked.retain(|address| {
            !seen.contains(address) && {
                seen.push(*address);
                true
            }
        });
        ranked
    }

    /// Place of the first range that holds the address.
    fn rank(&self, address: IpAddr) -> usize {
        let found = self
            .ranges
            .iter()
            .position(|range| range.contains(&address));
        found.unwrap_or(self.ranges.len())
    }

    /// The container's networks with an address, best first.
    fn networks<'a>(&self, container: &'a Container) -> Vec<(&'a Network, Vec<IpAddr>)> {
        let mut found: Vec<(&Network, Vec<IpAddr>)> = container
            .networks
            .iter()
            .map(|network| (network, self.ranked(addresses(network))))
            .filter(|(_, addresses)| !addresses.is_empty())
            .collect();
        let of_swarm = container.labels.contains_key(SWARM_TASK);
        found.sort_by_key(|(network, addresses)| {
            let named = self.networks.iter().position(|name| *name == network.name);
            (
                named.unwrap_or(self.networks.len()),
                of_swarm && named.is_none() && network.name == SWARM_INGRESS,
                self.rank(addresses[0]),
            )
        });
        found
    }
}

/// What every container of a Swarm task has.
const SWARM_TASK: &str = "com.docker.swarm.task.id";
/// Over which Swarm spreads connections to published ports. Nobody else is on it, so its addresses are the last choice.
const SWARM_INGRESS: &str = "ingress";

fn addresses(network: &Network) -> impl Iterator<Item = IpAddr> {
    let v4 = network.v4.map(IpAddr::V4);
    v4.into_iter().chain(network.v6.map(IpAddr::V6))
}

/// A place where a port can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Preferred first; never empty.
    pub addresses: Vec<IpAddr>,
    /// The port there.
    pub port: u16,
    /// Whether the container port is reachable at further places, so that this one needs a name of its own.
    pub further: bool,
    /// How it was found, for people.
    pub how: String,
}

impl Place {
    fn new(addresses: Vec<IpAddr>, port: u16, how: String) -> Self {
        Self {
            addresses,
            port,
            further: false,
            how,
        }
    }
}

/// Where `port` of `container` can be reached, or why nowhere.
///
/// # Errors
/// One line that says why, and mostly what to do.
pub fn places(
    container: &Container,
    port: Port,
    source: &Source,
    host: &HostAddresses,
    preference: &Preference,
) -> Result<Vec<Place>, String> {
    if let Source::Literal(address, own) = source {
        let published = container.published.get(&port).and_then(|all| all.first());
        let at = own
            .or(published.map(|binding| binding.port))
            .unwrap_or(port.number);
        let how = "the address its label says".to_owned();
        return Ok(vec![Place::new(vec![*address], at, how)]);
    }
    if container.network_mode == NetworkMode::Host {
        let addresses = preference.ranked(host.of_host().iter().copied());
        if addresses.is_empty() {
            return Err(NO_HOST_ADDRESS.to_owned());
        }
        let how = "the host's address: it shares the host's network".to_owned();
        return Ok(vec![Place::new(addresses, port.number, how)]);
    }
    let network = match source {
        Source::Host | Source::Literal(..) => return published(container, port, host, preference),
        Source::Container => None,
        Source::Network(name) => Some(name),
    };
    let all = preference.networks(container);
    let chosen = match network {
        None => all.into_iter().next(),
        Some(name) => all
            .into_iter()
            .find(|(network, _)| is_called(&network.name, name, container)),
    };
    let (network, addresses) = chosen.ok_or_else(|| match network {
        None => "the container has no address on any network".to_owned(),
        Some(name) => format!("the container has no address on network {name}"),
    })?;
    let how = format!("its own address on network {}", network.name);
    Ok(vec![Place::new(addresses, port.number, how)])
}

/// Compose calls network `back` of project `shop` `shop_back`; people say `back`.
fn is_called(network: &str, name: &str, container: &Container) -> bool {
    let project = container.labels.get("com.docker.compose.project");
    network == name
        || project.is_some_and(|project| {
            let rest = network.strip_prefix(project.as_str());
            rest.and_then(|rest| rest.strip_prefix('_')) == Some(name)
        })
}

fn published(
    container: &Container,
    port: Port,
    host: &HostAddresses,
    preference: &Preference,
) -> Result<Vec<Place>, String> {
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
        match host.of_bindings(&bindings, preference) {
            Ok(addresses) => found.push(Place {
                further: !found.is_empty(),
                ..Place::new(
                    addresses,
                    host_port,
                    format!("published at port {host_port} of this host"),
                )
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
    fn of_host(&self) -> &[IpAddr] {
        if self.told.is_empty() {
            &self.detected
        } else {
            &self.told
        }
    }

    /// Addresses under which bindings of one host port are reachable from elsewhere.
    fn of_bindings(
        &self,
        bindings: &[Binding],
        preference: &Preference,
    ) -> Result<Vec<IpAddr>, String> {
        let local_only = bindings.iter().all(|binding| binding.address.is_loopback());
        if !self.told.is_empty() {
            // A person may mean an address in front of this host (NAT), so it need not be the
            // bound one; but the family must be served, and loopback bindings reach nobody else.
            if local_only && !self.told.iter().any(IpAddr::is_loopback) {
                return Err(only_local(bindings));
            }
            let served = self.told.iter().copied().filter(|told| {
                let mut bound = bindings.iter().map(|binding| binding.address);
                bound.any(|bound| bound.is_ipv4() == told.is_ipv4())
            });
            let served = preference.ranked(served);
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
        addresses.sort();
        let addresses = preference.ranked(addresses);
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
