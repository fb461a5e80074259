//! [pure] Services that no container offers: systemd units, other hosts. A file lists them; each becomes something that
//! looks like a container with labels, so that rules, checks, layouts and the lease are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use registrator_catalog::record::Proto;
use serde::Deserialize;
use serde_yaml::Value;

use crate::container::{Container, NetworkMode, Port, Run, STOP_TIMEOUT_SECONDS_DEFAULT};
use crate::signal;

#[derive(Deserialize)]
struct File {
    services: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    name: String,
    address: IpAddr,
    port: u16,
    #[serde(default)]
    proto: Option<Proto>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    meta: BTreeMap<String, Value>,
    #[serde(default)]
    check: BTreeMap<String, Value>,
    #[serde(default)]
    weight: Option<u32>,
    #[serde(default)]
    priority: Option<u32>,
    #[serde(default)]
    maintenance: bool,
}

/// Reads a file of services; what is wrong with one of them leaves only that one out and is told.
///
/// # Errors
/// One line, when the file as a whole cannot be read.
pub fn read(text: &str) -> Result<(Vec<Container>, Vec<String>), String> {
    let file: File = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let mut found: BTreeMap<String, Container> = BTreeMap::new();
    let mut faults = Vec::new();
    for (number, value) in file.services.into_iter().enumerate() {
        let number = number + 1;
        match serde_yaml::from_value::<Service>(value) {
            Ok(service) if service.port == 0 => {
                faults.push(format!("service {number}: port 0 is none"));
            }
            Ok(service) => {
                let container = container(service);
                if let Some(twin) = found.insert(container.id.clone(), container) {
                    faults.push(format!(
                        "service {number}: {} is listed twice at this place",
                        twin.name
                    ));
                }
            }
            Err(error) => faults.push(format!("service {number}: {error}")),
        }
    }
    Ok((found.into_values().collect(), faults))
}

fn container(service: Service) -> Container {
    let proto = service.proto.unwrap_or(Proto::Tcp);
    let port = Port {
        number: service.port,
        proto,
    };
    let place = format!("{}\n{}\n{port}", service.name, service.address);
    let mut labels = BTreeMap::new();
    let mut say = |key: &str, value: String| labels.insert(format!("muster.{key}"), value);
    say("port", port.to_string());
    say(
        "address",
        match service.address {
            IpAddr::V4(v4) => format!("{v4}:{}", port.number),
            IpAddr::V6(v6) => format!("[{v6}]:{}", port.number),
        },
    );
    say("name", service.name.clone());
    if let Some(id) = service.id {
        say("id", id);
    }
    if !service.tags.is_empty() {
        let tags: Vec<String> = service
            .tags
            .iter()
            .map(|tag| tag.replace(',', "\\,"))
            .collect();
        say("tags", tags.join(","));
    }
    for (key, value) in service.meta {
        say(&format!("meta.{key}"), plain(&value));
    }
    for (key, value) in service.check {
        say(&format!("check.{key}"), plain(&value));
    }
    if let Some(weight) = service.weight {
        say("weight", weight.to_string());
    }
    if let Some(priority) = service.priority {
        say("priority", priority.to_string());
    }
    if service.maintenance {
        say("maintenance", "true".to_owned());
    }
    say("enable", "true".to_owned());
    Container {
        id: digest(&place),
        name: service.name,
        // Every container has one, so this says that there is none.
        image: String::new(),
        labels,
        env: Vec::new(),
        run: Run::Running,
        health: None,
        started_at: String::new(),
        started_nanos: None,
        exposed: BTreeSet::from([port]),
        published: BTreeMap::new(),
        network_mode: NetworkMode::Own,
        listening: None,
        networks: Vec::new(),
        stop_signal: signal::TERM,
        stop_timeout_seconds: STOP_TIMEOUT_SECONDS_DEFAULT,
    }
}

/// A YAML scalar as text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => number.to_string(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// 64 bits of a place as the id of what stands there: the same after every restart. FNV-1a with a finisher.
fn digest(place: &str) -> String {
    let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
    for byte in place.bytes() {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01B3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash ^= hash >> 33;
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use registrator_catalog::layout::{Kind, Layout};
    use registrator_catalog::record::State;

    use super::*;
    use crate::desired::{Outcome, Rules, evaluate};

    #[test]
    fn services_become_records_like_any_other() {
        let (found, faults) = read(concat!(
            "services:\n",
            "  - {name: db, address: 10.0.0.9, port: 5432, tags: ['a,b', c], meta: {tier: 1}, weight: 7}\n",
            "  - {name: dns, address: 'fd00::9', port: 53, proto: udp, id: one, check: {interval: 5s, tcp: true}}\n",
            "  - {name: db, address: nowhere, port: 1}\n",
            "  - {name: db, address: 10.0.0.9, port: 0}\n",
            "  - {name: db, address: 10.0.0.9, port: 1, colour: red}\n",
            "  - {name: db, address: 10.0.0.9, port: 5432}\n",
        ))
        .unwrap();
        assert_eq!((found.len(), faults.len()), (2, 4), "{faults:?}");
        assert!(
            faults[0].starts_with("service 3: ") && faults[3].ends_with("twice at this place"),
            "{faults:?}"
        );
        let rules = Rules::new("n", vec![Layout::new(Kind::Native, "s")]);
        let mut records = Vec::new();
        for container in &found {
            let evaluation = evaluate(container, &rules, State::Up, "now");
            assert_eq!(evaluation.warnings, [""; 0]);
            match &evaluation.verdicts[0].outcome {
                Outcome::Registered(record) => records.push((**record).clone()),
                // Its check has not been asked yet.
                Outcome::Skipped(why) => assert!(why.contains("has not passed yet"), "{why}"),
            }
        }
        let db = records.iter().find(|record| record.name == "db").unwrap();
        assert_eq!(
            (db.address.to_string().as_str(), db.port, db.weight),
            ("10.0.0.9", 5432, 100)
        );
        assert_eq!(db.container, None);
        assert!(read("services: 1").is_err() && read(": :").is_err());
    }
}
