//! Servers as Traefik's etcd provider reads them. Traefik rebuilds everything from a full list on
//! each change and refuses all of it for one key it cannot decode, so only keys are written that every
//! version with this provider knows, and only under names it cannot mistake.

use std::net::SocketAddr;

use super::{Entry, Found, LayoutError, check_address, service_label};
use crate::record::{Proto, Record};

/// Traefik's default root key.
pub(super) const PREFIX_DEFAULT: &str = "traefik";
/// What a container says its port speaks, `SERVICE_TRAEFIK`; a TCP port without it speaks HTTP.
const ATTRIBUTE: &str = "traefik";
/// 53 bits: a number that is exact whatever reads it, and among 1,000 servers of one service two
/// meet once in 18,000 million.
const INDEX_BITS: u32 = 53;

/// One entry; none for SCTP, and for ports that say `none`.
pub(super) fn entries(prefix: &str, record: &Record) -> Result<Vec<Entry>, LayoutError> {
    let told = record.meta.get(ATTRIBUTE).map(String::as_str);
    let (tree, scheme) = match (record.proto, told) {
        (Proto::Sctp, _) | (_, Some("none")) => return Ok(Vec::new()),
        (Proto::Udp, None | Some("udp")) => ("udp", None),
        (Proto::Tcp, Some("tcp")) => ("tcp", None),
        (Proto::Tcp, None | Some("http")) => ("http", Some("http")),
        (Proto::Tcp, Some("https")) => ("http", Some("https")),
        (Proto::Tcp, Some("h2c")) => ("http", Some("h2c")),
        (_, Some(other)) => {
            return Err(LayoutError::Segment {
                what: "SERVICE_TRAEFIK",
                text: other.chars().take(80).collect(),
                why: "does not fit the port: http, https, h2c, tcp, udp or none",
            });
        }
    };
    let name = service_label(record)?;
    // In Traefik's keys a number is a place in a list.
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(LayoutError::Segment {
            what: "service name",
            text: name,
            why: "is a number, which Traefik takes for a place in a list",
        });
    }
    check_address(record.address)?;
    let at = SocketAddr::new(record.address, record.port);
    let (field, value) = match scheme {
        Some(scheme) => ("url", format!("{scheme}://{at}")),
        None => ("address", at.to_string()),
    };
    let index = index(record);
    Ok(vec![Entry {
        key: format!("{prefix}/{tree}/services/{name}/loadbalancer/servers/{index}/{field}"),
        value,
    }])
}

/// The server's place in Traefik's list: a number that no other instance has, so that every agent
/// owns its keys alone. FNV-1a over container and port.
fn index(record: &Record) -> u64 {
    let owner = record
        .container
        .as_ref()
        .map_or(record.instance.as_str(), |container| container.id.as_str());
    let bytes = owner
        .bytes()
        .chain(std::iter::once(0))
        .chain(record.port_name.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> (u64::BITS - INDEX_BITS)
}

pub(super) fn read(path: &str, value: &[u8]) -> Option<Found> {
    let parts: Vec<&str> = path.split('/').collect();
    let [tree, "services", name, "loadbalancer", "servers", id, field] = parts[..] else {
        return None;
    };
    let value = std::str::from_utf8(value).ok()?;
    let at: SocketAddr = match (tree, field) {
        ("http", "url") => value.split_once("://")?.1.parse().ok()?,
        ("tcp" | "udp", "address") => value.parse().ok()?,
        _ => return None,
    };
    Some(Found {
        name: name.to_owned(),
        id: id.to_owned(),
        address: at.ip(),
        port: at.port(),
        record: None,
    })
}
