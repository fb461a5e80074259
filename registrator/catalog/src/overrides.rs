//! What a person says over the heads of all rules: take this container, service or node out, or change its share of
//! traffic. Kept in the store beside the registrations, so that it outlives containers and agents; whoever writes one
//! may hang it on a lease, and it ends by itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::State;
use crate::timestamp;

/// Where overrides stand.
pub const PREFIX: &str = "/muster/overrides/";

/// What an override is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A container by name, on one node: whatever container has that name.
    Container {
        /// Name of the node.
        node: String,
        /// Name of the container, without the leading slash.
        name: String,
    },
    /// A service, on all nodes.
    Service(String),
    /// All containers of a node.
    Node(String),
}

impl Target {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Container { node, name } => format!("{PREFIX}container/{node}/{name}"),
            Self::Service(name) => format!("{PREFIX}service/{name}"),
            Self::Node(name) => format!("{PREFIX}node/{name}"),
        }
    }

    /// The target of a key; `None` when it is none of these.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        let (kind, rest) = key.strip_prefix(PREFIX)?.split_once('/')?;
        match kind {
            "container" => {
                let (node, name) = rest.split_once('/')?;
                Some(Self::Container {
                    node: node.to_owned(),
                    name: name.to_owned(),
                })
            }
            "service" => Some(Self::Service(rest.to_owned())),
            "node" => Some(Self::Node(rest.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { node, name } => write!(f, "container {name} on {node}"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

/// What holds instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// [`State::Draining`] or [`State::Maintenance`]; absent leaves the state alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Share of traffic; absent leaves it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ends by itself, RFC 3339; for registries that end nothing. Absent: never, or with its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl Override {
    /// Its JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of texts and numbers always has one.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// All overrides there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<Target, Override>);

impl Overrides {
    /// Reads keys and values; what is no override is left out.
    #[must_use]
    pub fn read<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let read = |(key, value): (&str, &[u8])| {
            let target = Target::of_key(key)?;
            Some((target, serde_json::from_slice(value).ok()?))
        };
        Self(entries.into_iter().filter_map(read).collect())
    }

    /// Those that hold at a time, in milliseconds since 1970, and how many milliseconds later the next of them ends.
    #[must_use]
    pub fn at(mut self, now_ms: u64) -> (Self, Option<u64>) {
        let now_nanos = i64::try_from(now_ms)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000);
        let mut next: Option<u64> = None;
        self.0.retain(|_, over| {
            // A time that is none ends nothing: better drained for too long than not at all.
            let until = over.until.as_deref().and_then(timestamp::parse_nanos);
            let Some(until) = until else {
                return true;
            };
            let left_nanos = until.saturating_sub(now_nanos);
            let left_ms = u64::try_from(left_nanos).unwrap_or(0).div_ceil(1_000_000);
            if left_ms > 0 {
                next = Some(next.map_or(left_ms, |next| next.min(left_ms)));
            }
            left_ms > 0
        });
        (self, next)
    }

    /// What holds for a container's instance of a service: the weight of the narrowest override that names one, and the
    /// state that takes it out furthest. With it the target whose state that is.
    #[must_use]
    pub fn of(&self, node: &str, container: &str, service: &str) -> (Override, Option<&Target>) {
        let narrow_last = [
            Target::Node(node.to_owned()),
            Target::Service(service.to_owned()),
            Target::Container {
                node: node.to_owned(),
                name: container.to_owned(),
            },
        ];
        let mut sum = Override::default();
        let mut by = None;
        for target in &narrow_last {
            let Some((target, one)) = self.0.get_key_value(target) else {
                continue;
            };
            sum.weight = one.weight.or(sum.weight);
            if one.state > sum.state {
                sum.state = one.state;
                sum.reason.clone_from(&one.reason);
                by = Some(target);
            }
        }
        (sum, by)
    }

    /// Each target with its override, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Target, &Override)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_back_to_their_targets() {
        let container = Target::Container {
            node: "n1".into(),
            name: "shop-web-1".into(),
        };
        for target in [
            container,
            Target::Service("a/b".into()),
            Target::Node("n.x".into()),
        ] {
            assert_eq!(Target::of_key(&target.key()), Some(target));
        }
        for key in [
            "/muster/overrides/",
            "/muster/overrides/pod/x",
            "/services/a/b",
            "/muster/overrides/container/x",
        ] {
            assert_eq!(Target::of_key(key), None, "{key}");
        }
    }

    #[test]
    fn what_ends_ends() {
        let until = |seconds: u64| {
            let at = timestamp::format_millis(seconds * 1_000);
            format!(r#"{{"state":"draining","until":"{at}"}}"#).into_bytes()
        };
        let (soon, late) = (until(10), until(20));
        let said = [
            (
                "/muster/overrides/node/never",
                &br#"{"state":"draining"}"#[..],
            ),
            ("/muster/overrides/node/soon", &soon),
            ("/muster/overrides/node/late", &late),
            ("/muster/overrides/node/odd", br#"{"until":"some day"}"#),
        ];
        for (now_ms, count, next) in [
            (0, 4, Some(10_000)),
            (9_999, 4, Some(1)),
            (10_000, 3, Some(10_000)),
            (20_000, 2, None),
        ] {
            let (left, ends) = Overrides::read(said).at(now_ms);
            assert_eq!((left.iter().count(), ends), (count, next), "{now_ms}");
        }
    }

    #[test]
    fn the_narrowest_weight_and_the_furthest_state_hold() {
        let overrides = Overrides::read([
            (
                "/muster/overrides/node/n",
                &br#"{"state":"draining","reason":"reboot"}"#[..],
            ),
            ("/muster/overrides/service/web", br#"{"weight":10}"#),
            (
                "/muster/overrides/container/n/a",
                br#"{"weight":1,"state":"maintenance"}"#,
            ),
            ("/muster/overrides/container/n/b", b"no json"),
        ]);
        let of = |container, service| {
            let (sum, by) = overrides.of("n", container, service);
            (sum.state, sum.weight, by.map(ToString::to_string))
        };
        let node = Some("node n".to_owned());
        assert_eq!(
            of("a", "web"),
            (
                Some(State::Maintenance),
                Some(1),
                Some("container a on n".into())
            )
        );
        assert_eq!(
            of("b", "web"),
            (Some(State::Draining), Some(10), node.clone())
        );
        assert_eq!(of("b", "other"), (Some(State::Draining), None, node));
        assert_eq!(overrides.of("m", "a", "none"), (Override::default(), None));
    }
}
