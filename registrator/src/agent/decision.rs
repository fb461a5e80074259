//! What a container should have, decided anew whenever something about it changed: rules, gate, crash loops, a stop that
//! is under way, and the network it shares with another.

use std::sync::Arc;

use super::Agent;
use super::damping::{Damping, Standing};
use super::decided::Decided;
use super::effect::{Effect, Level};
use super::input::Now;
use super::timers::Timer;
use super::told::{note, tell_new};
use crate::container::{Container, NetworkMode, Run};
use crate::desired::{Moment, evaluate_at, labelled_ports};

/// 1 s, for the first minute: what listens at all mostly does so within a second of its start.
const LISTENER_MS: u64 = 1_000;
const YOUNG_NANOS: i64 = 60_000_000_000;

impl Agent {
    pub(super) fn evaluate_all(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let ids: Vec<Arc<str>> = self.containers.keys().cloned().collect();
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
            .map(|tracked| tracked.decided.checks.clone());
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
                follower.as_str() != id && (tracked.is_called(owner) || owner.as_str() == id)
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
        let owner = all.find(|other| other.runs() && other.is_called(owner));
        let owner = owner.and_then(|owner| owner.seen.as_ref()?.container());
        match owner {
            Some(owner) => seen.on_network_of(&owner, &labelled_ports(seen)),
            None => seen.clone(),
        }
    }

    /// Decides anew what a container should have, and queues what follows from it.
    fn evaluate_one(&mut self, now: Now, id: &str, effects: &mut Vec<Effect>) {
        let seen = self.containers.get(id);
        let mut seen = seen.and_then(|tracked| tracked.seen.as_ref()?.container());
        match seen.as_ref().map(|seen| (seen, &seen.network_mode)) {
            Some((own, NetworkMode::Container(owner))) => {
                self.followers.insert(id.to_owned(), owner.clone());
                seen = Some(self.attached(own, owner));
            }
            _ => drop(self.followers.remove(id)),
        }
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
        let mut again_ms = None;
        let mut waits = false;
        let decided = match (&seen, tracked.halted) {
            (_, Some(why)) => Decided::skipped(why),
            (None, None) => return,
            (Some(_), None) if tracked.leaves_by_ms().is_some_and(|by| by > now.mono_ms) => {
                Decided::skipped("it was told to stop")
            }
            (Some(seen), None) => {
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
                let mut decided = match (standing, passage.closed) {
                    _ if evaluation.skipped.is_some() => evaluation.into(),
                    (Standing::Held(left_ms), _) => {
                        again_ms = Some(left_ms);
                        Decided::skipped(&Damping::reason())
                    }
                    (_, Some(why)) => Decided::skipped(why),
                    (_, None) => {
                        waits = evaluation.waits_for_listener();
                        Decided::from(evaluation)
                    }
                };
                warnings.extend(decided.warnings);
                decided.warnings = warnings.into();
                decided
            }
        };
        match again_ms {
            Some(wait_ms) => self.timers.set(again, now.mono_ms.saturating_add(wait_ms)),
            None => self.timers.clear(&again),
        }
        let relook = Timer::Relook(id.to_owned());
        if waits {
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
            tell_new(&tracked.name, &tracked.decided, &decided, effects);
        }
        tracked.decided = decided;
        self.claim(id);
        self.queue_write(id);
    }
}
