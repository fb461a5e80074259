//! Addresses: what members tell others to use, and whether this machine could listen where it is to.

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener, ToSocketAddrs as _};

use store_proto::etcdserverpb::Member;
use store_transport::occupant;

use super::finding::Finding;
use crate::connect;
use crate::flags::Globals;

const WHAT: &str = "address";

/// What processes of stores are called.
const STORES: [&str; 2] = ["muster (", "etcd ("];

/// What kind of place a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Every address of a machine: somewhere to listen, nowhere to go.
    Nowhere,
    /// The machine itself.
    Here,
    /// The network, or a name.
    There,
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.trim_end_matches('/');
    let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn reach(url: &str) -> Reach {
    if url.starts_with("unix") {
        return Reach::Here;
    }
    match host(url).parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Reach::Nowhere,
        Ok(ip) if ip.is_loopback() => Reach::Here,
        Err(_) if host(url) == "localhost" => Reach::Here,
        _ => Reach::There,
    }
}

/// What the members' own words about themselves lead to.
pub(super) fn advertised(members: &[Member]) -> Vec<Finding> {
    let urls = |member: &Member| -> Vec<String> {
        let all = member.client_ur_ls.iter().chain(&member.peer_ur_ls);
        all.cloned().collect()
    };
    let every: Vec<String> = members.iter().flat_map(urls).collect();
    let mut found = Vec::new();
    for url in every.iter().filter(|url| reach(url) == Reach::Nowhere) {
        found.push(Finding::wrong(
            WHAT,
            format!("{url} is advertised, which is every address of a machine and none to go to"),
            "name the machine in --advertise-client-urls and --initial-advertise-peer-urls",
        ));
    }
    let here = every.iter().filter(|url| reach(url) == Reach::Here);
    let here: Vec<&String> = here.collect();
    if members.len() > 1 && !here.is_empty() && here.len() < every.len() {
        found.push(Finding::wrong(
            WHAT,
            format!("{} leads only to the machine that advertises it", here[0]),
            "advertise an address the other machines can reach",
        ));
    }
    let clear = |url: &&String| url.starts_with("http:") && reach(url) == Reach::There;
    if let Some(url) = every.iter().find(clear) {
        found.push(Finding::warning(
            WHAT,
            format!("{url} is spoken to in the clear"),
            "who can listen on the network reads keys and passwords: use TLS there",
        ));
    }
    if found.is_empty() {
        let list = every.join(", ");
        found.push(Finding::fine(WHAT, format!("advertised: {list}")));
    }
    found
}

/// Whether each peer URL can be reached from here.
pub(super) async fn peers(members: &[Member], globals: &Globals) -> Vec<Finding> {
    let mut found = Vec::new();
    for url in members.iter().flat_map(|member| &member.peer_ur_ls) {
        // A port without TLS is as good to learn that somebody listens there.
        let plain = url.replacen("https://", "http://", 1);
        let plain = plain.replacen("unixs://", "unix://", 1);
        if let Err(failure) = connect::stream(&plain, globals, true).await {
            found.push(Finding::warning(
                WHAT,
                format!("{url} (of a peer) cannot be reached from here: {failure}"),
                "if this machine runs a member: open the way for it; else this may be meant so",
            ));
        }
    }
    found
}

/// Whether a store here could listen on a URL.
pub(super) fn listenable(url: &str) -> Finding {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    if url.starts_with("unix") {
        return Finding::skipped(WHAT, format!("{url}: a socket file"));
    }
    let port = rest
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    let Some(port) = port else {
        return Finding::wrong(WHAT, format!("{url} has no port"), "write http://host:port");
    };
    let port: u16 = port;
    let addresses = (host(url), port).to_socket_addrs();
    let bound = addresses.and_then(|all| TcpListener::bind(&*all.collect::<Vec<_>>()));
    match bound {
        Ok(_) => Finding::fine(WHAT, format!("{url} is free to listen on")),
        Err(cause) if cause.kind() == ErrorKind::AddrInUse => taken(url, occupant::of_port(port)),
        Err(cause) if host(url).contains(':') => Finding::wrong(
            WHAT,
            format!("{url} cannot be listened on: {cause}"),
            "this machine may have no IPv6: listen on 127.0.0.1, an address it has, or 0.0.0.0",
        ),
        Err(cause) => Finding::wrong(
            WHAT,
            format!("{url} cannot be listened on: {cause}"),
            "listen on an address that this machine has, and a port the user may use",
        ),
    }
}

/// Somebody listens there: a store, as it should be, or another program.
fn taken(url: &str, by: Option<String>) -> Finding {
    let detail = format!("{url} is listened on already");
    match by {
        // As another user's, whose processes are not to be seen.
        None => Finding::fine(WHAT, format!("{detail} (by the store, if it runs)")),
        Some(by) if STORES.iter().any(|name| by.starts_with(name)) => {
            Finding::fine(WHAT, format!("{detail} by {by}"))
        }
        Some(by) => Finding::wrong(
            WHAT,
            format!("{detail} by {by}"),
            "stop that program, or choose another port",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn member(client: &str, peer: &str) -> Member {
        Member {
            client_ur_ls: vec![client.to_owned()],
            peer_ur_ls: vec![peer.to_owned()],
            ..Member::default()
        }
    }

    fn worst(members: &[Member]) -> State {
        let found = advertised(members);
        found.iter().map(|one| one.state).max().unwrap()
    }

    #[test]
    fn addresses_that_lead_nowhere_are_found() {
        let local = member("http://127.0.0.1:2379", "http://localhost:2380");
        let far = member("https://10.0.0.5:2379", "https://10.0.0.5:2380");
        let clear = member("http://10.0.0.6:2379", "https://10.0.0.6:2380");
        let nowhere = member("http://0.0.0.0:2379", "http://[::]:2380");
        assert_eq!(worst(std::slice::from_ref(&local)), State::Fine);
        assert_eq!(worst(&[local.clone(), local.clone()]), State::Fine);
        assert_eq!(worst(&[far.clone(), local]), State::Wrong);
        assert_eq!(worst(&[far, clear]), State::Warning);
        assert_eq!(worst(&[nowhere]), State::Wrong);
    }

    #[test]
    fn what_cannot_be_listened_on_is_said() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let found = listenable(&format!("http://127.0.0.1:{port}"));
        assert!(found.detail.contains("already by"), "{found}");
        assert_eq!(found.state, State::Wrong, "not by a store");
        for (by, state) in [
            (None, State::Fine),
            (Some("muster (process 7)"), State::Fine),
            (Some("etcd (process 7)"), State::Fine),
            (Some("etcd-proxy (process 7)"), State::Wrong),
        ] {
            assert_eq!(super::taken("u", by.map(str::to_owned)).state, state);
        }
        // TEST-NET-1 of RFC 5737: no machine's own.
        let strange = listenable("http://192.0.2.1:2379");
        assert_eq!(strange.state, State::Wrong);
        assert_eq!(listenable("http://localhost").state, State::Wrong);
    }
}
