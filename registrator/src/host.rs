//! The host's own addresses: those of the interface a person named, those in preferred ranges, else the source address
//! that the kernel would use towards the rest of the world. Sends nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::address::Preference;

/// Addresses others can reach this host at, IPv4 first. Empty when there is none.
#[must_use]
pub(crate) fn addresses(interface: Option<&str>, preference: &Preference) -> Vec<IpAddr> {
    if interface.is_none() && preference.ranges.is_empty() {
        return of_default_route();
    }
    // An interface list that cannot be had is as good as an empty one: the reason is told with every port.
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let mut found: Vec<IpAddr> = all
        .iter()
        .filter(|one| interface.is_none_or(|name| one.name == name))
        .map(if_addrs::Interface::ip)
        .filter(|address| is_for_others(*address))
        .filter(|address| {
            interface.is_some() || preference.ranges.iter().any(|r| r.contains(address))
        })
        .collect();
    found.sort_by_key(|address| (address.is_ipv6(), *address));
    if interface.is_none() {
        found.extend(of_default_route());
    }
    let mut seen = Vec::new();
    for address in found {
        if !seen.contains(&address) {
            seen.push(address);
        }
    }
    seen
}

fn of_default_route() -> Vec<IpAddr> {
    // TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849): never anybody's own network, so
    // only a default route leads there. Connecting a UDP socket looks up the route and sends nothing.
    let beyond = [
        SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9)),
        SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9)),
    ];
    beyond.into_iter().filter_map(source_towards).collect()
}

fn source_towards(beyond: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if beyond.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(beyond).ok()?;
    let address = socket.local_addr().ok()?.ip();
    is_for_others(address).then_some(address)
}

/// Not loopback, unspecified or of one link only.
fn is_for_others(address: IpAddr) -> bool {
    let of_link = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !address.is_loopback() && !address.is_unspecified() && !of_link
}
