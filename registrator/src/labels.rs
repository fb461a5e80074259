//! [pure] Names and metadata from `SERVICE_*` labels and environment, with the precedence of
//! gliderlabs registrator: labels beat the environment, a port's own key beats the general one.
//! Where upstream was surprising (`SERVICE_IGNORE=false` ignored the service) the value is read for
//! what it says and a warning tells so. Knows no ports of its own; it answers for the ones asked.

use std::collections::BTreeMap;

/// All `SERVICE_*` settings of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// `SERVICE_<KEY>`, keys in lower case.
    general: BTreeMap<String, String>,
    /// `SERVICE_<port>_<KEY>`.
    by_port: BTreeMap<u16, BTreeMap<String, String>>,
}

/// What the settings say about one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortLabels {
    /// `NAME`, when given.
    pub name: Option<String>,
    /// Whether the name came from a key of this very port; such a name gets no port suffix.
    pub name_is_of_port: bool,
    /// `ID`, when given.
    pub id: Option<String>,
    /// `TAGS`, split, in order.
    pub tags: Vec<String>,
    /// `IGNORE`.
    pub ignore: bool,
    /// Everything else.
    pub attributes: BTreeMap<String, String>,
    /// Settings that are right enough to go on but not what upstream would have done.
    pub warnings: Vec<String>,
}

const PREFIX: &str = "SERVICE_";

impl Labels {
    /// Collects the settings of a container.
    #[must_use]
    pub fn new(labels: &BTreeMap<String, String>, env: &[String]) -> Self {
        let mut found = Self::default();
        let env = env.iter().filter_map(|pair| pair.split_once('='));
        for (key, value) in env.chain(labels.iter().map(|(k, v)| (k.as_str(), v.as_str()))) {
            let Some(rest) = key.strip_prefix(PREFIX) else {
                continue;
            };
            let rest = rest.to_lowercase();
            match port_key(&rest) {
                Some((port, key)) => {
                    let keys = found.by_port.entry(port).or_default();
                    keys.insert(key.to_owned(), value.to_owned());
                }
                None if rest.is_empty() => {}
                None => {
                    found.general.insert(rest, value.to_owned());
                }
            }
        }
        found
    }

    /// Ports that have settings of their own.
    pub fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.by_port.keys().copied()
    }

    /// The settings that apply to `port`.
    #[must_use]
    pub fn of_port(&self, port: u16) -> PortLabels {
        let own = self.by_port.get(&port);
        let mut merged = self.general.clone();
        if let Some(own) = own {
            merged.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        let mut take = |key: &str| merged.remove(key).filter(|value| !value.is_empty());
        let mut labels = PortLabels {
            name: take("name"),
            name_is_of_port: own.is_some_and(|own| own.get("name").is_some_and(|n| !n.is_empty())),
            id: take("id"),
            tags: take("tags")
                .map(|text| split_tags(&text))
                .unwrap_or_default(),
            ..PortLabels::default()
        };
        if let Some(text) = take("ignore") {
            labels.ignore = match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" | "t" | "y" => true,
                "false" | "0" | "no" | "off" | "f" | "n" => {
                    labels.warnings.push(format!(
                        "SERVICE_IGNORE={text} keeps the service; registrator would have ignored it"
                    ));
                    false
                }
                _ => {
                    labels.warnings.push(format!(
                        "SERVICE_IGNORE={text} is no boolean; taken as true, as registrator does"
                    ));
                    true
                }
            };
        }
        labels.attributes = merged;
        labels
    }
}

/// `80_name` as (80, `name`).
fn port_key(rest: &str) -> Option<(u16, &str)> {
    let (digits, key) = rest.split_once('_')?;
    if key.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, key))
}

/// Splits at commas; `\,` is a comma inside a tag. Blanks around a tag and empty tags are dropped.
fn split_tags(text: &str) -> Vec<String> {
    let mut tags = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.peek() == Some(&',') => {
                chars.next();
                push(&mut tags, ',');
            }
            ',' => tags.push(String::new()),
            other => push(&mut tags, other),
        }
    }
    tags.iter()
        .map(|tag| tag.trim().to_owned())
        .filter(|tag| !tag.is_empty())
        .collect()
}

fn push(tags: &mut [String], char: char) {
    if let Some(last) = tags.last_mut() {
        last.push(char);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(labels: &[(&str, &str)], env: &[&str]) -> Labels {
        Labels::new(
            &labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            &env.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn precedence() {
        type Case<'a> = (
            &'a [(&'a str, &'a str)],
            &'a [&'a str],
            Option<&'a str>,
            bool,
        );
        let all: &[Case] = &[
            (&[], &[], None, false),
            (&[], &["SERVICE_NAME=env"], Some("env"), false),
            (
                &[("SERVICE_NAME", "label")],
                &["SERVICE_NAME=env"],
                Some("label"),
                false,
            ),
            (
                &[("SERVICE_NAME", "label")],
                &["SERVICE_80_NAME=port"],
                Some("port"),
                true,
            ),
            (
                &[("SERVICE_80_NAME", "port")],
                &["SERVICE_NAME=env"],
                Some("port"),
                true,
            ),
            (
                &[("SERVICE_80_NAME", "label")],
                &["SERVICE_80_NAME=env"],
                Some("label"),
                true,
            ),
            (&[("SERVICE_81_NAME", "other")], &[], None, false),
            (
                &[("SERVICE_80_NAME", "")],
                &["SERVICE_NAME=env"],
                None,
                false,
            ),
            (&[("service_name", "lower")], &[], None, false),
            (&[("SERVICE_Name", "mixed")], &[], Some("mixed"), false),
        ];
        for (label, env, name, own) in all {
            let got = labels(label, env).of_port(80);
            assert_eq!(
                (got.name.as_deref(), got.name_is_of_port),
                (*name, *own),
                "{label:?} {env:?}"
            );
        }
    }

    #[test]
    fn ignore_means_what_it_says() {
        for (text, ignore, warnings) in [
            ("true", true, 0),
            ("1", true, 0),
            ("Yes", true, 0),
            ("false", false, 1),
            ("0", false, 1),
            ("", false, 0),
            ("please", true, 1),
        ] {
            let got = labels(&[("SERVICE_IGNORE", text)], &[]).of_port(80);
            assert_eq!(
                (got.ignore, got.warnings.len()),
                (ignore, warnings),
                "{text:?}"
            );
        }
        let got = labels(
            &[("SERVICE_IGNORE", "true"), ("SERVICE_80_IGNORE", "false")],
            &[],
        );
        assert!(!got.of_port(80).ignore && got.of_port(81).ignore);
    }

    #[test]
    fn tags_split_at_commas_that_are_not_escaped() {
        for (text, want) in [
            ("a,b", vec!["a", "b"]),
            (" a , b ,", vec!["a", "b"]),
            (r"a\,b,c", vec!["a,b", "c"]),
            (r"a\b", vec![r"a\b"]),
            (r"\", vec![r"\"]),
            ("", vec![]),
            ("a=1;\"x\"\n,z", vec!["a=1;\"x\"", "z"]),
        ] {
            assert_eq!(
                labels(&[("SERVICE_TAGS", text)], &[]).of_port(80).tags,
                want,
                "{text:?}"
            );
        }
    }

    #[test]
    fn everything_else_is_an_attribute_of_the_ports_it_names() {
        let found = labels(
            &[
                ("SERVICE_REGION", "us2"),
                ("SERVICE_80_REGION", "us3"),
                ("SERVICE_", "x"),
            ],
            &[
                "SERVICE_80_CHECK_HTTP=/up",
                "SERVICE_99999_A=b",
                "SERVICE_80_=c",
                "OTHER=1",
                "SERVICE_X",
            ],
        );
        let of = |port| found.of_port(port).attributes;
        assert_eq!(of(80)["region"], "us3");
        assert_eq!(of(80)["check_http"], "/up");
        assert_eq!(of(81)["region"], "us2");
        assert!(!of(81).contains_key("check_http"));
        // Upstream treats a number that is no port as part of the name; so do we.
        assert_eq!(of(81)["99999_a"], "b");
        assert_eq!(found.ports().collect::<Vec<_>>(), [80]);
    }
}
