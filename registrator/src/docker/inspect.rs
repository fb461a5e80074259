//! From the engine's own words to ours: inspections, list entries and events. Pure functions; the
//! engine's oddities of all versions are handled here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryStateEnum, EndpointSettings, EventMessage, EventMessageTypeEnum,
    HealthStatusEnum, PortBinding,
};
use registrator_catalog::timestamp;

use crate::agent::{Action, Event, Summary};
use crate::container::{
    Binding, Container, Health, Network, NetworkMode, Port, Run, STOP_TIMEOUT_SECONDS_DEFAULT,
};
use crate::signal;

/// An id that is one.
fn named(id: Option<String>) -> Option<String> {
    id.filter(|id| !id.is_empty())
}

/// Our view of an inspected container; `None` when the engine left out its id.
pub(super) fn container(answer: ContainerInspectResponse) -> Option<Container> {
    let config = answer.config.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let network = answer.network_settings.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let started_at = state
        .started_at
        .clone()
        .filter(|text| timestamp::parse_nanos(text).is_some())
        .unwrap_or_default();
    let mut published: BTreeMap<Port, Vec<Binding>> = BTreeMap::new();
    for (text, bindings) in network.ports.unwrap_or_default() {
        let bindings: BTreeSet<Binding> = bindings
            .unwrap_or_default()
            .iter()
            .filter_map(binding)
            .collect();
        if let (Some(port), false) = (Port::parse(&text), bindings.is_empty()) {
            published.insert(port, bindings.into_iter().collect());
        }
    }
    let stop_signal = config.stop_signal.as_deref().and_then(signal::number);
    let stop_timeout = config
        .stop_timeout
        .and_then(|seconds| u64::try_from(seconds).ok());
    Some(Container {
        id: named(answer.id)?,
        name: answer
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        image: config.image.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        env: config.env.unwrap_or_default(),
        run: run(&state),
        health: state.health.and_then(|health| result(health.status?)),
        started_nanos: timestamp::parse_nanos(&started_at),
        started_at,
        exposed: config
            .exposed_ports
            .unwrap_or_default()
            .iter()
            .filter_map(|text| Port::parse(text))
            .collect(),
        published,
        network_mode: match host.network_mode.as_deref() {
            Some("host") => NetworkMode::Host,
            Some("none") => NetworkMode::None,
            Some(mode) => match mode.strip_prefix("container:") {
                Some(owner) => NetworkMode::Container(owner.to_owned()),
                None => NetworkMode::Own,
            },
            None => NetworkMode::Own,
        },
        listening: None,
        networks: networks(network.networks.unwrap_or_default()),
        stop_signal: stop_signal.unwrap_or(signal::TERM),
        stop_timeout_seconds: stop_timeout.unwrap_or(STOP_TIMEOUT_SECONDS_DEFAULT),
    })
}

/// "Running" is true while a restart is awaited, so the status decides (engine docs, ContainerState).
fn run(state: &ContainerState) -> Run {
    if state.paused == Some(true) {
        return Run::Paused;
    }
    if state.restarting == Some(true) {
        return Run::Restarting;
    }
    match state.status {
        Some(ContainerStateStatusEnum::RUNNING) => Run::Running,
        Some(ContainerStateStatusEnum::PAUSED) => Run::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => Run::Restarting,
        None | Some(ContainerStateStatusEnum::EMPTY) if state.running == Some(true) => Run::Running,
        _ => Run::Stopped,
    }
}

fn result(status: HealthStatusEnum) -> Option<Health> {
    match status {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

fn binding(binding: &PortBinding) -> Option<Binding> {
    let port = binding
        .host_port
        .as_deref()?
        .parse()
        .ok()
        .filter(|port| *port > 0)?;
    let address = match binding.host_ip.as_deref() {
        // Engines before IPv6 bindings wrote nothing for "all addresses".
        None | Some("") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(text) => text.parse().ok()?,
    };
    Some(Binding { address, port })
}

/// The engine's own preference: highest gateway priority, then name (API 1.48).
fn networks(all: impl IntoIterator<Item = (String, EndpointSettings)>) -> Vec<Network> {
    let mut ranked: Vec<(i64, Network)> = all
        .into_iter()
        .map(|(name, endpoint)| {
            let network = Network {
                name,
                v4: endpoint.ip_address.and_then(|text| text.parse().ok()),
                v6: endpoint
                    .global_ipv6_address
                    .and_then(|text| text.parse().ok()),
            };
            (endpoint.gw_priority.unwrap_or(0), network)
        })
        .collect();
    ranked.sort_by(|(a_rank, a), (b_rank, b)| b_rank.cmp(a_rank).then(a.name.cmp(&b.name)));
    ranked.into_iter().map(|(_, network)| network).collect()
}

/// Our view of a list entry; `None` when the engine left out its id.
pub(super) fn summary(entry: ContainerSummary) -> Option<Summary> {
    let names = entry.names.unwrap_or_default();
    // Links add names with a second slash; the container's own has one.
    let own = names
        .iter()
        .find(|name| name.matches('/').count() == 1)
        .or(names.first());
    let ports: BTreeSet<String> = entry
        .ports
        .unwrap_or_default()
        .into_iter()
        .map(|port| {
            format!(
                "{}:{}->{}/{:?}",
                port.ip.unwrap_or_default(),
                port.public_port.unwrap_or(0),
                port.private_port,
                port.typ
            )
        })
        .collect();
    let attached = entry
        .network_settings
        .and_then(|settings| settings.networks);
    let networks: BTreeSet<String> = attached
        .unwrap_or_default()
        .into_iter()
        .map(|(name, endpoint)| {
            format!(
                "{name}={},{}",
                endpoint.ip_address.unwrap_or_default(),
                endpoint.global_ipv6_address.unwrap_or_default()
            )
        })
        .collect();
    // "Up 5 minutes (healthy)": the only place where lists of all engines tell of it.
    let status = entry.status.unwrap_or_default();
    let health = status.split_once('(').map_or("", |(_, health)| health);
    Some(Summary {
        id: named(entry.id)?,
        name: own
            .map(|name| name.trim_start_matches('/').to_owned())
            .unwrap_or_default(),
        running: entry.state == Some(ContainerSummaryStateEnum::RUNNING),
        shape: format!("{ports:?}{networks:?}{health}"),
    })
}

/// Our view of an event; `None` when it says nothing about a container's registration.
pub(super) fn event(message: EventMessage) -> Option<Event> {
    let actor = message.actor.unwrap_or_default();
    let attributes = actor.attributes.unwrap_or_default();
    let action = message.action?;
    let time_nanos = message
        .time_nano
        .unwrap_or_else(|| message.time.unwrap_or(0).saturating_mul(1_000_000_000));
    if message.typ == Some(EventMessageTypeEnum::NETWORK) {
        return Some(Event {
            time_nanos,
            id: named(attributes.get("container").cloned())?,
            action: match action.as_str() {
                "connect" | "disconnect" => Action::Update,
                _ => return None,
            },
        });
    }
    Some(Event {
        time_nanos,
        id: named(actor.id)?,
        action: match action.as_str() {
            "start" => Action::Start,
            // Podman wrote "died" for a while.
            "die" | "died" => match attributes
                .get("exitCode")
                .or(attributes.get("containerExitCode"))
            {
                Some(status) if failed(status) => Action::Fail,
                _ => Action::Die,
            },
            "stop" => Action::Stop,
            "kill" => Action::Kill {
                signal: attributes
                    .get("signal")
                    .and_then(|text| signal::number(text))?,
            },
            "pause" => Action::Pause,
            "unpause" => Action::Unpause,
            "rename" => Action::Rename,
            "update" => Action::Update,
            "destroy" | "remove" => Action::Destroy,
            // Docker writes the result behind it, Podman among the attributes.
            other if other.starts_with("health_status") => Action::Health,
            _ => return None,
        },
    })
}

/// Whether a status says that the process failed by itself: not zero, and not the 128 and more of one that a signal ended.
fn failed(status: &str) -> bool {
    matches!(status.trim().parse::<u8>(), Ok(1..=127))
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
