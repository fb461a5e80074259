//! One record from one port and one place: its names, tags, weight and state. Knows nothing of layouts.

use registrator_catalog::instance::instance;
use registrator_catalog::layout::registrator_id;
use registrator_catalog::record::{self, Proto, Record, State};

use super::{Moment, Rules};
use crate::address::Place;
use crate::check::{Check, Terms};
use crate::container::{Container, Port};
use crate::gate::Policy;
use crate::labels::PortLabels;
use crate::template::Subject;

/// What the records of one container have in common.
pub(super) struct Draft<'a> {
    pub(super) container: &'a Container,
    pub(super) rules: &'a Rules,
    pub(super) subject: &'a Subject,
    pub(super) several: bool,
    pub(super) moment: Moment<'a>,
    /// What is done about checks.
    pub(super) policy: Policy,
}

impl Draft<'_> {
    /// The record of one place, and what changed its state or weight.
    pub(super) fn record(
        &self,
        port: Port,
        settings: &PortLabels,
        place: &Place,
    ) -> Result<(Record, Option<String>), String> {
        let (container, rules) = (self.container, self.rules);
        let number = match port.proto {
            Proto::Tcp => port.number.to_string(),
            other => format!("{}-{other}", port.number),
        };
        let mut port_name = settings.port_name.clone().unwrap_or(number);
        let default = || registrator_id(&rules.node, &container.name, port.number, port.proto);
        let mut id = settings.id.clone().unwrap_or_else(default);
        if place.further {
            port_name = format!("{port_name}-{}", place.port);
            id = format!("{id}-{}", place.port);
        }
        let mut name = settings
            .name
            .clone()
            .unwrap_or_else(|| default_name(container));
        if self.several && !settings.name_is_of_port && settings.port_name.is_none() {
            name = format!("{name}-{}", port.number);
        }
        let mut tags = settings.tags.clone();
        for text in &rules.tags {
            let tag = self
                .subject
                .render(text)
                .map_err(|why| format!("tag {text:?}: {why}"))?;
            if !tag.is_empty() && !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        if port.proto == Proto::Udp && !tags.iter().any(|tag| tag == "udp") {
            tags.push("udp".to_owned());
        }
        let (over, by) = rules.overrides.of(&rules.node, &container.name, &name);
        let mut state = self.moment.state.max(over.state.unwrap_or(State::Starting));
        let mut out = by.map(|target| {
            let reason = over.reason.as_ref().map(|text| format!(" ({text})"));
            format!(
                "{state} because of the override for {target}{}",
                reason.unwrap_or_default()
            )
        });
        if settings.maintenance {
            state = State::Maintenance;
            out = Some("in maintenance because of its label muster.maintenance".to_owned());
        }
        let compose = |key: &str| {
            let label = format!("com.docker.compose.{key}");
            container.labels.get(&label).cloned()
        };
        let record = Record {
            version: record::VERSION,
            instance: instance(&rules.node, &container.id, &port_name),
            id,
            name,
            node: rules.node.clone(),
            address: place.addresses[0],
            addresses: place.addresses.iter().copied().map(Into::into).collect(),
            port: place.port,
            proto: port.proto,
            port_name,
            weight: over
                .weight
                .or(settings.weight)
                .unwrap_or(record::WEIGHT_DEFAULT),
            priority: settings.priority.unwrap_or(record::PRIORITY_DEFAULT),
            state,
            health: None,
            tags,
            meta: settings.attributes.clone(),
            container: (!container.image.is_empty()).then(|| record::Container {
                id: container.id.clone(),
                name: container.name.clone(),
                image: container.image.clone(),
                port: port.number,
                project: compose("project"),
                service: compose("service"),
                started_at: container.started_at.clone(),
            }),
            updated_at: self.moment.updated_at.to_owned(),
        };
        Ok((record, out))
    }

    /// The check that the labels ask for.
    pub(super) fn check(
        &self,
        record: &Record,
        settings: &PortLabels,
        warnings: &mut Vec<String>,
    ) -> Option<Check> {
        if self.policy == Policy::Off {
            return None;
        }
        let terms = Terms::read(&settings.check, self.rules.scripts, warnings)?;
        Some(Check {
            instance: record.instance.clone(),
            id: record.id.clone(),
            container: self.container.id.clone(),
            started_nanos: self.container.started_nanos,
            at: std::net::SocketAddr::new(record.address, record.port),
            terms,
        })
    }

    /// Puts what the check says into the record; why there should be none, if so.
    pub(super) fn judge(&self, record: &mut Record, check: &Check) -> Option<String> {
        let name = check.terms.question.name();
        let finding = self.moment.findings.get(&check.instance);
        let state = finding.map_or(State::Starting, |finding| finding.state);
        // What takes it out further holds; of "not yet" and "up", "not yet".
        record.state = if record.state > State::Up || state > State::Up {
            record.state.max(state)
        } else {
            record.state.min(state)
        };
        if let Some(finding) = finding.filter(|finding| finding.state != State::Starting) {
            record.health = Some(record::Health {
                source: name.to_owned(),
                since: finding.since.clone(),
                output_hash: None,
            });
        }
        if self.policy == Policy::Mark {
            return None;
        }
        match state {
            State::Up => None,
            State::Down => {
                let why = finding
                    .map(|finding| finding.why.as_str())
                    .unwrap_or_default();
                Some(format!("its {name} check fails: {why}"))
            }
            _ => Some(format!("its {name} check has not passed yet")),
        }
    }
}

/// Upstream's default, the image's last path segment; an image given by its id has no name, so the
/// Compose service or the container's own name stands in (upstream registered a service `sha256`).
pub(super) fn default_name(container: &Container) -> String {
    let image = container.image.split('@').next().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let name = last.split(':').next().unwrap_or_default();
    let is_id = container.image.starts_with("sha256:")
        || (name.len() >= 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !is_id && !name.is_empty() {
        return name.to_owned();
    }
    let service = [
        "com.docker.compose.service",
        "com.docker.swarm.service.name",
    ];
    let mut service = service
        .iter()
        .filter_map(|label| container.labels.get(*label));
    service.next().unwrap_or(&container.name).clone()
}
