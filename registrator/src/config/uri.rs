//! The registry as gliderlabs registrator names it: one URI for where, how and below what. Knows which keys each scheme
//! means; never connects.

use registrator_catalog::layout::{Kind, Layout};
use store_client::endpoint::Endpoint;

use super::ConfigError;

/// What a URI says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registry {
    /// Members of the store.
    pub(super) endpoints: Vec<Endpoint>,
    /// The one layout upstream would have written.
    pub(super) layout: Layout,
}

/// Reads `scheme://host:port/path`; several hosts with commas.
pub(super) fn parse(text: &str) -> Result<Registry, ConfigError> {
    let wrong = |want| ConfigError::Value {
        name: "registry",
        text: text.to_owned(),
        want,
    };
    let want = "a registry such as etcd://127.0.0.1:2379/services";
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(want))?;
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (tls, layout) = match scheme {
        "etcd" | "etcdv3" => (false, Layout::new(Kind::Registrator, path)),
        "etcds" | "etcd-tls" => (true, Layout::new(Kind::Registrator, path)),
        "skydns2" => (false, Layout::parse(&format!("skydns={path}"), "")?),
        "consul" | "consul-unix" | "consul-tls" | "consulkv" | "consulkv-unix" | "zookeeper" => {
            return Err(wrong(
                "a registry this agent can write: etcd://, etcdv3:// or skydns2://",
            ));
        }
        _ => return Err(wrong("of a known kind: etcd://, etcdv3:// or skydns2://")),
    };
    let hosts = if hosts.is_empty() {
        "127.0.0.1:2379"
    } else {
        hosts
    };
    let scheme = if tls { "https://" } else { "http://" };
    let endpoints = hosts
        .split(',')
        .filter(|host| !host.is_empty())
        .map(|host| Endpoint::parse(&format!("{scheme}{host}")))
        .collect::<Result<_, _>>()?;
    Ok(Registry { endpoints, layout })
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
            let at: Vec<String> = got.endpoints.iter().map(ToString::to_string).collect();
            assert_eq!(
                (at.join(" ").as_str(), got.layout.root().as_str()),
                (endpoints, root),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        for (text, part) in [
            ("skydns2://h1:2379", "is no DNS name"),
            ("redis://h1", "of a known kind"),
            ("consul://h1", "can write"),
            ("etcd://h1:x/p", "the port is not a number"),
            ("nothing", "is not a registry"),
        ] {
            let why = parse(text).unwrap_err().to_string();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
