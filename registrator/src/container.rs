//! [pure] A container as the rules see it: what inspect says, reduced to what decides about a
//! registration. Made by `docker::inspect`; read by `desired`. Knows no wire types of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use registrator_catalog::record::Proto;
use serde::{Deserialize, Serialize};

/// One container, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Full id.
    pub id: String,
    /// Name without the leading slash.
    pub name: String,
    /// Image as it was given when the container was created.
    pub image: String,
    /// Labels of container and image.
    pub labels: BTreeMap<String, String>,
    /// Environment as `NAME=value`, in the order of the engine.
    pub env: Vec<String>,
    /// What runs right now.
    pub run: Run,
    /// What the engine's health check says; `None` without one.
    pub health: Option<Health>,
    /// When this incarnation started, as the engine writes it; empty when it never did.
    pub started_at: String,
    /// The same in nanoseconds since 1970.
    pub started_nanos: Option<i64>,
    /// Ports the image or the command line declares.
    pub exposed: BTreeSet<Port>,
    /// Ports that are reachable on the host, with where. A port without a binding is not in it.
    pub published: BTreeMap<Port, Vec<Binding>>,
    /// How it is attached to the network.
    pub network_mode: NetworkMode,
    /// Ports of its network on which something listens that others can reach; `None` when nobody could look. Only
    /// looked at in the host's network, where declared ports say nothing.
    pub listening: Option<BTreeSet<Port>>,
    /// Its addresses, one entry per network, in the order the engine prefers them: highest gateway
    /// priority first, then by name.
    pub networks: Vec<Network>,
    /// Number of the signal `docker stop` sends.
    pub stop_signal: i32,
    /// Seconds between that signal and SIGKILL.
    pub stop_timeout_seconds: u64,
}

/// 10 s: what the engine waits between the stop signal and SIGKILL when nobody says otherwise.
pub const STOP_TIMEOUT_SECONDS_DEFAULT: u64 = 10;

/// Whether the container can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Run {
    /// Its process runs.
    Running,
    /// Its process is frozen.
    Paused,
    /// It waits to be started again by its restart policy. The engine calls this "running" too.
    Restarting,
    /// Created, exited, dead or being removed.
    Stopped,
}

/// Result of the engine's health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Neither passed nor failed since the start.
    Starting,
    /// Passed.
    Healthy,
    /// Failed as often in a row as it may.
    Unhealthy,
}

/// A port inside the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Its number, never zero.
    pub number: u16,
    /// Its protocol.
    pub proto: Proto,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.proto)
    }
}

impl Port {
    /// Reads `80/tcp`; a missing protocol is TCP.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, proto) = text.split_once('/').unwrap_or((text, "tcp"));
        Some(Self {
            number: number.parse().ok().filter(|number| *number > 0)?,
            proto: match proto {
                "tcp" => Proto::Tcp,
                "udp" => Proto::Udp,
                "sctp" => Proto::Sctp,
                _ => return None,
            },
        })
    }
}

/// Where a published port is reachable on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Binding {
    /// The host's address; unspecified when it listens on all of that family.
    pub address: IpAddr,
    /// The host's port, never zero.
    pub port: u16,
}

/// How a container is attached to the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// Bridges and overlays: it has addresses of its own.
    Own,
    /// It shares the host's network.
    Host,
    /// It has no network.
    None,
    /// It shares the network of another container.
    Container(String),
}

/// One network of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The container's IPv4 address there.
    pub v4: Option<Ipv4Addr>,
    /// The container's global IPv6 address there.
    pub v6: Option<Ipv6Addr>,
}

/// Whether a container with this id and name is called that.
pub(crate) fn is_called((id, own_name): (&str, &str), name: &str) -> bool {
    own_name == name.trim_start_matches('/')
        || id == name
        || (name.len() >= 12 && id.starts_with(name))
}

impl Container {
    /// The part of the id that people see.
    #[must_use]
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// Whether the engine or a person calls it that: by id, by the part of it that people see, or by name.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        is_called((&self.id, &self.name), name)
    }

    /// It with the network of `owner`, whose network it shares: addresses are the owner's, and of the owner's published
    /// ports those that `ports` holds or it declares itself.
    #[must_use]
    pub fn on_network_of(&self, owner: &Self, ports: &BTreeSet<Port>) -> Self {
        let mut own = self.clone();
        own.network_mode = owner.network_mode.clone();
        own.networks.clone_from(&owner.networks);
        own.listening.clone_from(&owner.listening);
        own.published.clone_from(&owner.published);
        own.published
            .retain(|port, _| self.exposed.contains(port) || ports.contains(port));
        own
    }
}
