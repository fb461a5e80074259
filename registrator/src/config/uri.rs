//! The registry as gliderlabs registrator names it: one URI for where, how and below what. Knows which keys each scheme
//! means; never connects.

use std::path::PathBuf;

use registrator_catalog::layout::{Kind, Layout};
use store_client::endpoint::Endpoint;
use store_transport::dial::{Place, Target};

use super::ConfigError;

/// What a URI says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registry {
    /// Where, and what is spoken there.
    pub(super) at: At,
    /// The one layout upstream would have written.
    pub(super) layout: Layout,
}

/// Where a registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Members of a store that speaks etcd's protocol.
    Etcd(Vec<Endpoint>),
    /// A Consul agent that keeps services.
    Consul(Target),
    /// A Consul agent whose key-value store is meant.
    ConsulKv(Target),
    /// Servers of ZooKeeper, as its own clients take them: `host:port`, with commas.
    ZooKeeper(String),
}

/// Reads `scheme://host:port/path`; several hosts with commas where the registry has members.
pub(super) fn parse(text: &str) -> Result<Registry, ConfigError> {
    let wrong = |want| ConfigError::Value {
        name: "registry",
        text: text.to_owned(),
        want,
    };
    let want = "a registry such as etcd://127.0.0.1:2379/services";
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(want))?;
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let consul = |secure| {
        let target = consul(hosts, secure);
        target.ok_or_else(|| wrong("with a host and a port, such as consul://127.0.0.1:8500"))
    };
    let (at, layout) = match scheme {
        "etcd" | "etcdv3" => {
            let layout = Layout::new(Kind::Registrator, path);
            (At::Etcd(endpoints(hosts, "http://")?), layout)
        }
        "etcds" | "etcd-tls" => {
            let layout = Layout::new(Kind::Registrator, path);
            (At::Etcd(endpoints(hosts, "https://")?), layout)
        }
        "skydns2" => {
            let layout = Layout::parse(&format!("skydns={path}"), "")?;
            (At::Etcd(endpoints(hosts, "http://")?), layout)
        }
        "consul" => (At::Consul(consul(false)?), Layout::new(Kind::Consul, "")),
        "consul-tls" => (At::Consul(consul(true)?), Layout::new(Kind::Consul, "")),
        "consul-unix" => (At::Consul(socket(rest)), Layout::new(Kind::Consul, "")),
        "consulkv" => {
            let layout = Layout::new(Kind::Registrator, path);
            (At::ConsulKv(consul(false)?), layout)
        }
        "consulkv-tls" => {
            let layout = Layout::new(Kind::Registrator, path);
            (At::ConsulKv(consul(true)?), layout)
        }
        "consulkv-unix" => {
            // Upstream's: the path of the socket, a colon, the prefix.
            let (file, prefix) = rest.split_once(':').unwrap_or((rest, ""));
            let layout = Layout::new(Kind::Registrator, prefix);
            (At::ConsulKv(socket(file)), layout)
        }
        "zookeeper" => {
            let hosts = if hosts.is_empty() {
                "127.0.0.1:2181"
            } else {
                hosts
            };
            let layout = Layout::new(Kind::ZooKeeper, path);
            (At::ZooKeeper(hosts.to_owned()), layout)
        }
        "zookeeper-tls" | "zookeepers" => {
            return Err(wrong(
                "zookeeper://: ZooKeeper is spoken to without TLS, so put a tunnel in front of it",
            ));
        }
        _ => {
            return Err(wrong(
                "of a known kind: etcd://, etcdv3://, skydns2://, consul://, consulkv:// or zookeeper://",
            ));
        }
    };
    Ok(Registry { at, layout })
}

fn endpoints(hosts: &str, scheme: &str) -> Result<Vec<Endpoint>, ConfigError> {
    let hosts = if hosts.is_empty() {
        "127.0.0.1:2379"
    } else {
        hosts
    };
    let hosts = hosts.split(',').filter(|host| !host.is_empty());
    Ok(hosts
        .map(|host| Endpoint::parse(&format!("{scheme}{host}")))
        .collect::<Result<_, _>>()?)
}

/// Consul's own port where none is named.
fn consul(host: &str, secure: bool) -> Option<Target> {
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let port = if secure { 8501 } else { 8500 };
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, last)| !last.ends_with(']'));
    let host = if has_port {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    };
    let mut target = Target::parse(&host).ok()?;
    target.secure = Some(secure);
    Some(target)
}

fn socket(path: &str) -> Target {
    Target {
        secure: Some(false),
        place: Place::File(PathBuf::from(path)),
        authority: "localhost".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme() {
        for (text, endpoints, root) in [
            ("etcd://h1:2379/services", "http://h1:2379", "/services/"),
            ("etcd://h1", "http://h1:2379", "/"),
            ("etcd:///p", "http://127.0.0.1:2379", "/p/"),
            (
                "etcdv3://h1:1,[fd00::5]:2/a/b/",
                "http://h1:1 http://[fd00::5]:2",
                "/a/b/",
            ),
            ("etcd-tls://h1/p", "https://h1:2379", "/p/"),
            (
                "skydns2://h1:2379/cluster.local",
                "http://h1:2379",
                "/skydns/local/cluster/",
            ),
        ] {
            let got = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let At::Etcd(at) = &got.at else {
                panic!("{text}: {got:?}")
            };
            let at: Vec<String> = at.iter().map(ToString::to_string).collect();
            assert_eq!(
                (at.join(" ").as_str(), got.layout.root().as_str()),
                (endpoints, root),
                "{text}"
            );
        }
    }

    #[test]
    fn other_registries() {
        for (text, want) in [
            ("consul://", "consul 127.0.0.1:8500 plain, "),
            ("consul://h1", "consul h1:8500 plain, "),
            ("consul-tls://[fd00::1]", "consul [fd00::1]:8501 tls, "),
            ("consul-unix:///run/c.sock", "consul /run/c.sock plain, "),
            ("consulkv://h1:1/a/b", "keys h1:1 plain, /a/b/"),
            ("consulkv://h1", "keys h1:8500 plain, /"),
            (
                "consulkv-unix:///run/c.sock:/a",
                "keys /run/c.sock plain, /a/",
            ),
            ("zookeeper://h1:1,h2:2/base", "nodes h1:1,h2:2, /base/"),
            (
                "zookeeper:///base/more",
                "nodes 127.0.0.1:2181, /base/more/",
            ),
        ] {
            let got = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let place = |target: &Target| {
                let how = if target.secure == Some(true) {
                    "tls"
                } else {
                    "plain"
                };
                match &target.place {
                    Place::Host(..) => format!("{} {how}", target.authority),
                    Place::File(path) => format!("{} {how}", path.display()),
                }
            };
            let at = match &got.at {
                At::Etcd(_) => "etcd".to_owned(),
                At::Consul(target) => format!("consul {}", place(target)),
                At::ConsulKv(target) => format!("keys {}", place(target)),
                At::ZooKeeper(hosts) => format!("nodes {hosts}"),
            };
            assert_eq!(format!("{at}, {}", got.layout.root()), want, "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        for (text, part) in [
            ("skydns2://h1:2379", "is no DNS name"),
            ("redis://h1", "of a known kind"),
            ("zookeeper-tls://h1", "put a tunnel in front of it"),
            ("consul://h1:x", "with a host and a port"),
            ("etcd://h1:x/p", "the port is not a number"),
            ("nothing", "is not a registry"),
        ] {
            let why = parse(text).unwrap_err().to_string();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
