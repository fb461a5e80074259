//! [pure] Why is my container not there? Everything decided about one container: for every port the rule, the label it
//! came from, the keys, and what the store says about them. For people as text, for programs as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use registrator_catalog::record::same_apart_from_time;
use serde::Serialize;

use crate::desired::{Evaluation, Outcome};

/// What was decided about a container, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Its name.
    pub container: String,
    /// Its full id.
    pub id: String,
    /// Why none of its ports counts, if so.
    pub skipped: Option<String>,
    /// What is odd about its settings.
    pub warnings: Vec<String>,
    /// What failed last, until it succeeds.
    pub last_error: Option<String>,
    /// One entry per port and place.
    pub ports: Vec<PortExplanation>,
}

/// What was decided about a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortExplanation {
    /// The port inside the container, `80/tcp`.
    pub port: String,
    /// Name of the service, when it is registered.
    pub service: Option<String>,
    /// Where it is reached, when it is registered.
    pub address: Option<SocketAddr>,
    /// Its state, when it is registered.
    pub state: Option<String>,
    /// Why it is not registered, if so.
    pub skipped: Option<String>,
    /// What decided.
    pub because: Vec<String>,
    /// What is odd about its settings.
    pub warnings: Vec<String>,
    /// Its keys.
    pub keys: Vec<KeyExplanation>,
}

/// A key that should be in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyExplanation {
    /// The key.
    pub key: String,
    /// The value it should have.
    pub wanted: String,
    /// The value it has; `None` when it is not there.
    pub stored: Option<String>,
    /// Whether the two say the same.
    pub same: bool,
}

impl Explanation {
    /// Of the container called `name`, with the values the store holds.
    #[must_use]
    pub fn new(
        name: &str,
        id: &str,
        evaluation: &Evaluation,
        stored: &BTreeMap<String, Vec<u8>>,
    ) -> Self {
        let key = |key: &String| {
            let wanted = evaluation.wanted.get(key).cloned().unwrap_or_default();
            let stored = stored.get(key);
            KeyExplanation {
                key: key.clone(),
                same: stored.is_some_and(|stored| same_apart_from_time(stored, wanted.as_bytes())),
                stored: stored.map(|stored| String::from_utf8_lossy(stored).into_owned()),
                wanted,
            }
        };
        let ports = evaluation.verdicts.iter().map(|verdict| {
            let (record, skipped) = match &verdict.outcome {
                Outcome::Registered(record) => (Some(record), None),
                Outcome::Skipped(why) => (None, Some(why.clone())),
            };
            PortExplanation {
                port: verdict.port.to_string(),
                service: record.map(|record| record.name.clone()),
                address: record.map(|record| SocketAddr::new(record.address, record.port)),
                state: record.map(|record| record.state.to_string()),
                skipped,
                because: verdict.because.clone(),
                warnings: verdict.warnings.clone(),
                keys: verdict.keys.iter().map(key).collect(),
            }
        });
        Self {
            container: name.to_owned(),
            id: id.to_owned(),
            skipped: evaluation.skipped.clone(),
            warnings: evaluation.warnings.clone(),
            last_error: None,
            ports: ports.collect(),
        }
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "container {} ({})\n",
            self.container,
            self.id.get(..12).unwrap_or(&self.id)
        );
        // Writing to a string does not fail.
        let mut line = |indent: usize, words: &str| {
            let _ = writeln!(text, "{:indent$}{words}", "");
        };
        if let Some(why) = &self.skipped {
            line(2, &format!("not registered: {why}"));
        }
        for warning in &self.warnings {
            line(2, &format!("warning: {warning}"));
        }
        if let Some(error) = &self.last_error {
            line(2, &format!("last error: {error}"));
        }
        for port in &self.ports {
            match (&port.service, port.address, &port.state, &port.skipped) {
                (Some(service), Some(address), Some(state), _) => {
                    line(
                        2,
                        &format!("port {}: {service} at {address}, {state}", port.port),
                    );
                }
                (.., Some(why)) => line(2, &format!("port {}: not registered: {why}", port.port)),
                _ => line(2, &format!("port {}", port.port)),
            }
            for because in &port.because {
                line(4, because);
            }
            for warning in &port.warnings {
                line(4, &format!("warning: {warning}"));
            }
            for key in &port.keys {
                let state = match (&key.stored, key.same) {
                    (_, true) => "in the store",
                    (Some(_), false) => "has another value in the store",
                    (None, _) => "not in the store",
                };
                line(4, &format!("key {}: {state}", key.key));
                line(6, &key.wanted);
                if let (Some(stored), false) = (&key.stored, key.same) {
                    line(6, &format!("stored: {stored}"));
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use registrator_catalog::layout::{Kind, Layout};
    use registrator_catalog::record::State;

    use super::*;
    use crate::agent::tests::web;
    use crate::container::Port;
    use crate::desired::{Rules, evaluate};

    #[test]
    fn every_port_says_why() {
        let mut container = web("a", 0);
        container.exposed.insert(Port::parse("443").unwrap());
        container
            .labels
            .insert("SERVICE_443_IGNORE".into(), "1".into());
        container
            .labels
            .insert("SERVICE_80_NAME".into(), "front".into());
        let mut rules = Rules::new("n", vec![Layout::new(Kind::Registrator, "s")]);
        rules.internal = true;
        let evaluation = evaluate(&container, &rules, State::Up, "now");
        let stored = BTreeMap::from([("/s/front/n:a:80".to_owned(), b"10.0.0.9:80".to_vec())]);
        let explanation = Explanation::new("a", "a", &evaluation, &stored);
        assert_eq!(
            explanation.to_text(),
            "container a (a)\n\
             \x20 port 80/tcp: front at 10.0.0.97:80, up\n\
             \x20   name from SERVICE_80_NAME\n\
             \x20   address: its own address on network bridge\n\
             \x20   key /s/front/n:a:80: has another value in the store\n\
             \x20     10.0.0.97:80\n\
             \x20     stored: 10.0.0.9:80\n\
             \x20 port 443/tcp: not registered: SERVICE_443_IGNORE is set\n"
        );
        container.run = crate::container::Run::Paused;
        let evaluation = evaluate(&container, &rules, State::Up, "now");
        let explanation = Explanation::new("a", "a", &evaluation, &stored);
        assert_eq!(
            explanation.to_text(),
            "container a (a)\n  not registered: it is paused\n"
        );
    }
}
