//! The configuration file: etcd's YAML (or JSON), made into flags and their values.
//!
//! Its keys are the names of flags, but for TLS, which stands in two groups. Lists are written as lists or
//! as flags have them. Durations are numbers of nanoseconds there, as Go writes them; texts such as `5s`
//! are taken too.

use serde_yaml::{Mapping, Value};

use super::error::ConfigError;

/// Largest file that is read: far above any configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The groups about TLS, and what the names of their flags begin with.
const GROUPS: [(&str, &str); 2] = [
    ("client-transport-security", ""),
    ("peer-transport-security", "peer-"),
];

/// Names within a group, and the flags for clients and for peers they stand for, where they are not
/// formed as the others.
const IN_GROUP: [(&str, &str, &str); 7] = [
    (
        "allowed-cn",
        "client-cert-allowed-cn",
        "peer-cert-allowed-cn",
    ),
    (
        "allowed-cns",
        "client-cert-allowed-cn",
        "peer-cert-allowed-cn",
    ),
    (
        "allowed-hostname",
        "client-cert-allowed-hostname",
        "peer-cert-allowed-hostname",
    ),
    (
        "allowed-hostnames",
        "client-cert-allowed-hostname",
        "peer-cert-allowed-hostname",
    ),
    ("crl-file", "client-crl-file", "peer-crl-file"),
    ("ca-file", "trusted-ca-file", "peer-trusted-ca-file"),
    (
        "skip-client-san-verification",
        "skip-client-san-verification",
        "peer-skip-client-san-verification",
    ),
];

/// Settings that are durations; a whole number is one in nanoseconds.
const DURATIONS: [&str; 13] = [
    "compact-hash-check-time",
    "corrupt-check-time",
    "discovery-dial-timeout",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
    "discovery-request-timeout",
    "downgrade-check-time",
    "grpc-keepalive-interval",
    "grpc-keepalive-min-time",
    "grpc-keepalive-timeout",
    "warning-apply-duration",
    "warning-unary-request-duration",
    "watch-progress-notify-interval",
];

/// Flags and values, in the order of the file.
pub(super) fn settings(
    path: &str,
    warnings: &mut Vec<String>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let failed = |why: String| ConfigError::File {
        path: path.to_owned(),
        why,
    };
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if size.len() > FILE_BYTES_MAX {
        return Err(failed("it is larger than 1 MiB".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    read(&text, warnings).map_err(failed)
}

fn read(text: &str, warnings: &mut Vec<String>) -> Result<Vec<(String, String)>, String> {
    let document: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let mut settings = Vec::new();
    let document = match document {
        Value::Null => return Ok(settings),
        Value::Mapping(document) => document,
        _ => return Err("it must be a list of names and values".to_owned()),
    };
    for (name, value) in &document {
        let name = text_of_name(name)?;
        if let Some((_, prefix)) = GROUPS.iter().find(|(group, _)| *group == name) {
            match value {
                Value::Mapping(group) => group_settings(prefix, group, &mut settings)?,
                Value::Null => {}
                _ => return Err(format!("{name} must hold names and values")),
            }
        } else if let Some(value) = plain(name, value)? {
            settings.push((name.to_owned(), value));
        }
    }
    if settings.is_empty() {
        warnings.push("the configuration file says nothing".to_owned());
    }
    Ok(settings)
}

fn group_settings(
    prefix: &str,
    group: &Mapping,
    settings: &mut Vec<(String, String)>,
) -> Result<(), String> {
    for (name, value) in group {
        let name = text_of_name(name)?;
        let irregular = IN_GROUP.iter().find(|(within, ..)| *within == name);
        let flag = match (irregular, prefix) {
            (Some((_, client, _)), "") => (*client).to_owned(),
            (Some((.., peer)), _) => (*peer).to_owned(),
            (None, prefix) => format!("{prefix}{name}"),
        };
        if let Some(value) = plain(&flag, value)? {
            settings.push((flag, value));
        }
    }
    Ok(())
}

fn text_of_name(name: &Value) -> Result<&str, String> {
    name.as_str()
        .ok_or_else(|| format!("{name:?} is no name of a setting"))
}

fn is_duration(name: &str) -> bool {
    let stable = name.strip_prefix("experimental-").unwrap_or(name);
    DURATIONS.contains(&stable)
}

/// A value as a flag has it; `None` for one left empty.
fn plain(name: &str, value: &Value) -> Result<Option<String>, String> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) if is_duration(name) && number.as_f64() != Some(0.0) => {
            format!("{number}ns")
        }
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Sequence(list) => {
            let words = list.iter().map(|word| plain(name, word));
            let words: Vec<Option<String>> = words.collect::<Result<_, _>>()?;
            words.into_iter().flatten().collect::<Vec<_>>().join(",")
        }
        Value::Mapping(_) | Value::Tagged(_) => {
            return Err(format!("{name} must be a value, or a list of them"));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_values_groups_and_lists() {
        let text = "
name: n
data-dir: /var/lib/d
snapshot-count: 7
pre-vote: false
wal-dir:
grpc-keepalive-timeout: 5000000000
cipher-suites: [A, B]
client-transport-security:
  cert-file: c.pem
  client-cert-auth: true
peer-transport-security:
  trusted-ca-file: ca.pem
  allowed-cns: [a, b]
";
        let settings = read(text, &mut Vec::new()).unwrap();
        let wanted = [
            ("name", "n"),
            ("data-dir", "/var/lib/d"),
            ("snapshot-count", "7"),
            ("pre-vote", "false"),
            ("grpc-keepalive-timeout", "5000000000ns"),
            ("cipher-suites", "A,B"),
            ("cert-file", "c.pem"),
            ("client-cert-auth", "true"),
            ("peer-trusted-ca-file", "ca.pem"),
            ("peer-cert-allowed-cn", "a,b"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(settings, wanted);
        let json = read(r#"{"name": "n", "max-txn-ops": 3}"#, &mut Vec::new()).unwrap();
        assert_eq!(json.len(), 2);
        assert_eq!(read("", &mut Vec::new()), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for text in [
            "- a",
            "name: [",
            "name: {a: b}",
            "1: x",
            "client-transport-security: x",
        ] {
            assert!(read(text, &mut Vec::new()).is_err(), "{text}");
        }
    }
}
