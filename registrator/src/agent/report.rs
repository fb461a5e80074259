//! The picture of the agent for people.

use std::sync::Arc;

use super::Agent;
use super::damping::Damping;
use super::decided::Ruled;
use super::tracked::Tracked;
use crate::explain::Explanation;
use crate::status::{Fault, Instance, Link, Skipped, Status};

impl Agent {
    /// A picture of everything; takes time in the order of the number of containers.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut status = Status {
            node: self.rules.node.clone(),
            engine: Link {
                up: self.engine_down.is_none(),
                detail: self
                    .engine_down
                    .clone()
                    .unwrap_or_else(|| "connected".to_owned()),
            },
            store: Link {
                up: self.lease.is_some(),
                detail: match self.lease {
                    Some(lease) => format!("lease {lease:x}, {} keys", self.held.len()),
                    None => self.store_down.clone(),
                },
            },
            synced: self.synced,
            containers: self.containers.keys().filter(|id| !id.is_empty()).count(),
            pending: self
                .containers
                .values()
                .filter(|tracked| tracked.queued || tracked.commit.is_some())
                .count(),
            start_to_key: self.latency.summary(),
            latency: self.latency.clone(),
            counts: self.counts,
            actions: self
                .actions
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            ..Status::default()
        };
        for (subject, link) in [("engine", &status.engine), ("store", &status.store)] {
            if !link.up {
                status.faults.push(Fault {
                    subject: subject.to_owned(),
                    text: link.detail.clone(),
                    hint: Some(
                        match subject {
                            "engine" => {
                                "check that Docker runs and --docker-host; what is registered stays"
                            }
                            _ if link.detail.starts_with("another agent") => {
                                "give each agent a --node-id of its own, or start this one with --takeover; it stands by"
                            }
                            _ => {
                                "check that the store runs and --endpoints; the agent keeps trying"
                            }
                        }
                        .to_owned(),
                    ),
                });
            }
        }
        for (id, tracked) in &self.containers {
            if !id.is_empty() {
                self.report(tracked, &mut status);
            }
        }
        for instances in status.services.values_mut() {
            instances.sort_by(|a, b| a.instance.cmp(&b.instance));
        }
        status
    }

    /// Everything decided about the container a person calls `name`, if there is one.
    #[must_use]
    pub fn explain(&self, name: &str) -> Option<Explanation> {
        let called = |id: &str, tracked: &Tracked| {
            !id.is_empty()
                && (tracked.name == name
                    || id == name
                    || (name.len() >= 12 && id.starts_with(name)))
        };
        let mut all = self.containers.iter();
        let (id, tracked) = all.find(|(id, tracked)| called(id, tracked))?;
        let stored = tracked.decided.wanted.keys();
        let stored =
            stored.filter_map(|key| Some((key.to_string(), self.held.get(key)?.value.to_vec())));
        let evaluation = tracked.decided.evaluation();
        let mut explanation = Explanation::new(&tracked.name, id, &evaluation, &stored.collect());
        explanation.last_error.clone_from(&tracked.fault);
        for key in &tracked.contested {
            explanation
                .warnings
                .push(format!("another container has its key {key}"));
        }
        Some(explanation)
    }

    fn report(&self, tracked: &Tracked, status: &mut Status) {
        let fault = |text: String, hint: Option<&str>| Fault {
            subject: tracked.name.clone(),
            text,
            hint: hint.map(str::to_owned),
        };
        if let Some(text) = &tracked.fault {
            status.faults.push(fault(text.clone(), None));
        }
        if tracked.damping.is_held() {
            let hint = "docker logs shows why it ends";
            status.faults.push(fault(Damping::reason(), Some(hint)));
        }
        for key in &tracked.contested {
            let owner = self.owners.get(key).and_then(|id| self.containers.get(id));
            let owner = owner.map_or("another container", |owner| owner.name.as_str());
            status.faults.push(fault(
                format!("{owner} has its key {key}"),
                Some("give the containers different SERVICE_ID labels"),
            ));
        }
        let skipped = |port, why: &String| Skipped {
            container: tracked.name.clone(),
            port,
            why: why.clone(),
        };
        for warning in &tracked.decided.warnings {
            status.faults.push(fault(warning.clone(), None));
        }
        if let Some(why) = &tracked.decided.skipped {
            status.skipped.push(skipped(None, why));
        }
        let stored = tracked.commit.is_none()
            && !tracked.queued
            && tracked
                .decided
                .wanted
                .keys()
                .all(|key| self.held.contains_key(key));
        for ruling in &tracked.decided.rulings {
            match &ruling.outcome {
                Ruled::Skipped(why) => {
                    status
                        .skipped
                        .push(skipped(Some(ruling.port.to_string()), why));
                }
                Ruled::Offered(offer) => {
                    status.records.push(Arc::clone(&offer.record));
                    let instance = Instance {
                        container: tracked.name.clone(),
                        instance: offer.instance.to_string(),
                        address: offer.address,
                        port: offer.port,
                        state: offer.state,
                        stored,
                    };
                    status
                        .services
                        .entry(offer.name.to_string())
                        .or_default()
                        .push(instance);
                }
            }
            for warning in &ruling.warnings {
                status.faults.push(fault(warning.clone(), None));
            }
        }
    }
}
