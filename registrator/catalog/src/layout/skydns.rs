//! SkyDNS records as the CoreDNS etcd plugin reads them: the domain's labels backwards in the key, a
//! JSON object as value. One malformed value fails every query above it, so nothing is written that
//! was not checked.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Entry, Found, Kind, Layout, LayoutError, check_address, check_segment, service_label};
use crate::instance::is_label;
use crate::record::Record;

/// Where CoreDNS looks unless its configuration says otherwise.
const PATH_DEFAULT: &str = "skydns";
/// 5 s: `CoreDNS`' cache keeps an answer at least that long, and a longer time only makes stopped
/// instances linger. Always written: without it, `CoreDNS` up to 1.12.3 takes bits of the lease's id.
const TTL_SECONDS: u32 = 5;
/// `CoreDNS` takes 0 for "not given" and puts 10 in its place; 1 is the nearest it keeps.
const PRIORITY_MIN: u32 = 1;
/// Longest host name (RFC 1035 2.3.4), without the dot at its end.
const NAME_BYTES_MAX: usize = 253;

#[derive(Serialize, Deserialize)]
struct Value {
    host: IpAddr,
    port: u16,
    priority: u32,
    weight: u32,
    ttl: u32,
}

/// The layout for `<domain>`, or `<path>/<domain>` where `CoreDNS` was given another path.
pub(super) fn layout(given: &str) -> Result<Layout, LayoutError> {
    let given = given.trim_end_matches('/');
    let (path, domain) = given.rsplit_once('/').unwrap_or((PATH_DEFAULT, given));
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    if domain.is_empty() || !domain.split('.').all(is_label) {
        return Err(LayoutError::Segment {
            what: "domain of layout skydns",
            text: domain.chars().take(80).collect(),
            why: "is no DNS name (write skydns=cluster.local)",
        });
    }
    let reversed: Vec<&str> = domain.rsplit('.').collect();
    let prefix = format!("{}/{}", path.trim_matches('/'), reversed.join("/"));
    Ok(Layout::new(Kind::SkyDns, &prefix))
}

/// One entry per address. Several stand below the instance's name, because `CoreDNS` reads the key
/// of a name only when there is nothing below it.
pub(super) fn entries(prefix: &str, record: &Record) -> Result<Vec<Entry>, LayoutError> {
    // A weight of 0 is read as 100, so an instance without traffic must not be there at all.
    if record.weight == 0 {
        return Ok(Vec::new());
    }
    // An id that somebody chose as a host name is kept; the default one with its colons is none.
    let instance = if is_label(&record.id) {
        &record.id
    } else {
        &record.instance
    };
    check_segment("instance", instance, false)?;
    if !is_label(instance) {
        return Err(LayoutError::Segment {
            what: "instance",
            text: instance.chars().take(80).collect(),
            why: "is no DNS label",
        });
    }
    let key = format!("{prefix}/{}/{instance}", service_label(record)?);
    if key.len() > NAME_BYTES_MAX {
        return Err(LayoutError::Segment {
            what: "host name",
            text: key.chars().take(80).collect(),
            why: "is longer than 253 bytes",
        });
    }
    let mut hosts: Vec<IpAddr> = Vec::with_capacity(record.addresses.len());
    for host in record.addresses.iter().map(|address| address.address) {
        check_address(host)?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let several = hosts.len() > 1;
    Ok(hosts
        .into_iter()
        .enumerate()
        .map(|(index, host)| {
            let value = Value {
                host,
                port: record.port,
                priority: record.priority.clamp(PRIORITY_MIN, u16::MAX.into()),
                weight: record.weight.min(u16::MAX.into()),
                ttl: TTL_SECONDS,
            };
            Entry {
                key: if several {
                    format!("{key}/{}", index + 1)
                } else {
                    key.clone()
                },
                // A struct of numbers and an address always has a JSON form.
                value: serde_json::to_string(&value).unwrap_or_default(),
            }
        })
        .collect())
}

pub(super) fn read(path: &str, value: &[u8]) -> Option<Found> {
    let mut labels = path.split('/');
    let (name, id) = (labels.next()?, labels.next()?);
    let value: Value = serde_json::from_slice(value).ok()?;
    Some(Found {
        name: name.to_owned(),
        id: id.to_owned(),
        address: value.host,
        port: value.port,
        record: None,
    })
}
