//! The host's own addresses, found by asking the kernel which source address it would use towards
//! the rest of the world. Sends nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses of the interface with the default route, IPv4 first. Empty without a default route.
#[must_use]
pub(crate) fn addresses() -> Vec<IpAddr> {
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
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
