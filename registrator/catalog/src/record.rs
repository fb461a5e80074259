//! The record: everything the registry says about one instance of one service, and its JSON form.
//! The form is canonical (fixed key order, no blanks, maps sorted), so two records are equal exactly
//! when their bytes are, apart from the time of the last change, which stands last.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::timestamp;

/// The version written into records. Readers accept later ones: fields are only ever added.
pub const VERSION: u32 = 1;

/// Share of traffic of an instance that nobody weighted.
pub const WEIGHT_DEFAULT: u32 = 100;
/// Priority of an instance that nobody ranked; the value SkyDNS assumes for a record without one.
pub const PRIORITY_DEFAULT: u32 = 10;

/// One instance of one service on one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this form, [`VERSION`] when written.
    pub version: u32,
    /// Name people and the registrator layout know the instance by: `SERVICE_ID`, or
    /// `<host>:<container>:<port>[:udp]`.
    pub id: String,
    /// DNS label that is unique in the registry; last part of the native key.
    pub instance: String,
    /// Name of the service.
    pub name: String,
    /// Name of the host it runs on.
    pub node: String,
    /// Where to reach it: the preferred one of `addresses`.
    pub address: IpAddr,
    /// Every address it answers on with this port, preferred first. Never empty.
    pub addresses: Vec<Address>,
    /// Port to reach it at, in the same place as the address.
    pub port: u16,
    /// Transport protocol.
    pub proto: Proto,
    /// Name of the port: `80`, `53-udp`.
    pub port_name: String,
    /// Share of traffic compared to its peers.
    pub weight: u32,
    /// Peers of the lowest number are preferred.
    pub priority: u32,
    /// Whether traffic should go to it.
    pub state: State,
    /// What said so, when something checks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Tags, in the order they were given.
    pub tags: Vec<String>,
    /// Free attributes.
    pub meta: BTreeMap<String, String>,
    /// The container behind it; absent for static services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// When anything above changed last, RFC 3339 with milliseconds. Last on purpose, see
    /// [`same_apart_from_time`].
    pub updated_at: String,
}

/// One address with its family, for consumers that cannot tell from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Its family.
    pub family: Family,
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self {
            address,
            family: if address.is_ipv4() {
                Family::Ipv4
            } else {
                Family::Ipv6
            },
        }
    }
}

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Whether traffic should go to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Runs, its gate has not passed yet.
    Starting,
    /// Takes traffic.
    Up,
    /// Told to stop: finishes what it has, takes nothing new.
    Draining,
    /// Unhealthy or paused.
    Down,
    /// Taken out by a person.
    Maintenance,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Maintenance => "maintenance",
        })
    }
}

/// What decided the state of a checked instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Who checks: `docker`, `http`, `tcp`, `grpc`, `exec`.
    pub source: String,
    /// Since when the result stands, RFC 3339.
    pub since: String,
    /// Hash of the checker's output; the output itself may be long or secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_hash: Option<String>,
}

/// The container behind an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Full id.
    pub id: String,
    /// Name without the leading slash.
    pub name: String,
    /// Image as the container was started with.
    pub image: String,
    /// The port inside the container.
    pub port: u16,
    /// Compose project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Compose service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// When this incarnation started, as the engine writes it.
    pub started_at: String,
}

impl Record {
    /// The canonical JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of strings, numbers and maps with text keys always has a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a record; unknown fields are ignored so that older readers accept later writers.
    ///
    /// # Errors
    /// When the bytes are no JSON object with the fields of [`VERSION`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: Self = serde_json::from_slice(bytes).map_err(RecordError::Json)?;
        if record.addresses.is_empty() {
            return Err(RecordError::NoAddress);
        }
        Ok(record)
    }
}

/// `,"updated_at":"<timestamp>"}` with a timestamp of [`timestamp::WIDTH`].
const TAIL_HEAD: &[u8] = b",\"updated_at\":\"";
const TAIL_BYTES: usize = TAIL_HEAD.len() + timestamp::WIDTH + 2;

/// Whether two values say the same. Records that differ only in `updated_at` do: the time of a
/// change is no change. Values of other layouts are compared as bytes.
#[must_use]
pub fn same_apart_from_time(a: &[u8], b: &[u8]) -> bool {
    a == b || matches!((without_time(a), without_time(b)), (Some(a), Some(b)) if a == b)
}

fn without_time(value: &[u8]) -> Option<&[u8]> {
    let (head, tail) = value.split_at_checked(value.len().checked_sub(TAIL_BYTES)?)?;
    (tail.starts_with(TAIL_HEAD) && tail.ends_with(b"\"}")).then_some(head)
}

/// Bytes that are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, or a field is missing or of another type.
    #[error("read registration record: {0}")]
    Json(#[source] serde_json::Error),
    /// The list of addresses is empty.
    #[error("read registration record: it has no address")]
    NoAddress,
}

#[cfg(test)]
#[path = "record_tests.rs"]
pub(crate) mod tests;
