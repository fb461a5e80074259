//! How a record becomes keys and values in the store: one pure function per layout, and the way
//! back for readers. A layout validates before it writes, because consumers often reject a whole
//! prefix for one bad entry.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::record::{Proto, Record, State};

/// Where and in which form records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    kind: Kind,
    /// Begins with a slash, does not end with one; may be empty for the root.
    prefix: String,
}

/// The known forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/<prefix>/<service>/<instance>` with the JSON record; keeps every state.
    Native,
    /// `/<prefix>/<service>/<host>:<container>:<port>[:udp]` with `ip:port`, as gliderlabs
    /// registrator writes it for etcd; holds only what is up.
    Registrator,
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Longest name of a service: long enough for every DNS name, short enough for a log line.
pub const NAME_BYTES_MAX: usize = 253;

impl Layout {
    /// A layout below `prefix`; slashes at its ends do not matter.
    #[must_use]
    pub fn new(kind: Kind, prefix: &str) -> Self {
        let inner = prefix.trim_matches('/');
        Self {
            kind,
            prefix: if inner.is_empty() {
                String::new()
            } else {
                format!("/{inner}")
            },
        }
    }

    /// Its form.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What every key begins with, ending in a slash.
    #[must_use]
    pub fn root(&self) -> String {
        format!("{}/", self.prefix)
    }

    /// The entries of `record`; none when its state has no place in this layout.
    ///
    /// # Errors
    /// When the record cannot be written so that every reader understands it.
    pub fn entries(&self, record: &Record) -> Result<Vec<Entry>, LayoutError> {
        check_segment("service name", &record.name, self.kind == Kind::Registrator)?;
        let entry = match self.kind {
            Kind::Native => {
                check_segment("instance", &record.instance, false)?;
                Entry {
                    key: format!("{}/{}/{}", self.prefix, record.name, record.instance),
                    value: record.to_json(),
                }
            }
            Kind::Registrator => {
                if record.state != State::Up {
                    return Ok(Vec::new());
                }
                check_segment("id", &record.id, false)?;
                Entry {
                    key: format!("{}/{}/{}", self.prefix, record.name, record.id),
                    value: SocketAddr::new(record.address, record.port).to_string(),
                }
            }
        };
        Ok(vec![entry])
    }

    /// Reads one entry of this layout back.
    ///
    /// # Errors
    /// When key or value do not belong to this layout.
    pub fn read(&self, key: &str, value: &[u8]) -> Result<Found, LayoutError> {
        let foreign = |what| LayoutError::Foreign {
            key: key.to_owned(),
            what,
        };
        let path = key
            .strip_prefix(self.prefix.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| foreign("the key lies outside the prefix"))?;
        let (name, id) = path
            .rsplit_once('/')
            .filter(|(name, id)| !name.is_empty() && !id.is_empty())
            .ok_or_else(|| foreign("the key does not end in <service>/<instance>"))?;
        match self.kind {
            Kind::Native => {
                let record = Record::from_json(value)
                    .map_err(|_| foreign("the value is no registration record"))?;
                if record.name != name || record.instance != id {
                    return Err(foreign("the record names another service or instance"));
                }
                Ok(Found {
                    name: record.name.clone(),
                    id: record.id.clone(),
                    address: record.address,
                    port: record.port,
                    record: Some(Box::new(record)),
                })
            }
            Kind::Registrator => {
                let address: SocketAddr = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| foreign("the value is no ip:port"))?;
                Ok(Found {
                    name: name.to_owned(),
                    id: id.to_owned(),
                    address: address.ip(),
                    port: address.port(),
                    record: None,
                })
            }
        }
    }
}

/// What a reader learns from one entry, whatever the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Name of the service.
    pub name: String,
    /// `SERVICE_ID` or `<host>:<container>:<port>[:udp]`.
    pub id: String,
    /// Where to reach it.
    pub address: IpAddr,
    /// At which port.
    pub port: u16,
    /// The whole record, where the layout carries it.
    pub record: Option<Box<Record>>,
}

/// The id gliderlabs registrator gives: `<host>:<container>:<port>`, with `:udp` for UDP.
#[must_use]
pub fn registrator_id(host: &str, container: &str, port: u16, proto: Proto) -> String {
    match proto {
        Proto::Tcp => format!("{host}:{container}:{port}"),
        other => format!("{host}:{container}:{port}:{other}"),
    }
}

fn check_segment(what: &'static str, text: &str, slashes: bool) -> Result<(), LayoutError> {
    let why = if text.is_empty() {
        "is empty"
    } else if text.len() > NAME_BYTES_MAX {
        "is longer than 253 bytes"
    } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "contains blanks or control characters"
    } else if text.contains('/')
        && (!slashes || text.starts_with('/') || text.ends_with('/') || text.contains("//"))
    {
        "contains a slash"
    } else {
        return Ok(());
    };
    Err(LayoutError::Segment {
        what,
        text: text.chars().take(80).collect(),
        why,
    })
}

/// A record that cannot be written, or an entry that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// A part of the key would not survive being one.
    Segment {
        /// Which part.
        what: &'static str,
        /// Its text, cut to 80 characters.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The entry does not belong to this layout.
    Foreign {
        /// Its key.
        key: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { what, text, why } => write!(f, "{what} {text:?} {why}"),
            Self::Foreign { key, what } => write!(f, "read entry {key:?}: {what}"),
        }
    }
}

impl std::error::Error for LayoutError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{any_record, example};
    use proptest::prelude::*;

    #[test]
    fn keys_and_values() {
        let record = example();
        let mut v6 = record.clone();
        v6.address = "fd00::5".parse().unwrap();
        v6.id = registrator_id("node-1", "web", 53, Proto::Udp);
        for (kind, prefix, record, key, value) in [
            (
                Kind::Native,
                "/services",
                &record,
                "/services/web/node-1-0123456789ab-80",
                None,
            ),
            (
                Kind::Native,
                "",
                &record,
                "/web/node-1-0123456789ab-80",
                None,
            ),
            (
                Kind::Registrator,
                "a/b/",
                &record,
                "/a/b/web/node-1:web:80",
                Some("10.0.0.5:32768"),
            ),
            (
                Kind::Registrator,
                "services",
                &v6,
                "/services/web/node-1:web:53:udp",
                Some("[fd00::5]:32768"),
            ),
        ] {
            let entries = Layout::new(kind, prefix).entries(record).unwrap();
            assert_eq!(entries.len(), 1);
            assert_eq!(entries[0].key, key);
            assert_eq!(
                entries[0].value,
                value.map_or_else(|| record.to_json(), str::to_owned)
            );
        }
    }

    #[test]
    fn only_native_keeps_what_is_not_up() {
        let mut record = example();
        for (state, registrator) in [
            (State::Up, 1),
            (State::Starting, 0),
            (State::Draining, 0),
            (State::Down, 0),
            (State::Maintenance, 0),
        ] {
            record.state = state;
            let count = |kind| Layout::new(kind, "p").entries(&record).unwrap().len();
            assert_eq!(
                (count(Kind::Native), count(Kind::Registrator)),
                (1, registrator),
                "{state}"
            );
        }
    }

    #[test]
    fn names_that_would_poison_a_prefix_are_refused() {
        for (name, native, registrator) in [
            ("web", true, true),
            ("a/b", false, true),
            ("/a", false, false),
            ("a//b", false, false),
            ("", false, false),
            ("a b", false, false),
            ("a\nb", false, false),
            ("é", true, true),
        ] {
            let mut record = example();
            record.name = name.to_owned();
            let ok = |kind| Layout::new(kind, "p").entries(&record).is_ok();
            assert_eq!(
                (ok(Kind::Native), ok(Kind::Registrator)),
                (native, registrator),
                "{name:?}"
            );
        }
    }

    #[test]
    fn foreign_entries_are_named() {
        let json = example().to_json();
        for (kind, key, value, what) in [
            (
                Kind::Native,
                "/else/web/i",
                "{}",
                "the key lies outside the prefix",
            ),
            (
                Kind::Native,
                "/p/web",
                "{}",
                "the key does not end in <service>/<instance>",
            ),
            (
                Kind::Native,
                "/p/web/i",
                "{}",
                "the value is no registration record",
            ),
            (
                Kind::Native,
                "/p/web/i",
                &json,
                "the record names another service or instance",
            ),
            (
                Kind::Registrator,
                "/p/web/i",
                "a:b",
                "the value is no ip:port",
            ),
        ] {
            let error = Layout::new(kind, "p")
                .read(key, value.as_bytes())
                .unwrap_err();
            assert!(error.to_string().ends_with(what), "{error}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again(record in any_record(), prefix in "[a-z/]{0,8}") {
            for kind in [Kind::Native, Kind::Registrator] {
                let layout = Layout::new(kind, &prefix);
                for entry in layout.entries(&record).unwrap() {
                    prop_assert!(entry.key.starts_with(&layout.root()));
                    let found = layout.read(&entry.key, entry.value.as_bytes()).unwrap();
                    prop_assert_eq!(&found.name, &record.name);
                    prop_assert_eq!(&found.id, &record.id);
                    prop_assert_eq!((found.address, found.port), (record.address, record.port));
                    if let Some(read) = found.record {
                        prop_assert_eq!(&*read, &record);
                    }
                }
            }
        }
    }
}
