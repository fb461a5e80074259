//! Services as Consul's agent takes them (`/v1/agent/service/register`), with the checks that the `SERVICE_CHECK_*`
//! attributes ask Consul for. The key is the id of the service, which is unique on one agent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Entry, Found, LayoutError, check_address};
use crate::record::{Record, WEIGHT_DEFAULT};

/// What Consul takes as meta data: a key is at most so long and has only letters, digits, dashes and underscores, a
/// value at most so long, and there are at most 64 pairs, of which the agent that writes takes two.
const META_KEY_BYTES_MAX: usize = 128;
const META_VALUE_BYTES_MAX: usize = 512;
const META_PAIRS_MAX: usize = 62;
/// Time between two looks of a check that says nothing else; gliderlabs registrator's default.
const INTERVAL_DEFAULT: &str = "10s";

/// A service, in the words and the order of Consul's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    tags: Vec<String>,
    address: String,
    port: u16,
    meta: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    enable_tag_override: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weights: Option<Weights>,
    checks: Vec<Check>,
}

/// Shares of traffic in answers to DNS questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u32,
    warning: u32,
}

/// A check that Consul's agent makes, in the words of its API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Check {
    #[serde(rename = "HTTP", skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(rename = "Method", skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(rename = "Args", skip_serializing_if = "Option::is_none")]
    args: Option<Vec<String>>,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    #[serde(rename = "TCP", skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    #[serde(rename = "GRPC", skip_serializing_if = "Option::is_none")]
    grpc: Option<String>,
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "std::ops::Not::not")]
    grpc_use_tls: bool,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "std::ops::Not::not")]
    tls_skip_verify: bool,
    #[serde(rename = "Interval", skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(rename = "Timeout", skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(rename = "Status", skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(
        rename = "DeregisterCriticalServiceAfter",
        skip_serializing_if = "Option::is_none"
    )]
    deregister_after: Option<String>,
}

/// One entry.
pub(super) fn entries(record: &Record) -> Result<Vec<Entry>, LayoutError> {
    super::check_segment("id", &record.id, false)?;
    check_address(record.address)?;
    let meta = record
        .meta
        .iter()
        .filter(|(key, value)| !is_of_check(key) && fits(key, value))
        .take(META_PAIRS_MAX)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    // Consul takes no weight of 0; what should have no traffic at all is not registered.
    let weight = record.weight.max(1);
    let service = Service {
        id: record.id.clone(),
        name: record.name.clone(),
        tags: record.tags.clone(),
        address: record.address.to_string(),
        port: record.port,
        meta,
        enable_tag_override: told(record, "enable_tag_override"),
        weights: (record.weight != WEIGHT_DEFAULT).then_some(Weights {
            passing: weight,
            warning: weight,
        }),
        checks: check(record).into_iter().collect(),
    };
    Ok(vec![Entry {
        key: record.id.clone(),
        // A struct of texts, numbers and maps with text keys always has a JSON form.
        value: serde_json::to_string(&service).unwrap_or_default(),
    }])
}

/// Attributes that Consul would not take, and why; they are left out.
pub(super) fn left_out(record: &Record) -> Vec<String> {
    let (fitting, unfit): (Vec<_>, Vec<_>) = record
        .meta
        .iter()
        .filter(|(key, _)| !is_of_check(key))
        .partition(|(key, value)| fits(key, value));
    let mut faults: Vec<String> = unfit
        .iter()
        .map(|(key, _)| {
            let key: String = key.chars().take(80).collect();
            format!("attribute {key:?}: Consul takes letters, digits, - and _, up to 128 bytes, and values up to 512")
        })
        .collect();
    if fitting.len() > META_PAIRS_MAX {
        let more = fitting.len() - META_PAIRS_MAX;
        faults.push(format!(
            "{more} attributes more than the {META_PAIRS_MAX} Consul has room for"
        ));
    }
    faults
}

/// Whether an attribute says something to Consul and nothing about the service.
fn is_of_check(key: &str) -> bool {
    key.starts_with("check_") || key == "enable_tag_override"
}

fn fits(key: &str, value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    key.len() <= META_KEY_BYTES_MAX
        && value.len() <= META_VALUE_BYTES_MAX
        && key.bytes().all(plain)
        // Kept for Consul itself.
        && !key.starts_with("consul-")
}

fn told(record: &Record, key: &str) -> bool {
    record
        .meta
        .get(key)
        .is_some_and(|text| text == "true" || text == "1")
}

/// The check that the attributes ask for; of several the first, in gliderlabs registrator's order.
fn check(record: &Record) -> Option<Check> {
    let attribute = |key: &str| {
        let value = record.meta.get(key).filter(|value| !value.is_empty());
        value.cloned()
    };
    let at = SocketAddr::new(record.address, record.port).to_string();
    let skip_verify = told(record, "check_tls_skip_verify");
    let mut check = if let Some(path) = attribute("check_http") {
        Check {
            http: Some(format!("http://{at}{path}")),
            method: attribute("check_http_method"),
            ..Check::default()
        }
    } else if let Some(path) = attribute("check_https") {
        Check {
            http: Some(format!("https://{at}{path}")),
            method: attribute("check_https_method"),
            tls_skip_verify: skip_verify,
            ..Check::default()
        }
    } else if let Some(command) = attribute("check_cmd") {
        let container = record.container.as_ref();
        let id = container.map_or("", |container| &container.id);
        let port = container.map_or(0, |container| container.port);
        Check {
            args: Some(vec![
                "check-cmd".to_owned(),
                id.chars().take(12).collect(),
                port.to_string(),
                command,
            ]),
            ..Check::default()
        }
    } else if let Some(script) = attribute("check_script") {
        let script = script
            .replace("$SERVICE_IP", &record.address.to_string())
            .replace("$SERVICE_PORT", &record.port.to_string());
        Check {
            args: Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), script]),
            ..Check::default()
        }
    } else if let Some(ttl) = attribute("check_ttl") {
        Check {
            ttl: Some(ttl),
            ..Check::default()
        }
    } else if attribute("check_tcp").is_some() {
        Check {
            tcp: Some(at),
            ..Check::default()
        }
    } else if attribute("check_grpc").is_some() {
        Check {
            grpc: Some(at),
            grpc_use_tls: told(record, "check_grpc_use_tls"),
            tls_skip_verify: skip_verify,
            ..Check::default()
        }
    } else {
        return None;
    };
    if check.ttl.is_none() {
        let interval = attribute("check_interval");
        check.interval = Some(interval.unwrap_or_else(|| INTERVAL_DEFAULT.to_owned()));
        check.timeout = attribute("check_timeout");
    }
    check.status = attribute("check_initial_status");
    check.deregister_after = attribute("check_deregister_after");
    Some(check)
}

/// Reads an entry back.
pub(super) fn read(key: &str, value: &[u8]) -> Option<Found> {
    let service: Service = serde_json::from_slice(value).ok()?;
    (service.id == key).then_some(())?;
    Some(Found {
        name: service.name,
        id: service.id,
        address: service.address.parse().ok()?,
        port: service.port,
        record: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Kind, Layout};
    use crate::record::tests::example;

    fn value(record: &Record) -> String {
        let layout = Layout::new(Kind::Consul, "");
        let mut entries = layout.entries(record).unwrap();
        assert_eq!(entries.len(), 1);
        let entry = entries.remove(0);
        let found = layout.read(&entry.key, entry.value.as_bytes()).unwrap();
        assert_eq!((found.id, found.port), (record.id.clone(), record.port));
        entry.value
    }

    #[test]
    fn a_service_without_checks() {
        assert_eq!(
            value(&example()),
            concat!(
                r#"{"ID":"node-1:web:80","Name":"web","Tags":["blue","a,b"],"Address":"10.0.0.5","#,
                r#""Port":32768,"Meta":{"region":"us2"},"Checks":[]}"#
            )
        );
    }

    #[test]
    fn every_kind_of_check() {
        for (attributes, want) in [
            (
                "check_http=/health check_timeout=2s",
                r#"{"HTTP":"http://10.0.0.5:32768/health","Interval":"10s","Timeout":"2s"}"#,
            ),
            (
                "check_http=/ check_http_method=HEAD check_interval=3s check_tcp=true",
                r#"{"HTTP":"http://10.0.0.5:32768/","Method":"HEAD","Interval":"3s"}"#,
            ),
            (
                "check_https=/ check_tls_skip_verify=true check_initial_status=passing",
                r#"{"HTTP":"https://10.0.0.5:32768/","TLSSkipVerify":true,"Interval":"10s","Status":"passing"}"#,
            ),
            (
                "check_cmd=/bin/look",
                r#"{"Args":["check-cmd","0123456789ab","80","/bin/look"],"Interval":"10s"}"#,
            ),
            (
                "check_script=nc,$SERVICE_IP,$SERVICE_PORT",
                r#"{"Args":["/bin/sh","-c","nc,10.0.0.5,32768"],"Interval":"10s"}"#,
            ),
            (
                "check_ttl=30s check_interval=5s check_deregister_after=2m",
                r#"{"TTL":"30s","DeregisterCriticalServiceAfter":"2m"}"#,
            ),
            (
                "check_tcp=true",
                r#"{"TCP":"10.0.0.5:32768","Interval":"10s"}"#,
            ),
            (
                "check_grpc=true check_grpc_use_tls=true",
                r#"{"GRPC":"10.0.0.5:32768","GRPCUseTLS":true,"Interval":"10s"}"#,
            ),
            ("check_interval=5s", ""),
        ] {
            let mut record = example();
            record.meta = attributes
                .split(' ')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            let value = value(&record);
            let tail = format!(r#""Meta":{{}},"Checks":[{want}]}}"#);
            assert!(value.ends_with(&tail), "{attributes}: {value}");
        }
    }

    #[test]
    fn what_consul_would_refuse_is_left_out() {
        let mut record = example();
        record.address = "fd00::5".parse().unwrap();
        record.weight = 0;
        record.meta = BTreeMap::from([
            ("check_http".into(), "/".into()),
            ("good".into(), "1".into()),
            ("with.dot".into(), "1".into()),
            ("long".into(), "x".repeat(513)),
        ]);
        let value = value(&record);
        assert!(value.contains(r#""Meta":{"good":"1"}"#), "{value}");
        assert!(
            value.contains(r#""Weights":{"Passing":1,"Warning":1}"#),
            "{value}"
        );
        assert!(
            value.contains(r#""HTTP":"http://[fd00::5]:32768/""#),
            "{value}"
        );
        let faults = Layout::new(Kind::Consul, "").left_out(&record);
        assert_eq!(faults.len(), 2, "{faults:?}");
        record.meta = (0..70).map(|n| (format!("k{n}"), String::new())).collect();
        let faults = Layout::new(Kind::Consul, "").left_out(&record);
        assert_eq!(
            faults,
            ["8 attributes more than the 62 Consul has room for"]
        );
    }
}
