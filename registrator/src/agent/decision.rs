//! What a container should have, decided anew whenever something about it changed: rules, gate, crash loops, a stop that
//! is under way, and the network it shares with another.

use super::Agent;
use super::damping::{Damping, Standing};
use super::effect::{Effect, Level};
use super::input::Now;
use super::timers::Timer;
use super::told::{note, tell_new};
use crate::container::{Container, NetworkMode, Run};
use crate::desired::{Evaluation, Moment, evaluate_at, labelled_ports};

/// 1 s, for the first minute: what listens at all mostly does so within a second of its start.
const LISTENER_MS: u64 = 1_000;
const YOUNG_NANOS: i64 = 60_000_000_000;

impl Agent {
    pub(super) fn evaluate_all(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            self.evaluate(now, &id, effects);
        }
    }

    /// Decides anew what a container should have, and what those should that share its network.
    pub(super) fn evaluate(&mut self, now: Now, id: &str, effects: &mut Vec<Effect>) {
        self.evaluate_one(now, id, effects);
        let checks = self
            .containers
            .get(id)
            .map(|tracked| tracked.evaluation.checks.clone());
        if self.monitor(now, id, &checks.unwrap_or_default()) {
            // An earlier process found the answer already.
            self.evaluate_one(now, id, effects);
        }
        let Some(tracked) = self.containers.get(id) else {
            return;
        };
        let followers: Vec<String> = self
            .followers
            .iter()
            .filter(|(follower, owner)| {
                let called = tracked
                    .seen
                    .as_ref()
                    .is_some_and(|seen| seen.is_called(owner));
                follower.as_str() != id && (called || owner.as_str() == id)
            })
            .map(|(follower, _)| follower.clone())
            .collect();
        for follower in followers {
            self.evaluate(now, &follower, effects);
        }
    }

    /// A container that shares another one's network as if it had that one's; itself when the other does not run.
    fn attached(&self, seen: &Container, owner: &str) -> Container {
        let mut all = self.containers.values();
        let owner = all.find(|other| {
            other.runs()
                && other
                    .seen
                    .as_ref()
                    .is_some_and(|other| other.is_called(owner))
        });
        match owner.and_then(|owner| owner.seen.as_ref()) {
            Some(owner) => seen.on_network_of(owner, &labelled_ports(seen)),
            None => seen.clone(),
        }
    }

    /// Decides anew what a container should have, and queues what follows from it.
    fn evaluate_one(&mut self, now: Now, id: &str, effects: &mut Vec<Effect>) {
        let seen = self
            .containers
            .get(id)
            .and_then(|tracked| tracked.seen.as_ref());
        let attached = match seen.map(|seen| (seen, &seen.network_mode)) {
            Some((seen, NetworkMode::Container(owner))) => {
                let attached = self.attached(seen, owner);
                self.followers.insert(id.to_owned(), owner.clone());
                Some(attached)
            }
            _ => {
                self.followers.remove(id);
                None
            }
        };
        let findings = self.findings(id);
        let Some(tracked) = self.containers.get_mut(id) else {
            return;
        };
        let again = Timer::Reconsider(id.to_owned());
        if let Some(until_ms) = tracked.kept_until_ms {
            if until_ms > now.mono_ms {
                self.timers.set(again, until_ms);
                return;
            }
            tracked.kept_until_ms = None;
            tracked.halted = Some("it failed");
        }
        let skipped = |why: &str| Evaluation {
            skipped: Some(why.to_owned()),
            ..Evaluation::default()
        };
        let mut again_ms = None;
        let evaluation = match (&tracked.seen, tracked.halted) {
            (_, Some(why)) => skipped(why),
            (None, None) => return,
            (Some(_), None) if tracked.leaves_by_ms().is_some_and(|by| by > now.mono_ms) => {
                skipped("it was told to stop")
            }
            (Some(seen), None) => {
                let seen = attached.as_ref().unwrap_or(seen);
                let wall_ms = u64::try_from(now.wall_nanos / 1_000_000).unwrap_or(0);
                let stamp = registrator_catalog::timestamp::format_millis(wall_ms);
                let passage = self.rules.gate.ask(seen, now.wall_nanos);
                again_ms = passage.again_ms;
                let moment = Moment {
                    state: passage.state,
                    findings: &findings,
                    updated_at: &stamp,
                };
                let evaluation = evaluate_at(seen, &self.rules, moment);
                let standing = match seen.run {
                    Run::Running => tracked.damping.standing(seen, now.wall_nanos),
                    _ => Standing::Free,
                };
                if standing == Standing::Freed {
                    let text = "runs for long enough, no longer held back".to_owned();
                    note(effects, Level::Info, &tracked.name, text);
                }
                let mut warnings = passage.warnings;
                let mut evaluation = match (standing, passage.closed) {
                    _ if evaluation.skipped.is_some() => evaluation,
                    (Standing::Held(left_ms), _) => {
                        again_ms = Some(left_ms);
                        skipped(&Damping::reason())
                    }
                    (_, Some(why)) => skipped(why),
                    (_, None) => evaluation,
                };
                warnings.append(&mut evaluation.warnings);
                evaluation.warnings = warnings;
                evaluation
            }
        };
        match again_ms {
            Some(wait_ms) => self.timers.set(again, now.mono_ms.saturating_add(wait_ms)),
            None => self.timers.clear(&again),
        }
        let relook = Timer::Relook(id.to_owned());
        if evaluation.waits_for_listener() {
            let young = tracked.seen.as_ref().and_then(|seen| seen.started_nanos);
            let ran_nanos = now.wall_nanos.saturating_sub(young.unwrap_or(0));
            let wait_ms = if ran_nanos < YOUNG_NANOS {
                LISTENER_MS
            } else {
                self.settings.resync_ms
            };
            self.timers.set(relook, now.mono_ms.saturating_add(wait_ms));
        } else {
            self.timers.clear(&relook);
        }
        if tracked.runs() {
            tell_new(&tracked.name, &tracked.evaluation, &evaluation, effects);
        }
        tracked.evaluation = evaluation;
        self.claim(id);
        self.queue_write(id);
    }
}
