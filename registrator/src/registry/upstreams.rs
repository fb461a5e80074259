//! [pure] Entries that gliderlabs registrator left behind, told by the ids it gave them: the name of the host, a colon,
//! the container, a colon, the port, and `:udp` where it is one. Knows no registry. An id that a label named cannot be
//! told from anybody's.

use crate::plan::Held;

/// Which entries of gliderlabs registrator are this node's.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams {
    /// The host's name in ids, with the colon behind it.
    host: String,
}

impl Upstreams {
    /// Those of the host that is called `node`.
    #[must_use]
    pub(crate) fn of(node: &str) -> Self {
        Self {
            host: format!("{node}:"),
        }
    }

    /// Whether it gave this id.
    pub(super) fn wrote(&self, id: &str) -> bool {
        let Some(rest) = id.strip_prefix(&self.host) else {
            return false;
        };
        let rest = rest.strip_suffix(":udp").unwrap_or(rest);
        rest.rsplit_once(':').is_some_and(|(container, port)| {
            let mut bytes = container.bytes();
            let first = bytes
                .next()
                .is_some_and(|byte| byte.is_ascii_alphanumeric());
            // What Docker takes as a name.
            let others = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
            first && others && port.parse::<u16>().is_ok()
        })
    }

    /// Whether it wrote a key with this value below one of `roots`: `<service>/<id>` with an address and a port.
    pub(super) fn wrote_key(&self, roots: &[String], key: &str, value: &[u8]) -> bool {
        let at = std::str::from_utf8(value).ok();
        let at = at.and_then(|text| text.parse::<std::net::SocketAddr>().ok());
        let below = roots
            .iter()
            .find_map(|root| key.strip_prefix(root.as_str()));
        let id = below.and_then(|below| below.split_once('/'));
        at.is_some() && id.is_some_and(|(_, id)| self.wrote(id))
    }

    /// Such an entry as what it is to the agent: one of its own, whose value is not what any container wants. So it is
    /// written again where a container has that id, and removed where none has.
    pub(super) fn held(mod_revision: i64) -> Held {
        Held {
            value: Vec::new(),
            mod_revision,
            leased: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_it_gave() {
        let upstreams = Upstreams::of("h1");
        for (id, wrote) in [
            ("h1:web:80", true),
            ("h1:web_1.a-b:53:udp", true),
            ("h2:web:80", false),
            ("h1:web", false),
            ("h1:-web:80", false),
            ("h1:web:http", false),
            ("h1:a:b:80", false),
            ("web", false),
        ] {
            assert_eq!(upstreams.wrote(id), wrote, "{id}");
        }
        let roots = ["/services/".to_owned()];
        for (key, value, wrote) in [
            ("/services/web/h1:web:80", "10.0.0.1:80", true),
            ("/services/web/h1:web:80", "{}", false),
            ("/other/web/h1:web:80", "10.0.0.1:80", false),
            ("/services/h1:web:80", "10.0.0.1:80", false),
        ] {
            let found = upstreams.wrote_key(&roots, key, value.as_bytes());
            assert_eq!(found, wrote, "{key} = {value}");
        }
    }
}
