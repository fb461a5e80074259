//! What is wrong with labels: of a container, or of every service in a Compose file.

use std::collections::BTreeMap;

use registrator_catalog::instance::is_label;
use serde_json::json;
use serde_yaml::Value;

use super::look::Look;
use super::show::print;
use super::{DONE, Done, FAILED};
use crate::config::Config;
use crate::container::Port;
use crate::labels::Labels;
use crate::scheme::Scheme;

/// Faults of labels and environment.
fn faults(labels: &BTreeMap<String, String>, env: &[String], ports: &[Port]) -> Vec<String> {
    let scheme = Scheme::new(labels);
    let mut faults = scheme.faults.clone();
    for label in labels.keys().filter(|label| {
        label.to_uppercase().starts_with("SERVICE_") && !label.starts_with("SERVICE_")
    }) {
        faults.push(format!(
            "label {label}: only the upper-case prefix SERVICE_ is read"
        ));
    }
    let settings = Labels::new(labels, env);
    let mut all: Vec<Port> = ports.to_vec();
    all.extend(settings.ports());
    all.extend(scheme.ports().map(|(_, port)| port));
    all.sort();
    all.dedup();
    for port in all {
        let own = settings.of_port(port);
        faults.extend(
            own.warnings
                .iter()
                .map(|warning| format!("port {port}: {warning}")),
        );
        if let Some(name) = own.name.filter(|name| !is_label(name)) {
            faults.push(format!("port {port}: the name {name:?} is no host name; SkyDNS and Traefik get another spelling"));
        }
    }
    faults
}

fn report(found: &BTreeMap<String, Vec<String>>, json: bool) -> u8 {
    let mut text = String::new();
    for (service, faults) in found {
        for fault in faults {
            text.push_str(&format!("{service}: {fault}\n"));
        }
    }
    let clean = found.values().all(Vec::is_empty);
    if clean {
        text.push_str("nothing is wrong\n");
    }
    print(json, &json!(found), &text);
    if clean { DONE } else { FAILED }
}

/// Lints a container's labels.
pub(super) async fn container(config: &Config, name: &str, json: bool) -> Done {
    let (look, container) = Look::of(config, name).await?;
    let ports: Vec<Port> = container
        .exposed
        .iter()
        .chain(container.published.keys())
        .copied()
        .collect();
    let mut faults = faults(&container.labels, &container.env, &ports);
    for verdict in look.decide(&container).verdicts {
        let known = faults.join("\n");
        let new = verdict
            .warnings
            .iter()
            .filter(|warning| !known.contains(*warning));
        let new: Vec<String> = new
            .map(|warning| format!("port {}: {warning}", verdict.port))
            .collect();
        faults.extend(new);
    }
    Ok(report(&BTreeMap::from([(container.name, faults)]), json))
}

/// Lints a Compose file.
pub(super) fn file(path: &str, json: bool) -> Done {
    let text = std::fs::read_to_string(path).map_err(|error| format!("read {path}: {error}"))?;
    compose(&text)
        .map(|found| report(&found, json))
        .map_err(|why| format!("{path}: {why}"))
}

/// Faults by service of a Compose file.
fn compose(text: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let file: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let services = file
        .get("services")
        .and_then(Value::as_mapping)
        .ok_or("it has no services")?;
    let mut found = BTreeMap::new();
    for (name, service) in services {
        let name = plain(name).unwrap_or_default();
        let labels = pairs(service.get("labels"));
        let env: Vec<String> = pairs(service.get("environment"))
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let ports: Vec<Port> = listed(service.get("expose"))
            .iter()
            .filter_map(|text| Port::parse(text))
            .collect();
        found.insert(name, faults(&labels, &env, &ports));
    }
    Ok(found)
}

/// A mapping, or a list of `name=value`.
fn pairs(value: Option<&Value>) -> BTreeMap<String, String> {
    match value {
        Some(Value::Mapping(map)) => map
            .iter()
            .filter_map(|(key, value)| Some((plain(key)?, plain(value).unwrap_or_default())))
            .collect(),
        other => listed(other)
            .iter()
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    }
}

fn listed(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_sequence);
    items.into_iter().flatten().filter_map(plain).collect()
}

/// A text, number or boolean as Compose reads it.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compose_file() {
        let found = compose(concat!(
            "services:\n",
            "  good:\n    image: x\n    labels:\n      muster.name: web\n      SERVICE_80_NAME: web\n",
            "  listed:\n    labels: [\"muster.nmae=x\", \"muster.weight=900000\"]\n",
            "  old:\n    expose: [80]\n    environment:\n      SERVICE_IGNORE: false\n      SERVICE_NAME: My_Web\n",
            "    labels:\n      service_name: x\n",
        ))
        .unwrap();
        assert_eq!(found["good"], [""; 0]);
        assert_eq!(
            found["listed"],
            [
                "label muster.nmae: is unknown; did you mean name?",
                "label muster.weight: \"900000\" is not a number from 0 to 65535"
            ]
        );
        assert_eq!(
            found["old"],
            [
                "label service_name: only the upper-case prefix SERVICE_ is read",
                "port 80/tcp: SERVICE_IGNORE=false keeps the service; registrator would have ignored it",
                "port 80/tcp: the name \"My_Web\" is no host name; SkyDNS and Traefik get another spelling",
            ]
        );
        assert!(compose("a: 1").is_err() && compose(": :").is_err());
    }
}
