//! On which ports something listens in a container's network, as the kernel's tables of its process say (proc(5),
//! `/proc/<pid>/net/tcp`). Only for the host's network, where a declared port says nothing about who listens.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use registrator_catalog::record::Proto;

use crate::container::Port;

/// Ports on which others can reach something in the network of process `pid` of container `id`; `None` when the agent
/// cannot see that process, as from a container with process numbers of its own.
pub(crate) fn ports(pid: i64, id: &str) -> Option<BTreeSet<Port>> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    // The same number may be another process in this namespace; only the container's own names its id.
    let group = std::fs::read_to_string(folder.join("cgroup")).ok()?;
    if !group.contains(id) {
        return None;
    }
    let mut found = BTreeSet::new();
    for (table, proto) in [
        ("tcp", Proto::Tcp),
        ("tcp6", Proto::Tcp),
        ("udp", Proto::Udp),
        ("udp6", Proto::Udp),
    ] {
        // A kernel without IPv6 has no such table.
        let text = std::fs::read_to_string(folder.join("net").join(table)).unwrap_or_default();
        found.extend(read(&text, proto));
    }
    Some(found)
}

/// The ports of a table's lines that listen (TCP state 0A) or receive from anybody (UDP state 07), not on loopback.
fn read(table: &str, proto: Proto) -> BTreeSet<Port> {
    let state = if proto == Proto::Tcp { "0A" } else { "07" };
    let port = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (address, number) = words.next()?.split_once(':')?;
        (words.nth(1)? == state && !address_of(address)?.is_loopback()).then_some(())?;
        let number = u16::from_str_radix(number, 16)
            .ok()
            .filter(|number| *number > 0)?;
        Some(Port { number, proto })
    };
    table.lines().skip(1).filter_map(port).collect()
}

/// Groups of four bytes, each in the machine's own order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        u32::from_str_radix(hex.get(at..at + 8)?, 16)
            .ok()
            .map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for part in 0..4 {
                bytes[part * 4..part * 4 + 4].copy_from_slice(&word(part * 8)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn tables_of_the_kernel() {
        let tcp = "  sl  local_address rem_address   st tx_queue\n\
             0: 00000000:0050 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:0CEA 00000000:0000 0A 00000000:00000000\n\
             2: 0202000A:01BB 0302000A:D431 01 00000000:00000000\n\
             nonsense\n";
        let port = |text| Port::parse(text).unwrap();
        assert_eq!(read(tcp, Proto::Tcp), [port("80")].into());
        let tcp6 = "  sl  local_address remote_address st\n\
             0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A\n\
             1: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A\n";
        assert_eq!(read(tcp6, Proto::Tcp), [port("8080")].into());
        let udp = "  sl  local_address rem_address   st\n   0: 00000000:0035 00000000:0000 07\n";
        assert_eq!(read(udp, Proto::Udp), [port("53/udp")].into());
    }

    #[test]
    fn a_process_that_is_not_the_container_s_says_nothing() {
        assert_eq!(
            ports(i64::from(std::process::id()), "0123456789abcdef"),
            None
        );
        assert_eq!(ports(-1, ""), None);
    }
}
