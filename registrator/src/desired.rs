//! [pure] From a container to the records it should have: which ports count, and for each an address
//! and a port from one and the same source, so that the pair is always one somebody listens on.
//! Every port gets a verdict with its reason, because "why is my container not there?" is the most
//! frequent question. Knows no store, no clock; `agent` decides when to ask.

mod draft;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use registrator_catalog::layout::{Entry, Layout};
use registrator_catalog::overrides::Overrides;
use registrator_catalog::record::{Record, State};

pub use crate::address::{HostAddresses, Preference};
use crate::address::{Place, places};
use crate::check::{Check, Findings};
use crate::container::{Container, NetworkMode, Port, Run};
use crate::gate::Gate;
use crate::labels::{Labels, PortLabels};
use crate::own_layout::{self, OwnLayout};
use crate::scheme::{Scheme, Source};
use crate::template::{Filter, Subject};
use draft::Draft;

/// What holds for all containers of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Name of this host in records and ids.
    pub node: String,
    /// Register container addresses and container ports instead of published ones.
    pub internal: bool,
    /// The host's own addresses.
    pub host: HostAddresses,
    /// Which of several addresses is taken.
    pub preference: Preference,
    /// Where and how records are written. Never empty.
    pub layouts: Vec<Layout>,
    /// Layouts of the user's own, beside them.
    pub own_layouts: Vec<OwnLayout>,
    /// What a health check decides, unless a container's labels say otherwise.
    pub gate: Gate,
    /// Which containers count.
    pub admission: Admission,
    /// Tags of every instance; templates.
    pub tags: Vec<String>,
    /// Whether services are named as gliderlabs registrator names them: an ignored port still counts when it decides
    /// whether a container has several.
    pub upstream_names: bool,
    /// For how many milliseconds a container that failed stays registered; `None` is not at all.
    pub keep_failed_ms: Option<u64>,
    /// Whether checks may run scripts on the host.
    pub scripts: bool,
    /// What people said over the heads of all rules.
    pub overrides: Overrides,
}

impl Rules {
    /// Rules for a host called `node` that writes `layouts`, everything else as it is by default.
    #[must_use]
    pub fn new(node: &str, layouts: Vec<Layout>) -> Self {
        Self {
            node: node.to_owned(),
            internal: false,
            host: HostAddresses::default(),
            preference: Preference::default(),
            layouts,
            own_layouts: Vec::new(),
            gate: Gate::default(),
            admission: Admission::default(),
            tags: Vec::new(),
            upstream_names: false,
            keep_failed_ms: None,
            scripts: false,
            overrides: Overrides::default(),
        }
    }
}

/// Which containers count, and which of their ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Only containers with the label `muster.enable=true`.
    pub opt_in: bool,
    /// Only ports with a name somebody gave them.
    pub explicit: bool,
    /// Only containers this lets through.
    pub filter: Option<Filter>,
    /// Label whose value is the address of a container's services.
    pub address_label: Option<String>,
}

/// Everything decided about one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Keys and values that should be in the store.
    pub wanted: BTreeMap<String, String>,
    /// One verdict per port, in order.
    pub verdicts: Vec<Verdict>,
    /// Why no port was looked at, if so.
    pub skipped: Option<String>,
    /// What is odd about the container's settings.
    pub warnings: Vec<String>,
    /// The instances to be asked how they are.
    pub checks: Vec<Check>,
}

impl Evaluation {
    /// Whether a port is only left out because nothing listens on it yet.
    #[must_use]
    pub fn waits_for_listener(&self) -> bool {
        let waits =
            |outcome: &Outcome| matches!(outcome, Outcome::Skipped(why) if why == NOT_LISTENING);
        self.verdicts.iter().any(|verdict| waits(&verdict.outcome))
    }
}

/// What was decided about one port, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The port inside the container.
    pub port: Port,
    /// The decision.
    pub outcome: Outcome,
    /// What is odd about its settings.
    pub warnings: Vec<String>,
    /// The keys that come of it.
    pub keys: Vec<String>,
    /// What decided: where the name and the address come from, what keeps it out.
    pub because: Vec<String>,
}

/// A decision about a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is registered.
    Registered(Arc<Record>),
    /// It is not, for this reason.
    Skipped(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Registered(record) => {
                let at = std::net::SocketAddr::new(record.address, record.port);
                write!(f, "port {}: {} at {at}", self.port, record.name)
            }
            Outcome::Skipped(why) => write!(f, "port {}: skipped, {why}", self.port),
        }
    }
}

/// A port to decide about.
struct Candidate {
    port: Port,
    settings: PortLabels,
    places: Vec<Place>,
}

/// What goes into records beside the container itself.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// What the engine's health check makes of the container.
    pub state: State,
    /// What the agent's own checks say.
    pub findings: &'a Findings,
    /// The time, RFC 3339 with milliseconds.
    pub updated_at: &'a str,
}

/// Decides about every port of `container`, none of which has been asked how it is.
#[must_use]
pub fn evaluate(
    container: &Container,
    rules: &Rules,
    state: State,
    updated_at: &str,
) -> Evaluation {
    let findings = Findings::new();
    let moment = Moment {
        state,
        findings: &findings,
        updated_at,
    };
    evaluate_at(container, rules, moment)
}

/// Decides about every port of `container`.
#[must_use]
pub fn evaluate_at(container: &Container, rules: &Rules, moment: Moment<'_>) -> Evaluation {
    let mut evaluation = Evaluation::default();
    if let Some(why) = not_serving(container) {
        evaluation.skipped = Some(why);
        return evaluation;
    }
    let scheme = Scheme::new(&container.labels);
    evaluation.warnings.clone_from(&scheme.faults);
    let subject = Subject::new(container, &rules.node);
    if let Some(why) = not_admitted(&rules.admission, &scheme, &subject) {
        evaluation.skipped = Some(why);
        return evaluation;
    }
    let labels = Labels::new(&container.labels, &container.env);
    let ports = candidates(container, rules, &labels, &scheme);
    if ports.is_empty() {
        evaluation.skipped = Some("it exposes and publishes no port".to_owned());
        return evaluation;
    }
    let layouts = layouts(rules, &scheme, &mut evaluation.warnings);
    let mut eligible: Vec<Candidate> = Vec::new();
    let mut ignored = 0;
    for (name, port) in ports {
        let settings = scheme.apply(name.as_deref(), &subject, labels.of_port(port));
        let (settings, fault) = match settings {
            Ok(settings) => (settings, None),
            Err(why) => (labels.of_port(port), Some(why)),
        };
        ignored += usize::from(settings.ignore.is_some() && rules.upstream_names);
        let decided = match fault.map_or_else(|| left_out(&settings, &rules.admission), Some) {
            Some(why) => Err(why),
            None => places_of(container, port, &settings, rules, &labels),
        };
        match decided {
            Ok(places) => eligible.push(Candidate {
                port,
                settings,
                places,
            }),
            Err(why) => evaluation.verdicts.push(Verdict {
                port,
                outcome: Outcome::Skipped(why),
                warnings: settings.warnings,
                keys: Vec::new(),
                because: Vec::new(),
            }),
        }
    }
    let several = eligible.len() + ignored > 1;
    let draft = Draft {
        container,
        rules,
        subject: &subject,
        several,
        moment,
        policy: rules.gate.policy_of(container),
    };
    for candidate in eligible {
        for place in &candidate.places {
            let (verdict, check) =
                decide(&draft, &candidate, place, &layouts, &mut evaluation.wanted);
            evaluation.verdicts.push(verdict);
            evaluation.checks.extend(check);
        }
    }
    evaluation.verdicts.sort_by_key(|verdict| verdict.port);
    evaluation
}

fn decide(
    draft: &Draft<'_>,
    candidate: &Candidate,
    place: &Place,
    layouts: &Chosen<'_>,
    wanted: &mut BTreeMap<String, String>,
) -> (Verdict, Option<Check>) {
    let mut verdict = Verdict {
        port: candidate.port,
        outcome: Outcome::Skipped(String::new()),
        warnings: candidate.settings.warnings.clone(),
        keys: Vec::new(),
        because: vec![match &candidate.settings.name_origin {
            Some(origin) => format!("name from {origin}"),
            None => "name from the image, or from Compose where the image has none".to_owned(),
        }],
    };
    verdict.because.push(format!("address: {}", place.how));
    let (mut record, out) = match draft.record(candidate.port, &candidate.settings, place) {
        Ok(made) => made,
        Err(why) => {
            verdict.outcome = Outcome::Skipped(why);
            return (verdict, None);
        }
    };
    verdict.because.extend(out);
    let check = draft.check(&record, &candidate.settings, &mut verdict.warnings);
    if let Some(check) = &check
        && let Some(why) = draft.judge(&mut record, check)
    {
        verdict.outcome = Outcome::Skipped(why);
        return (verdict, Some(check.clone()));
    }
    verdict.outcome = match write(&record, layouts, wanted) {
        Ok((keys, faults)) => {
            verdict.warnings.extend(faults);
            verdict.keys = keys;
            Outcome::Registered(Arc::new(record))
        }
        Err(why) => Outcome::Skipped(why),
    };
    (verdict, check)
}

/// Why the container does not count, if so.
fn not_admitted(admission: &Admission, scheme: &Scheme, subject: &Subject) -> Option<String> {
    match scheme.enable {
        Some(false) => return Some("its label muster.enable says no".to_owned()),
        None if admission.opt_in => {
            let text = "it has no label muster.enable=true, which --opt-in asks for";
            return Some(text.to_owned());
        }
        Some(true) | None => {}
    }
    let filter = admission.filter.as_ref()?;
    match filter.passes(subject) {
        Ok(true) => None,
        Ok(false) => Some(format!(
            "the filter {} does not let it through",
            filter.text()
        )),
        Err(why) => Some(format!(
            "the filter {} cannot be asked: {why}",
            filter.text()
        )),
    }
}

/// Why a port does not count, if so.
fn left_out(settings: &PortLabels, admission: &Admission) -> Option<String> {
    if let Some(label) = &settings.ignore {
        return Some(format!("{label} is set"));
    }
    (admission.explicit && settings.name.is_none())
        .then(|| "nobody gave it a name, which --explicit asks for".to_owned())
}

/// The layouts a container is written in.
struct Chosen<'a> {
    layouts: Vec<&'a Layout>,
    own: &'a [OwnLayout],
}

/// The agent's layouts, or those among them that a label chose.
fn layouts<'a>(rules: &'a Rules, scheme: &Scheme, warnings: &mut Vec<String>) -> Chosen<'a> {
    let Some(names) = &scheme.layouts else {
        return Chosen {
            layouts: rules.layouts.iter().collect(),
            own: &rules.own_layouts,
        };
    };
    for name in names {
        let own = name == own_layout::NAME && !rules.own_layouts.is_empty();
        if !own && !rules.layouts.iter().any(|layout| layout.name() == name) {
            warnings.push(format!(
                "label muster.layout: the agent does not write {name}"
            ));
        }
    }
    let named = |wanted: &str| names.iter().any(|name| name == wanted);
    let chosen = rules.layouts.iter().filter(|layout| named(layout.name()));
    Chosen {
        layouts: chosen.collect(),
        own: if named(own_layout::NAME) {
            &rules.own_layouts
        } else {
            &[]
        },
    }
}

/// Why the container cannot serve at all, if so.
fn not_serving(container: &Container) -> Option<String> {
    match (container.run, &container.network_mode) {
        (Run::Stopped, _) => Some("it does not run".to_owned()),
        (Run::Restarting, _) => Some("it waits to be restarted".to_owned()),
        (Run::Paused, _) => Some("it is paused".to_owned()),
        (Run::Running, NetworkMode::None) => Some("it has no network".to_owned()),
        (Run::Running, NetworkMode::Container(owner)) => Some(format!(
            "it shares the network of container {owner}, which does not run"
        )),
        (Run::Running, NetworkMode::Own | NetworkMode::Host) => None,
    }
}

/// The ports to decide about, with their names where labels give some: those that labels of the scheme name, else the
/// declared, the published and those that a `SERVICE_<port>_` label names.
fn candidates(
    container: &Container,
    rules: &Rules,
    labels: &Labels,
    scheme: &Scheme,
) -> Vec<(Option<String>, Port)> {
    let named: Vec<(Option<String>, Port)> = scheme
        .ports()
        .map(|(name, port)| (name.map(str::to_owned), port))
        .collect();
    if !named.is_empty() {
        return named;
    }
    let mut ports: BTreeSet<Port> = container.exposed.clone();
    ports.extend(container.published.keys());
    // A label may name a port nobody declared: true in host mode and between containers, where any
    // listening port is reachable; a published port must be declared to be published.
    if rules.internal || container.network_mode == NetworkMode::Host {
        for port in labels.ports() {
            if !ports.iter().any(|known| known.number == port.number) {
                ports.insert(port);
            }
        }
    }
    ports.into_iter().map(|port| (None, port)).collect()
}

/// Ports that the container's labels name.
#[must_use]
pub fn labelled_ports(container: &Container) -> BTreeSet<Port> {
    let scheme = Scheme::new(&container.labels);
    let labels = Labels::new(&container.labels, &container.env);
    labels
        .ports()
        .chain(scheme.ports().map(|(_, port)| port))
        .collect()
}

/// Where a port can be reached, or why nowhere.
fn places_of(
    container: &Container,
    port: Port,
    settings: &PortLabels,
    rules: &Rules,
    labels: &Labels,
) -> Result<Vec<Place>, String> {
    let default = if rules.internal {
        Source::Container
    } else {
        Source::Host
    };
    if container.network_mode == NetworkMode::Host && settings.port_name.is_none() {
        let labelled = labels.ports().any(|own| own.number == port.number)
            || (container.exposed.len() == 1 && settings.name.is_some());
        let listens = container
            .listening
            .as_ref()
            .map(|found| found.contains(&port));
        match (labelled, listens) {
            (true, _) | (false, Some(true)) => {}
            (false, Some(false)) => return Err(NOT_LISTENING.to_owned()),
            (false, None) => {
                return Err(format!(
                    "it shares the host's network, and the agent cannot see whether it listens (label SERVICE_{}_NAME registers it)",
                    port.number
                ));
            }
        }
    }
    let source = settings.source.as_ref().unwrap_or(&default);
    let mut found = places(container, port, source, &rules.host, &rules.preference)?;
    let label = rules.admission.address_label.as_ref();
    if let Some(text) = label.and_then(|label| container.labels.get(label)) {
        // An address with a prefix length or a path behind it, as some tools write it.
        let address = text.split('/').next().unwrap_or_default().trim();
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("the label with its address says {text:?}, which is none"))?;
        for place in &mut found {
            place.addresses = vec![address];
            "the address its label says".clone_into(&mut place.how);
        }
    }
    Ok(found)
}

/// Said of a declared port in the host's network on which nothing listens yet.
pub const NOT_LISTENING: &str = "nothing of it listens in the host's network yet (a SERVICE_<port>_NAME label registers it all the same)";

/// Adds the record's entries to `wanted`, and returns their keys and which layouts could not take it, and why. A
/// record without a place in any of them, or whose key another port has, is refused.
fn write(
    record: &Record,
    chosen: &Chosen<'_>,
    wanted: &mut BTreeMap<String, String>,
) -> Result<(Vec<String>, Vec<String>), String> {
    let count = chosen.layouts.len() + chosen.own.len();
    let mut entries = Vec::with_capacity(count);
    let mut faults = Vec::new();
    let mut left_out = Vec::new();
    for layout in &chosen.layouts {
        let found = layout.entries(record).map_err(|error| error.to_string());
        match found.and_then(bounded) {
            Ok(found) => {
                entries.extend(found);
                left_out.extend(layout.left_out(record));
            }
            Err(why) if count == 1 => return Err(why),
            Err(why) => faults.push(format!("not below {}: {why}", layout.root())),
        }
    }
    for layout in chosen.own {
        match layout.entry(record).and_then(bounded) {
            Ok(found) => entries.extend(found),
            Err(why) => faults.push(format!("not below {}: {why}", layout.root())),
        }
    }
    if faults.len() == count {
        faults.extend((count == 0).then(|| "its label muster.layout leaves no layout".to_owned()));
        return Err(faults.join("; "));
    }
    if entries.is_empty() && record.state == State::Up {
        faults.push(format!("no layout has a place for {}", record.proto));
        return Err(faults.join("; "));
    }
    if let Some(taken) = entries.iter().find(|entry| wanted.contains_key(&entry.key)) {
        return Err(format!(
            "another port of this container has the key {}",
            taken.key
        ));
    }
    let keys = entries.iter().map(|entry| entry.key.clone()).collect();
    wanted.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
    faults.append(&mut left_out);
    Ok((keys, faults))
}

/// 128 KiB: the values of ten ports go into one request of etcd's, 1.5 MiB, and one into Consul's 512 KiB.
const VALUE_BYTES_MAX: usize = 128 << 10;

/// The entries, if no store would refuse them for their size.
fn bounded<E>(entries: E) -> Result<E, String>
where
    for<'a> &'a E: IntoIterator<Item = &'a Entry>,
{
    let longest = (&entries).into_iter().map(|entry| entry.value.len()).max();
    match longest {
        Some(bytes) if bytes > VALUE_BYTES_MAX => Err(format!(
            "its value would have {bytes} bytes, more than {VALUE_BYTES_MAX}"
        )),
        _ => Ok(entries),
    }
}

#[cfg(test)]
#[path = "desired_tests.rs"]
mod tests;
